package haedge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

func (a *HAEdgeArgs) frrPhase(h string, _ secrets) (host.Phase, error) {
	b := a.BGP
	var lists, maps_, options, neighbors, family []string
	drained := slices.Contains(a.Maintenance, h)

	var serve, standby []string
	for _, v := range b.VIPs {
		if v.Prefer == "" || v.Prefer == h {
			serve = append(serve, v.Address)
		} else {
			standby = append(standby, v.Address)
		}
		family = append(family, "network "+v.Address+"/32")
	}
	announce := func(list string, addresses []string, sequence, med int) {
		for i, addr := range addresses {
			lists = append(lists, fmt.Sprintf("ip prefix-list %s seq %d permit %s/32", list, 5*(i+1), addr))
		}
		if len(addresses) == 0 {
			return
		}
		maps_ = append(maps_, fmt.Sprintf("route-map TO-PROVIDER permit %d", sequence), " match ip address prefix-list "+list, fmt.Sprintf(" set metric %d", med))
		if drained {
			// For a provider that does not know GRACEFUL_SHUTDOWN (RFC 8326).
			maps_ = append(maps_, fmt.Sprintf(" set as-path prepend %d %d %d", b.ASN, b.ASN, b.ASN))
		}
		maps_ = append(maps_, "exit")
	}
	announce("VIPS", serve, 10, 0)
	announce("STANDBY-VIPS", standby, 20, 100)

	for i, text := range b.Accept {
		lists = append(lists, fmt.Sprintf("ip prefix-list FROM-PROVIDER seq %d permit %s", 5*(i+1), text))
	}
	if len(b.Accept) == 0 {
		lists = append(lists, "ip prefix-list FROM-PROVIDER seq 5 deny any")
	}
	maps_ = append(maps_, "route-map FROM-PROVIDER permit 10", " match ip address prefix-list FROM-PROVIDER", "exit")

	options = append(options,
		"no bgp default ipv4-unicast",
		// A dead edge must not keep its routes: restart and BFD exclude each other.
		"bgp graceful-restart-disable",
	)
	if drained {
		options = append(options, "bgp graceful-shutdown")
	}
	phaseSecrets := map[string]pulumi.StringInput{}
	for _, p := range b.Peers {
		n := "neighbor " + p.Address
		neighbors = append(neighbors,
			fmt.Sprintf("%s remote-as %d", n, p.ASN),
			n+" description "+p.Name,
		)
		if p.TTLSecurity {
			neighbors = append(neighbors, n+" ttl-security hops 1")
		}
		if p.Password != nil {
			neighbors = append(neighbors, n+" password [secret bgp-"+p.Name+"]")
			phaseSecrets["bgp-"+p.Name] = p.Password
		}
		if !p.NoBFD {
			neighbors = append(neighbors, n+" bfd", n+" bfd profile provider")
		}
		family = append(family,
			n+" activate",
			n+" route-map FROM-PROVIDER in",
			n+" route-map TO-PROVIDER out",
			fmt.Sprintf("%s maximum-prefix %d", n, cmp.Or(b.MaximumPrefix, 10)),
		)
	}
	routerID := a.addr(h)
	if addr, err := netip.ParseAddr(b.Peers[0].Address); err == nil {
		routerID = a.linkTo(h, addr).Address
	}
	config, err := host.Render(phases, "phases/frr/frr.conf.tmpl", map[string]any{
		"Host": h, "ASN": b.ASN, "RouterID": routerID, "PrefixLists": lists, "RouteMaps": maps_, "Options": options,
		"Neighbors": neighbors, "Family": family,
		"Keepalive": int(cmp.Or(b.Keepalive, 3*time.Second).Seconds()), "Hold": int(cmp.Or(b.Hold, 9*time.Second).Seconds()),
		"BFD": map[string]any{"Interval": cmp.Or(b.BFD.Interval, 200*time.Millisecond).Milliseconds(), "Multiplier": cmp.Or(b.BFD.Multiplier, 3)},
	})
	if err != nil {
		return host.Phase{}, err
	}
	daemons := host.Embedded(phases, "/etc/frr/daemons", "phases/frr/daemons")
	daemons.Owner, daemons.Mode = "frr:frr", 0o640
	p, err := host.NewPhase(phases, "frr",
		host.File{Path: "/etc/frr/frr.conf", Content: config, Owner: "frr:frr", Mode: 0o640},
		daemons,
	)
	p.Secrets = phaseSecrets
	return p, err
}
