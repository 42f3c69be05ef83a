package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/halinux/halinux/archive"
)

// release is the Debian release that hosts run.
const release = "trixie"

// sid is the sources.list of the release that has the newest kernels.
func sid(s archive.Sources) string { return fmt.Sprintf("deb %s sid main\n", s.Main) }

// installSources writes what a chroot needs to reach the archive as the machine
// does. What it returns takes all of it away again.
func installSources(s archive.Sources, root string) (remove func() error, err error) {
	files := map[string]string{
		"etc/apt/sources.list.d/lab-build.list": s.List(release, ""),
		"etc/apt/apt.conf.d/99lab-build":        s.Config + "APT::Install-Recommends \"false\";\nDPkg::Options:: \"--force-unsafe-io\";\n",
		"usr/sbin/policy-rc.d":                  "#!/bin/sh\nexit 101\n",
	}
	for _, name := range []string{"etc/resolv.conf", "etc/apt/auth.conf"} {
		if data, err := os.ReadFile("/" + name); err == nil {
			files[name] = string(data)
		}
	}
	remove = func() error {
		var errs []error
		for name := range files {
			errs = append(errs, os.Remove(filepath.Join(root, name)))
		}
		return errors.Join(errs...)
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		mode := os.FileMode(0o644)
		if name == "usr/sbin/policy-rc.d" {
			mode = 0o755
		}
		if err := writeFile(path, []byte(content), mode); err != nil {
			return remove, fmt.Errorf("prepare chroot: %w", err)
		}
	}
	return remove, nil
}
