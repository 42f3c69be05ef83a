package kubeadm

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm/release"
)

//go:embed phases
var phases embed.FS

const (
	lib = "/usr/local/lib/halinux/"
	bin = "/usr/local/bin/"
)

// steps are what happens, in its order. All hosts pass preflight before any is
// changed. Hosts of prepare work side by side; the
// control planes come one after the other, since each becomes a member of etcd;
// workers wait for the first of them alone, and so does what the cluster is told.
type steps struct {
	preflight     map[string]host.Phase
	prepare       map[string][]host.Phase
	mayRestore    map[string]host.Phase // of control planes; with Restore alone, and so are the next two
	restore       map[string]host.Phase
	readers       map[string][]host.Phase // of control planes, one after the other, before controlPlanes; or none
	upgrade       map[string][]host.Phase // of nodes, each before the phase that makes it one; or none
	controlPlanes []hostPhase
	restored      []host.Phase          // on the one that had the snapshot
	certificates  map[string]host.Phase // of control planes, side by side
	workers       map[string]host.Phase
	labels        map[string]host.Phase // of nodes that have some, when they are known
	encryption    []host.Phase          // on the first control plane, after all of them; or none
	cluster       []host.Phase          // on the first control plane: what the cluster itself is told
	taints        []host.Phase          // there, when all nodes are known; or none
	systemPods    host.Phase            // there, at the end: they run on all nodes
}

type hostPhase struct {
	host  string
	phase host.Phase
}

// plan returns what to do on which host. Equal arguments give equal steps. part is
// one of the authorities' parts, join what a worker of this name joins with.
func plan(a *KubeadmClusterArgs, part, join func(string) pulumi.StringInput) (*steps, error) {
	s := &steps{preflight: map[string]host.Phase{}, certificates: map[string]host.Phase{}, mayRestore: map[string]host.Phase{}, restore: map[string]host.Phase{}, readers: map[string][]host.Phase{}, labels: map[string]host.Phase{}, upgrade: map[string][]host.Phase{}, prepare: map[string][]host.Phase{}, workers: map[string]host.Phase{}}
	masters, workers := host.Names(a.ControlPlanes), host.Names(a.Workers)
	for _, h := range slices.Concat(masters, workers) {
		master := slices.Contains(masters, h)
		preflight, err := a.preflightPhase(master, part)
		if err != nil {
			return nil, err
		}
		runtime, err := a.runtimePhase()
		if err != nil {
			return nil, err
		}
		programs, err := a.programsPhase(h, master)
		if err != nil {
			return nil, err
		}
		if len(a.Nodes[h].Labels) > 0 {
			if s.labels[h], err = a.labelsPhase(h); err != nil {
				return nil, err
			}
		}
		if s.upgrade[h], err = a.upgradePhase(h); err != nil {
			return nil, err
		}
		s.preflight[h] = preflight
		s.prepare[h] = []host.Phase{runtime, programs}
	}
	for _, h := range masters {
		p, err := a.controlPlanePhase(h, part)
		if err != nil {
			return nil, err
		}
		if s.readers[h], err = a.encryptionReaderPhase(h, part); err != nil {
			return nil, err
		}
		if h == a.makes() {
			s.controlPlanes = slices.Insert(s.controlPlanes, 0, hostPhase{h, p})
		} else {
			s.controlPlanes = append(s.controlPlanes, hostPhase{h, p})
		}
		if a.Restore != nil {
			if s.mayRestore[h], err = a.restorePhase("restore-preflight", h); err != nil {
				return nil, err
			}
			if s.restore[h], err = a.restorePhase("restore", h); err != nil {
				return nil, err
			}
		}
		if s.certificates[h], err = a.certificatesPhase(h); err != nil {
			return nil, err
		}
	}
	for _, h := range workers {
		p, err := a.workerPhase(h, join)
		if err != nil {
			return nil, err
		}
		s.workers[h] = p
	}
	if a.Restore != nil {
		p, err := a.restorePhase("restored", a.Restore.Host)
		if err != nil {
			return nil, err
		}
		s.restored = []host.Phase{p}
	}
	nodes, err := host.NewPhase(phases, "nodes", host.Embedded(phases, "/etc/kubernetes/halinux/nodes.yaml", "phases/nodes/nodes.yaml"))
	if err != nil {
		return nil, err
	}
	flannel, err := a.flannelPhase()
	if err != nil {
		return nil, err
	}
	ingress, err := a.ingressPhase()
	if err != nil {
		return nil, err
	}
	access, err := a.accessPhase()
	if err != nil {
		return nil, err
	}
	if s.encryption, err = a.encryptionPhase(); err != nil {
		return nil, err
	}
	gone, err := a.gonePhase()
	if err != nil {
		return nil, err
	}
	s.cluster = slices.Concat(gone, []host.Phase{nodes, flannel, ingress}, access)
	system := []string{"kube-flannel/daemonset/flannel", "kube-system/daemonset/kube-proxy", "kube-system/deployment/coredns"}
	if !a.Ingress.Off {
		system = append(system, "ingress/daemonset/traefik")
	}
	if s.taints, err = a.taintsPhase(); err != nil {
		return nil, err
	}
	s.systemPods, err = host.NewPhase(phases, "system-pods")
	s.systemPods.Vars = map[string]string{"system": strings.Join(system, " ")}
	return s, err
}

// ---- names, addresses, defaults -----------------------------------------------

func (a *KubeadmClusterArgs) name() string { return cmp.Or(a.Name, "kubernetes") }

func (a *KubeadmClusterArgs) version() string { return cmp.Or(a.Version, release.Kubernetes) }

func (a *KubeadmClusterArgs) pods() string { return cmp.Or(a.Pods, "10.244.0.0/16") }

func (a *KubeadmClusterArgs) services() string { return cmp.Or(a.Services, "10.96.0.0/16") }

func (a *KubeadmClusterArgs) domain() string { return cmp.Or(a.Domain, "cluster.local") }

func (a *KubeadmClusterArgs) proxy() string { return cmp.Or(a.Proxy, "nftables") }

func (i Ingress) port() int { return cmp.Or(i.Port, 8080) }

func (i Ingress) checkPort() int { return cmp.Or(i.CheckPort, 8081) }

func (f Flannel) backend() string { return cmp.Or(f.Backend, "vxlan") }

func (f Flannel) port() int { return cmp.Or(f.Port, 8472) }

func (e Endpoint) port() int { return cmp.Or(e.Port, apiPort) }

// String is the endpoint as address:port.
func (e Endpoint) String() string {
	addr, err := netip.ParseAddr(e.Address)
	if err != nil {
		return fmt.Sprintf("%s:%d", e.Address, e.port())
	}
	return netip.AddrPortFrom(addr, uint16(e.port())).String()
}

func (a *KubeadmClusterArgs) address(h string) string { return a.Plan.Address(h, a.Network).String() }

// mtu of pods: what is left of the network's when VXLAN has taken its headers.
func (a *KubeadmClusterArgs) mtu() int {
	n, _ := a.Plan.Network(a.Network)
	mtu := cmp.Or(n.MTU, 1500)
	if a.Flannel.backend() == "vxlan" {
		mtu -= 50
	}
	return mtu
}

// programPaths are PATH=TO for the bundle's script.
func programPaths(folder, version string, names ...string) []string {
	var all []string
	for _, n := range names {
		all = append(all, release.Program(folder, version, n)+"="+bin+n)
	}
	return all
}

func (b Bundle) vars() map[string]string {
	return map[string]string{"bundle": strings.TrimRight(b.URL, "/"), "sums": cmp.Or(b.Sums, "-")}
}

func (a *KubeadmClusterArgs) bundleFiles() []host.File {
	files := []host.File{host.Embedded(phases, lib+"bundle", "phases/runtime/bundle.sh").Executable()}
	if a.Bundle.CA != "" {
		files = append(files, host.File{Path: "/etc/halinux/bundle-ca.pem", Content: a.Bundle.CA})
	}
	return files
}

// rendered is a file made from a template.
func rendered(path, source string, values any) (host.File, error) {
	text, err := host.Render(phases, "phases/"+source, values)
	return host.File{Path: path, Content: text}, err
}

// ---- on every node --------------------------------------------------------------

// Memory in MiB that a node needs: kubeadm's own least, and what a worker has left
// for pods beside its kubelet.
const (
	masterMemory = 1700
	workerMemory = 900
)

// preflightPhase finds what is wrong with a host as a node, and changes nothing.
func (a *KubeadmClusterArgs) preflightPhase(master bool, part func(string) pulumi.StringInput) (host.Phase, error) {
	var needs []string
	for _, p := range append(a.runtimePrograms(), a.programs(master)...) {
		from, _, _ := strings.Cut(p, "=")
		needs = append(needs, from)
	}
	for _, i := range a.images(master) {
		needs = append(needs, release.Manifest(i.name, i.tag))
	}
	memory := workerMemory
	if master {
		memory = masterMemory
	}
	p, err := host.NewPhase(phases, "kubernetes-preflight")
	p.Vars = a.Bundle.vars()
	p.Vars["needs"], p.Vars["memory"] = strings.Join(needs, " "), fmt.Sprint(memory)
	p.Vars["version"], p.Vars["from"], p.Vars["role"] = a.version(), a.from(), "worker"
	if master {
		p.Vars["role"] = "control-plane"
	}
	p.Secrets = map[string]pulumi.StringInput{"ca": part(caCert)}
	if a.Bundle.CA != "" {
		p.Secrets["bundle-ca"] = pulumi.String(a.Bundle.CA)
	}
	return p, err
}

func (a *KubeadmClusterArgs) runtimePhase() (host.Phase, error) {
	const certs = "/etc/containerd/certs.d/"
	type registryHost struct{ URL, CA string }
	files := a.bundleFiles()
	config, err := rendered("/etc/containerd/config.toml", "runtime/config.toml.tmpl", map[string]any{"Sandbox": release.Image("pause", release.Pause)})
	if err != nil {
		return host.Phase{}, err
	}
	files = append(files, config)
	secrets := map[string]pulumi.StringInput{}
	for i, m := range append([]Mirror{{Registry: release.Registry, URLs: []string{a.Bundle.URL}, CA: a.Bundle.CA}}, a.Mirrors...) {
		ca := certs + m.Registry + "/ca.pem"
		switch {
		case m.Authority != nil:
			// The content of a file that is known in a run alone.
			name := fmt.Sprintf("authority-%d", i)
			secrets[name] = m.Authority
			files = append(files, host.File{Path: ca, Content: "[secret " + name + "]\n"})
		case m.CA != "":
			files = append(files, host.File{Path: ca, Content: m.CA})
		default:
			ca = ""
		}
		var hosts []registryHost
		for _, u := range m.URLs {
			hosts = append(hosts, registryHost{strings.TrimRight(u, "/"), ca})
		}
		file, err := rendered(certs+m.Registry+"/hosts.toml", "runtime/hosts.toml.tmpl", map[string]any{"Hosts": hosts})
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	// It is a template itself, of containerd's, and so none of ours.
	cni := host.Embedded(phases, "/etc/containerd/cni.tmpl", "phases/runtime/cni.tmpl")
	cni.Content = strings.ReplaceAll(cni.Content, "MTU", fmt.Sprint(a.mtu()))
	p, err := host.NewPhase(phases, "runtime", append(files, cni,
		host.Embedded(phases, "/etc/systemd/system/containerd.service", "phases/runtime/containerd.service"),
		host.Embedded(phases, "/etc/sysctl.d/80-halinux-kubernetes.conf", "phases/runtime/sysctl.conf"),
		host.Embedded(phases, "/etc/modules-load.d/halinux-kubernetes.conf", "phases/runtime/modules.conf"),
	)...)
	p.Vars = a.Bundle.vars()
	p.Vars["programs"] = strings.Join(a.runtimePrograms(), " ")
	p.Secrets = secrets
	return p, err
}

func (a *KubeadmClusterArgs) runtimePrograms() []string {
	return programPaths("containerd", release.Containerd, "containerd", "containerd-shim-runc-v2", "ctr")
}

func (a *KubeadmClusterArgs) programs(master bool) []string {
	all := programPaths("kubernetes", a.version(), "kubeadm", "kubelet", "kubectl")
	if master {
		all = append(all, programPaths("etcd", release.Etcd, "etcdctl", "etcdutl")...)
	}
	return all
}

// namedImage is an image of the bundle.
type namedImage struct{ name, tag string }

// images are those that a host will run, or may be asked to.
func (a *KubeadmClusterArgs) images(master bool) []namedImage {
	v := a.version()
	all := []namedImage{{"pause", release.Pause}, {"kube-proxy", v}, {"flannel", release.Flannel}}
	if !master {
		all = append(all, namedImage{"coredns", release.CoreDNS})
		if !a.Ingress.Off {
			all = append(all, namedImage{"traefik", release.Traefik})
		}
		return all
	}
	return append(all, namedImage{"etcd", release.Etcd},
		namedImage{"kube-apiserver", v}, namedImage{"kube-controller-manager", v}, namedImage{"kube-scheduler", v})
}

func (a *KubeadmClusterArgs) programsPhase(h string, master bool) (host.Phase, error) {
	var images []string
	for _, i := range a.images(master) {
		images = append(images, "image:"+release.Image(i.name, i.tag))
	}
	way, err := rendered("/etc/systemd/system/halinux-kubernetes-services.service", "kubernetes/halinux-kubernetes-services.service.tmpl",
		map[string]any{"Services": a.services(), "Address": a.address(h)})
	if err != nil {
		return host.Phase{}, err
	}
	kubelet, err := rendered("/etc/kubernetes/kubelet.conf.d/10-halinux.conf", "kubernetes/kubelet.conf.tmpl", map[string]any{
		"Lease": a.reaction().lease, "MaxPods": a.Nodes[h].MaxPods, "Reserved": a.Nodes[h].reserved(),
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := host.NewPhase(phases, "kubernetes", way, kubelet,
		host.Embedded(phases, "/etc/systemd/logind.conf.d/zz-halinux-kubelet.conf", "phases/kubernetes/logind.conf"),
		host.Embedded(phases, "/etc/systemd/system/kubelet.service", "phases/kubernetes/kubelet.service"))
	p.Vars = a.Bundle.vars()
	p.Vars["programs"], p.Vars["images"] = strings.Join(a.programTargets(master), " "), strings.Join(images, " ")
	p.Vars["services"] = a.services()
	return p, err
}

// argument is a flag of the kubelet.
type argument struct{ Name, Value string }

func (a *KubeadmClusterArgs) kubeletArgs(h string) []argument {
	if len(a.Nodes[h].Labels) == 0 {
		return nil
	}
	return []argument{{"node-labels", strings.Join(a.labels(h), ",")}}
}

// ---- control planes ---------------------------------------------------------------

// serverNames are what the API servers' certificates are for: wherever a control
// plane is added, those of the others stay as they are.
func (a *KubeadmClusterArgs) serverNames(h string) []string {
	return append([]string{a.Endpoint.Address, a.address(h), h, a.Plan.FQDN(h)}, a.Endpoint.Names...)
}

// Where API servers find their files, and where they write.
const (
	serverFiles = "/etc/kubernetes/halinux/apiserver"
	auditLog    = "/var/log/kubernetes"
)

// reaction are the timings of a profile.
type reaction struct {
	lease      int    // seconds; four times in it a kubelet says that it lives
	grace      string // after how long a silent node is not ready; upstream's own if empty
	toleration int    // seconds that pods stay on a node that is not ready; likewise
}

// reactions by name. In "fast", a node that dies is not ready after 20 to 25 s
// (the controller looks every 5 s), and 20 s later its pods are replaced.
var reactions = map[string]reaction{
	"normal": {lease: 40},
	"fast":   {lease: 16, grace: "20s", toleration: 20},
}

func (a *KubeadmClusterArgs) reaction() reaction { return reactions[cmp.Or(a.Reaction, "normal")] }

// serverFile is one of the API server's own files. Its name holds the content's
// checksum: the server reads a file at its start alone, and a new name is what
// starts it anew.
func serverFile(name, content string) host.File {
	sum := sha256.Sum256([]byte(content))
	return host.File{Path: fmt.Sprintf("%s/%s-%s.yaml", serverFiles, name, hex.EncodeToString(sum[:4])), Content: content, Mode: 0o600}
}

// serverConfig are the API server's own files and the flags that name them.
func (a *KubeadmClusterArgs) serverConfig() ([]host.File, []argument, error) {
	admission, err := host.Render(phases, "phases/control-plane/admission.yaml.tmpl", map[string]any{"Level": cmp.Or(a.PodSecurity, "baseline")})
	if err != nil {
		return nil, nil, err
	}
	audit := a.Audit.Policy
	if audit == "" {
		audit = host.Embedded(phases, "/", "phases/control-plane/audit.yaml").Content
	}
	encryption, err := encryptionConfig(a.encryptionKeys())
	if err != nil {
		return nil, nil, err
	}
	var files []host.File
	var args []argument
	for _, f := range []struct{ flag, name, content string }{
		{"admission-control-config-file", "admission", admission},
		{"audit-policy-file", "audit", audit},
		{"encryption-provider-config", "encryption", encryption},
	} {
		file := serverFile(f.name, f.content)
		files, args = append(files, file), append(args, argument{f.flag, file.Path})
	}
	args = append(args,
		argument{"audit-log-path", auditLog + "/audit.log"},
		argument{"audit-log-maxage", fmt.Sprint(cmp.Or(a.Audit.Days, 30))},
		argument{"audit-log-maxsize", fmt.Sprint(cmp.Or(a.Audit.Size, 100))},
		argument{"audit-log-maxbackup", fmt.Sprint(cmp.Or(a.Audit.Files, 10))},
		// One that is told to end says so to the edge and serves on, until the edge
		// has seen it; then it waits for requests, and not a minute for those that watch.
		argument{"shutdown-delay-duration", "3s"},
		argument{"shutdown-send-retry-after", "true"},
	)
	if s := a.reaction().toleration; s > 0 {
		args = append(args, argument{"default-not-ready-toleration-seconds", fmt.Sprint(s)}, argument{"default-unreachable-toleration-seconds", fmt.Sprint(s)})
	}
	return files, args, nil
}

func (a *KubeadmClusterArgs) controlPlanePhase(h string, part func(string) pulumi.StringInput) (host.Phase, error) {
	files, serverArgs, err := a.serverConfig()
	if err != nil {
		return host.Phase{}, err
	}
	var managerArgs []argument
	if g := a.reaction().grace; g != "" {
		managerArgs = append(managerArgs, argument{"node-monitor-grace-period", g})
	}
	values := map[string]any{
		"ServerArgs": serverArgs, "ServerFiles": serverFiles, "AuditLog": auditLog, "ManagerArgs": managerArgs, "Lease": a.reaction().lease,
		"Name": h, "Address": a.address(h), "Cluster": a.name(), "Version": a.version(), "Endpoint": a.Endpoint.String(),
		"Repository": release.Registry, "Pods": a.pods(), "Services": a.services(), "Domain": a.domain(), "ServerNames": a.serverNames(h),
		"DNSTag": release.CoreDNS, "EtcdTag": release.Etcd, "Proxy": a.proxy(), "KubeletArgs": a.kubeletArgs(h), "Taints": a.Nodes[h].Taints,
	}
	secrets := a.keySecrets(part)
	files = append(files, host.Embedded(phases, lib+"etcd-members", "phases/control-plane/etcd-members.sh").Executable(),
		host.Embedded(phases, lib+"encryption-keys", "phases/control-plane/encryption-keys.sh").Executable())
	for _, name := range pkiFiles {
		mark := strings.ReplaceAll(name, "/", "-")
		files = append(files, host.File{Path: "/etc/kubernetes/pki/" + name, Content: "[secret " + mark + "]\n"})
		secrets[mark] = part(name)
	}
	for _, f := range []struct{ path, source string }{
		{"/etc/kubernetes/halinux/kubeadm.yaml", "control-plane/kubeadm.yaml.tmpl"},
		{"/etc/kubernetes/halinux/join.yaml", "control-plane/join.yaml.tmpl"},
	} {
		file, err := rendered(f.path, f.source, values)
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	p, err := host.NewPhase(phases, "control-plane", files...)
	first := "no"
	if h == a.makes() {
		first = "yes"
	}
	p.Vars = map[string]string{"address": a.address(h), "endpoint": a.Endpoint.String(), "peers": strings.Join(a.peers(h), " "), "first": first, "keys": a.keyNames()}
	if len(a.Gone) > 0 {
		p.Vars["gone"] = strings.Join(a.Gone, " ")
	}
	if a.Restore != nil {
		// It has something to do again.
		p.Vars["restore"] = a.Restore.Name
	}
	p.Secrets, p.Timeout = secrets, 20*time.Minute
	return p, err
}

// peers are the addresses of the other control planes.
func (a *KubeadmClusterArgs) peers(h string) []string {
	var peers []string
	for _, o := range host.Names(a.ControlPlanes) {
		if o != h {
			peers = append(peers, a.address(o))
		}
	}
	return peers
}

// renewal is how many days before its end a certificate is renewed.
const renewal = 30

// certificatesPhase renews what kubeadm made, on a day of the week that is the
// host's own: what is started anew is never started anew on two at a time.
func (a *KubeadmClusterArgs) certificatesPhase(h string) (host.Phase, error) {
	day := time.Weekday((slices.Index(host.Names(a.ControlPlanes), h) + 1) % 7).String()[:3]
	values := map[string]any{"Address": a.address(h), "Days": renewal, "Peers": a.peers(h), "Day": day}
	files := []host.File{host.Embedded(phases, lib+"renew-certificates", "phases/certificates/renew.sh").Executable()}
	for _, name := range []string{"halinux-kubernetes-certificates.service", "halinux-kubernetes-certificates.timer"} {
		file, err := rendered("/etc/systemd/system/"+name, "certificates/"+name+".tmpl", values)
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	p, err := host.NewPhase(phases, "certificates", files...)
	p.Vars = map[string]string{"days": fmt.Sprint(renewal)}
	return p, err
}

// ---- workers ------------------------------------------------------------------------

func (a *KubeadmClusterArgs) workerPhase(h string, join func(string) pulumi.StringInput) (host.Phase, error) {
	config, err := rendered("/etc/kubernetes/halinux/join.yaml", "worker/join.yaml.tmpl", map[string]any{
		"Name": h, "Address": a.address(h), "KubeletArgs": a.kubeletArgs(h), "Taints": a.Nodes[h].Taints,
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := host.NewPhase(phases, "worker", config, host.Embedded(phases, lib+"drain", "phases/worker/drain.sh").Executable())
	p.Secrets = map[string]pulumi.StringInput{"join": join(h)}
	if a.Nodes[h].Drain {
		p.Vars = map[string]string{"drain": "yes"}
	}
	return p, err
}

// ---- the overlay ----------------------------------------------------------------------

func (a *KubeadmClusterArgs) flannelPhase() (host.Phase, error) {
	backend := map[string]any{"Type": a.Flannel.backend()}
	if a.Flannel.backend() == "vxlan" {
		backend["Port"] = a.Flannel.port()
	}
	config, err := json.Marshal(map[string]any{"Network": a.pods(), "EnableNFTables": a.proxy() == "nftables", "Backend": backend})
	if err != nil {
		return host.Phase{}, err
	}
	sum := sha256.Sum256(config)
	n, _ := a.Plan.Network(a.Network)
	file, err := rendered("/etc/kubernetes/halinux/flannel.yaml", "flannel/flannel.yaml.tmpl", map[string]any{
		"Config": string(config), "Sum": hex.EncodeToString(sum[:8]), "Image": release.Image("flannel", release.Flannel),
		"Reach": n.Prefix().Masked().Addr().Next().String(), "Host": a.Endpoint.Address, "Port": a.Endpoint.port(),
	})
	if err != nil {
		return host.Phase{}, err
	}
	return host.NewPhase(phases, "flannel", file)
}

// ---- the ingress controller -------------------------------------------------------------

// ingressPhase says to the cluster what the controller is, or that there is none.
// It is there in either case: were its removal what takes the controller away, a
// first control plane that is replaced would do so for all.
func (a *KubeadmClusterArgs) ingressPhase() (host.Phase, error) {
	args := []string{
		fmt.Sprintf("--entrypoints.web.address=:%d", a.Ingress.port()),
		fmt.Sprintf("--entrypoints.ping.address=:%d", a.Ingress.checkPort()),
	}
	if len(a.Edges) > 0 {
		// They say who the client is, and nobody else is believed.
		var edges []string
		for _, h := range a.Edges {
			for _, address := range a.Plan.Addresses(h) {
				edges = append(edges, address.String())
			}
		}
		args = append(args, "--entrypoints.web.forwardedheaders.trustedips="+strings.Join(edges, ","))
	}
	file, err := rendered("/etc/kubernetes/halinux/ingress.yaml", "ingress/ingress.yaml.tmpl", map[string]any{
		"Image": release.Image("traefik", release.Traefik), "Args": args, "Port": a.Ingress.port(), "CheckPort": a.Ingress.checkPort(),
		"Host": a.Endpoint.Address, "EndpointPort": a.Endpoint.port(),
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := host.NewPhase(phases, "ingress", file)
	p.Vars = map[string]string{"wanted": "yes"}
	if a.Ingress.Off {
		p.Vars["wanted"] = "no"
	}
	return p, err
}
