package haedge

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

var (
	// dnsName is a name that people ask for.
	dnsName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// owner is the left side of a resource record.
	owner = regexp.MustCompile(`^(@|(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?|\*)$`)
	// shortLabel leaves room for a prefix in the daemons' own names.
	shortLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	checkPath  = regexp.MustCompile(`^/[a-zA-Z0-9._~/?=&:@+,;-]{0,200}$`)
	mailbox    = regexp.MustCompile(`^[a-zA-Z0-9._+-]+@[a-zA-Z0-9.-]+$`)
	txtValue   = regexp.MustCompile(`^[ !#-\[\]-~]{0,255}$`) // printable, no quote, no backslash
)

// maxEdges keeps the VRRP priorities apart and near the top.
const maxEdges = 16

// Validate reports everything that is wrong with the arguments, each problem
// with its path, and touches nothing.
func (a *HAEdgeArgs) Validate() problem.List {
	var l problem.List
	a.validateHosts(&l)
	a.validateVRRP(&l)
	a.validateVIPs(&l)
	if a.BGP != nil {
		l.Include("bgp", a.validateBGP())
	}
	names := map[string]string{}
	listeners := map[string]string{}
	for i, s := range a.Sites {
		l.Include(fmt.Sprintf("sites[%d]", i), a.validateSite(i, s, names))
		for _, v := range a.vipsOf(s.VIPs) {
			for _, port := range []int{80, 443} {
				listeners[fmt.Sprintf("%s:%d", v.Address, port)] = fmt.Sprintf("sites[%d]", i)
			}
		}
	}
	for i, s := range a.Services {
		at := fmt.Sprintf("services[%d]", i)
		l.Include(at, a.validateService(i, s))
		for _, v := range a.vipsOf(s.VIPs) {
			key := fmt.Sprintf("%s:%d", v.Address, s.Port)
			if other, taken := listeners[key]; taken {
				l.Add(at+".port", fmt.Sprintf("%d on the VIP %s is used by %s", s.Port, v.Name, other), "choose another port, or another VIP")
			}
			listeners[key] = at
		}
	}
	if a.DNS != nil {
		l.Include("dns", a.validateDNS())
	}
	a.validateACME(&l)
	if a.Metrics != nil {
		a.validateMetrics(&l)
	}
	for i, name := range a.Maintenance {
		if !slices.Contains(a.hostNames(), name) {
			l.Add(fmt.Sprintf("maintenance[%d]", i), fmt.Sprintf("%q is not an edge", name), "use the name of one of hosts")
		}
	}
	if n := len(a.serving()); n == 0 && len(a.Hosts) > 0 {
		l.Add("maintenance", "no edge would serve", "leave one out")
	}
	for i, from := range a.From {
		if !a.isSource(from) {
			l.Add(fmt.Sprintf("from[%d]", i), fmt.Sprintf("%q is neither a range of addresses nor a network or host of the plan", from), "write 192.0.2.0/24, or a name that the plan has")
		}
	}
	return l
}

func (a *HAEdgeArgs) isSource(s string) bool {
	if _, ok := a.Plan.Network(s); ok {
		return true
	}
	if _, ok := a.Plan.Host(s); ok {
		return true
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}

func (a *HAEdgeArgs) validateHosts(l *problem.List) {
	if n := len(a.Hosts); n < 2 {
		l.Add("hosts", fmt.Sprintf("%d edge", n), "name two or more: one alone is not highly available")
	} else if n > maxEdges {
		l.Add("hosts", fmt.Sprintf("%d edges", n), fmt.Sprintf("use at most %d", maxEdges))
	}
	if a.Network == "" {
		l.Add("network", "is missing", "name the plan's network on which the edges talk to each other")
	} else if _, ok := a.Plan.Network(a.Network); !ok {
		l.Add("network", fmt.Sprintf("the plan has no network %q", a.Network), "use one of "+strings.Join(a.networkNames(), ", "))
	}
	gates := map[int]string{}
	for i, h := range a.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		if slices.ContainsFunc(a.Hosts[:i], func(o host.Host) bool { return o.Name == h.Name }) {
			l.Add(at+".name", fmt.Sprintf("%s is named twice", h.Name), "an edge is one host")
		}
		l.Include(at, h.Validate())
		if _, ok := a.Plan.Host(h.Name); !ok {
			l.Add(at+".name", fmt.Sprintf("the plan has no host %q", h.Name), "add it to the plan, with its links")
			continue
		}
		if _, known := a.Plan.Network(a.Network); !known {
			continue
		}
		addr := a.Plan.Address(h.Name, a.Network)
		if !addr.Is4() {
			l.Add(at+".name", fmt.Sprintf("%s has no IPv4 address on the network %q", h.Name, a.Network), "give it a link there")
			continue
		}
		if a.BGP != nil {
			id := gateRouterID(addr)
			if other, taken := gates[id]; taken || id == 0 {
				l.Add(at+".name", fmt.Sprintf("the last byte of %s, %d, is its VRRP router id for public VIPs, and %s", addr, id, cmp.Or(other, "0 cannot be one")), "give the edges addresses that end differently")
			}
			gates[id] = h.Name + " has it too"
		}
	}
}

func (a *HAEdgeArgs) validateVRRP(l *problem.List) {
	switch a.VRRP.Profile {
	case "", "normal":
		if a.VRRP.Advert != 0 {
			l.Add("vrrp.advert", "belongs to the fast profile", "set profile: fast, or leave it out")
		}
	case "fast":
		if ad := a.VRRP.Advert; ad != 0 && (ad < 100*time.Millisecond || ad > 300*time.Millisecond || ad%(10*time.Millisecond) != 0) {
			l.Add("vrrp.advert", fmt.Sprintf("%s is outside 100ms to 300ms, or not a multiple of 10ms", ad), "below 100ms a busy host is taken for a dead one")
		}
	default:
		l.Add("vrrp.profile", fmt.Sprintf("%q is no profile", a.VRRP.Profile), "use normal or fast")
	}
}

func (a *HAEdgeArgs) validateVIPs(l *problem.List) {
	if len(a.VIPs) == 0 && (a.BGP == nil || len(a.BGP.VIPs) == 0) {
		l.Add("vips", "there is none", "name at least one address for clients")
	}
	ids := map[string]int{}
	for i, v := range a.VIPs {
		at := fmt.Sprintf("vips[%d]", i)
		a.validateVIPName(l, at, v.Name, i, true)
		network := a.networkOf(v)
		n, ok := a.Plan.Network(network)
		if !ok {
			if v.Network != "" {
				l.Add(at+".network", fmt.Sprintf("the plan has no network %q", v.Network), "use one of "+strings.Join(a.networkNames(), ", "))
			}
		} else {
			for _, h := range a.Hosts {
				if _, planned := a.Plan.Host(h.Name); planned && network != a.Network && !a.Plan.Address(h.Name, network).Is4() {
					l.Add(at+".network", fmt.Sprintf("%s has no IPv4 address on the network %q", h.Name, network), "every edge must be able to hold the VIP")
				}
			}
		}
		addr, err := netip.ParseAddr(v.Address)
		switch {
		case err != nil || !addr.Is4():
			l.Add(at+".address", fmt.Sprintf("%q is not an IPv4 address", v.Address), "write it like 10.10.0.100")
		case ok && n.Prefix().IsValid() && !n.Prefix().Contains(addr):
			l.Add(at+".address", fmt.Sprintf("%s is outside of the network %s (%s)", addr, n.Name, n.CIDR), "choose a free address of that network, or announce it by bgp")
		case ok && n.Prefix().IsValid() && isEnd(n.Prefix(), addr):
			l.Add(at+".address", fmt.Sprintf("%s is the network's own or its broadcast address", addr), "choose a free address of "+n.CIDR)
		default:
			a.validateFree(l, at+".address", addr)
			for j, o := range a.VIPs[:i] {
				if o.Address == v.Address {
					l.Add(at+".address", fmt.Sprintf("%s is that of vips[%d] (%s) too", addr, j, o.Name), "give each VIP its own")
				}
			}
		}
		if v.RouterID < 1 || v.RouterID > 255 {
			l.Add(at+".routerId", fmt.Sprintf("%d is not a VRRP router id", v.RouterID), "use 1 to 255")
		} else {
			key := fmt.Sprintf("%s %d", network, v.RouterID)
			if j, taken := ids[key]; taken {
				l.Add(at+".routerId", fmt.Sprintf("%d is that of vips[%d] (%s) too", v.RouterID, j, a.VIPs[j].Name), "give each VIP its own")
			}
			ids[key] = i
			if a.BGP != nil && network == a.Network {
				for _, h := range a.Hosts {
					if gateRouterID(a.Plan.Address(h.Name, a.Network)) == v.RouterID {
						l.Add(at+".routerId", fmt.Sprintf("%d is what %s uses for the public VIPs (the last byte of its address)", v.RouterID, h.Name), "choose another")
					}
				}
			}
		}
		a.validatePrefer(l, at+".prefer", v.Prefer)
	}
}

func (a *HAEdgeArgs) validatePrefer(l *problem.List, path, name string) {
	if name != "" && !slices.Contains(a.hostNames(), name) {
		l.Add(path, fmt.Sprintf("%q is not an edge", name), "use one of "+strings.Join(a.hostNames(), ", "))
	}
}

// validateVIPName checks a name that LAN and public VIPs share.
func (a *HAEdgeArgs) validateVIPName(l *problem.List, at, name string, i int, lan bool) {
	if !shortLabel.MatchString(name) {
		l.Add(at+".name", fmt.Sprintf("%q is not a short DNS label", name), "use at most 32 lower-case letters, digits and hyphens")
	}
	for j, o := range a.VIPs {
		if o.Name == name && (!lan || j < i) {
			l.Add(at+".name", fmt.Sprintf("%q is the name of vips[%d] too", name, j), "give each its own")
		}
	}
	if !lan {
		for j, o := range a.BGP.VIPs[:i] {
			if o.Name == name {
				l.Add(at+".name", fmt.Sprintf("%q is the name of bgp.vips[%d] too", name, j), "give each its own")
			}
		}
	}
}

// validateFree reports an address that a host or a gateway has.
func (a *HAEdgeArgs) validateFree(l *problem.List, path string, addr netip.Addr) {
	for _, h := range a.Plan.Hosts {
		if slices.Contains(a.Plan.Addresses(h.Name), addr) {
			l.Add(path, fmt.Sprintf("%s is an address of the host %s", addr, h.Name), "choose a free one")
		}
	}
	for _, n := range a.Plan.Networks {
		if n.Gateway == addr.String() {
			l.Add(path, fmt.Sprintf("%s is the gateway of the network %s", addr, n.Name), "choose a free one")
		}
	}
	if addr.IsLoopback() || addr.IsMulticast() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() {
		l.Add(path, fmt.Sprintf("%s cannot be a VIP", addr), "use a unicast address")
	}
}

func (a *HAEdgeArgs) validateBGP() problem.List {
	var l problem.List
	b := a.BGP
	if b.ASN == 0 || b.ASN == 23456 {
		l.Add("asn", fmt.Sprintf("%d is not an autonomous system", b.ASN), "use the provider's choice, or one of 64512 to 65534")
	}
	if len(b.VIPs) == 0 {
		l.Add("vips", "there is none to announce", "name one, or leave bgp out")
	}
	for i, v := range b.VIPs {
		at := fmt.Sprintf("vips[%d]", i)
		a.validateVIPName(&l, at, v.Name, i, false)
		addr, err := netip.ParseAddr(v.Address)
		if err != nil || !addr.Is4() {
			l.Add(at+".address", fmt.Sprintf("%q is not an IPv4 address", v.Address), "write it like 198.51.100.10, without a length")
		} else {
			a.validateFree(&l, at+".address", addr)
			for _, n := range a.Plan.Networks {
				if n.Prefix().IsValid() && n.Prefix().Contains(addr) {
					l.Add(at+".address", fmt.Sprintf("%s is within the plan's network %s", addr, n.Name), "make it one of vips, or announce an address of no network")
				}
			}
			for j, o := range b.VIPs[:i] {
				if o.Address == v.Address {
					l.Add(at+".address", fmt.Sprintf("%s is that of vips[%d] too", addr, j), "give each its own")
				}
			}
		}
		a.validatePrefer(&l, at+".prefer", v.Prefer)
	}
	if len(b.Peers) == 0 {
		l.Add("peers", "there is none to announce to", "name the provider's routers")
	}
	for i, p := range b.Peers {
		at := fmt.Sprintf("peers[%d]", i)
		if !shortLabel.MatchString(p.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is not a short DNS label", p.Name), "use lower-case letters, digits and hyphens")
		}
		for j, o := range b.Peers[:i] {
			if o.Name == p.Name {
				l.Add(at+".name", fmt.Sprintf("%q is the name of peers[%d] too", p.Name, j), "give each its own")
			}
			if o.Address == p.Address {
				l.Add(at+".address", fmt.Sprintf("%s is that of peers[%d] too", p.Address, j), "give each peer its own address")
			}
		}
		if p.ASN == 0 || p.ASN == 23456 {
			l.Add(at+".asn", fmt.Sprintf("%d is not an autonomous system", p.ASN), "ask the provider")
		} else if p.ASN == b.ASN {
			l.Add(at+".asn", fmt.Sprintf("%d is the edges' own", p.ASN), "the peers belong to the provider's")
		}
		addr, err := netip.ParseAddr(p.Address)
		if err != nil || !addr.Is4() {
			l.Add(at+".address", fmt.Sprintf("%q is not an IPv4 address", p.Address), "write it without a prefix length, like 192.0.2.1")
			continue
		}
		for _, h := range a.Hosts {
			if _, planned := a.Plan.Host(h.Name); planned && a.linkTo(h.Name, addr).Network == "" {
				l.Add(at+".address", fmt.Sprintf("%s has no link to a network with %s", h.Name, addr), "a peer is one hop away, from every edge")
			}
		}
		for _, h := range a.Hosts {
			if slices.Contains(a.Plan.Addresses(h.Name), addr) {
				l.Add(at+".address", fmt.Sprintf("%s is the edge %s", addr, h.Name), "name the provider's router")
			}
		}
	}
	for i, text := range b.Accept {
		if p, err := netip.ParsePrefix(text); err != nil || !p.Addr().Is4() || p.Masked() != p {
			l.Add(fmt.Sprintf("accept[%d]", i), fmt.Sprintf("%q is not an IPv4 range", text), "write it like 0.0.0.0/0")
		} else if slices.Contains(b.Accept[:i], text) {
			l.Add(fmt.Sprintf("accept[%d]", i), fmt.Sprintf("%s stands there twice", text), "leave one of them out")
		}
	}
	if b.MaximumPrefix < 0 || b.MaximumPrefix > 4000000 {
		l.Add("maximumPrefix", fmt.Sprintf("%d is not a number of routes", b.MaximumPrefix), "use 1 or more, or leave it out for the default")
	}
	if d := b.BFD.Interval; d != 0 && (d < 50*time.Millisecond || d > time.Second || d%time.Millisecond != 0) {
		l.Add("bfd.interval", fmt.Sprintf("%s is outside 50ms to 1s", d), "choose a value in that range")
	}
	if m := b.BFD.Multiplier; m != 0 && (m < 2 || m > 10) {
		l.Add("bfd.multiplier", fmt.Sprintf("%d is outside 2 to 10", m), "choose a value in that range")
	}
	k, h := cmp.Or(b.Keepalive, 3*time.Second), cmp.Or(b.Hold, 9*time.Second)
	if k%time.Second != 0 || k < time.Second || k > 300*time.Second {
		l.Add("keepalive", fmt.Sprintf("%s is not 1s to 300s", k), "BGP counts whole seconds")
	}
	if h%time.Second != 0 || h < 3*k || h > 3600*time.Second {
		l.Add("hold", fmt.Sprintf("%s is not three times keepalive (%s) or more, in whole seconds", h, k), "raise hold, or lower keepalive")
	}
	return l
}

func (a *HAEdgeArgs) validateVIPRefs(l *problem.List, refs []string) {
	for i, name := range refs {
		if !slices.ContainsFunc(a.vipsOf(nil), func(v address) bool { return v.Name == name }) {
			l.Add(fmt.Sprintf("vips[%d]", i), fmt.Sprintf("there is no VIP %q", name), "use the name of one of vips or bgp.vips")
		} else if slices.Contains(refs[:i], name) {
			l.Add(fmt.Sprintf("vips[%d]", i), fmt.Sprintf("%s stands there twice", name), "leave one of them out")
		}
	}
}

func (a *HAEdgeArgs) validateSite(i int, s Site, names map[string]string) problem.List {
	var l problem.List
	at := fmt.Sprintf("sites[%d]", i)
	if !shortLabel.MatchString(s.Name) {
		l.Add("name", fmt.Sprintf("%q is not a short DNS label", s.Name), "use at most 32 lower-case letters, digits and hyphens")
	}
	if j := slices.IndexFunc(a.Sites[:i], func(o Site) bool { return o.Name == s.Name }); j >= 0 {
		l.Add("name", fmt.Sprintf("%q is the name of sites[%d] too", s.Name, j), "give each its own")
	}
	if len(s.Hosts) == 0 {
		l.Add("hosts", "the site has no name", "list the names under which it is asked for")
	}
	for j, name := range s.Hosts {
		path := fmt.Sprintf("hosts[%d]", j)
		full := a.siteName(name)
		if !dnsName.MatchString(full) || len(full) > 253 {
			l.Add(path, fmt.Sprintf("%q is not a DNS name in lower case", name), "use lower-case letters, digits, hyphens and dots, like www.example.org")
		}
		if other, taken := names[full]; taken {
			l.Add(path, fmt.Sprintf("%s is a name of %s too", full, other), "one name leads to one site")
		} else {
			names[full] = at
		}
	}
	a.validateVIPRefs(&l, s.VIPs)
	a.validateBackends(&l, s.Backends)
	if t := s.BackendTLS; t != nil {
		if t.CA == nil {
			l.Add("backendTls.ca", "is missing", "give the authority of the backends' certificates; they are always verified")
		}
		if !dnsName.MatchString(t.ServerName) {
			l.Add("backendTls.serverName", fmt.Sprintf("%q is not a DNS name", t.ServerName), "give the name that the backends' certificates are for")
		}
	}
	validateCheck(&l, s.Check.Port, s.Check.Path, s.Check.Host, s.Check.Status, s.Check.Interval)
	if !slices.Contains([]string{"", "none", "cookie", "source"}, s.Persistence) {
		l.Add("persistence", fmt.Sprintf("%q is not a way", s.Persistence), "use none, cookie or source")
	}
	if r := s.RateLimit; r != nil {
		if r.Requests < 1 || r.Requests > 1000000 {
			l.Add("rateLimit.requests", fmt.Sprintf("%d is not a limit", r.Requests), "use 1 to 1000000 for each period")
		}
		if r.Period != 0 && (r.Period < time.Second || r.Period > time.Hour || r.Period%time.Second != 0) {
			l.Add("rateLimit.period", fmt.Sprintf("%s is outside 1s to 1h, in whole seconds", r.Period), "choose a value in that range")
		}
	}
	if s.HSTS > 0 && (s.HSTS < time.Second || s.HSTS > 20*8760*time.Hour) {
		l.Add("hsts", fmt.Sprintf("%s is outside 1s to 20 years", s.HSTS), "choose a value in that range")
	}
	if s.MaxBody < 0 || s.MaxBody > 1<<20 {
		l.Add("maxBody", fmt.Sprintf("%d MiB", s.MaxBody), "use 1 to 1048576")
	}
	validateTimeout(&l, s.Timeout)
	l.Include("certificate", a.validateCertificate(s))
	return l
}

func validateTimeout(l *problem.List, d time.Duration) {
	if d != 0 && (d < time.Second || d > 24*time.Hour || d%time.Second != 0) {
		l.Add("timeout", fmt.Sprintf("%s is outside 1s to 24h, in whole seconds", d), "choose a value in that range")
	}
}

func validateCheck(l *problem.List, port int, path, hostHeader string, status int, interval time.Duration) {
	if port < 0 || port > 65535 {
		l.Add("check.port", fmt.Sprintf("%d is not a port", port), "use 1 to 65535")
	}
	if path != "" && !checkPath.MatchString(path) {
		l.Add("check.path", fmt.Sprintf("%q is not a path", path), "begin with / and use no blanks and quotes")
	}
	if hostHeader != "" && !dnsName.MatchString(hostHeader) {
		l.Add("check.host", fmt.Sprintf("%q is not a DNS name", hostHeader), "use letters, digits, hyphens and dots, like www.example.org")
	}
	if status != 0 && (status < 200 || status > 599) {
		l.Add("check.status", fmt.Sprintf("%d is not a final HTTP status", status), "use 200 to 599")
	}
	if interval != 0 && (interval < 100*time.Millisecond || interval > time.Minute || interval%time.Millisecond != 0) {
		l.Add("check.interval", fmt.Sprintf("%s is outside 100ms to 1m", interval), "choose a value in that range")
	}
}

func (a *HAEdgeArgs) validateBackends(l *problem.List, backends []Backend) {
	if len(backends) == 0 {
		l.Add("backends", "there is none", "name the servers behind it")
	}
	if len(backends) > 0 && !slices.ContainsFunc(backends, func(b Backend) bool { return !b.Maintenance }) {
		l.Add("backends", "all are in maintenance", "leave one to serve")
	}
	seen := map[string]int{}
	for i, b := range backends {
		at := fmt.Sprintf("backends[%d]", i)
		switch {
		case b.Host != "" && b.Address != "":
			l.Add(at+".address", "a host is named too", "give one of host and address")
		case b.Host != "":
			if _, ok := a.Plan.Host(b.Host); !ok {
				l.Add(at+".host", fmt.Sprintf("the plan has no host %q", b.Host), "use one of "+strings.Join(a.planNames(), ", "))
			} else if !a.backendAddress(b).Is4() {
				l.Add(at+".host", fmt.Sprintf("%s has no IPv4 address on the network %q", b.Host, a.Network), "give it a link there, or name its address")
			}
		case b.Address != "":
			if addr, err := netip.ParseAddr(b.Address); err != nil || addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "" || addr.Is4In6() {
				l.Add(at+".address", fmt.Sprintf("%q is not an address of a host", b.Address), "write one like 10.10.0.21, or name a host of the plan")
			}
		default:
			l.Add(at+".host", "is missing", "name a host of the plan, or an address")
		}
		if b.Port < 1 || b.Port > 65535 {
			l.Add(at+".port", fmt.Sprintf("%d is not a port", b.Port), "use 1 to 65535")
		}
		if b.Weight < 0 || b.Weight > 256 {
			l.Add(at+".weight", fmt.Sprintf("%d is not a weight", b.Weight), "use 1 to 256; maintenance takes a backend out")
		}
		name := b.name()
		if b.Name != "" && !host.DNSLabel.MatchString(b.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is not a DNS label", b.Name), "use lower-case letters, digits and hyphens, at most 63")
		}
		if j, taken := seen[name]; taken && name != "" {
			l.Add(at+".name", fmt.Sprintf("%q is that of backends[%d] too", name, j), "give each its own")
		}
		seen[name] = i
	}
}

func (a *HAEdgeArgs) validateCertificate(s Site) problem.List {
	var l problem.List
	c := s.Certificate
	if c.source() != "given" && (c.Certificate != "" || c.Key != "") {
		l.Add("source", fmt.Sprintf("is %q, but a certificate or key is given", c.source()), "set source: given, or leave them out")
	}
	if c.Generation < 0 {
		l.Add("generation", fmt.Sprintf("%d is negative", c.Generation), "use 0 or more")
	}
	switch c.source() {
	case "private":
	case "acme":
		if a.ACME == nil {
			l.Add("source", "is acme, but no authority is known", "set acme.directory")
		}
	case "given":
		names := make([]string, len(s.Hosts))
		for i, name := range s.Hosts {
			names[i] = a.siteName(name)
		}
		l.Include("", validateGiven(c.Certificate, c.Key, names, a.now()))
	default:
		l.Add("source", fmt.Sprintf("%q is no source", c.Source), "use private, given or acme")
	}
	return l
}

func (a *HAEdgeArgs) validateService(i int, s Service) problem.List {
	var l problem.List
	if !shortLabel.MatchString(s.Name) {
		l.Add("name", fmt.Sprintf("%q is not a short DNS label", s.Name), "use at most 32 lower-case letters, digits and hyphens")
	}
	if j := slices.IndexFunc(a.Services[:i], func(o Service) bool { return o.Name == s.Name }); j >= 0 {
		l.Add("name", fmt.Sprintf("%q is the name of services[%d] too", s.Name, j), "give each its own")
	}
	a.validateVIPRefs(&l, s.VIPs)
	switch {
	case s.Port < 1 || s.Port > 65535:
		l.Add("port", fmt.Sprintf("%d is not a port", s.Port), "use 1 to 65535")
	case s.Port == 22:
		l.Add("port", "22 is where the edges' own sshd listens, on all addresses", "choose another")
	}
	a.validateBackends(&l, s.Backends)
	switch s.Check.Type {
	case "", "tcp":
		if s.Check.Path != "" || s.Check.Host != "" || s.Check.Status != 0 {
			l.Add("check.type", "path, host and status belong to an http or https check", "set the type")
		}
	case "http", "https":
		if s.Check.Type == "https" {
			if s.Check.CA == nil {
				l.Add("check.ca", "is missing", "give the authority of the backends' certificates; they are always verified")
			}
			if s.Check.Host == "" {
				l.Add("check.host", "is missing", "give the name that the backends' certificates are for")
			}
		}
	default:
		l.Add("check.type", fmt.Sprintf("%q is not a check", s.Check.Type), "use tcp, http or https")
	}
	validateCheck(&l, s.Check.Port, s.Check.Path, s.Check.Host, s.Check.Status, s.Check.Interval)
	if !slices.Contains([]string{"", "none", "source"}, s.Persistence) {
		l.Add("persistence", fmt.Sprintf("%q is not a way", s.Persistence), "use none or source")
	}
	if !slices.Contains([]string{"", "roundrobin", "leastconn", "source"}, s.Balance) {
		l.Add("balance", fmt.Sprintf("%q is not a way", s.Balance), "use leastconn, roundrobin or source")
	}
	validateTimeout(&l, s.Timeout)
	return l
}

func (a *HAEdgeArgs) validateDNS() problem.List {
	var l problem.List
	d := a.DNS
	zone := a.zone()
	if !dnsName.MatchString(zone) || len(zone) > 200 {
		l.Add("zone", fmt.Sprintf("%q is not a DNS name in lower case", zone), "set it, or the plan's domain")
	}
	a.validatePrefer(&l, "primary", d.Primary)
	for i, f := range d.Forwarders {
		addr, err := netip.ParseAddr(f)
		if err != nil || addr.Zone() != "" || addr.Is4In6() || addr.IsUnspecified() {
			l.Add(fmt.Sprintf("forwarders[%d]", i), fmt.Sprintf("%q is not an address", f), "write it without a prefix length, like 10.10.0.11")
			continue
		}
		for _, h := range a.Hosts {
			if slices.Contains(a.Plan.Addresses(h.Name), addr) {
				l.Add(fmt.Sprintf("forwarders[%d]", i), fmt.Sprintf("%s is the edge %s itself", addr, h.Name), "name another resolver")
			}
		}
	}
	for i, n := range d.Networks {
		if _, ok := a.Plan.Network(n); !ok {
			l.Add(fmt.Sprintf("networks[%d]", i), fmt.Sprintf("the plan has no network %q", n), "use one of "+strings.Join(a.networkNames(), ", "))
		}
	}
	if d.TTL != 0 && (d.TTL < time.Second || d.TTL > 24*time.Hour || d.TTL%time.Second != 0) {
		l.Add("ttl", fmt.Sprintf("%s is outside 1s to 24h", d.TTL), "choose a value in that range")
	}
	for i, r := range d.Records {
		at := fmt.Sprintf("records[%d]", i)
		if !owner.MatchString(r.Name) || len(r.Name)+1+len(zone) > 253 {
			l.Add(at+".name", fmt.Sprintf("%q is not a name in the zone", r.Name), "write it without the zone; @ is the zone itself")
		}
		if why := recordProblem(r); why != "" {
			l.Add(at+".value", fmt.Sprintf("%q %s", r.Value, why), "write the value as a zone file has it")
		}
	}
	if l.Err() == nil {
		l.Include("", a.validateOwners())
	}
	return l
}

// recordProblem says why a record's value does not fit its type.
func recordProblem(r Record) string {
	target := func(s string) bool {
		s = strings.TrimSuffix(s, ".")
		return s == "@" || len(s) <= 200 && owner.MatchString(s) && !strings.Contains(s, "*")
	}
	number := func(s string, most int) bool {
		var n int
		_, err := fmt.Sscanf(s, "%d", &n)
		return err == nil && n >= 0 && n <= most && fmt.Sprint(n) == s
	}
	f := strings.Fields(r.Value)
	switch r.Type {
	case "A", "AAAA":
		addr, err := netip.ParseAddr(r.Value)
		if err != nil || addr.Is4() != (r.Type == "A") || addr.Zone() != "" || addr.Is4In6() {
			return "is not an address of that kind"
		}
	case "CNAME", "NS":
		if !target(r.Value) {
			return "is not a name"
		}
		if r.Name == "@" {
			return "cannot stand at the zone itself"
		}
	case "MX":
		if len(f) != 2 || !number(f[0], 65535) || !target(f[1]) {
			return "is not a preference and a name"
		}
	case "SRV":
		if len(f) != 4 || !number(f[0], 65535) || !number(f[1], 65535) || !number(f[2], 65535) || !target(f[3]) {
			return "is not priority, weight, port and name"
		}
	case "CAA":
		if len(f) != 3 || !number(f[0], 255) || !slices.Contains([]string{"issue", "issuewild", "iodef"}, f[1]) || !txtValue.MatchString(unquoted(f[2])) {
			return "is not flags, a tag and a value"
		}
	case "TXT":
		if !txtValue.MatchString(unquoted(r.Value)) {
			return "is not up to 255 printable characters without quotes and backslashes"
		}
	default:
		return fmt.Sprintf("has the type %q, which is not A, AAAA, CNAME, MX, TXT, SRV, CAA or NS", r.Type)
	}
	return ""
}

func (a *HAEdgeArgs) validateACME(l *problem.List) {
	if a.ACME == nil {
		return
	}
	if !slices.ContainsFunc(a.Sites, func(s Site) bool { return s.Certificate.source() == "acme" }) {
		l.Add("acme", "no site uses it", "set certificate.source: acme on one, or leave it out")
	}
	u, err := url.Parse(a.ACME.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(a.ACME.Directory, "\"'`$\\ \n\t") {
		l.Add("acme.directory", fmt.Sprintf("%q is not an https URL", a.ACME.Directory), "ask the authority for its directory's address")
	}
	if a.ACME.Email != "" && !mailbox.MatchString(a.ACME.Email) {
		l.Add("acme.email", fmt.Sprintf("%q is not a mail address", a.ACME.Email), "write one like admin@example.org")
	}
	if a.ACME.CA != "" {
		if _, err := parseCertificates(a.ACME.CA); err != nil {
			l.Add("acme.ca", err.Error(), "give the authority's certificate as PEM")
		}
	}
}

func (a *HAEdgeArgs) validateMetrics(l *problem.List) {
	if _, ok := a.Plan.Network(a.Metrics.Network); !ok {
		l.Add("metrics.network", fmt.Sprintf("the plan has no network %q", a.Metrics.Network), "use one of "+strings.Join(a.networkNames(), ", "))
	} else {
		for _, h := range a.Hosts {
			if _, planned := a.Plan.Host(h.Name); planned && !a.Plan.Address(h.Name, a.Metrics.Network).Is4() {
				l.Add("metrics.network", fmt.Sprintf("%s has no IPv4 address there", h.Name), "give the host a link in that network, or name another network")
			}
		}
	}
	port := a.Metrics.port()
	if port < 1 || port > 65535 || port == 22 || slices.Contains(ownPorts, port) {
		l.Add("metrics.port", fmt.Sprintf("%d cannot be used", port), "choose a free one, or leave it out for 8404")
	}
}

// validateKey is for a TSIG key that is known when the program runs.
func validateKey(key string) error {
	if b, err := base64.StdEncoding.DecodeString(key); err != nil || len(b) < 16 {
		return fmt.Errorf("dns.key is not base64 of 16 bytes or more; make one with tsig-keygen, or leave it out")
	}
	return nil
}

func isEnd(p netip.Prefix, a netip.Addr) bool {
	if p.Bits() >= 31 {
		return false
	}
	last := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	return a == p.Masked().Addr() || a == netip.AddrFrom4(last)
}
