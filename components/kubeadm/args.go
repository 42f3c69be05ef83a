package kubeadm

import (
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

// KubeadmClusterArgs says which hosts are a cluster, and how it is reached.
type KubeadmClusterArgs struct {
	// Name is the cluster's name in kubeconfigs; a DNS label. Default
	// "kubernetes".
	Name string
	// ControlPlanes are the hosts of the API servers and of etcd: one, three or
	// five. The first of them makes the cluster; after that all are equal.
	ControlPlanes []host.Host `mapstructure:"-"`
	// Workers run everybody else's pods.
	Workers []host.Host `mapstructure:"-"`
	// Nodes are further settings of hosts, by name.
	Nodes map[string]Node
	// Edges are the names of the plan's hosts that lead to API servers and to the
	// ingress controller. Default: none.
	Edges []string `mapstructure:"-"`
	// Gone are names of nodes that died and will never come back, control planes or
	// workers: they leave etcd and the list of nodes without being asked. They may
	// be no hosts of the cluster any more; one that shows a sign of life is
	// refused. A name may stay here, until a host of that name is to join again.
	// Default: none.
	Gone []string
	// Plan has the links of all these hosts.
	Plan host.AddressPlan `mapstructure:"-"`
	// Network is the plan's network that nodes talk over.
	Network string
	// Endpoint is where API servers are reached, by nodes and by people: a VIP of
	// the edge, see [KubeadmClusterArgs.Service]. Required.
	Endpoint Endpoint
	// Version of Kubernetes, like v1.36.3. Default: the version that this release
	// was tested with.
	Version string
	// Upgrade is the way to Version from an older one. Default: none, and a node
	// that runs another version is refused.
	Upgrade *Upgrade
	// Bundle is where programs and images come from (make bundle). Required.
	Bundle Bundle
	// Mirrors are further registries and where containerd finds them.
	Mirrors []Mirror
	// Pods is the range of all pods' addresses; each node gets a /24 of it.
	// Default 10.244.0.0/16.
	Pods string
	// Services is the range of the services' virtual addresses. Default
	// 10.96.0.0/16.
	Services string
	// Domain is the DNS domain of services. Default cluster.local.
	Domain string
	// Flannel carries packets between nodes.
	Flannel Flannel
	// Proxy is how kube-proxy sends packets to services: nftables or iptables.
	// Default nftables.
	Proxy string
	// Reaction is how soon pods of a dead node run elsewhere: "normal", upstream's
	// timings, after some six minutes; or "fast", within a minute, at the price
	// that a node which is cut off for 20 s loses its pods. Default normal.
	Reaction string
	// PodSecurity is the level of namespaces whose labels name none: privileged,
	// baseline or restricted (kubernetes.io, Pod Security Standards). Default
	// baseline.
	PodSecurity string
	// Audit is what API servers note of requests.
	Audit Audit
	// EncryptionKeys are the names of the keys that secrets are encrypted with in
	// etcd (kubernetes.io, Encrypting Confidential Data at Rest): the first one
	// writes, and all are read. A new name in front of the others makes a new key,
	// and the run that follows takes the cluster to it: all API servers learn to read
	// it, then all write with it, then every secret is written anew. After that, the
	// names behind it may be taken out; before, that is refused. With the name goes
	// the key: a snapshot of etcd that was taken before needs it still. Default
	// [key1], the key that every cluster begins with.
	EncryptionKeys []string
	// Snapshots are copies of what etcd holds. Default: none are taken.
	Snapshots Snapshots
	// SnapshotStore is the host that Snapshots.CopyTo names.
	SnapshotStore host.Host `mapstructure:"-"`
	// Groups say what their members may do, by the group's name. Default: none.
	Groups map[string]Group
	// Users are people and programs with a kubeconfig of their own, by their name.
	// Default: none, so that there is the administrator's alone.
	Users map[string]User
	// Restore puts etcd back to a snapshot. Default: nothing is restored.
	Restore *Restore
	// Ingress leads requests from the edges to pods.
	Ingress Ingress
	// Authorities are the cluster's certificate authorities, where something else
	// needs them before the cluster (the edge, to check API servers by TLS).
	// Default: made by the component and kept in the state.
	Authorities *Authorities `mapstructure:"-"`
}

// Endpoint is the address that all API servers are reached by.
type Endpoint struct {
	Address string   // an IP address that is no host's
	Port    int      // 1024 to 65535; default 6443
	Names   []string // DNS names for it, in the servers' certificates
}

// Node is what one host has beyond the others.
type Node struct {
	// Labels of the node. One that leaves this list leaves the node; what others
	// gave it stays. The node sets them itself, which the admission plugin
	// NodeRestriction does not let it for names below kubernetes.io and k8s.io,
	// but for those of node.kubernetes.io, kubelet.kubernetes.io and
	// topology.kubernetes.io/zone and /region. Default: none.
	Labels map[string]string
	// Taints of the node, from when it joins; likewise, but set by a control
	// plane. Default: that of control planes on them, none on workers.
	Taints []Taint
	// Drain takes a worker out of use: the edges send it nothing, and all pods but
	// those of DaemonSets leave it, within their disruption budgets. So it is before
	// it is worked on, and before it leaves the list of workers: the firewall of
	// one that leaves that is closed before its pods are asked to go. Without
	// it the node is used again. Default: it is in use.
	Drain bool
	// MaxPods that run there at a time, 10 to 250: a node has a /24 of addresses.
	// Default 110, the kubelet's.
	MaxPods int
	// Reserved of the node's resources for what is no pod (systemReserved of the
	// kubelet), like cpu: 200m, memory: 512Mi; the keys are cpu, memory and
	// ephemeral-storage. Default: none.
	Reserved map[string]string
}

// Taint keeps pods off a node (kubectl taint).
type Taint struct {
	Key, Value string
	Effect     string // NoSchedule, PreferNoSchedule or NoExecute
}

// Bundle is a web server with the content that `make bundle` made.
type Bundle struct {
	// URL like http://10.10.0.5 or https://bundle.example.org/kubernetes. All
	// nodes reach it. Images need it at the root: containerd asks for /v2/.
	URL string
	// CA is the PEM of the authority that signed the server's certificate.
	// Default: Debian's list.
	CA string
	// Sums is the SHA-256 of the bundle's file SHA256SUMS: with it, nobody can
	// change what is installed without a change of this line. Default: what the
	// server says is believed.
	Sums string
}

// Mirror says where images of a registry come from.
type Mirror struct {
	Registry string   // like docker.io
	URLs     []string // tried in this order, like https://mirror.example.org
	// CA is the PEM of the authority that signed the mirrors' certificates.
	// Default: Debian's list.
	CA string
	// Authority is CA as another component's output, like haedge.HAEdge.CACertificate.
	// Default: CA.
	Authority pulumi.StringInput `mapstructure:"-"`
}

// Flannel is the overlay between nodes.
type Flannel struct {
	// Backend is vxlan, or host-gw: routes instead of an overlay, for nodes on
	// one segment. Default vxlan.
	Backend string
	// Port of VXLAN. Default 8472, the kernel's.
	Port int
}

// Ingress is the ingress controller, Traefik, on every worker in the node's own
// network. It speaks plain HTTP to the edges alone, which have taken TLS off.
type Ingress struct {
	Off bool // leaves it out, and takes it away where it was
	// Port of requests. Default 8080.
	Port int
	// CheckPort is where an edge asks whether it serves. Default 8081.
	CheckPort int
}

// Audit is the audit log of each API server, in /var/log/kubernetes.
type Audit struct {
	// Policy is of kind audit.k8s.io/v1 Policy, in YAML. Default: who changed
	// what, and who read secrets; never the content.
	Policy string
	// Days that a log is kept. Default 30.
	Days int
	// Size of one log in MB, and Files are how many of them are kept at most.
	// Default 100 and 10.
	Size, Files int
}

// Upgrade takes the cluster to [KubeadmClusterArgs.Version]: by `kubeadm upgrade`
// and after a snapshot of etcd, the first control plane, then the others one by
// one, then the workers in groups; each is drained within the disruption budgets of
// its pods before it gets its new kubelet (kubernetes.io, Upgrading kubeadm
// clusters). A run that was cut short is gone on with. When it is done, it can be
// taken out.
type Upgrade struct {
	// From is the version that nodes run, like v1.35.4: the same minor version as
	// Version, or the one before.
	From string
	// Workers are how many of them are out of use at a time. Default 1.
	Workers int
}

// Group is what several users may do alike. Its members are users of the cluster
// (Kind User) in bindings of RBAC, so that who leaves a group, or the list of
// users, has lost the rights with the same run.
type Group struct {
	// Role is a ClusterRole of the cluster: view, edit, admin, cluster-admin
	// (kubernetes.io, Using RBAC Authorization, User-facing roles), or another.
	Role string
	// Namespaces are those that the role is for; what is missing is made, and
	// never removed. Default: all of them, and what is in none.
	Namespaces []string
}

// User is somebody with a kubeconfig of his own: a client certificate that the
// cluster's authority has signed, for a key that is kept in the state.
type User struct {
	Groups []string // names of groups
	// Days that the certificate lives, 2 to 3650. A run of the program in the
	// second half of them makes the next one. A certificate cannot be taken back
	// before its end: it still says who somebody is, and no more than that.
	// Default 90.
	Days int
}

// Snapshots are taken by each control plane from its own member of etcd, each of
// the whole, and kept in /var/backups/etcd there: the loss of any host leaves
// those of the others. They hold what the cluster does, its secrets encrypted
// with a key that the state has; so a snapshot is worth as much as the state that
// belongs to it.
type Snapshots struct {
	// Every is how often, 10m to 168h, in whole minutes. Default: never.
	Every time.Duration
	// Keep is how many of its own each control plane keeps, 1 to 1000. Default 12.
	Keep int
	// CopyTo is the name of a host that is no control plane, and gets a copy of
	// each, by ssh at port 22, in /var/lib/halinux-etcd/snapshots; it keeps as many
	// of each control plane. See [KubeadmClusterArgs.SnapshotStore]. Default: none.
	CopyTo string
}

// Restore makes a new etcd from one snapshot: first on the control plane that has
// it, then the others become members of that one. Certificates stay what they are.
// What etcd held before lies in /var/lib/etcd.before-NAME on each of them
// afterwards, until the restore is taken out of the configuration.
type Restore struct {
	// Name of this restore, a DNS label, like its day. A restore is done once: a
	// cluster that knows the name is left alone, so that the restore may stand
	// here for as long as it likes. The next one needs another name.
	Name string
	// Host is the control plane that has the snapshot.
	Host string
	// Snapshot is the file's name in /var/backups/etcd there.
	Snapshot string
	// Discard says that what came after the snapshot may be lost although etcd
	// works. Without it, a restore is refused unless etcd has lost its majority.
	Discard bool
}

// Authorities sign everything that parts of a cluster know each other by. They
// are made once and kept in the state.
type Authorities struct {
	// CA is the PEM of the certificate of the authority that signs API servers.
	CA pulumi.StringOutput

	secrets pulumi.StringOutput // all of it, see certificates.go
}
