package haedge

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

// zone is the name of the forward zone.
func (a *HAEdgeArgs) zone() string { return cmp.Or(a.DNS.Zone, a.Plan.Domain) }

// primary is the edge that the zones are made on.
func (a *HAEdgeArgs) primary() string { return cmp.Or(a.DNS.Primary, a.hostNames()[0]) }

// entry is a name of the forward zone with its addresses, and who it belongs to.
type entry struct {
	name, of  string
	addresses []string
}

// entries are the names that the plan, the VIPs, sites and services make.
func (a *HAEdgeArgs) entries() []entry {
	var all []entry
	for _, h := range a.Plan.Hosts {
		for i, k := range h.Links {
			name := h.Name
			if i > 0 {
				name += "-" + k.Network
			}
			all = append(all, entry{name, "the host " + h.Name, []string{k.Address}})
		}
	}
	for _, v := range a.vipsOf(nil) {
		all = append(all, entry{v.Name, "the VIP " + v.Name, []string{v.Address}})
	}
	for _, s := range a.Sites {
		for _, name := range a.siteNames(s) {
			if name == a.zone() {
				all = append(all, entry{"@", "the site " + s.Name, a.inside(s.VIPs)})
			} else if label, ok := strings.CutSuffix(name, "."+a.zone()); ok {
				all = append(all, entry{label, "the site " + s.Name, a.inside(s.VIPs)})
			}
		}
	}
	for _, s := range a.Services {
		all = append(all, entry{s.Name, "the service " + s.Name, a.inside(s.VIPs)})
	}
	return all
}

// inside are the addresses that the plan's own hosts use: those on their
// networks where there are any, so that they do not go by the provider.
func (a *HAEdgeArgs) inside(vips []string) []string {
	var lan, all []string
	for _, v := range a.vipsOf(vips) {
		all = append(all, v.Address)
		if !v.Public {
			lan = append(lan, v.Address)
		}
	}
	if len(lan) > 0 {
		return lan
	}
	return all
}

// validateOwners reports names that two things of the zone would share.
func (a *HAEdgeArgs) validateOwners() problem.List {
	var l problem.List
	of := map[string]string{}
	for _, e := range a.entries() {
		if other, taken := of[e.name]; taken {
			l.Add("zone", fmt.Sprintf("%s would be the name of %s and of %s", e.name, other, e.of), "rename one")
		}
		of[e.name] = e.of
	}
	aliases := map[string]bool{}
	seen := map[Record]bool{}
	for i, r := range a.DNS.Records {
		at := fmt.Sprintf("records[%d].name", i)
		name := strings.ToLower(r.Name)
		if other, taken := of[name]; taken && !slices.Contains([]string{"MX", "TXT", "SRV", "CAA"}, r.Type) {
			l.Add(at, fmt.Sprintf("%s is the name of %s", name, other), "choose another")
		}
		if seen[r] {
			l.Add(at, "the same record stands there twice", "leave one of them out")
		}
		seen[r] = true
		if aliases[name] {
			l.Add(at, fmt.Sprintf("%s is an alias and cannot have other records", name), "remove the CNAME, or the others")
		}
		for _, o := range a.DNS.Records[:i] {
			if r.Type == "CNAME" && o.Type != "CNAME" && strings.EqualFold(o.Name, r.Name) {
				l.Add(at, fmt.Sprintf("%s has other records and cannot be an alias", name), "remove the CNAME, or the others")
			}
		}
		aliases[name] = aliases[name] || r.Type == "CNAME"
	}
	return l
}

// zoneText is the text of a zone but for its serial.
func (a *HAEdgeArgs) zoneText(name string, records []string) (string, error) {
	var all []string
	for _, h := range a.hostNames() {
		all = append(all, "@ NS "+h+"."+a.zone()+".")
	}
	return host.Render(phases, "phases/bind/zone.tmpl", map[string]any{
		"Name": name, "TTL": int(cmp.Or(a.DNS.TTL, 5*time.Minute).Seconds()),
		"Primary": a.primary() + "." + a.zone() + ".", "Domain": a.zone(), "Records": append(all, records...),
	})
}

// zones are the texts of all zones by name.
func (a *HAEdgeArgs) zones() (map[string]string, error) {
	var forward []string
	reverse := map[string][]string{}
	for _, e := range a.entries() {
		for _, addr := range e.addresses {
			forward = append(forward, e.name+" A "+addr)
		}
		// One name for an address: that of the host or VIP which has it.
		if strings.HasPrefix(e.of, "the host ") || strings.HasPrefix(e.of, "the VIP ") {
			if zone, label, ok := a.reverse(e.addresses[0]); ok {
				reverse[zone] = append(reverse[zone], label+" PTR "+e.name+"."+a.zone()+".")
			}
		}
	}
	for _, r := range a.DNS.Records {
		value := r.Value
		if r.Type == "TXT" {
			value = `"` + unquoted(value) + `"`
		}
		forward = append(forward, strings.ToLower(r.Name)+" "+r.Type+" "+value)
	}
	texts := map[string]string{}
	var err error
	if texts[a.zone()], err = a.zoneText(a.zone(), forward); err != nil {
		return nil, err
	}
	for name, records := range reverse {
		if texts[name], err = a.zoneText(name, records); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// unquoted is the text of a TXT record, which may be given with its quotes.
func unquoted(s string) string {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// reverse is where the name of an address stands: one zone for each /24 in
// which the plan has addresses, whatever the length of the network.
func (a *HAEdgeArgs) reverse(text string) (zone, label string, ok bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil || !addr.Is4() {
		return "", "", false
	}
	if !slices.ContainsFunc(a.Plan.Networks, func(n host.Network) bool { return n.Prefix().IsValid() && n.Prefix().Contains(addr) }) {
		return "", "", false
	}
	b := addr.As4()
	return fmt.Sprintf("%d.%d.%d.in-addr.arpa", b[2], b[1], b[0]), fmt.Sprint(b[3]), true
}

type zone struct {
	Name  string
	Lines []string
}

func (a *HAEdgeArgs) bindPhase(h string, s secrets) (host.Phase, error) {
	texts, err := a.zones()
	if err != nil {
		return host.Phase{}, err
	}
	names := slices.Sorted(maps.Keys(texts))
	var zones []zone
	var files []host.File
	primary := h == a.primary()
	for _, name := range names {
		var lines []string
		if primary {
			lines = append(lines, "type primary;", `file "/var/lib/bind/`+name+`";`, "allow-transfer { key transfer; };")
			var notify []string
			for _, o := range a.others(h) {
				notify = append(notify, a.addr(o)+" key transfer;")
			}
			lines = append(lines, "also-notify { "+strings.Join(notify, " ")+" };")
			files = append(files, host.File{Path: "/etc/bind/zones/" + name, Content: texts[name]})
		} else {
			lines = append(lines,
				"type secondary;", `file "/var/cache/bind/`+name+`";`,
				fmt.Sprintf("primaries { %s key transfer; };", a.addr(a.primary())),
				fmt.Sprintf("allow-notify { key transfer; %s; };", a.addr(a.primary())),
				"allow-transfer { key transfer; };",
			)
		}
		zones = append(zones, zone{name, lines})
	}
	networks := a.DNS.Networks
	if len(networks) == 0 {
		networks = a.networkNames()
	}
	var clients, listen []string
	for _, n := range networks {
		network, _ := a.Plan.Network(n)
		clients = append(clients, network.CIDR)
		if addr := a.Plan.Address(h, n); addr.Is4() {
			listen = append(listen, addr.String())
		}
	}
	if !slices.Contains(listen, a.addr(h)) {
		listen = append(listen, a.addr(h)) // for transfers
	}
	var options []string
	if len(a.DNS.Forwarders) > 0 {
		options = append(options, "forwarders { "+strings.Join(a.DNS.Forwarders, "; ")+"; };", "forward only;")
	}
	config, err := host.Render(phases, "phases/bind/named.conf.tmpl", map[string]any{
		"Clients": clients, "Listen": listen, "Options": options, "Zones": zones,
	})
	if err != nil {
		return host.Phase{}, err
	}
	key := host.Embedded(phases, "/etc/bind/transfer.key", "phases/bind/transfer.key")
	key.Owner, key.Mode = "root:bind", 0o640
	p, err := host.NewPhase(phases, "bind", append(files, host.File{Path: "/etc/bind/named.conf", Content: config}, key)...)
	p.Beside = true // the proxies and the name server know nothing of each other
	p.Secrets = map[string]pulumi.StringInput{"transfer": s.transfer}
	p.Vars = map[string]string{"zones": ""}
	if primary {
		p.Vars["zones"] = strings.Join(names, " ")
	}
	return p, err
}
