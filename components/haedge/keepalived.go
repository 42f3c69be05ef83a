package haedge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/components/host"
)

type trackFile struct{ Name, Path string }

type instance struct {
	Name, Interface, Source, Advert string
	RouterID, Priority              int
	Peers, Addresses, Files         []string
	// Notify is a script that is told of each new state.
	Notify []string
}

// gateRouterID is the VRRP router id by which an edge holds the public VIPs.
// It is the edge's own, so that each edge holds them; the last byte of its
// address stays the same when other edges come and go.
func gateRouterID(addr netip.Addr) int {
	if !addr.Is4() {
		return 0
	}
	return int(addr.As4()[3])
}

// priority puts the preferred edge first and the others in the order of their
// names, all near the top: with a low priority the wait for a dead master grows.
func (a *HAEdgeArgs) priority(h, prefer string) int {
	order := a.hostNames()
	if prefer != "" {
		order = append([]string{prefer}, slices.DeleteFunc(order, func(o string) bool { return o == prefer })...)
	}
	return 254 - 3*slices.Index(order, h)
}

func (v VRRP) advert() string {
	d := time.Second
	if v.Profile == "fast" {
		d = cmp.Or(v.Advert, 200*time.Millisecond)
	}
	return fmt.Sprintf("%g", d.Seconds())
}

func (a *HAEdgeArgs) keepalivedPhase(h string, _ secrets) (host.Phase, error) {
	files := []trackFile{{"haproxy", "/run/halinux/haproxy"}}
	target := "UNIX-CONNECT:/run/haproxy/health.sock"
	if len(a.Sites) > 0 {
		files = append(files, trackFile{"nginx", "/run/halinux/nginx"})
		target = fmt.Sprintf("TCP4:127.0.0.1:%d", chainPort)
	}
	var tracked []string
	for _, f := range files {
		tracked = append(tracked, f.Name)
	}
	// In maintenance the public VIPs stay until the provider has stopped using
	// them, so they follow a file of their own.
	files = append(files, trackFile{"maintenance", "/etc/keepalived/maintenance"})

	var instances []instance
	for _, v := range a.VIPs {
		network := a.networkOf(v)
		link, _ := a.Plan.Link(h, network)
		i := instance{
			Name: "vip-" + v.Name, Interface: link.Interface, Source: link.Address, Advert: a.VRRP.advert(),
			RouterID: v.RouterID, Priority: a.priority(h, v.Prefer),
			Addresses: []string{v.Address + "/32 dev " + link.Interface},
			Files:     append(slices.Clone(tracked), "maintenance"),
		}
		for _, o := range a.others(h) {
			i.Peers = append(i.Peers, a.Plan.Address(o, network).String())
		}
		instances = append(instances, i)
	}
	if a.BGP != nil {
		link, _ := a.Plan.Link(h, a.Network)
		gate := instance{
			Name: "public", Interface: link.Interface, Source: link.Address, Advert: a.VRRP.advert(),
			RouterID: gateRouterID(a.Plan.Address(h, a.Network)), Priority: 254,
			Files: append(slices.Clone(tracked), "withdrawn"),
		}
		files = append(files, trackFile{"withdrawn", "/etc/keepalived/withdrawn"})
		for _, o := range a.others(h) {
			gate.Peers = append(gate.Peers, a.addr(o))
		}
		var public []string
		for _, v := range a.BGP.VIPs {
			gate.Addresses = append(gate.Addresses, v.Address+"/32 dev lo")
			public = append(public, v.Address)
		}
		if len(gate.Peers) > 0 {
			gate.Notify = []string{fmt.Sprintf("/usr/local/lib/halinux/edge-joins %s %s %s", link.Interface, strings.Join(public, ","), strings.Join(gate.Peers, ","))}
		}
		instances = append(instances, gate)
	}
	var rivals []string
	for _, o := range a.serving() {
		if o != h {
			rivals = append(rivals, fmt.Sprintf("%s:%d", a.addr(o), healthPort))
		}
	}
	config, err := host.Render(phases, "phases/keepalived/keepalived.conf.tmpl", map[string]any{
		"Host": h, "Files": files, "Instances": instances, "Target": target, "Rivals": strings.Join(rivals, " "),
	})
	if err != nil {
		return host.Phase{}, err
	}
	maintenance := "0\n"
	if slices.Contains(a.Maintenance, h) {
		maintenance = "1\n"
	}
	var watched []string
	for _, v := range a.VIPs {
		link, _ := a.Plan.Link(h, a.networkOf(v))
		watched = append(watched, v.Address+":"+link.Interface)
	}
	unit, err := host.Render(phases, "phases/keepalived/halinux-edge-watch.service.tmpl", strings.Join(watched, " "))
	if err != nil {
		return host.Phase{}, err
	}
	p, err := host.NewPhase(phases, "keepalived",
		host.File{Path: "/etc/keepalived/keepalived.conf", Content: config},
		host.File{Path: "/etc/keepalived/maintenance", Content: maintenance},
		host.File{Path: "/etc/keepalived/withdrawn", Content: maintenance},
		host.Embedded(phases, "/usr/local/lib/halinux/edge-serving", "phases/keepalived/edge-serving.sh").Executable(),
		host.Embedded(phases, "/usr/local/lib/halinux/edge-backends", "phases/keepalived/edge-backends.sh").Executable(),
		host.Embedded(phases, "/usr/local/lib/halinux/edge-watch", "phases/keepalived/edge-watch.sh").Executable(),
		host.Embedded(phases, "/usr/local/lib/halinux/edge-joins", "phases/keepalived/edge-joins.sh").Executable(),
		host.File{Path: "/etc/systemd/system/halinux-edge-watch.service", Content: unit},
		host.Embedded(phases, "/etc/systemd/system/keepalived.service.d/halinux.conf", "phases/keepalived/halinux.conf"),
	)
	var all, lan []string
	for _, v := range a.vipsOf(nil) {
		all = append(all, v.Address)
		if !v.Public {
			lan = append(lan, v.Address)
		}
	}
	p.Vars = map[string]string{
		"vip_filter": "src " + strings.Join(all, " or src "), "vip_set": strings.Join(all, ", "), "lan_vips": strings.Join(lan, " "), "watched": strings.Join(watched, " "), "asn": "",
	}
	if a.BGP != nil {
		p.Vars["asn"] = fmt.Sprint(a.BGP.ASN)
	}
	return p, err
}
