package nfsha

import (
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

// NFSHAClusterArgs says what is stored, on which hosts, and who may mount it.
type NFSHAClusterArgs struct {
	// Name is part of everything that the cluster is known by: its corosync
	// name, the DRBD resource, the mount point /srv/<name>. A word of at most 15
	// letters that never changes. Default "nfs".
	Name string
	// Hosts are the two storage hosts.
	Hosts []host.Host `mapstructure:"-"`
	// Plan has the links of the storage hosts and of the witnesses.
	Plan host.AddressPlan `mapstructure:"-"`
	// Network is the plan's network of the clients and the VIP. Corosync's first
	// link is there.
	Network string
	// Replication is the network that DRBD's traffic and corosync's second link
	// go by. It is another one than Network: the cluster has to outlive either.
	Replication string
	// VIP is a free address of Network, like 10.10.0.102; it follows the server.
	VIP string
	// Disks are what each storage host makes of its disks, by the host's name.
	Disks map[string]host.Disks
	// Volume is the logical volume, as group/volume, that is replicated; both
	// hosts have it, of one size. DRBD keeps about 32 KiB per GiB of it for
	// itself.
	Volume string
	// Witnesses are candidates for the third vote (corosync-qnetd(8)), hosts
	// that are no storage hosts. The first one votes; the others stand ready, and
	// one of them votes when it is put first.
	Witnesses []host.Host `mapstructure:"-"`
	// Fencing is how a host that has lost contact is made certain to be dead.
	// Required: without it nobody may take over.
	Fencing Fencing
	// SkipFenceTest leaves out that each host is fenced once, for real, before
	// any data is placed. Default: they are.
	SkipFenceTest bool
	// Token is after how long a silent host counts as lost, 500ms to 30s
	// (corosync.conf(5)). Default 2s. Below 1s a busy host is taken for a dead
	// one.
	Token time.Duration
	// Lease is NFSv4's lease time, 5s to 90s in whole seconds; the grace time is
	// three times as long: after a failover, clients have so long to reclaim their
	// locks, and nobody gets new ones until all have. Default 10s.
	Lease time.Duration
	// Threads are nfsd's. Default 16.
	Threads int
	// ResyncRate bounds the catching up of a replica, in MiB/s. A quarter of it is
	// kept up while clients write: DRBD's default floor (250 KiB/s) would leave a
	// busy replica behind for weeks. Default 100.
	ResyncRate int
	// Verify is when the replicas are compared, as in systemd.time(7). Default
	// "Sun 04:00".
	Verify string
	// NoPacketFilter is for kernels that cannot filter packets: the server's port
	// is not closed while it starts.
	NoPacketFilter bool
	// Projects are the directories that are exported, each with a quota.
	Projects []Project
	// Purge names projects that there are no more, whose data is deleted for
	// good. Default: what a removed project has left stays, and is found again
	// when it is put back.
	Purge []string
	// Provisioner may make and remove volumes in one of the projects by itself.
	// Default: nobody may.
	Provisioner *Provisioner
}

// Provisioner is who makes volumes on demand, like Kubernetes' storage classes:
// directories of a project with a quota each, by a command over SSH on the host
// that serves (phases/provisioner/volumes.sh says which).
type Provisioner struct {
	// Project holds the volumes; it is exported without root squash, and their
	// quotas together do not exceed its own.
	Project string
	// Keys are public keys as in a file authorized_keys. They let their owners in
	// as the user halinux-volumes, to run that one program.
	Keys []string
	// Key is one more, of a provisioner whose key the program makes
	// (volumes.NewKey). Default: none.
	Key pulumi.StringInput `mapstructure:"-"`
}

// Access is what a provisioner of volumes has to know (volumes.Pool).
type Access struct {
	Server, Path      string   // what clients mount
	MountOptions      []string // under which a failover is a pause (nfs(5))
	Hosts, KnownHosts []string // where volumes are made, as address or address:port, and lines of known_hosts (sshd(8))
	User              string   // whom the key lets in there
	MiB               int      // the quota of all volumes together
}

// Fencing has one of agents and watchdog.
type Fencing struct {
	// Agents are programs that switch a host off and on by its management
	// controller or hypervisor (fence_ipmilan(8), fence_virsh(8)). Each host has
	// one or more, tried in this order.
	Agents []FenceAgent
	// Watchdog lets each host reset itself when it is cut off (sbd(8) without a
	// disk). It needs the witness.
	Watchdog *Watchdog
}

// FenceAgent fences one host.
type FenceAgent struct {
	Host  string // the storage host that it switches off
	Agent string // a fence agent, like fence_ipmilan
	// Package is the Debian package that has it. Default: named after the agent,
	// like fence-agents-ipmilan.
	Package string
	// Options are the agent's own, like ip and username.
	Options map[string]string
	// Secrets are further options that nobody may see, like password.
	Secrets map[string]pulumi.StringInput `mapstructure:"-"`
}

// Watchdog is the timer that resets a host.
type Watchdog struct {
	// Device is the timer. Default /dev/watchdog.
	Device string
	// Module is a kernel module to load for it, like softdog where there is no
	// hardware. Default: the hardware's own has been loaded.
	Module string
	// Timeout is after how long without a sign of life it fires, 3s to 60s in
	// whole seconds. The other host waits twice as long. Default 5s.
	Timeout time.Duration
}

// Project is a directory of the volume with a hard quota, exported by NFSv4.
type Project struct {
	// Name is the directory's, and never changes: a word of at most 63 letters,
	// digits, hyphens, dots and underscores. The export is /srv/<name of the
	// cluster>/<name>.
	Name string
	// Quota in MiB, enforced by XFS. Lowering it below what is stored stops all
	// further writes.
	Quota int
	// ID is the XFS project id and the export's fsid, 1 to 2147483647, for the
	// life of the project: with another one all mounted clients get stale
	// handles. Default: derived from the name.
	ID int
	// Clients may mount it: ranges, addresses, or names of the plan's networks
	// and hosts.
	Clients []string
	// Anywhere is the consent to a client range of all addresses, or of more than
	// a /8 has.
	Anywhere bool
	// Mode is the directory's, in octal. Default "0770".
	Mode string
	// Owner is the directory's, as user:group in numbers or names that both
	// storage hosts know. Default "root:root".
	Owner string
	// NoRootSquash lets root of a client be root here, as provisioners of
	// volumes need it. Default: it becomes nobody.
	NoRootSquash bool
	// ReadOnly lets clients read alone.
	ReadOnly bool
}
