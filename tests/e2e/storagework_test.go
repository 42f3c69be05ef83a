package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// complaints are what a test under test says.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Errorf(format string, words ...any) {
	c.said = append(c.said, fmt.Sprintf(format, words...))
}
func (c *complaints) Error(words ...any) { c.said = append(c.said, fmt.Sprint(words...)) }

// The whole way of W, with two clients that are this machine and a folder in the
// place of the mount: what is spoiled on the server is complained of, and what
// is not is not.
func TestWorkFindsLoss(t *testing.T) {
	b := here(t)
	root, err := checkout()
	require.NoError(t, err)
	b.root = root
	s := &store{Bed: b, clients: []string{"here", "here"}, writerAt: b.build(t, "./tests/e2e/writer/cmd/writer")}
	for name, c := range map[string]struct {
		spoil func(dir string)
		want  []string
		lost  bool
	}{
		"nothing": {func(string) {}, nil, false},
		"a file goes back to an earlier state": {func(dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "append"), 5*128))
		}, []string{"append on here", "LOST"}, true},
		"a block is of another time": {func(dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "fsync"), os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte(strings.Repeat("x", 128)), 3*128)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, []string{"fsync on here", "1 torn, 1 LOST, first [4]"}, true},
		"a file is not there": {func(dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "fsync")))
		}, []string{"fsync on here", "0 found", "LOST"}, true},
		"another file has its place": {func(dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, "lock"), filepath.Join(dir, "other")))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
		}, []string{"lock on here", "LOST"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir) // where what was read is kept
			w := s.write(t, dir)
			c.spoil(dir)
			said := &complaints{TB: t}
			r := w.judge(said, "cat ")
			require.Equal(t, c.lost, r.lost > 0, "%+v", r)
			require.Positive(t, r.refused)
			require.Zero(t, r.granted)
			all := strings.Join(said.said, "\n")
			if c.want == nil {
				require.Empty(t, all)
			}
			for _, word := range c.want {
				require.Contains(t, all, word)
			}
		})
	}
}

// A file that is gone is a loss; one that cannot be read is not known to be one.
func TestReadOrGone(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "there"), []byte("text"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "unreadable"), 0o700))
	for path, c := range map[string]struct {
		text string
		told bool
	}{
		"there":      {"text", true},
		"gone":       {"", true},
		"unreadable": {"", false}, // a folder
		"no/folder":  {"", false},
	} {
		out, err := exec.Command("sh", "-euc", readOrGone("true; cat ", filepath.Join(dir, path))).Output()
		require.Equal(t, c.text, string(out), path)
		require.Equal(t, c.told, err == nil, "%s: %v", path, err)
	}
}
