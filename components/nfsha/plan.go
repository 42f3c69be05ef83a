package nfsha

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/components/host"
)

//go:embed phases
var phases embed.FS

// Ports of the storage hosts and witnesses.
const (
	corosyncPort = 5405 // of the first link; the second has the next one
	witnessPort  = 5403
	drbdPort     = 7788
	nfsPort      = 2049
)

// lib is where the cluster's own programs stand on the hosts.
const lib = "/usr/local/lib/halinux/"

// secrets are what the plan needs and must not show.
type secrets struct {
	cluster     pulumi.StringInput            // corosync's key
	replication pulumi.StringInput            // DRBD's shared secret
	ca          pulumi.StringInput            // who signed the two below
	witness     pulumi.StringInput            // key and certificate of the witnesses
	node        pulumi.StringInput            // key and certificate of the cluster
	agents      map[string]pulumi.StringInput // options of fence agents, ready for XML
}

// step is what happens at a time: phases by host.
type step map[string][]host.Phase

func (s step) hosts() []string { return slices.Sorted(maps.Keys(s)) }

// plan returns the steps in their order: hosts of one step work side by side,
// and a step begins when the one before it has ended everywhere. Equal
// arguments give equal steps.
func plan(a *NFSHAClusterArgs, s secrets) ([]step, error) {
	names := a.hostNames()
	if len(names) != 2 {
		return nil, fmt.Errorf("%d storage hosts, not 2", len(names))
	}
	first, second := names[0], names[1]
	type maker func(string, secrets) (host.Phase, error)
	var steps []step
	add := func(hosts []string, makers ...maker) error {
		all := step{}
		for _, h := range hosts {
			for _, make_ := range makers {
				p, err := make_(h, s)
				if err != nil {
					return fmt.Errorf("%s: %w", h, err)
				}
				all[h] = append(all[h], p)
			}
		}
		steps = append(steps, all)
		return nil
	}
	tests := [][]string{{first}, {second}}
	if a.SkipFenceTest {
		tests = nil
	}
	err := add(a.witnessNames(), a.witnessPhase)
	if err == nil {
		err = add(names, a.disksPhase, a.drbdPhase, a.clusterPhase)
	}
	// What the whole cluster shares is said by one host, whichever serves.
	if err == nil {
		err = add([]string{first}, a.fencingPhase)
	}
	for _, one := range tests {
		if err == nil {
			err = add(one, a.fenceTestPhase)
		}
	}
	// A file system is made by the first host and grown by the one that serves.
	for _, one := range [][]string{{first}, {second}} {
		if err == nil {
			err = add(one, a.volumePhase)
		}
	}
	if err == nil {
		err = add([]string{first}, a.resourcesPhase)
	}
	var last []maker
	if a.Provisioner != nil {
		last = append(last, a.provisionerPhase)
	}
	if len(a.Purge) > 0 {
		last = append(last, a.purgePhase)
	}
	if err == nil && len(last) > 0 {
		err = add(names, last...)
	}
	return steps, err
}

// rendered is a file made from a template.
func rendered(path, source string, values any) (host.File, error) {
	text, err := host.Render(phases, "phases/"+source, values)
	return host.File{Path: path, Content: text}, err
}

// ---- names and addresses ----------------------------------------------------

func (a *NFSHAClusterArgs) name() string { return cmp.Or(a.Name, "nfs") }

// root is where the volume is mounted.
func (a *NFSHAClusterArgs) root() string { return "/srv/" + a.name() }

// state is where the server remembers its clients.
func (a *NFSHAClusterArgs) state() string { return a.root() + "/.halinux/nfsdcld" }

func (a *NFSHAClusterArgs) hostNames() []string {
	names := host.Names(a.Hosts)
	slices.Sort(names)
	return names
}

func (a *NFSHAClusterArgs) witnessNames() []string { return host.Names(a.Witnesses) }

func (a *NFSHAClusterArgs) other(h string) string {
	return slices.DeleteFunc(a.hostNames(), func(o string) bool { return o == h })[0]
}

func (a *NFSHAClusterArgs) addr(h, network string) string {
	return a.Plan.Address(h, network).String()
}

// witnessAddress is where the storage hosts reach a witness.
func (a *NFSHAClusterArgs) witnessAddress(w string) netip.Addr {
	if addr := a.Plan.Address(w, a.Network); addr.IsValid() {
		return addr
	}
	return a.Plan.Address(w, a.Replication)
}

// nodeID is a host's number in corosync: the last byte of its address, which
// stays the same when the other host is replaced by one of another name.
func nodeID(addr netip.Addr) int {
	if !addr.Is4() {
		return 0
	}
	return int(addr.As4()[3])
}

func (a *NFSHAClusterArgs) token() time.Duration { return cmp.Or(a.Token, 2*time.Second) }

func (a *NFSHAClusterArgs) lease() time.Duration { return cmp.Or(a.Lease, 10*time.Second) }

func (w Watchdog) device() string { return cmp.Or(w.Device, "/dev/watchdog") }

func (w Watchdog) timeout() time.Duration { return cmp.Or(w.Timeout, 5*time.Second) }

func (f FenceAgent) packageName() string {
	return cmp.Or(f.Package, "fence-agents-"+strings.ReplaceAll(strings.TrimPrefix(f.Agent, "fence_"), "_", "-"))
}

// fencingTime is how long fencing may take, at the most, after a host was lost.
func (a *NFSHAClusterArgs) fencingTime() time.Duration {
	if w := a.Fencing.Watchdog; w != nil {
		return 2*w.timeout() + 10*time.Second
	}
	return 60 * time.Second
}

// id of a project, where none is given: the same for ever, and rarely that of
// another; [NFSHAClusterArgs.Validate] finds the case.
func (p Project) id() int {
	if p.ID != 0 {
		return p.ID
	}
	sum := sha256.Sum256([]byte("halinux project " + p.Name))
	return int(binary.BigEndian.Uint32(sum[:4])%0x7ffffffe) + 1
}

func (p Project) mode() string { return cmp.Or(p.Mode, "0770") }

func (p Project) owner() string { return cmp.Or(p.Owner, "root:root") }

// options of the export. no_wdelay: the delay waits for a second write that a
// client with many small synchronous ones never sends.
func (p Project) options() string {
	access, squash := "rw", "root_squash"
	if p.ReadOnly {
		access = "ro"
	}
	if p.NoRootSquash {
		squash = "no_root_squash"
	}
	return access + ",sync,no_wdelay,no_subtree_check," + squash
}

// clients are addresses and ranges, as exportfs(8) names them.
func (a *NFSHAClusterArgs) clients(p Project) []string {
	var all []string
	for _, c := range p.Clients {
		if n, ok := a.Plan.Network(c); ok {
			all = append(all, n.Prefix().String())
		} else if _, ok := a.Plan.Host(c); ok {
			for _, addr := range a.Plan.Addresses(c) {
				all = append(all, addr.String())
			}
		} else {
			all = append(all, c)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// deviceUnit is a device's unit of systemd (systemd.unit(5), escaping).
func deviceUnit(path string) string {
	var b strings.Builder
	for _, c := range []byte(strings.Trim(path, "/")) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == ':', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + ".device"
}

// ---- the witness --------------------------------------------------------------

func (a *NFSHAClusterArgs) witnessPhase(_ string, s secrets) (host.Phase, error) {
	p, err := host.NewPhase(phases, "witness",
		host.File{Path: "/etc/corosync/halinux/ca.pem", Content: "[secret witness-ca]\n"},
		host.File{Path: "/etc/corosync/halinux/own.pem", Content: "[secret witness-own]\n"},
		host.Embedded(phases, lib+"certificates", "phases/witness/certificates.sh").Executable(),
	)
	p.Secrets = map[string]pulumi.StringInput{"witness-ca": s.ca, "witness-own": s.witness}
	return p, err
}

// ---- disks and replication ------------------------------------------------------

func (a *NFSHAClusterArgs) disksPhase(h string, _ secrets) (host.Phase, error) {
	return a.Disks[h].Phase(host.Host{Name: h})
}

func (a *NFSHAClusterArgs) drbdPhase(_ string, s secrets) (host.Phase, error) {
	type replica struct{ Host, Address string }
	var replicas []replica
	for _, o := range a.hostNames() {
		replicas = append(replicas, replica{o, fmt.Sprintf("%s:%d", a.addr(o, a.Replication), drbdPort)})
	}
	values := map[string]any{
		"Name": a.name(), "Disk": "/dev/" + a.Volume, "DiskUnit": deviceUnit("/dev/" + a.Volume), "Replicas": replicas, "Lib": lib,
		// The kernel counts in KiB a second.
		"Rate": cmp.Or(a.ResyncRate, 100) * 1024, "Floor": cmp.Or(a.ResyncRate, 100) * 1024 / 4, "Verify": cmp.Or(a.Verify, "Sun 04:00"),
		"FenceTimeout": int((a.token()*3 + a.fencingTime()).Seconds()) + 10,
	}
	var files []host.File
	for _, f := range []struct{ path, source string }{
		{"/etc/drbd.d/" + a.name() + ".res", "drbd/drbd.res.tmpl"},
		{"/etc/systemd/system/halinux-drbd.service", "drbd/halinux-drbd.service.tmpl"},
		{"/etc/systemd/system/halinux-drbd-verify.service", "drbd/verify.service.tmpl"},
		{"/etc/systemd/system/halinux-drbd-verify.timer", "drbd/verify.timer.tmpl"},
	} {
		file, err := rendered(f.path, f.source, values)
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	p, err := host.NewPhase(phases, "drbd", append(files,
		host.Embedded(phases, "/etc/drbd.d/global_common.conf", "phases/drbd/global_common.conf"),
		host.Embedded(phases, "/etc/modules-load.d/halinux-drbd.conf", "phases/drbd/modules.conf"),
		host.Embedded(phases, lib+"drbd-fence-peer", "phases/drbd/fence-peer.sh").Executable(),
		host.Embedded(phases, lib+"drbd-unfence-peer", "phases/drbd/unfence-peer.sh").Executable(),
		host.Embedded(phases, lib+"drbd-split-brain", "phases/drbd/split-brain.sh").Executable(),
	)...)
	p.Secrets = map[string]pulumi.StringInput{"drbd": s.replication}
	p.Vars = map[string]string{"resource": a.name(), "disk": "/dev/" + a.Volume}
	return p, err
}

// ---- Corosync, SBD, Pacemaker ---------------------------------------------------

// takeover is what Pacemaker takes to decide and to promote, on hosts with little
// else to do (docs/report.md, F21).
const takeover = 6 * time.Second

func (a *NFSHAClusterArgs) clusterPhase(h string, s secrets) (host.Phase, error) {
	type node struct {
		Name, First, Second string
		ID                  int
	}
	var nodes []node
	for _, o := range a.hostNames() {
		addr := a.Plan.Address(o, a.Network)
		nodes = append(nodes, node{o, addr.String(), a.addr(o, a.Replication), nodeID(addr)})
	}
	// The witness drops a host that has said nothing for 1.2 times the first of
	// these, and only then gives its vote to the other one; which must have it
	// before its own watchdog fires.
	// With agents there is no such hurry; a host that may be silent for a long
	// token may be so for the witness too.
	within := max(5*time.Second, a.token()*5/2)
	if w := a.Fencing.Watchdog; w != nil {
		within = w.timeout()
	}
	vote, sync := within*6/10, within*8/10
	values := map[string]any{
		"Name": a.name(), "Nodes": nodes, "Token": a.token().Milliseconds(), "Port": corosyncPort, "SecondPort": corosyncPort + 1,
		"Witness": a.witnessAddress(a.Witnesses[0].Name).String(), "WitnessPort": witnessPort, "Lib": lib,
		"Vote": vote.Milliseconds(), "Sync": sync.Milliseconds(),
		"State": a.state(), "LeaseSeconds": int(a.lease().Seconds()), "GraceSeconds": 3 * int(a.lease().Seconds()), "Threads": cmp.Or(a.Threads, 16),
	}
	var files []host.File
	sources := [][2]string{
		{"/etc/corosync/corosync.conf", "cluster/corosync.conf.tmpl"},
		{"/etc/nfs.conf.d/halinux.conf", "cluster/nfs.conf.tmpl"},
		{"/etc/systemd/system/corosync.service.d/halinux.conf", "cluster/after-reset.conf.tmpl"},
	}
	vars := map[string]string{"cluster": a.name(), "peer": a.other(h), "root": a.root(), "watchdog": "", "module": "", "agents": ""}
	// Not back before the other side knows that this one is gone, and has taken over
	// where that does not switch this one off: who joins in the middle of it is given
	// the witness's vote, or makes Pacemaker decide anew.
	absent := a.token()*22/10 + time.Second
	if w := a.Fencing.Watchdog; w != nil {
		vars["watchdog"], vars["module"] = w.device(), w.Module
		values["Watchdog"], values["Timeout"] = w.device(), int(w.timeout().Seconds())
		sources = append(sources, [2]string{"/etc/default/sbd", "cluster/sbd.tmpl"}, [2]string{"/etc/systemd/system/sbd.service.d/halinux.conf", "cluster/after-reset.conf.tmpl"})
		absent += 2*w.timeout() + takeover
		if w.Module != "" {
			files = append(files, host.File{Path: "/etc/modules-load.d/halinux-watchdog.conf", Content: w.Module + "\n"})
		}
	}
	values["Delay"], values["Start"] = int(absent.Seconds()), int(absent.Seconds())+90
	var packages []string
	for _, f := range a.Fencing.Agents {
		packages = append(packages, f.packageName())
	}
	slices.Sort(packages)
	vars["agents"] = strings.Join(slices.Compact(packages), " ")
	for _, f := range sources {
		file, err := rendered(f[0], f[1], values)
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	p, err := host.NewPhase(phases, "cluster", append(files,
		host.File{Path: "/etc/corosync/authkey", Content: "[secret cluster]\n", Mode: 0o400},
		host.File{Path: "/etc/corosync/halinux/ca.pem", Content: "[secret witness-ca]\n"},
		host.File{Path: "/etc/corosync/halinux/own.pem", Content: "[secret witness-own]\n"},
		host.Embedded(phases, lib+"certificates", "phases/witness/certificates.sh").Executable(),
		host.Embedded(phases, lib+"cib-apply", "phases/cluster/cib-apply.py").Executable(),
		host.Embedded(phases, lib+"serves-here", "phases/cluster/serves-here.sh").Executable(),
		host.Embedded(phases, "/usr/local/sbin/halinux-storage", "phases/cluster/storage.sh").Executable(),
		host.Embedded(phases, "/etc/sysctl.d/60-halinux-storage.conf", "phases/cluster/sysctl.conf"),
		host.File{Path: "/etc/halinux/storage", Content: fmt.Sprintf("name=%s root=%s vip=%s hosts='%s'\n", a.name(), a.root(), a.VIP, strings.Join(a.hostNames(), " "))},
		host.Embedded(phases, "/usr/lib/ocf/resource.d/halinux/project", "phases/cluster/project.sh").Executable(),
		host.Embedded(phases, "/usr/lib/ocf/resource.d/halinux/tickle", "phases/cluster/tickle.sh").Executable(),
		host.Embedded(phases, "/usr/lib/ocf/resource.d/halinux/server", "phases/cluster/server.sh").Executable(),
		host.Embedded(phases, "/etc/systemd/system/nfs-server.service.d/halinux.conf", "phases/cluster/daemon.conf"),
		host.Embedded(phases, "/etc/systemd/system/nfs-mountd.service.d/halinux.conf", "phases/cluster/helper.conf"),
		host.Embedded(phases, "/etc/systemd/system/nfsdcld.service.d/halinux.conf", "phases/cluster/helper.conf"),
		host.Embedded(phases, "/etc/systemd/system/halinux-storage-metrics.service", "phases/cluster/halinux-storage-metrics.service"),
		host.Embedded(phases, "/etc/systemd/system/halinux-storage-metrics.timer", "phases/cluster/halinux-storage-metrics.timer"),
		host.Embedded(phases, "/etc/systemd/system/halinux-boot-id.service", "phases/cluster/halinux-boot-id.service"),
	)...)
	p.Vars = vars
	p.Secrets = map[string]pulumi.StringInput{"cluster": s.cluster, "witness-ca": s.ca, "witness-own": s.node}
	return p, err
}

// ---- the CIB --------------------------------------------------------------------

// attribute is a name and its value as they stand in XML.
type attribute struct{ Name, Value string }

// escape makes a text fit for an attribute of XML.
func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

// agentID tells the fence agents of a host apart, by their order.
func (a *NFSHAClusterArgs) agentID(i int) string {
	f, n := a.Fencing.Agents[i], 1
	for _, o := range a.Fencing.Agents[:i] {
		if o.Host == f.Host {
			n++
		}
	}
	return fmt.Sprintf("fence-%s-%d", f.Host, n)
}

func (a *NFSHAClusterArgs) fencingPhase(_ string, s secrets) (host.Phase, error) {
	type device struct {
		ID, Host, Agent string
		Level           int
		Options         []attribute
	}
	var devices []device
	phaseSecrets := map[string]pulumi.StringInput{}
	levels := map[string]int{}
	for i, f := range a.Fencing.Agents {
		levels[f.Host]++
		d := device{a.agentID(i), f.Host, f.Agent, levels[f.Host], []attribute{{"pcmk_host_list", f.Host}}}
		for _, name := range slices.Sorted(maps.Keys(f.Options)) {
			d.Options = append(d.Options, attribute{name, escape(f.Options[name])})
		}
		for _, name := range slices.Sorted(maps.Keys(f.Secrets)) {
			mark := d.ID + "-" + name
			d.Options = append(d.Options, attribute{name, "[secret " + secretWord(mark) + "]"})
			phaseSecrets[secretWord(mark)] = s.agents[mark]
		}
		devices = append(devices, d)
	}
	options := []attribute{
		{"stonith-enabled", "true"}, {"no-quorum-policy", "stop"},
		{"stonith-timeout", fmt.Sprintf("%ds", int(a.fencingTime().Seconds()))},
	}
	if w := a.Fencing.Watchdog; w != nil {
		options = append(options, attribute{"stonith-watchdog-timeout", fmt.Sprintf("%ds", int(2*w.timeout().Seconds()))})
	}
	cib, err := rendered("/etc/halinux/cib/fencing.xml", "fencing/fencing.xml.tmpl", map[string]any{
		"Options": options, "Devices": devices,
	})
	if err != nil {
		return host.Phase{}, err
	}
	cib.Mode = 0o600
	p, err := host.NewPhase(phases, "fencing", cib)
	p.Secrets = phaseSecrets
	p.Vars = map[string]string{"hosts": strings.Join(a.hostNames(), " ")}
	return p, err
}

// secretWord is a name that a secret of a phase may have.
func secretWord(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

func (a *NFSHAClusterArgs) fenceTestPhase(h string, _ secrets) (host.Phase, error) {
	p, err := host.NewPhase(phases, "fence-test")
	p.Vars = map[string]string{
		"peer": a.other(h), "resource": a.name(),
		"fence_seconds": fmt.Sprint(int(a.fencingTime().Seconds()) + 30),
	}
	p.Once, p.Timeout = true, 15*time.Minute
	return p, err
}

func (a *NFSHAClusterArgs) volumePhase(h string, _ secrets) (host.Phase, error) {
	p, err := host.NewPhase(phases, "volume")
	volume, _ := a.Disks[h].Find(a.Volume)
	first := "no"
	if h == a.hostNames()[0] {
		first = "yes"
	}
	p.Vars = map[string]string{
		"resource": a.name(), "root": a.root(), "first": first, "size": fmt.Sprint(volume.Size), "label": a.name(),
	}
	return p, err
}

func (a *NFSHAClusterArgs) resourcesPhase(_ string, _ secrets) (host.Phase, error) {
	type project struct {
		ID, Name, Clients, Options, Mode, Owner string
		Number, Quota                           int
	}
	var projects []project
	for _, p := range a.Projects {
		projects = append(projects, project{
			ID: a.name() + "-project-" + p.Name, Name: p.Name, Number: p.id(), Quota: p.Quota, Mode: p.mode(), Owner: p.owner(),
			Clients: strings.Join(a.clients(p), " "), Options: p.options(),
		})
	}
	slices.SortFunc(projects, func(x, y project) int { return strings.Compare(x.Name, y.Name) })
	n, _ := a.Plan.Network(a.Network)
	closed := []int{nfsPort}
	if a.NoPacketFilter {
		closed = nil
	}
	cib, err := rendered("/etc/halinux/cib/resources.xml", "resources/resources.xml.tmpl", map[string]any{
		"Name": a.name(), "Root": a.root(), "State": a.state(), "VIP": a.VIP, "Bits": n.Prefix().Bits(),
		"Closed": closed, "Port": nfsPort, "Projects": projects,
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := host.NewPhase(phases, "resources", cib)
	p.Vars = map[string]string{"cluster": a.name(), "vip": a.VIP}
	return p, err
}

// ---- volumes on demand, and what is deleted -----------------------------------

// VolumesUser is the account that provisioners come in as.
const VolumesUser = "halinux-volumes"

func (a *NFSHAClusterArgs) provisionerPhase(_ string, _ secrets) (host.Phase, error) {
	var keys strings.Builder
	line := func(key string) {
		fmt.Fprintf(&keys, "restrict,command=\"exec sudo -n %svolumes \\\"$SSH_ORIGINAL_COMMAND\\\"\" %s\n", lib, strings.TrimSpace(key))
	}
	for _, k := range slices.Sorted(slices.Values(a.Provisioner.Keys)) {
		line(k)
	}
	authorized := host.File{Path: "/var/lib/" + VolumesUser + "/.ssh/authorized_keys"}
	var later map[string]pulumi.StringInput
	if a.Provisioner.Key != nil {
		// It is nobody's secret, but known only when it has been made.
		line("[secret key]")
		later = map[string]pulumi.StringInput{"key": a.Provisioner.Key}
		authorized.Mode, authorized.Owner = 0o640, "root:"+VolumesUser
	}
	authorized.Content = keys.String()
	sudoers := host.Embedded(phases, "/etc/sudoers.d/"+VolumesUser, "phases/provisioner/sudoers")
	sudoers.Mode = 0o440
	p, err := host.NewPhase(phases, "provisioner", sudoers, authorized,
		host.File{Path: "/etc/halinux/volumes", Content: fmt.Sprintf("root=%s project=%s quota=%d\n", a.root(), a.Provisioner.Project, a.poolQuota())},
		host.Embedded(phases, lib+"volumes", "phases/provisioner/volumes.sh").Executable(),
	)
	p.Secrets = later
	return p, err
}

// poolQuota is that of the project that holds the volumes.
func (a *NFSHAClusterArgs) poolQuota() int {
	for _, p := range a.Projects {
		if p.Name == a.Provisioner.Project {
			return p.Quota
		}
	}
	return 0
}

// Serves is whether a project is exported to an address.
func (a *NFSHAClusterArgs) Serves(project string, address netip.Addr) bool {
	for _, p := range a.Projects {
		if p.Name != project {
			continue
		}
		return slices.ContainsFunc(p.Clients, func(client string) bool {
			if n, ok := a.Plan.Network(client); ok {
				return n.Prefix().Contains(address)
			}
			if _, ok := a.Plan.Host(client); ok {
				return slices.Contains(a.Plan.Addresses(client), address)
			}
			if r, err := netip.ParsePrefix(client); err == nil {
				return r.Contains(address)
			}
			one, err := netip.ParseAddr(client)
			return err == nil && one == address
		})
	}
	return false
}

// Access says how volumes are made in the project of [NFSHAClusterArgs.Provisioner].
// A host that has no key to be known by has none in it.
func (a *NFSHAClusterArgs) Access() Access {
	access := Access{
		Server: a.VIP, Path: a.root() + "/" + a.Provisioner.Project, MountOptions: slices.Clone(mountOptions),
		User: VolumesUser, MiB: a.poolQuota(),
	}
	for _, h := range a.Hosts {
		address, port := a.addr(h.Name, a.Network), cmp.Or(h.SSH.Port, 22)
		at := net.JoinHostPort(address, strconv.Itoa(port))
		if port == 22 {
			access.Hosts = append(access.Hosts, address)
		} else {
			access.Hosts = append(access.Hosts, at)
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(h.SSH.HostKey)); err == nil {
			access.KnownHosts = append(access.KnownHosts, knownhosts.Line([]string{at}, key))
		}
	}
	return access
}

func (a *NFSHAClusterArgs) purgePhase(_ string, _ secrets) (host.Phase, error) {
	p, err := host.NewPhase(phases, "purge")
	p.Vars = map[string]string{"cluster": a.name(), "root": a.root(), "names": strings.Join(slices.Sorted(slices.Values(a.Purge)), " ")}
	p.Timeout = time.Hour
	return p, err
}
