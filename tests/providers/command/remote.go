package command

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/mapper"
)

// commandState is a Command's inputs and outputs, without marks of secrets.
type commandState struct {
	Connection             connection        `pulumi:"connection"`
	Create                 *string           `pulumi:"create,optional"`
	Update                 *string           `pulumi:"update,optional"`
	Delete                 *string           `pulumi:"delete,optional"`
	Stdin                  *string           `pulumi:"stdin,optional"`
	Logging                *string           `pulumi:"logging,optional"`
	Environment            map[string]string `pulumi:"environment,optional"`
	AddPreviousOutputInEnv *bool             `pulumi:"addPreviousOutputInEnv,optional"`
	Stdout                 string            `pulumi:"stdout,optional"`
	Stderr                 string            `pulumi:"stderr,optional"`
}

func decode(m resource.PropertyMap, target any) error {
	if err := mapper.New(&mapper.Opts{IgnoreUnrecognized: true}).Decode(publicMap(m).Mappable(), target); err != nil {
		return err
	}
	return nil
}

func createCommand(ctx context.Context, l log, state resource.PropertyMap) error {
	var c commandState
	if err := decode(state, &c); err != nil {
		return err
	}
	return c.runInto(ctx, l, c.Create, state)
}

func updateCommand(ctx context.Context, l log, _, state resource.PropertyMap) error {
	var c commandState
	if err := decode(state, &c); err != nil {
		return err
	}
	command := c.Update
	if command == nil {
		command = c.Create
	}
	return c.runInto(ctx, l, command, state)
}

func deleteCommand(ctx context.Context, l log, state resource.PropertyMap) error {
	var c commandState
	if err := decode(state, &c); err != nil {
		return err
	}
	if c.Delete == nil {
		return nil
	}
	return c.run(ctx, l, *c.Delete)
}

// runInto runs a command, if there is one, and puts the outputs into state. The
// outputs are not secret, not even where an input is: programs that print
// secrets name them in additionalSecretOutputs.
func (c *commandState) runInto(ctx context.Context, l log, command *string, state resource.PropertyMap) error {
	if command != nil {
		if err := c.run(ctx, l, *command); err != nil {
			return err
		}
	}
	state["stdout"] = resource.NewProperty(c.Stdout)
	state["stderr"] = resource.NewProperty(c.Stderr)
	return nil
}

// run runs one command over a connection of its own and stores its output.
func (c *commandState) run(ctx context.Context, l log, command string) error {
	client, err := c.Connection.dial(ctx, l)
	if err != nil {
		return err
	}
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	defer session.Close()

	for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
		if err := session.Setenv(name, c.Environment[name]); err != nil {
			l.message(ctx, diag.Error, refusedVariable(name))
			return fmt.Errorf("could not set environment variable %q: %w", name, err)
		}
	}
	if c.AddPreviousOutputInEnv == nil || *c.AddPreviousOutputInEnv {
		for _, previous := range []struct{ name, value string }{
			{"PULUMI_COMMAND_STDOUT", c.Stdout},
			{"PULUMI_COMMAND_STDERR", c.Stderr},
		} {
			if previous.value == "" {
				continue
			}
			if err := session.Setenv(previous.name, previous.value); err != nil {
				l.message(ctx, diag.Warning, refusedVariable(previous.name))
			}
		}
	}
	if c.Stdin != nil && *c.Stdin != "" {
		session.Stdin = strings.NewReader(*c.Stdin)
	}

	var stdout, stderr bytes.Buffer
	both := &sharedBuffer{}
	lines := newLineLog(ctx, l, session)
	session.Stdout = io.MultiWriter(&stdout, both)
	if c.logs("stdout") {
		session.Stdout = io.MultiWriter(&stdout, both, lines)
	}
	session.Stderr = io.MultiWriter(&stderr, both)
	if c.logs("stderr") {
		session.Stderr = io.MultiWriter(&stderr, both, lines)
	}
	err = session.Run(command)
	if failed := lines.end(); failed != nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("%w: running %q:\n%s", err, command, both.String())
	}
	c.Stdout = strings.TrimSuffix(stdout.String(), "\n")
	c.Stderr = strings.TrimSuffix(stderr.String(), "\n")
	return nil
}

func (c *commandState) logs(stream string) bool {
	return c.Logging == nil || *c.Logging == stream || *c.Logging == "stdoutAndStderr"
}

func refusedVariable(name string) string {
	return fmt.Sprintf("the SSH server refused variable %q: it takes only those that its AcceptEnv names; "+
		"write the assignment into the command instead", name)
}

// sharedBuffer takes both streams, in the order in which they come.
type sharedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *sharedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lineLog sends output to the engine line by line. The published plugin stops
// reading at a line longer than 64 KiB, and the command then never ends; here
// the session ends and the run fails, so that such output is found and does not
// cost an hour.
type lineLog struct {
	*io.PipeWriter
	failed chan error
}

var errLongLine = errors.New("output holds a line longer than 64 KiB: the published plugin would hang here; " +
	"keep such output in a file on the host, or set logging to none")

func newLineLog(ctx context.Context, l log, session io.Closer) lineLog {
	r, w := io.Pipe()
	lines := lineLog{PipeWriter: w, failed: make(chan error, 1)}
	go func() {
		defer close(lines.failed)
		scanner := bufio.NewScanner(r)
		for scanner.Scan() {
			l.status(ctx, diag.Info, scanner.Text())
		}
		if errors.Is(scanner.Err(), bufio.ErrTooLong) {
			lines.failed <- errLongLine
			r.CloseWithError(errLongLine)
			_ = session.Close()
		}
	}()
	return lines
}

// end sends the rest and tells whether a line was too long.
func (l lineLog) end() error {
	_ = l.Close()
	return <-l.failed
}
