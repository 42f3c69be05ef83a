// Package archive is Debian's archive as this machine's own apt reaches it, for
// whatever release of Debian. No address stands in this project: whoever makes
// an image or a bundle takes packages from where his machine takes them.
package archive

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Sources are the places that the machine's apt knows Debian's archive by.
type Sources struct {
	Main     string // address of the archive
	Security string // address of the security archive, empty when the machine has none
	// Config is how the machine's apt reaches them, in the form of apt.conf(5):
	// proxies, timeouts, retries.
	Config string
}

// Machine asks apt, which understands every form of its own configuration, and
// knows by the signed Release files what is Debian's.
func Machine(ctx context.Context) (Sources, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format",
		"$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return Sources{}, fmt.Errorf("ask apt for its sources: %w", err)
	}
	s := parse(string(out))
	if s.Main == "" {
		return Sources{}, errors.New("apt knows no Debian archive, look into /etc/apt and run: apt-get update")
	}
	dump, err := exec.CommandContext(ctx, "apt-config", "dump", "--format", "%F %v%n").Output()
	if err != nil {
		return Sources{}, fmt.Errorf("ask apt for its configuration: %w", err)
	}
	for line := range strings.Lines(string(dump)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "Acquire::") && value != "" && !strings.Contains(name, "Languages") &&
			!strings.HasPrefix(name, "Acquire::IndexTargets") && !strings.HasPrefix(name, "Acquire::Changelogs") &&
			!strings.HasPrefix(name, "Acquire::CompressionTypes") {
			s.Config += fmt.Sprintf("%s %q;\n", name, value)
		}
	}
	return s, nil
}

// parse reads what apt says of its sources.
func parse(out string) Sources {
	var s Sources
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 4 || f[0] != "Debian" || f[2] != "main" {
			continue
		}
		switch uri := strings.TrimSuffix(f[3], "/"); f[1] {
		case "Debian":
			if s.Main == "" {
				s.Main = uri
			}
		case "Debian-Security":
			if s.Security == "" {
				s.Security = uri
			}
		}
	}
	return s
}

// List is the sources.list(5) of a release with its updates; options stand in
// brackets there, like "signed-by=/path", and may be empty.
func (s Sources) List(release, options string) string {
	if options != "" {
		options = "[" + options + "] "
	}
	text := fmt.Sprintf("deb %[1]s%[2]s %[3]s main\ndeb %[1]s%[2]s %[3]s-updates main\n", options, s.Main, release)
	if s.Security != "" {
		text += fmt.Sprintf("deb %s%s %s-security main\n", options, s.Security, release)
	}
	return text
}
