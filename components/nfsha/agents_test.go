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

// agent runs an action of one of our resource agents, with what it needs of
// resource-agents' functions, and returns its exit code and what it says.
func (c *cluster) agent(script, action string, parameters ...string) (int, string) {
	c.t.Helper()
	c.write("ocf/ocf-shellfuncs", `OCF_SUCCESS=0 OCF_ERR_GENERIC=1 OCF_ERR_UNIMPLEMENTED=3 OCF_ERR_CONFIGURED=6 OCF_NOT_RUNNING=7
ocf_exit_reason() { echo "$*"; }
ocf_is_probe() { [ "$HALINUX_PROBE" = yes ]; }
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
		if !strings.HasPrefix(p, "HALINUX_") {
			p = "OCF_RESKEY_" + p
		}
		cmd.Env = append(cmd.Env, p)
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
		assert.Regexp(t, "(?s)-q nfsdcld.service\nstop --job-mode=ignore-dependencies nfs-server.service\n.*stop --job-mode=ignore-dependencies nfsdcld.service\n", c.read("done"), "the server before what it needs, and nothing waited for")
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

// What somebody has changed by hand is set right where it is: a restart of the
// resource would take the export from clients that are at work.
func TestProjectAgent(t *testing.T) {
	c := &cluster{t, t.TempDir()}
	c.program("findmnt", `[ ! -e "$dir/unmounted" ] && echo xfs`)
	c.program("xfs_io", `case $* in *lsproj*) echo "projid = $(cat "$dir/number" 2>/dev/null)" ;; *chproj*) echo 7 >"$dir/number" ;; esac`)
	c.program("xfs_quota", `case $* in *report*) echo "#7 0 0 $(cat "$dir/limit" 2>/dev/null) 00" ;; *limit*) [ ! -e "$dir/refused" ] || exit 1; echo 20480 >"$dir/limit" ;; esac`)
	c.program("exportfs", `touch "$dir/etab"
case $1 in
-s) cat "$dir/etab" ;;
-u) echo "$*" >>"$dir/withdrawn"; grep -v " ${2%%:*}(" "$dir/etab" >"$dir/left" || :; mv "$dir/left" "$dir/etab" ;;
-o) grep -q " ${3%%:*}(" "$dir/etab" || echo "${3#*:} ${3%%:*}($2)" >>"$dir/etab" ;;
esac`)
	parameters := []string{"root=" + c.dir, "name=home", "number=7", "quota=20", "clients=10.10.0.41 10.10.0.42", "options=rw,sync",
		"mode=0755", fmt.Sprintf("owner=%d:%d", os.Getuid(), os.Getgid())}
	do := func(action string, more ...string) int {
		t.Helper()
		code, said := c.agent("project.sh", action, append(parameters, more...)...)
		t.Log(said)
		return code
	}
	const both = "/home 10.10.0.41(rw,sync,fsid=7)\n"
	assert.Equal(t, 7, do("monitor", "HALINUX_PROBE=yes"), "a probe starts nothing")
	assert.Empty(t, c.read("etab"))
	assert.Equal(t, 0, do("start"))
	assert.Contains(t, c.read("etab"), both)
	assert.Equal(t, "20480\n", c.read("limit"))

	c.write("limit", "0\n")
	c.write("etab", c.dir+"/home 10.10.0.42(rw,sync,fsid=7)\n")
	assert.Equal(t, 0, do("monitor", "HALINUX_PROBE=yes"))
	assert.Equal(t, "0\n", c.read("limit"), "a probe changes nothing")
	assert.Equal(t, 0, do("monitor"))
	assert.Equal(t, "20480\n", c.read("limit"))
	assert.Contains(t, c.read("etab"), both)
	_, err := os.Stat(filepath.Join(c.dir, "withdrawn"))
	assert.ErrorIs(t, err, os.ErrNotExist, "no client loses it for a moment")

	c.write("limit", "0\n")
	c.write("refused", "")
	assert.Equal(t, 1, do("monitor"), "it cannot be set right")
	require.NoError(t, os.Remove(filepath.Join(c.dir, "refused")))

	assert.Equal(t, 0, do("stop"))
	assert.Empty(t, c.read("etab"))
	c.write("unmounted", "")
	assert.Equal(t, 7, do("monitor"))
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

// The replicated volume grows some time after it was told to: the file system
// has to wait for it.
func TestVolumeGrows(t *testing.T) {
	grow := func(t *testing.T, role, after string) (*cluster, string, error) {
		c := &cluster{t, t.TempDir()}
		c.write("size", "838860800\n") // 800 MiB
		c.program("drbdadm", `case $1 in role) echo `+role+` ;; resize) echo >"$dir/told" ;; esac`)
		c.program("blockdev", `if [ -e "$dir/told" ]; then echo >>"$dir/told"; [ "$(wc -l <"$dir/told")" -le `+after+` ] || echo 943718400 >"$dir/size"; fi
cat "$dir/size"`)
		c.program("cibadmin", ``)
		c.program("findmnt", ``)
		c.program("xfs_growfs", `cp "$dir/size" "$dir/grown"`)
		script, err := phases.ReadFile("phases/volume/converge.sh")
		require.NoError(t, err)
		cmd := exec.Command("sh", "-euc", `say() { echo "$*"; }
fail() { echo "error: $1"; exit 1; }
wait_for() { n=0; shift 2; until "$@"; do n=$((n + 1)); [ $n -lt 5 ] || return 1; done; }
resource=nfs root=/srv/nfs first=yes size=900
`+string(script))
		cmd.Env = append(os.Environ(), "PATH="+c.dir+"/bin:"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return c, string(out), err
	}
	c, said, err := grow(t, "Primary/Secondary", "3")
	require.NoError(t, err, said)
	assert.Contains(t, said, "growing to 900 MiB")
	assert.Equal(t, "943718400\n", c.read("grown"), "the file system was told too early")

	c, said, err = grow(t, "Secondary/Primary", "0")
	require.NoError(t, err, said)
	assert.Empty(t, c.read("told"), "that is for the one that serves")

	_, said, err = grow(t, "Primary/Secondary", "99")
	require.Error(t, err)
	assert.Contains(t, said, "the replicated volume is as small as before")
}
