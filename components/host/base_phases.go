package host

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// render fills in a template of one of this package's own phases.
func render(phase, file string, values any) (string, error) {
	return Render(phaseFiles, path.Join("phases", phase, file), values)
}

func (a *BaseArgs) packagesPhase(h Host) (*Phase, error) {
	p := &Phase{Name: "packages", Vars: map[string]string{
		"own_sources": yesNo(len(a.Packages.Sources) > 0),
		"install":     strings.Join(a.install(), " "),
		"updates":     yesNo(!a.Updates.Off),
	}, Timeout: 20 * time.Minute}
	for _, s := range a.Packages.Sources {
		text, err := render("packages", "source.sources.tmpl", map[string]any{
			"Name": s.Name, "URL": s.URL, "Suites": strings.Join(s.Suites, " "), "Components": s.componentsLine(),
		})
		if err != nil {
			return nil, err
		}
		p.Files = append(p.Files,
			File{Path: "/etc/apt/sources.list.d/halinux-" + s.Name + ".sources", Content: text},
			File{Path: "/etc/apt/keyrings/halinux-" + s.Name + ".asc", Content: s.Key})
	}
	if len(a.Packages.Pins) > 0 {
		var stanzas, exact []string
		for _, pin := range a.Packages.Pins {
			if !strings.ContainsAny(pin.Package, "*?") && pin.priority() > 1000 {
				exact = append(exact, pin.Package+" "+pin.Version)
			}
			stanzas = append(stanzas, fmt.Sprintf("Package: %s\nPin: version %s\nPin-Priority: %d\n", pin.Package, pin.Version, pin.priority()))
		}
		p.Files = append(p.Files, File{Path: "/etc/apt/preferences.d/halinux", Content: strings.Join(stanzas, "\n")})
		if len(exact) > 0 {
			p.Vars["pins"] = strings.Join(exact, "\n")
		}
	}
	if !a.Updates.Off {
		at := a.Updates.window(a.position(h))
		for _, f := range [][2]string{
			{"updates.conf.tmpl", "/etc/apt/apt.conf.d/52halinux-updates"},
			{"timer.conf.tmpl", "/etc/systemd/system/apt-daily-upgrade.timer.d/halinux.conf"},
		} {
			text, err := render("packages", f[0], map[string]any{"At": at, "Reboot": fmt.Sprint(a.Updates.Reboot), "Hold": a.Updates.Hold})
			if err != nil {
				return nil, err
			}
			p.Files = append(p.Files, File{Path: f[1], Content: text})
		}
	}
	return p, nil
}

// install are the packages that every host gets.
func (a *BaseArgs) install() []string {
	list := slices.Clone(a.Packages.Install)
	if !a.Updates.Off {
		list = append(list, "unattended-upgrades")
	}
	if slices.ContainsFunc(a.Users, func(u User) bool { return u.Sudo }) {
		list = append(list, "sudo")
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// componentsLine is empty for flat repositories, whose suites end in a slash.
func (s Source) componentsLine() string {
	if len(s.Suites) > 0 && strings.HasSuffix(s.Suites[0], "/") {
		return ""
	}
	if len(s.Components) == 0 {
		return "Components: main\n"
	}
	return "Components: " + strings.Join(s.Components, " ") + "\n"
}

func (p Pin) priority() int {
	if p.Priority == 0 {
		return 1001
	}
	return p.Priority
}

// window is when the nth host updates itself, as HH:MM.
func (u Updates) window(n int) string {
	at := u.At
	if at == "" {
		at = "03:00"
	}
	apart := u.Apart
	if apart == 0 {
		apart = 30 * time.Minute
	}
	t, err := time.Parse("15:04", at)
	if err != nil {
		return "03:00" // Validate has refused it
	}
	return t.Add(time.Duration(n) * apart).Format("15:04")
}

func (a *BaseArgs) usersPhase(h Host) (*Phase, error) {
	p := &Phase{Name: "users", Vars: map[string]string{"harden": yesNo(!a.SSHD.Off)}}
	var users, sudoers []string
	for _, u := range a.Users {
		groups := "-"
		if len(u.Groups) > 0 {
			groups = strings.Join(u.Groups, ",")
		}
		users = append(users, fmt.Sprintf("%s %s %s %s", u.Name, u.shell(), groups, u.home()))
		if u.Sudo && u.Name != "root" {
			sudoers = append(sudoers, u.Name+" ALL=(ALL:ALL) NOPASSWD: ALL\n")
		}
		keys := ""
		for _, k := range u.Keys {
			keys += strings.TrimSpace(k) + "\n"
		}
		p.Files = append(p.Files, File{Path: u.home() + "/.ssh/authorized_keys", Content: keys, Mode: 0o600, Owner: u.Name + ":" + u.Name})
	}
	p.Vars["users"] = strings.Join(users, "\n")
	if len(sudoers) > 0 {
		p.Files = append(p.Files, File{Path: "/etc/sudoers.d/90-halinux", Content: strings.Join(sudoers, ""), Mode: 0o440})
	}
	if !a.SSHD.Off {
		allow := ""
		if len(a.SSHD.AllowUsers) > 0 {
			allow = "AllowUsers " + strings.Join(a.SSHD.AllowUsers, " ") + "\n"
		}
		text, err := render("users", "sshd.conf.tmpl", map[string]any{"Root": a.SSHD.permitRoot(), "Allow": allow})
		if err != nil {
			return nil, err
		}
		// The first value that sshd reads counts, so the name sorts early.
		p.Files = append(p.Files, File{Path: "/etc/ssh/sshd_config.d/05-halinux.conf", Content: text})
	}
	return p, nil
}

func (u User) shell() string {
	if u.Shell == "" {
		return "/bin/bash"
	}
	return u.Shell
}

func (u User) home() string {
	if u.Name == "root" {
		return "/root"
	}
	return "/home/" + u.Name
}

func (s SSHD) permitRoot() string {
	if s.RootLogin == "no" {
		return "no"
	}
	return "prohibit-password"
}

func (a *BaseArgs) timePhase(h Host) (*Phase, error) {
	if a.Time.Off {
		return nil, nil
	}
	p := &Phase{Name: "time", Beside: true}
	if len(a.Time.Servers) > 0 {
		text, err := render("time", "chrony.conf.tmpl", map[string]any{"Servers": a.Time.Servers})
		if err != nil {
			return nil, err
		}
		p.Files = []File{{Path: "/etc/chrony/chrony.conf", Content: text}}
	}
	return p, nil
}

func (a *BaseArgs) kernelPhase(h Host) (*Phase, error) {
	planned, _ := a.Plan.Host(h.Name)
	swapOff := slices.ContainsFunc(planned.Roles, func(r string) bool { return slices.Contains(a.Kernel.SwapOff, r) })
	p := &Phase{Name: "kernel", Beside: true, Vars: map[string]string{
		"modules": strings.Join(a.Kernel.Modules, " "), "swap_off": yesNo(swapOff),
	}}
	add := func(file, header string, lines []string) {
		if len(lines) > 0 {
			p.Files = append(p.Files, File{Path: file, Content: header + strings.Join(lines, "\n") + "\n", Mode: fs.FileMode(0o644)})
		}
	}
	var settings, limits []string
	for _, s := range a.Kernel.Sysctl {
		settings = append(settings, s.Name+" = "+s.Value)
	}
	for _, l := range a.Kernel.Limits {
		limits = append(limits, strings.Join([]string{l.Domain, l.Type, l.Item, l.Value}, " "))
	}
	add("/etc/sysctl.d/90-halinux.conf", "# Made by halinux.\n", settings)
	add("/etc/security/limits.d/90-halinux.conf", "# Made by halinux.\n", limits)
	add("/etc/modules-load.d/halinux.conf", "# Made by halinux.\n", a.Kernel.Modules)
	if len(p.Files) == 0 && !swapOff {
		return nil, nil
	}
	return p, nil
}
