package host

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/halinux/halinux/components/problem"
)

// PreflightArgs says what a host must be like before anything is changed on it.
type PreflightArgs struct {
	Off bool // asks nothing
	// Releases are the versions of Debian that are accepted; default 12 and 13.
	Releases []string
	// Architectures as dpkg names them; default amd64 and arm64.
	Architectures []string
	Memory        int // at least so many MiB; default 256
	Disk          int // at least so many MiB free on / and /var; default 1024
	// ClockSkew is how far a host's clock may be from the controller's;
	// default 30s, since chrony corrects it afterwards.
	ClockSkew time.Duration
	// CgroupV2 names roles whose hosts need cgroup v2, as Kubernetes does.
	CgroupV2 []string
	// Etcd names roles whose hosts will run etcd: a write must be on the disk
	// of /var/lib within EtcdSync.
	Etcd     []string
	EtcdSync time.Duration // default 10ms, the 99th percentile that etcd asks for
}

func (p PreflightArgs) releases() []string {
	if len(p.Releases) == 0 {
		return []string{"12", "13"}
	}
	return p.Releases
}

func (p PreflightArgs) architectures() []string {
	if len(p.Architectures) == 0 {
		return []string{"amd64", "arm64"}
	}
	return p.Architectures
}

func (p PreflightArgs) clockSkew() time.Duration {
	if p.ClockSkew == 0 {
		return 30 * time.Second
	}
	return p.ClockSkew
}

func (p PreflightArgs) validate(plan AddressPlan) problem.List {
	var l problem.List
	for i, r := range p.Releases {
		if r != "12" && r != "13" {
			l.Add(fmt.Sprintf("releases[%d]", i), fmt.Sprintf("%q is not a version that halinux knows", r), "use 12 or 13")
		}
	}
	for i, a := range p.Architectures {
		if !planWord.MatchString(a) {
			l.Add(fmt.Sprintf("architectures[%d]", i), fmt.Sprintf("%q is not an architecture", a), "use something like amd64")
		}
	}
	if p.Memory < 0 {
		l.Add("memory", fmt.Sprintf("%d MiB", p.Memory), "give how much is needed at least")
	}
	if p.Disk < 0 {
		l.Add("disk", fmt.Sprintf("%d MiB", p.Disk), "give how much must be free at least")
	}
	if p.ClockSkew < 0 || (p.ClockSkew > 0 && p.ClockSkew < time.Second) {
		l.Add("clockSkew", fmt.Sprintf("%s cannot be told over the network", p.ClockSkew), "use at least 1s")
	}
	if p.EtcdSync < 0 || (p.EtcdSync > 0 && p.EtcdSync < time.Millisecond) {
		l.Add("etcdSync", fmt.Sprintf("%s is not a usable time", p.EtcdSync), "use something like 10ms")
	}
	for name, roles := range map[string][]string{"cgroupV2": p.CgroupV2, "etcd": p.Etcd} {
		for i, r := range roles {
			if len(plan.ByRole(r)) == 0 {
				l.Add(fmt.Sprintf("%s[%d]", name, i), fmt.Sprintf("no host has the role %q", r), "use a role of the plan")
			}
		}
	}
	return l
}

// Finding is one thing that is wrong with a host, and what to do about it.
type Finding struct {
	Host   string // its name
	What   string // what was found
	Remedy string // what to do about it; may be empty where What says it
}

// Report is what [Preflight] found on all hosts.
type Report struct {
	Hosts    []string  // all that were asked
	Findings []Finding // none where all is well
}

// Err is nil where nothing was found.
func (r Report) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	return fmt.Errorf("preflight: %d findings on %d hosts, nothing was touched\n%s", len(r.Findings), len(r.Hosts), r)
}

// String is the report as a table.
func (r Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tFINDING\tREMEDY")
	for _, h := range r.Hosts {
		clean := true
		for _, f := range r.Findings {
			if f.Host == h {
				fmt.Fprintf(w, "%s\t%s\t%s\n", f.Host, f.What, f.Remedy)
				clean = false
			}
		}
		if clean {
			fmt.Fprintf(w, "%s\tnone\t\n", h)
		}
	}
	_ = w.Flush() // it writes to memory
	return b.String()
}

// Preflight asks all hosts at once, over one connection each, whether they are
// what the base system needs. It changes nothing. Its error says that it could
// not be asked at all; what is wrong with hosts is in the report.
func Preflight(ctx context.Context, a *BaseArgs, timeout time.Duration) (Report, error) {
	script, err := phaseFiles.ReadFile("phases/preflight/converge.sh")
	if err != nil {
		return Report{}, err
	}
	answers := make([]preflightAnswer, len(a.Hosts))
	var ways bastions
	defer ways.close()
	var wg sync.WaitGroup
	for i, h := range a.Hosts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			answers[i] = askPreflight(ctx, h, &ways, preflightCommand(a.preflightVars(h), string(script)))
		})
	}
	wg.Wait()
	return a.Preflight.judge(a.Hosts, answers), nil
}

// preflightAnswer is what one host said, and when.
type preflightAnswer struct {
	findings     []Finding
	machine      string
	clock        time.Time
	asked, ended time.Time
	unanswered   bool
}

// preflightCommand runs preflight.sh by itself, before anything of halinux is
// on the host.
func preflightCommand(vars map[string]string, script string) string {
	var b strings.Builder
	b.WriteString(`[ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || { printf 'finding\t%s may not become root\tallow it sudo without a password, or come in as root\n' "$(id -un)"; exit 0; }` + "\n")
	b.WriteString("{ cat <<'END OF PREFLIGHT'\nset -eu\nLC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport LC_ALL PATH\nreport=yes\n")
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "%s=%s\n", name, quote(vars[name]))
	}
	b.WriteString(script + "END OF PREFLIGHT\n} | " + asRoot + " sh\n")
	return b.String()
}

func askPreflight(ctx context.Context, h Host, ways *bastions, command string) preflightAnswer {
	r := preflightAnswer{asked: time.Now()}
	out, err := h.SSH.run(ctx, ways, command)
	r.ended = time.Now()
	if err != nil {
		r.unanswered = true
		what, remedy := unreachable(h, err, r.ended.Sub(r.asked))
		r.findings = []Finding{{h.Name, what, remedy}}
		return r
	}
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		switch {
		case fields[0] == "finding" && len(fields) == 3:
			r.findings = append(r.findings, Finding{h.Name, fields[1], fields[2]})
		case fields[0] == "machine" && len(fields) == 2:
			r.machine = fields[1]
		case fields[0] == "clock" && len(fields) == 2:
			if seconds, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				r.clock = time.Unix(seconds, 0)
			}
		}
	}
	return r
}

// unreachable says in words why a host could not be asked.
func unreachable(h Host, err error, after time.Duration) (what, remedy string) {
	at := net.JoinHostPort(h.SSH.Address, strconv.Itoa(h.SSH.port()))
	text := err.Error()
	switch {
	case strings.Contains(text, "host key mismatch") || strings.Contains(text, "no common algorithm for host key"):
		return "at " + at + " another host key answers than the configured one", "if the host was installed anew, accept its new key; else somebody else answers there"
	case strings.Contains(text, "unable to authenticate"):
		return "it refuses " + h.SSH.user() + " at " + at, "is the agent's key, or keyFile, in that account's authorized_keys?"
	case strings.Contains(text, "SSH_AUTH_SOCK") || strings.Contains(text, "private key") || strings.Contains(text, "SSH agent"):
		return "the controller has no key: " + text, "start an SSH agent and add the key (ssh-agent, ssh-add), or give keyFile a key without passphrase"
	case strings.Contains(text, "exited with status"):
		return "the look at it failed: " + text, "its words tell why; does the account have a POSIX shell?"
	}
	return fmt.Sprintf("no answer from %s after %s: %s", at, after.Round(100*time.Millisecond), text), "is it on, is the address right, and does a firewall let the controller in?"
}

// judge adds what only a look at all hosts together can tell.
func (p PreflightArgs) judge(hosts []Host, answers []preflightAnswer) Report {
	var r Report
	machines := map[string][]string{}
	for i, a := range answers {
		if a.machine != "" {
			machines[a.machine] = append(machines[a.machine], hosts[i].Name)
		}
	}
	for i, a := range answers {
		name := hosts[i].Name
		r.Hosts = append(r.Hosts, name)
		r.Findings = append(r.Findings, a.findings...)
		if twins := machines[a.machine]; a.machine != "" && len(twins) > 1 {
			r.Findings = append(r.Findings, Finding{name, "it has the machine id of " + strings.Join(slices.DeleteFunc(slices.Clone(twins), func(o string) bool { return o == name }), ", "),
				"on a copied host: rm /etc/machine-id; systemd-machine-id-setup; reboot"})
		}
		if a.clock.IsZero() {
			continue
		}
		// The host looked at its clock at some time between the two.
		if skew := a.asked.Sub(a.clock); skew > p.clockSkew() {
			r.Findings = append(r.Findings, Finding{name, fmt.Sprintf("its clock is %s behind the controller's", skew.Round(time.Second)), "set it, with `date -s` or in the firmware; chrony keeps it afterwards"})
		} else if skew := a.clock.Sub(a.ended); skew > p.clockSkew() {
			r.Findings = append(r.Findings, Finding{name, fmt.Sprintf("its clock is %s ahead of the controller's", skew.Round(time.Second)), "set it, with `date -s` or in the firmware; chrony keeps it afterwards"})
		}
	}
	return r
}

// preflightVars is what preflight.sh has to know about one host.
func (a *BaseArgs) preflightVars(h Host) map[string]string {
	p := a.Preflight
	planned, _ := a.Plan.Host(h.Name)
	has := func(roles []string) bool {
		return slices.ContainsFunc(planned.Roles, func(r string) bool { return slices.Contains(roles, r) })
	}
	memory, disk, sync := p.Memory, p.Disk, p.EtcdSync
	if memory == 0 {
		memory = 256
	}
	if disk == 0 {
		disk = 1024
	}
	if sync == 0 {
		sync = 10 * time.Millisecond
	}
	if !has(p.Etcd) {
		sync = 0
	}
	var ports, links []string
	for _, f := range a.Firewall.Flows {
		if slices.Contains(f.To, h.Name) && !f.Theirs && (f.Protocol == "tcp" || f.Protocol == "udp") {
			for _, n := range f.Ports {
				ports = append(ports, fmt.Sprintf("%s/%d", f.Protocol, n))
			}
		}
	}
	slices.Sort(ports)
	if !a.Network.Off {
		for _, k := range planned.Links {
			n, _ := a.Plan.Network(k.Network)
			members := []string{k.Interface}
			if k.Bond != nil {
				members = k.Bond.Members
			}
			for _, m := range members {
				if k.MAC != "" && k.Bond == nil {
					m = k.MAC
				}
				links = append(links, fmt.Sprintf("%s/%d", m, n.mtu()))
			}
		}
	}
	vars := map[string]string{
		"releases":      strings.Join(p.releases(), " "),
		"architectures": strings.Join(p.architectures(), " "),
		"memory":        fmt.Sprint(memory),
		"disk":          fmt.Sprint(disk),
		"cgroup2":       yesNo(has(p.CgroupV2)),
		"etcd_sync_us":  fmt.Sprint(sync.Microseconds()),
		"ports":         strings.Join(slices.Compact(ports), " "),
		"links":         strings.Join(links, " "),
	}
	if d, ok := a.Disks[h.Name]; ok {
		vars["disks"] = d.needs(h.Name)
	}
	return vars
}

func (a *BaseArgs) preflightPhase(h Host) (*Phase, error) {
	p := &Phase{Name: "preflight", Vars: a.preflightVars(h)}
	return p, p.Scripts(phaseFiles, "phases/preflight")
}
