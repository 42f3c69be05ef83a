package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/halinux/halinux/archive"
	"github.com/halinux/halinux/components/kubeadm/release"
)

// architecture of programs and images: that of the machine that makes them.
const architecture = runtime.GOARCH

// packageSet is what an image takes of Debian's packages.
type packageSet struct {
	name     string
	packages []string
	// depends says to take all that these depend on, too.
	depends bool
	// keep is the path that a file of a package has in the image, if it is of use.
	keep func(name string) (string, bool)
	// links are made beside the packages' files, as a host's alternatives do.
	links map[string]string
	// files are texts that stand in none of the packages.
	files map[string]string
	// more adds what only the packages themselves can tell, if it is not nil.
	more func(map[string]entry) error
}

// entry is a file of a layer.
type entry struct {
	header *tar.Header
	data   []byte
}

// link is an entry of its own; names begin without a slash.
func link(name, to string) entry {
	return entry{header: &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777, ModTime: epoch, Format: tar.FormatPAX}}
}

func plainFile(name, text string) entry {
	return entry{&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: epoch, Format: tar.FormatPAX}, []byte(text)}
}

// folder is an entry that is there without files; its name ends with a slash.
func folder(name string, mode int64) entry {
	return entry{header: &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode, ModTime: epoch, Format: tar.FormatPAX}}
}

// nftSet has nft(8), iptables(8) and the libraries that they need: kube-proxy and
// flannel call one, and the other to clean up after it.
var nftSet = &packageSet{
	name: "nft",
	packages: []string{
		"iptables", "libbsd0", "libc6", "libedit2", "libgmp10", "libip4tc2", "libip6tc2", "libjansson4",
		"libmd0", "libmnl0", "libnetfilter-conntrack3", "libnfnetlink0", "libnftables1", "libnftnl11",
		"libtinfo6", "libxtables12", "nftables",
	},
	keep: inImage,
	links: map[string]string{
		"usr/sbin/ip6tables": "xtables-nft-multi", "usr/sbin/ip6tables-restore": "xtables-nft-multi", "usr/sbin/ip6tables-save": "xtables-nft-multi",
		"usr/sbin/iptables": "xtables-nft-multi", "usr/sbin/iptables-restore": "xtables-nft-multi", "usr/sbin/iptables-save": "xtables-nft-multi",
	},
}

// packageSets are all of them.
func packageSets() []*packageSet { return []*packageSet{mariadbSet, nftSet} }

// keyring signs Debian's releases.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// packages downloads what images need of Debian, of the release that nodes run
// ([release.Debian]) and not of this machine's: an older nft ends with a crash
// where it finds rules that a newer one has made. The result is by the set's name.
func (o Options) packages(ctx context.Context, sets ...*packageSet) (map[string][]string, error) {
	found := map[string][]string{}
	for _, set := range sets {
		files, err := o.download(ctx, set)
		if err != nil {
			return nil, err
		}
		found[set.name] = files
	}
	return found, nil
}

func (o Options) download(ctx context.Context, set *packageSet) ([]string, error) {
	dir := filepath.Join(o.Cache, "debs")
	apt, err := o.apt(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	files, missing, err := o.listed(apt, dir, set)
	if err != nil || len(missing) > 0 {
		// What the lists name may be gone from the archive.
		if text, err := apt("/", "-qq", "update"); err != nil {
			return nil, fmt.Errorf("apt-get update for Debian's %s: %w: %s", release.Debian, err, bytes.TrimSpace(text))
		}
		if files, missing, err = o.listed(apt, dir, set); err != nil {
			return nil, err
		}
	}
	if len(missing) > 0 {
		o.Say("downloading %s", strings.Join(missing, " "))
		if text, err := apt(dir, append([]string{"-qq", "download"}, missing...)...); err != nil {
			return nil, fmt.Errorf("apt-get download: %w: %s", err, bytes.TrimSpace(text))
		}
	}
	return files, nil
}

// listed are the files of the packages in a folder, and the packages whose files
// are not there yet.
func (o Options) listed(apt aptGet, dir string, set *packageSet) (files, missing []string, err error) {
	names, verb := set.packages, "download"
	if set.depends {
		verb = "install"
	}
	// Not in dir: apt leaves out what lies there already.
	list, err := apt("/", append([]string{"--print-uris", "-qq", "--no-install-recommends", verb}, names...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("packages of %s: Debian's %s does not have all: %w: %s", strings.Join(names, " "), release.Debian, err, bytes.TrimSpace(list))
	}
	for line := range strings.Lines(string(list)) {
		// 'address' name size checksum
		words := strings.Fields(line)
		if len(words) < 3 || !strings.HasPrefix(words[0], "'") {
			continue
		}
		name, _, _ := strings.Cut(words[1], "_")
		file := filepath.Join(dir, words[1])
		files = append(files, file)
		if info, err := os.Stat(file); err != nil || fmt.Sprint(info.Size()) != words[2] {
			missing = append(missing, name)
		}
	}
	if len(files) < len(names) || !set.depends && len(files) != len(names) {
		return nil, nil, fmt.Errorf("apt-get names %d files for the %d packages %s", len(files), len(names), strings.Join(names, " "))
	}
	slices.Sort(files)
	return files, missing, nil
}

// aptGet runs apt-get in a folder and returns what it said.
type aptGet func(dir string, args ...string) ([]byte, error)

// apt is apt-get for the nodes' release, with lists of its own in the cache: what
// the machine has installed and where it takes it from stays as it is.
func (o Options) apt(ctx context.Context) (aptGet, error) {
	machine, err := archive.Machine(ctx)
	if err != nil {
		return nil, err
	}
	root, err := filepath.Abs(filepath.Join(o.Cache, "apt-"+release.Debian))
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return nil, err
		}
	}
	config := machine.Config + fmt.Sprintf(`Dir::State::lists "%[1]s/lists";
Dir::State::status "/dev/null";
Dir::Cache "%[1]s";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
APT::Architecture "%[2]s";
APT::Architectures "%[2]s";
APT::Sandbox::User "root";
`, root, architecture)
	for name, text := range map[string]string{"apt.conf": config, "sources.list": machine.List(release.Debian, "signed-by="+keyring)} {
		if err := writeFile(filepath.Join(root, name), []byte(text)); err != nil {
			return nil, err
		}
	}
	return func(dir string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "APT_CONFIG="+filepath.Join(root, "apt.conf"))
		return cmd.CombinedOutput()
	}, nil
}

// packageLayer is a layer of what an image takes of Debian's packages.
func packageLayer(set *packageSet, packages []string) (v1.Layer, error) {
	fill, err := set.contents(packages)
	if err != nil {
		return nil, err
	}
	return layer(fill)
}

// contents reads the packages, and returns what writes their part of an image.
func (set *packageSet) contents(packages []string) (func(*tar.Writer) error, error) {
	found := map[string]entry{}
	for _, deb := range packages {
		text, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(deb), err)
		}
		r := tar.NewReader(bytes.NewReader(text))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(deb), err)
			}
			name, ok := set.keep(h.Name)
			if !ok || (h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink) {
				continue
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Base(deb), err)
			}
			to := h.Linkname
			if path.IsAbs(to) { // Debian 12's /lib64/ld-linux-x86-64.so.2 and the like
				to = strings.Replace(to, "/lib/", "/usr/lib/", 1)
			}
			found[name] = entry{&tar.Header{
				Name: name, Typeflag: h.Typeflag, Linkname: to, Mode: h.Mode & 0o755, Size: int64(len(data)), ModTime: epoch, Format: tar.FormatPAX,
			}, data}
		}
	}
	if err := set.complete(func(yield func(string, []byte) bool) {
		for name, e := range found {
			if !yield(name, e.data) {
				return
			}
		}
	}); err != nil {
		return nil, err
	}
	for name, target := range set.links {
		found[name] = link(name, target)
	}
	for name, text := range set.files {
		found[name] = plainFile(name, text)
	}
	if set.more != nil {
		if err := set.more(found); err != nil {
			return nil, err
		}
	}
	return writeEntries(found), nil
}

// writeEntries writes files, and the links that Debian has beside /usr.
func writeEntries(found map[string]entry) func(*tar.Writer) error {
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return func(w *tar.Writer) error {
		seen := map[string]bool{}
		for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
			if err := w.WriteHeader(link(dir, "usr/"+dir).header); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := folders(w, seen, strings.TrimSuffix(name, "/")); err != nil {
				return err
			}
			if err := w.WriteHeader(found[name].header); err != nil {
				return err
			}
			if _, err := w.Write(found[name].data); err != nil {
				return err
			}
		}
		return nil
	}
}

// inImage is the path that a file of a package has in an image, where only
// programs and libraries are of use, all below /usr.
func inImage(name string) (string, bool) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if !strings.HasPrefix(name, "usr/") {
		name = "usr/" + name
	}
	switch {
	case strings.HasPrefix(name, "usr/lib/") && strings.Contains(name, "/gconv/"):
		return "", false
	case strings.HasPrefix(name, "usr/sbin/"), strings.HasPrefix(name, "usr/lib64/"):
		return name, true
	case strings.HasPrefix(name, "usr/lib/"):
		return name, strings.Contains(path.Base(name), ".so")
	}
	return "", false
}

// complete fails where a program or library needs a library that is not there.
func (set *packageSet) complete(files func(func(name string, data []byte) bool)) error {
	have, needed := map[string]bool{}, map[string]string{}
	files(func(name string, data []byte) bool {
		have[path.Base(name)] = true
		f, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return true // a link, or a script
		}
		libraries, err := f.ImportedLibraries()
		if err != nil {
			return true
		}
		for _, l := range libraries {
			needed[l] = name
		}
		return true
	})
	var missing []string
	for l, by := range needed {
		if !have[l] {
			missing = append(missing, l+" (for "+by+")")
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		return fmt.Errorf("the packages of %s lack %s; add its package to them", set.name, strings.Join(missing, ", "))
	}
	return nil
}
