package galera

import (
	"cmp"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// GaleraDBArgs says what the cluster is.
type GaleraDBArgs struct {
	// Namespace is made, and everything is in it, at the level restricted of the Pod
	// Security Standards. A DNS label. Default "database".
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
	// Metrics are labels of pods, any of which may read the nodes' metrics; of all
	// namespaces. Default: none may.
	Metrics []map[string]string
	// APIServers are where the pods reach the API servers, as address:port
	// (kubeadm.KubeadmClusterArgs.APIServers). Default: anywhere.
	APIServers []string `mapstructure:"-"`
	// CertificateGeneration is raised for a new authority and a new certificate, while
	// no pod runs (docs/database.md). Default 0.
	CertificateGeneration int
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
	// Password has 8 to 256 printable characters. Default: one is made in the first
	// run, see [GaleraDB.Passwords].
	Password pulumi.StringInput `mapstructure:"-"`
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

// Backup is mariadb-backup on a schedule, of the last node, and what that node has
// logged since: with both the database can be restored as it was at any time.
type Backup struct {
	// Schedule in the form of cron, in UTC.
	Schedule string
	// LogSchedule is when binary logs are copied, in the same form: what was written
	// since then is lost with all nodes' disks. Default */5 * * * *, each five minutes.
	LogSchedule string
	// WithoutLogs keeps no binary logs, and spares the last node a write for each
	// transaction; a restore is to a copy then.
	WithoutLogs bool
	// StorageClass makes the volume of the copies (ReadWriteMany), best in another
	// place than the nodes' disks, and of those that keep their data when the claim
	// goes. Default: the cluster's default class.
	StorageClass string
	// Size of that volume, as a quantity of Kubernetes. Default 20Gi.
	Size string
	// Keep is the number of copies, with the logs since the oldest. Default 7.
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
func (a *GaleraDBArgs) namespace() string   { return cmp.Or(a.Namespace, "database") }
func (a *GaleraDBArgs) grace() int          { return cmp.Or(a.Grace, 600) }

// source is the node of which backups are: the last one, which is the last to become
// the writer.
func (a *GaleraDBArgs) source() int { return a.replicas() - 1 }

// cronJobs are those that keep backups of the cluster of a name.
func (a *GaleraDBArgs) cronJobs(n names) []string {
	var all []string
	if a.Backup != nil {
		all = append(all, n.name+"-backup")
	}
	if a.logs() {
		all = append(all, n.name+"-logs")
	}
	return all
}

// logs says whether that node writes binary logs.
func (a *GaleraDBArgs) logs() bool { return a.Backup != nil && !a.Backup.WithoutLogs }

func (b *Backup) size() string        { return cmp.Or(b.Size, "20Gi") }
func (b *Backup) keep() int           { return cmp.Or(b.Keep, 7) }
func (b *Backup) logSchedule() string { return cmp.Or(b.LogSchedule, "*/5 * * * *") }
func (u User) host() string           { return cmp.Or(u.Host, "%") }

// key is what the user's password is called: the name alone, where it may come from
// anywhere.
func (u User) key() string {
	if u.host() == "%" {
		return u.Name
	}
	return u.Name + "@" + u.host()
}
