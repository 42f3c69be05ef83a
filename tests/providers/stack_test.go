package providers_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/providers"
)

// oldestCLI is the first version whose engine sends what the tests rely on.
var oldestCLI = semver.MustParse("3.250.0")

// pulumiCLI asks the CLI for its version once.
var pulumiCLI = sync.OnceValues(func() (auto.PulumiCommand, error) {
	return auto.NewPulumiCommand(&auto.PulumiCommandOptions{SkipVersionCheck: true})
})

// stack runs programs of the test with the real engine.
type stack struct {
	t        *testing.T
	ctx      context.Context
	s        auto.Stack
	attached *providers.Attached
	dir      string // of the backend
	mu       sync.Mutex
	program  pulumi.RunFunc
}

// deadline is how long the tests wait for what happens soon.
const deadline = time.Minute

// newStack makes an empty stack in a backend of its own, led to the published
// plugin where it is installed and to a stand-in of its own elsewhere.
func newStack(t *testing.T) *stack {
	t.Helper()
	attached, err := providers.Attach(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, attached.Close()) })
	return newAttachedStack(t, attached)
}

func newAttachedStack(t *testing.T, attached *providers.Attached) *stack {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skipf("SKIP: no Pulumi CLI on PATH (%v)", err)
	}
	cli, err := pulumiCLI()
	if err != nil {
		t.Skipf("SKIP: the Pulumi CLI on PATH does not run: %v", err)
	}
	if v := cli.Version(); v.LT(oldestCLI) {
		t.Skipf("SKIP: the Pulumi CLI on PATH is %s, older than %s", v, oldestCLI)
	}
	st := &stack{t: t, ctx: ctx, attached: attached, dir: t.TempDir()}
	env := map[string]string{
		"PULUMI_BACKEND_URL":                       "file://" + st.dir,
		"PULUMI_CONFIG_PASSPHRASE":                 "for the test only",
		"PULUMI_SKIP_UPDATE_CHECK":                 "true",
		"PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
	}
	for k, v := range attached.Env {
		env[k] = v
	}
	st.s, err = auto.NewStackInlineSource(ctx, "test", "contract", st.run,
		auto.Pulumi(providers.Frugal{PulumiCommand: cli}), auto.EnvVars(env), auto.WorkDir(t.TempDir()),
		auto.Project(workspace.Project{
			Name:    tokens.PackageName("contract"),
			Runtime: workspace.NewProjectRuntimeInfo("go", nil),
		}))
	require.NoError(t, err)
	return st
}

func (s *stack) run(ctx *pulumi.Context) error {
	s.mu.Lock()
	program := s.program
	s.mu.Unlock()
	return program(ctx)
}

// result is what one run of the engine said and did.
type result struct {
	changes map[string]int // operations by their name, without the stack itself
	events  []events.EngineEvent
	text    string // all that the CLI printed
	err     error
}

func (s *stack) use(program pulumi.RunFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.program = program
}

// try runs an update and returns its error in the result.
func (s *stack) try(ctx context.Context, program pulumi.RunFunc) result {
	s.t.Helper()
	s.use(program)
	collect, done := collectEvents()
	up, err := s.s.Up(ctx, optup.EventStreams(collect), optup.SuppressOutputs())
	r := newResult(done())
	r.text, r.err = up.StdOut+up.StdErr, err
	return r
}

// up runs an update that has to work.
func (s *stack) up(program pulumi.RunFunc) result {
	s.t.Helper()
	r := s.try(s.ctx, program)
	require.NoError(s.t, r.err)
	return r
}

// fail runs an update that must not work.
func (s *stack) fail(program pulumi.RunFunc) result {
	s.t.Helper()
	r := s.try(s.ctx, program)
	require.Error(s.t, r.err)
	return r
}

func (s *stack) preview(program pulumi.RunFunc) result {
	s.t.Helper()
	s.use(program)
	collect, done := collectEvents()
	p, err := s.s.Preview(s.ctx, optpreview.EventStreams(collect), optpreview.Diff())
	require.NoError(s.t, err)
	r := newResult(done())
	r.text = p.StdOut + p.StdErr
	return r
}

func (s *stack) destroy() {
	s.t.Helper()
	s.use(func(*pulumi.Context) error { return nil })
	_, err := s.s.Destroy(s.ctx, optdestroy.SuppressProgress())
	require.NoError(s.t, err)
}

func (s *stack) refresh() {
	s.t.Helper()
	_, err := s.s.Refresh(s.ctx, optrefresh.SuppressProgress())
	require.NoError(s.t, err)
}

// revealed is the inputs of one resource with its secrets in the clear.
func (s *stack) revealed(name string) map[string]any {
	s.t.Helper()
	dump, err := s.s.Export(s.ctx)
	require.NoError(s.t, err)
	inputs, ok := plaintext(s.find(dump.Deployment, name).Inputs).(map[string]any)
	require.True(s.t, ok)
	return inputs
}

// output is what the program exported by that name, and whether it is secret.
func (s *stack) output(name string) (value any, secret bool) {
	s.t.Helper()
	dump, err := s.s.Export(s.ctx)
	require.NoError(s.t, err)
	out, ok := s.find(dump.Deployment, "contract-test").Outputs[name]
	require.True(s.t, ok, "no output %s", name)
	wrapped, _ := out.(map[string]any)
	_, secret = wrapped["plaintext"]
	return plaintext(out), secret
}

func (s *stack) exports(name, want string) {
	s.t.Helper()
	got, _ := s.output(name)
	assert.Equal(s.t, want, got, name)
}

// plaintext takes the wrapping of secrets off.
func plaintext(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if text, ok := v["plaintext"].(string); ok {
			var inner any
			if json.Unmarshal([]byte(text), &inner) == nil {
				return plaintext(inner)
			}
		}
		out := map[string]any{}
		for k, e := range v {
			out[k] = plaintext(e)
		}
		return out
	default:
		return v
	}
}

// state is the stack's state as it lies in the backend.
func (s *stack) state() string {
	s.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.dir, ".pulumi", "stacks", "contract", "test.json"))
	require.NoError(s.t, err)
	return string(content)
}

// backend is the text of all files that the engine wrote, old ones included.
func (s *stack) backend() string {
	s.t.Helper()
	var all strings.Builder
	require.NoError(s.t, filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	}))
	return all.String()
}

// resource is the state of one resource by its name, secrets hidden.
func (s *stack) resource(name string) apitype.ResourceV3 {
	s.t.Helper()
	var checkpoint struct {
		Checkpoint struct{ Latest json.RawMessage }
	}
	require.NoError(s.t, json.Unmarshal([]byte(s.state()), &checkpoint))
	return s.find(checkpoint.Checkpoint.Latest, name)
}

func (s *stack) find(deployment json.RawMessage, name string) apitype.ResourceV3 {
	s.t.Helper()
	var d apitype.DeploymentV3
	require.NoError(s.t, json.Unmarshal(deployment, &d))
	for _, r := range d.Resources {
		if strings.HasSuffix(string(r.URN), "::"+name) {
			return r
		}
	}
	s.t.Fatalf("no resource %s in the state", name)
	return apitype.ResourceV3{}
}

// collectEvents gives a channel for a run, and what came through it.
// watch, where given, sees each log message as it comes.
func collectEvents(watch ...func(message string)) (chan<- events.EngineEvent, func() []events.EngineEvent) {
	c := make(chan events.EngineEvent)
	all := make(chan []events.EngineEvent)
	go func() {
		var list []events.EngineEvent
		for e := range c {
			list = append(list, e)
			if d := e.DiagnosticEvent; d != nil {
				for _, w := range watch {
					w(strings.TrimSuffix(d.Message, "\n"))
				}
			}
		}
		all <- list
	}()
	return c, func() []events.EngineEvent { return <-all }
}

func newResult(list []events.EngineEvent) result {
	r := result{events: list, changes: map[string]int{}}
	for _, e := range list {
		if e.ResourcePreEvent == nil {
			continue
		}
		m := e.ResourcePreEvent.Metadata
		if m.Type == "pulumi:pulumi:Stack" || strings.HasPrefix(m.Type, "pulumi:providers:") {
			continue
		}
		r.changes[string(m.Op)]++
	}
	return r
}

// ops lists the operations on a resource in the order in which they began.
func (r result) ops(name string) []string {
	var ops []string
	for _, e := range r.events {
		if p := e.ResourcePreEvent; p != nil && strings.HasSuffix(p.Metadata.URN, "::"+name) {
			ops = append(ops, string(p.Metadata.Op))
		}
	}
	return ops
}

// messages is the log of the engine, in order.
func (r result) messages() []string {
	var list []string
	for _, e := range r.events {
		if d := e.DiagnosticEvent; d != nil {
			list = append(list, strings.TrimSuffix(d.Message, "\n"))
		}
	}
	return list
}

// everything is all text that a run shows to people or machines.
func (r result) everything(t *testing.T) string {
	t.Helper()
	raw, err := json.Marshal(r.events)
	require.NoError(t, err)
	text := r.text + string(raw)
	if r.err != nil {
		text += r.err.Error()
	}
	return text
}
