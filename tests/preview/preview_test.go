// Package preview_test holds what a reader of a pull request sees: the golden
// previews of the lab's and the production stack, through the real engine,
// with no host in reach.
package preview_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/stacks"
	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/providers"
)

// here is this package's folder; tests change to the project's.
var here = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}()

// key stands for the host keys that the lab makes anew each time.
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBw6D3UIRzq2n8wzVqXb0vHn0Q7W3m8m9C8l5Jf0aV1C"

// project is a copy of the settings in a folder of its own, with a backend and
// a file of known hosts.
type project struct {
	t        *testing.T
	dir      string
	attached *providers.Attached
	outputs  []string // names of the stack's outputs, of the last preview
	name     string   // of the stack whose settings a test edits
}

func newProject(t *testing.T) *project {
	t.Helper()
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skip("SKIP: no pulumi on PATH; make test-fast builds it")
	}
	p := &project{t: t, dir: t.TempDir(), name: "lab"}
	attached, err := providers.Attach(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, attached.Close()) })
	p.attached = attached
	files, err := filepath.Glob(filepath.Join(here, "../../Pulumi*.yaml"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, filepath.Base(f)), b, 0o600))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(p.dir, ".lab"), 0o755))
	var known strings.Builder
	for i := range 100 {
		fmt.Fprintf(&known, "10.10.0.%d %s\n", i, key)
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, ".lab", "known_hosts"), []byte(known.String()), 0o600))
	// The public key of a package source, which a preview only passes on.
	source := "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEAAAAAA==\n-----END PGP PUBLIC KEY BLOCK-----\n"
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, ".lab", "mirror.asc"), []byte(source), 0o600))
	return p
}

// stack opens a stack of the project. Paths in its settings are relative to
// the project, as for everybody.
func (p *project) stack(name string) auto.Stack {
	p.t.Helper()
	p.t.Chdir(p.dir)
	env := map[string]string{
		"PULUMI_BACKEND_URL": "file://" + p.dir, "PULUMI_CONFIG_PASSPHRASE": "test",
		"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": filepath.Join(p.dir, "home"),
	}
	for k, v := range p.attached.Env {
		env[k] = v
	}
	s, err := auto.UpsertStackInlineSource(p.t.Context(), name, "halinux", stacks.Platform, auto.WorkDir(p.dir), auto.EnvVars(env))
	require.NoError(p.t, err)
	return s
}

// preview returns the steps of a preview of a stack.
func (p *project) preview(stack string) ([]apitype.StepEventMetadata, error) {
	p.t.Helper()
	s := p.stack(stack)
	ch := make(chan events.EngineEvent, 100)
	var steps []apitype.StepEventMetadata
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range ch {
			if e.ResourcePreEvent != nil {
				steps = append(steps, e.ResourcePreEvent.Metadata)
			}
			if e := e.ResOutputsEvent; e != nil && e.Metadata.Type == "pulumi:pulumi:Stack" && e.Metadata.New != nil {
				p.outputs = slices.Sorted(maps.Keys(e.Metadata.New.Outputs))
			}
		}
	}()
	_, err := s.Preview(p.t.Context(), optpreview.EventStreams(ch))
	<-done
	return steps, err
}

// tree is a preview as lines, parents before children, in a stable order.
func tree(steps []apitype.StepEventMetadata) string {
	children := map[string][]apitype.StepEventMetadata{}
	for _, s := range steps {
		parent := ""
		if s.New != nil {
			parent = s.New.Parent
		}
		if parent == s.URN {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	var b strings.Builder
	var walk func(parent, indent string)
	walk = func(parent, indent string) {
		list := children[parent]
		slices.SortFunc(list, func(a, b apitype.StepEventMetadata) int { return strings.Compare(a.URN, b.URN) })
		for _, s := range list {
			parts := strings.Split(s.URN, "::")
			fmt.Fprintf(&b, "%s%s %s %s", indent, s.Op, parts[2][strings.LastIndex(parts[2], "$")+1:], parts[3])
			if len(s.Diffs) > 0 {
				fmt.Fprintf(&b, " %v", s.Diffs)
			}
			b.WriteString("\n")
			walk(s.URN, indent+"  ")
		}
	}
	walk("", "")
	return b.String()
}

func TestGoldenPreviews(t *testing.T) {
	p := newProject(t)
	for _, stack := range []string{"lab", "kubernetes"} {
		steps, err := p.preview(stack)
		require.NoError(t, err)
		golden.Compare(t, filepath.Join(here, "testdata", stack+".golden"), tree(steps)+"outputs: "+strings.Join(p.outputs, ", ")+"\n")
	}
}
