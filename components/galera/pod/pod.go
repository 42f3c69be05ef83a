// Package pod has the names, ports and paths that the pods of a Galera cluster and
// the program inside them (cmd/galera-node) have in common.
package pod

// Ports of a pod.
const (
	PortSQL   = 3306 // clients
	PortGroup = 4567 // members of the component
	PortIST   = 4568 // incremental state transfers
	PortSST   = 4444 // full state transfers
	PortPeers = 8443 // what nodes ask each other, by TLS with certificates on both sides
	PortCheck = 8080 // what the kubelet asks, and Prometheus (/metrics)
)

// Paths in a pod.
const (
	Data         = "/var/lib/mysql"
	Socket       = "/run/mysqld/mysqld.sock"
	Config       = "/etc/galera/config/server.cnf"
	TLS          = "/etc/galera/tls"    // tls.crt, tls.key and ca.crt
	SchemaFolder = "/etc/galera/schema" // schema.json, a [Schema]
	Library      = "/usr/lib/galera/libgalera_smm.so"
)

// Environment of the program.
const (
	EnvName      = "POD_NAME"      // its number is the node's ordinal
	EnvNamespace = "POD_NAMESPACE" // of the record and the pods
	EnvIP        = "POD_IP"
	EnvCluster   = "GALERA_CLUSTER"          // the name that nodes of one cluster share
	EnvPeers     = "GALERA_PEERS"            // host names of all nodes by their ordinals, with commas
	EnvRecord    = "GALERA_RECORD"           // the ConfigMap of the record
	EnvOptions   = "GALERA_PROVIDER_OPTIONS" // more options of the wsrep provider
	EnvBackups   = "GALERA_BACKUPS"          // the CronJobs of backups, with commas; none of them where it is empty
)

// Names in the Kubernetes API.
const (
	// LabelWriter is "true" on the pod that clients write to.
	LabelWriter = "galera.halinux.internal/writer"
	// AnnotationLost on the record names the ordinals, with commas, whose data a
	// person has given up. The start that it allows takes it away.
	AnnotationLost = "galera.halinux.internal/lost"
	// KeyRecord and KeyWriter are the keys of the record's data.
	KeyRecord = "record.json"
	KeyWriter = "writer"
)

// Schema are the databases and users that the writer makes and keeps.
type Schema struct {
	Databases []Database `json:"databases,omitempty"`
	Users     []User     `json:"users,omitempty"`
}

// Database is one database.
type Database struct {
	Name         string `json:"name"`
	CharacterSet string `json:"characterSet,omitempty"`
	Collation    string `json:"collation,omitempty"`
}

// User is one user with what it may do.
type User struct {
	Name     string  `json:"name"`
	Host     string  `json:"host"`
	Password string  `json:"password"`
	Grants   []Grant `json:"grants,omitempty"`
	// MaxConnections is 0 for no limit but the server's.
	MaxConnections int `json:"maxConnections,omitempty"`
}

// Grant are privileges on all tables of a database.
type Grant struct {
	Database   string   `json:"database"` // or * for all
	Privileges []string `json:"privileges"`
}
