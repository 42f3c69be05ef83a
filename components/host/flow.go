package host

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/halinux/halinux/components/problem"
)

// Flow is traffic that a component needs. The firewall of every host is made
// from all flows: what none of them names is dropped.
type Flow struct {
	Name string // what it is for, like "haedge: https"
	// To names the hosts that receive it.
	To       []string
	Protocol string // tcp, udp, icmp or vrrp
	Ports    []int  // of tcp and udp
	// Theirs says that the hosts receive it with a daemon of their own, which
	// may be there already: the preflight does not call the port taken.
	Theirs bool
	// From says who may send it: ranges, addresses, names of networks, or
	// names of hosts of the plan. Default: everybody.
	From []string
}

// flowName is what fits into a comment of nft: 128 bytes, no quotes.
var flowName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9 :,./_-]{0,90}$`)

// sources turns what From says into ranges without overlap, sorted.
func (p AddressPlan) sources(from []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, s := range from {
		if n, ok := p.Network(s); ok {
			all = append(all, n.Prefix())
			continue
		}
		if _, ok := p.Host(s); ok {
			for _, a := range p.Addresses(s) {
				all = append(all, netip.PrefixFrom(a, a.BitLen()))
			}
			continue
		}
		if a, err := plainAddr(s); err == nil {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		r, err := plainPrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither a range of addresses nor the name of a network or a host", s)
		}
		all = append(all, r)
	}
	return disjoint(all), nil
}

// disjoint sorts ranges and drops those that lie within another.
func disjoint(all []netip.Prefix) []netip.Prefix {
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var kept []netip.Prefix
	for _, r := range all {
		if len(kept) == 0 || !kept[len(kept)-1].Overlaps(r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// Validate reports what is wrong with a flow in the light of the plan.
func (f Flow) Validate(p AddressPlan) problem.List {
	var l problem.List
	if !flowName.MatchString(f.Name) {
		l.Add("name", fmt.Sprintf("%q is not a name for a flow", f.Name), "use up to 90 letters, digits and : , . / _ -")
	}
	for i, h := range f.To {
		if _, ok := p.Host(h); !ok {
			l.Add(fmt.Sprintf("to[%d]", i), fmt.Sprintf("there is no host %q", h), "use the name of a host of the plan")
		}
	}
	if len(f.To) == 0 {
		l.Add("to", "there is no host", "name the hosts that receive it")
	}
	switch f.Protocol {
	case "tcp", "udp":
		if len(f.Ports) == 0 {
			l.Add("ports", "there is none", "name the ports that are to be open")
		}
	case "icmp", "vrrp":
		if len(f.Ports) > 0 {
			l.Add("ports", f.Protocol+" has no ports", "leave them out")
		}
	default:
		l.Add("protocol", fmt.Sprintf("%q is not one that can be let in", f.Protocol), "use tcp, udp, icmp or vrrp")
	}
	for i, n := range f.Ports {
		if n < 1 || n > 65535 {
			l.Add(fmt.Sprintf("ports[%d]", i), fmt.Sprintf("%d is not a port", n), "use 1 to 65535")
		}
	}
	for i, s := range f.From {
		if _, err := p.sources([]string{s}); err != nil {
			l.Add(fmt.Sprintf("from[%d]", i), err.Error(), "write 192.0.2.0/24, or a name that the plan has")
		}
	}
	return l
}

// rules are the lines of nftables(8) that let the flow in on a host: one for
// each IP version, or a single one where everybody may send.
func (f Flow) rules(p AddressPlan) ([]string, error) {
	match := ""
	switch f.Protocol {
	case "tcp", "udp":
		match = f.Protocol + " dport " + set(portTexts(f.Ports))
	case "icmp":
		match = "meta l4proto { icmp, ipv6-icmp }"
	case "vrrp":
		match = "meta l4proto 112"
	default:
		return nil, fmt.Errorf("flow %s: no rule for the protocol %q", f.Name, f.Protocol)
	}
	tail := fmt.Sprintf("%s accept comment %q", match, f.Name)
	if len(f.From) == 0 {
		return []string{tail}, nil
	}
	from, err := p.sources(f.From)
	if err != nil {
		return nil, fmt.Errorf("flow %s: %w", f.Name, err)
	}
	var v4, v6 []string
	for _, r := range from {
		text := r.String()
		if r.IsSingleIP() {
			text = r.Addr().String()
		}
		if r.Addr().Is4() {
			v4 = append(v4, text)
		} else {
			v6 = append(v6, text)
		}
	}
	var lines []string
	if len(v4) > 0 {
		lines = append(lines, "ip saddr "+set(v4)+" "+tail)
	}
	if len(v6) > 0 {
		lines = append(lines, "ip6 saddr "+set(v6)+" "+tail)
	}
	return lines, nil
}

func portTexts(ports []int) []string {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	var texts []string
	for _, n := range slices.Compact(ports) {
		texts = append(texts, fmt.Sprint(n))
	}
	return texts
}

// set is one value, or an anonymous set of several.
func set(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return "{ " + strings.Join(values, ", ") + " }"
}
