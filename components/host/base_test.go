package host

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/problem"
	"github.com/halinux/halinux/tests/golden"
)

const (
	someKey  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHH3vTcvQJ9nMP2xPZxS6oQmC5zPBzBdtmB8pRb6mNgC someone"
	otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOFX7aPEV8wDCRVnVuXTo2/tCkz7YIJUZMFkg7XoQwd/ other"
	pgpKey   = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----\n"
)

func aHost(name, address string) Host {
	return Host{Name: name, SSH: SSH{Address: address, HostKey: someKey}}
}

// exampleArgs is a platform that uses everything that the base system can do.
func exampleArgs() *BaseArgs {
	return &BaseArgs{
		Hosts: []Host{aHost("edge1", "10.10.0.11"), aHost("edge2", "10.10.0.12"), aHost("store1", "10.10.0.23")},
		Plan: AddressPlan{
			Domain: "lab.example",
			Roles:  []Role{{Name: "edge", Min: 2}, {Name: "store"}},
			Networks: []Network{
				{Name: "lan", CIDR: "10.10.0.0/24", Routes: []Route{{To: "10.20.0.0/16", Via: "10.10.0.11"}}},
				{Name: "lan6", CIDR: "fd00:10::/64", Gateway: "fd00:10::1"},
				{Name: "wan", CIDR: "192.0.2.0/24", Gateway: "192.0.2.1"},
				{Name: "storage", CIDR: "10.11.0.0/24", MTU: 9000, Gateway: "10.11.0.1"},
			},
			Hosts: []PlannedHost{
				{Name: "edge1", Roles: []string{"edge"}, Links: []Link{
					{Network: "lan", Address: "10.10.0.11", Interface: "eth0"},
					{Network: "lan6", Address: "fd00:10::11", Interface: "eth0"},
					{Network: "wan", Address: "192.0.2.11", Interface: "eth1", MAC: "52:54:00:12:34:56"},
				}},
				{Name: "edge2", Roles: []string{"edge"}, Links: []Link{{Network: "lan", Address: "10.10.0.12", Interface: "eth0"}}},
				{Name: "store1", Roles: []string{"store"}, Links: []Link{
					{Network: "lan", Address: "10.10.0.23", Interface: "bond0", Bond: &Bond{Members: []string{"eth0", "eth1"}, Primary: "eth0"}},
					{Network: "storage", Address: "10.11.0.23", Interface: "bond1", MAC: "52:54:00:12:34:58",
						Bond: &Bond{Mode: "802.3ad", Members: []string{"eth2", "eth3"}, MinLinks: 1, HashPolicy: "layer2+3", LACPRate: "slow"}},
				}},
			},
		},
		Preflight: PreflightArgs{Etcd: []string{"store"}, CgroupV2: []string{"store"}},
		Packages: PackageSource{
			Sources: []Source{{Name: "site", URL: "https://packages.example/debian", Suites: []string{"trixie", "trixie-updates"}, Components: []string{"main", "contrib"}, Key: pgpKey},
				{Name: "flat", URL: "http://10.10.0.3/own", Suites: []string{"./"}, Key: pgpKey}},
			Pins:    []Pin{{Package: "haproxy", Version: "3.0.*"}},
			Install: []string{"jq"},
		},
		Updates: Updates{At: "23:40", Reboot: true, Hold: []string{"haproxy", "linux-image-*"}},
		Users:   []User{{Name: "alice", Keys: []string{someKey}, Sudo: true, Groups: []string{"adm"}}, {Name: "root", Keys: []string{someKey, otherKey}}},
		SSHD:    SSHD{AllowUsers: []string{"root", "alice"}},
		Time:    Time{Servers: []string{"10.10.0.1"}},
		Kernel: Kernel{
			Sysctl:  []Setting{{Name: "net.ipv4.ip_nonlocal_bind", Value: "1"}, {Name: "net.ipv4.tcp_rmem", Value: "4096 131072 6291456"}},
			Modules: []string{"br_netfilter"}, Limits: []Limit{{Domain: "*", Type: "-", Item: "nofile", Value: "65536"}}, SwapOff: []string{"store"},
		},
		Firewall: Firewall{
			SSH: []string{"lan", "198.51.100.7"},
			Flows: []Flow{
				{Name: "haedge: https", To: []string{"edge1", "edge2"}, Protocol: "tcp", Ports: []int{443, 80, 443}},
				{Name: "haedge: vrrp", To: []string{"edge1"}, Protocol: "vrrp", From: []string{"edge2"}},
				{Name: "dns", To: []string{"edge1"}, Protocol: "udp", Ports: []int{53}, From: []string{"lan", "lan6", "edge1", "10.10.0.128/25"}},
			},
			Extra:   []Flow{{Name: "traceroute", To: []string{"store1"}, Protocol: "icmp", From: []string{"0.0.0.0/0"}}},
			Forward: []string{"edge1"},
		},
	}
}

// shown is what a phase plans, without its scripts.
func shown(p Phase) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		fmt.Fprintf(&b, "%s=%s\n", name, quote(p.Vars[name]))
	}
	for _, f := range slices.SortedFunc(slices.Values(p.Files), func(a, b File) int { return strings.Compare(a.Path, b.Path) }) {
		fmt.Fprintf(&b, "---- %s %04o %s\n%s", f.Path, f.mode(), f.owner(), f.Content)
	}
	return b.String()
}

func TestBasePlans(t *testing.T) {
	args := exampleArgs()
	problems := args.Validate()
	require.NoError(t, problems.Err())
	for _, h := range args.Hosts {
		preflight, err := args.preflightPhase(h)
		require.NoError(t, err)
		phases, err := args.phases(h)
		require.NoError(t, err)
		phases = append([]Phase{*preflight}, phases...)
		var names []string
		text := ""
		for _, p := range phases {
			names = append(names, p.Name)
			require.NoError(t, p.validate())
			require.NotEmpty(t, p.Converge)
			text += "==== " + p.Name + "\n" + shown(p)
		}
		assert.Equal(t, []string{"preflight", "packages", "users", "time", "kernel", "network", "firewall"}, names)
		golden.Compare(t, "testdata/base-"+h.Name+".golden", text)
		again, err := exampleArgs().phases(h)
		require.NoError(t, err)
		for i, p := range phases[1:] {
			assert.Equal(t, shown(p), shown(again[i]), "equal arguments give equal phases")
		}
	}
}

// told is a report as text, one problem a line.
func told(l problem.List) string {
	var lines []string
	for _, p := range l.All() {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

func TestPlanReportsEveryContradiction(t *testing.T) {
	link := func(network, address, name string) Link {
		return Link{Network: network, Address: address, Interface: name}
	}
	for name, c := range map[string]struct {
		change func(*AddressPlan)
		want   []string
	}{
		"clash":           {func(p *AddressPlan) { p.Hosts[1].Links[0].Address = "10.10.0.11" }, []string{"hosts[1].links[0].address: 10.10.0.11 is the address of edge1"}},
		"outside":         {func(p *AddressPlan) { p.Hosts[1].Links[0].Address = "10.99.0.11" }, []string{"hosts[1].links[0].address: 10.99.0.11 is outside of 10.10.0.0/24"}},
		"network itself":  {func(p *AddressPlan) { p.Hosts[1].Links[0].Address = "10.10.0.0" }, []string{"address of the network"}},
		"broadcast":       {func(p *AddressPlan) { p.Hosts[1].Links[0].Address = "10.10.0.255" }, []string{"broadcast"}},
		"not an address":  {func(p *AddressPlan) { p.Hosts[1].Links[0].Address = "10.10.0.12/24" }, []string{"without a prefix length"}},
		"mapped":          {func(p *AddressPlan) { p.Hosts[1].Links[0].Address = "::ffff:10.10.0.12" }, []string{"hosts[1].links[0].address"}},
		"double name":     {func(p *AddressPlan) { p.Hosts[1].Name = "edge1" }, []string{`hosts[1].name: "edge1" is the name of hosts[0] too`}},
		"upper case":      {func(p *AddressPlan) { p.Hosts[1].Name = "Edge2" }, []string{"hosts[1].name"}},
		"overlap":         {func(p *AddressPlan) { p.Networks[3].CIDR = "10.10.0.128/25" }, []string{"networks[3].cidr: 10.10.0.128/25 overlaps 10.10.0.0/24 of networks[0] (lan)"}},
		"gateway outside": {func(p *AddressPlan) { p.Networks[2].Gateway = "10.10.0.1" }, []string{"networks[2].gateway: 10.10.0.1 is outside of 192.0.2.0/24"}},
		"route outside":   {func(p *AddressPlan) { p.Networks[0].Routes[0].Via = "192.0.2.1" }, []string{"networks[0].routes[0].via"}},
		"default route":   {func(p *AddressPlan) { p.Networks[0].Routes[0].To = "0.0.0.0/0" }, []string{"is the default route"}},
		"host bits":       {func(p *AddressPlan) { p.Networks[0].CIDR = "10.10.0.5/24" }, []string{"networks[0].cidr"}},
		"mtu":             {func(p *AddressPlan) { p.Networks[0].MTU = 100 }, []string{"networks[0].mtu: 100"}},
		"mtu differs":     {func(p *AddressPlan) { p.Networks[0].MTU = 9000 }, []string{"on the same interface"}},
		"role lacks":      {func(p *AddressPlan) { p.Roles[0].Min = 3 }, []string{"roles[0].min: 2 hosts have the role edge, it needs 3"}},
		"role even":       {func(p *AddressPlan) { p.Roles[0].Odd = true }, []string{"roles[0].odd: 2 hosts have the role edge"}},
		"role unknown":    {func(p *AddressPlan) { p.Hosts[0].Roles = []string{"edge", "egde"} }, []string{`hosts[0].roles[1]: there is no role "egde"`}},
		"no network":      {func(p *AddressPlan) { p.Hosts[1].Links[0].Network = "lna" }, []string{`hosts[1].links[0].network: there is no network "lna"`}},
		"two on one":      {func(p *AddressPlan) { p.Hosts[1].Links = append(p.Hosts[1].Links, link("wan", "192.0.2.12", "eth0")) }, []string{"one network of each IP version"}},
		"member used": {func(p *AddressPlan) { p.Hosts[2].Links = append(p.Hosts[2].Links, link("wan", "192.0.2.23", "eth1")) },
			[]string{`"eth1" is links[0].bond.members[1] too`}},
		"bond of one": {func(p *AddressPlan) { p.Hosts[2].Links[0].Bond.Members = []string{"eth0"} }, []string{"bond.members: 1 port"}},
		"bond mode":   {func(p *AddressPlan) { p.Hosts[2].Links[0].Bond.Mode = "lacp" }, []string{`bond.mode: "lacp"`}},
		"primary":     {func(p *AddressPlan) { p.Hosts[2].Links[0].Bond.Primary = "eth7" }, []string{"bond.primary"}},
		"arp and mii": {func(p *AddressPlan) {
			p.Hosts[2].Links[0].Bond.MIIMonitor = time.Second
			p.Hosts[2].Links[0].Bond.ARPTargets = []string{"10.10.0.1"}
		}, []string{"bond.miiMonitor"}},
		"arp far": {func(p *AddressPlan) { p.Hosts[2].Links[0].Bond.ARPTargets = []string{"10.99.0.1"} }, []string{"ARP does not leave the network"}},
		"no arp":  {func(p *AddressPlan) { p.Hosts[2].Links[1].Bond.ARPTargets = []string{"10.11.0.1"} }, []string{"ARP monitoring does not go with 802.3ad"}},
		"all of them": {func(p *AddressPlan) {
			p.Domain = "Lab"
			p.Hosts[1].Links[0].Address = "10.10.0.11"
			p.Networks[2].Gateway = "10.10.0.1"
		}, []string{"domain", "hosts[1].links[0].address", "networks[2].gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := exampleArgs()
			c.change(&args.Plan)
			got := told(args.Plan.Validate())
			for _, want := range c.want {
				assert.Contains(t, got, want)
			}
			assert.LessOrEqual(t, strings.Count(got, "\n"), len(c.want)+1, "no problem that is none:\n%s", got)
		})
	}
}

func TestBaseReportsEveryProblem(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*BaseArgs)
		want   string
	}{
		"host not planned":   {func(a *BaseArgs) { a.Hosts[0].Name = "edge9" }, `hosts[0].name: "edge9" is not in the address plan`},
		"one machine twice":  {func(a *BaseArgs) { a.Hosts[1].SSH.Address = "10.10.0.11" }, "hosts[1].ssh.address: 10.10.0.11 is the way to hosts[0] too"},
		"root locked out":    {func(a *BaseArgs) { a.SSHD.RootLogin = "no" }, "sshd.rootLogin: no would lock out the controller, which comes to edge1 as root"},
		"user locked out":    {func(a *BaseArgs) { a.SSHD.AllowUsers = []string{"alice"} }, "sshd.allowUsers: root is missing"},
		"controller no sudo": {func(a *BaseArgs) { a.Hosts[0].SSH.User = "alice"; a.Users[0].Sudo = false }, "users[0].sudo"},
		"user without key":   {func(a *BaseArgs) { a.Users[0].Keys = nil }, "users[0].keys: there is none"},
		"bad key":            {func(a *BaseArgs) { a.Users[0].Keys[0] = "ssh-ed25519 AAAA" }, "users[0].keys[0]"},
		"two keys in one":    {func(a *BaseArgs) { a.Users[0].Keys[0] = someKey + "\n" + otherKey }, "users[0].keys[0]"},
		"system user":        {func(a *BaseArgs) { a.Users[0].Name = "www-data" }, "users[0].name"},
		"source url":         {func(a *BaseArgs) { a.Packages.Sources[0].URL = "packages.example" }, "packages.sources[0].url"},
		"source password":    {func(a *BaseArgs) { a.Packages.Sources[0].URL = "https://me:pw@packages.example/debian" }, "packages.sources[0].url: holds a user or password"},
		"source key":         {func(a *BaseArgs) { a.Packages.Sources[0].Key = "" }, "packages.sources[0].key"},
		"flat components":    {func(a *BaseArgs) { a.Packages.Sources[1].Components = []string{"main"} }, "packages.sources[1].components"},
		"pin":                {func(a *BaseArgs) { a.Packages.Pins[0].Version = "3.0 *" }, "packages.pins[0].version"},
		"package":            {func(a *BaseArgs) { a.Packages.Install[0] = "jq; reboot" }, "packages.install[0]"},
		"time of day":        {func(a *BaseArgs) { a.Updates.At = "3am" }, "updates.at"},
		"no room in the day": {func(a *BaseArgs) { a.Updates.Apart = 10 * time.Hour }, "updates.apart"},
		"two clocks":         {func(a *BaseArgs) { a.Time.Servers = []string{"a.example", "b.example"} }, "time.servers"},
		"sysctl value":       {func(a *BaseArgs) { a.Kernel.Sysctl[0].Value = "1\nkernel.panic = 1" }, "kernel.sysctl[0].value"},
		"sysctl twice":       {func(a *BaseArgs) { a.Kernel.Sysctl[1].Name = a.Kernel.Sysctl[0].Name }, "kernel.sysctl[1].name"},
		"limit":              {func(a *BaseArgs) { a.Kernel.Limits[0].Item = "files" }, "kernel.limits[0].item"},
		"swap role":          {func(a *BaseArgs) { a.Kernel.SwapOff[0] = "worker" }, "kernel.swapOff[0]"},
		"no ssh":             {func(a *BaseArgs) { a.Firewall.SSH = nil }, "firewall.ssh: nobody could administer the hosts"},
		"ssh from nowhere":   {func(a *BaseArgs) { a.Firewall.SSH[0] = "lna" }, `firewall.ssh[0]: "lna" is neither`},
		"flow to nobody":     {func(a *BaseArgs) { a.Firewall.Flows[0].To[0] = "edge9" }, `firewall.flows[0].to[0]: there is no host "edge9"`},
		"flow protocol":      {func(a *BaseArgs) { a.Firewall.Flows[0].Protocol = "http" }, "firewall.flows[0].protocol"},
		"flow port":          {func(a *BaseArgs) { a.Firewall.Flows[0].Ports[0] = 70000 }, "firewall.flows[0].ports[0]: 70000"},
		"flow name":          {func(a *BaseArgs) { a.Firewall.Flows[0].Name = `x" drop` }, "firewall.flows[0].name"},
		"confirm":            {func(a *BaseArgs) { a.Firewall.Confirm = time.Second }, "firewall.confirm"},
		"release":            {func(a *BaseArgs) { a.Preflight.Releases = []string{"11"} }, "preflight.releases[0]"},
		"plan":               {func(a *BaseArgs) { a.Plan.Hosts[1].Links[0].Address = "10.10.0.11" }, "plan.hosts[1].links[0].address"},
	} {
		t.Run(name, func(t *testing.T) {
			args := exampleArgs()
			c.change(args)
			got := told(args.Validate())
			assert.Contains(t, got, c.want)
			assert.LessOrEqual(t, len(strings.Split(got, "\n")), 3, "no problem that is none:\n%s", got)
		})
	}
}

// need skips a test, at its end, where a daemon's own checker is missing. The
// end-to-end tests run these tests on a host of the lab that has all of them.
func need(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("SKIP: no %s on this machine to check with", program)
	}
	if os.Getuid() != 0 {
		t.Skipf("SKIP: needs root, for %s", program)
	}
}

// accepted runs a daemon's checker over a text in a file.
func accepted(t testing.TB, text, name string, argv ...string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	for i, a := range argv {
		argv[i] = strings.NewReplacer("FILE", file, "DIR", dir).Replace(a)
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	require.NoError(t, err, "%s\n%s\n%s", strings.Join(argv, " "), out, text)
}

// fileOf is the content of one file of a phase.
func fileOf(t testing.TB, p *Phase, path string) string {
	t.Helper()
	i := slices.IndexFunc(p.Files, func(f File) bool { return f.Path == path })
	require.GreaterOrEqual(t, i, 0, "no file %s", path)
	return p.Files[i].Content
}

func checkNft(t testing.TB, args *BaseArgs, h Host) {
	p, err := args.firewallPhase(h)
	require.NoError(t, err)
	accepted(t, fileOf(t, p, "/etc/halinux/firewall.nft"), "rules", "unshare", "-n", "nft", "-c", "-f", "FILE")
}

func TestFirewallIsAcceptedByNft(t *testing.T) {
	need(t, "nft")
	args := exampleArgs()
	for _, h := range args.Hosts {
		checkNft(t, args, h)
	}
}

func TestFirewallRulesAreOfThisHostAlone(t *testing.T) {
	args := exampleArgs()
	p, err := args.firewallPhase(args.Hosts[1])
	require.NoError(t, err)
	rules := fileOf(t, p, "/etc/halinux/firewall.nft")
	assert.Contains(t, rules, `tcp dport { 80, 443 } accept comment "haedge: https"`)
	assert.NotContains(t, rules, "vrrp")
	assert.NotContains(t, rules, "dns")
	assert.Contains(t, rules, "hook forward priority filter; policy drop")
	p, err = args.firewallPhase(args.Hosts[0])
	require.NoError(t, err)
	rules = fileOf(t, p, "/etc/halinux/firewall.nft")
	assert.Contains(t, rules, `ip saddr { 10.10.0.0/24, 192.0.2.11 } udp dport 53 accept comment "dns"`, "a range that holds the others stands alone")
	assert.Contains(t, rules, `ip6 saddr fd00:10::/64 udp dport 53 accept comment "dns"`)
	assert.Contains(t, rules, "hook forward priority filter; policy accept")
}

// valid is the example with those changes that are valid, one added to the
// other, so that one bad input does not hide what the others lead to; nil where
// none is.
func valid(changes ...func(*BaseArgs)) *BaseArgs {
	var kept *BaseArgs
	var made []func(*BaseArgs)
	for _, change := range changes {
		args := exampleArgs()
		for _, m := range made {
			m(args)
		}
		change(args)
		if problems := args.Validate(); problems.Err() == nil {
			kept, made = args, append(made, change)
		}
	}
	return kept
}

func FuzzFirewall(f *testing.F) {
	f.Add("dns", "tcp", 53, 53, "lan", "10.0.0.0/8", "198.51.100.0/24")
	f.Add(`a: "b"`, "icmp", 0, 0, "::/0", "0.0.0.0/0", "lan6")
	f.Add("x", "vrrp", 1, 65535, "10.10.0.0/25", "10.10.0.0/24", "10.10.0.1")
	f.Add("#", "tcp", 0, 65536, "0.0.0.0/1", "128.0.0.0/1", "255.255.255.255/32")
	f.Add("y\n}", "udp", 80, 443, "fe80::1%eth0", "::ffff:1.2.3.4", "edge1")
	f.Fuzz(func(t *testing.T, name, protocol string, port1, port2 int, from1, from2, ssh string) {
		flow := func(f Flow) func(*BaseArgs) {
			f.To = []string{"edge1"}
			return func(a *BaseArgs) { a.Firewall.Flows = append(a.Firewall.Flows, f) }
		}
		args := valid(
			flow(Flow{Name: name, Protocol: "tcp", Ports: []int{1}}),
			flow(Flow{Name: "protocol", Protocol: protocol}),
			flow(Flow{Name: "ports", Protocol: "udp", Ports: []int{port1, port2}}),
			flow(Flow{Name: "from", Protocol: "udp", Ports: []int{2}, From: []string{from1}}),
			flow(Flow{Name: "both", Protocol: "tcp", Ports: []int{3}, From: []string{from1, from2}}),
			func(a *BaseArgs) { a.Firewall.SSH = append(a.Firewall.SSH, ssh) },
		)
		if args == nil {
			return
		}
		need(t, "nft")
		checkNft(t, args, args.Hosts[0])
	})
}

func FuzzPackages(f *testing.F) {
	f.Add("site", "https://packages.example/debian", "trixie", "main", "haproxy", "3.0.*", "jq")
	f.Add("s", "file:///srv/a%20b", "./", "", "linux-image-*", "1:2~rc1+b", "libstdc++6")
	f.Add("s", "http://[fd00::1]:80/x?y=z#q", "a/b", "non-free-firmware", "*", "*", "a=1:2")
	f.Fuzz(func(t *testing.T, name, url, suite, component, pin, version, hold string) {
		source := func(change func(*Source)) func(*BaseArgs) {
			return func(a *BaseArgs) { change(&a.Packages.Sources[0]) }
		}
		args := valid(
			source(func(s *Source) { s.Name = name }),
			source(func(s *Source) { s.URL = url }),
			source(func(s *Source) { s.Suites = append(s.Suites, suite) }),
			source(func(s *Source) { s.Suites, s.Components = []string{suite}, nil }),
			source(func(s *Source) { s.Components = append(s.Components, component) }),
			func(a *BaseArgs) { a.Packages.Pins = append(a.Packages.Pins, Pin{Package: pin, Version: "1.*"}) },
			func(a *BaseArgs) { a.Packages.Pins = append(a.Packages.Pins, Pin{Package: "jq", Version: version}) },
			func(a *BaseArgs) { a.Updates.Hold = append(a.Updates.Hold, hold) },
		)
		if args == nil {
			return
		}
		name = args.Packages.Sources[0].Name
		need(t, "apt-get")
		p, err := args.packagesPhase(args.Hosts[0])
		require.NoError(t, err)
		accepted(t, fileOf(t, p, "/etc/apt/sources.list.d/halinux-"+name+".sources"), "x.sources",
			"apt-get", "indextargets", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=DIR")
		accepted(t, fileOf(t, p, "/etc/apt/preferences.d/halinux"), "pins", "apt-cache", "policy", "-o", "Dir::Etc::preferences=FILE")
		accepted(t, fileOf(t, p, "/etc/apt/apt.conf.d/52halinux-updates"), "updates", "apt-config", "-c", "FILE", "dump")
	})
}

func FuzzUsers(f *testing.F) {
	f.Add("alice", "adm", "/bin/bash", "root")
	f.Add("_x-1", "a", "/bin/../x y", "all")
	f.Add("all", "ALL", "/", "%admin")
	f.Add("root", "sudo", "/usr/sbin/nologin", "*")
	f.Add("a-", "x,y", "/bin/sh -c x", "!root")
	f.Fuzz(func(t *testing.T, name, group, shell, allow string) {
		user := func(change func(*User)) func(*BaseArgs) {
			return func(a *BaseArgs) {
				a.Users = a.Users[:1]
				change(&a.Users[0])
			}
		}
		args := valid(
			func(a *BaseArgs) { a.SSHD.AllowUsers = append(a.SSHD.AllowUsers, allow) },
			user(func(u *User) { u.Name = name }),
			user(func(u *User) { u.Groups = []string{group} }),
			user(func(u *User) { u.Shell = shell }),
		)
		if args == nil {
			return
		}
		args.Users = args.Users[:1]
		name = args.Users[0].Name
		p, err := args.usersPhase(args.Hosts[0])
		require.NoError(t, err)
		require.Len(t, strings.Fields(p.Vars["users"]), 4)
		_, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(fileOf(t, p, args.Users[0].home()+"/.ssh/authorized_keys")))
		require.NoError(t, err)
		require.Empty(t, rest)
		need(t, "/usr/sbin/sshd")
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // fixed at sshd's build
		key := filepath.Join(t.TempDir(), "key")
		require.NoError(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).Run())
		accepted(t, fileOf(t, p, "/etc/ssh/sshd_config.d/05-halinux.conf")+"HostKey "+key+"\n", "sshd", "/usr/sbin/sshd", "-t", "-f", "FILE")
		if name != "root" {
			need(t, "visudo")
			accepted(t, fileOf(t, p, "/etc/sudoers.d/90-halinux"), "sudoers", "visudo", "-cqf", "FILE")
		}
	})
}

func FuzzKernel(f *testing.F) {
	f.Add("net.ipv4.ip_forward", "1", "*", "-", "nofile", "65536", "br_netfilter")
	f.Add("net.ipv4.conf.eth0/1.rp_filter", "0 1", "@adm", "soft", "rtprio", "-1", "x")
	f.Add("-x.y", "a=b # c", "a b", "hard", "as", "unlimited", "../x")
	f.Fuzz(func(t *testing.T, name, value, domain, kind, item, limit, module string) {
		args := exampleArgs()
		args.Kernel = Kernel{Sysctl: []Setting{{name, value}}, Modules: []string{module}, Limits: []Limit{{domain, kind, item, limit}}}
		if problems := args.Validate(); problems.Err() != nil {
			return
		}
		p, err := args.kernelPhase(args.Hosts[0])
		require.NoError(t, err)
		// The grammars of sysctl.d(5), modules-load.d(5) and limits.conf(5).
		require.Regexp(t, `^# Made by halinux\.\n[a-z0-9_.A-Z/-]+ = [^\n]+\n$`, fileOf(t, p, "/etc/sysctl.d/90-halinux.conf"))
		require.Regexp(t, `^# Made by halinux\.\n[A-Za-z0-9_-]+\n$`, fileOf(t, p, "/etc/modules-load.d/halinux.conf"))
		require.Regexp(t, `^# Made by halinux\.\n[^ \n]+ (soft|hard|-) [a-z]+ [^ \n]+\n$`, fileOf(t, p, "/etc/security/limits.d/90-halinux.conf"))
	})
}

func FuzzNetwork(f *testing.F) {
	f.Add("lab.example", "eth0", "10.10.0.12", "52:54:00:00:00:01", "active-backup", "eth1", "eth2", "10.10.0.1", int64(100), 1500)
	f.Add("x", "en p", "fd00:10::5", "", "802.3ad", "eth1", "eth1", "", int64(-1), 9000)
	f.Add("xn--a.example", "eth0.100", "10.10.0.254", "01:00:5e:00:00:01", "balance-alb", "eth0:1", "*", "10.10.0.12", int64(1), 68)
	f.Add("a.b.", "!", "10.10.0.13", "52-54-00-00-00-01", "broadcast", "en*", "eth0", "fd00:10::1", int64(1<<40), 65536)
	f.Add("x", "bond0", "10.10.0.5", "", "balance-rr", "a.1", "b_2", "10.10.0.254", int64(0), 0)
	f.Fuzz(func(t *testing.T, domain, name, address, mac, mode, member1, member2, target string, ms int64, mtu int) {
		// edge2 has one port; here it is a bond, and each input changes one thing.
		link := func(change func(*Link)) func(*BaseArgs) {
			return func(a *BaseArgs) {
				k := &a.Plan.Hosts[1].Links[0]
				if k.Bond == nil {
					k.Interface, k.Bond = "bond7", &Bond{Members: []string{"eth0", "eth1"}}
				}
				change(k)
			}
		}
		interval := time.Duration(ms) * time.Millisecond
		args := valid(
			func(a *BaseArgs) { a.Plan.Domain = domain },
			func(a *BaseArgs) { a.Plan.Networks[0].MTU, a.Plan.Networks[1].MTU = mtu, mtu },
			link(func(k *Link) { k.Interface = name }),
			link(func(k *Link) { k.Address = address }),
			link(func(k *Link) { k.MAC = mac }),
			link(func(k *Link) { k.Bond.Mode = mode }),
			link(func(k *Link) { k.Bond.Members = []string{member1, member2} }),
			link(func(k *Link) { k.Bond.Primary = member1 }),
			link(func(k *Link) { k.Bond.MIIMonitor = interval }),
			link(func(k *Link) {
				k.Bond.MIIMonitor, k.Bond.ARPTargets, k.Bond.ARPInterval = 0, []string{target}, interval
			}),
		)
		if args == nil {
			return
		}
		p, err := args.networkPhase(args.Hosts[1])
		require.NoError(t, err)
		require.NoError(t, p.validate())
		for _, file := range p.Files {
			if strings.Contains(file.Path, "/etc/systemd/network/") {
				require.Regexp(t, `^# [^\n]*\n(\[(Match|Network|Address|Route|Link|NetDev|Bond)\]\n([A-Za-z0-9]+=[^\n]+\n)+\n?)+$`, file.Content)
			}
		}
		need(t, "netplan")
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(dir+"/etc/netplan", 0o755))
		require.NoError(t, os.WriteFile(dir+"/etc/netplan/90-halinux.yaml", []byte(fileOf(t, p, "/etc/netplan/90-halinux.yaml")), 0o600))
		out, err := exec.Command("netplan", "generate", "--root-dir", dir).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
}
