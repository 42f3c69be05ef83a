package nfsha

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// storage runs halinux-storage on a cluster and returns its exit code and what
// it says.
func (c *cluster) storage(args ...string) (int, string) {
	c.t.Helper()
	script, err := phases.ReadFile("phases/cluster/storage.sh")
	require.NoError(c.t, err)
	text := strings.Replace(string(script), "PATH=/usr/sbin", "PATH="+c.dir+"/bin:/usr/sbin", 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", text, "halinux-storage"}, args...)...)
	cmd.Env = append(os.Environ(), "HALINUX_STORAGE="+c.dir+"/storage", "HALINUX_STATE="+c.dir, "HALINUX_PROC="+c.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(c.t, &exec.ExitError{}, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// newServing is a cluster in which store1, where this runs, serves.
func newServing(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	c.write("storage", "name=nfs root=/srv/nfs vip=10.10.0.102 hosts='store1 store2'\n")
	c.write("states", "online\n")
	c.write("connection", "Connected\n")
	c.write("disk", "UpToDate/UpToDate\n")
	c.write("role", "Primary/Secondary\n")
	c.write("votes", "        31          1    A,V,NMW store1 (local)\n        32          1    A,V,NMW store2\n         0          1            Qdevice\n")
	c.write("drbd", " 0: cs:Connected ro:Primary/Secondary\n    ns:1 nr:0 oos:2048\n")
	resources, err := os.ReadFile(filepath.Join(testdata(t), "resources.xml"))
	require.NoError(t, err)
	c.write("resources", string(resources))
	c.program("crm_mon", `case $* in
		*resources*) cat "$dir/resources" ;;
		*failures*) cat "$dir/failures" 2>/dev/null ;;
		*) cat "$crm_mon/$(cat "$dir/states").xml" ;;
		esac`)
	c.program("corosync-quorumtool", `cat "$dir/votes"`)
	c.program("corosync-cfgtool", `cat "$dir/links" 2>/dev/null`)
	c.program("findmnt", `exit 1`)
	// A ban moves what it is about at once.
	c.program("crm_resource", `echo "$*" >>"$dir/done"; case $1 in --ban) sed -i s/store1/store2/ "$dir/resources" ;; esac`)
	return c
}

func (c *cluster) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(c.dir, name))
	return string(text)
}

func TestStorageStatus(t *testing.T) {
	code, said := newServing(t).storage("status")
	assert.Equal(t, 0, code, said)
	for _, want := range []string{"serves       store1\n", "VIP          10.10.0.102 on store1\n", "replication  Connected", "store2       member\n", "all is well"} {
		assert.Contains(t, said, want)
	}
	for name, test := range map[string]struct {
		spoil func(*cluster)
		want  string
	}{
		"a host is lost": {func(c *cluster) { c.write("states", "unclean\n") }, "store2 is lost and has not been fenced"},
		"a host is down": {func(c *cluster) { c.write("states", "offline\n") }, "store2 is not a member"},
		"a host starts":  {func(c *cluster) { c.write("states", "pending\n") }, "store2 has not joined the cluster yet"},
		"no quorum":      {func(c *cluster) { c.write("quorum", "0\n") }, "no quorum here"},
		"no witness": {func(c *cluster) {
			c.write("votes", "        31          1   A,NV,NMW store1 (local)\n         0          0            Qdevice (votes 1)\n")
		}, "the witness does not vote"},
		"a link is down":   {func(c *cluster) { c.write("links", "\tnodeid: 32: disconnected\n") }, "a link between the hosts is down"},
		"no replication":   {func(c *cluster) { c.write("connection", "StandAlone\n") }, "there is no replication: StandAlone"},
		"being filled":     {func(c *cluster) { c.write("connection", "SyncSource\n") }, "one replica is being filled: 2.0 MiB to go"},
		"a replica is old": {func(c *cluster) { c.write("disk", "UpToDate/Outdated\n") }, "the replicas are UpToDate/Outdated"},
		"a constraint": {func(c *cluster) {
			c.write("constraint", `<expression id="e" attribute="#uname" operation="ne" value="store1"/>`+"\n")
		},
			"only store1 may serve"},
		"a split brain": {func(c *cluster) { c.write("split-brain/nfs", "2026-11-21T00:00:00Z\n") }, "split brain since 2026-11-21T00:00:00Z"},
		"a failure": {func(c *cluster) {
			c.write("failures", `<failure op_key="nfs-vip_start_0" node="store2" exitstatus="not running"/>`+"\n")
		},
			"failed: nfs-vip_start_0 on store2: not running"},
		"the VIP is down": {func(c *cluster) {
			c.write("resources", strings.Replace(c.read("resources"), `id="nfs-vip" resource_agent="ocf:heartbeat:IPaddr2" role="Started"`, `id="nfs-vip" resource_agent="ocf:heartbeat:IPaddr2" role="Stopped"`, 1))
		}, "the VIP is not where the server is"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newServing(t)
			test.spoil(c)
			code, said := c.storage("status")
			assert.Equal(t, 1, code, said)
			assert.Contains(t, said, test.want)
		})
	}
}

func TestStorageMove(t *testing.T) {
	c := newServing(t)
	code, said := c.storage("move")
	assert.Equal(t, 0, code, said)
	assert.Contains(t, said, "store2 serves")
	assert.Equal(t, "--ban --resource nfs-drbd --promoted --node store1\n--clear --resource nfs-drbd\n", c.read("done"), "either host may serve again")

	for _, state := range []string{"UpToDate/Inconsistent", "UpToDate/DUnknown"} {
		c := newServing(t)
		c.write("disk", state+"\n")
		code, said := c.storage("move")
		assert.Equal(t, 1, code)
		assert.Contains(t, said, "store2 cannot serve")
		assert.Empty(t, c.read("done"), "nothing is touched")
	}
}

func TestStorageSplitBrain(t *testing.T) {
	split := func(t *testing.T, role string) *cluster {
		c := newServing(t)
		c.write("connection", "StandAlone\n")
		c.write("disk", "UpToDate/DUnknown\n")
		c.write("role", role+"\n")
		c.write("split-brain/nfs", "2026-11-21T00:00:00Z\n")
		c.program("drbdadm", `case "$*" in
			cstate*) cat "$dir/connection" ;; role*) cat "$dir/role" ;; dstate*) cat "$dir/disk" ;;
			*) echo "$*" >>"$dir/done"; [ "$1" != connect ] || echo Connected >"$dir/connection" ;;
			esac`)
		return c
	}
	t.Run("says what each side would lose", func(t *testing.T) {
		c := split(t, "Primary/Unknown")
		code, said := c.storage("split-brain")
		assert.Equal(t, 0, code)
		assert.Contains(t, said, "split brain since 2026-11-21T00:00:00Z")
		assert.Contains(t, said, "2.0 MiB here have been changed")
		assert.Empty(t, c.read("done"))
	})
	t.Run("the loser", func(t *testing.T) {
		c := split(t, "Secondary/Unknown")
		code, said := c.storage("split-brain", "discard", "store1")
		assert.Equal(t, 0, code, said)
		assert.Equal(t, "disconnect nfs\n-- --discard-my-data connect nfs\n", c.read("done"))
		assert.NoFileExists(t, filepath.Join(c.dir, "split-brain/nfs"))
	})
	t.Run("the loser in standby", func(t *testing.T) {
		c := split(t, "Secondary/Unknown")
		require.NoError(t, os.Remove(filepath.Join(c.dir, "connection")))
		code, said := c.storage("split-brain", "discard", "store2")
		assert.Equal(t, 1, code, "nothing is stopped where the data is kept")
		assert.Contains(t, said, "the replica is stopped here")
		code, said = c.storage("split-brain", "discard", "store1")
		assert.Equal(t, 0, code, said)
		assert.Equal(t, "up nfs\ndisconnect nfs\n-- --discard-my-data connect nfs\n", c.read("done"))
	})
	t.Run("the one that serves does not lose", func(t *testing.T) {
		c := split(t, "Primary/Unknown")
		code, said := c.storage("split-brain", "discard", "store1")
		assert.Equal(t, 1, code)
		assert.Contains(t, said, "store1 serves, and its changes cannot be thrown away")
		assert.Empty(t, c.read("done"))
	})
	t.Run("the other side", func(t *testing.T) {
		c := split(t, "Primary/Unknown")
		code, said := c.storage("split-brain", "discard", "store2")
		assert.Equal(t, 0, code, said)
		assert.Equal(t, "connect nfs\n", c.read("done"), "nothing of its own is thrown away")
	})
	t.Run("none there", func(t *testing.T) {
		c := split(t, "Secondary/Unknown")
		require.NoError(t, os.Remove(filepath.Join(c.dir, "split-brain/nfs")))
		code, _ := c.storage("split-brain", "discard", "store1")
		assert.Equal(t, 1, code)
		code, _ = c.storage("split-brain", "discard", "store9")
		assert.Equal(t, 1, code)
		assert.Empty(t, c.read("done"))
	})
}

func TestStorageMetrics(t *testing.T) {
	c := newServing(t)
	code, said := c.storage("metrics")
	assert.Equal(t, 0, code, said)
	for _, want := range []string{"serves 1", "address 1", "quorate 1", "witness 1", "members 2", "connected 1", "replica_up_to_date 1", "peer_up_to_date 1", "behind_mebibytes 2.0", "fenced_off 0", "split_brain 0", "failures 0"} {
		assert.Contains(t, said, "\nhalinux_storage_"+want+"\n")
	}
	assert.NotContains(t, said, "project")

	c.write("states", "unclean\n")
	c.write("quorum", "0\n")
	c.write("votes", "\n")
	c.write("connection", "WFConnection\n")
	c.write("disk", "UpToDate/DUnknown\n")
	c.write("split-brain/nfs", "x\n")
	c.write("failures", `<failure op_key="nfs-vip_start_0" node="store2" exitstatus="not running"/>`+"\n")
	c.program("findmnt", "exit 0")
	c.program("xfs_quota", `echo "#7 2048 0 102400 00"`)
	c.program("crm_resource", `case $* in *home*) echo 7 ;; *) echo 8 ;; esac`)
	code, said = c.storage("metrics")
	assert.Equal(t, 0, code, said)
	for _, want := range []string{"quorate 0", "witness 0", "members 1", "connected 0", "peer_up_to_date 0", "split_brain 1", "failures 1",
		`project_used_mebibytes{project="home"} 2`, `project_quota_mebibytes{project="home"} 100`} {
		assert.Contains(t, said, "\nhalinux_storage_"+want+"\n")
	}
}

// Alerts ask for what is written, and for all of it that can be wrong.
func TestAlertsAskForWhatIsWritten(t *testing.T) {
	alerts, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	script, err := phases.ReadFile("phases/cluster/storage.sh")
	require.NoError(t, err)
	for _, name := range regexp.MustCompile(`halinux_storage_([a-z_]+)`).FindAllStringSubmatch(string(alerts), -1) {
		assert.Regexp(t, `gauge `+name[1]+` |halinux_storage_`+name[1]+`\{`, string(script))
	}
	for _, wrong := range []string{"serves", "split_brain", "members", "witness", "connected", "fenced_off", "failures"} {
		assert.Contains(t, string(alerts), "halinux_storage_"+wrong)
	}
}
