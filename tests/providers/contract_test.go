// Package providers_test holds the contract of the plugin `command` as halinux
// relies on it. The same cases run against the published plugin where it is
// installed and against the stand-in elsewhere.
package providers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi-command/sdk/go/command/remote"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connect is the usual way in: by key, with the host key checked.
func (h *sshHost) connect() remote.ConnectionArgs {
	return remote.ConnectionArgs{
		Host:       pulumi.String("127.0.0.1"),
		Port:       pulumi.Float64(h.port),
		PrivateKey: pulumi.String(h.user.private),
		HostKey:    pulumi.String(h.hostKey.authorized),
	}
}

// command is a program of one Command called "c".
func command(args remote.CommandArgs, opts ...pulumi.ResourceOption) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		c, err := remote.NewCommand(ctx, "c", &args, opts...)
		if err != nil {
			return err
		}
		ctx.Export("stdout", c.Stdout)
		ctx.Export("stderr", c.Stderr)
		return nil
	}
}

// journal is a file that the commands on the "host" append words to.
type journal struct {
	t    *testing.T
	path string
}

func newJournal(t *testing.T) journal {
	return journal{t, filepath.Join(t.TempDir(), "journal")}
}

// note is a command that appends word and prints it.
func (j journal) note(word string) pulumi.String {
	return pulumi.String("echo " + word + " | tee -a " + j.path)
}

func (j journal) read() []string {
	j.t.Helper()
	content, err := os.ReadFile(j.path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(j.t, err)
	return strings.Fields(string(content))
}

func TestLifecycle(t *testing.T) {
	host, s, j := startSSHD(t), newStack(t), newJournal(t)
	args := remote.CommandArgs{
		Connection: host.connect(),
		Create:     j.note("create"),
		Update:     j.note("update"),
		Delete:     j.note("delete"),
	}

	r := s.preview(command(args))
	assert.Equal(t, map[string]int{"create": 1}, r.changes)
	assert.Empty(t, j.read(), "a preview ran something")
	assert.Zero(t, host.logins(), "a preview connected")

	r = s.up(command(args))
	assert.Equal(t, []string{"create"}, j.read())
	assert.Equal(t, "create", r.outputs["stdout"].Value)

	r = s.up(command(args))
	assert.Equal(t, map[string]int{"same": 1}, r.changes)
	assert.Equal(t, 1, host.logins(), "a run without changes connected")

	args.Environment = nil
	args.Stdin = pulumi.String("other")
	r = s.up(command(args))
	assert.Equal(t, map[string]int{"update": 1}, r.changes)
	assert.Equal(t, []string{"create", "update"}, j.read())
	assert.Equal(t, "update", r.outputs["stdout"].Value)

	s.destroy()
	assert.Equal(t, []string{"create", "update", "delete"}, j.read())
	assert.Equal(t, 3, host.logins(), "one connection for each command")
}

func TestAgent(t *testing.T) {
	host, s, j := startSSHD(t), newStack(t), newJournal(t)
	connection := host.connect()
	connection.PrivateKey = nil
	connection.AgentSocketPath = pulumi.String(startAgent(t, host.user))
	s.up(command(remote.CommandArgs{Connection: connection, Create: j.note("create")}))
	assert.Equal(t, []string{"create"}, j.read())
}
