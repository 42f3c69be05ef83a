package host

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/components/problem"
)

// AddressPlan says which networks and hosts there are, and who has which
// address. Firewall, zones and checks are made from it.
type AddressPlan struct {
	// Domain is the DNS domain of all hosts, like "lab.example".
	Domain string
	// Networks are those that the hosts have links to; their ranges must not
	// overlap.
	Networks []Network
	// Roles says how many hosts each role needs. Where it is given, hosts may
	// have only these roles, so that a typing error is found. Default: any.
	Roles []Role
	// Hosts are all machines, in the order in which lists show them.
	Hosts []PlannedHost
}

// Role is what the plan expects of a role.
type Role struct {
	Name string // as in PlannedHost.Roles
	Min  int    // at least so many hosts; default 1
	Odd  bool   // an odd number of hosts, as members of a quorum need
}

// Network is one layer 2 segment with one range of addresses.
type Network struct {
	Name string // a word, not that of a host
	CIDR string // 10.10.0.0/24 or fd00:10::/64
	// Gateway is the router on this network that leads everywhere else. It is
	// the default route of the hosts here; a host on several networks that
	// have one takes that of its first link. Default: none.
	Gateway string
	// Routes are further ways that lead out of this network; a host that is
	// such a router itself does not get the route.
	Routes []Route
	MTU    int // default 1500
}

// Route is the way to a range of addresses.
type Route struct {
	To  string // CIDR
	Via string // an address on the network
}

// PlannedHost is a host as the plan sees it.
type PlannedHost struct {
	Name  string   // a DNS label
	Roles []string // free words: edge, backend, control-plane, ...
	Links []Link   // one or more; the first is the host's main address
}

// Link is a host's address on a network, and the interface that carries it.
type Link struct {
	Network   string // the name of one
	Address   string // 10.10.0.11, without a prefix length
	Interface string // eth0, or the name of the bond
	// Bond makes the interface out of others. Default: it is a port itself.
	Bond *Bond
	// MAC picks the port by its permanent address instead of its name, or
	// gives the bond its address. Default: by name; a bond's is derived from
	// the machine id by systemd.
	MAC string
}

// Bond joins ports to one interface (systemd.netdev(5), section [Bond]).
type Bond struct {
	// Mode is active-backup, 802.3ad, balance-rr, balance-xor, broadcast,
	// balance-tlb or balance-alb. Default active-backup. 802.3ad needs LACP on
	// the switch, balance-rr and balance-xor a static channel group.
	Mode    string
	Members []string // two or more ports
	Primary string   // the preferred member, in active-backup, balance-tlb and -alb
	// MIIMonitor is how often the carrier of each member is looked at; default
	// 100ms, unless ARPTargets are given.
	MIIMonitor time.Duration
	// ARPInterval and ARPTargets watch the way to other machines instead of the
	// carrier. Not with 802.3ad, balance-tlb and balance-alb. Default 1s.
	ARPInterval time.Duration
	ARPTargets  []string // up to 16 IPv4 addresses on the network; default none
	// LACPRate is how often the partner speaks in 802.3ad: slow (every 30 s)
	// or fast (every second). Default fast.
	LACPRate string
	// HashPolicy spreads connections over the members in 802.3ad, balance-xor
	// and -tlb: layer2, layer2+3, layer3+4. Default layer3+4; in
	// balance-tlb layer2.
	HashPolicy string
	// MinLinks is how many members must be up for 802.3ad to carry; default 1.
	MinLinks int
}

// Host returns the plan of one host.
func (p AddressPlan) Host(name string) (PlannedHost, bool) {
	i := slices.IndexFunc(p.Hosts, func(h PlannedHost) bool { return h.Name == name })
	if i < 0 {
		return PlannedHost{}, false
	}
	return p.Hosts[i], true
}

// ByRole returns the names of the hosts that have the role, in the plan's order.
func (p AddressPlan) ByRole(role string) []string {
	var names []string
	for _, h := range p.Hosts {
		if slices.Contains(h.Roles, role) {
			names = append(names, h.Name)
		}
	}
	return names
}

// Network returns one network of the plan.
func (p AddressPlan) Network(name string) (Network, bool) {
	i := slices.IndexFunc(p.Networks, func(n Network) bool { return n.Name == name })
	if i < 0 {
		return Network{}, false
	}
	return p.Networks[i], true
}

// Link returns the link of a host to a network.
func (p AddressPlan) Link(host, network string) (Link, bool) {
	h, _ := p.Host(host)
	i := slices.IndexFunc(h.Links, func(l Link) bool { return l.Network == network })
	if i < 0 {
		return Link{}, false
	}
	return h.Links[i], true
}

// Address returns a host's address on a network; the zero Addr where it has none.
func (p AddressPlan) Address(host, network string) netip.Addr {
	l, ok := p.Link(host, network)
	if !ok {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(l.Address)
	return a
}

// Addresses returns all addresses of a host, in the order of its links.
func (p AddressPlan) Addresses(host string) []netip.Addr {
	h, _ := p.Host(host)
	var all []netip.Addr
	for _, l := range h.Links {
		if a, err := netip.ParseAddr(l.Address); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// Prefix returns the range of a network; the zero Prefix where it has none.
func (n Network) Prefix() netip.Prefix {
	p, err := netip.ParsePrefix(n.CIDR)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (n Network) mtu() int {
	if n.MTU == 0 {
		return 1500
	}
	return n.MTU
}

// FQDN is the full name of a host.
func (p AddressPlan) FQDN(host string) string {
	if p.Domain == "" {
		return host
	}
	return host + "." + p.Domain
}

var (
	// planWord is what networks and roles may be called.
	planWord = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	// interfaceName is what the kernel and both network configurations accept.
	interfaceName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9._-]{0,14}$`)
	macAddress    = regexp.MustCompile(`^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$`)
	domainName    = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

	bondModes    = []string{"active-backup", "802.3ad", "balance-rr", "balance-xor", "broadcast", "balance-tlb", "balance-alb"}
	hashPolicies = []string{"layer2", "layer2+3", "layer3+4"}
)

// plainAddr parses an address that a config file may hold: no zone, no IPv4
// inside IPv6.
func plainAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, err
	}
	if a.Zone() != "" || a.Is4In6() {
		return a, fmt.Errorf("%q has a zone or is an IPv4 address written as IPv6", s)
	}
	return a, nil
}

// plainPrefix parses a range whose address has no bits beyond its length.
func plainPrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is an IPv4 range written as IPv6", s)
	}
	if p.Masked() != p {
		return p, fmt.Errorf("%q has bits set beyond its length", s)
	}
	return p, nil
}

// usable says why an address of a network cannot be a host's; "" when it can.
func usable(a netip.Addr, n netip.Prefix) string {
	switch {
	case !n.Contains(a):
		return fmt.Sprintf("%s is outside of %s", a, n)
	case a.Is4() && n.Bits() < 31 && a == n.Addr():
		return fmt.Sprintf("%s is the address of the network %s itself", a, n)
	case a.Is4() && n.Bits() < 31 && a == lastAddr(n):
		return fmt.Sprintf("%s is the broadcast address of %s", a, n)
	case a.Is6() && n.Bits() < 127 && a == n.Addr():
		return fmt.Sprintf("%s is the routers' anycast address of %s", a, n)
	}
	return ""
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Validate reports every contradiction in the plan.
func (p AddressPlan) Validate() problem.List {
	var l problem.List
	if p.Domain != "" && (!domainName.MatchString(p.Domain) || len(p.Domain) > 200) {
		l.Add("domain", fmt.Sprintf("%q is not a DNS domain in lower case", p.Domain), "use something like lab.example")
	}
	if len(p.Networks) == 0 {
		l.Add("networks", "there is none", "name the networks that the hosts are on")
	}
	taken := map[netip.Addr]string{}
	for i, n := range p.Networks {
		l.Include(fmt.Sprintf("networks[%d]", i), p.validateNetwork(i, n))
	}
	for i, h := range p.Hosts {
		l.Include(fmt.Sprintf("hosts[%d]", i), p.validateHost(i, h, taken))
	}
	for i, r := range p.Roles {
		l.Include(fmt.Sprintf("roles[%d]", i), p.validateRole(i, r))
	}
	return l
}

func (p AddressPlan) validateRole(i int, r Role) problem.List {
	var l problem.List
	if !planWord.MatchString(r.Name) {
		l.Add("name", fmt.Sprintf("%q is not a word for a role", r.Name), "use lower-case letters, digits and hyphens")
	}
	if slices.ContainsFunc(p.Roles[:i], func(o Role) bool { return o.Name == r.Name }) {
		l.Add("name", fmt.Sprintf("%q stands there twice", r.Name), "leave one of them out")
	}
	n := len(p.ByRole(r.Name))
	if n < max(r.Min, 1) {
		l.Add("min", fmt.Sprintf("%d hosts have the role %s, it needs %d", n, r.Name, max(r.Min, 1)), "give it to more hosts")
	}
	if r.Odd && n%2 == 0 {
		l.Add("odd", fmt.Sprintf("%d hosts have the role %s", n, r.Name), "a quorum needs an odd number: with one host less as many may fail")
	}
	return l
}

func (p AddressPlan) validateNetwork(i int, n Network) problem.List {
	var l problem.List
	if !planWord.MatchString(n.Name) {
		l.Add("name", fmt.Sprintf("%q is not a name for a network", n.Name), "use lower-case letters, digits and hyphens, beginning with a letter")
	}
	if j := slices.IndexFunc(p.Networks[:i], func(o Network) bool { return o.Name == n.Name }); j >= 0 {
		l.Add("name", fmt.Sprintf("%q is the name of networks[%d] too", n.Name, j), "give each its own")
	}
	if slices.ContainsFunc(p.Hosts, func(h PlannedHost) bool { return h.Name == n.Name }) {
		l.Add("name", fmt.Sprintf("%q is the name of a host too", n.Name), "give each its own: firewall rules name both")
	}
	if n.MTU != 0 && (n.MTU < 576 || n.MTU > 9216) {
		l.Add("mtu", fmt.Sprintf("%d is not the MTU of an Ethernet", n.MTU), "use 576 to 9216, or leave it out for 1500")
	}
	cidr, err := plainPrefix(n.CIDR)
	if err != nil {
		l.Add("cidr", fmt.Sprintf("%q is not a range of addresses: %v", n.CIDR, err), "use something like 10.10.0.0/24")
		return l
	}
	if cidr.Bits() == 0 || cidr.Addr().IsMulticast() || cidr.Addr().IsLoopback() || cidr.Addr().IsLinkLocalUnicast() {
		l.Add("cidr", fmt.Sprintf("%s is not a range for hosts", cidr), "use something like 10.10.0.0/24")
	}
	if n.MTU != 0 && n.MTU < 1280 && cidr.Addr().Is6() {
		l.Add("mtu", fmt.Sprintf("%d is too small for IPv6", n.MTU), "use at least 1280")
	}
	for j, o := range p.Networks[:i] {
		if other, err := plainPrefix(o.CIDR); err == nil && other.Overlaps(cidr) {
			l.Add("cidr", fmt.Sprintf("%s overlaps %s of networks[%d] (%s)", cidr, other, j, o.Name), "give each network its own range")
		}
	}
	if n.Gateway != "" {
		if a, err := plainAddr(n.Gateway); err != nil {
			l.Add("gateway", fmt.Sprintf("%q is not an address", n.Gateway), "write it without a prefix length, like 10.10.0.11")
		} else if why := usable(a, cidr); why != "" {
			l.Add("gateway", why, "a gateway is a router on the network itself")
		}
	}
	for j, r := range n.Routes {
		at := fmt.Sprintf("routes[%d]", j)
		to, err := plainPrefix(r.To)
		switch {
		case err != nil:
			l.Add(at+".to", fmt.Sprintf("%q is not a range of addresses: %v", r.To, err), "write it like 10.20.0.0/16")
		case to.Addr().Is4() != cidr.Addr().Is4():
			l.Add(at+".to", fmt.Sprintf("%s is of another IP version than %s", to, cidr), "put it on a network of its own version")
		case to.Bits() == 0:
			l.Add(at+".to", "is the default route", "name the router as the network's gateway")
		case to.Overlaps(cidr) && to.Bits() >= cidr.Bits():
			l.Add(at+".to", fmt.Sprintf("%s is part of %s, which needs no route", to, cidr), "leave the route out")
		}
		for k, o := range n.Routes[:j] {
			if o.To == r.To {
				l.Add(at+".to", fmt.Sprintf("%s is the way of routes[%d] too", r.To, k), "leave one of them out")
			}
		}
		if via, err := plainAddr(r.Via); err != nil {
			l.Add(at+".via", fmt.Sprintf("%q is not an address", r.Via), "write it without a prefix length, like 10.10.0.11")
		} else if why := usable(via, cidr); why != "" {
			l.Add(at+".via", why, "a route leads over a router on the network itself")
		}
	}
	return l
}

func (p AddressPlan) validateHost(i int, h PlannedHost, taken map[netip.Addr]string) problem.List {
	var l problem.List
	if !DNSLabel.MatchString(h.Name) {
		l.Add("name", fmt.Sprintf("%q is not a DNS label", h.Name), "use lower-case letters, digits and hyphens, at most 63")
	}
	if h.Name == "localhost" {
		l.Add("name", "localhost is every host's name for itself", "choose another")
	}
	if j := slices.IndexFunc(p.Hosts[:i], func(o PlannedHost) bool { return o.Name == h.Name }); j >= 0 {
		l.Add("name", fmt.Sprintf("%q is the name of hosts[%d] too", h.Name, j), "give each its own")
	}
	for j, r := range h.Roles {
		if !planWord.MatchString(r) {
			l.Add(fmt.Sprintf("roles[%d]", j), fmt.Sprintf("%q is not a word for a role", r), "use lower-case letters, digits and hyphens")
		} else if len(p.Roles) > 0 && !slices.ContainsFunc(p.Roles, func(o Role) bool { return o.Name == r }) {
			l.Add(fmt.Sprintf("roles[%d]", j), fmt.Sprintf("there is no role %q", r), "use one of the plan's roles, or add it there")
		}
	}
	if len(h.Links) == 0 {
		l.Add("links", "there is none", "give the host an address on a network")
	}
	used := map[string]string{}
	claim := func(path, name string) {
		if at, ok := used[name]; ok {
			l.Add(path, fmt.Sprintf("%q is %s too", name, at), "an interface carries one thing")
		}
		used[name] = path
	}
	onNetwork := map[string]bool{}
	for j, k := range h.Links {
		at := fmt.Sprintf("links[%d]", j)
		if !interfaceName.MatchString(k.Interface) || k.Interface == "lo" || k.Interface == "all" || k.Interface == "default" {
			l.Add(at+".interface", fmt.Sprintf("%q is not the name of an interface", k.Interface), "use at most 15 letters, digits, dots or hyphens, like eth0")
		} else if first := slices.IndexFunc(h.Links[:j], func(o Link) bool { return o.Interface == k.Interface }); first >= 0 {
			l.Include(at, p.validateShared(h.Links[first], k, fmt.Sprintf("links[%d]", first)))
		} else {
			claim(at+".interface", k.Interface)
		}
		if k.MAC != "" && !macAddress.MatchString(k.MAC) {
			l.Add(at+".mac", fmt.Sprintf("%q is not the hardware address of a port", k.MAC), "write it in lower case, like 52:54:00:12:34:56")
		}
		n, ok := p.Network(k.Network)
		if !ok {
			l.Add(at+".network", fmt.Sprintf("there is no network %q", k.Network), "use the name of one of networks")
		}
		if onNetwork[k.Network] && ok {
			l.Add(at+".network", fmt.Sprintf("the host has a link to %s already", k.Network), "join the ports to a bond instead")
		}
		onNetwork[k.Network] = true
		a, err := plainAddr(k.Address)
		if err != nil {
			l.Add(at+".address", fmt.Sprintf("%q is not an address", k.Address), "write it without a prefix length, like 10.10.0.11")
		} else {
			if n.Prefix().IsValid() {
				if why := usable(a, n.Prefix()); why != "" {
					l.Add(at+".address", why, "choose one of the network "+n.Name)
				}
			}
			if owner, ok := taken[a]; ok {
				l.Add(at+".address", fmt.Sprintf("%s is the address of %s too", a, owner), "give each its own")
			}
			taken[a] = fmt.Sprintf("%s (hosts[%d].%s)", h.Name, i, at)
		}
		if k.Bond != nil {
			l.Include(at+".bond", k.Bond.validate(n))
			for m, member := range k.Bond.Members {
				path := fmt.Sprintf("%s.bond.members[%d]", at, m)
				if interfaceName.MatchString(member) {
					claim(path, member)
				}
			}
		}
	}
	return l
}

// validateShared is for the second link on an interface: the other IP version.
func (p AddressPlan) validateShared(first, k Link, at string) problem.List {
	var l problem.List
	a, errA := plainAddr(first.Address)
	b, errB := plainAddr(k.Address)
	if errA == nil && errB == nil && a.Is4() == b.Is4() {
		l.Add("interface", fmt.Sprintf("%q carries %s already", k.Interface, at), "an interface carries one network of each IP version")
	}
	if k.Bond != nil || (k.MAC != "" && k.MAC != first.MAC) {
		l.Add("interface", fmt.Sprintf("%q is described in %s", k.Interface, at), "give bond and mac there alone")
	}
	m, _ := p.Network(first.Network)
	n, _ := p.Network(k.Network)
	if m.mtu() != n.mtu() {
		l.Add("network", fmt.Sprintf("%s has an MTU of %d, %s on the same interface of %d", n.Name, n.mtu(), m.Name, m.mtu()), "give both the same")
	}
	return l
}

func (b Bond) mode() string {
	if b.Mode == "" {
		return "active-backup"
	}
	return b.Mode
}

func (b Bond) validate(n Network) problem.List {
	var l problem.List
	mode := b.mode()
	if !slices.Contains(bondModes, mode) {
		l.Add("mode", fmt.Sprintf("%q is not a mode of a bond", b.Mode), "use one of "+strings.Join(bondModes, ", "))
	}
	if len(b.Members) < 2 {
		l.Add("members", fmt.Sprintf("%d port", len(b.Members)), "a bond needs two or more")
	}
	for i, m := range b.Members {
		if !interfaceName.MatchString(m) || m == "lo" {
			l.Add(fmt.Sprintf("members[%d]", i), fmt.Sprintf("%q is not the name of a port", m), "use the name of an interface, like eth0")
		}
	}
	if b.Primary != "" {
		if !slices.Contains(b.Members, b.Primary) {
			l.Add("primary", fmt.Sprintf("%q is not one of the members", b.Primary), "name one of them")
		}
		if mode != "active-backup" && mode != "balance-tlb" && mode != "balance-alb" {
			l.Add("primary", "has no meaning in "+mode, "leave it out")
		}
	}
	if b.MIIMonitor < 0 || b.MIIMonitor%time.Millisecond != 0 || b.MIIMonitor > time.Minute {
		l.Add("miiMonitor", fmt.Sprintf("%s is not a usable interval", b.MIIMonitor), "use whole milliseconds, like 100ms")
	}
	if b.ARPInterval < 0 || b.ARPInterval%time.Millisecond != 0 || b.ARPInterval > time.Minute {
		l.Add("arpInterval", fmt.Sprintf("%s is not a usable interval", b.ARPInterval), "use whole milliseconds, like 500ms")
	}
	if b.ARPInterval != 0 && len(b.ARPTargets) == 0 {
		l.Add("arpTargets", "there is none to ask", "name one or two addresses that are always up, like the gateway")
	}
	if len(b.ARPTargets) > 0 {
		if mode == "802.3ad" || mode == "balance-tlb" || mode == "balance-alb" {
			l.Add("arpTargets", "ARP monitoring does not go with "+mode, "use miiMonitor")
		}
		if b.MIIMonitor != 0 {
			l.Add("miiMonitor", "the carrier and ARP cannot both be watched", "leave out miiMonitor or arpTargets")
		}
		if len(b.ARPTargets) > 16 {
			l.Add("arpTargets", fmt.Sprintf("%d addresses", len(b.ARPTargets)), "at most 16 can be asked")
		}
	}
	for i, t := range b.ARPTargets {
		a, err := plainAddr(t)
		if err != nil || !a.Is4() {
			l.Add(fmt.Sprintf("arpTargets[%d]", i), fmt.Sprintf("%q is not an IPv4 address", t), "write it without a prefix length, like 192.0.2.1")
		} else if n.Prefix().IsValid() && !n.Prefix().Contains(a) {
			l.Add(fmt.Sprintf("arpTargets[%d]", i), fmt.Sprintf("%s is outside of %s", a, n.Prefix()), "ARP does not leave the network")
		} else if slices.Contains(b.ARPTargets[:i], t) {
			l.Add(fmt.Sprintf("arpTargets[%d]", i), fmt.Sprintf("%s stands there twice", a), "leave one of them out")
		}
	}
	if b.LACPRate != "" {
		if b.LACPRate != "slow" && b.LACPRate != "fast" {
			l.Add("lacpRate", fmt.Sprintf("%q is neither slow nor fast", b.LACPRate), "use one of them")
		}
		if mode != "802.3ad" {
			l.Add("lacpRate", "has no meaning in "+mode, "leave it out")
		}
	}
	if b.HashPolicy != "" {
		if !slices.Contains(hashPolicies, b.HashPolicy) {
			l.Add("hashPolicy", fmt.Sprintf("%q is not a way to spread", b.HashPolicy), "use one of "+strings.Join(hashPolicies, ", "))
		}
		if mode != "802.3ad" && mode != "balance-xor" && mode != "balance-tlb" {
			l.Add("hashPolicy", "has no meaning in "+mode, "leave it out")
		}
	}
	if b.MinLinks < 0 || b.MinLinks > len(b.Members) {
		l.Add("minLinks", fmt.Sprintf("%d of %d members", b.MinLinks, len(b.Members)), "use at most as many as there are members, or leave it out")
	}
	if b.MinLinks != 0 && mode != "802.3ad" {
		l.Add("minLinks", "has no meaning in "+mode, "leave it out")
	}
	return l
}
