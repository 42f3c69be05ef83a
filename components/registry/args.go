package registry

import (
	"cmp"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/kubeadm"
	"github.com/halinux/halinux/components/kubeadm/release"
)

// RegistryArgs says what the registry is.
type RegistryArgs struct {
	// Host is the name that images begin with, and that the edge answers to, like
	// registry.example.org. Required.
	Host string
	// Namespace is made, and everything is in it, at the level restricted of the Pod
	// Security Standards. A DNS label. Default "registry".
	Namespace string
	// Image has the program of tools/registry. Default: that of a bundle of this
	// release, so that the registry starts without itself.
	Image string
	// Replicas is the number of instances, 1 to 9, which share one volume. Default 2.
	Replicas int
	// StorageClass makes the volume (ReadWriteMany), best of those that keep their
	// data when the claim goes. Default: the cluster's default class.
	StorageClass string
	// Size of the volume, as a quantity of Kubernetes, 100Mi or more. Default 20Gi.
	Size string
	// Users may pull, push and delete, all of them: htpasswd knows of no rights.
	// Required.
	Users []User
	// IngressClass leads to the registry. Default: whichever takes an ingress without
	// a class.
	IngressClass string
	// Sources are the networks, as CIDR, that the ingress controller's requests come
	// from: those of the nodes, where it uses the node's own network. Default:
	// anywhere.
	Sources []string
	// Collection deletes what no image refers to any more.
	Collection Collection
}

// User is an account of the registry.
type User struct {
	// Name has 1 to 64 letters, digits, dots, underscores and hyphens.
	Name string
	// Password has 8 to 72 bytes, as bcrypt takes no more. Default: one is made in
	// the first run, see [Registry.Passwords].
	Password pulumi.StringInput `mapstructure:"-"`
}

// Collection is garbage collection on a schedule, while the registry serves.
// Pushes wait for it, and are never refused.
type Collection struct {
	Off bool // nothing is ever deleted from the volume
	// Schedule in the form of cron, in UTC. Default "20 3 * * *".
	Schedule string
	// Grace is how long a blob stays that no image refers to, since a client was last
	// told that it is there: longer than any push takes. At least 1h, in whole seconds.
	// Default 24h.
	Grace time.Duration
	// Wait is how long it waits for a moment without a push, before the Job fails and
	// leaves all as it was. 1m to 12h, in whole seconds. Default 30m.
	Wait time.Duration
}

func (a *RegistryArgs) namespace() string { return cmp.Or(a.Namespace, "registry") }
func (a *RegistryArgs) image() string {
	return cmp.Or(a.Image, release.Image("registry", release.Distribution))
}
func (a *RegistryArgs) replicas() int     { return cmp.Or(a.Replicas, 2) }
func (a *RegistryArgs) size() string      { return cmp.Or(a.Size, "20Gi") }
func (c Collection) schedule() string     { return cmp.Or(c.Schedule, "20 3 * * *") }
func (c Collection) grace() time.Duration { return cmp.Or(c.Grace, 24*time.Hour) }
func (c Collection) wait() time.Duration  { return cmp.Or(c.Wait, 30*time.Minute) }

// Site makes a site of an edge one that suits the registry: its name, large bodies,
// time for a push that waits for a collection, and a client that stays with one
// way in. Its backends are the ingress controller's
// ([kubeadm.KubeadmClusterArgs.Site]).
func (a *RegistryArgs) Site(s haedge.Site) haedge.Site {
	s.Name, s.Hosts = cmp.Or(s.Name, "registry"), []string{a.Host}
	s.MaxBody = cmp.Or(s.MaxBody, 64<<10)
	s.Timeout = cmp.Or(s.Timeout, 15*time.Minute)
	s.Persistence = cmp.Or(s.Persistence, "source")
	return s
}

// Mirror tells containerd of the registry ([kubeadm.KubeadmClusterArgs.Mirrors]):
// which authority to believe there, the PEM of the one that signed the site's
// certificate, like haedge.HAEdge.CACertificate.
func (a *RegistryArgs) Mirror(authority pulumi.StringInput) kubeadm.Mirror {
	return kubeadm.Mirror{Registry: a.Host, URLs: []string{"https://" + a.Host}, Authority: authority}
}
