package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// Suite is upstream's conformance tests, ready to run against a cluster whose
// nodes reach the bundle and nothing else.
type Suite struct {
	// Program is e2e.test of k8s.io/kubernetes/test/e2e.
	Program string `json:"program"`
	// Repositories is the file for KUBE_TEST_REPO_LIST: where the tests' images are.
	Repositories string `json:"repositories"`
	// Images are those that are there. What needs another one cannot be run.
	Images []Image `json:"images"`
	// Inputs is the checksum of all that the images were made of.
	Inputs string `json:"inputs"`
}

// suiteName is the file of a bundle that tells of its suite.
const suiteName = "conformance.json"

// testImages is the folder of the tests' images, beside the cluster's own.
const testImages = "e2e-test-images"

// Tags of the tests' images, as test/utils/image of that version of Kubernetes has
// them.
const (
	agnhostTag = "2.63.0"
	// agnhostBefore is the older agnhost that rolling updates begin with. Its source
	// is not in the module, and it is the same image under another tag.
	agnhostBefore = "2.55"
	busyboxTag    = "1.37.0-1"
	glibcDNSTag   = "2.0.0"
)

// agnhostSet has what tests call in agnhost beside itself, as its Dockerfile lists
// it: dig, getent, curl, nc, ip and a shell. The users and groups are those that tests of
// supplementary groups ask for.
var agnhostSet = &packageSet{
	name:     "agnhost",
	packages: []string{"bind9-dnsutils", "busybox-static", "curl", "dash", "iproute2", "libc-bin", "netcat-openbsd"},
	depends:  true,
	keep:     inTestImage,
	// What Debian's alternatives do when a package is installed. The shell is not
	// busybox, whose own nc and ip would be called instead of these.
	links: map[string]string{"usr/bin/nc": "nc.openbsd", "usr/bin/sh": "dash", "agnhost-2": "agnhost"},
	files: map[string]string{
		"etc/passwd": rootAndNobody + "user-defined-in-image:x:1000:1000:Linux User,,,:/home/user-defined-in-image:/bin/sh\n",
		// getent asks what libc is told to, and not DNS alone.
		"etc/nsswitch.conf": "hosts: files dns\n",
		"etc/group":         "root:x:0:\nnobody:x:65534:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n",
	},
	more: withBusybox,
}

// busyboxSet is Debian's busybox, under all its names.
var busyboxSet = &packageSet{
	name: "busybox", packages: []string{"busybox-static"}, keep: inTestImage, more: withBusybox,
	files: map[string]string{"etc/passwd": rootAndNobody, "etc/group": "root:x:0:\nnobody:x:65534:\n"},
}

const rootAndNobody = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"

// Conformance makes the tests and their images, or finds that they are there. Of
// upstream's some thirty images it makes those that nearly all tests use, from the
// same module and from Debian's packages; the one of pause is the cluster's.
func Conformance(ctx context.Context, o Options) (*Suite, error) {
	tests := kubernetesProgram("e2e.test", "", "test/e2e")
	tests.test = true
	coredns := programs()
	coredns = coredns[slices.IndexFunc(coredns, func(p program) bool { return p.name == "coredns" }):][:1]
	all, err := o.collect(ctx, append([]program{tests, kubernetesProgram("agnhost", "", "test/images/agnhost")}, coredns...))
	if err != nil {
		return nil, err
	}
	debs, err := o.packages(ctx, agnhostSet, busyboxSet)
	if err != nil {
		return nil, err
	}
	module := exec.CommandContext(ctx, "go", "list", "-C", filepath.Join(o.Tools, "kubernetes"), "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes")
	module.Env = append(os.Environ(), "GOWORK=off") // as where programs are built
	dir, err := module.Output()
	if err != nil {
		return nil, fmt.Errorf("the folder of Kubernetes' module: %w", err)
	}
	porter := filepath.Join(strings.TrimSpace(string(dir)), "test", "images", "agnhost", "porter")
	s := &Suite{Program: all[0].path, Repositories: filepath.Join(o.Out, "conformance-repositories.yaml")}
	sums, err := checksums(slices.Concat(debs[agnhostSet.name], debs[busyboxSet.name], pathsOf(all[1:])))
	if err != nil {
		return nil, err
	}
	var made bytes.Buffer
	fmt.Fprintln(&made, "layout 1", agnhostTag, agnhostBefore, busyboxTag, glibcDNSTag)
	for _, set := range []*packageSet{agnhostSet, busyboxSet} {
		fmt.Fprintln(&made, set.name, set.links, set.files)
	}
	for _, path := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintln(&made, filepath.Base(path), sums[path])
	}
	inputs := sha256.Sum256(made.Bytes())
	s.Inputs = hex.EncodeToString(inputs[:])
	if old, err := readSuite(o.Out); err == nil && old.Inputs == s.Inputs && old.Program == s.Program && old.check(o.Out) == nil {
		o.Say("the conformance tests' images in %s are up to date", o.Out)
		return old, nil
	}
	for _, i := range []struct {
		name string
		tags []string
		make func() (v1.Image, error)
	}{
		{"agnhost", []string{agnhostTag, agnhostBefore}, func() (v1.Image, error) { return agnhost(all[1].path, all[2].path, porter, debs) }},
		{"busybox", []string{busyboxTag}, func() (v1.Image, error) { return testImage(busyboxSet, debs, nil, v1.Config{Cmd: []string{"sh"}}) }},
		{"glibc-dns-testing", []string{glibcDNSTag}, func() (v1.Image, error) {
			return testImage(agnhostSet, debs, map[string]string{"coredns": all[2].path}, v1.Config{Cmd: []string{"sh"}})
		}},
	} {
		o.Say("image %s:%s", i.name, i.tags[0])
		image, err := i.make()
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", i.name, err)
		}
		name := testImages + "/" + i.name
		for _, tag := range i.tags {
			digest, err := store(o.Out, name, tag, image)
			if err != nil {
				return nil, fmt.Errorf("image %s: %w", i.name, err)
			}
			s.Images = append(s.Images, Image{Name: name, Tag: tag, Digest: digest})
		}
	}
	if err := writeFile(s.Repositories, []byte(repositories())); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return s, writeFile(filepath.Join(o.Out, suiteName), append(data, '\n'))
}

// repositories names those that tests take images from (test/utils/image,
// RegistryList). None of them is on the internet.
func repositories() string {
	var b strings.Builder
	for _, r := range []struct{ key, folder string }{
		{"promoterE2eRegistry", "/" + testImages}, {"buildImageRegistry", "/build-image"}, {"gcRegistry", ""}, {"gcEtcdRegistry", ""},
		{"sigStorageRegistry", "/sig-storage"}, {"privateRegistry", "/private"}, {"dockerLibraryRegistry", "/library"}, {"cloudProviderGcpRegistry", "/gcp"},
	} {
		fmt.Fprintf(&b, "%s: %s%s\n", r.key, release.Registry, r.folder)
	}
	return b.String()
}

func readSuite(dir string) (*Suite, error) {
	data, err := os.ReadFile(filepath.Join(dir, suiteName))
	if err != nil {
		return nil, err
	}
	s := &Suite{}
	return s, json.Unmarshal(data, s)
}

// check finds whether all images are there.
func (s *Suite) check(dir string) error {
	for _, i := range s.Images {
		if err := verify(dir, i); err != nil {
			return err
		}
	}
	return nil
}

// inTestImage keeps what is inImage, and programs for everybody.
func inTestImage(name string) (string, bool) {
	to, ok := inImage(name)
	if ok {
		return to, true
	}
	for _, from := range []string{"./usr/bin/", "./bin/"} {
		if rest, ok := strings.CutPrefix(name, from); ok && rest != "" {
			return "usr/bin/" + rest, true
		}
	}
	return "", false
}

// withBusybox adds busybox under the names of all that it is, but for those that
// are there already, and the folders that anything may write to.
func withBusybox(found map[string]entry) error {
	const path = "usr/bin/busybox"
	program, ok := found[path]
	if !ok {
		return errors.New("the package busybox-static has no usr/bin/busybox")
	}
	dir, err := os.MkdirTemp("", "busybox-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "busybox")
	if err := os.WriteFile(file, program.data, 0o755); err != nil {
		return err
	}
	names, err := exec.Command(file, "--list").Output()
	if err != nil {
		return fmt.Errorf("busybox --list: %w", err)
	}
	for _, name := range strings.Fields(string(names)) {
		if _, there := found["usr/sbin/"+name]; there {
			continue
		}
		if _, there := found["usr/bin/"+name]; !there {
			found["usr/bin/"+name] = link("usr/bin/"+name, "busybox")
		}
	}
	found["tmp/"], found["root/"], found["uploads/"] = folder("tmp/", 0o1777), folder("root/", 0o755), folder("uploads/", 0o755)
	return nil
}

// agnhost is upstream's image of that name, as its Dockerfile says, on Debian's
// packages instead of Alpine's. What it lacks: iperf, and the registry that a few
// tests pull from (/var/registry), which is made of images on the internet.
func agnhost(program, coredns, porter string, debs map[string][]string) (v1.Image, error) {
	return testImage(agnhostSet, debs, map[string]string{
		"agnhost": program, "coredns": coredns,
		// What it serves by TLS under the name localhost.
		"localhost.crt": filepath.Join(porter, "localhost.crt"), "localhost.key": filepath.Join(porter, "localhost.key"),
	}, v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}})
}

// testImage is an image of Debian's packages and of files at its root, by their
// names.
func testImage(set *packageSet, debs map[string][]string, files map[string]string, c v1.Config) (v1.Image, error) {
	base, err := packageLayer(set, debs[set.name])
	if err != nil {
		return nil, err
	}
	layers := []v1.Layer{base}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		l, err := programLayer(files[name], name)
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return imageOf(layers, c)
}
