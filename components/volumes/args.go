package volumes

import (
	"cmp"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

// VolumesArgs says which persistent volumes a cluster has: shared ones from the
// replicated storage, local ones from nodes' own disks, or both.
type VolumesArgs struct {
	// NFS makes volumes on demand. Default: there are none.
	NFS *NFS
	// Local are volumes of single nodes, for software that replicates its data
	// itself, like databases. Default: there are none.
	Local *Local
}

// NFS is a pool of volumes on the replicated storage, and who makes them.
type NFS struct {
	// Pool is the storage.
	Pool Pool `mapstructure:"-"`
	// Key is the private SSH key with which volumes are made. Required; [NewKey]
	// makes one.
	Key pulumi.StringInput `mapstructure:"-"`
	// Classes are the storage classes. Default: "nfs", whose volumes go with their
	// claims, and "nfs-retain", whose volumes stay.
	Classes []Class
	// Nodes are labels that a node has which may mount the volumes; pods that use
	// them run there alone. It has Debian's nfs-common, and a kernel with the NFS
	// client. Default: every node may.
	Nodes map[string]string
	// APIServers are where pods reach the cluster's API, as address or
	// address:port behind the service "kubernetes"; all else is closed to the
	// provisioner, but the storage hosts. Default: anything at the ports 443 and
	// 6443.
	APIServers []string `mapstructure:"-"`
	// AllowInline lets pods mount any NFS server by a volume of their own
	// (spec.volumes.nfs), this pool with everybody's volumes too. Default: a policy
	// refuses them, in all namespaces.
	AllowInline bool
	// Namespace is where the provisioner runs. Default "volumes".
	Namespace string
	// Image is the provisioner's. Default: that of the bundle.
	Image string
	// Replicas are how many provisioners there are, of which one works: 1 to 5.
	// Default 2.
	Replicas int
}

// Pool is where volumes are and how they are made there. The storage says it:
// nfsha.NFSHAClusterArgs.Pool.
type Pool struct {
	// Server is the address that nodes mount from, and Path is where the pool is
	// exported there.
	Server, Path string
	// MountOptions are those under which a failover is a pause (nfs(5)).
	MountOptions []string
	// Hosts are the storage hosts, as address or address:port, and KnownHosts
	// their public keys, as lines of a file known_hosts (sshd(8)).
	Hosts, KnownHosts []string
	// User is whom the key lets in there.
	User string
	// MiB that the pool has, so that volumes of more are refused. Default:
	// nothing is said of it.
	MiB int
}

// Class is a storage class.
type Class struct {
	// Name by which claims ask for it; a DNS label.
	Name string
	// Retain keeps a volume and its data when its claim is deleted.
	Retain bool
	// Default makes it the class of claims that name none.
	Default bool
	// Mode of a volume's directory when it is made. NFS volumes belong to root,
	// and Kubernetes gives them to nobody (fsGroup has no effect). Default 0777.
	Mode string
}

// Local are volumes that are directories of nodes.
type Local struct {
	// Class is the name of their storage class. Default "local".
	Class string
	// Volumes are the directories.
	Volumes []LocalVolume
	// Hosts are the nodes, on which the directories are made. Default: they are
	// there already.
	Hosts []host.Host `mapstructure:"-"`
}

// LocalVolume is a directory of one node. What is written there is neither copied
// nor moved anywhere, and nothing is held to Size: for that, give it a file system
// of its own.
type LocalVolume struct {
	Node string // the name of the node
	Path string // absolute; its own, not within another one
	Size int    // MiB that a claim is told of
}

const (
	// Provisioner is what storage classes call ours.
	Provisioner = "nfs.halinux.internal"
	// program is the name of its image, Deployment, account and so on.
	program = "nfs-provisioner"
	// nobody is the user and group in its pod.
	nobody = 65532
	// port of /healthz, /readyz and /metrics.
	port = 8080
	// replicas that are the most.
	most = 5
)

func (n *NFS) namespace() string { return cmp.Or(n.Namespace, "volumes") }
func (n *NFS) replicas() int     { return cmp.Or(n.Replicas, 2) }

func (n *NFS) classes() []Class {
	if n.Classes == nil {
		return []Class{{Name: "nfs"}, {Name: "nfs-retain", Retain: true}}
	}
	return n.Classes
}

// ClassList are the storage classes of shared volumes.
func (n *NFS) ClassList() []Class { return n.classes() }

func (l *Local) class() string { return cmp.Or(l.Class, "local") }

// ClassName is the name by which claims ask for local volumes.
func (l *Local) ClassName() string { return l.class() }
