package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halinux/halinux/archive"
)

// imageVersion is part of every image's key. Raise it when the way an image is
// made changes.
const imageVersion = "1"

// basePackages make a bare Debian as an administrator gets it: what the cloud
// images have, and nothing that a platform is there to install.
var basePackages = []string{
	"apt", "ca-certificates", "dbus", "e2fsprogs", "init", "iproute2",
	"iputils-ping", "kmod", "less", "libpam-systemd", "netbase",
	"openssh-server", "procps", "python3", "python3-apt", "sudo", "systemd",
	"systemd-sysv", "tzdata", "udev",
}

func (l *Lab) imageDir(kind string, inputs ...string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", imageVersion, kind)
	for _, in := range inputs {
		fmt.Fprintf(h, "%d:%s\n", len(in), in)
	}
	return filepath.Join(l.cache, "image", kind+"-"+hex.EncodeToString(h.Sum(nil))[:16])
}

// baseDir is the root folder that all hosts share, read-only.
func (l *Lab) baseDir() string {
	return l.imageDir("base", release, strings.Join(basePackages, " "))
}

// layerDir holds what installing a host's packages adds to the base.
func (l *Lab) layerDir(h *Host) string {
	words := func(list []string) string {
		return strings.Join(slices.Compact(slices.Sorted(slices.Values(list))), " ")
	}
	inputs := []string{l.baseDir(), words(h.Packages)}
	if len(h.Disabled) > 0 {
		inputs = append(inputs, words(h.Disabled))
	}
	return l.imageDir("layer", inputs...)
}

// Build makes every image that is not there yet of those that the hosts without
// a group and the groups given need.
func (l *Lab) Build(ctx context.Context, groups ...string) error {
	names, err := l.topology.namesOf(groups)
	if err != nil {
		return err
	}
	// Another lab's build, which may take minutes, is none of ours then.
	if l.built(names) {
		return nil
	}
	var held *os.File
	if err := l.progress.wait("another image build", func() (err error) {
		held, err = lock(ctx, filepath.Join(l.cache, "image", ".lock"))
		return err
	}); err != nil {
		return fmt.Errorf("wait for another image build: %w", err)
	}
	defer held.Close()
	if err := l.clearBuilds(); err != nil {
		return err
	}
	// Asked for only when something is to be built: it takes a second.
	var src archive.Sources
	from := func() (archive.Sources, error) {
		if src.Main == "" {
			src, err = archive.Machine(ctx)
		}
		return src, err
	}
	if err := l.buildImage("base system", l.baseDir(), func(dir string) error {
		s, err := from()
		if err != nil {
			return err
		}
		return l.buildBase(ctx, s, dir)
	}); err != nil {
		return err
	}
	for _, name := range names {
		h := l.topology.Hosts[name]
		if len(h.Packages) == 0 {
			continue
		}
		what := "packages " + strings.Join(h.Packages, " ")
		if err := l.buildImage(what, l.layerDir(h), func(dir string) error {
			s, err := from()
			if err != nil {
				return err
			}
			return l.buildLayer(ctx, s, h, dir)
		}); err != nil {
			return err
		}
	}
	if err := l.buildMachines(ctx, names, from); err != nil {
		return err
	}
	if err := l.buildMirror(ctx, from); err != nil {
		return err
	}
	return l.pruneImages(time.Now())
}

// built tells whether every image is there already, and marks them as asked for.
func (l *Lab) built(names []string) bool {
	if answer := l.kvmAnswer(); l.wantsKVM() && (answer == kvmUnknown || answer == kvmGuest || os.Getenv("LAB_DRIVER") == "kvm" && answer != kvmYes) {
		return false // it has to be tried first
	}
	dirs := []string{l.baseDir(), l.mirrorDir()}
	for _, name := range names {
		h := l.topology.Hosts[name]
		if len(h.Packages) > 0 {
			dirs = append(dirs, l.layerDir(h))
		}
		switch l.driver(h).(type) {
		case uml:
			dirs = append(dirs, l.umlDir(), l.diskDir(h))
			if h.needsPods() {
				dirs = append(dirs, l.filterDir())
			}
		case kvm:
			dirs = append(dirs, l.kernelDir(), l.kvmDiskDir(h))
		}
	}
	for _, dir := range dirs {
		if os.Chtimes(dir, time.Time{}, time.Now()) != nil { // see pruneImages
			return false
		}
	}
	return true
}

// keepImages is how long an image is kept that nothing uses: switching between
// two topologies, or two versions of this program, should not build it each time.
const keepImages = 48 * time.Hour

// pruneImages removes the images that no lab on this machine uses, and that have
// not been asked for in a while.
func (l *Lab) pruneImages(now time.Time) error {
	used := map[string]bool{}
	for _, pattern := range []string{"*/hosts/*/image", "*/mirror.served"} {
		records, err := filepath.Glob(filepath.Join(l.cache, "lab", pattern))
		if err != nil {
			return err
		}
		for _, record := range records {
			data, err := os.ReadFile(record)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("images in use: %w", err)
			}
			for line := range strings.Lines(string(data)) {
				rel, err := filepath.Rel(filepath.Join(l.cache, "image"), strings.TrimSpace(line))
				if err == nil {
					name, _, _ := strings.Cut(rel, "/")
					used[name] = true
				}
			}
		}
	}
	images, err := os.ReadDir(filepath.Join(l.cache, "image"))
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, image := range images {
		info, err := image.Info()
		if err != nil {
			return err
		}
		if !image.IsDir() || used[image.Name()] || now.Sub(info.ModTime()) < keepImages {
			continue
		}
		l.progress.say("remove the image %s, not used since %s", image.Name(), info.ModTime().Format(time.DateTime))
		// By the name of an unfinished build, which is cleared if we are killed.
		dir := filepath.Join(l.cache, "image", image.Name())
		gone := filepath.Join(l.cache, "image", ".build-"+image.Name())
		if err := os.Rename(dir, gone); err != nil {
			return fmt.Errorf("remove old image: %w", err)
		}
		if err := os.RemoveAll(gone); err != nil {
			return fmt.Errorf("remove old image: %w", err)
		}
	}
	return nil
}

// buildMachines makes what virtual machines boot.
func (l *Lab) buildMachines(ctx context.Context, names []string, from func() (archive.Sources, error)) error {
	built := func(what, dir string, build func(context.Context, archive.Sources, string) error) error {
		return l.buildImage(what, dir, func(dir string) error {
			s, err := from()
			if err != nil {
				return err
			}
			return build(ctx, s, dir)
		})
	}
	if err := l.firstKVMTry(ctx); err != nil {
		return err
	}
	if l.wantsKVM() && l.kvmAnswer() == kvmGuest {
		if err := built("kernel of virtual machines", l.kernelDir(), l.buildKernel); err != nil {
			return err
		}
		if err := l.secondKVMTry(ctx); err != nil {
			return err
		}
	}
	if os.Getenv("LAB_DRIVER") == "kvm" && l.kvmAnswer() != kvmYes {
		return fmt.Errorf("LAB_DRIVER=kvm, but kvm does not work here: %q", l.kvmAnswer())
	}
	for _, name := range names {
		h := l.topology.Hosts[name]
		switch l.driver(h).(type) {
		case uml:
			if err := built("user-mode Linux", l.umlDir(), l.buildUML); err != nil {
				return err
			}
			if h.needsPods() {
				if err := built("the packet filter of user-mode Linux", l.filterDir(), l.buildFilter); err != nil {
					return err
				}
			}
			if err := l.buildImage("disk of "+name, l.diskDir(h), func(dir string) error {
				return l.buildDisk(ctx, h, dir)
			}); err != nil {
				return err
			}
		case kvm:
			if err := built("kernel of virtual machines", l.kernelDir(), l.buildKernel); err != nil {
				return err
			}
			if err := l.buildImage("disk of "+name, l.kvmDiskDir(h), func(dir string) error {
				return l.buildKVMDisk(ctx, h, dir)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildImage makes a folder at once or not at all.
func (l *Lab) buildImage(what, dir string, build func(dir string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return os.Chtimes(dir, time.Time{}, time.Now()) // see pruneImages
	}
	tmp := filepath.Join(filepath.Dir(dir), ".build-"+filepath.Base(dir))
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return fmt.Errorf("image folder: %w", err)
	}
	return l.progress.step("build "+what, func() error {
		if err := build(tmp); err != nil {
			return errors.Join(err, l.clearBuilds())
		}
		return os.Rename(tmp, dir)
	})
}

// clearOrphanedBuilds removes what an interrupted build left, unless one is
// going on.
func (l *Lab) clearOrphanedBuilds() error {
	path := filepath.Join(l.cache, "image", ".lock")
	if locked(path) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	held, err := lock(ctx, path)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		return err
	}
	defer held.Close()
	return l.clearBuilds()
}

// buildMark is in the environment of the programs that make an image, and of
// those that they start, so that a build that lost its parent can be ended.
func buildMark(dir string) string { return "LAB_BUILD=" + dir }

// builder is a program that makes the image in dir.
func builder(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	// Its temporary files go with the folder if it is killed.
	cmd.Env = append(os.Environ(), buildMark(dir), "TMPDIR="+dir)
	return cmd
}

// clearBuilds removes what an interrupted build left.
func (l *Lab) clearBuilds() error {
	pattern := filepath.Join(l.cache, "image", ".build-*")
	leftovers, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, dir := range leftovers {
		if err := killBuilders(dir); err != nil {
			return err
		}
		if err := unmountBelow(dir); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clear old build: %w", err)
		}
	}
	return nil
}

func (l *Lab) buildBase(ctx context.Context, s archive.Sources, dir string) error {
	root := filepath.Join(dir, "root")
	config := filepath.Join(dir, "apt.conf")
	if err := writeFile(config, []byte(s.Config), 0o644); err != nil {
		return err
	}
	cmd := builder(ctx, dir, "mmdebstrap", "--quiet", "--variant=minbase",
		"--aptopt="+config, "--aptopt=APT::Install-Recommends \"false\"",
		"--dpkgopt=force-unsafe-io",
		"--include="+strings.Join(basePackages, ","), release, root, "-")
	cmd.Stdin = strings.NewReader(s.List(release, ""))
	if err := run(cmd); err != nil {
		return err
	}
	// What makes a host itself is given to each at its first boot; what tells
	// where packages come from is the platform's business.
	gone := []string{
		"etc/apt/sources.list", "etc/machine-id", "etc/hostname", "etc/resolv.conf",
		"var/lib/dbus/machine-id", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
	}
	keys, err := filepath.Glob(filepath.Join(root, "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	for _, key := range keys {
		gone = append(gone, strings.TrimPrefix(key, root+"/"))
	}
	for _, name := range gone {
		if err := os.Remove(filepath.Join(root, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := run(inChroot(ctx, root, "systemctl", "enable", "systemd-networkd.service")); err != nil {
		return err
	}
	return os.Remove(config)
}

func (l *Lab) buildLayer(ctx context.Context, s archive.Sources, h *Host, dir string) error {
	upper := filepath.Join(dir, "upper")
	return l.withBuildRoot(ctx, s, upper, dir, func(root string) error {
		install := append([]string{"apt-get", "-qq", "-y", "install"}, h.Packages...)
		if err := run(inChroot(ctx, root, install...)); err != nil {
			return err
		}
		if len(h.Disabled) > 0 {
			if err := run(inChroot(ctx, root, append([]string{"systemctl", "disable"}, h.Disabled...)...)); err != nil {
				return err
			}
		}
		return errors.Join(removeGlob(filepath.Join(root, "var/lib/apt/lists/*")), removeGlob(filepath.Join(root, "var/cache/apt/*.bin")))
	})
}

// withBuildRoot lays a writable folder over the base, with what apt needs to
// download, for as long as f runs.
func (l *Lab) withBuildRoot(ctx context.Context, s archive.Sources, upper, dir string, f func(root string) error) (err error) {
	root, work := filepath.Join(dir, "root"), filepath.Join(dir, "work")
	for _, d := range []string{upper, root, work, filepath.Join(l.cache, "debs", "partial")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := mountOverlay(root, upper, work, filepath.Join(l.baseDir(), "root")); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, unmountBelow(root), os.RemoveAll(work), os.Remove(root))
	}()
	remove, err := installSources(s, root)
	defer func() { err = errors.Join(err, remove()) }()
	if err != nil {
		return err
	}
	for _, m := range []struct{ source, target, fstype string }{
		{"proc", "proc", "proc"}, {"/dev", "dev", ""}, {filepath.Join(l.cache, "debs"), "var/cache/apt/archives", ""},
	} {
		flags := uintptr(0)
		if m.fstype == "" {
			flags = unix.MS_BIND
		}
		target := filepath.Join(root, m.target)
		if err := unix.Mount(m.source, target, m.fstype, flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
		defer func() { err = errors.Join(err, unix.Unmount(target, unix.MNT_DETACH)) }()
	}
	if err := run(inChroot(ctx, root, "apt-get", "-qq", "update")); err != nil {
		return err
	}
	return f(root)
}

// inChroot is a command inside a root folder, deaf to the machine's settings.
func inChroot(ctx context.Context, root string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "chroot", append([]string{root}, argv...)...)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_IGNORE_CHROOT=0",
	}
	return cmd
}

func removeGlob(pattern string) error {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}
