package host

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/components/problem"
)

// PreflightArgs says what a host must be like before anything is changed on it.
type PreflightArgs struct {
	Off bool
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
	if p.EtcdSync < 0 {
		l.Add("etcdSync", fmt.Sprintf("%s", p.EtcdSync), "use something like 10ms")
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
		if slices.Contains(f.To, h.Name) && (f.Protocol == "tcp" || f.Protocol == "udp") {
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
	return map[string]string{
		"releases":      strings.Join(p.releases(), " "),
		"architectures": strings.Join(p.architectures(), " "),
		"memory":        fmt.Sprint(memory),
		"disk":          fmt.Sprint(disk),
		"cgroup2":       yesNo(has(p.CgroupV2)),
		"etcd_sync_us":  fmt.Sprint(sync.Microseconds()),
		"ports":         strings.Join(slices.Compact(ports), " "),
		"links":         strings.Join(links, " "),
	}
}

func (a *BaseArgs) preflightPhase(h Host) (*Phase, error) {
	if a.Preflight.Off {
		return nil, nil
	}
	return &Phase{Name: "preflight", Vars: a.preflightVars(h)}, nil
}
