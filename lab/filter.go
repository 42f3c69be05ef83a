package lab

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/halinux/halinux/archive"
)

// filterScript makes the modules of filterDir.
//
//go:embed filter.sh
var filterScript string

// filterPackages compile them.
var filterPackages = []string{"bc", "bison", "flex", "gcc", "libc6-dev", "make", "xz-utils"}

// filterDir holds the packet filter of user-mode Linux, which Debian's kernel is
// built without: a node of Kubernetes sends packets to services by it.
func (l *Lab) filterDir() string {
	return l.imageDir("filter", l.umlDir(), l.baseDir(), filterScript, strings.Join(filterPackages, " "))
}

// umlKernel is the folder with the modules of user-mode Linux. Its name is the
// kernel's release.
func (l *Lab) umlKernel() (string, error) {
	found, err := filepath.Glob(filepath.Join(l.umlDir(), "root/usr/lib/uml/modules/*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("modules of user-mode Linux: found %v: %w", found, err)
	}
	return found[0], nil
}

// sourcePackage is Debian's package with the source of a kernel's series.
func sourcePackage(release string) (string, error) {
	parts := strings.Split(release, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("user-mode Linux has the release %q, not one like 7.2.7", release)
	}
	return "linux-source-" + strings.Join(parts[:2], "."), nil
}

func (l *Lab) buildFilter(ctx context.Context, s archive.Sources, dir string) error {
	modules, err := l.umlKernel()
	if err != nil {
		return err
	}
	release := filepath.Base(modules)
	name, err := sourcePackage(release)
	if err != nil {
		return err
	}
	source, upper := filepath.Join(dir, "source"), filepath.Join(dir, "upper")
	if err := extractSid(ctx, s, dir, source, name); err != nil {
		return fmt.Errorf("the source of user-mode Linux's kernel %s: %w", release, err)
	}
	if err := l.withBuildRoot(ctx, s, upper, dir, func(root string) error {
		if err := run(inChroot(ctx, root, append([]string{"apt-get", "-qq", "-y", "install"}, filterPackages...)...)); err != nil {
			return err
		}
		tree := filepath.Join(root, "linux")
		if err := os.Mkdir(tree, 0o755); err != nil {
			return err
		}
		packed, err := os.Open(filepath.Join(source, "usr/src", name+".tar.xz"))
		if err != nil {
			return err
		}
		defer packed.Close()
		// Drivers and file systems are of interest to their Kconfig only.
		unpack := inChroot(ctx, root, "tar", "-xJ", "-C", "/linux", "--strip-components=1",
			"--exclude=*/drivers/*.[ch]", "--exclude=*/sound/*.[ch]", "--exclude=*/fs/*.c", "--exclude=*.dts*",
			"--exclude=*/Documentation/*", "--exclude=*/tools/testing/*", "--exclude=*/tools/perf/*")
		unpack.Env = append(unpack.Env, buildMark(dir))
		unpack.Stdin = packed
		if err := run(unpack); err != nil {
			return err
		}
		if err := gunzip(filepath.Join(l.umlDir(), "root/usr/share/doc/user-mode-linux/config.gz"), filepath.Join(tree, ".config")); err != nil {
			return err
		}
		cmd := inChroot(ctx, root, "sh", "-s", release)
		cmd.Env = append(cmd.Env, buildMark(dir))
		cmd.Stdin = strings.NewReader(filterScript)
		return run(cmd)
	}); err != nil {
		return err
	}
	return errors.Join(
		os.Rename(filepath.Join(upper, "modules"), filepath.Join(dir, "modules")),
		os.RemoveAll(source), os.RemoveAll(upper))
}

// gunzip unpacks one file.
func gunzip(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if data, err = io.ReadAll(r); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(to, data, 0o644)
}
