package nfsha

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pool is a folder in which the provisioner's program works, with programs in
// the place of those of XFS that write down what they are told.
type pool struct {
	*cluster
	root string
}

func newPool(t *testing.T) *pool {
	t.Helper()
	c := &cluster{t, t.TempDir()}
	p := &pool{c, filepath.Join(c.dir, "srv")}
	require.NoError(t, os.MkdirAll(filepath.Join(p.root, "kubernetes"), 0o755))
	c.write("conf", fmt.Sprintf("root=%s project=kubernetes quota=1000\n", p.root))
	c.program("findmnt", `echo xfs`)
	c.program("xfs_io", `case $* in *lsproj*) echo "projid = 0" ;; *) echo "io $*" >>"$dir/done" ;; esac`)
	c.program("xfs_quota", `case $* in *report*) echo "#2147483648 4096 0 102400 00" ;; *) echo "quota $3" >>"$dir/done" ;; esac`)
	c.program("sync", ``)
	return p
}

// do runs the program as sshd would, and returns its exit code and what it says.
func (p *pool) do(command string) (int, string) {
	p.t.Helper()
	script, err := phases.ReadFile("phases/provisioner/volumes.sh")
	require.NoError(p.t, err)
	text := strings.Replace(string(script), "PATH=/usr/sbin", "PATH="+p.dir+"/bin:/usr/sbin", 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", text, "volumes", command)
	cmd.Env = append(os.Environ(), "HALINUX_VOLUMES="+p.dir+"/conf")
	out, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(p.t, &exec.ExitError{}, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestVolumes(t *testing.T) {
	p := newPool(t)
	ok := func(command, want string) {
		t.Helper()
		code, said := p.do(command)
		assert.Equal(t, 0, code, said)
		assert.Equal(t, want, said)
	}
	ok("list", "")
	ok("create pvc-1 100 0777", p.root+"/kubernetes/pvc-1\n")
	info, err := os.Stat(p.root + "/kubernetes/pvc-1")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o777), info.Mode().Perm())
	assert.Contains(t, p.read("done"), "chproj 2147483648")
	assert.Contains(t, p.read("done"), "quota limit -p bhard=100m 2147483648\n")

	ok("create pvc-1 200", p.root+"/kubernetes/pvc-1\n")
	assert.Contains(t, p.read("done"), "quota limit -p bhard=200m 2147483648\n", "the same volume, grown")
	ok("create pvc-1 100", p.root+"/kubernetes/pvc-1\n")
	assert.True(t, strings.HasSuffix(p.read("done"), "quota limit -p bhard=200m 2147483648\n"), "a command that came late takes nothing away")
	ok("create pvc-2 800", p.root+"/kubernetes/pvc-2\n")
	ok("list", "pvc-1 200 4\npvc-2 800 0\n")

	code, said := p.do("create pvc-3 1")
	assert.Equal(t, 4, code, said)
	assert.NoDirExists(t, p.root+"/kubernetes/pvc-3")

	require.NoError(t, os.WriteFile(p.root+"/kubernetes/pvc-1/file", nil, 0o600))
	ok("remove pvc-1", "")
	assert.NoDirExists(t, p.root+"/kubernetes/pvc-1")
	assert.Contains(t, p.read("done"), "quota limit -p bhard=0 2147483648\n")
	ok("remove pvc-1", "")
	ok("create pvc-3 1", p.root+"/kubernetes/pvc-3\n")
	assert.Contains(t, p.read("done"), "quota limit -p bhard=1m 2147483650\n", "a number is never used again")
	ok("list", "pvc-2 800 0\npvc-3 1 0\n")
}

func TestVolumesRefuse(t *testing.T) {
	p := newPool(t)
	for _, command := range []string{
		"", "sh", "create", "create a", "create ../x 1", "create .x 1", "create a/b 1", "create a 0", "create a -1", "create a 1e3",
		"create a 01", "create a 9999999999999", "create a 1 u=rwx", "create a;reboot 1", "create $(reboot) 1", "create * 1", "remove", "remove .", "remove a b", "list a",
		"create " + strings.Repeat("a", 129) + " 1",
	} {
		code, said := p.do(command)
		assert.Equal(t, 2, code, "%q: %s", command, said)
	}
	assert.Empty(t, p.read("done"))

	require.NoError(t, os.Symlink("/etc", p.root+"/kubernetes/link"))
	code, said := p.do("create link 1")
	assert.Equal(t, 1, code, said)
	assert.Empty(t, p.read("done"), "a link is not followed")

	require.NoError(t, os.Mkdir(p.root+"/kubernetes/foreign", 0o755))
	code, _ = p.do("remove foreign")
	assert.Equal(t, 0, code)
	assert.DirExists(t, p.root+"/kubernetes/foreign", "what was not made here is not removed here")

	p.program("findmnt", `exit 1`)
	code, said = p.do("create a 1")
	assert.Equal(t, 3, code, said)
}
