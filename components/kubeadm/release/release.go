// Package release says what a cluster is made of: versions, and the names by
// which programs and images are found in a bundle. It is what the maker of a
// bundle and the one that installs from it have to agree on, and nothing else.
package release

// Versions of what is installed beside Kubernetes, and the version of Kubernetes
// that is the default. Those of etcd, CoreDNS and pause are the nearest to what
// kubeadm of this version names that can be built from modules.
const (
	Kubernetes = "v1.36.3"
	Containerd = "v2.2.0"
	Etcd       = "v3.6.5"
	CoreDNS    = "v1.14.0"
	Flannel    = "v0.28.4"
	Pause      = "3.10.2"
	Traefik    = "v3.6.12"
	Hello      = "1.0"
	// Distribution is the registry: raised with the module that tools/registry pins, its
	// last figure with a change of what is ours there.
	Distribution = "v3.1.2-1"
	GaleraNode   = "1.2" // raised with each change of cmd/galera-node: programs are kept by version
	MariaDB      = "11.8"
	// NFSProvisioner is ours: a change of the program is a new version.
	NFSProvisioner = "1.0"
	// Todo is app/todo, in which a change is a new version as well.
	Todo = "1.0"
)

// Debian is the release that nodes run; programs of Debian in images are its.
const Debian = "trixie"

// Registry is what the images of a bundle are named after. It is no address:
// containerd is told where it is, so that a bundle may move without a change of
// any pod.
const Registry = "bundle.halinux.internal"

// Image is the whole name of an image of a bundle.
func Image(name, tag string) string { return Registry + "/" + name + ":" + tag }

// Program is the path of a program below a bundle's root. A bundle may hold
// several versions, as an upgrade needs it.
func Program(folder, version, name string) string {
	return "files/" + folder + "/" + version + "/" + name
}

// Manifest is the path of an image's manifest below a bundle's root, after its
// tag or its digest.
func Manifest(name, reference string) string { return "v2/" + name + "/manifests/" + reference }
