package haedge

import (
	"net/netip"
	"slices"

	"github.com/halinux/halinux/components/host"
)

// Flows are the traffic that the edges need, for the firewall of every host.
func (a *HAEdgeArgs) Flows() []host.Flow {
	edges := a.hostNames()
	flows := []host.Flow{
		// VRRPv3 has no authentication: who may send is what protects it.
		{Name: "haedge: vrrp", To: edges, Protocol: "vrrp", From: edges},
		{Name: "haedge: haproxy peers and health", To: edges, Protocol: "tcp", Ports: []int{peersPort, healthPort}, From: edges},
	}
	if len(a.Sites) > 0 {
		flows = append(flows, host.Flow{Name: "haedge: http and https", To: edges, Protocol: "tcp", Ports: []int{80, 443}, From: a.From})
	}
	for _, s := range a.Services {
		flows = append(flows, host.Flow{Name: "haedge: " + s.Name, To: edges, Protocol: "tcp", Ports: []int{s.Port}, From: a.From})
	}
	if a.ACME != nil {
		flows = append(flows, host.Flow{Name: "haedge: acme challenges", To: edges, Protocol: "tcp", Ports: []int{challengePort}, From: edges})
	}
	if b := a.BGP; b != nil {
		var peers []string
		for _, p := range b.Peers {
			peers = append(peers, p.Address)
		}
		flows = append(flows,
			host.Flow{Name: "haedge: bgp", To: edges, Protocol: "tcp", Ports: []int{179}, From: peers},
			host.Flow{Name: "haedge: bfd", To: edges, Protocol: "udp", Ports: []int{3784}, From: peers},
		)
	}
	if d := a.DNS; d != nil {
		clients := d.Networks
		if len(clients) == 0 {
			clients = a.networkNames()
		}
		if !slices.Contains(clients, a.Network) {
			clients = append(slices.Clone(clients), edges...)
		}
		flows = append(flows,
			host.Flow{Name: "haedge: dns", To: edges, Protocol: "udp", Ports: []int{53}, From: clients},
			host.Flow{Name: "haedge: dns and transfers", To: edges, Protocol: "tcp", Ports: []int{53}, From: clients},
		)
	}
	if m := a.Metrics; m != nil {
		flows = append(flows, host.Flow{Name: "haedge: metrics", To: edges, Protocol: "tcp", Ports: []int{m.port()}, From: []string{m.Network}})
	}
	return append(flows, a.backendFlows()...)
}

// backendFlows let the edges reach the backends that are hosts of the plan.
func (a *HAEdgeArgs) backendFlows() []host.Flow {
	var flows []host.Flow
	add := func(name string, backends []Backend, checkPort int) {
		ports := map[string][]int{}
		var order []string
		for _, b := range backends {
			h := b.Host
			if addr, err := netip.ParseAddr(b.Address); err == nil {
				for _, planned := range a.Plan.Hosts {
					if slices.Contains(a.Plan.Addresses(planned.Name), addr) {
						h = planned.Name
					}
				}
			}
			if h == "" {
				continue
			}
			if !slices.Contains(order, h) {
				order = append(order, h)
			}
			ports[h] = append(ports[h], b.Port)
			if checkPort != 0 && checkPort != b.Port {
				ports[h] = append(ports[h], checkPort)
			}
		}
		for _, h := range order {
			flows = append(flows, host.Flow{Name: "haedge: backends of " + name, To: []string{h}, Theirs: true, Protocol: "tcp", Ports: ports[h], From: a.hostNames()})
		}
	}
	for _, s := range a.Sites {
		add("site "+s.Name, s.Backends, s.Check.Port)
	}
	for _, s := range a.Services {
		add("service "+s.Name, s.Backends, s.Check.Port)
	}
	return flows
}
