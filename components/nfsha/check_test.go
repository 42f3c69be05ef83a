package nfsha

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The membership as corosync-quorumtool 3.1.9 prints it, and what the check says
// of it.
func TestTheClusterIsLookedAt(t *testing.T) {
	const told = "- the witness does not vote\n"
	const votes = `         31          1    A,V,NMW storage1 (local)
        32          1    A,V,NMW storage2
         0          1            Qdevice
`
	for name, c := range map[string]struct{ members, links, want string }{
		"it votes":                     {votes, ":", ""},
		"a link was down for a moment": {votes, "[ -e $0.asked ] || { : >$0.asked; echo 'nodeid: 32: disconnected'; }", ""},
		"a link is down":               {votes, "echo 'nodeid: 32: disconnected'", "- a link to storage2 is down\n"},
		"it is cut off": {`         31          1   A,NV,NMW storage1 (local)
        32          1   A,NV,NMW storage2
         0          0            Qdevice (votes 1)
`, ":", told},
		"there is none": {`         31          1         NR storage1 (local)
        32          1         NR storage2
`, ":", told},
	} {
		bin := t.TempDir()
		for program, text := range map[string]string{
			"crm_node": "echo 1", "corosync-cfgtool": c.links, "crm_mon": ":", "sysctl": "echo 0", "systemctl": "echo active",
			"corosync-quorumtool": "cat <<'END'\nFlags:            Quorate Qdevice\n" + c.members + "END",
		} {
			require.NoError(t, os.WriteFile(bin+"/"+program, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		}
		check, err := phases.ReadFile("phases/cluster/check.sh")
		require.NoError(t, err)
		cmd := exec.Command("sh", "-eu", "-c", `differs() { printf -- '- %s\n' "$*"; }`+"\npeer=storage2 watchdog=/dev/watchdog\n"+string(check))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		require.Equal(t, c.want, string(out), name)
	}
}

// From agents to the watchdog and back: SBD is switched on and off for the next
// start of the cluster, and a cluster that runs without it is not told to rely
// on it.
func TestSBDStartsWithTheClusterAlone(t *testing.T) {
	converge, err := phases.ReadFile("phases/cluster/converge.sh")
	require.NoError(t, err)
	_, block, found := strings.Cut(string(converge), "# SBD starts and ends with corosync alone.")
	require.True(t, found)
	block, _, found = strings.Cut(block, "# end of SBD")
	require.True(t, found)
	const refused = "error: the cluster runs here without SBD, which starts with it"
	for name, c := range map[string]struct {
		watchdog, corosync, sbd string
		enabled                 bool
		did, said               string
	}{
		"new, with a watchdog":               {"/dev/watchdog", "inactive", "inactive", false, "enable\n", ""},
		"it runs":                            {"/dev/watchdog", "active", "active", true, "", ""},
		"it waits after a boot":              {"/dev/watchdog", "active", "activating", true, "", ""},
		"agents before":                      {"/dev/watchdog", "active", "inactive", false, "enable\n", refused},
		"again, not restarted":               {"/dev/watchdog", "active", "inactive", true, "", refused},
		"it has died":                        {"/dev/watchdog", "active", "failed", true, "", refused},
		"new, with agents":                   {"", "inactive", "inactive", false, "", ""},
		"a watchdog before":                  {"", "active", "active", true, "disable\n", "SBD is not needed any more"},
		"a watchdog before, and not running": {"", "inactive", "inactive", true, "disable\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			enabled := "exit 1"
			if c.enabled {
				enabled = "exit 0"
			}
			systemctl := "#!/bin/sh\ncase $* in\n*show*) echo " + c.sbd + " ;;\n*is-active*corosync*) [ " + c.corosync + " = active ] ;;\n*is-enabled*) " + enabled + " ;;\n*able*sbd*) echo $1 >>" + dir + "/did ;;\n*) exit 9 ;;\nesac\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "systemctl"), []byte(systemctl), 0o755))
			cmd := exec.Command("sh", "-eu", "-c", "watchdog="+c.watchdog+"\nsay() { echo \"$*\"; }\nfail() { echo \"error: $1; $2\"; exit 1; }\n#"+block)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			assert.Equal(t, c.said == refused, err != nil, "%s", out)
			assert.True(t, strings.HasPrefix(string(out), c.said) && (c.said != "" || len(out) == 0), "%s", out)
			did, _ := os.ReadFile(filepath.Join(dir, "did"))
			assert.Equal(t, c.did, string(did))
		})
	}
}
