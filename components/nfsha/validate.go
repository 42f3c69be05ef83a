package nfsha

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

var (
	// clusterName is part of identifiers of XML, of DRBD and of a mount point.
	clusterName = regexp.MustCompile(`^[a-z][a-z0-9]{0,14}$`)
	// projectName is one directory, and part of identifiers of XML.
	projectName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)
	directoryMode = regexp.MustCompile(`^[0-7]?[0-7]{3}$`)
	owner         = regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}):([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$`)
	agentName     = regexp.MustCompile(`^fence_[a-z0-9_]{1,40}$`)
	packageName   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,60}$`)
	optionName    = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,40}$`)
	devicePath    = regexp.MustCompile(`^/dev/[a-zA-Z0-9][a-zA-Z0-9/_-]{0,60}$`)
	moduleName    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,60}$`)
	// calendar is what systemd.time(7) is made of; the host's systemd judges it.
	calendar = regexp.MustCompile(`^[A-Za-z0-9*:,./ ~-]{1,60}$`)
)

// overhead of file system and replication: what a volume of some MiB lacks of
// that, at the most.
func overhead(size int) int { return size/100 + 32 }

// Validate reports everything that is wrong with the arguments, each problem
// with its path, and touches nothing.
func (a *NFSHAClusterArgs) Validate() problem.List {
	var l problem.List
	if !clusterName.MatchString(a.name()) {
		l.Add("name", fmt.Sprintf("%q is not a name for the cluster", a.Name), "use at most 15 lower-case letters and digits, beginning with a letter")
	}
	a.validateNetworks(&l)
	a.validateHosts(&l)
	a.validateWitnesses(&l)
	a.validateVIP(&l)
	a.validateVolume(&l)
	l.Include("fencing", a.validateFencing())
	a.validateTimes(&l)
	a.validateProjects(&l)
	a.validatePurge(&l)
	a.validateProvisioner(&l)
	return l
}

func (a *NFSHAClusterArgs) networkNames() string {
	var names []string
	for _, n := range a.Plan.Networks {
		names = append(names, n.Name)
	}
	return strings.Join(names, ", ")
}

func (a *NFSHAClusterArgs) validateNetworks(l *problem.List) {
	for _, n := range []struct{ path, name, what string }{
		{"network", a.Network, "of the clients and the VIP"}, {"replication", a.Replication, "that replication goes by"},
	} {
		if n.name == "" {
			l.Add(n.path, "is missing", "name the plan's network "+n.what)
		} else if _, ok := a.Plan.Network(n.name); !ok {
			l.Add(n.path, fmt.Sprintf("the plan has no network %q", n.name), "use one of "+a.networkNames())
		}
	}
	if a.Network != "" && a.Network == a.Replication {
		l.Add("replication", fmt.Sprintf("is %q, as network is", a.Network), "use another network, over other ports: when both links are one, its loss looks like the death of the other host")
	}
}

func (a *NFSHAClusterArgs) validateHosts(l *problem.List) {
	switch n := len(a.Hosts); {
	case n == 1:
		l.Add("hosts", "1 storage host", "name two: one alone replicates to nobody")
	case n != 2:
		l.Add("hosts", fmt.Sprintf("%d storage hosts", n), "name two: DRBD 8.4 has two replicas")
	}
	ids := map[int]string{}
	for i, h := range a.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		if slices.ContainsFunc(a.Hosts[:i], func(o host.Host) bool { return o.Name == h.Name }) {
			l.Add(at+".name", fmt.Sprintf("%s is named twice", h.Name), "a replica is on another host")
			continue
		}
		l.Include(at, h.Validate())
		if _, ok := a.Plan.Host(h.Name); !ok {
			l.Add(at+".name", fmt.Sprintf("the plan has no host %q", h.Name), "add it to the plan, with its links")
			continue
		}
		for _, network := range []string{a.Network, a.Replication} {
			if _, ok := a.Plan.Network(network); ok && !a.Plan.Address(h.Name, network).Is4() {
				l.Add(at+".name", fmt.Sprintf("%s has no IPv4 address on the network %q", h.Name, network), "give it a link there")
			}
		}
		one, two := a.port(h.Name, a.Network), a.port(h.Name, a.Replication)
		if one != "" && one == two && a.Network != a.Replication {
			l.Add(at+".name", fmt.Sprintf("%s has both networks on %s", h.Name, one), "use two ports: the links must not fail together")
		}
		if addr := a.Plan.Address(h.Name, a.Network); addr.Is4() {
			id := nodeID(addr)
			if first, taken := ids[id]; id == 0 || taken {
				l.Add(at+".name", fmt.Sprintf("the last byte of %s, %d, is its number in the cluster, %s", addr, id, cmp.Or(first, "and 0 is none")), "give the hosts addresses that end differently")
			}
			ids[id] = "and " + h.Name + "'s"
		}
	}
}

// port is the interface that carries a host's link to a network.
func (a *NFSHAClusterArgs) port(h, network string) string {
	link, _ := a.Plan.Link(h, network)
	return link.Interface
}

func (a *NFSHAClusterArgs) validateWitnesses(l *problem.List) {
	if len(a.Witnesses) == 0 {
		l.Add("witnesses", "there is none, and two votes are even", "name a third host that can see both, best in another rack")
	}
	for i, w := range a.Witnesses {
		at := fmt.Sprintf("witnesses[%d]", i)
		if slices.ContainsFunc(a.Witnesses[:i], func(o host.Host) bool { return o.Name == w.Name }) {
			l.Add(at+".name", fmt.Sprintf("%s is named twice", w.Name), "leave one of them out")
		}
		if slices.Contains(a.hostNames(), w.Name) {
			l.Add(at+".name", fmt.Sprintf("%s is a storage host", w.Name), "the third vote has to outlive either of them")
			continue
		}
		l.Include(at, w.Validate())
		if _, ok := a.Plan.Host(w.Name); !ok {
			l.Add(at+".name", fmt.Sprintf("the plan has no host %q", w.Name), "add it to the plan, with its links")
		} else if _, known := a.Plan.Network(a.Network); known && !a.witnessAddress(w.Name).IsValid() {
			l.Add(at+".name", fmt.Sprintf("%s has no address on the networks %q and %q", w.Name, a.Network, a.Replication), "the storage hosts must reach it")
		}
	}
}

func (a *NFSHAClusterArgs) validateVIP(l *problem.List) {
	addr, err := netip.ParseAddr(a.VIP)
	if err != nil || !addr.Is4() {
		l.Add("vip", fmt.Sprintf("%q is not an IPv4 address", a.VIP), "write it like 10.10.0.102")
		return
	}
	n, ok := a.Plan.Network(a.Network)
	if ok && n.Prefix().IsValid() {
		if !n.Prefix().Contains(addr) {
			l.Add("vip", fmt.Sprintf("%s is outside of the network %s (%s)", addr, n.Name, n.CIDR), "choose a free address of that network")
			return
		}
		if n.Prefix().Masked().Addr() == addr || !n.Prefix().Contains(addr.Next()) {
			l.Add("vip", fmt.Sprintf("%s is the network's own or its broadcast address", addr), "choose a free address of "+n.CIDR)
		}
		if n.Gateway == addr.String() {
			l.Add("vip", fmt.Sprintf("%s is the gateway of the network %s", addr, n.Name), "choose a free one")
		}
	}
	for _, h := range a.Plan.Hosts {
		if slices.Contains(a.Plan.Addresses(h.Name), addr) {
			l.Add("vip", fmt.Sprintf("%s is an address of the host %s", addr, h.Name), "choose a free one")
		}
	}
}

func (a *NFSHAClusterArgs) validateVolume(l *problem.List) {
	for _, name := range slices.Sorted(maps.Keys(a.Disks)) {
		if !slices.Contains(a.hostNames(), name) {
			l.Add("disks."+name, "is not a storage host", "use the name of one of hosts")
		}
		l.Include("disks."+name, a.Disks[name].Validate())
	}
	group, volume, ok := strings.Cut(a.Volume, "/")
	if !ok || group == "" || volume == "" || strings.Contains(volume, "/") {
		l.Add("volume", fmt.Sprintf("%q is not group/volume", a.Volume), "name a volume of disks, like data/nfs")
		return
	}
	sizes := map[int]string{}
	for _, h := range a.hostNames() {
		d, ok := a.Disks[h]
		if !ok {
			l.Add("disks."+h, "is missing", "say which disks the replica is made of")
			continue
		}
		v, ok := d.Find(a.Volume)
		if !ok {
			l.Add("disks."+h, fmt.Sprintf("has no volume %s", a.Volume), "both hosts have a replica of it")
			continue
		}
		sizes[v.Size] = h
	}
	if len(sizes) > 1 {
		var each []string
		for _, size := range slices.Sorted(maps.Keys(sizes)) {
			each = append(each, fmt.Sprintf("%d MiB on %s", size, sizes[size]))
		}
		l.Add("volume", fmt.Sprintf("%s has %s", a.Volume, strings.Join(each, ", ")), "replicas have one size")
	}
	for size := range sizes {
		if size < 512 {
			l.Add("volume", fmt.Sprintf("%s has %d MiB", a.Volume, size), "use 512 or more: XFS needs 300 for itself")
			break
		}
	}
}

// capacity is what the projects can have at the most, in MiB; 0 where it is
// not known.
func (a *NFSHAClusterArgs) capacity() int {
	least := 0
	for _, h := range a.hostNames() {
		if v, ok := a.Disks[h].Find(a.Volume); ok && (least == 0 || v.Size < least) {
			least = v.Size
		}
	}
	return max(0, least-overhead(least))
}

func (a *NFSHAClusterArgs) validateFencing() problem.List {
	var l problem.List
	f := a.Fencing
	switch {
	case len(f.Agents) == 0 && f.Watchdog == nil:
		l.Add("", "there is none: nobody could take over without the risk that both hosts write", "give agents (IPMI and the like), or watchdog: {}")
	case len(f.Agents) > 0 && f.Watchdog != nil:
		l.Add("watchdog", "agents are given too", "choose one of them")
	}
	if len(f.Agents) > 0 {
		for _, h := range a.hostNames() {
			if !slices.ContainsFunc(f.Agents, func(o FenceAgent) bool { return o.Host == h }) {
				l.Add("agents", fmt.Sprintf("none is for %s", h), "each host must be fenced by the other")
			}
		}
	}
	for i, o := range f.Agents {
		at := fmt.Sprintf("agents[%d]", i)
		if !slices.Contains(a.hostNames(), o.Host) {
			l.Add(at+".host", fmt.Sprintf("%q is not a storage host", o.Host), "use one of "+strings.Join(a.hostNames(), ", "))
		}
		if !agentName.MatchString(o.Agent) {
			l.Add(at+".agent", fmt.Sprintf("%q is not a fence agent", o.Agent), "use something like fence_ipmilan")
		}
		if o.Package != "" && !packageName.MatchString(o.Package) {
			l.Add(at+".package", fmt.Sprintf("%q is not a package", o.Package), "use the name that apt knows, like fence-agents-ipmilan, or leave it out")
		}
		for _, name := range slices.Sorted(maps.Keys(o.Options)) {
			switch {
			case !optionName.MatchString(name):
				l.Add(at+".options", fmt.Sprintf("%q is not an option", name), "see pacemaker-fenced(7) and the agent's own page")
			case name == "pcmk_host_list":
				l.Add(at+".options", "pcmk_host_list is the host's name", "leave it out")
			case name == "password" || name == "passwd":
				l.Add(at+".options", name+" would be shown to everybody", "give it as a secret")
			case strings.ContainsAny(o.Options[name], "\n\r\t\x00") || strings.Contains(o.Options[name], "[secret "):
				l.Add(at+".options."+name, fmt.Sprintf("%q is not a value on one line", o.Options[name]), "write it without line breaks, tabs and the word [secret")
			}
			if _, both := o.Secrets[name]; both {
				l.Add(at+".options", name+" is a secret too", "give it once")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(o.Secrets)) {
			if !optionName.MatchString(name) {
				l.Add(at+".secrets", fmt.Sprintf("%q is not an option", name), "see the agent's own page, like fence_ipmilan(8)")
			}
		}
	}
	if w := f.Watchdog; w != nil {
		if !devicePath.MatchString(w.device()) {
			l.Add("watchdog.device", fmt.Sprintf("%q is not a device", w.Device), "use something like /dev/watchdog")
		}
		if w.Module != "" && !moduleName.MatchString(w.Module) {
			l.Add("watchdog.module", fmt.Sprintf("%q is not a kernel module", w.Module), "use something like softdog or iTCO_wdt, or leave it out where the hardware's own is loaded")
		}
		if t := w.timeout(); t < 3*time.Second || t > time.Minute || t%time.Second != 0 {
			l.Add("watchdog.timeout", fmt.Sprintf("%s is outside 3s to 1m, in whole seconds", t), "use 5s where the watchdog is hardware")
		} else if t < a.token() {
			l.Add("watchdog.timeout", fmt.Sprintf("%s is less than the token's %s", t, a.token()), "a host would be reset before it counts as lost")
		}
	}
	return l
}

func (a *NFSHAClusterArgs) validateTimes(l *problem.List) {
	if t := a.token(); t < 500*time.Millisecond || t > 30*time.Second || t%time.Millisecond != 0 {
		l.Add("token", fmt.Sprintf("%s is outside 500ms to 30s", t), "use 2s; more where hosts share their cores")
	}
	if t := a.lease(); t < 5*time.Second || t > 90*time.Second || t%time.Second != 0 {
		l.Add("lease", fmt.Sprintf("%s is outside 5s to 90s, in whole seconds", t), "use 10s")
	}
	if a.Threads < 0 || a.Threads > 1024 {
		l.Add("threads", fmt.Sprintf("%d is outside 1 to 1024", a.Threads), "use 16, or one for each two clients that work at a time")
	}
	if r := a.ResyncRate; r != 0 && (r < 5 || r > 4000) {
		l.Add("resyncRate", fmt.Sprintf("%d is outside 5 to 4000 MiB/s", r), "use a third of what disks and replication network can do")
	}
	if a.Verify != "" && !calendar.MatchString(a.Verify) {
		l.Add("verify", fmt.Sprintf("%q is not a time", a.Verify), `write it as in systemd.time(7), like "Sun 04:00"`)
	}
}

func (a *NFSHAClusterArgs) validateProjects(l *problem.List) {
	names, ids, sum := map[string]int{}, map[int]int{}, 0
	for i, p := range a.Projects {
		at := fmt.Sprintf("projects[%d]", i)
		switch {
		case strings.Contains(p.Name, "/") || strings.HasPrefix(p.Name, "."):
			l.Add(at+".name", fmt.Sprintf("%q would leave its directory, or hide in it", p.Name), "use one name, like home")
		case !projectName.MatchString(p.Name):
			l.Add(at+".name", fmt.Sprintf("%q is not a name for a project", p.Name), "use at most 63 letters, digits, dots, hyphens and underscores")
		}
		// Identifiers in XML, and Pacemaker's in file names, are compared as they are.
		if j, taken := names[p.Name]; taken {
			l.Add(at+".name", fmt.Sprintf("%q is the name of projects[%d] too", p.Name, j), "give each its own")
		} else {
			names[p.Name] = i
			if p.ID < 0 || p.ID > 2147483647 {
				l.Add(at+".id", fmt.Sprintf("%d is not a project id", p.ID), "use 1 to 2147483647")
			} else if j, taken := ids[p.id()]; taken {
				l.Add(at+".id", fmt.Sprintf("%d is that of projects[%d] (%s) too", p.id(), j, a.Projects[j].Name), "choose another; it is the fsid of the export and stays for ever")
			}
			ids[p.id()] = i
		}
		if p.Quota < 1 {
			l.Add(at+".quota", fmt.Sprintf("%d MiB", p.Quota), "say how much the project may hold at the most")
		} else if most := a.capacity(); most > 0 && p.Quota > most {
			l.Add(at+".quota", fmt.Sprintf("%d MiB are more than the volume has (%d of %s)", p.Quota, most, a.Volume), "lower it, or grow the volume on both hosts")
		}
		sum += max(0, p.Quota)
		if len(p.Clients) == 0 {
			l.Add(at+".clients", "there is none", "name the networks or hosts that may mount it")
		}
		for j, c := range p.Clients {
			a.validateClient(l, fmt.Sprintf("%s.clients[%d]", at, j), c, p.Anywhere)
		}
		if !directoryMode.MatchString(p.mode()) {
			l.Add(at+".mode", fmt.Sprintf("%q is not a mode", p.Mode), `write it in octal and in quotes, like "0770"`)
		} else if m, _ := strconv.ParseUint(p.mode(), 8, 32); m&0o700 == 0 {
			l.Add(at+".mode", fmt.Sprintf("%q lets not even the owner in", p.Mode), "use something like \"0770\"")
		}
		if !owner.MatchString(p.owner()) {
			l.Add(at+".owner", fmt.Sprintf("%q is not user:group", p.Owner), "use numbers, or names that both storage hosts know")
		}
	}
	// Each quota is a promise.
	if most := a.capacity(); most > 0 && sum > most && len(a.Projects) > 1 && !slices.ContainsFunc(a.Projects, func(p Project) bool { return p.Quota > most }) {
		l.Add("projects", fmt.Sprintf("their quotas add up to %d MiB, the volume has %d", sum, most), "lower them, or grow the volume on both hosts")
	}
}

func (a *NFSHAClusterArgs) validatePurge(l *problem.List) {
	for i, name := range a.Purge {
		at := fmt.Sprintf("purge[%d]", i)
		switch {
		case !projectName.MatchString(name):
			l.Add(at, fmt.Sprintf("%q is not a name for a project", name), "use the name that the project had")
		case slices.ContainsFunc(a.Projects, func(p Project) bool { return p.Name == name }):
			l.Add(at, fmt.Sprintf("%s is still one of projects", name), "take it out there first, so that nobody uses it any more")
		case slices.Contains(a.Purge[:i], name):
			l.Add(at, fmt.Sprintf("%s stands there twice", name), "leave one of them out")
		}
	}
}

func (a *NFSHAClusterArgs) validateProvisioner(l *problem.List) {
	if a.Provisioner == nil {
		return
	}
	i := slices.IndexFunc(a.Projects, func(p Project) bool { return p.Name == a.Provisioner.Project })
	switch {
	case i < 0:
		l.Add("provisioner.project", fmt.Sprintf("%q is not one of projects", a.Provisioner.Project), "name the one that holds the volumes")
	case !a.Projects[i].NoRootSquash:
		l.Add("provisioner.project", fmt.Sprintf("root of a client is nobody in %s", a.Provisioner.Project), fmt.Sprintf("set projects[%d].noRootSquash: true, so that volumes can be given to their users", i))
	case a.Projects[i].ReadOnly:
		l.Add("provisioner.project", fmt.Sprintf("%s is read-only", a.Provisioner.Project), "name another one")
	}
	if len(a.Provisioner.Keys) == 0 && a.Provisioner.Key == nil {
		l.Add("provisioner.keys", "there is none", "give the public key of the provisioner")
	}
	for i, k := range a.Provisioner.Keys {
		_, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(k))
		if err != nil || len(options) > 0 || len(rest) > 0 {
			l.Add(fmt.Sprintf("provisioner.keys[%d]", i), "is not one public key on a line", "write it like ssh-ed25519 AAAA... name, without options")
		}
	}
}

func (a *NFSHAClusterArgs) validateClient(l *problem.List, at, client string, anywhere bool) {
	if n, ok := a.Plan.Network(client); ok {
		if !n.Prefix().Addr().Is4() {
			l.Add(at, fmt.Sprintf("the network %s is not one of IPv4, and the VIP is", client), "name a network of IPv4")
		}
		return
	}
	if _, ok := a.Plan.Host(client); ok {
		return
	}
	if addr, err := netip.ParseAddr(client); err == nil {
		if !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
			l.Add(at, fmt.Sprintf("%s is not the IPv4 address of a client", client), "write it like 10.10.0.41")
		}
		return
	}
	r, err := netip.ParsePrefix(client)
	switch {
	case err != nil:
		l.Add(at, fmt.Sprintf("%q is neither a range of addresses nor a network or host of the plan", client), "write 10.10.0.0/24, or a name that the plan has")
	case !r.Addr().Is4() || r.Masked() != r:
		l.Add(at, fmt.Sprintf("%q is not a range of IPv4 addresses", client), "write it like 10.10.0.0/24")
	case r.Bits() == 0 && !anywhere:
		l.Add(at, "0.0.0.0/0 is everybody, and NFS believes what a client says of its users", "name the networks; where it is meant, set anywhere: true")
	case r.Bits() < 8 && !anywhere: // two halves are everybody too
		l.Add(at, client+" is much of the Internet, and NFS believes what a client says of its users", "name the networks; where it is meant, set anywhere: true")
	}
}
