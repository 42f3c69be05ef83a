package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// release is the Debian release that hosts run.
const release = "trixie"

// sources are the places that the machine's own apt knows Debian's archive by,
// written for the release of the hosts.
type sources struct {
	archive  string // address of the archive
	security string // address of the security archive, empty when the machine has none
	config   string // how the machine's apt reaches them: proxies, timeouts, retries
}

// machineSources asks apt, which understands every form of its own
// configuration, and knows by the signed Release files what is Debian's.
func machineSources(ctx context.Context) (sources, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format",
		"$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return sources{}, fmt.Errorf("ask apt for its sources: %w", err)
	}
	s := parseIndexTargets(string(out))
	if s.archive == "" {
		return sources{}, errors.New("apt knows no Debian archive, look into /etc/apt and run: apt-get update")
	}
	dump, err := exec.CommandContext(ctx, "apt-config", "dump", "--format", "%F %v%n").Output()
	if err != nil {
		return sources{}, fmt.Errorf("ask apt for its configuration: %w", err)
	}
	for line := range strings.Lines(string(dump)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "Acquire::") && value != "" && !strings.Contains(name, "Languages") &&
			!strings.HasPrefix(name, "Acquire::IndexTargets") && !strings.HasPrefix(name, "Acquire::Changelogs") &&
			!strings.HasPrefix(name, "Acquire::CompressionTypes") {
			s.config += fmt.Sprintf("%s %q;\n", name, value)
		}
	}
	return s, nil
}

func parseIndexTargets(out string) sources {
	var s sources
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 4 || f[0] != "Debian" || f[2] != "main" {
			continue
		}
		switch uri := strings.TrimSuffix(f[3], "/"); f[1] {
		case "Debian":
			if s.archive == "" {
				s.archive = uri
			}
		case "Debian-Security":
			if s.security == "" {
				s.security = uri
			}
		}
	}
	return s
}

// list is the sources.list of the hosts' release.
func (s sources) list() string {
	text := fmt.Sprintf("deb %[1]s %[2]s main\ndeb %[1]s %[2]s-updates main\n", s.archive, release)
	if s.security != "" {
		text += fmt.Sprintf("deb %s %s-security main\n", s.security, release)
	}
	return text
}

// sid is the sources.list of the release that has the newest kernels.
func (s sources) sid() string { return fmt.Sprintf("deb %s sid main\n", s.archive) }

// installInto writes what a chroot needs to reach the archive as the machine
// does. What it returns takes all of it away again.
func (s sources) installInto(root string) (remove func() error, err error) {
	files := map[string]string{
		"etc/apt/sources.list.d/lab-build.list": s.list(),
		"etc/apt/apt.conf.d/99lab-build":        s.config + "APT::Install-Recommends \"false\";\nDPkg::Options:: \"--force-unsafe-io\";\n",
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
