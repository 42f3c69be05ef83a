package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/stacks"
	"github.com/halinux/halinux/tests/simulated"
	"github.com/halinux/halinux/tests/sshkey"
)

// TestMain serves simulated hosts when the test starts itself as their process.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "_simulated" {
		if err := run(context.Background(), os.Args[1:], "", 0, 0, false, "", ""); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A simulated host takes a phase as a real one does, and a check of it finds
// that phase; a payload that is cut off is an error.
func TestSimulatedHost(t *testing.T) {
	dir, err := os.MkdirTemp("", "bench") // a socket's path is limited to 108 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const first = 60000
	end, err := startSimulated(t.Context(), first, 2, dir)
	require.NoError(t, err)
	defer end()
	socket, closeAgent, err := startAgent(dir)
	require.NoError(t, err)
	defer closeAgent()
	t.Setenv("SSH_AUTH_SOCK", socket)

	known, err := os.ReadFile(filepath.Join(dir, "known_hosts"))
	require.NoError(t, err)
	_, _, key, _, _, err := ssh.ParseKnownHosts(known)
	require.NoError(t, err)
	h := host.Host{Name: simulated.Name(0), SSH: host.SSH{
		Address: simulated.Address(first).String(), Port: simulated.Port, HostKey: string(ssh.MarshalAuthorizedKey(key)),
	}}
	require.Empty(t, probeOne(t, h).Phases)

	client, err := ssh.Dial("tcp", h.SSH.Address+":2022", &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{anyKey(t)}, HostKeyCallback: ssh.FixedHostKey(key),
	})
	require.NoError(t, err)
	defer client.Close()
	say := func(stdin string) (string, error) {
		s, err := client.NewSession()
		require.NoError(t, err)
		s.Stdin = strings.NewReader(stdin)
		out, err := s.Output("# time on host0001\n{ cat <<'END OF PHASE'\nphase time host0001 'x' 600 no\nEND OF PHASE\ncat; } | sh /var/lib/halinux/lib.sh converge \"$SSH_CONNECTION\"\n")
		return string(out), err
	}
	_, err = say("secret a b\n")
	require.Error(t, err)
	out, err := say("end\n")
	require.NoError(t, err)
	require.Equal(t, `{"phase":"time","host":"host0001","changed":[]}`+"\n", out)
	require.Contains(t, probeOne(t, h).Phases, "time")
}

func probeOne(t *testing.T, h host.Host) *host.Drift {
	t.Helper()
	d := host.Probe(t.Context(), []host.Host{h}, 30*time.Second)[0].Drift
	require.NoError(t, d.Err)
	return d
}

func anyKey(t *testing.T) ssh.AuthMethod {
	t.Helper()
	key, err := sshkey.New()
	require.NoError(t, err)
	return ssh.PublicKeys(key)
}

// What a process leaves behind is ended and counted.
func TestMeasureCountsOrphans(t *testing.T) {
	c, said, err := measure(exec.Command("sh", "-c", "echo said; (sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000') >/dev/null 2>&1 & exit 0"))
	require.NoError(t, err)
	require.Equal(t, "said\n", said)
	require.Positive(t, c.Wall)
	now, err := children()
	require.NoError(t, err)
	require.Empty(t, now, "the orphan lives")

	_, said, err = measure(exec.Command("sh", "-c", "echo why; exit 3"))
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "why")
	require.Equal(t, "why\n", said)
}

// Every size is compared with the one before it, by what a host of it costs.
func TestGrowth(t *testing.T) {
	all := []grown{{hosts: 103, state: 1030, up: cost{Wall: 103 * time.Second}}, {hosts: 1003, state: 2006, up: cost{Wall: 1003 * time.Second}}}
	found := map[string]float64{}
	for _, m := range workers.measurements(all) {
		require.Equal(t, "bench-scale", m.ID)
		require.Contains(t, m.Note, "103 hosts: up 103.0 s")
		found[m.Metric] = m.Value
	}
	require.InDelta(t, 0.2, found["bytes of state per host, 1003 hosts against 103"], 1e-9)
	require.InDelta(t, 1, found["time of up per host, 1003 hosts against 103"], 1e-9)
	require.Empty(t, plainHosts.measurements(all[:1]))
}

// What the benchmark writes is a platform: the program takes it as it stands.
func TestGrowingSettings(t *testing.T) {
	for _, k := range []series{plainHosts, workers} {
		text := k.config(2000, 5)
		require.Equal(t, k.masters, strings.Count(text, "control-plane"), text)
		var file struct{ Config map[string]any }
		require.NoError(t, yaml.Unmarshal([]byte(text), &file))
		// The keys of the hosts are not there yet.
		file.Config["halinux:ssh"] = map[string]any{"insecureIgnoreHostKey": true}
		settings := map[string]string{}
		for key, v := range file.Config {
			value, err := json.Marshal(v)
			require.NoError(t, err)
			settings[strings.TrimPrefix(key, "halinux:")] = strings.Trim(string(value), `"`)
		}
		c, err := stacks.Parse(settings)
		require.NoError(t, err)
		require.Len(t, c.Hosts, 5)
	}
	for _, text := range []string{"0", "100,", "2000", "many"} {
		_, err := parseSizes(text)
		require.Error(t, err, text)
	}
}

func TestChanges(t *testing.T) {
	for text, want := range map[string]bool{
		"Resources:\n    42 unchanged\n":                         false,
		"Resources:\n    + 42 created\n":                         true,
		"Resources:\n    + 2 to create\n    40 unchanged\n":      true,
		"Resources:\n    ~ 1 updated\n    41 unchanged\n":        true,
		"Resources:\n    +-1 to replace\n    41 unchanged\n":     true,
		"Resources:\n    - 1 deleted\n    41 unchanged\n":        true,
		" +  command:remote:Command base-edge1-time created (0)": false,
	} {
		require.Equal(t, want, changes.MatchString(text), text)
	}
}

func TestDifference(t *testing.T) {
	require.Empty(t, difference("a\nb\n", "b\na\n"))
	require.Equal(t, "- a\n+ c\n", difference("a\nb\n", "b\nc\n"))
}

func TestRecap(t *testing.T) {
	const text = `
PLAY RECAP *****
backend1                   : ok=17   changed=0    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0
edge1                      : ok=30   changed=2    unreachable=0    failed=0    skipped=4    rescued=0    ignored=0
edge2                      : ok=30   changed=2    unreachable=0    failed=1    skipped=4    rescued=0    ignored=0
`
	found := recap.FindAllStringSubmatch(text, -1)
	require.Len(t, found, 2, "a host that failed is not one that ended well")
	require.Equal(t, "2", found[1][2])
}
