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

// cluster is what the fence-peer handler sees of a cluster: programs in the
// place of Pacemaker's and DRBD's that answer from files in a folder. What
// crm_mon says was printed by that of Pacemaker 3.0.0, in testdata/crm_mon.
type cluster struct {
	t   *testing.T
	dir string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t, t.TempDir()}
	for name, text := range map[string]string{
		"uname":    `echo store1`,
		"logger":   `echo "$@" >>"$dir/log"`,
		"sleep":    `exec /bin/sleep 0.05`,
		"drbdadm":  `case $1 in cstate) cat "$dir/connection" ;; role) cat "$dir/role" ;; *) cat "$dir/disk" ;; esac`,
		"crm_node": `case $1 in --quorum) cat "$dir/quorum" ;; --list) printf '31 store1 member\n32 store2 member\n' ;; esac`,
		"crmadmin": `[ -e "$dir/answers" ]`,
		// The state of the peer may change with each look: the first line of
		// "states" is the one of now, the last one stays.
		"crm_mon": `state=$(head -n 1 "$dir/states"); [ "$(wc -l <"$dir/states")" -lt 2 ] || sed -i 1d "$dir/states"; cat "$crm_mon/$state.xml"`,
		"cibadmin": `case $* in
			*--query*) cat "$dir/constraint" 2>/dev/null ;;
			*--create*) [ ! -e "$dir/constraint" ] && [ ! -e "$dir/readonly" ] && eval "text=\${$#}" && printf '%s\n' "$text" >"$dir/constraint" ;;
			*--delete*) rm "$dir/constraint"; [ ! -e "$dir/breaks" ] || echo WFConnection >"$dir/connection" ;;
			esac`,
	} {
		c.program(name, text)
	}
	c.write("disk", "UpToDate/DUnknown\n")
	c.write("connection", "WFConnection\n")
	c.write("role", "Primary/Unknown\n")
	c.write("quorum", "1\n")
	c.write("answers", "")
	return c
}

func testdata(t *testing.T) string {
	path, err := filepath.Abs("testdata/crm_mon")
	require.NoError(t, err)
	return path
}

// program puts a program of this name in the place of the host's.
func (c *cluster) program(name, text string) {
	c.write("bin/"+name, fmt.Sprintf("#!/bin/sh\ndir=%s crm_mon=%s\n%s\n", c.dir, testdata(c.t), text))
	require.NoError(c.t, os.Chmod(filepath.Join(c.dir, "bin", name), 0o755))
}

func (c *cluster) write(name, text string) {
	path := filepath.Join(c.dir, name)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o644))
}

// fence runs the handler and returns its exit code and the constraint.
func (c *cluster) fence(seconds int, states ...string) (int, string) {
	c.t.Helper()
	c.write("states", strings.Join(states, "\n")+"\n")
	code := c.run("fence-peer.sh", fmt.Sprint(seconds))
	return code, c.constraint()
}

// constraint is that of the handler, or "".
func (c *cluster) constraint() string {
	text, _ := os.ReadFile(filepath.Join(c.dir, "constraint"))
	return string(text)
}

// run runs one of DRBD's handlers and returns its exit code.
func (c *cluster) run(handler string, args ...string) int {
	c.t.Helper()
	script, err := phases.ReadFile("phases/drbd/" + handler)
	require.NoError(c.t, err)
	text := strings.Replace(string(script), "PATH=/usr/sbin", "PATH="+c.dir+"/bin:/usr/sbin", 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", text, handler}, args...)...)
	cmd.Env = append(os.Environ(), "DRBD_RESOURCE=nfs", "DRBD_PEER=store2")
	out, err := cmd.CombinedOutput()
	c.t.Log(string(out))
	if err != nil {
		require.IsType(c.t, &exec.ExitError{}, err)
	}
	return cmd.ProcessState.ExitCode()
}

const placed = `attribute="#uname" operation="ne" value="store1"`

func TestFencePeer(t *testing.T) {
	t.Run("the link alone is cut", func(t *testing.T) {
		code, constraint := newCluster(t).fence(20, "online")
		assert.Equal(t, 4, code)
		assert.Contains(t, constraint, placed)
		assert.Contains(t, constraint, `role="Promoted" score="-INFINITY"`)
		assert.Contains(t, constraint, `rsc="nfs-drbd"`)
	})
	t.Run("the peer dies and is fenced", func(t *testing.T) {
		// It seems to be there until the cluster has noticed.
		c := newCluster(t)
		require.NoError(t, os.Remove(filepath.Join(c.dir, "answers")))
		code, constraint := c.fence(20, "online", "unclean", "unclean", "offline")
		assert.Equal(t, 7, code)
		assert.Contains(t, constraint, placed)
	})
	t.Run("the peer was fenced and is on its way back", func(t *testing.T) {
		// Its Corosync is there at once, its Pacemaker only after SBD's delay.
		c := newCluster(t)
		require.NoError(t, os.Remove(filepath.Join(c.dir, "answers")))
		code, constraint := c.fence(20, "pending")
		assert.Equal(t, 4, code)
		assert.Contains(t, constraint, placed)
		c.write("constraint", `<expression id="e" attribute="#uname" operation="ne" value="store2"/>`+"\n")
		code, _ = c.fence(20, "pending")
		assert.Equal(t, 1, code, "it may be the one with newer data")
	})
	t.Run("the peer was shut down", func(t *testing.T) {
		code, constraint := newCluster(t).fence(20, "offline")
		assert.Equal(t, 5, code)
		assert.Contains(t, constraint, placed)
	})
	t.Run("the peer cannot be fenced", func(t *testing.T) {
		code, _ := newCluster(t).fence(1, "unclean")
		assert.Equal(t, 1, code, "writes stay frozen")
	})
	t.Run("a member that does not answer is not believed", func(t *testing.T) {
		c := newCluster(t)
		require.NoError(t, os.Remove(filepath.Join(c.dir, "answers")))
		code, _ := c.fence(1, "online")
		assert.Equal(t, 1, code)
	})
	t.Run("no quorum", func(t *testing.T) {
		c := newCluster(t)
		c.write("quorum", "0\n")
		code, constraint := c.fence(1, "online")
		assert.Equal(t, 1, code)
		assert.Empty(t, constraint, "what is written without a quorum counts for nothing")
	})
	t.Run("the CIB cannot be written", func(t *testing.T) {
		c := newCluster(t)
		c.write("readonly", "")
		code, _ := c.fence(1, "online")
		assert.Equal(t, 1, code)
	})
	t.Run("the peer has newer data", func(t *testing.T) {
		c := newCluster(t)
		c.write("constraint", `<expression id="e" attribute="#uname" operation="ne" value="store2"/>`+"\n")
		code, _ := c.fence(20, "offline")
		assert.Equal(t, 1, code, "a stale replica is never promoted")
	})
	t.Run("a replica that may be stale, alone", func(t *testing.T) {
		c := newCluster(t)
		c.write("disk", "Consistent/DUnknown\n")
		code, constraint := c.fence(20, "offline")
		assert.Equal(t, 5, code)
		assert.Empty(t, constraint)
	})
	t.Run("asked twice", func(t *testing.T) {
		c := newCluster(t)
		first, _ := c.fence(20, "online")
		again, _ := c.fence(20, "online")
		assert.Equal(t, []int{4, 4}, []int{first, again})
	})
}

func TestUnfencePeer(t *testing.T) {
	alike := func(t *testing.T) *cluster {
		c := newCluster(t)
		code, _ := c.fence(20, "online")
		require.Equal(t, 4, code)
		c.write("disk", "UpToDate/UpToDate\n")
		c.write("connection", "Connected\n")
		c.write("role", "Primary/Secondary\n")
		return c
	}
	t.Run("both are alike", func(t *testing.T) {
		c := alike(t)
		assert.Equal(t, 0, c.run("unfence-peer.sh"))
		assert.Empty(t, c.constraint())
		assert.Equal(t, 0, c.run("unfence-peer.sh"), "nothing to do")
	})
	t.Run("still being copied", func(t *testing.T) {
		c := alike(t)
		c.write("connection", "SyncSource\n")
		assert.Equal(t, 1, c.run("unfence-peer.sh"))
		assert.Contains(t, c.constraint(), placed)
	})
	t.Run("never by the secondary", func(t *testing.T) {
		c := alike(t)
		c.write("role", "Secondary/Primary\n")
		assert.Equal(t, 0, c.run("unfence-peer.sh"))
		assert.Contains(t, c.constraint(), placed)
	})
	t.Run("the link breaks at that moment", func(t *testing.T) {
		c := alike(t)
		before := c.constraint()
		c.write("breaks", "")
		assert.Equal(t, 1, c.run("unfence-peer.sh"))
		assert.Equal(t, before, c.constraint(), "it stands as before")
	})
}
