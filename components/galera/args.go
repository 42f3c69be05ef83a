package galera

import (
	"cmp"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// GaleraDBArgs says what the cluster is.
type GaleraDBArgs struct {
	// Namespace of everything; it has to be there. Pods pass the level restricted of
	// the Pod Security Standards. A DNS label. Required.
	Namespace string
	// Image has mariadbd, mariadb-install-db, mariadb-backup, socat and the Galera
	// provider, and the user mysql with the number 999, as MariaDB's official image
	// has. Nothing else of an image is used, its entry point and its settings
	// neither. Default docker.io/library/mariadb:11.8.
	Image string
	// Helper is the image of galera-node, which runs in the pods. Default: that of a
	// bundle of this release.
	Helper string
	// Replicas is the number of nodes, 3 or 5. Default 3.
	Replicas int
	// StorageClass makes the volumes, one for each replica: disks of the nodes' own,
	// as a database waits for each of its commits and has copies of its own. Never one
	// on NFS. Default: the cluster's default class.
	StorageClass string
	// Size of each volume, as a quantity of Kubernetes. Default 10Gi.
	Size string
	// Memory of each node in MiB, at least 512; 6/10 of it is InnoDB's buffer pool.
	// Default 1024.
	Memory int
	// CPU is what a node asks for, as a quantity. It has no limit: a node that is
	// held back holds back all others. Default 500m.
	CPU string
	// WriteSetCache in MiB is what is kept of the newest writes (gcache.size): a node
	// that was away for no more than that comes back by them alone, without a copy of
	// everything. Default 512.
	WriteSetCache int
	// MaxConnections of one node. Default 200.
	MaxConnections int
	// Databases are made, and never dropped.
	Databases []Database
	// Users are made and kept as they are here; who leaves the list stays.
	Users []User
	// Clients are labels of pods, any of which may connect; of all namespaces.
	// Default: none may.
	Clients []map[string]string
	// APIServers is the range of addresses that the pods reach the API server at.
	// Default 0.0.0.0/0.
	APIServers string
	// Grace is how many seconds a server may take to end, at least 60. Default 600.
	Grace int
	// Backup copies everything on a schedule. Default: none.
	Backup *Backup
}

// Database is one database.
type Database struct {
	// Name has at most 64 letters, digits, underscores, dollars and hyphens.
	Name string
	// CharacterSet and Collation. Default: the server's, utf8mb4.
	CharacterSet, Collation string
}

// User is an account of the database.
type User struct {
	// Name has at most 80 letters, digits, underscores, dots and hyphens.
	Name string
	// Host is where it may come from, in the manner of MariaDB. Default %.
	Host string
	// Password has 8 to 256 printable characters. Required.
	Password pulumi.StringInput
	// MaxConnections at the same time to one node. Default 0, no limit of its own.
	MaxConnections int
	// Grants are what it may do.
	Grants []Grant
}

// Grant is what a user may do with the tables of a database.
type Grant struct {
	Database string // one of Databases, or * for all
	// Privileges in MariaDB's names, like SELECT or "ALL PRIVILEGES".
	Privileges []string
}

// Backup is mariadb-backup on a schedule, of the last node.
type Backup struct {
	// Schedule in the form of cron, in UTC.
	Schedule string
	// Claim is the PersistentVolumeClaim that copies go to; best of another place
	// than the nodes' disks. Required.
	Claim string
	// Keep is the number of copies. Default 7.
	Keep int
}

func (a *GaleraDBArgs) image() string { return cmp.Or(a.Image, "docker.io/library/mariadb:11.8") }
func (a *GaleraDBArgs) helper() string {
	return cmp.Or(a.Helper, release.Image("galera-node", release.GaleraNode))
}
func (a *GaleraDBArgs) replicas() int       { return cmp.Or(a.Replicas, 3) }
func (a *GaleraDBArgs) size() string        { return cmp.Or(a.Size, "10Gi") }
func (a *GaleraDBArgs) memory() int         { return cmp.Or(a.Memory, 1024) }
func (a *GaleraDBArgs) cpu() string         { return cmp.Or(a.CPU, "500m") }
func (a *GaleraDBArgs) writeSetCache() int  { return cmp.Or(a.WriteSetCache, 512) }
func (a *GaleraDBArgs) maxConnections() int { return cmp.Or(a.MaxConnections, 200) }
func (a *GaleraDBArgs) apiServers() string  { return cmp.Or(a.APIServers, "0.0.0.0/0") }
func (a *GaleraDBArgs) grace() int          { return cmp.Or(a.Grace, 600) }
func (b *Backup) keep() int                 { return cmp.Or(b.Keep, 7) }
func (u User) host() string                 { return cmp.Or(u.Host, "%") }
