package host

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// port is one interface of a host with all that the plan says of it: the links
// that share it (one of each IP version), joined.
type port struct {
	Name      string
	MAC       string
	Bond      *Bond
	MTU       int // 0: as it is
	Addresses []netip.Prefix
	Routes    []Route // the default route with To "default"
}

// ports are a host's interfaces in the order of its links.
func (p AddressPlan) ports(name string) []port {
	h, _ := p.Host(name)
	own := p.Addresses(name)
	var ports []port
	defaults := map[bool]bool{} // by IP version: a host has one way out of each
	for _, l := range h.Links {
		n, _ := p.Network(l.Network)
		i := slices.IndexFunc(ports, func(o port) bool { return o.Name == l.Interface })
		if i < 0 {
			ports = append(ports, port{Name: l.Interface})
			i = len(ports) - 1
		}
		o := &ports[i]
		if l.MAC != "" {
			o.MAC = l.MAC
		}
		if l.Bond != nil {
			o.Bond = l.Bond
		}
		if n.MTU != 0 {
			o.MTU = n.MTU
		}
		a, err := netip.ParseAddr(l.Address)
		if err != nil {
			continue
		}
		o.Addresses = append(o.Addresses, netip.PrefixFrom(a, n.Prefix().Bits()))
		if g, err := netip.ParseAddr(n.Gateway); err == nil && !defaults[a.Is4()] && !slices.Contains(own, g) {
			defaults[a.Is4()] = true
			o.Routes = append(o.Routes, Route{To: "default", Via: n.Gateway})
		}
		for _, r := range n.Routes {
			if via, err := netip.ParseAddr(r.Via); err == nil && !slices.Contains(own, via) {
				o.Routes = append(o.Routes, r)
			}
		}
	}
	return ports
}

// gateways are the routers of the port's routes.
func (o port) gateways() []string {
	var all []string
	for _, r := range o.Routes {
		if !slices.Contains(all, r.Via) {
			all = append(all, r.Via)
		}
	}
	return all
}

func (o port) hasIPv6() bool {
	return slices.ContainsFunc(o.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() })
}

// options are the bond's parameters that are not the kernel's default, by the
// names of systemd.netdev(5) and of Netplan; intervals in milliseconds.
func (b Bond) options() (list [][3]string) {
	add := func(networkd, netplan, value string) { list = append(list, [3]string{networkd, netplan, value}) }
	mode := b.mode()
	add("Mode", "mode", mode)
	if len(b.ARPTargets) > 0 {
		interval := b.ARPInterval
		if interval == 0 {
			interval = time.Second
		}
		add("ARPIntervalSec", "arp-interval", milliseconds(interval))
		add("ARPIPTargets", "arp-ip-targets", strings.Join(b.ARPTargets, " "))
	} else {
		interval := b.MIIMonitor
		if interval == 0 {
			interval = 100 * time.Millisecond
		}
		add("MIIMonitorSec", "mii-monitor-interval", milliseconds(interval))
	}
	if mode == "802.3ad" {
		rate := b.LACPRate
		if rate == "" {
			rate = "fast"
		}
		add("LACPTransmitRate", "lacp-rate", rate)
		if b.MinLinks > 0 {
			add("MinLinks", "min-links", strconv.Itoa(b.MinLinks))
		}
	}
	policy := b.HashPolicy
	if policy == "" && (mode == "802.3ad" || mode == "balance-xor") {
		policy = "layer3+4"
	}
	if policy != "" {
		add("TransmitHashPolicy", "transmit-hash-policy", policy)
	}
	return list
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// networkd are the files of systemd.network(5) and systemd.netdev(5). They sort
// before those of installers and of Netplan, so that they count.
func (o port) networkd() []File {
	file := func(name string, sections ...[]string) File {
		text := "# Made by halinux from the address plan.\n"
		for i, s := range sections {
			if i > 0 {
				text += "\n"
			}
			text += strings.Join(s, "\n") + "\n"
		}
		return File{Path: "/etc/systemd/network/05-halinux-" + name, Content: text}
	}
	match := []string{"[Match]", "Name=" + o.Name}
	var files []File
	if b := o.Bond; b != nil {
		netdev := []string{"[NetDev]", "Name=" + o.Name, "Kind=bond"}
		if o.MAC != "" {
			netdev = append(netdev, "MACAddress="+o.MAC)
		}
		bond := []string{"[Bond]"}
		for _, option := range b.options() {
			value := option[2]
			if strings.HasSuffix(option[0], "Sec") {
				value += "ms"
			}
			bond = append(bond, option[0]+"="+value)
		}
		files = append(files, file(o.Name+".netdev", netdev, bond))
		for _, m := range b.Members {
			network := []string{"[Network]", "Bond=" + o.Name}
			if m == b.Primary {
				network = append(network, "PrimarySlave=yes")
			}
			files = append(files, file(m+".network", []string{"[Match]", "Name=" + m}, network))
		}
	} else if o.MAC != "" {
		match = []string{"[Match]", "PermanentMACAddress=" + o.MAC}
	}
	sections := [][]string{match}
	if o.MTU != 0 {
		sections = append(sections, []string{"[Link]", "MTUBytes=" + strconv.Itoa(o.MTU)})
	}
	network := []string{"[Network]", "DHCP=no"}
	if o.hasIPv6() {
		network = append(network, "IPv6AcceptRA=no")
	}
	// Virtual addresses that other programs put on the port stay, and its own
	// do not go when the cable does.
	network = append(network, "KeepConfiguration=static", "ConfigureWithoutCarrier=yes")
	sections = append(sections, network)
	for _, a := range o.Addresses {
		sections = append(sections, []string{"[Address]", "Address=" + a.String()})
	}
	for _, r := range o.Routes {
		route := []string{"[Route]", "Gateway=" + r.Via}
		if r.To != "default" {
			route = append(route, "Destination="+r.To)
		}
		sections = append(sections, route)
	}
	return append(files, file(o.Name+".network", sections...))
}

// netplan is the one file of Netplan for all ports.
func netplan(ports []port) string {
	ethernets, bonds := "", ""
	for _, o := range ports {
		var b strings.Builder
		fmt.Fprintf(&b, "    %s:\n", quoteYAML(o.Name))
		if o.Bond == nil && o.MAC != "" {
			fmt.Fprintf(&b, "      match: {macaddress: %s}\n      set-name: %s\n", quoteYAML(o.MAC), quoteYAML(o.Name))
		}
		if o.Bond != nil {
			fmt.Fprintf(&b, "      interfaces: [%s]\n", listYAML(o.Bond.Members))
			if o.MAC != "" {
				fmt.Fprintf(&b, "      macaddress: %s\n", quoteYAML(o.MAC))
			}
			b.WriteString("      parameters:\n")
			for _, option := range o.Bond.options() {
				value := quoteYAML(option[2])
				if option[1] == "arp-ip-targets" {
					value = "[" + listYAML(strings.Fields(option[2])) + "]"
				} else if _, err := strconv.Atoi(option[2]); err == nil {
					value = option[2]
				}
				fmt.Fprintf(&b, "        %s: %s\n", option[1], value)
			}
			if o.Bond.Primary != "" {
				fmt.Fprintf(&b, "        primary: %s\n", quoteYAML(o.Bond.Primary))
			}
			for _, m := range o.Bond.Members {
				ethernets += fmt.Sprintf("    %s: {dhcp4: false, dhcp6: false, optional: true}\n", quoteYAML(m))
			}
		}
		if o.MTU != 0 {
			fmt.Fprintf(&b, "      mtu: %d\n", o.MTU)
		}
		b.WriteString("      dhcp4: false\n      dhcp6: false\n")
		if o.hasIPv6() {
			b.WriteString("      accept-ra: false\n")
		}
		// critical: virtual addresses that other programs put there stay.
		b.WriteString("      critical: true\n      ignore-carrier: true\n")
		var addresses []string
		for _, a := range o.Addresses {
			addresses = append(addresses, a.String())
		}
		fmt.Fprintf(&b, "      addresses: [%s]\n", listYAML(addresses))
		if len(o.Routes) > 0 {
			b.WriteString("      routes:\n")
			for _, r := range o.Routes {
				fmt.Fprintf(&b, "        - {to: %s, via: %s}\n", quoteYAML(r.To), quoteYAML(r.Via))
			}
		}
		if o.Bond != nil {
			bonds += b.String()
		} else {
			ethernets += b.String()
		}
	}
	text := "# Made by halinux from the address plan.\nnetwork:\n  version: 2\n"
	if ethernets != "" {
		text += "  ethernets:\n" + ethernets
	}
	if bonds != "" {
		text += "  bonds:\n" + bonds
	}
	return text
}

func quoteYAML(s string) string { return strconv.Quote(s) }

func listYAML(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quoteYAML(v)
	}
	return strings.Join(quoted, ", ")
}

// networkPhase names the host and configures its links. Other hosts' names are
// the name servers' matter: in a file on every host, one host more would change
// all others. Which of the two configurations counts is decided on the host, by
// what it uses.
func (a *BaseArgs) networkPhase(h Host) (*Phase, error) {
	hosts := "# Made by halinux from the address plan: the name that works without a name server.\n" +
		"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
	self := h.Name
	if a.Plan.Domain != "" {
		self = a.Plan.FQDN(h.Name) + " " + h.Name
	}
	if own := a.Plan.Addresses(h.Name); len(own) > 0 {
		hosts += own[0].String() + " " + self + "\n"
	}
	p := &Phase{
		Name:  "network",
		Files: []File{{Path: "/etc/hosts", Content: hosts}, {Path: "/etc/hostname", Content: h.Name + "\n"}},
		Vars:  map[string]string{"manage": yesNo(!a.Network.Off), "confirm": confirmSeconds(a.Network.Confirm)},
	}
	if a.Network.Off {
		return p, nil
	}
	ports := a.Plan.ports(h.Name)
	var names, bonds, members, addresses, gateways, targets []string
	for _, o := range ports {
		p.Files = append(p.Files, o.networkd()...)
		names = append(names, o.Name)
		if o.Bond != nil {
			bonds = append(bonds, o.Name)
			names = append(names, o.Bond.Members...)
			for _, m := range o.Bond.Members {
				members = append(members, o.Name+" "+m)
			}
			for _, t := range o.Bond.ARPTargets {
				targets = append(targets, o.Name+" "+t)
			}
		}
		for _, addr := range o.Addresses {
			addresses = append(addresses, o.Name+" "+addr.String())
		}
		for _, g := range o.gateways() {
			gateways = append(gateways, o.Name+" "+g)
		}
	}
	p.Files = append(p.Files,
		File{Path: "/etc/netplan/90-halinux.yaml", Content: netplan(ports), Mode: fs.FileMode(0o600)},
		File{Path: "/etc/systemd/networkd.conf.d/05-halinux.conf", Content: "# Made by halinux: the routes of FRR and the addresses of Keepalived are theirs.\n" +
			"[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n"})
	p.Vars["interfaces"] = strings.Join(names, " ")
	p.Vars["bonds"] = strings.Join(bonds, " ")
	p.Vars["members"] = strings.Join(members, "\n")
	p.Vars["addresses"] = strings.Join(addresses, "\n")
	if len(targets) > 0 {
		p.Vars["arp_targets"] = strings.Join(targets, "\n")
	}
	p.Vars["gateways"] = strings.Join(gateways, "\n")
	return p, nil
}
