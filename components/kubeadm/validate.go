package kubeadm

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/blang/semver"
	"go.yaml.in/yaml/v3"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm/release"
	"github.com/halinux/halinux/components/problem"
)

var (
	dnsDomain  = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	labelKey   = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$`)
	quantity   = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`)
	sha256Sum  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	registry   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$`)
)

// Validate reports everything that is wrong with the arguments, each problem
// with its path, and touches nothing.
func (a *KubeadmClusterArgs) Validate() problem.List {
	var l problem.List
	if !host.DNSLabel.MatchString(a.name()) {
		l.Add("name", fmt.Sprintf("%q is not a name for the cluster", a.Name), "use lower-case letters, digits and hyphens, at most 63")
	}
	if a.Network == "" {
		l.Add("network", "is missing", "name the plan's network that nodes talk over")
	} else if _, ok := a.Plan.Network(a.Network); !ok {
		l.Add("network", fmt.Sprintf("the plan has no network %q", a.Network), "use the name of one of its networks")
	}
	a.validateHosts(&l)
	a.validateGone(&l)
	a.validateNodes(&l)
	a.validateEndpoint(&l)
	a.validateVersion(&l)
	l.Include("upgrade", a.Upgrade.validate(a.version()))
	if a.Upgrade != nil && a.Restore != nil {
		l.Add("upgrade", "is asked for together with a restore", "take the restore out when it is done, and upgrade then")
	}
	a.validateBundle(&l)
	a.validateRanges(&l)
	if !dnsDomain.MatchString(a.domain()) {
		l.Add("domain", fmt.Sprintf("%q is not a DNS domain", a.Domain), "use something like cluster.local")
	}
	if p := a.proxy(); p != "nftables" && p != "iptables" {
		l.Add("proxy", fmt.Sprintf("%q is not a mode of kube-proxy", a.Proxy), "use nftables or iptables; ipvs is deprecated upstream")
	}
	if _, ok := reactions[cmp.Or(a.Reaction, "normal")]; !ok {
		l.Add("reaction", fmt.Sprintf("%q is not a profile", a.Reaction), "use normal or fast")
	}
	if !slices.Contains([]string{"", "privileged", "baseline", "restricted"}, a.PodSecurity) {
		l.Add("podSecurity", fmt.Sprintf("%q is not a level", a.PodSecurity), "use privileged, baseline or restricted")
	}
	a.validateAudit(&l)
	a.validateEncryption(&l)
	l.Include("snapshots", a.validateSnapshots())
	l.Include("", a.validateUsers())
	l.Include("restore", a.Restore.validate(host.Names(a.ControlPlanes)))
	if b := a.Flannel.backend(); b != "vxlan" && b != "host-gw" {
		l.Add("flannel.backend", fmt.Sprintf("%q is not a backend", a.Flannel.Backend), "use vxlan or host-gw")
	}
	if p := a.Flannel.port(); p < 1 || p > 65535 {
		l.Add("flannel.port", fmt.Sprintf("%d is not a port", p), "use 1 to 65535, or leave it out for 8472")
	}
	for _, p := range []struct {
		path string
		port int
	}{{"ingress.port", a.Ingress.port()}, {"ingress.checkPort", a.Ingress.checkPort()}} {
		if p.port < 1024 || p.port > 65535 {
			l.Add(p.path, fmt.Sprintf("%d is not a port for it", p.port), "use 1024 to 65535, or leave it out: it is not root")
		}
	}
	if !a.Ingress.Off && a.Ingress.port() == a.Ingress.checkPort() {
		l.Add("ingress.checkPort", fmt.Sprintf("%d is that of requests too", a.Ingress.checkPort()), "choose another one")
	}
	return l
}

func (a *KubeadmClusterArgs) validateAudit(l *problem.List) {
	for _, n := range []struct {
		path  string
		value int
	}{{"audit.days", a.Audit.Days}, {"audit.size", a.Audit.Size}, {"audit.files", a.Audit.Files}} {
		if n.value < 0 {
			l.Add(n.path, fmt.Sprintf("%d", n.value), "use a number above 0, or leave it out")
		}
	}
	if a.Audit.Policy == "" {
		return
	}
	var p struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Rules      []any  `yaml:"rules"`
	}
	switch err := yaml.Unmarshal([]byte(a.Audit.Policy), &p); {
	case err != nil:
		l.Add("audit.policy", fmt.Sprintf("is no YAML: %v", err), "give a Policy of audit.k8s.io/v1")
	case p.APIVersion != "audit.k8s.io/v1" || p.Kind != "Policy":
		l.Add("audit.policy", fmt.Sprintf("is of kind %q of %q", p.Kind, p.APIVersion), "give a Policy of audit.k8s.io/v1")
	case len(p.Rules) == 0:
		l.Add("audit.policy", "has no rules, and API servers refuse it", "give one or more")
	}
}

func (a *KubeadmClusterArgs) validateHosts(l *problem.List) {
	switch n := len(a.ControlPlanes); {
	case n == 0:
		l.Add("controlPlanes", "there is none", "name three hosts")
	case n%2 == 0:
		l.Add("controlPlanes", fmt.Sprintf("%d control planes", n), fmt.Sprintf("use %d: an even number survives no more losses than one less, and splits into halves", n+1))
	case n > 7:
		l.Add("controlPlanes", fmt.Sprintf("%d control planes", n), "use three or five: each write waits for more than half of them")
	}
	seen := map[string]string{}
	for _, list := range []struct {
		path  string
		hosts []host.Host
	}{{"controlPlanes", a.ControlPlanes}, {"workers", a.Workers}} {
		for i, h := range list.hosts {
			at := fmt.Sprintf("%s[%d]", list.path, i)
			if first, ok := seen[h.Name]; ok {
				l.Add(at+".name", fmt.Sprintf("%s is %s too", h.Name, first), "a host is one node of the cluster")
				continue
			}
			seen[h.Name] = at
			l.Include(at, h.Validate())
			if _, ok := a.Plan.Host(h.Name); !ok {
				l.Add(at+".name", fmt.Sprintf("the plan has no host %q", h.Name), "add it to the plan, with its links")
			} else if _, ok := a.Plan.Network(a.Network); ok && !a.Plan.Address(h.Name, a.Network).Is4() {
				l.Add(at+".name", fmt.Sprintf("%s has no IPv4 address on the network %q", h.Name, a.Network), "give it a link there")
			}
		}
	}
}

func (a *KubeadmClusterArgs) validateGone(l *problem.List) {
	hosts := host.Names(slices.Concat(a.ControlPlanes, a.Workers))
	for i, name := range a.Gone {
		at := fmt.Sprintf("gone[%d]", i)
		switch {
		case !host.DNSLabel.MatchString(name):
			l.Add(at, fmt.Sprintf("%q is not the name of a node", name), "use a name that `kubectl get nodes` shows")
		case slices.Contains(hosts, name):
			l.Add(at, name+" is a host of the cluster", "take it out of the hosts first, or off this list when it is to join again")
		case slices.Contains(a.Gone[:i], name):
			l.Add(at, name+" stands there twice", "name it once")
		}
	}
}

func (a *KubeadmClusterArgs) validateNodes(l *problem.List) {
	known := host.Names(slices.Concat(a.ControlPlanes, a.Workers))
	if len(a.Workers) > 0 && len(a.inUse()) == 0 {
		l.Add("nodes", "all workers are drained", "leave one in use")
	}
	for _, name := range sortedKeys(a.Nodes) {
		at, n := "nodes."+name, a.Nodes[name]
		if !slices.Contains(known, name) {
			l.Add(at, "is no host of the cluster", "use one of "+strings.Join(known, ", "))
		}
		for _, k := range sortedKeys(n.Labels) {
			v := n.Labels[k]
			allowed, domain := isKubeletLabel(k)
			switch {
			case !labelKey.MatchString(k):
				l.Add(at+".labels", fmt.Sprintf("%q is not the name of a label", k), "use at most 63 letters, digits, hyphens, dots and underscores, after an optional DNS prefix and a slash")
			case !labelValue.MatchString(v):
				l.Add(at+".labels."+k, fmt.Sprintf("%q is not the value of a label", v), "use at most 63 letters, digits, hyphens, dots and underscores")
			case !allowed:
				l.Add(at+".labels."+k, "a kubelet may not give itself labels below "+domain+" but for "+strings.Join(ofKubelets, ", "), "choose a prefix of your own, or node.kubernetes.io")
			}
		}
		if n.Drain && slices.Contains(host.Names(a.ControlPlanes), name) {
			l.Add(at+".drain", "is for workers", "use kubectl drain: no pods but the system's run on a control plane")
		}
		if n.MaxPods != 0 && (n.MaxPods < 10 || n.MaxPods > 250) {
			l.Add(at+".maxPods", fmt.Sprintf("%d pods", n.MaxPods), "use 10 to 250, or leave it out for 110")
		}
		for _, k := range sortedKeys(n.Reserved) {
			if !slices.Contains([]string{"cpu", "memory", "ephemeral-storage"}, k) {
				l.Add(at+".reserved."+k, "is no resource for it", "use cpu, memory or ephemeral-storage")
			} else if !quantity.MatchString(n.Reserved[k]) {
				l.Add(at+".reserved."+k, fmt.Sprintf("%q is not an amount", n.Reserved[k]), "write it like 200m of cpu, or 512Mi")
			}
		}
		for i, t := range n.Taints {
			tat := fmt.Sprintf("%s.taints[%d]", at, i)
			if !labelKey.MatchString(t.Key) {
				l.Add(tat+".key", fmt.Sprintf("%q is not the name of a taint", t.Key), "use the form of a label's name")
			}
			if !labelValue.MatchString(t.Value) {
				l.Add(tat+".value", fmt.Sprintf("%q is not the value of a taint", t.Value), "use the form of a label's value")
			}
			if !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, t.Effect) {
				l.Add(tat+".effect", fmt.Sprintf("%q is not an effect", t.Effect), "use NoSchedule, PreferNoSchedule or NoExecute")
			}
		}
	}
}

func isKubernetes(domain string) bool {
	for _, d := range []string{"kubernetes.io", "k8s.io"} {
		if domain == d || strings.HasSuffix(domain, "."+d) {
			return true
		}
	}
	return false
}

func (a *KubeadmClusterArgs) validateEndpoint(l *problem.List) {
	addr, err := netip.ParseAddr(a.Endpoint.Address)
	if err != nil || !addr.Is4() {
		l.Add("endpoint.address", fmt.Sprintf("%q is not an IPv4 address", a.Endpoint.Address), "give a VIP of the edge, like 10.10.0.101")
	} else {
		for _, h := range a.Plan.Hosts {
			if slices.Contains(a.Plan.Addresses(h.Name), addr) {
				l.Add("endpoint.address", fmt.Sprintf("%s is the address of the host %s", addr, h.Name), "give a VIP of the edge: nodes must reach the API servers when any one host is dead")
			}
		}
	}
	if p := a.Endpoint.port(); p < 1024 || p > 65535 {
		l.Add("endpoint.port", fmt.Sprintf("%d is not a port for it", p), "use 1024 to 65535, or leave it out for 6443")
	}
	for i, n := range a.Endpoint.Names {
		if !dnsDomain.MatchString(n) {
			l.Add(fmt.Sprintf("endpoint.names[%d]", i), fmt.Sprintf("%q is not a DNS name", n), "use something like kubernetes.example.org")
		}
	}
}

func (a *KubeadmClusterArgs) validateVersion(l *problem.List) {
	v, err := semver.Parse(strings.TrimPrefix(a.version(), "v"))
	if err != nil || !strings.HasPrefix(a.version(), "v") || len(v.Pre)+len(v.Build) > 0 {
		l.Add("version", fmt.Sprintf("%q is not a version of Kubernetes", a.Version), "write it like "+release.Kubernetes)
		return
	}
	tested := semver.MustParse(strings.TrimPrefix(release.Kubernetes, "v"))
	if v.Major != tested.Major || v.Minor > tested.Minor || v.Minor+1 < tested.Minor {
		l.Add("version", fmt.Sprintf("%s is unknown to this release", a.Version), fmt.Sprintf("use 1.%d or 1.%d, or another release of halinux", tested.Minor-1, tested.Minor))
	}
}

func (a *KubeadmClusterArgs) validateBundle(l *problem.List) {
	l.Include("bundle", webServer("url", a.Bundle.URL, "ca", a.Bundle.CA))
	if u, err := url.Parse(a.Bundle.URL); err == nil && strings.Trim(u.Path, "/") != "" {
		l.Add("bundle.url", fmt.Sprintf("%s is not the root of a server", a.Bundle.URL), "leave the path out: containerd asks for images below /v2/")
	}
	if a.Bundle.Sums != "" && !sha256Sum.MatchString(a.Bundle.Sums) {
		l.Add("bundle.sums", fmt.Sprintf("%q is not a checksum", a.Bundle.Sums), "write what `sha256sum SHA256SUMS` prints in the bundle: 64 hexadecimal digits")
	}
	for i, m := range a.Mirrors {
		at := fmt.Sprintf("mirrors[%d]", i)
		if !registry.MatchString(m.Registry) {
			l.Add(at+".registry", fmt.Sprintf("%q is not a registry", m.Registry), "write its name without a path, like docker.io")
		}
		if m.Registry == release.Registry {
			l.Add(at+".registry", m.Registry+" is the bundle's own name", "give the bundle's address in bundle.url")
		}
		if slices.ContainsFunc(a.Mirrors[:i], func(o Mirror) bool { return o.Registry == m.Registry }) {
			l.Add(at+".registry", fmt.Sprintf("%s stands there twice", m.Registry), "give all its mirrors in one place")
		}
		if len(m.URLs) == 0 {
			l.Add(at+".urls", "there is none", "name one or more")
		}
		for j, u := range m.URLs {
			ca := "-"
			if j == 0 {
				ca = m.CA
			}
			if ca == "-" {
				l.Include(at, webServer(fmt.Sprintf("urls[%d]", j), u, "ca", ""))
				continue
			}
			l.Include(at, webServer(fmt.Sprintf("urls[%d]", j), u, "ca", ca))
		}
	}
}

// webServer finds what is wrong with the address of a server and its authority.
func webServer(path, address, caPath, ca string) problem.List {
	var l problem.List
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil || strings.ContainsAny(address, "'\"\\ \t\n$`") {
		l.Add(path, fmt.Sprintf("%q is not the address of a web server", address), "write it like http://10.10.0.5, or https://bundle.example.org")
	}
	if ca == "" {
		return l
	}
	block, _ := pem.Decode([]byte(ca))
	if block == nil {
		l.Add(caPath, "is not a certificate", "give it in PEM, from BEGIN CERTIFICATE on")
	} else if c, err := x509.ParseCertificate(block.Bytes); err != nil || !c.IsCA {
		l.Add(caPath, "is not the certificate of an authority", "give that of who signed the server's")
	}
	return l
}

// validateRanges finds ranges that overlap each other or the hosts' networks:
// packets to one of them would go the way of the other.
func (a *KubeadmClusterArgs) validateRanges(l *problem.List) {
	type named struct {
		path string
		r    netip.Prefix
	}
	var others []named
	for _, n := range a.Plan.Networks {
		if n.Prefix().IsValid() {
			others = append(others, named{"the plan's network " + n.Name, n.Prefix()})
		}
		for _, r := range n.Routes {
			if to, err := netip.ParsePrefix(r.To); err == nil {
				others = append(others, named{"a route of the network " + n.Name, to})
			}
		}
	}
	for _, c := range []struct {
		path, text string
		min, max   int
		what       string
	}{
		{"pods", a.pods(), 8, 23, "each node takes a /24 of it"},
		{"services", a.services(), 12, 24, "the API server takes at most a /12, and a /24 are 254 services"},
	} {
		r, err := netip.ParsePrefix(c.text)
		if err != nil || !r.Addr().Is4() || r != r.Masked() {
			l.Add(c.path, fmt.Sprintf("%q is not a range of IPv4 addresses", c.text), "write it like 10.244.0.0/16")
			continue
		}
		if r.Bits() < c.min || r.Bits() > c.max {
			l.Add(c.path, fmt.Sprintf("%s is of the wrong size", r), fmt.Sprintf("use /%d to /%d: %s", c.min, c.max, c.what))
		}
		for _, o := range others {
			if o.r.Overlaps(r) {
				l.Add(c.path, fmt.Sprintf("%s overlaps %s (%s)", r, o.path, o.r), "choose a range that nothing else uses")
			}
		}
		if addr, err := netip.ParseAddr(a.Endpoint.Address); err == nil && r.Contains(addr) {
			l.Add(c.path, fmt.Sprintf("%s holds the endpoint %s", r, addr), "choose a range that nothing else uses")
		}
		others = append(others, named{c.path, r})
		nodes := len(a.ControlPlanes) + len(a.Workers)
		if c.path == "pods" && r.Bits() <= 23 && nodes > 1<<(24-r.Bits()) {
			l.Add(c.path, fmt.Sprintf("%s has %d ranges of /24, and there are %d nodes", r, 1<<(24-r.Bits()), nodes), "choose a greater range")
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
