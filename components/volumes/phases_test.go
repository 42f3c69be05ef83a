package volumes

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLocalVolumesPhase runs the phase's scripts with words in the place of the
// library's.
func TestLocalVolumesPhase(t *testing.T) {
	dir := t.TempDir()
	run := func(verb, paths string) (string, error) {
		script, err := phases.ReadFile("phases/local-volumes/" + verb + ".sh")
		require.NoError(t, err)
		cmd := exec.Command("sh", "-eu", "-c", `fail() { echo "error: $1; $2"; exit 1; }
differs() { echo "- $*"; }
`+string(script))
		cmd.Env = append(os.Environ(), "paths="+paths)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	one, two := filepath.Join(dir, "volumes", "one"), filepath.Join(dir, "volumes", "two")
	for range 2 {
		out, err := run("converge", one+" "+two)
		require.NoError(t, err, out)
		assert.Empty(t, out)
	}
	info, err := os.Stat(one)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	require.NoError(t, os.WriteFile(filepath.Join(one, "data"), nil, 0o600))
	require.NoError(t, os.Chmod(two, 0o700))
	_, err = run("converge", one+" "+two)
	require.NoError(t, err)
	info, err = os.Stat(two)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "whose it is by now is left alone")

	out, err := run("check", one+" "+two)
	require.NoError(t, err)
	assert.Empty(t, out)
	_, err = run("remove", one+" "+two)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(one, "data"), "what is stored stays")
	assert.NoDirExists(t, two)
	out, err = run("check", one+" "+two)
	require.NoError(t, err)
	assert.Equal(t, "- the directory "+two+" of a local volume is missing\n", out)

	require.NoError(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	out, err = run("converge", filepath.Join(dir, "link", "x"))
	require.Error(t, err)
	assert.Contains(t, out, "has a symbolic link in it")
	assert.NoDirExists(t, "/etc/x")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	out, err = run("converge", filepath.Join(dir, "file"))
	require.Error(t, err)
	assert.Contains(t, out, "is no directory")
}
