package nfsha

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/planned"
)

// examplePlan is a small site: two storage hosts on two networks, and two hosts
// that could be the witness.
func examplePlan() host.AddressPlan {
	link := func(network, address, port string) host.Link {
		return host.Link{Network: network, Address: address, Interface: port}
	}
	return host.AddressPlan{
		Domain:   "example.org",
		Networks: []host.Network{{Name: "lan", CIDR: "10.10.0.0/24", Gateway: "10.10.0.1"}, {Name: "storage", CIDR: "10.11.0.0/24"}},
		Hosts: []host.PlannedHost{
			{Name: "store1", Links: []host.Link{link("lan", "10.10.0.31", "eth0"), link("storage", "10.11.0.31", "eth1")}},
			{Name: "store2", Links: []host.Link{link("lan", "10.10.0.32", "eth0"), link("storage", "10.11.0.32", "eth1")}},
			{Name: "edge1", Links: []host.Link{link("lan", "10.10.0.11", "eth0")}},
			{Name: "edge2", Links: []host.Link{link("lan", "10.10.0.12", "eth0")}},
			{Name: "client1", Links: []host.Link{link("lan", "10.10.0.41", "eth0")}},
		},
	}
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEifqgANOTZ7vHIzPd7wuUQcS7vlGsgKQkl3eh34oJyx"

func aHost(name, address string) host.Host {
	return host.Host{Name: name, SSH: host.SSH{Address: address, HostKey: hostKey}}
}

func exampleDisks() host.Disks {
	return host.Disks{
		Arrays: []host.Array{{Name: "pair", Level: "1", Members: []string{"/dev/disk/by-id/a", "/dev/disk/by-id/b"}}},
		Groups: []host.VolumeGroup{{Name: "data", Devices: []string{"pair"}, Volumes: []host.Volume{{Name: "nfs", Size: 102400}}}},
	}
}

// example uses everything that the storage can do, with a watchdog.
func example() *NFSHAClusterArgs {
	return &NFSHAClusterArgs{
		Hosts: []host.Host{aHost("store1", "10.10.0.31"), aHost("store2", "10.10.0.32")},
		Plan:  examplePlan(), Network: "lan", Replication: "storage", VIP: "10.10.0.102",
		Disks: map[string]host.Disks{"store1": exampleDisks(), "store2": exampleDisks()}, Volume: "data/nfs",
		Witnesses: []host.Host{aHost("edge1", "10.10.0.11"), aHost("edge2", "10.10.0.12")},
		Fencing:   Fencing{Watchdog: &Watchdog{Module: "softdog", Device: "/dev/watchdog1"}},
		Projects: []Project{
			{Name: "home", Quota: 20480, Clients: []string{"lan", "192.0.2.7"}, Mode: "0755", Owner: "1000:users"},
			{Name: "kubernetes", Quota: 40960, ID: 7, Clients: []string{"10.10.0.40/29"}, NoRootSquash: true},
			{Name: "public", Quota: 1024, Clients: []string{"0.0.0.0/0"}, Anywhere: true, ReadOnly: true},
		},
		Provisioner: &Provisioner{Project: "kubernetes", Keys: []string{hostKey + " kubernetes"}},
		Purge:       []string{"old"},
	}
}

// exampleAgents fences by agents instead.
func exampleAgents() *NFSHAClusterArgs {
	a := example()
	a.Fencing = Fencing{Agents: []FenceAgent{
		{Host: "store1", Agent: "fence_ipmilan", Options: map[string]string{"ip": "10.12.0.31", "username": "halinux", "lanplus": "1"},
			Secrets: map[string]pulumi.StringInput{"password": pulumi.String("sentinel<1>")}},
		{Host: "store2", Agent: "fence_ipmilan", Options: map[string]string{"ip": "10.12.0.32", "username": `a"&b`},
			Secrets: map[string]pulumi.StringInput{"password": pulumi.String("sentinel-2")}},
		{Host: "store2", Agent: "fence_apc_snmp", Package: "fence-agents-extra", Options: map[string]string{"ip": "10.12.0.9", "port": "7"},
			Secrets: map[string]pulumi.StringInput{"snmp_priv_passwd": pulumi.String("sentinel-3")}},
	}}
	return a
}

func exampleSecrets() secrets {
	s := pulumi.String("sentinel")
	return secrets{cluster: s, replication: s, ca: s, witness: s, node: s, agents: map[string]pulumi.StringInput{
		"fence-store1-1-password": s, "fence-store2-1-password": s, "fence-store2-2-snmp_priv_passwd": s,
	}}
}

// text is everything that the steps put on the hosts, without the scripts.
func text(t *testing.T, a *NFSHAClusterArgs) string {
	t.Helper()
	steps, err := plan(a, exampleSecrets())
	require.NoError(t, err)
	var b strings.Builder
	for i, step := range steps {
		for _, h := range step.hosts() {
			for _, p := range step[h] {
				fmt.Fprintf(&b, "=== step %d: %s on %s\n", i+1, p.Name, h)
				b.WriteString(planned.Text(p))
			}
		}
	}
	return b.String()
}

func TestExamplesAreValid(t *testing.T) {
	for _, a := range []*NFSHAClusterArgs{example(), exampleAgents()} {
		problems := a.Validate()
		require.NoError(t, problems.Err())
	}
}

func TestFiles(t *testing.T) {
	golden.Compare(t, "testdata/watchdog.golden", text(t, example()))
	golden.Compare(t, "testdata/agents.golden", text(t, exampleAgents()))
	for range 20 {
		require.Equal(t, text(t, exampleAgents()), text(t, exampleAgents()), "equal arguments must give equal files")
	}
	assert.NotContains(t, text(t, exampleAgents()), "sentinel", "a secret is in a file's text")
}

// changed are the phases, as "host phase", whose content a change of the
// arguments changes.
func changed(t *testing.T, before, after *NFSHAClusterArgs) []string {
	t.Helper()
	named := func(a *NFSHAClusterArgs) map[string]host.Phase {
		steps, err := plan(a, exampleSecrets())
		require.NoError(t, err)
		all := map[string]host.Phase{}
		for _, step := range steps {
			for h, list := range step {
				for _, p := range list {
					all[h+" "+p.Name] = p
				}
			}
		}
		return all
	}
	return planned.Changed(named(before), named(after))
}

func TestAChangeTouchesOnlyWhatItMust(t *testing.T) {
	a := example()
	a.Projects[0].Quota = 30720
	assert.Equal(t, []string{"store1 resources"}, changed(t, example(), a), "a project grows")
	a = example()
	a.Projects = a.Projects[1:]
	assert.Equal(t, []string{"store1 resources"}, changed(t, example(), a), "a project goes")

	a = example()
	for h, d := range a.Disks {
		d.Groups[0].Volumes[0].Size = 204800
		a.Disks[h] = d
	}
	assert.Equal(t, []string{"store1 disks", "store1 volume", "store2 disks", "store2 volume"}, changed(t, example(), a), "the volume grows")

	a = example()
	a.Witnesses = []host.Host{a.Witnesses[1], a.Witnesses[0]}
	assert.Equal(t, []string{"store1 cluster", "store2 cluster"}, changed(t, example(), a), "another witness votes")

	a = example()
	a.Disks["store1"].Arrays[0].Members[0] = "/dev/disk/by-id/new"
	assert.Equal(t, []string{"store1 disks"}, changed(t, example(), a), "a disk is replaced")

	a = exampleAgents()
	a.Fencing.Agents[0].Options["ip"] = "10.12.0.41"
	assert.Equal(t, []string{"store1 fencing"}, changed(t, exampleAgents(), a), "a management controller moves")
}

// The witness has to notice a lost host before the other's watchdog fires, and
// where there is none may take its time as the token does.
func TestTheWitnessIsAskedInTime(t *testing.T) {
	asks := func(a *NFSHAClusterArgs) (vote, sync string) {
		t.Helper()
		m := regexp.MustCompile(`\n\t\ttimeout: (\d+)\n\t\tsync_timeout: (\d+)\n`).FindStringSubmatch(text(t, a))
		require.NotNil(t, m)
		return m[1], m[2]
	}
	for name, c := range map[string]struct {
		a          *NFSHAClusterArgs
		token      time.Duration
		vote, sync string
	}{
		"watchdog of 5 s":          {example(), 2 * time.Second, "3000", "4000"},
		"watchdog, a longer token": {example(), 5 * time.Second, "3000", "4000"},
		"agents":                   {exampleAgents(), 2 * time.Second, "3000", "4000"},
		"agents, a short token":    {exampleAgents(), time.Second, "3000", "4000"},
		"agents, a longer token":   {exampleAgents(), 4 * time.Second, "6000", "8000"},
	} {
		c.a.Token = c.token
		vote, sync := asks(c.a)
		assert.Equal(t, c.vote+" "+c.sync, vote+" "+sync, name)
	}
}

func TestProjectIDsStay(t *testing.T) {
	assert.Equal(t, 69817099, Project{Name: "home"}.id(), "an id that changes makes all mounted handles stale")
	assert.Equal(t, 7, Project{Name: "home", ID: 7}.id())
}

func TestDeviceUnit(t *testing.T) {
	assert.Equal(t, "dev-data-nfs.device", deviceUnit("/dev/data/nfs"))
	assert.Equal(t, `dev-a\x2db-c.device`, deviceUnit("/dev/a-b/c"))
}

// TestAccess is what a provisioner is told, and its key.
func TestAccess(t *testing.T) {
	a := example()
	a.Hosts[1].SSH.Port = 2222
	a.Provisioner.Keys, a.Provisioner.Key = nil, pulumi.String(hostKey)
	l := a.Validate()
	require.NoError(t, l.Err())
	assert.Equal(t, Access{
		Server: "10.10.0.102", Path: "/srv/nfs/kubernetes", MountOptions: mountOptions,
		Hosts: []string{"10.10.0.31", "10.10.0.32:2222"}, KnownHosts: []string{"10.10.0.31 " + hostKey, "[10.10.0.32]:2222 " + hostKey},
		User: "halinux-volumes", MiB: 40960,
	}, a.Access())
	p, err := a.provisionerPhase("", secrets{})
	require.NoError(t, err)
	assert.Contains(t, planned.Text(p), `/.ssh/authorized_keys 0640 root:halinux-volumes
restrict,command="exec sudo -n /usr/local/lib/halinux/volumes \"$SSH_ORIGINAL_COMMAND\"" [secret key]
`)
	assert.Equal(t, pulumi.String(hostKey), p.Secrets["key"])
}

func TestServes(t *testing.T) {
	a := example()
	for address, want := range map[string]bool{"10.10.0.41": true, "10.10.0.47": true, "10.10.0.48": false, "10.11.0.41": false} {
		assert.Equal(t, want, a.Serves("kubernetes", netip.MustParseAddr(address)), address)
	}
	a.Projects = []Project{{Name: "x", Clients: []string{"storage", "client1", "10.10.0.99"}}}
	for address, want := range map[string]bool{"10.11.0.7": true, "10.10.0.41": true, "10.10.0.99": true, "10.10.0.98": false} {
		assert.Equal(t, want, a.Serves("x", netip.MustParseAddr(address)), address)
	}
	assert.False(t, a.Serves("y", netip.MustParseAddr("10.10.0.41")))
}
