// Command halinux runs the program of this repository through the Pulumi
// engine, with stand-ins for plugins that cannot be downloaded. It is for
// air-gapped sites and for this project's own lab; everybody else runs
// `pulumi up`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"github.com/halinux/halinux/stacks"
	"github.com/halinux/halinux/tests/providers"
)

const usage = `usage: halinux [flags] VERB
verbs:
  up         build or update the platform
  preview    show what up would do
  destroy    undo everything that up made
  preflight  ask all hosts whether they are fit, in one report; up and preview
             do it first where the stack is new
  drift      look at all hosts; exit 2 when one differs from what up left
  outputs [NAME ...]
             print the stack's outputs as JSON, or those named as plain text, a
             line each: outputs storageVip storageMounts.home storageHosts.0; the
             values of a list are apart by commas
flags:
`

// parallel is how many resources the engine works on at once: hosts converge
// side by side, and nearly all of the time is spent waiting for them.
const parallel = 64

func main() {
	stack := flag.String("s", "lab", "the stack")
	work := flag.String("work", ".", "folder for the stack's settings, where the checkout is not to be written to")
	diff := flag.Bool("diff", false, "show every changed line")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	flag.Parse()
	verb := flag.Arg(0)
	if flag.NArg() != 1 && (flag.NArg() == 0 || verb != "outputs") {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, verb, flag.Args()[1:], *stack, *work, *diff)
	var code exitCode
	switch {
	case errors.As(err, &code):
		os.Exit(int(code))
	case err != nil:
		fmt.Fprintln(os.Stderr, "halinux:", err)
		os.Exit(1)
	}
}

// exitCode ends the program with a status of its own and no further word.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func run(ctx context.Context, verb string, names []string, stack, work string, diff bool) error {
	switch verb {
	case "drift":
		return drift(ctx, stack)
	case "preflight":
		return preflight(ctx, stack)
	}
	if err := awaitLock(ctx, stack); err != nil {
		return err
	}
	unfit, err := lookFirst(ctx, verb, stack, preflight)
	if err != nil {
		return err
	}
	attached, err := providers.Attach(ctx)
	if err != nil {
		return err
	}
	defer attached.Close()
	// The backend of files writes the whole state before and after every step:
	// with 100 hosts that is minutes and gigabytes. Written once, at the end
	// or at an error, it costs nothing; a run that is killed leaves no record,
	// and the next one converges the same phases again.
	attached.Env["PULUMI_SKIP_CHECKPOINTS"] = "true"
	cli, err := auto.NewPulumiCommand(nil)
	if err != nil {
		return err
	}
	if verb != "outputs" {
		cli = providers.Frugal{PulumiCommand: cli}
	}
	s, err := open(ctx, stack, work, cli, attached.Env)
	if err != nil {
		return err
	}
	start := time.Now()
	out, errOut := &terse{w: os.Stdout}, &terse{w: os.Stderr}
	defer out.Close()
	defer errOut.Close()
	switch verb {
	case "up":
		_, err = s.Up(ctx, with(diff, optup.Diff(), optup.Parallel(parallel), optup.ShowSecrets(false), optup.ProgressStreams(out), optup.ErrorProgressStreams(errOut))...)
	case "preview":
		_, err = s.Preview(ctx, with(diff, optpreview.Diff(), optpreview.Parallel(parallel), optpreview.ProgressStreams(out), optpreview.ErrorProgressStreams(errOut))...)
	case "destroy":
		_, err = s.Destroy(ctx, optdestroy.Parallel(parallel), optdestroy.ProgressStreams(out), optdestroy.ErrorProgressStreams(errOut))
	case "outputs":
		return printOutputs(ctx, s, names)
	default:
		return fmt.Errorf("there is no verb %q", verb)
	}
	if err != nil {
		// The engine has said why. What it was at when it was interrupted
		// counts as unknown, and it would warn of it for ever: for phases the
		// next run settles it.
		if err := forgetPending(context.WithoutCancel(ctx), s); err != nil {
			fmt.Fprintln(os.Stderr, "halinux:", err)
		}
		return exitCode(1)
	}
	fmt.Printf("%s: done after %s\n", verb, time.Since(start).Round(100*time.Millisecond))
	return unfit
}

// lookFirst asks the hosts of a new stack whether they are fit: up stops where
// they are not, and a preview says so and goes on, since the plan is worth
// reading all the same. What it returns as unfit is the preview's verdict.
func lookFirst(ctx context.Context, verb, stack string, ask func(context.Context, string) error) (unfit, err error) {
	switch {
	case verb == "up" && isNew(stack):
		return nil, ask(ctx, stack)
	case verb == "preview" && isEmpty(stack):
		if err := ask(ctx, stack); err != nil {
			fmt.Fprintln(os.Stderr, "halinux:", err)
			return exitCode(1), nil
		}
	}
	return nil, nil
}

// states are the files with what is known of a stack, for the backend of local
// files; elsewhere nobody can tell, and each host's own preflight has to do.
func states(stack string) (files []string, local bool) {
	dir, local := strings.CutPrefix(os.Getenv("PULUMI_BACKEND_URL"), "file://")
	if !local {
		return nil, false
	}
	files, err := filepath.Glob(filepath.Join(dir, ".pulumi", "stacks", "*", stack+".json"))
	return files, err == nil
}

// isNew tells whether nothing is known of the stack yet. Where a first run was
// killed, there is a state without resources, and hosts may still be at work: a
// phase waits for that, a look at all hosts would take it for a fault of theirs.
func isNew(stack string) bool {
	files, local := states(stack)
	return local && len(files) == 0
}

// isEmpty tells whether nothing has been made yet: a preview leaves a stack
// without resources behind.
func isEmpty(stack string) bool {
	files, local := states(stack)
	for _, file := range files {
		var state struct {
			Checkpoint struct {
				Latest struct{ Resources []json.RawMessage }
			}
		}
		text, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(text, &state) != nil || len(state.Checkpoint.Latest.Resources) > 0 {
			return false
		}
	}
	return local
}

// forgetPending takes interrupted operations out of the state.
func forgetPending(ctx context.Context, s auto.Stack) error {
	state, err := s.Export(ctx)
	if err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	var d map[string]json.RawMessage
	if err := json.Unmarshal(state.Deployment, &d); err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	if _, pending := d["pending_operations"]; !pending {
		return nil
	}
	delete(d, "pending_operations")
	if state.Deployment, err = json.Marshal(d); err != nil {
		return err
	}
	if err := s.Import(ctx, state); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return nil
}

// with puts the option for diffs first where it is wanted.
func with[O any](wanted bool, diff O, rest ...O) []O {
	if wanted {
		return append([]O{diff}, rest...)
	}
	return rest
}

// open selects the stack and makes it when it is new. The settings come from
// the checkout; what the engine adds to them goes to the work folder.
func open(ctx context.Context, stack, work string, cli auto.PulumiCommand, env map[string]string) (auto.Stack, error) {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return auto.Stack{}, err
	}
	project, settings, err := settings(stack)
	if err != nil {
		return auto.Stack{}, err
	}
	file := settingsFile(stack)
	if settings.EncryptionSalt == "" {
		if made, err := workspace.LoadProjectStack(nil, project, filepath.Join(work, file)); err == nil {
			settings.EncryptionSalt = made.EncryptionSalt
		}
	}
	if err := tellKeys(settings); err != nil {
		return auto.Stack{}, err
	}
	return auto.UpsertStackInlineSource(ctx, stack, string(project.Name), stacks.Platform,
		auto.Pulumi(cli), auto.WorkDir(work), auto.Project(*project), auto.EnvVars(env),
		auto.Stacks(map[string]workspace.ProjectStack{stack: *settings}))
}

func settingsFile(stack string) string { return "Pulumi." + stack + ".yaml" }

func settings(stack string) (*workspace.Project, *workspace.ProjectStack, error) {
	project, err := workspace.LoadProject("Pulumi.yaml")
	if err != nil {
		return nil, nil, fmt.Errorf("run this in the folder that holds Pulumi.yaml: %w", err)
	}
	s, err := workspace.LoadProjectStack(nil, project, settingsFile(stack))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", settingsFile(stack), err)
	}
	return project, s, nil
}

// tellKeys gives the program the keys of its configuration, as the language
// plugin does for a program of its own.
func tellKeys(settings *workspace.ProjectStack) error {
	keys := map[string]string{}
	for k := range settings.Config {
		keys[k.String()] = ""
	}
	b, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return os.Setenv("PULUMI_CONFIG", string(b))
}

// lockPatience is how long a run waits for another one on this machine.
const lockPatience = 15 * time.Minute

// awaitLock waits while another run on this machine works on the stack, and
// frees the lock of one that was killed: the engine leaves it behind. A lock of
// another machine is left alone: the engine refuses to go on and says whose it
// is. Only the backend of local files is looked at; others have their own ways.
func awaitLock(ctx context.Context, stack string) error {
	dir, local := strings.CutPrefix(os.Getenv("PULUMI_BACKEND_URL"), "file://")
	if !local {
		return nil
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	pattern := filepath.Join(dir, ".pulumi", "locks", "organization", "*", stack, "*.json")
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, fmt.Errorf("another run holds the stack for %s", lockPatience))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	told := 0
	for {
		held := 0
		locks, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, lock := range locks {
			pid, host, err := lockHolder(lock)
			switch {
			case errors.Is(err, os.ErrNotExist):
			case err != nil:
				return err
			case host != hostname:
			case syscall.Kill(pid, 0) == nil:
				held = pid
			default:
				fmt.Fprintf(os.Stderr, "the last run (process %d) was killed; freeing its lock\n", pid)
				if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
		}
		if held == 0 {
			return nil
		}
		if told != held {
			fmt.Fprintf(os.Stderr, "another run (process %d) works on this stack; waiting for it\n", held)
			told = held
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for process %d: %w", held, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func lockHolder(lock string) (pid int, host string, err error) {
	b, err := os.ReadFile(lock)
	if err != nil {
		return 0, "", err
	}
	var holder struct {
		Pid      int
		Hostname string
	}
	if err := json.Unmarshal(b, &holder); err != nil {
		return 0, "", fmt.Errorf("%s: %w", lock, err)
	}
	return holder.Pid, holder.Hostname, nil
}
