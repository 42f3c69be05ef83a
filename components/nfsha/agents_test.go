package nfsha

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// agent runs an action of one of our resource agents, with what it needs of
// resource-agents' functions, and returns its exit code and what it says.
func (c *cluster) agent(script, action string, parameters ...string) (int, string) {
	c.t.Helper()
	c.write("ocf/ocf-shellfuncs", `OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_UNIMPLEMENTED=3 OCF_ERR_CONFIGURED=6 OCF_NOT_RUNNING=7
ocf_exit_reason() { echo "$*"; }
check_binary() { command -v "$1" >/dev/null || exit 5; }
`)
	text, err := phases.ReadFile("phases/cluster/" + script)
	require.NoError(c.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", string(text), script, action)
	cmd.Env = append(os.Environ(), "PATH="+c.dir+"/bin:"+os.Getenv("PATH"), "OCF_FUNCTIONS_DIR="+c.dir+"/ocf",
		"HALINUX_PROC="+c.dir, "HA_RSCTMP="+c.dir, "HA_BIN="+c.dir+"/bin")
	for _, p := range parameters {
		cmd.Env = append(cmd.Env, "OCF_RESKEY_"+p)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(c.t, &exec.ExitError{}, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestAgentsDescribeThemselves(t *testing.T) {
	for _, script := range []string{"server.sh", "project.sh", "tickle.sh"} {
		code, said := (&cluster{t, t.TempDir()}).agent(script, "meta-data")
		assert.Equal(t, 0, code)
		assert.Contains(t, said, `<resource-agent name="`+strings.TrimSuffix(script, ".sh")+`"`)
	}
}

func TestServerAgent(t *testing.T) {
	server := func(t *testing.T) *cluster {
		c := &cluster{t, t.TempDir()}
		c.write("fs/nfsd/threads", "16\n")
		c.write("drbd", " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----\n")
		c.program("systemctl", `echo "$*" >>"$dir/done"; case $1 in stop) echo 0 >"$dir/fs/nfsd/threads" ;; is-active) [ ! -e "$dir/dead" ] ;; esac`)
		c.program("rpcinfo", `[ ! -e "$dir/silent" ]`)
		c.program("exportfs", ``)
		return c
	}
	parameters := func(c *cluster) []string { return []string{"state=" + c.dir + "/state", "replica=nfs"} }
	t.Run("serves", func(t *testing.T) {
		c := server(t)
		code, said := c.agent("server.sh", "start", parameters(c)...)
		assert.Equal(t, 0, code, said)
		assert.DirExists(t, c.dir+"/state")
		code, said = c.agent("server.sh", "monitor", parameters(c)...)
		assert.Equal(t, 0, code, said)
		code, said = c.agent("server.sh", "stop", parameters(c)...)
		assert.Equal(t, 0, code, said)
		code, _ = c.agent("server.sh", "monitor", parameters(c)...)
		assert.Equal(t, 7, code, "not running")
		assert.Contains(t, c.read("done"), "stop nfs-server.service", "the server before what it needs")
	})
	t.Run("hangs", func(t *testing.T) {
		c := server(t)
		c.write("silent", "")
		code, said := c.agent("server.sh", "monitor", parameters(c)...)
		assert.Equal(t, 1, code)
		assert.Contains(t, said, "16 threads and does not answer")
	})
	t.Run("waits for a frozen volume", func(t *testing.T) {
		c := server(t)
		c.write("silent", "")
		c.write("drbd", " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s---d-\n")
		code, said := c.agent("server.sh", "monitor", parameters(c)...)
		assert.Equal(t, 0, code, said)
	})
	t.Run("without a helper", func(t *testing.T) {
		c := server(t)
		c.write("dead", "")
		code, said := c.agent("server.sh", "monitor", parameters(c)...)
		assert.Equal(t, 1, code)
		assert.Contains(t, said, "nfs-mountd.service is")
	})
	t.Run("does not stop", func(t *testing.T) {
		c := server(t)
		c.program("systemctl", "exit 0")
		code, said := c.agent("server.sh", "stop", parameters(c)...)
		assert.Equal(t, 1, code)
		assert.Contains(t, said, "16 threads of the server are left")
	})
}

func TestTickleAgent(t *testing.T) {
	c := &cluster{t, t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(c.dir, "list"), 0o755))
	c.program("ss", `case $* in *-K*) ;; *) cat "$dir/connections" ;; esac`)
	c.program("tickle_tcp", `cat >>"$dir/sent"`)
	c.program("sleep", ``)
	c.write("connections", "0 0 10.10.0.102:2049 10.10.0.42:949\n0 0 10.10.0.102:2049 10.10.0.41:732\n")
	parameters := []string{"dir=" + c.dir + "/list", "ip=10.10.0.102", "port=2049"}
	do := func(action string) int {
		t.Helper()
		code, said := c.agent("tickle.sh", action, parameters...)
		t.Log(said)
		return code
	}
	const both = "10.10.0.102:2049 10.10.0.41:732\n10.10.0.102:2049 10.10.0.42:949\n"
	assert.Equal(t, 7, do("monitor"))
	assert.Equal(t, 0, do("start"))
	assert.Empty(t, c.read("sent"), "nobody is known yet")
	assert.Equal(t, 0, do("monitor"))
	assert.Equal(t, both, c.read("list/10.10.0.102"))

	c.write("connections", "0 0 10.10.0.102:2049 10.10.0.41:732\n")
	assert.Equal(t, 0, do("stop"), "the last state goes with it")
	assert.Equal(t, 7, do("monitor"))
	assert.Equal(t, 0, do("start"))
	assert.Eventually(t, func() bool { return c.read("sent") == strings.Repeat("10.10.0.102:2049 10.10.0.41:732\n", 6) }, 10*time.Second, 20*time.Millisecond)

	// Not mounted: a probe before anything has started.
	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, "list")))
	assert.Equal(t, 0, do("monitor"))
	assert.Equal(t, 0, do("stop"))
}
