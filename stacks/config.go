// Package stacks is the platform as a whole: what Pulumi.<stack>.yaml may say
// ([Config]) and how the components are wired together ([Platform]). What a
// component does on its hosts is the component's own matter.
package stacks

import (
	"github.com/halinux/halinux/components/galera"
	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm"
	"github.com/halinux/halinux/components/nfsha"
	"github.com/halinux/halinux/components/registry"
	"github.com/halinux/halinux/components/todoapp"
	"github.com/halinux/halinux/components/volumes"
)

// Config is what a stack's configuration may say, below the key "halinux:".
// Beside its own keys it takes the arguments of the components as they are.
type Config struct {
	// Domain is the DNS domain of all hosts.
	Domain string
	// Networks are those that the hosts have links to.
	Networks []host.Network
	// Hosts are all machines of the platform.
	Hosts []HostConfig
	// Roles says which roles there are and how many hosts each needs. Default:
	// any role, any number.
	Roles []host.Role
	// SSH is the way to every host; what a host's own says goes before it.
	SSH SSHConfig
	// Drift is "off" (default) or "detect": look at all hosts before the
	// preview or update, and show and repair what differs on them.
	Drift string
	// Base is the base system of every host.
	Base host.BaseArgs
	// Edge is the load balancers. Default: none.
	Edge *EdgeConfig
	// Storage is the replicated storage. Default: none.
	Storage *StorageConfig
	// Kubernetes is the cluster. Default: none.
	Kubernetes *KubernetesConfig
	// Volumes are the cluster's persistent volumes. Default: none.
	Volumes *volumes.VolumesArgs
	// Database is a MariaDB Galera cluster of the cluster's pods. Default: none.
	Database *DatabaseConfig
	// Registry is a registry of images in the cluster, behind the edge. Default: none.
	Registry *RegistryConfig
	// Todo is the application of app/todo in the cluster. Default: none.
	Todo *TodoConfig
	// Secrets are set with
	// `pulumi config set --secret --path 'halinux:secrets.tsig'`.
	Secrets SecretsConfig
}

// EdgeConfig is the edge: the hosts by their role, and the rest as haedge
// describes it.
type EdgeConfig struct {
	haedge.HAEdgeArgs `mapstructure:",squash"`
	// Role is which hosts are edges. Default "edge".
	Role string
}

// StorageConfig is the storage: the hosts by their role, the candidates for the
// third vote by their names, and the rest as nfsha describes it.
type StorageConfig struct {
	nfsha.NFSHAClusterArgs `mapstructure:",squash"`
	// Role is which two hosts are storage hosts. Default "storage".
	Role string
	// Witnesses are names of hosts that are no storage hosts; the first one has
	// the third vote. Required.
	Witnesses []string
}

// KubernetesConfig is the cluster: its hosts by their roles, and the rest as
// kubeadm describes it. Where there is an edge, the endpoint is one of its VIPs,
// and the edge is given the service for it.
type KubernetesConfig struct {
	kubeadm.KubeadmClusterArgs `mapstructure:",squash"`
	// ControlPlaneRole is which hosts are control planes. Default "control-plane".
	ControlPlaneRole string
	// WorkerRole is which hosts are workers. Default "worker".
	WorkerRole string
	// Sites are web sites of the edge that lead to the ingress controller: as
	// edge.sites, without backends, and the check's path and port. Default: none.
	Sites []haedge.Site
}

// DatabaseConfig is the database. Without a storage class it takes local volumes,
// where there are any.
type DatabaseConfig struct {
	// Name of the cluster and of the service that leads to its writer. Default "db".
	Name string

	galera.GaleraDBArgs `mapstructure:",squash"`
}

// RegistryConfig is the registry and its site at the edge.
type RegistryConfig struct {
	// Name of its objects and of the site. Default "registry".
	Name string
	// Site of the edge: as one of kubernetes.sites, whose name and hosts are those of
	// the registry.
	Site haedge.Site

	registry.RegistryArgs `mapstructure:",squash"`
}

// TodoConfig is the application. It is a site of the edge, and its rows are in the
// database, whose users it names.
type TodoConfig struct {
	// Name of the application, of its Service, and of its site. Default "todo".
	Name string
	// Site of the edge: as one of kubernetes.sites, whose name and hosts are those of
	// the application. Where uploads may be larger than a site lets through, so is
	// maxBody by default.
	Site haedge.Site

	todoapp.TodoAppArgs `mapstructure:",squash"`
}

// SecretsConfig are the values that stand encrypted in the settings.
type SecretsConfig struct {
	// BGP are the passwords of the BGP peers, by the peer's name.
	BGP map[string]string
	// Certificates are the private keys of given certificates, as PEM, by the
	// site's name.
	Certificates map[string]string
	// Fencing are secret options of fence agents, by the storage host that the
	// agent fences, the agent, and the option: store1, fence_ipmilan, password.
	Fencing map[string]map[string]map[string]string
	// TSIG is the key for zone transfers, base64 of 16 bytes or more. Default:
	// made once and kept in the state.
	TSIG string
}

// SSHConfig is the way to the hosts.
type SSHConfig struct {
	User string // default root; another user needs sudo without a password
	Port int    // default 22
	// KnownHosts is a file in the format of OpenSSH (sshd(8)), relative to the
	// project, that holds the hosts' public keys by address; hashed names are
	// understood. Default: each host names its key itself.
	KnownHosts string
	// InsecureIgnoreHostKey talks to whoever answers. For trials only.
	InsecureIgnoreHostKey bool
	KeyFile               string       // a private key; default: the SSH agent
	Proxy                 *ProxyConfig // default: none
	DialTimeout           int          // seconds for one attempt; default 15
	DialAttempts          int          // default 10
}

// ProxyConfig is a bastion on the way to the hosts.
type ProxyConfig struct {
	Address string // IP address or DNS name
	Port    int    // default 22
	User    string // default root
	HostKey string // default: from knownHosts
	KeyFile string // default: the SSH agent
}

// HostConfig is one machine.
type HostConfig struct {
	Name  string   // a DNS label; part of the name of everything on the host
	Roles []string // free words, like edge and backend; default none
	// Address is where the controller reaches the host. Default: the address
	// of its first link.
	Address string
	HostKey string // "ssh-ed25519 AAAA..."; default: from knownHosts
	// SSH overrides single values of the common way. Default: nothing.
	SSH   *SSHConfig
	Links []host.Link // one or more
}

// keys are the top-level keys of the configuration.
var keys = []string{"domain", "networks", "roles", "hosts", "ssh", "drift", "base", "edge", "storage", "kubernetes", "volumes", "database", "registry", "todo", "secrets"}
