package haedge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/tests/golden"
)

// examplePlan is a small site: two edges on two networks, two backends.
func examplePlan() host.AddressPlan {
	link := func(network, address, port string) host.Link {
		return host.Link{Network: network, Address: address, Interface: port}
	}
	return host.AddressPlan{
		Domain: "example.org",
		Networks: []host.Network{
			{Name: "lan", CIDR: "10.10.0.0/24"},
			{Name: "wan", CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"},
		},
		Hosts: []host.PlannedHost{
			{Name: "edge1", Links: []host.Link{link("lan", "10.10.0.11", "eth0"), link("wan", "192.0.2.11", "eth1")}},
			{Name: "edge2", Links: []host.Link{link("lan", "10.10.0.12", "eth0"), link("wan", "192.0.2.12", "eth1")}},
			{Name: "backend1", Links: []host.Link{link("lan", "10.10.0.21", "eth0")}},
			{Name: "backend2", Links: []host.Link{link("lan", "10.10.0.22", "eth0")}},
		},
	}
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEifqgANOTZ7vHIzPd7wuUQcS7vlGsgKQkl3eh34oJyx"

// example uses everything that the edge can do.
func example() *HAEdgeArgs {
	backends := func(port int) []Backend {
		return []Backend{{Host: "backend1", Port: port}, {Host: "backend2", Port: port}}
	}
	return &HAEdgeArgs{
		Hosts: []host.Host{
			{Name: "edge1", SSH: host.SSH{Address: "10.10.0.11", HostKey: hostKey}},
			{Name: "edge2", SSH: host.SSH{Address: "10.10.0.12", HostKey: hostKey}},
		},
		Plan:    examplePlan(),
		Network: "lan",
		VRRP:    VRRP{Profile: "fast"},
		VIPs: []VIP{
			{Name: "front", Address: "10.10.0.100", RouterID: 51},
			{Name: "side", Address: "10.10.0.101", RouterID: 52, Prefer: "edge2"},
		},
		BGP: &BGP{
			ASN:    65010,
			VIPs:   []PublicVIP{{Name: "public", Address: "198.51.100.10"}, {Name: "mail", Address: "198.51.100.11", Prefer: "edge2"}},
			Peers:  []Peer{{Name: "provider", Address: "192.0.2.1", ASN: 64500, Password: pulumi.String("sentinel-bgp"), TTLSecurity: true}},
			Accept: []string{"0.0.0.0/0"},
		},
		Sites: []Site{
			{Name: "www", Hosts: []string{"www", "example.org"}, Backends: backends(80), Persistence: "cookie",
				Check:     HTTPCheck{Port: 8081, Path: "/ping"},
				RateLimit: &RateLimit{Requests: 100}},
			{Name: "shop", Hosts: []string{"shop"}, VIPs: []string{"public"}, Backends: backends(8443), Persistence: "source", HSTS: -1,
				BackendTLS:  &BackendTLS{CA: pulumi.String("sentinel-ca"), ServerName: "shop.internal"},
				Certificate: Certificate{Source: "acme"}},
		},
		Services: []Service{
			{Name: "api", VIPs: []string{"front"}, Port: 6443, Backends: backends(6443), Persistence: "source",
				Check: ServiceCheck{Type: "https", Path: "/readyz", Host: "kubernetes", CA: pulumi.String("sentinel-ca")}},
			{Name: "db", VIPs: []string{"side"}, Port: 3306, CloseOnDown: true, Balance: "source",
				Backends: []Backend{{Host: "backend1", Port: 3306, Weight: 10}, {Address: "10.10.0.30", Port: 3306, Backup: true}, {Name: "old", Address: "10.10.0.31", Port: 3306, Maintenance: true}}},
		},
		DNS: &DNS{
			Forwarders: []string{"203.0.113.53"},
			Records: []Record{
				{Name: "@", Type: "MX", Value: "10 smtp"}, {Name: "smtp", Type: "CNAME", Value: "mail"},
				{Name: "@", Type: "TXT", Value: "v=spf1 -all"}, {Name: "_sip._tcp", Type: "SRV", Value: "1 2 5060 api"},
				{Name: "*.apps", Type: "A", Value: "10.10.0.100"}, {Name: "@", Type: "CAA", Value: `0 issue "ca.example"`},
			},
		},
		ACME:    &ACME{Directory: "https://acme.example/directory", Email: "admin@example.org"},
		Metrics: &Metrics{Network: "lan"},
		Now:     time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC),
	}
}

func exampleSecrets() secrets {
	return secrets{
		transfer: pulumi.String("sentinel-transfer"),
		leaf:     map[string]pulumi.StringInput{"www": pulumi.String("sentinel-leaf")},
		leafKey:  map[string]pulumi.StringInput{"www": pulumi.String("sentinel-key")},
	}
}

// text is everything that the phases put on the hosts.
func text(t *testing.T, a *HAEdgeArgs, h string) string {
	t.Helper()
	all, err := plan(a, exampleSecrets())
	require.NoError(t, err)
	var b strings.Builder
	for _, p := range all[h] {
		fmt.Fprintf(&b, "=== phase %s\n", p.Name)
		for _, f := range p.Files {
			fmt.Fprintf(&b, "--- %s %04o %s\n%s\n", f.Path, f.Mode, f.Owner, f.Content)
		}
	}
	return b.String()
}

func TestExampleIsValid(t *testing.T) {
	problems := example().Validate()
	require.NoError(t, problems.Err())
	minimal := &HAEdgeArgs{Hosts: example().Hosts, Plan: examplePlan(), Network: "lan", VIPs: example().VIPs[:1]}
	problems = minimal.Validate()
	require.NoError(t, problems.Err())
	assert.Contains(t, text(t, minimal, "edge1"), "10.10.0.100")
}

func TestFiles(t *testing.T) {
	for _, h := range []string{"edge1", "edge2"} {
		golden.Compare(t, "testdata/"+h+".golden", text(t, example(), h))
		for range 20 {
			require.Equal(t, text(t, example(), h), text(t, example(), h), "equal arguments must give equal files")
		}
		assert.NotContains(t, text(t, example(), h), "sentinel", "a secret is in a file's text")
	}
	drained := example()
	drained.Maintenance = []string{"edge1"}
	golden.Compare(t, "testdata/maintenance.golden", text(t, drained, "edge1"))
	assert.Equal(t, strings.ReplaceAll(text(t, example(), "edge2"), " 10.10.0.11:8402", " "), text(t, drained, "edge2"),
		"maintenance of one edge leaves the other's files as they are, but for whom it compares itself with")
}
