package haedge

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
)

// Each case spoils one thing; the report must name its path, once, and nothing else.
func TestValidate(t *testing.T) {
	for want, spoil := range map[string]func(*HAEdgeArgs){
		"hosts: 1 edge": func(a *HAEdgeArgs) { a.Hosts = a.Hosts[:1]; a.VIPs[1].Prefer = ""; a.BGP.VIPs[1].Prefer = "" },
		"hosts[1].name: edge1 is named twice": func(a *HAEdgeArgs) {
			a.Hosts = append(a.Hosts[:1:1], a.Hosts[0], a.Hosts[1])
			a.BGP = nil
			a.Sites[1].VIPs = nil
		},
		`hosts[2].name: the plan has no host "edge9"`:                           func(a *HAEdgeArgs) { a.Hosts = append(a.Hosts, host.Host{Name: "edge9", SSH: a.Hosts[0].SSH}) },
		"hosts[0].ssh.hostKey: the host's key is not known":                     func(a *HAEdgeArgs) { a.Hosts[0].SSH.HostKey = "" },
		`network: is missing`:                                                   func(a *HAEdgeArgs) { a.Network = ""; keepLittle(a) },
		`network: the plan has no network "lam"`:                                func(a *HAEdgeArgs) { a.Network = "lam"; keepLittle(a) },
		`vrrp.profile: "quick" is no profile`:                                   func(a *HAEdgeArgs) { a.VRRP.Profile = "quick" },
		"vrrp.advert: 10ms is outside 100ms to 300ms":                           func(a *HAEdgeArgs) { a.VRRP.Advert = 10 * time.Millisecond },
		"vrrp.advert: belongs to the fast profile":                              func(a *HAEdgeArgs) { a.VRRP = VRRP{Advert: 200 * time.Millisecond} },
		"vips: there is none":                                                   func(a *HAEdgeArgs) { a.VIPs, a.BGP, a.Sites, a.Services, a.ACME = nil, nil, nil, nil, nil },
		"vips[0].address: 10.10.1.100 is outside of the network lan":            func(a *HAEdgeArgs) { a.VIPs[0].Address = "10.10.1.100" },
		`vips[0].address: "10.10.0.300" is not an IPv4 address`:                 func(a *HAEdgeArgs) { a.VIPs[0].Address = "10.10.0.300" },
		"vips[0].address: 10.10.0.21 is an address of the host backend1":        func(a *HAEdgeArgs) { a.VIPs[0].Address = "10.10.0.21" },
		"vips[0].address: 10.10.0.255 is the network's own or its broadcast":    func(a *HAEdgeArgs) { a.VIPs[0].Address = "10.10.0.255" },
		"vips[0].address: 192.0.2.1 is the gateway of the network wan":          func(a *HAEdgeArgs) { a.VIPs[0].Network, a.VIPs[0].Address = "wan", "192.0.2.1" },
		"vips[1].address: 10.10.0.100 is that of vips[0] (front) too":           func(a *HAEdgeArgs) { a.VIPs[1].Address = "10.10.0.100" },
		"vips[1].routerId: 51 is that of vips[0] (front) too":                   func(a *HAEdgeArgs) { a.VIPs[1].RouterID = 51 },
		"vips[0].routerId: 300 is not a VRRP router id":                         func(a *HAEdgeArgs) { a.VIPs[0].RouterID = 300 },
		"vips[0].routerId: 12 is what edge2 uses for the public VIPs":           func(a *HAEdgeArgs) { a.VIPs[0].RouterID = 12 },
		`vips[1].prefer: "edge3" is not an edge`:                                func(a *HAEdgeArgs) { a.VIPs[1].Prefer = "edge3" },
		`vips[0].network: the plan has no network "dmz"`:                        func(a *HAEdgeArgs) { a.VIPs[0].Network = "dmz" },
		`vips[1].name: "Side" is not a short DNS label`:                         func(a *HAEdgeArgs) { a.VIPs[1].Name = "Side"; a.Services = a.Services[:1] },
		"bgp.asn: 0 is not an autonomous system":                                func(a *HAEdgeArgs) { a.BGP.ASN = 0 },
		"bgp.vips: there is none to announce":                                   func(a *HAEdgeArgs) { a.BGP.VIPs = nil; a.Sites[1].VIPs = nil },
		"bgp.vips[0].address: 10.10.0.50 is within the plan's network lan":      func(a *HAEdgeArgs) { a.BGP.VIPs[0].Address = "10.10.0.50" },
		`bgp.vips[0].name: "front" is the name of vips[0] too`:                  func(a *HAEdgeArgs) { a.BGP.VIPs[0].Name = "front"; a.DNS = nil; a.Sites[1].VIPs = nil },
		"bgp.vips[1].address: 198.51.100.10 is that of vips[0] too":             func(a *HAEdgeArgs) { a.BGP.VIPs[1].Address = "198.51.100.10" },
		"bgp.peers: there is none to announce to":                               func(a *HAEdgeArgs) { a.BGP.Peers = nil },
		"bgp.peers[0].asn: 65010 is the edges' own":                             func(a *HAEdgeArgs) { a.BGP.Peers[0].ASN = 65010 },
		"bgp.accept[0]: \"any\" is not an IPv4 range":                           func(a *HAEdgeArgs) { a.BGP.Accept[0] = "any" },
		"bgp.bfd.interval: 1ms is outside 50ms to 1s":                           func(a *HAEdgeArgs) { a.BGP.BFD.Interval = time.Millisecond },
		"bgp.hold: 5s is not three times keepalive (3s)":                        func(a *HAEdgeArgs) { a.BGP.Hold = 5 * time.Second },
		"sites[0].hosts: the site has no name":                                  func(a *HAEdgeArgs) { a.Sites[0].Hosts = nil },
		"sites[1].hosts[0]: www.example.org is a name of sites[0] too":          func(a *HAEdgeArgs) { a.Sites[1].Hosts[0] = "www"; a.DNS = nil },
		`sites[0].hosts[0]: "w_w" is not a DNS name`:                            func(a *HAEdgeArgs) { a.Sites[0].Hosts[0] = "w_w" },
		`sites[1].name: "www" is the name of sites[0] too`:                      func(a *HAEdgeArgs) { a.Sites[1].Name = "www" },
		`sites[1].vips[0]: there is no VIP "pubic"`:                             func(a *HAEdgeArgs) { a.Sites[1].VIPs[0] = "pubic"; a.DNS = nil },
		"sites[0].backends: there is none":                                      func(a *HAEdgeArgs) { a.Sites[0].Backends = nil },
		`sites[0].backends[0].host: the plan has no host "backend9"`:            func(a *HAEdgeArgs) { a.Sites[0].Backends[0].Host = "backend9" },
		"sites[0].backends[0].port: 0 is not a port":                            func(a *HAEdgeArgs) { a.Sites[0].Backends[0].Port = 0 },
		"sites[0].backends[0].address: a host is named too":                     func(a *HAEdgeArgs) { a.Sites[0].Backends[0].Address = "10.10.0.40" },
		`sites[0].backends[1].name: "backend1" is that of backends[0] too`:      func(a *HAEdgeArgs) { a.Sites[0].Backends[1].Name = "backend1" },
		"sites[0].backends[0].weight: 300 is not a weight":                      func(a *HAEdgeArgs) { a.Sites[0].Backends[0].Weight = 300 },
		`sites[0].check.path: "healthz" is not a path`:                          func(a *HAEdgeArgs) { a.Sites[0].Check.Path = "healthz" },
		`sites[0].check.port: 70000 is not a port`:                              func(a *HAEdgeArgs) { a.Sites[0].Check.Port = 70000 },
		"sites[0].check.status: 100 is not a final HTTP status":                 func(a *HAEdgeArgs) { a.Sites[0].Check.Status = 100 },
		`sites[0].persistence: "ip" is not a way`:                               func(a *HAEdgeArgs) { a.Sites[0].Persistence = "ip" },
		"sites[0].rateLimit.requests: 0 is not a limit":                         func(a *HAEdgeArgs) { a.Sites[0].RateLimit.Requests = 0 },
		"sites[1].backendTls.ca: is missing":                                    func(a *HAEdgeArgs) { a.Sites[1].BackendTLS.CA = nil },
		`sites[0].certificate.source: "self" is no source`:                      func(a *HAEdgeArgs) { a.Sites[0].Certificate.Source = "self" },
		`sites[0].certificate.source: is "private", but a certificate or key`:   func(a *HAEdgeArgs) { a.Sites[0].Certificate.Key = "x" },
		"sites[1].certificate.source: is acme, but no authority is known":       func(a *HAEdgeArgs) { a.ACME = nil },
		"sites[0].certificate.certificate: holds no PEM certificate":            func(a *HAEdgeArgs) { a.Sites[0].Certificate = Certificate{Source: "given", Key: "x"} },
		"services[0].port: 22 is where the edges' own sshd listens":             func(a *HAEdgeArgs) { a.Services[0].Port = 22 },
		"services[0].port: 443 on the VIP front is used by sites[0]":            func(a *HAEdgeArgs) { a.Services[0].Port = 443 },
		"services[1].port: 6443 on the VIP front is used by services[0]":        func(a *HAEdgeArgs) { a.Services[1].VIPs, a.Services[1].Port = nil, 6443 },
		`services[1].name: "api" is the name of services[0] too`:                func(a *HAEdgeArgs) { a.Services[1].Name = "api"; a.DNS = nil },
		"services[0].check.ca: is missing":                                      func(a *HAEdgeArgs) { a.Services[0].Check.CA = nil },
		`services[0].check.type: "icmp" is not a check`:                         func(a *HAEdgeArgs) { a.Services[0].Check.Type = "icmp" },
		"services[1].check.type: path, host and status belong to an http":       func(a *HAEdgeArgs) { a.Services[1].Check.Path = "/x" },
		`services[1].balance: "random" is not a way`:                            func(a *HAEdgeArgs) { a.Services[1].Balance = "random" },
		`dns.zone: "a..b" is not a DNS name`:                                    func(a *HAEdgeArgs) { a.DNS.Zone = "a..b" },
		`dns.primary: "ns1" is not an edge`:                                     func(a *HAEdgeArgs) { a.DNS.Primary = "ns1" },
		`dns.forwarders[0]: "dns" is not an address`:                            func(a *HAEdgeArgs) { a.DNS.Forwarders[0] = "dns" },
		"dns.forwarders[0]: 10.10.0.11 is the edge edge1 itself":                func(a *HAEdgeArgs) { a.DNS.Forwarders[0] = "10.10.0.11" },
		"dns.zone: api would be the name of the VIP api and of the service api": func(a *HAEdgeArgs) { a.VIPs[1].Name = "api"; a.Services = a.Services[:1] },
		`dns.records[0].value: "smtp" is not a preference and a name`:           func(a *HAEdgeArgs) { a.DNS.Records[0].Value = "smtp" },
		`dns.records[0].value: "x" has the type "HINFO"`:                        func(a *HAEdgeArgs) { a.DNS.Records[0] = Record{"x", "HINFO", "x"} },
		"dns.records[1].name: www is the name of the site www":                  func(a *HAEdgeArgs) { a.DNS.Records[1].Name = "www" },
		`dns.records[2].value: "a\"b" is not up to 255 printable`:               func(a *HAEdgeArgs) { a.DNS.Records[2].Value = `a"b` },
		"acme.directory: \"http://x\" is not an https URL":                      func(a *HAEdgeArgs) { a.ACME.Directory = "http://x" },
		"acme: no site uses it":                                                 func(a *HAEdgeArgs) { a.Sites = a.Sites[:1] },
		`metrics.network: the plan has no network "mgmt"`:                       func(a *HAEdgeArgs) { a.Metrics.Network = "mgmt" },
		"metrics.port: 8401 cannot be used":                                     func(a *HAEdgeArgs) { a.Metrics.Port = 8401 },
		`maintenance[0]: "edge3" is not an edge`:                                func(a *HAEdgeArgs) { a.Maintenance = []string{"edge3"} },
		"maintenance: no edge would serve":                                      func(a *HAEdgeArgs) { a.Maintenance = []string{"edge1", "edge2"} },
		`from[0]: "everywhere" is neither a range`:                              func(a *HAEdgeArgs) { a.From = []string{"everywhere"} },
	} {
		t.Run(want, func(t *testing.T) {
			a := example()
			spoil(a)
			problems := a.Validate()
			all := problems.All()
			require.Len(t, all, 1, "%v", problems.Err())
			assert.True(t, strings.HasPrefix(all[0].String(), want), "got %s", all[0])
		})
	}
}

// keepLittle leaves what does not depend on the network of the edge.
func keepLittle(a *HAEdgeArgs) {
	*a = HAEdgeArgs{Hosts: a.Hosts, Plan: a.Plan, Network: a.Network, VIPs: []VIP{{Name: "front", Address: "192.0.2.100", Network: "wan", RouterID: 51}}}
}

func TestValidateReportsAll(t *testing.T) {
	a := example()
	a.VIPs[0].RouterID = 0
	a.Sites[0].Backends[1].Port = 70000
	a.DNS.Primary = "x"
	problems := a.Validate()
	require.Len(t, problems.All(), 3)
	_, err := NewHAEdge(nil, "edge", a)
	require.ErrorContains(t, err, "edge: 3 problems in the configuration, nothing was touched")
}

// pair makes a certificate for names as an authority would.
func pair(t *testing.T, at time.Time, names ...string) (certificate, key string) {
	t.Helper()
	ca, err := newCA("test", at)
	require.NoError(t, err)
	certificate, key, err = leaf(ca, "x", names, 0, at)
	require.NoError(t, err)
	return certificate, key
}

func TestGivenCertificate(t *testing.T) {
	now := example().Now
	certificate, key := pair(t, now, "www.example.org", "example.org")
	_, other := pair(t, now, "www.example.org")
	old, oldKey := pair(t, now.AddDate(-1, 0, 0), "www.example.org", "example.org")
	narrow, narrowKey := pair(t, now, "example.org")
	for want, c := range map[string]Certificate{
		"":                                     {Certificate: certificate, Key: key},
		"sites[0].certificate.key: is missing": {Certificate: certificate},
		"sites[0].certificate.key: private key does not match public key":                  {Certificate: certificate, Key: other},
		`sites[0].certificate.certificate: "www.example.org" expired on 2025-0`:            {Certificate: old, Key: oldKey},
		"sites[0].certificate.certificate: is not for www.example.org but for example.org": {Certificate: narrow, Key: narrowKey},
		"sites[0].certificate.certificate: number 1 of the chain was not signed":           {Certificate: certificate + narrow, Key: key},
	} {
		a := example()
		c.Source = "given"
		a.Sites[0].Certificate = c
		problems := a.Validate()
		if want == "" {
			require.NoError(t, problems.Err())
			continue
		}
		require.Len(t, problems.All(), 1, "%v", problems.Err())
		assert.True(t, strings.HasPrefix(problems.All()[0].String(), want), "got %s", problems.All()[0])
		assert.NotContains(t, problems.Err().Error(), "PRIVATE KEY")
	}
}

func TestFlows(t *testing.T) {
	a := example()
	a.From = []string{"203.0.113.0/24"}
	for _, f := range a.Flows() {
		problems := f.Validate(a.Plan)
		assert.NoError(t, problems.Err(), f.Name)
	}
	has := func(name string, f host.Flow) {
		t.Helper()
		f.Name = "haedge: " + name
		assert.Contains(t, a.Flows(), f)
	}
	edges := []string{"edge1", "edge2"}
	has("vrrp", host.Flow{To: edges, Protocol: "vrrp", From: edges})
	has("http and https", host.Flow{To: edges, Protocol: "tcp", Ports: []int{80, 443}, From: a.From})
	has("api", host.Flow{To: edges, Protocol: "tcp", Ports: []int{6443}, From: a.From})
	has("bgp", host.Flow{To: edges, Protocol: "tcp", Ports: []int{179}, From: []string{"192.0.2.1"}})
	has("bfd", host.Flow{To: edges, Protocol: "udp", Ports: []int{3784}, From: []string{"192.0.2.1"}})
	has("dns", host.Flow{To: edges, Protocol: "udp", Ports: []int{53}, From: []string{"lan", "wan"}})
	has("backends of site www", host.Flow{To: []string{"backend1"}, Protocol: "tcp", Ports: []int{80, 8081}, Theirs: true, From: edges})
}

func TestZones(t *testing.T) {
	texts, err := example().zones()
	require.NoError(t, err)
	require.Len(t, texts, 3)
	for _, line := range []string{
		"@ NS edge1.example.org.", "edge1 A 10.10.0.11", "edge1-wan A 192.0.2.11", "front A 10.10.0.100", "www A 10.10.0.100", "www A 10.10.0.101",
		"@ A 10.10.0.100", "shop A 198.51.100.10", "api A 10.10.0.100", "db A 10.10.0.101", "@ MX 10 smtp", `@ TXT "v=spf1 -all"`,
	} {
		assert.Contains(t, texts["example.org"], "\n"+line+"\n")
	}
	assert.NotContains(t, texts["example.org"], "www A 198.51.100.10", "hosts of the plan use the addresses on their networks")
	assert.Contains(t, texts["0.10.10.in-addr.arpa"], "\n100 PTR front.example.org.\n")
	assert.Contains(t, texts["2.0.192.in-addr.arpa"], "\n11 PTR edge1-wan.example.org.\n")

	a := example()
	a.DNS.Records = append(a.DNS.Records, Record{"new", "TXT", `"quoted"`})
	more, err := a.zones()
	require.NoError(t, err)
	assert.Contains(t, more["example.org"], "new TXT \"quoted\"\n")
	assert.Equal(t, texts["0.10.10.in-addr.arpa"], more["0.10.10.in-addr.arpa"], "a zone that did not change keeps its text, so its serial stays")
}
