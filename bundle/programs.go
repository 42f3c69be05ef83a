package bundle

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// program is one program, and where it comes from.
type program struct {
	name    string
	version string
	// folder of the bundle that it stands in; none for what only an image needs.
	folder string
	// module is the folder below tools/ that pins it; pkg is its package there.
	module, pkg string
	ldflags     string
	// static says that a part of it is in C, and is to need no library.
	static bool
	// test says that it is the package's test, as a program.
	test bool
	path string // where it was found
}

// kubernetesProgram is one of the module of Kubernetes itself.
func kubernetesProgram(name, folder, pkg string) program {
	const version = "-X k8s.io/component-base/version."
	minor := strings.Split(strings.TrimPrefix(release.Kubernetes, "v"), ".")
	return program{
		name: name, version: release.Kubernetes, folder: folder, module: "kubernetes", pkg: "k8s.io/kubernetes/" + pkg,
		ldflags: fmt.Sprintf("%sgitVersion=%s %sgitMajor=%s %sgitMinor=%s %sgitTreeState=clean", version, release.Kubernetes, version, minor[0], version, minor[1], version),
	}
}

func programs() []program {
	var all []program
	for _, p := range []struct{ name, folder string }{
		{"kubeadm", "kubernetes"}, {"kubelet", "kubernetes"}, {"kubectl", "kubernetes"},
		{"kube-apiserver", ""}, {"kube-controller-manager", ""}, {"kube-scheduler", ""}, {"kube-proxy", ""},
	} {
		all = append(all, kubernetesProgram(p.name, p.folder, "cmd/"+p.name))
	}
	const containerd = "github.com/containerd/containerd/v2/"
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		all = append(all, program{
			name: name, version: release.Containerd, folder: "containerd", module: "containerd", pkg: containerd + "cmd/" + name,
			ldflags: "-X " + containerd + "version.Version=" + release.Containerd,
		})
	}
	const etcd = "go.etcd.io/etcd/"
	for _, p := range []struct{ name, pkg string }{{"etcd", "server/v3"}, {"etcdctl", "etcdctl/v3"}, {"etcdutl", "etcdutl/v3"}} {
		folder := "etcd"
		if p.name == "etcd" {
			folder = ""
		}
		all = append(all, program{name: p.name, version: release.Etcd, folder: folder, module: "etcd", pkg: etcd + p.pkg})
	}
	return append(all,
		program{name: "coredns", version: release.CoreDNS, module: "coredns", pkg: "github.com/halinux/halinux/tools/coredns"},
		program{
			name: "flanneld", version: release.Flannel, module: "flannel", pkg: "github.com/flannel-io/flannel",
			ldflags: "-X github.com/flannel-io/flannel/pkg/version.Version=" + release.Flannel,
			static:  true, // its udp backend
		},
		program{
			name: "traefik", version: release.Traefik, module: "traefik", pkg: "github.com/traefik/traefik/v3/cmd/traefik",
			ldflags: "-X github.com/traefik/traefik/v3/pkg/version.Version=" + release.Traefik,
		},
		program{
			name: "registry", version: release.Distribution, module: "registry", pkg: "github.com/halinux/halinux/tools/registry",
			ldflags: "-X github.com/distribution/distribution/v3/version.version=" + release.Distribution,
		},
		program{name: "pause", version: release.Pause, module: own, pkg: "github.com/halinux/halinux/bundle/pause"},
		program{name: "galera-node", version: release.GaleraNode, module: own, pkg: "github.com/halinux/halinux/cmd/galera-node"},
		program{name: "hello", version: release.Hello, module: own, pkg: "github.com/halinux/halinux/bundle/hello"},
		program{name: "nfs-provisioner", version: release.NFSProvisioner, module: own, pkg: "github.com/halinux/halinux/cmd/nfs-provisioner"},
		program{name: "todo", version: release.Todo, module: application, pkg: "github.com/halinux/halinux/app/todo"},
	)
}

// collect finds programs, and builds those that are nowhere to be found. The
// user's own are kept with those, so that he names their folder once.
func (o Options) collect(ctx context.Context, all []program) ([]program, error) {
	var missing Missing
	for i := range all {
		p := &all[i]
		kept := filepath.Join(o.Cache, "programs", p.name+"-"+p.version)
		if p.path = o.ready(p); p.path != "" {
			if _, err := install(p.path, kept); err != nil {
				return nil, fmt.Errorf("keep %s %s: %w", p.name, p.version, err)
			}
			continue
		}
		p.path = kept
		if _, err := os.Stat(p.path); err == nil {
			continue
		}
		if o.Ready {
			missing = append(missing, p.name+" "+p.version)
			continue
		}
		o.Say("building %s %s from its module; the first programs of a module take minutes", p.name, p.version)
		if err := o.build(ctx, p); err != nil {
			return nil, fmt.Errorf("build %s %s: %w", p.name, p.version, err)
		}
	}
	if len(missing) > 0 {
		return nil, missing
	}
	return all, nil
}

// own is the module, seen from tools/, of the programs that are nobody's but ours.
const own = ".."

// application is that of the application, which is a module of its own.
const application = "../app/todo"

// ready is the path of a program in the user's folder, if it is there in the
// version that is wanted.
func (o Options) ready(p *program) string {
	if o.Programs == "" || p.module == own || p.module == application {
		return ""
	}
	path := filepath.Join(o.Programs, p.name)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	if !saysVersion(path, p) {
		o.Say("%s is not version %s, or nothing in it says so: not taken", path, p.version)
		return ""
	}
	return path
}

// saysVersion looks for the version in a program: in what Go's linker left
// there, else in its text. Running it would tell as well, but a bundle may be
// made for another architecture.
func saysVersion(path string, p *program) bool {
	info, err := buildinfo.ReadFile(path)
	if err == nil {
		for _, d := range append(info.Deps, &info.Main) {
			if d.Version == p.version && strings.HasPrefix(p.pkg, d.Path) {
				return true
			}
		}
	}
	data, err := os.ReadFile(path)
	return err == nil && bytes.Contains(data, []byte(p.version))
}

// build builds a program in its module, with the lowest priority: whoever makes
// a bundle on his workstation has other things to do.
func (o Options) build(ctx context.Context, p *program) error {
	if err := os.MkdirAll(filepath.Dir(p.path), 0o755); err != nil {
		return err
	}
	cgo, flags := "CGO_ENABLED=0", strings.TrimSpace("-s -w "+p.ldflags)
	if p.static {
		cgo, flags = "CGO_ENABLED=1", flags+" -linkmode external -extldflags -static"
	}
	args := []string{"-n", "15", "go", "build", "-C", filepath.Join(o.Tools, p.module)}
	if p.test {
		args = []string{"-n", "15", "go", "test", "-C", filepath.Join(o.Tools, p.module), "-c", "-vet=off"}
	}
	cmd := exec.CommandContext(ctx, "nice", append(args, "-trimpath",
		"-buildvcs=false", "-tags", "netgo,osusergo", "-ldflags", flags, "-o", p.path+".new", p.pkg)...)
	cmd.Env = append(os.Environ(), cgo, "GOWORK=off") // the tools are no part of a workspace around them
	if text, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		return fmt.Errorf("%w: %s", err, strings.Join(lines[max(0, len(lines)-5):], "; "))
	}
	return os.Rename(p.path+".new", p.path)
}
