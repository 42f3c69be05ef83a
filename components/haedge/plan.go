package haedge

import (
	"cmp"
	"embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

//go:embed phases
var phases embed.FS

// Ports that the edge uses for itself; none of them is on a VIP.
const (
	peersPort     = 8401 // HAProxy's peers, between the edges
	healthPort    = 8402 // how many backends an edge sees, between the edges
	chainPort     = 8403 // the whole chain, NGINX to HAProxy, on loopback
	metricsPort   = 8404 // HAProxy's figures, where a network may read them
	challengePort = 8405 // answers to ACME's challenges, between the edges
)

const acmeCerts = "/var/lib/dehydrated/certs" // one folder for each site

var ownPorts = []int{peersPort, healthPort, chainPort, challengePort}

// address is a VIP of either kind.
type address struct {
	Name, Address string
	Public        bool
}

// secrets are what the plan needs and must not show.
type secrets struct {
	transfer pulumi.StringInput            // the TSIG key
	leaf     map[string]pulumi.StringInput // certificate chain by site
	leafKey  map[string]pulumi.StringInput // private key by site
}

// plan returns the phases of each edge, in their order. Equal arguments give
// equal phases.
func plan(a *HAEdgeArgs, s secrets) (map[string][]host.Phase, error) {
	all := map[string][]host.Phase{}
	for _, h := range a.hostNames() {
		makers := []func(string, secrets) (host.Phase, error){a.haproxyPhase}
		if len(a.Sites) > 0 {
			makers = append(makers, a.nginxPhase)
		}
		if a.DNS != nil {
			makers = append(makers, a.bindPhase)
		}
		// What holds and announces addresses comes after what serves on them.
		makers = append(makers, a.keepalivedPhase)
		if a.BGP != nil {
			makers = append(makers, a.frrPhase)
		}
		// The authority can only ask once the VIPs are there.
		if a.ACME != nil {
			makers = append(makers, a.acmePhase)
		}
		for _, make := range makers {
			p, err := make(h, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", h, err)
			}
			all[h] = append(all[h], p)
		}
	}
	return all, nil
}

func (a *HAEdgeArgs) hostNames() []string {
	names := host.Names(a.Hosts)
	slices.Sort(names)
	return names
}

func (a *HAEdgeArgs) networkNames() []string {
	var names []string
	for _, n := range a.Plan.Networks {
		names = append(names, n.Name)
	}
	return names
}

func (a *HAEdgeArgs) planNames() []string {
	var names []string
	for _, h := range a.Plan.Hosts {
		names = append(names, h.Name)
	}
	return names
}

// serving are the edges that are not in maintenance.
func (a *HAEdgeArgs) serving() []string {
	return slices.DeleteFunc(a.hostNames(), func(h string) bool { return slices.Contains(a.Maintenance, h) })
}

// others are the other edges.
func (a *HAEdgeArgs) others(h string) []string {
	return slices.DeleteFunc(a.hostNames(), func(o string) bool { return o == h })
}

func (a *HAEdgeArgs) addr(h string) string { return a.Plan.Address(h, a.Network).String() }

func (a *HAEdgeArgs) networkOf(v VIP) string { return cmp.Or(v.Network, a.Network) }

// linkTo is the link of a host to the network that holds an address.
func (a *HAEdgeArgs) linkTo(h string, addr netip.Addr) host.Link {
	planned, _ := a.Plan.Host(h)
	for _, k := range planned.Links {
		if n, ok := a.Plan.Network(k.Network); ok && n.Prefix().IsValid() && n.Prefix().Contains(addr) {
			return k
		}
	}
	return host.Link{}
}

// vipsOf are the VIPs with these names, or all.
func (a *HAEdgeArgs) vipsOf(names []string) []address {
	var all []address
	for _, v := range a.VIPs {
		all = append(all, address{v.Name, v.Address, false})
	}
	if a.BGP != nil {
		for _, v := range a.BGP.VIPs {
			all = append(all, address{v.Name, v.Address, true})
		}
	}
	if len(names) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(v address) bool { return !slices.Contains(names, v.Name) })
}

// siteName completes a name without a dot.
func (a *HAEdgeArgs) siteName(name string) string {
	if strings.Contains(name, ".") || a.Plan.Domain == "" {
		return name
	}
	return name + "." + a.Plan.Domain
}

func (a *HAEdgeArgs) siteNames(s Site) []string {
	names := make([]string, len(s.Hosts))
	for i, name := range s.Hosts {
		names[i] = a.siteName(name)
	}
	return names
}

func (a *HAEdgeArgs) now() time.Time {
	if a.Now.IsZero() {
		return time.Now()
	}
	return a.Now
}

func (c Certificate) source() string { return cmp.Or(c.Source, "private") }

func (m Metrics) port() int { return cmp.Or(m.Port, metricsPort) }

func (b Backend) name() string {
	if b.Name != "" {
		return b.Name
	}
	if b.Host != "" {
		return b.Host
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(b.Address)
}

func (a *HAEdgeArgs) backendAddress(b Backend) netip.Addr {
	if b.Address != "" {
		addr, _ := netip.ParseAddr(b.Address)
		return addr
	}
	return a.Plan.Address(b.Host, a.Network)
}
