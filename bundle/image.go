package bundle

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// imageSpec is one image: programs, perhaps over a layer of Debian's packages.
type imageSpec struct {
	name, tag  string
	programs   []string
	entrypoint []string
	packages   *packageSet // what it takes of Debian; nil for nothing
}

// images are those of a cluster, named as kubeadm expects them below an image
// repository of one's own. Their pods name the program to run, but for those
// with an entry point.
func images() []imageSpec {
	return []imageSpec{
		{name: "pause", tag: release.Pause, programs: []string{"pause"}, entrypoint: []string{"/usr/local/bin/pause"}},
		{name: "etcd", tag: release.Etcd, programs: []string{"etcd", "etcdctl", "etcdutl"}},
		{name: "kube-apiserver", tag: release.Kubernetes, programs: []string{"kube-apiserver"}},
		{name: "kube-controller-manager", tag: release.Kubernetes, programs: []string{"kube-controller-manager"}},
		{name: "kube-scheduler", tag: release.Kubernetes, programs: []string{"kube-scheduler"}},
		{name: "kube-proxy", tag: release.Kubernetes, programs: []string{"kube-proxy"}, packages: nftSet},
		{name: "coredns", tag: release.CoreDNS, programs: []string{"coredns"}, entrypoint: []string{"/usr/local/bin/coredns"}},
		{name: "hello", tag: release.Hello, programs: []string{"hello"}, entrypoint: []string{"/usr/local/bin/hello"}},
		{name: "galera-node", tag: release.GaleraNode, programs: []string{"galera-node"}, entrypoint: []string{"/usr/local/bin/galera-node"}},
		{name: "mariadb", tag: release.MariaDB, packages: mariadbSet},
		{name: "nfs-provisioner", tag: release.NFSProvisioner, programs: []string{"nfs-provisioner"}, entrypoint: []string{"/usr/local/bin/nfs-provisioner"}},
		{name: "registry", tag: release.Distribution, programs: []string{"registry"}, entrypoint: []string{"/usr/local/bin/registry"}},
		{name: "todo", tag: release.Todo, programs: []string{"todo"}, entrypoint: []string{"/usr/local/bin/todo"}},
		{name: "traefik", tag: release.Traefik, programs: []string{"traefik"}, entrypoint: []string{"/usr/local/bin/traefik"}},
		{name: "flannel", tag: release.Flannel, programs: []string{"flanneld"}, entrypoint: []string{"/usr/local/bin/flanneld"}, packages: nftSet},
	}
}

// image makes an image; equal programs and packages give equal bytes.
func (o Options) image(s imageSpec, programs []program, packages map[string][]string) (v1.Image, error) {
	var layers []v1.Layer
	if s.packages != nil && packages != nil {
		layer, err := packageLayer(s.packages, packages[s.packages.name])
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	for _, name := range s.programs {
		i := slices.IndexFunc(programs, func(p program) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no program %s", name)
		}
		layer, err := programLayer(programs[i].path, "usr/local/bin/"+name)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	return imageOf(layers, v1.Config{Entrypoint: s.entrypoint})
}

// imageOf makes an image of layers.
func imageOf(layers []v1.Layer, c v1.Config) (v1.Image, error) {
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	image, err := mutate.AppendLayers(image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Config = c
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return mutate.ConfigFile(image, config)
}

// programLayer is a layer of one program.
func programLayer(path, name string) (v1.Layer, error) {
	return layer(func(w *tar.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := folders(w, map[string]bool{}, name); err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size(), ModTime: epoch, Format: tar.FormatPAX}); err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return err
	})
}

// epoch is the time of everything in an image, so that it is the same each time.
var epoch = time.Unix(0, 0).UTC()

// folders writes the folders that a path lies in, those that are not there yet.
func folders(w *tar.Writer, seen map[string]bool, name string) error {
	dir := filepath.Dir(name)
	if dir == "." || seen[dir] {
		return nil
	}
	if err := folders(w, seen, dir); err != nil {
		return err
	}
	seen[dir] = true
	return w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch, Format: tar.FormatPAX})
}

// layer makes a layer of what fill writes. Compressed by zstd, which costs a
// node a fifth of gzip's time to undo.
func layer(fill func(*tar.Writer) error) (v1.Layer, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	if err := fill(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil },
		tarball.WithCompression(compression.ZStd), tarball.WithCompressionLevel(1), tarball.WithMediaType(types.OCILayerZStd), tarball.WithCompressedCaching)
}
