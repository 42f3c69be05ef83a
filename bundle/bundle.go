// Package bundle makes what a cluster without a way to the internet is made of:
// the programs of Kubernetes as files, and its images in the paths of the OCI
// distribution API, so that any web server is a registry for containerd.
//
// Programs come from a folder that the user names (official downloads, a
// mirror), or are built from the pinned modules below tools/. The package knows
// nothing of hosts and clusters; package kubeadm installs from a bundle.
package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// Index is bundle.json: what a bundle holds.
type Index struct {
	// Inputs is the checksum of all that the bundle was made of; with the same
	// inputs it is not made again.
	Inputs string `json:"inputs"`
	Files  []File `json:"files"`
	// Images are those under v2, each with the digest of its manifest.
	Images []Image `json:"images"`
}

// File is a program of the bundle.
type File struct {
	Path   string `json:"path"` // below the bundle, like files/kubernetes/v1.36.3/kubeadm
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Image is an image of the bundle.
type Image struct {
	Name   string `json:"name"` // like kube-apiserver
	Tag    string `json:"tag"`
	Digest string `json:"digest"`
}

// indexName is the file that tells what a bundle holds. It is written last: a
// bundle that has it is whole.
const indexName = "bundle.json"

// Options say where a bundle is made, and of what.
type Options struct {
	// Out is the folder of the bundle.
	Out string
	// Programs is a folder with ready programs, named as upstream names them
	// (kubeadm, etcd, flanneld ...). Each that is there and says to be of the
	// right version is taken; what is missing is built. Default: all are built.
	Programs string
	// Ready says to build none of them: what is at hand nowhere is a [Missing].
	Ready bool
	// Cache keeps what was built and downloaded.
	Cache string
	// Tools is the folder of the pinned modules, tools/ of this repository.
	Tools string
	// Say tells the user of work that takes long.
	Say func(format string, args ...any)
}

// Missing are programs that are neither among the user's own nor built yet, each
// with its version.
type Missing []string

func (m Missing) Error() string {
	return "not at hand: " + strings.Join(m, ", ") + "; make bundle builds them"
}

// Make makes the bundle, or finds that it is there already. Its error names the
// program or package that could not be had.
func Make(ctx context.Context, o Options) (*Index, error) {
	programs, err := o.collect(ctx, programs())
	if err != nil {
		return nil, err
	}
	packages, err := o.packages(ctx, packageSets()...)
	if err != nil {
		return nil, err
	}
	return o.assemble(programs, packages)
}

// assemble makes the bundle of programs and Debian packages that are at hand.
func (o Options) assemble(programs []program, packages map[string][]string) (*Index, error) {
	index := &Index{}
	sums, err := checksums(slices.Concat(slices.Concat(slices.Collect(maps.Values(packages))...), pathsOf(programs)))
	if err != nil {
		return nil, err
	}
	index.Inputs = inputs(sums, programs, packages)
	if old, err := Read(o.Out); err == nil && old.Inputs == index.Inputs && old.check(o.Out) == nil {
		o.Say("the bundle in %s is up to date", o.Out)
		return old, nil
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(o.Out, indexName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, p := range programs {
		if p.folder == "" {
			continue
		}
		rel := release.Program(p.folder, p.version, p.name)
		size, err := install(p.path, filepath.Join(o.Out, rel))
		if err != nil {
			return nil, err
		}
		index.Files = append(index.Files, File{Path: rel, SHA256: sums[p.path], Size: size})
	}
	for _, spec := range images() {
		o.Say("image %s:%s", spec.name, spec.tag)
		image, err := o.image(spec, programs, packages)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", spec.name, err)
		}
		digest, err := store(o.Out, spec.name, spec.tag, image)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", spec.name, err)
		}
		index.Images = append(index.Images, Image{Name: spec.name, Tag: spec.tag, Digest: digest})
	}
	return index, index.write(o.Out)
}

// Read returns the index of the bundle in a folder.
func Read(dir string) (*Index, error) {
	data, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		return nil, fmt.Errorf("%s is no whole bundle, make one with `make bundle`: %w", dir, err)
	}
	index := &Index{}
	if err := json.Unmarshal(data, index); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, indexName), err)
	}
	return index, nil
}

func (i *Index) write(dir string) error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	if err := i.writeSums(dir); err != nil {
		return err
	}
	path := filepath.Join(dir, indexName)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// writeSums writes what hosts check a bundle with: the checksums of programs and
// of manifests, which themselves hold those of everything else.
func (i *Index) writeSums(dir string) error {
	var b strings.Builder
	for _, f := range i.Files {
		fmt.Fprintf(&b, "%s  %s\n", f.SHA256, f.Path)
	}
	for _, image := range i.Images {
		fmt.Fprintf(&b, "%s  %s\n", strings.TrimPrefix(image.Digest, "sha256:"), release.Manifest(image.Name, image.Tag))
	}
	return writeFile(filepath.Join(dir, "SHA256SUMS"), []byte(b.String()))
}

// check finds whether everything that the index names is there.
func (i *Index) check(dir string) error {
	for _, f := range i.Files {
		if info, err := os.Stat(filepath.Join(dir, f.Path)); err != nil || info.Size() != f.Size {
			return fmt.Errorf("%s is missing or cut short", f.Path)
		}
	}
	for _, image := range i.Images {
		if err := verify(dir, image); err != nil {
			return err
		}
	}
	return nil
}

// inputs is the checksum of what a bundle is made of.
func inputs(sums map[string]string, programs []program, packages map[string][]string) string {
	h := sha256.New()
	fmt.Fprintln(h, "layout 1")
	for _, p := range programs {
		fmt.Fprintln(h, p.name, p.version, sums[p.path])
	}
	for _, set := range packageSets() {
		for _, p := range packages[set.name] {
			fmt.Fprintln(h, set.name, filepath.Base(p), sums[p])
		}
	}
	for _, s := range images() {
		var set packageSet
		if s.packages != nil {
			set = *s.packages
		}
		fmt.Fprintln(h, s.name, s.tag, strings.Join(s.programs, " "), set.name, set.links, set.files, strings.Join(s.entrypoint, " "))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func pathsOf(programs []program) []string {
	var paths []string
	for _, p := range programs {
		paths = append(paths, p.path)
	}
	return paths
}

// checksums are those of files, by path.
func checksums(paths []string) (map[string]string, error) {
	sums := map[string]string{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		sums[path] = hex.EncodeToString(h.Sum(nil))
	}
	return sums, nil
}

// install puts a program into a folder, whole or not at all: as a second name of
// the same file where that can be, so that it takes no room.
func install(from, to string) (int64, error) {
	info, err := os.Stat(from)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	part := to + ".new"
	for _, old := range []string{part, to} {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	if os.Link(from, to) == nil {
		return info.Size(), nil
	}
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return 0, err
	}
	return info.Size(), os.Rename(part, to)
}
