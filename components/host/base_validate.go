package host

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/problem"
)

var (
	packageName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(=[0-9A-Za-z.+~:-]+)?$`)
	packagePattern = regexp.MustCompile(`^[a-z0-9*?][a-z0-9+.*?-]*$`)
	versionPattern = regexp.MustCompile(`^[0-9A-Za-z.+~:*-]+$`)
	suiteName      = regexp.MustCompile(`^[a-zA-Z0-9./][a-zA-Z0-9./_-]*$`)
	componentName  = regexp.MustCompile(`^[a-z][a-z0-9./-]*$`)
	sysctlName     = regexp.MustCompile(`^[a-z][a-z0-9_]*([./][a-zA-Z0-9_-]+)+$`)
	sysctlValue    = regexp.MustCompile(`^[!-~]+( [!-~]+)*$`)
	moduleName     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]*$`)
	limitDomain    = regexp.MustCompile(`^(\*|@?[a-z_][a-z0-9_-]{0,31})$`)
	limitValue     = regexp.MustCompile(`^(-?[0-9]{1,18}|unlimited|infinity)$`)
	groupName      = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	shellPath      = regexp.MustCompile(`^/[a-zA-Z0-9/_.-]+$`)

	limitItems = []string{"core", "data", "fsize", "memlock", "nofile", "rss", "stack", "cpu", "nproc", "as",
		"maxlogins", "maxsyslogins", "priority", "locks", "sigpending", "msgqueue", "nice", "rtprio"}
	// systemUsers are Debian's own accounts: declaring one would break what uses it.
	systemUsers = []string{"daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy",
		"www-data", "backup", "list", "irc", "nobody", "_apt", "sshd", "messagebus", "systemd-network", "systemd-resolve", "systemd-timesync"}
)

// Validate reports everything that is wrong with the base system's
// configuration, without a look at any host.
func (a *BaseArgs) Validate() problem.List {
	var l problem.List
	l.Include("plan", a.Plan.Validate())
	if len(a.Hosts) == 0 {
		l.Add("hosts", "there is none", "give at least one")
	}
	for i, h := range a.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		l.Include(at, h.Validate())
		if _, ok := a.Plan.Host(h.Name); !ok {
			l.Add(at+".name", fmt.Sprintf("%q is not in the address plan", h.Name), "add it to plan.hosts")
		}
		if j := slices.IndexFunc(a.Hosts[:i], func(o Host) bool { return o.Name == h.Name }); j >= 0 {
			l.Add(at+".name", fmt.Sprintf("%q is the name of hosts[%d] too", h.Name, j), "give each its own")
		}
		if j := slices.IndexFunc(a.Hosts[:i], func(o Host) bool {
			return o.SSH.Address == h.SSH.Address && o.SSH.port() == h.SSH.port() && proxyText(o.SSH) == proxyText(h.SSH)
		}); j >= 0 {
			l.Add(at+".ssh.address", fmt.Sprintf("%s is the way to hosts[%d] too", h.SSH.Address, j), "one machine cannot be two hosts")
		}
	}
	l.Include("preflight", a.Preflight.validate(a.Plan))
	l.Include("packages", a.Packages.validate())
	l.Include("updates", a.Updates.validate(len(a.Hosts)))
	l.Include("", a.validateUsers())
	l.Include("time", a.Time.validate())
	l.Include("kernel", a.Kernel.validate(a.Plan))
	if a.Network.Confirm < 0 || (a.Network.Confirm != 0 && a.Network.Confirm < 5*time.Second) || a.Network.Confirm > 10*time.Minute {
		l.Add("network.confirm", fmt.Sprintf("%s is not a usable time", a.Network.Confirm), "use 5s to 10m")
	}
	l.Include("firewall", a.Firewall.validate(a.Plan))
	return l
}

func proxyText(s SSH) string {
	if s.Proxy == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.Proxy.Address, s.Proxy.port())
}

func (s PackageSource) validate() problem.List {
	var l problem.List
	for i, src := range s.Sources {
		at := fmt.Sprintf("sources[%d]", i)
		if !planWord.MatchString(src.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is not a name for a source", src.Name), "use lower-case letters, digits and hyphens")
		}
		if slices.ContainsFunc(s.Sources[:i], func(o Source) bool { return o.Name == src.Name }) {
			l.Add(at+".name", fmt.Sprintf("%q stands there twice", src.Name), "give each its own")
		}
		u, err := url.Parse(src.URL)
		if err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) || (u.Scheme != "file" && u.Host == "") || strings.ContainsAny(src.URL, " \t\n\r\\'\"[]{}") {
			l.Add(at+".url", fmt.Sprintf("%q is not the address of a package source", src.URL), "use something like https://mirror.example/debian")
		} else if u.User != nil {
			l.Add(at+".url", "holds a user or password, which would be readable by all on the host", "put them into a file below /etc/apt/auth.conf.d")
		}
		if len(src.Suites) == 0 {
			l.Add(at+".suites", "there is none", "use something like [trixie, trixie-updates]")
		}
		for j, suite := range src.Suites {
			if !suiteName.MatchString(suite) {
				l.Add(fmt.Sprintf("%s.suites[%d]", at, j), fmt.Sprintf("%q is not the name of a suite", suite), "use something like trixie or trixie-updates, or a path that ends in / for a flat source")
			}
			if strings.HasSuffix(suite, "/") != strings.HasSuffix(src.Suites[0], "/") {
				l.Add(fmt.Sprintf("%s.suites[%d]", at, j), "a flat repository (a suite that ends in a slash) cannot share a source with another", "make two sources of them")
			}
		}
		if len(src.Suites) > 0 && strings.HasSuffix(src.Suites[0], "/") && len(src.Components) > 0 {
			l.Add(at+".components", "a flat repository (a suite that ends in a slash) has no components", "leave them out")
		}
		for j, c := range src.Components {
			if !componentName.MatchString(c) {
				l.Add(fmt.Sprintf("%s.components[%d]", at, j), fmt.Sprintf("%q is not the name of a component", c), "use something like main")
			}
		}
		if !strings.Contains(src.Key, "-----BEGIN PGP PUBLIC KEY BLOCK-----") || !strings.Contains(src.Key, "-----END PGP PUBLIC KEY BLOCK-----") {
			l.Add(at+".key", "is not an armored public key", "give what `gpg --armor --export` prints")
		} else if strings.Contains(src.Key, "PRIVATE KEY") {
			l.Add(at+".key", "holds a private key", "give what `gpg --armor --export` prints")
		}
	}
	for i, p := range s.Pins {
		at := fmt.Sprintf("pins[%d]", i)
		if !packagePattern.MatchString(p.Package) {
			l.Add(at+".package", fmt.Sprintf("%q is neither a package nor a pattern", p.Package), "use the name of a package, with * for any letters")
		}
		if !versionPattern.MatchString(p.Version) {
			l.Add(at+".version", fmt.Sprintf("%q is neither a version nor a pattern", p.Version), "use something like 3.0.*")
		}
		if p.Priority < -32768 || p.Priority > 32767 {
			l.Add(at+".priority", fmt.Sprintf("%d is not a priority", p.Priority), "use -32768 to 32767; above 1000 it may downgrade")
		}
	}
	for i, p := range s.Install {
		if !packageName.MatchString(p) {
			l.Add(fmt.Sprintf("install[%d]", i), fmt.Sprintf("%q is not the name of a package", p), "use lower-case letters, digits and + - . as in `apt-cache search`")
		}
	}
	return l
}

func (u Updates) validate(hosts int) problem.List {
	var l problem.List
	if u.At != "" {
		if t, err := time.Parse("15:04", u.At); err != nil || t.Format("15:04") != u.At {
			l.Add("at", fmt.Sprintf("%q is not a time of day", u.At), `write it like "03:00", in quotes`)
		}
	}
	if u.Apart < 0 || u.Apart%time.Minute != 0 {
		l.Add("apart", fmt.Sprintf("%s is not a number of minutes", u.Apart), "use something like 30m")
	}
	apart := u.Apart
	if apart == 0 {
		apart = 30 * time.Minute
	}
	if !u.Off && time.Duration(hosts)*apart > 24*time.Hour {
		l.Add("apart", fmt.Sprintf("%d hosts, %s apart, do not fit into one day", hosts, apart), "let them be closer together")
	}
	for i, p := range u.Hold {
		if !packagePattern.MatchString(p) {
			l.Add(fmt.Sprintf("hold[%d]", i), fmt.Sprintf("%q is not the name of a package", p), "use lower-case letters, digits and + - . as in `apt-cache search`")
		}
	}
	return l
}

func (a *BaseArgs) validateUsers() problem.List {
	var l problem.List
	declared := map[string]bool{}
	for i, u := range a.Users {
		at := fmt.Sprintf("users[%d]", i)
		if !userName.MatchString(u.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is not a user name", u.Name), "use lower-case letters, digits, hyphens and underscores, at most 32")
		}
		if slices.Contains(systemUsers, u.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is an account of the system itself", u.Name), "choose another name")
		}
		if declared[u.Name] {
			l.Add(at+".name", fmt.Sprintf("%q stands there twice", u.Name), "leave one of them out")
		}
		declared[u.Name] = true
		if len(u.Keys) == 0 {
			l.Add(at+".keys", "there is none", "without a key nobody can log in as "+u.Name)
		}
		for j, k := range u.Keys {
			key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(k))
			switch {
			case err != nil || strings.ContainsAny(strings.TrimSpace(k), "\n\r\x00"):
				l.Add(fmt.Sprintf("%s.keys[%d]", at, j), "is not one public key", "give one line, like the content of id_ed25519.pub")
			case len(strings.TrimSpace(string(rest))) > 0:
				l.Add(fmt.Sprintf("%s.keys[%d]", at, j), "holds more than one key", "make an entry of each")
			case key.Type() == "ssh-dss":
				l.Add(fmt.Sprintf("%s.keys[%d]", at, j), "is a DSA key, which sshd no longer accepts", "make an ed25519 key")
			}
		}
		if u.Shell != "" && !shellPath.MatchString(u.Shell) {
			l.Add(at+".shell", fmt.Sprintf("%q is not the path of a shell", u.Shell), "use something like /bin/bash")
		}
		for j, g := range u.Groups {
			if !groupName.MatchString(g) {
				l.Add(fmt.Sprintf("%s.groups[%d]", at, j), fmt.Sprintf("%q is not the name of a group", g), "use the name of a group that the host has, like adm")
			}
		}
	}
	if a.SSHD.RootLogin != "" && a.SSHD.RootLogin != "key" && a.SSHD.RootLogin != "no" {
		l.Add("sshd.rootLogin", fmt.Sprintf("%q is neither key nor no", a.SSHD.RootLogin), "use one of them")
	}
	if a.SSHD.RootLogin == "no" && !a.SSHD.Off {
		for _, h := range a.Hosts {
			if h.SSH.user() == "root" {
				l.Add("sshd.rootLogin", fmt.Sprintf("no would lock out the controller, which comes to %s as root", h.Name),
					"first add a user with sudo and use it as ssh.user, then forbid root")
				break
			}
		}
	}
	for i, u := range a.SSHD.AllowUsers {
		if !userName.MatchString(u) {
			l.Add(fmt.Sprintf("sshd.allowUsers[%d]", i), fmt.Sprintf("%q is not a user name", u), "use lower-case letters, digits, hyphens and underscores, at most 32")
		}
	}
	for _, h := range a.Hosts {
		if len(a.SSHD.AllowUsers) > 0 && !slices.Contains(a.SSHD.AllowUsers, h.SSH.user()) {
			l.Add("sshd.allowUsers", fmt.Sprintf("%s is missing, as who the controller comes to %s", h.SSH.user(), h.Name), "add it")
			break
		}
	}
	for i, u := range a.Users {
		for _, h := range a.Hosts {
			if u.Name == h.SSH.user() && u.Name != "root" && !u.Sudo {
				l.Add(fmt.Sprintf("users[%d].sudo", i), fmt.Sprintf("the controller comes to %s as %s and needs sudo", h.Name, u.Name), "set sudo: true")
				break
			}
		}
	}
	return l
}

func (t Time) validate() problem.List {
	var l problem.List
	for i, s := range t.Servers {
		if _, err := plainAddr(s); err != nil && (!domainName.MatchString(s) || len(s) > 200) {
			l.Add(fmt.Sprintf("servers[%d]", i), fmt.Sprintf("%q is neither an address nor a DNS name", s), "write 10.10.0.1, or ntp.example.org")
		}
		if slices.Contains(t.Servers[:i], s) {
			l.Add(fmt.Sprintf("servers[%d]", i), s+" stands there twice", "leave one of them out")
		}
	}
	if len(t.Servers) == 2 {
		l.Add("servers", "of two clocks that differ nobody can tell the right one", "use one, or three and more")
	}
	return l
}

func (k Kernel) validate(p AddressPlan) problem.List {
	var l problem.List
	for i, s := range k.Sysctl {
		at := fmt.Sprintf("sysctl[%d]", i)
		if !sysctlName.MatchString(s.Name) || strings.Contains(s.Name, "..") {
			l.Add(at+".name", fmt.Sprintf("%q is not the name of a kernel parameter", s.Name), "use something like net.ipv4.ip_forward")
		}
		if !sysctlValue.MatchString(s.Value) {
			l.Add(at+".value", fmt.Sprintf("%q is not a value", s.Value), "write it as the kernel shows it, words apart by one space")
		}
		if slices.ContainsFunc(k.Sysctl[:i], func(o Setting) bool { return o.Name == s.Name }) {
			l.Add(at+".name", s.Name+" stands there twice", "leave one of them out")
		}
	}
	for i, m := range k.Modules {
		if !moduleName.MatchString(m) {
			l.Add(fmt.Sprintf("modules[%d]", i), fmt.Sprintf("%q is not the name of a module", m), "use the name that `lsmod` shows")
		}
	}
	for i, m := range k.Limits {
		at := fmt.Sprintf("limits[%d]", i)
		if !limitDomain.MatchString(m.Domain) {
			l.Add(at+".domain", fmt.Sprintf("%q is neither a user, an @group nor *", m.Domain), "write alice, @adm or *")
		}
		if m.Type != "soft" && m.Type != "hard" && m.Type != "-" {
			l.Add(at+".type", fmt.Sprintf("%q is neither soft, hard nor -", m.Type), "use one of them")
		}
		if !slices.Contains(limitItems, m.Item) {
			l.Add(at+".item", fmt.Sprintf("%q cannot be limited", m.Item), "use one of "+strings.Join(limitItems, ", "))
		}
		if !limitValue.MatchString(m.Value) {
			l.Add(at+".value", fmt.Sprintf("%q is neither a number nor unlimited", m.Value), "use one of them")
		}
	}
	for i, r := range k.SwapOff {
		if len(p.ByRole(r)) == 0 {
			l.Add(fmt.Sprintf("swapOff[%d]", i), fmt.Sprintf("no host has the role %q", r), "use a role of the plan")
		}
	}
	return l
}

func (f Firewall) validate(p AddressPlan) problem.List {
	var l problem.List
	if f.Confirm < 0 || (f.Confirm != 0 && f.Confirm < 5*time.Second) || f.Confirm > 10*time.Minute {
		l.Add("confirm", fmt.Sprintf("%s is not a usable time", f.Confirm), "use 5s to 10m")
	}
	if !f.Off && len(f.SSH) == 0 {
		l.Add("ssh", "nobody could administer the hosts", "name the networks that you and the controller come from")
	}
	for i, s := range f.SSH {
		if _, err := p.sources([]string{s}); err != nil {
			l.Add(fmt.Sprintf("ssh[%d]", i), err.Error(), "write 192.0.2.0/24, or a name that the plan has")
		}
	}
	for i, flow := range f.Flows {
		l.Include(fmt.Sprintf("flows[%d]", i), flow.Validate(p))
	}
	for i, flow := range f.Extra {
		l.Include(fmt.Sprintf("extra[%d]", i), flow.Validate(p))
	}
	for _, list := range []struct {
		name  string
		hosts []string
	}{{"except", f.Except}, {"forward", f.Forward}} {
		for i, h := range list.hosts {
			if _, ok := p.Host(h); !ok {
				l.Add(fmt.Sprintf("%s[%d]", list.name, i), fmt.Sprintf("there is no host %q", h), "use the name of a host of the plan")
			}
		}
	}
	return l
}
