package nfsha

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// The membership as corosync-quorumtool 3.1.9 prints it, and what the check says
// of it.
func TestTheWitnessVotes(t *testing.T) {
	const told = "- the witness does not vote\n"
	for name, c := range map[string]struct{ members, want string }{
		"it votes": {`         31          1    A,V,NMW storage1 (local)
        32          1    A,V,NMW storage2
         0          1            Qdevice
`, ""},
		"it is cut off": {`         31          1   A,NV,NMW storage1 (local)
        32          1   A,NV,NMW storage2
         0          0            Qdevice (votes 1)
`, told},
		"there is none": {`         31          1         NR storage1 (local)
        32          1         NR storage2
`, told},
	} {
		bin := t.TempDir()
		for program, text := range map[string]string{
			"crm_node": "echo 1", "corosync-cfgtool": ":", "crm_mon": ":", "sysctl": "echo 0",
			"corosync-quorumtool": "cat <<'END'\nFlags:            Quorate Qdevice\n" + c.members + "END",
		} {
			require.NoError(t, os.WriteFile(bin+"/"+program, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		}
		check, err := phases.ReadFile("phases/cluster/check.sh")
		require.NoError(t, err)
		cmd := exec.Command("sh", "-eu", "-c", `differs() { printf -- '- %s\n' "$*"; }`+"\npeer=storage2\n"+string(check))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		require.Equal(t, c.want, string(out), name)
	}
}
