package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/halinux/halinux/archive"
)

// guestFiles are what hosts of the lab have beside Debian: under guest/vm those
// of virtual machines, under guest/container those of containers, and those of
// hosts that run pods, by what they are, under guest/pods and guest/umlpods.
//
//go:embed all:guest
var guestFiles embed.FS

// umlDir is the root folder that user-mode Linux and its libraries live in,
// taken from sid: older ones do not start on every CPU.
func (l *Lab) umlDir() string { return l.imageDir("uml", "sid", "user-mode-linux") }

// diskDir holds a virtual machine's root disk, shared and read-only.
func (l *Lab) diskDir(h *Host) string {
	inputs := append(l.diskInputs(h), l.umlDir())
	if h.needsPods() {
		inputs = append(inputs, l.filterDir())
	}
	return l.imageDir("disk", inputs...)
}

// kvmDiskDir is the same for virtual machines under kvm.
func (l *Lab) kvmDiskDir(h *Host) string {
	return l.imageDir("kvmdisk", append(l.diskInputs(h), l.kernelDir())...)
}

func (l *Lab) diskInputs(h *Host) []string {
	inputs := []string{l.baseDir()}
	if len(h.Packages) > 0 {
		inputs = append(inputs, l.layerDir(h))
	}
	fs.WalkDir(guestFiles, guestVM, func(path string, e fs.DirEntry, err error) error {
		if data, err := guestFiles.ReadFile(path); err == nil {
			inputs = append(inputs, path, string(data))
		}
		return nil
	})
	return inputs
}

func (l *Lab) buildUML(ctx context.Context, s archive.Sources, dir string) error {
	root := filepath.Join(dir, "root")
	if err := extractSid(ctx, s, dir, root, "user-mode-linux", "libc6", "base-files"); err != nil {
		return err
	}
	for _, name := range []string{"bin", "lib", "lib64"} {
		if _, err := os.Lstat(filepath.Join(root, name)); errors.Is(err, os.ErrNotExist) {
			if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
				return err
			}
		}
	}
	// Mount points of a host's own files.
	for _, name := range []string{"lab/run", "lab/disk", "dev", "tmp", "proc"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// extractSid unpacks packages of sid, and what they depend on, without installing them.
func extractSid(ctx context.Context, s archive.Sources, dir, root string, packages ...string) error {
	config := filepath.Join(dir, "apt.conf")
	// A stored index of sid may be past its date.
	if err := writeFile(config, []byte(s.Config+"Acquire::Check-Valid-Until \"false\";\n"), 0o644); err != nil {
		return err
	}
	cmd := builder(ctx, dir, "mmdebstrap", "--quiet", "--variant=extract", "--aptopt="+config,
		"--include="+strings.Join(packages, ","), "sid", root, "-")
	cmd.Stdin = strings.NewReader(sid(s))
	if err := run(cmd); err != nil {
		return err
	}
	return os.Remove(config)
}

// diskSize of a virtual machine's root disk. It is sparse.
const diskSize = "8G"

// buildDisk makes the root disk for user-mode Linux.
func (l *Lab) buildDisk(ctx context.Context, h *Host, dir string) error {
	return l.buildRootDisk(ctx, h, dir, func(root string) error {
		if err := run(inChroot(ctx, root, "systemctl", "enable", "lab-links.service")); err != nil {
			return err
		}
		kernel, err := l.umlKernel()
		if err != nil {
			return err
		}
		modules := filepath.Join(root, "usr/lib/modules")
		if err := os.MkdirAll(modules, 0o755); err != nil {
			return err
		}
		if err := run(builder(ctx, dir, "cp", "-a", kernel, modules)); err != nil {
			return err
		}
		release := filepath.Base(kernel)
		if h.needsPods() {
			if err := run(builder(ctx, dir, "cp", "-a", filepath.Join(l.filterDir(), "modules/."), filepath.Join(modules, release))); err != nil {
				return err
			}
		}
		return run(inChroot(ctx, root, "depmod", release))
	})
}

// buildKVMDisk makes the root disk for kvm.
func (l *Lab) buildKVMDisk(ctx context.Context, h *Host, dir string) error {
	versions, err := filepath.Glob(filepath.Join(l.kernelDir(), "upper/usr/lib/modules/*"))
	if err != nil || len(versions) != 1 {
		return fmt.Errorf("modules of the kernel: found %v: %w", versions, err)
	}
	return l.buildRootDisk(ctx, h, dir, func(root string) error {
		modules := filepath.Join(root, "usr/lib/modules")
		if err := os.MkdirAll(modules, 0o755); err != nil {
			return err
		}
		return run(builder(ctx, dir, "cp", "-a", versions[0], modules))
	})
}

// buildRootDisk makes a file system of the base, the packages, what virtual
// machines have beside, and what finish adds.
func (l *Lab) buildRootDisk(ctx context.Context, h *Host, dir string, finish func(root string) error) (err error) {
	merged, upper, work := filepath.Join(dir, "root"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{merged, upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	lower := []string{filepath.Join(l.baseDir(), "root")}
	if len(h.Packages) > 0 {
		lower = append([]string{filepath.Join(l.layerDir(h), "upper")}, lower...)
	}
	if err := mountOverlay(merged, upper, work, lower...); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, unmountBelow(merged), os.RemoveAll(upper), os.RemoveAll(work), os.Remove(merged))
	}()
	guest, err := guestSeed(guestVM)
	if err != nil {
		return err
	}
	if err := plant(merged, guest); err != nil {
		return err
	}
	if err := finish(merged); err != nil {
		return err
	}
	image := filepath.Join(dir, "root.img")
	if err := run(builder(ctx, dir, "truncate", "-s", diskSize, image)); err != nil {
		return err
	}
	return run(builder(ctx, dir, "mkfs.ext4", "-q", "-O", "^metadata_csum", "-E", "lazy_itable_init=1,lazy_journal_init=1", "-d", merged, image))
}

const (
	guestVM        = "guest/vm"
	guestContainer = "guest/container"
	guestPods      = "guest/pods"
	guestUMLPods   = "guest/umlpods"
)

// guestSeed are guestFiles as files of a root folder.
func guestSeed(dir string) ([]seedFile, error) {
	var files []seedFile
	err := fs.WalkDir(guestFiles, dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := guestFiles.ReadFile(path)
		f := seedFile{path: strings.TrimPrefix(path, dir+"/"), mode: 0o644, data: data}
		if bytes.HasPrefix(data, []byte("#!")) {
			f.mode = 0o755 // embedding forgets it
		}
		files = append(files, f)
		return err
	})
	return files, err
}

// writeSeedDisk writes a seed as a disk that the guest unpacks at its first boot.
func writeSeedDisk(path string, files []seedFile) error {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, f := range files {
		header := &tar.Header{Name: f.path, Mode: int64(f.mode), Size: int64(len(f.data)), ModTime: time.Now(), Typeflag: tar.TypeReg}
		if strings.HasPrefix(f.path, "root/.ssh/") {
			if err := w.WriteHeader(&tar.Header{Name: "root/.ssh/", Mode: 0o700, Typeflag: tar.TypeDir, ModTime: time.Now()}); err != nil {
				return err
			}
		}
		if f.link != "" {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, f.link, 0
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if f.link == "" {
			if _, err := w.Write(f.data); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return writeFile(path, buffer.Bytes(), 0o600)
}
