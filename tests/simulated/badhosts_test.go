package simulated_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/tests/simulated"
	"github.com/halinux/halinux/tests/sshkey"
)

// anAgent starts an SSH agent with a key, and returns the key and its folder.
func anAgent(t *testing.T) (sshkey.Key, string) {
	t.Helper()
	key, err := sshkey.New()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "agent") // a socket's path is limited to 108 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	closeAgent, err := sshkey.Serve(filepath.Join(dir, "s"), key)
	require.NoError(t, err)
	t.Cleanup(func() { _ = closeAgent() })
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "s"))
	return key, dir
}

// What is wrong with the hosts of a platform is one report, which names each
// host, the reason, after how long, and what to do.
func TestPreflightReportsEveryHost(t *testing.T) {
	key, dir := anAgent(t)

	// Numbers that no other test uses.
	const first = 61000
	start := func(i int) *simulated.Host {
		h, err := simulated.Start(first + i)
		if err != nil {
			t.Skipf("SKIP: no simulated host here: %v", err)
		}
		t.Cleanup(func() { _ = h.Close() })
		return h
	}
	well, refusing, other := start(0), start(1), start(2)
	refusing.Refuse()
	hung, err := net.Listen("tcp", net.JoinHostPort(simulated.Address(first+3).String(), "2022")) // takes connections and says nothing
	require.NoError(t, err)
	t.Cleanup(func() { _ = hung.Close() })

	known := func(k ssh.PublicKey) string { return string(ssh.MarshalAuthorizedKey(k)) }
	way := func(i int, key string) host.SSH {
		return host.SSH{Address: simulated.Address(first + i).String(), Port: simulated.Port, HostKey: key}
	}
	args := &host.BaseArgs{Hosts: []host.Host{
		{Name: "well", SSH: way(0, known(well.Key))},
		{Name: "refusing", SSH: way(1, known(refusing.Key))},
		{Name: "exchanged", SSH: way(2, key.Authorized())},
		{Name: "hung", SSH: way(3, known(other.Key))},
		{Name: "off", SSH: way(4, known(other.Key))},
		{Name: "keyless", SSH: host.SSH{Address: simulated.Address(first).String(), Port: simulated.Port, HostKey: known(well.Key), KeyFile: filepath.Join(dir, "nothing")}},
	}}
	report, err := host.Preflight(t.Context(), args, 2*time.Second)
	require.NoError(t, err)
	found := map[string]host.Finding{}
	for _, f := range report.Findings {
		require.NotContains(t, found, f.Host, "one finding for one cause")
		found[f.Host] = f
	}
	require.Len(t, found, 5, "%v", report)
	for name, want := range map[string]string{
		"refusing":  "it refuses root at " + simulated.Address(first+1).String() + ":2022",
		"exchanged": "at " + simulated.Address(first+2).String() + ":2022 another host key answers",
		"hung":      "no answer from " + simulated.Address(first+3).String() + ":2022 after ",
		"off":       "no answer from " + simulated.Address(first+4).String() + ":2022 after ",
		"keyless":   "the controller has no key",
	} {
		assert.Contains(t, found[name].What, want)
		assert.NotEmpty(t, found[name].Remedy, name)
	}
	assert.Contains(t, found["hung"].What, "it takes connections, but SSH does not begin")
	text := report.Err().Error()
	assert.Contains(t, text, "5 findings on 6 hosts, nothing was touched")
	for _, h := range []*simulated.Host{well, refusing, other} {
		commands, stdins := h.Payloads()
		assert.Empty(t, commands)
		assert.Empty(t, stdins)
	}
}

// A bastion's sshd drops most of a burst of connections: hosts behind it are
// asked over one.
func TestHostsBehindABastionShareOneConnectionToIt(t *testing.T) {
	anAgent(t)
	const first = 61100 // numbers that no other test uses
	var all []*simulated.Host
	for i := range 31 {
		h, err := simulated.Start(first + i)
		if err != nil {
			t.Skipf("SKIP: no simulated host here: %v", err)
		}
		t.Cleanup(func() { _ = h.Close() })
		all = append(all, h)
	}
	way := func(i int) host.SSH {
		return host.SSH{Address: simulated.Address(first + i).String(), Port: simulated.Port, HostKey: string(ssh.MarshalAuthorizedKey(all[i].Key))}
	}
	var hosts []host.Host
	for i := range all[1:] {
		bastion, ssh := way(0), way(i+1)
		ssh.Proxy = &bastion
		hosts = append(hosts, host.Host{Name: simulated.Name(i), SSH: ssh})
	}
	for _, h := range host.Probe(t.Context(), hosts, 30*time.Second) {
		assert.NoError(t, h.Drift.Err)
	}
	assert.Equal(t, 1, all[0].Connections())
	for _, h := range all[1:] {
		assert.Equal(t, 1, h.Connections())
	}
}
