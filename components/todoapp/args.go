package todoapp

import (
	"cmp"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// TodoAppArgs says what the application is.
type TodoAppArgs struct {
	// Namespace is made, and everything is in it, at the level restricted of the Pod
	// Security Standards. A DNS label. Default "todo".
	Namespace string
	// Hosts are the names under which people ask for it, of which the first is the one
	// in its own links. Required.
	Hosts []string
	// Image of the application with its digest, so that all pods and the migration run
	// the same; one of the bundle's may have its version alone, since hosts check those
	// against the bundle's list. Default: that of a bundle of this release.
	Image string
	// Build makes the image and pushes it instead. Default: none is built.
	Build *Build `mapstructure:"-"`
	// Replicas is the number of pods, 2 or more. Default 2. With Autoscale it is the
	// least number.
	Replicas int
	// Autoscale adds pods under load; it needs metrics-server in the cluster. Default:
	// there are Replicas.
	Autoscale *Autoscale
	// CPU is what a pod asks for, as a quantity. Default 100m.
	CPU string
	// CPULimit is what a pod may use at most, as a quantity. Default: no limit, and the
	// pods are of the QoS class Burstable. The same as CPU makes them Guaranteed.
	CPULimit string
	// Memory of a pod in MiB, asked for and at most; 128 or more beside what a
	// thumbnail may need. Default 384.
	Memory int
	// StorageClass makes the volume of the attached files, which all pods mount at the
	// same time (ReadWriteMany). Default: the cluster's default class.
	StorageClass string
	// Size of that volume, as a quantity of Kubernetes. Default 10Gi.
	Size string
	// UploadLimit is the largest attached file in MiB. Default 20.
	UploadLimit int
	// ThumbnailMemory is what making one thumbnail may need, MiB; pictures beyond have
	// none. Default 192; at least 1.
	ThumbnailMemory int
	// TimeZone tells what is due today, as a name of the IANA database. Default UTC.
	TimeZone string
	// Database is where its rows are. Required.
	Database Database
	// IngressClass is that of the controller. Default "traefik", whose annotations keep
	// a person on a pod.
	IngressClass string
	// IngressFrom are the networks that requests of the ingress controller come from,
	// the only ones that reach the pages (kubeadm.KubeadmClusterArgs.IngressFrom).
	// Required.
	IngressFrom []string `mapstructure:"-"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed
	// (kubeadm.KubeadmClusterArgs.TrustedProxies). Default: IngressFrom.
	TrustedProxies []string `mapstructure:"-"`
	// Metrics are labels of pods, any of which may read the metrics; of all
	// namespaces. Default: none may.
	Metrics []map[string]string
	// Sweep is when files and sessions that nobody refers to are removed, in the form of
	// cron, in UTC. Default "15 3 * * *".
	Sweep string
}

// Database is a MariaDB, such as galera.GaleraDB.
type Database struct {
	// Host is its DNS name. Required.
	Host pulumi.StringInput `mapstructure:"-"`
	// Port of it. Default 3306.
	Port int
	// Name of the database. Default "todo".
	Name string
	// User reads and writes rows. Default "todo".
	User string
	// Password of User. Required.
	Password pulumi.StringInput `mapstructure:"-"`
	// MigrateUser makes and changes tables, which User need not be able to do then.
	// Default: User does it.
	MigrateUser string
	// MigratePassword of MigrateUser. Required with it.
	MigratePassword pulumi.StringInput `mapstructure:"-"`
	// CA is the PEM of the authority of the database's certificate; connections are
	// always encrypted. Required.
	CA pulumi.StringInput `mapstructure:"-"`
	// Namespace and Pods are where the database's pods are and their labels: where
	// connections may go. Default: anywhere, at Port.
	Namespace string            `mapstructure:"-"`
	Pods      map[string]string `mapstructure:"-"`
}

// Autoscale is a HorizontalPodAutoscaler.
type Autoscale struct {
	// Max is the largest number of pods. Required.
	Max int
	// CPU is the load that pods are kept at, in percent of what they ask for, 10 to
	// 500. Default 70.
	CPU int
}

// Build makes the image with docker or what stands in for it, and pushes it. It runs
// in updates alone, never in a preview.
type Build struct {
	// Context is the folder of the sources. Required.
	Context string
	// Dockerfile in it. Default: Context/Dockerfile.
	Dockerfile string
	// Platform of the nodes. Default "linux/amd64".
	Platform string
	// Name that the image is pushed under, with a tag. Required.
	Name string
	// User and Password of the registry. Default: none are asked for.
	User     string
	Password pulumi.StringInput
}

// Labels are those of all pods of an application of a name: for the database's
// network policy.
func (a *TodoAppArgs) Labels(name string) map[string]string {
	return names{name, a.namespace()}.labels()
}

func (a *TodoAppArgs) namespace() string    { return cmp.Or(a.Namespace, "todo") }
func (a *TodoAppArgs) image() string        { return cmp.Or(a.Image, release.Image("todo", release.Todo)) }
func (a *TodoAppArgs) replicas() int        { return cmp.Or(a.Replicas, 2) }
func (a *TodoAppArgs) cpu() string          { return cmp.Or(a.CPU, "100m") }
func (a *TodoAppArgs) memory() int          { return cmp.Or(a.Memory, 384) }
func (a *TodoAppArgs) size() string         { return cmp.Or(a.Size, "10Gi") }
func (a *TodoAppArgs) uploadLimit() int     { return cmp.Or(a.UploadLimit, 20) }
func (a *TodoAppArgs) thumbnailMemory() int { return cmp.Or(a.ThumbnailMemory, 192) }
func (a *TodoAppArgs) timeZone() string     { return cmp.Or(a.TimeZone, "UTC") }
func (a *TodoAppArgs) ingressClass() string { return cmp.Or(a.IngressClass, "traefik") }
func (a *TodoAppArgs) sweep() string        { return cmp.Or(a.Sweep, "15 3 * * *") }
func (a *TodoAppArgs) trustedProxies() []string {
	if len(a.TrustedProxies) > 0 {
		return a.TrustedProxies
	}
	return a.IngressFrom
}
func (d *Database) port() int    { return cmp.Or(d.Port, 3306) }
func (d *Database) name() string { return cmp.Or(d.Name, "todo") }
func (d *Database) user() string { return cmp.Or(d.User, "todo") }
func (s *Autoscale) cpu() int    { return cmp.Or(s.CPU, 70) }

func (b *Build) platform() string { return cmp.Or(b.Platform, "linux/amd64") }

// server is the registry that Name is pushed to.
func (b *Build) server() string {
	server, _, _ := strings.Cut(b.Name, "/")
	return server
}

// qosClass is how the kubelet treats the pods when a node has too little memory:
// theirs is asked for in full, so they are no early victims in either class.
func (a *TodoAppArgs) qosClass() corev1.PodQOSClass {
	if a.CPULimit != "" {
		limit, request := resource.MustParse(a.CPULimit), resource.MustParse(a.cpu())
		if limit.Cmp(request) == 0 {
			return corev1.PodQOSGuaranteed
		}
	}
	return corev1.PodQOSBurstable
}
