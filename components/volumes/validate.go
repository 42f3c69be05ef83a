package volumes

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

var (
	labelKey      = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValue    = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$`)
	directoryMode = regexp.MustCompile(`^[0-7]{3,4}$`)
	plainPath     = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)
	account       = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	imageName     = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/@-]{0,254}$`)
)

// Validate reports everything that is wrong with the arguments, each problem with
// its path, and touches nothing.
func (a *VolumesArgs) Validate() problem.List {
	var l problem.List
	if a.NFS == nil && a.Local == nil {
		l.Add("", "there are no volumes", "give nfs, local or both, or leave the whole out")
	}
	if a.NFS != nil {
		l.Include("nfs", a.NFS.validate())
	}
	if a.Local != nil {
		l.Include("local", a.Local.validate())
		if a.NFS != nil && slices.ContainsFunc(a.NFS.classes(), func(c Class) bool { return c.Name == a.Local.class() }) {
			l.Add("local.class", fmt.Sprintf("%s is one of nfs.classes too", a.Local.class()), "choose another name")
		}
	}
	return l
}

func (n *NFS) validate() problem.List {
	var l problem.List
	l.Include("pool", n.Pool.validate())
	if n.Key == nil {
		l.Add("key", "is missing", "give the private key that the storage lets in, or make one with NewKey")
	}
	n.validateClasses(&l)
	for _, key := range slices.Sorted(maps.Keys(n.Nodes)) {
		if !labelKey.MatchString(key) || !labelValue.MatchString(n.Nodes[key]) {
			l.Add("nodes", fmt.Sprintf("%s=%s is not a label", key, n.Nodes[key]), "write it as `kubectl label` takes it")
		}
	}
	for i, s := range n.APIServers {
		if _, err := endpoint(s, 6443); err != nil {
			l.Add(fmt.Sprintf("apiServers[%d]", i), err.Error(), "write an IP address, or address:port")
		}
	}
	if !host.DNSLabel.MatchString(n.namespace()) {
		l.Add("namespace", fmt.Sprintf("%q is not a name for a namespace", n.Namespace), "use lower-case letters, digits and hyphens, at most 63")
	}
	if n.Image != "" && !imageName.MatchString(n.Image) {
		l.Add("image", fmt.Sprintf("%q is not the name of an image", n.Image), "write it like registry.example.org/nfs-provisioner@sha256:...")
	}
	if r := n.replicas(); r < 1 || r > most {
		l.Add("replicas", fmt.Sprintf("%d is outside of 1 to %d", r, most), "two are enough: one works, and the other waits for it to fail")
	}
	return l
}

func (p *Pool) validate() problem.List {
	var l problem.List
	if _, err := netip.ParseAddr(p.Server); err != nil {
		l.Add("server", fmt.Sprintf("%q is not an IP address", p.Server), "give the storage's VIP: a name would have to be found while the storage moves")
	}
	if !plainPath.MatchString(p.Path) || path.Clean(p.Path) != p.Path {
		l.Add("path", fmt.Sprintf("%q is not the path of an export", p.Path), "write it like /srv/nfs/volumes")
	}
	for i, o := range p.MountOptions {
		if o == "soft" || o == "softerr" || strings.ContainsAny(o, ", \t\n") || o == "" {
			l.Add(fmt.Sprintf("mountOptions[%d]", i), fmt.Sprintf("%q cannot be used", o), "a mount is hard, or it loses what it was writing when the storage moves; one option each")
		}
	}
	if len(p.Hosts) == 0 {
		l.Add("hosts", "there is none", "give the addresses of the storage hosts")
	}
	known := map[string]bool{}
	for i, line := range p.KnownHosts {
		marker, hosts, _, _, rest, err := ssh.ParseKnownHosts([]byte(line))
		if err != nil || marker != "" || len(rest) > 0 {
			l.Add(fmt.Sprintf("knownHosts[%d]", i), "is not one line of a file known_hosts", "write it like 10.10.0.31 ssh-ed25519 AAAA...")
			continue
		}
		for _, h := range hosts {
			known[h] = true
		}
	}
	for i, h := range p.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		e, err := endpoint(h, 22)
		switch {
		case err != nil:
			l.Add(at, err.Error(), "write an IP address, or address:port")
		case !known[e.Addr().String()] && !known[fmt.Sprintf("[%s]:%d", e.Addr(), e.Port())]:
			l.Add(at, fmt.Sprintf("no public key of %s is in knownHosts", h), "add it: without it the provisioner could not tell who answers")
		}
	}
	if !account.MatchString(p.User) {
		l.Add("user", fmt.Sprintf("%q is not a user name", p.User), "name the storage's account for volumes")
	}
	return l
}

func (n *NFS) validateClasses(l *problem.List) {
	if len(n.classes()) == 0 {
		l.Add("classes", "there is none", "name one, or leave the list out for nfs and nfs-retain")
	}
	seen, standard := map[string]int{}, -1
	for i, c := range n.classes() {
		at := fmt.Sprintf("classes[%d].", i)
		if !host.DNSLabel.MatchString(c.Name) {
			l.Add(at+"name", fmt.Sprintf("%q is not a name for a storage class", c.Name), "use lower-case letters, digits and hyphens, at most 63")
		} else if j, ok := seen[c.Name]; ok {
			l.Add(at+"name", fmt.Sprintf("%s is classes[%d] too", c.Name, j), "choose another name")
		} else {
			seen[c.Name] = i
		}
		if c.Mode != "" && !directoryMode.MatchString(c.Mode) {
			l.Add(at+"mode", fmt.Sprintf("%q is not a mode", c.Mode), "write it like 0770")
		}
		if c.Default && standard >= 0 {
			l.Add(at+"default", fmt.Sprintf("classes[%d] is it already", standard), "choose one")
		} else if c.Default {
			standard = i
		}
	}
}

func (a *Local) validate() problem.List {
	var l problem.List
	if !host.DNSLabel.MatchString(a.class()) {
		l.Add("class", fmt.Sprintf("%q is not a name for a storage class", a.Class), "use lower-case letters, digits and hyphens, at most 63")
	}
	if len(a.Volumes) == 0 {
		l.Add("volumes", "there is none", "list node, path and size of each, or leave local out")
	}
	for i, v := range a.Volumes {
		at := fmt.Sprintf("volumes[%d].", i)
		if !host.DNSLabel.MatchString(v.Node) {
			l.Add(at+"node", fmt.Sprintf("%q is not the name of a node", v.Node), "name a host of the cluster")
		} else if len(a.Hosts) > 0 && !slices.Contains(host.Names(a.Hosts), v.Node) {
			l.Add(at+"node", fmt.Sprintf("%s is not a host of the cluster", v.Node), "name one of "+strings.Join(host.Names(a.Hosts), ", "))
		}
		if !plainPath.MatchString(v.Path) || path.Clean(v.Path) != v.Path || strings.Count(v.Path, "/") < 2 {
			l.Add(at+"path", fmt.Sprintf("%q is not a path for it", v.Path), "write it like /var/lib/volumes/database, without links in it")
		} else {
			for j, w := range a.Volumes[:i] {
				if v.Node == w.Node && (v.Path == w.Path || strings.HasPrefix(v.Path, w.Path+"/") || strings.HasPrefix(w.Path, v.Path+"/")) {
					l.Add(at+"path", fmt.Sprintf("%s is within volumes[%d] (%s), or around it", v.Path, j, w.Path), "give each a directory of its own")
				}
			}
		}
		if v.Size < 1 {
			l.Add(at+"size", fmt.Sprintf("%d MiB are no size", v.Size), "say what may be stored there, in MiB")
		}
	}
	return l
}

// endpoint is an address with its port.
func endpoint(text string, standard uint16) (netip.AddrPort, error) {
	address, digits, err := net.SplitHostPort(text)
	if err != nil {
		address, digits = text, strconv.Itoa(int(standard))
	}
	a, err := netip.ParseAddr(address)
	p, perr := strconv.ParseUint(digits, 10, 16)
	if err != nil || perr != nil || p == 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", text)
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}
