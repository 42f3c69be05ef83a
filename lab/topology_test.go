package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const smallTopology = `
networks: {lan: 10.10.0.0/24}
controller: {links: [{network: lan, address: 10.10.0.2}]}
mirror: {links: [{network: lan, address: 10.10.0.3}]}
hosts:
  one: {links: [{network: lan, address: 10.10.0.11}]}
`

func TestTopologyOfTheLab(t *testing.T) {
	topo, err := LoadTopology("topology.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b3 := topo.Hosts["backend3"]
	if !b3.needsKernel() || len(b3.Links) != 2 || b3.Links[1].Name != "eth1" || b3.Links[1].Address.IsValid() {
		t.Errorf("backend3 is %+v", b3)
	}
	if got := topo.addressOf(topo.Hosts["client"]); got != netip.MustParseAddr("203.0.113.10") {
		t.Errorf("client is reached at %v", got)
	}
	for _, name := range topo.hostNames() {
		for _, dir := range topo.Hosts[name].Files {
			if files, err := filesBelow(dir); err != nil || len(files) == 0 {
				t.Errorf("files of %s: %v, %v", name, files, err)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	topo, err := ParseTopology([]byte(smallTopology + "  two: {group: more, links: [{network: lan, address: 10.10.0.12}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ groups, want []string }{{nil, []string{"one"}}, {[]string{"more"}, []string{"one", "two"}}} {
		if got, err := topo.namesOf(c.groups); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("groups %v are %v, %v", c.groups, got, err)
		}
	}
	if _, err := topo.namesOf([]string{"mor"}); err == nil || !strings.Contains(err.Error(), "there are: more") {
		t.Errorf("an unknown group: %v", err)
	}
}

func TestTopologyDefaults(t *testing.T) {
	topo, err := ParseTopology([]byte(smallTopology))
	if err != nil {
		t.Fatal(err)
	}
	link := topo.Hosts["one"].Links[0]
	if link.Name != "eth0" || !macPattern.MatchString(link.MAC) {
		t.Errorf("link is %+v", link)
	}
}

func TestTopologyRefused(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"unknown key":          {"links: [{network: lan, address: 10.10.0.11}]", "link: []", []string{"field link not found"}},
		"no links":             {"one: {links: [{network: lan, address: 10.10.0.11}]}", "one: {}", []string{"hosts.one.links: at least one"}},
		"outside network":      {"10.10.0.11", "10.11.0.11", []string{"hosts.one.links[0].address: 10.11.0.11 is outside networks.lan"}},
		"broadcast":            {"10.10.0.11", "10.10.0.255", []string{"broadcast"}},
		"taken address":        {"10.10.0.11", "10.10.0.2", []string{"hosts.one.links[0].address: 10.10.0.2 is taken by controller.links[0]"}},
		"unknown network":      {"network: lan, address: 10.10.0.11", "network: wan, address: 10.10.0.11", []string{`there is no network "wan"`}},
		"host bits":            {"10.10.0.0/24", "10.10.0.1/24", []string{"networks.lan: 10.10.0.1/24 has host bits"}},
		"name too long":        {"one:", "averylongname:", []string{"hosts.averylongname: the name must match"}},
		"name of the lab":      {"one:", "mirror:", []string{"hosts.mirror: the name belongs to the lab"}},
		"unknown need":         {"one: {", "one: {needs: [gpu], ", []string{`hosts.one.needs[0]: "gpu" is unknown`}},
		"disk of container":    {"one: {", "one: {disks: [{size: 5}], ", []string{"hosts.one.disks: a container has no disks"}},
		"gateway elsewhere":    {"one: {", "one: {gateway: 192.0.2.1, ", []string{"hosts.one.gateway: 192.0.2.1 is in no network"}},
		"no reachable link":    {"network: lan, address: 10.10.0.11", "network: lan", []string{"hosts.one.links: no link has an address"}},
		"files above":          {"one: {", "one: {files: [../x], ", []string{"hosts.one.files[0]"}},
		"unit name":            {"one: {", "one: {disabled: [corosync], ", []string{"hosts.one.disabled[0]"}},
		"share above":          {"one: {", "one: {shares: [{from: ../x, to: /srv}], ", []string{"hosts.one.shares[0].from"}},
		"share to nowhere":     {"one: {", "one: {shares: [{from: x, to: srv}], ", []string{"hosts.one.shares[0].to"}},
		"share of a machine":   {"one: {", "one: {needs: [kernel], shares: [{from: x, to: /srv}], ", []string{"hosts.one.shares[0]: a virtual machine"}},
		"package name":         {"one: {", "one: {packages: ['a;b'], ", []string{"hosts.one.packages[0]"}},
		"all problems at once": {"one: {", "one: {memory: 1, needs: [x], ", []string{"hosts.one.memory", "hosts.one.needs[0]"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(smallTopology, c.old, c.new, 1)
			if text == smallTopology {
				t.Fatal("the case changes nothing")
			}
			_, err := ParseTopology([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

func TestBroadcast(t *testing.T) {
	for prefix, want := range map[string]string{"10.10.0.0/24": "10.10.0.255", "192.0.2.128/26": "192.0.2.191", "10.0.0.0/30": "10.0.0.3"} {
		if got := broadcastOf(netip.MustParsePrefix(prefix)); got.String() != want {
			t.Errorf("%s: %v, want %s", prefix, got, want)
		}
	}
}

func TestParseMatch(t *testing.T) {
	for match, want := range map[string][]string{
		"":          {""},
		"vrrp":      {"ip protocol 112 "},
		"proto 112": {"ip protocol 112 "},
		"udp 3784":  {"ip protocol udp udp dport 3784 ", "ip protocol udp udp sport 3784 "},
	} {
		if got, err := parseMatch(match); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", match, got, err)
		}
	}
	for _, match := range []string{"tcp", "tcp 65536", "proto 256", "sctp 1", "tcp 1; drop"} {
		if _, err := parseMatch(match); err == nil {
			t.Errorf("%q accepted", match)
		}
	}
}

func TestParseImpairment(t *testing.T) {
	got, err := ParseImpairment([]string{"loss=20%", "delay=100ms", "rate=10mbit"})
	if err != nil || got.Loss != 0.2 || got.Delay.Milliseconds() != 100 || got.Rate != 10_000_000 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, words := range [][]string{nil, {"loss=120%"}, {"loss=NaN"}, {"delay=-1s"}, {"rate=0"}, {"jitter=1ms"}} {
		if _, err := ParseImpairment(words); err == nil {
			t.Errorf("%v accepted", words)
		}
	}
}

func TestParsePrintURIs(t *testing.T) {
	got := parsePrintURIs("'http://a.example/x_1.deb' x_1%3a2-1_amd64.deb 10 SHA256:ab\nE: no\n")
	if !slices.Equal(got, []string{"x_1%3a2-1_amd64.deb"}) || withoutEpoch(got[0]) != "x_2-1_amd64.deb" {
		t.Errorf("%v", got)
	}
}

func TestParseMountsBelow(t *testing.T) {
	info := "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /a/b rw - overlay overlay rw\n3 2 0:3 / /a/b/c\\040d rw - tmpfs tmpfs rw\n4 1 0:4 / /a/bc rw - tmpfs tmpfs rw\n"
	if got := parseMountsBelow(info, "/a/b"); !slices.Equal(got, []string{"/a/b", "/a/b/c d"}) {
		t.Errorf("%q", got)
	}
}

func TestMirrorPackages(t *testing.T) {
	if got := mirrorPackages("# all\nb\na # why\nb\n"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
	for _, name := range mirrorPackages(packagesTxt) {
		if !packagePattern.MatchString(name) {
			t.Errorf("packages.txt: %q", name)
		}
	}
}

func TestConcerns(t *testing.T) {
	pair, link := fault{Host: "a", Peer: "b", Match: "vrrp"}, fault{Host: "a", Link: "eth0"}
	for _, c := range []struct {
		f           fault
		host, other string
		want        bool
	}{
		{pair, "", "", true}, {pair, "b", "", true}, {pair, "b", "a", true}, {pair, "a", "c", false},
		{link, "a", "eth0", true}, {link, "a", "eth1", false}, {link, "b", "", false},
	} {
		if got := c.f.concerns(c.host, c.other); got != c.want {
			t.Errorf("%v concerns %q %q: %v", c.f, c.host, c.other, got)
		}
	}
}
