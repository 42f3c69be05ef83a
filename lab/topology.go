package lab

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Topology is a lab as data: its networks, its two nodes that are not hosts,
// and its hosts.
type Topology struct {
	// Networks maps a network's name to its IPv4 prefix. Each becomes one bridge.
	Networks map[string]netip.Prefix `yaml:"networks"`
	// Controller is where pulumi, the tests and the administrator sit.
	Controller Node `yaml:"controller"`
	// Mirror serves Debian packages to the hosts over HTTP.
	Mirror Node `yaml:"mirror"`
	// Hosts by name.
	Hosts map[string]*Host `yaml:"hosts"`

	dir string // folder of the topology file; Host.Files is relative to it
}

// Node is a namespace with links and no operating system of its own.
type Node struct {
	// Links are the network cards in order, each with an address.
	Links []Link `yaml:"links"`
}

// Host is one machine of the lab.
type Host struct {
	// Needs lists what the machine must have: "kernel" means one of its own,
	// "pods" that it can be a node of Kubernetes.
	Needs []string `yaml:"needs,omitempty"`
	// Memory in MiB. Default 512 for virtual machines; containers have no limit by default.
	Memory int `yaml:"memory,omitempty"`
	// Group that the host belongs to. Default none: the host is always part of
	// the lab, while a group is brought up only when asked for (lab up GROUP).
	Group string `yaml:"group,omitempty"`
	// Links are the network cards in order.
	Links []Link `yaml:"links"`
	// Gateway is the default route. None when empty.
	Gateway netip.Addr `yaml:"gateway,omitempty"`
	// Disks beyond the root disk, for virtual machines only.
	Disks []Disk `yaml:"disks,omitempty"`
	// Packages are installed when the image is built, before the first boot.
	Packages []string `yaml:"packages,omitempty"`
	// Disabled are units that the packages enable, and that shall not start
	// with the host: a platform that is put on it starts them when it comes to.
	Disabled []string `yaml:"disabled,omitempty"`
	// Files are folders, relative to the topology file, whose content is put
	// on the host at its first boot.
	Files []string `yaml:"files,omitempty"`
	// Shares are folders of the machine that the host sees, read-only. For
	// containers only.
	Shares []Share `yaml:"shares,omitempty"`
	// Sysctls are set at boot by a file in /etc/sysctl.d.
	Sysctls map[string]string `yaml:"sysctls,omitempty"`

	name string
}

// Share is a folder of the machine on a host.
type Share struct {
	// From is a folder below the cache, ~/.cache/halinux.
	From string `yaml:"from"`
	// To is where the host finds it.
	To string `yaml:"to"`
}

// Link is one network card.
type Link struct {
	// Name of the card on the host. Default eth<n>.
	Name string `yaml:"name,omitempty"`
	// Network that its cable goes to.
	Network string `yaml:"network"`
	// Address of the card. A card without one is left unconfigured and down.
	Address netip.Addr `yaml:"address,omitempty"`
	// MAC address. Default: made from the host's name and the card's name.
	MAC string `yaml:"mac,omitempty"`
}

// Disk is an empty disk of a virtual machine: on the host /dev/disk/by-id/lab-disk1
// and so on. It outlives crash and restart, and is thrown away by replace.
type Disk struct {
	// Size in MiB.
	Size int `yaml:"size"`
}

// maxDisks of a host, see guest/vm/etc/udev/rules.d.
const maxDisks = 8

const (
	// NeedKernel is the need for a kernel of the host's own.
	NeedKernel = "kernel"
	// NeedPods is the need to run a kubelet and its pods.
	NeedPods = "pods"
)

const (
	controllerName = "controller"
	mirrorName     = "mirror"
)

// The switch's port is called <host>.<link>, and the kernel allows 15
// characters for a network interface.
var (
	hostNamePattern    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,9}$`)
	linkNamePattern    = regexp.MustCompile(`^[a-z][a-z0-9]{0,3}$`)
	networkNamePattern = regexp.MustCompile(`^[a-z][a-z0-9]{0,9}$`)
	packagePattern     = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	unitPattern        = regexp.MustCompile(`^[a-z0-9][a-z0-9@_.-]*\.(service|socket|timer)$`)
	sysctlPattern      = regexp.MustCompile(`^[a-z0-9_./-]+$`)
	macPattern         = regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)
)

// LoadTopology reads and checks a topology file.
func LoadTopology(path string) (*Topology, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	t, err := ParseTopology(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("topology folder: %w", err)
	}
	return t, nil
}

// ParseTopology decodes and checks a topology. Unknown keys are errors, and all
// problems are reported at once, each with its path.
func ParseTopology(data []byte) (*Topology, error) {
	t := &Topology{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(t); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decode topology: %w", err)
	}
	for name, h := range t.Hosts {
		if h == nil {
			h = &Host{}
			t.Hosts[name] = h
		}
		h.name = name
		completeLinks(name, h.Links)
	}
	completeLinks(controllerName, t.Controller.Links)
	completeLinks(mirrorName, t.Mirror.Links)
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return t, nil
}

// completeLinks fills in the names and MAC addresses that were left out.
func completeLinks(machine string, links []Link) {
	for i := range links {
		l := &links[i]
		if l.Name == "" {
			l.Name = fmt.Sprintf("eth%d", i)
		}
		if l.MAC == "" {
			l.MAC = macOf(machine, l.Name)
		}
	}
}

// macOf is a locally administered address that stays the same for a card.
func macOf(machine, link string) string {
	sum := sha256.Sum256([]byte(machine + "." + link))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4])
}

// Validate reports every problem of the topology, each with its path.
func (t *Topology) Validate() error {
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	}
	if len(t.Networks) == 0 {
		bad("networks", "at least one network is needed")
	}
	for _, name := range sortedKeys(t.Networks) {
		prefix, path := t.Networks[name], "networks."+name
		if !networkNamePattern.MatchString(name) {
			bad(path, "the name must match %s", networkNamePattern)
		}
		if !prefix.IsValid() || !prefix.Addr().Is4() || prefix.Bits() > 30 {
			bad(path, "%v is not an IPv4 prefix of at most 30 bits", prefix)
			continue
		}
		if prefix != prefix.Masked() {
			bad(path, "%v has host bits set, use %v", prefix, prefix.Masked())
		}
		for _, other := range sortedKeys(t.Networks) {
			if other > name && t.Networks[other].IsValid() && t.Networks[other].Overlaps(prefix) {
				bad(path, "%v overlaps networks.%s (%v)", prefix, other, t.Networks[other])
			}
		}
	}
	owner := map[netip.Addr]string{}
	checkAddress := func(path, network string, addr netip.Addr) {
		prefix, known := t.Networks[network]
		if !known {
			bad(path+".network", "there is no network %q", network)
			return
		}
		if !addr.IsValid() || !prefix.IsValid() {
			return
		}
		switch {
		case !prefix.Contains(addr):
			bad(path+".address", "%v is outside networks.%s (%v)", addr, network, prefix)
		case addr == prefix.Addr() || addr == broadcastOf(prefix):
			bad(path+".address", "%v is the network's own or its broadcast address", addr)
		}
		if first, taken := owner[addr]; taken {
			bad(path+".address", "%v is taken by %s", addr, first)
			return
		}
		owner[addr] = path
	}
	macs := map[string]string{}
	checkLinks := func(path string, links []Link) {
		if len(links) == 0 {
			bad(path+".links", "at least one link is needed")
		}
		seen := map[string]bool{}
		for i, l := range links {
			lpath := fmt.Sprintf("%s.links[%d]", path, i)
			if !linkNamePattern.MatchString(l.Name) || l.Name == "lo" {
				bad(lpath+".name", "%q must match %s and not be lo", l.Name, linkNamePattern)
			}
			if seen[l.Name] {
				bad(lpath+".name", "%q is there twice", l.Name)
			}
			seen[l.Name] = true
			if !macPattern.MatchString(l.MAC) {
				bad(lpath+".mac", "%q is not a MAC address in lower case", l.MAC)
			} else if first, taken := macs[l.MAC]; taken {
				bad(lpath+".mac", "%s is taken by %s", l.MAC, first)
			} else {
				macs[l.MAC] = lpath
			}
			checkAddress(lpath, l.Network, l.Address)
		}
	}
	for _, n := range []struct {
		path string
		node Node
	}{{controllerName, t.Controller}, {mirrorName, t.Mirror}} {
		checkLinks(n.path, n.node.Links)
		for i, l := range n.node.Links {
			if !l.Address.IsValid() {
				bad(fmt.Sprintf("%s.links[%d].address", n.path, i), "an address is needed")
			}
		}
	}
	if len(t.Hosts) == 0 {
		bad("hosts", "at least one host is needed")
	}
	for _, name := range sortedKeys(t.Hosts) {
		h, path := t.Hosts[name], "hosts."+name
		if !hostNamePattern.MatchString(name) {
			bad(path, "the name must match %s", hostNamePattern)
		}
		if name == controllerName || name == mirrorName || name == switchName {
			bad(path, "the name belongs to the lab itself")
		}
		for i, need := range h.Needs {
			if need != NeedKernel && need != NeedPods {
				bad(fmt.Sprintf("%s.needs[%d]", path, i), "%q is unknown, known are %q and %q", need, NeedKernel, NeedPods)
			}
		}
		if h.Group != "" && !networkNamePattern.MatchString(h.Group) {
			bad(path+".group", "%q must match %s", h.Group, networkNamePattern)
		}
		if h.Memory != 0 && (h.Memory < 128 || h.Memory > 1<<20) {
			bad(path+".memory", "%d MiB is out of range (128 to 1048576)", h.Memory)
		}
		checkLinks(path, h.Links)
		if h.Gateway.IsValid() && !slices.ContainsFunc(h.Links, func(l Link) bool {
			return l.Address.IsValid() && l.Address != h.Gateway && t.Networks[l.Network].Contains(h.Gateway)
		}) {
			bad(path+".gateway", "%v is in no network of the host", h.Gateway)
		}
		if len(h.Links) > 0 && !t.controllerReaches(h) {
			bad(path+".links", "no link has an address in a network of the controller")
		}
		for i, d := range h.Disks {
			if d.Size < 1 {
				bad(fmt.Sprintf("%s.disks[%d].size", path, i), "%d MiB is too small", d.Size)
			}
		}
		if len(h.Disks) > maxDisks {
			bad(path+".disks", "%d disks, at most %d", len(h.Disks), maxDisks)
		}
		if len(h.Disks) > 0 && !slices.Contains(h.Needs, NeedKernel) {
			bad(path+".disks", "a container has no disks of its own, add %q to needs", NeedKernel)
		}
		for i, p := range h.Packages {
			if !packagePattern.MatchString(p) {
				bad(fmt.Sprintf("%s.packages[%d]", path, i), "%q is not a package name", p)
			}
		}
		for i, u := range h.Disabled {
			if !unitPattern.MatchString(u) {
				bad(fmt.Sprintf("%s.disabled[%d]", path, i), "%q is not a unit, like nginx.service", u)
			}
		}
		for i, f := range h.Files {
			if f == "" || !filepath.IsLocal(f) {
				bad(fmt.Sprintf("%s.files[%d]", path, i), "%q must be a folder below the topology file", f)
			}
		}
		for i, share := range h.Shares {
			spath := fmt.Sprintf("%s.shares[%d]", path, i)
			if !filepath.IsLocal(share.From) || strings.Contains(share.From, ":") {
				bad(spath+".from", "%q must be a folder below the lab's cache", share.From)
			}
			if !filepath.IsAbs(share.To) || filepath.Clean(share.To) != share.To || strings.Contains(share.To, ":") {
				bad(spath+".to", "%q must be an absolute path", share.To)
			}
			if h.needsKernel() {
				bad(spath, "a virtual machine sees no folder of the machine, take %q out of needs", NeedKernel)
			}
		}
		for _, k := range sortedKeys(h.Sysctls) {
			if !sysctlPattern.MatchString(k) || strings.ContainsAny(h.Sysctls[k], "\n") {
				bad(path+".sysctls."+k, "not a kernel parameter")
			}
		}
	}
	return errors.Join(errs...)
}

func (t *Topology) controllerReaches(h *Host) bool {
	return t.addressOf(h).IsValid()
}

// addressOf is the host's address for ssh: that of its first link that has one
// and is on a network of the controller.
func (t *Topology) addressOf(h *Host) netip.Addr {
	for _, l := range h.Links {
		for _, c := range t.Controller.Links {
			if l.Address.IsValid() && l.Network == c.Network {
				return l.Address
			}
		}
	}
	return netip.Addr{}
}

// needsKernel tells whether the host has to be a virtual machine.
func (h *Host) needsKernel() bool { return slices.Contains(h.Needs, NeedKernel) }

// needsPods tells whether the host is to run a kubelet.
func (h *Host) needsPods() bool { return slices.Contains(h.Needs, NeedPods) }

// hostNames in order.
func (t *Topology) hostNames() []string { return sortedKeys(t.Hosts) }

// namesOf are the hosts without a group and those of the groups given, in order.
func (t *Topology) namesOf(groups []string) ([]string, error) {
	var known, names []string
	for _, name := range t.hostNames() {
		group := t.Hosts[name].Group
		known = append(known, group)
		if group == "" || slices.Contains(groups, group) {
			names = append(names, name)
		}
	}
	for _, group := range groups {
		if group == "" || !slices.Contains(known, group) {
			slices.Sort(known)
			known = slices.DeleteFunc(slices.Compact(known), func(g string) bool { return g == "" })
			return nil, fmt.Errorf("there is no group %q, there are: %s", group, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// broadcastOf is the last address of an IPv4 prefix.
func broadcastOf(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
