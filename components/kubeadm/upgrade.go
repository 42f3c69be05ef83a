package kubeadm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blang/semver"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

// next is where programs of the version that an upgrade leads to lie until it is
// their host's turn.
const next = lib + "next/"

func (u *Upgrade) workers() int { return max(u.Workers, 1) }

func (u *Upgrade) validate(version string) problem.List {
	var l problem.List
	if u == nil {
		return l
	}
	if u.Workers < 0 {
		l.Add("workers", fmt.Sprintf("%d at a time", u.Workers), "use 1 or more, or leave it out for 1")
	}
	from, err := semver.Parse(strings.TrimPrefix(u.From, "v"))
	if err != nil || !strings.HasPrefix(u.From, "v") || len(from.Pre)+len(from.Build) > 0 {
		l.Add("from", fmt.Sprintf("%q is not a version of Kubernetes", u.From), "write the one that all nodes run, like v1.35.4")
		return l
	}
	to, err := semver.Parse(strings.TrimPrefix(version, "v"))
	switch {
	case err != nil: // said of version itself
	case from.EQ(to):
		l.Add("from", u.From+" is where the upgrade leads", "write the version that nodes run now, or take the upgrade out")
	case from.GT(to):
		l.Add("from", fmt.Sprintf("from %s, %s is a way back", u.From, version), "stay at the version that nodes run: etcd's content may be of no use to an older one")
	case from.Major != to.Major || from.Minor+1 < to.Minor:
		l.Add("from", fmt.Sprintf("from %s to %s skips a minor version", u.From, version), fmt.Sprintf("go to v%d.%d first", from.Major, from.Minor+1))
	}
	return l
}

// programTargets are the bundle's programs as PATH=TO. Those of Kubernetes itself
// wait beside the ones that run while there is an upgrade.
func (a *KubeadmClusterArgs) programTargets(master bool) []string {
	all := a.programs(master)
	if a.Upgrade == nil {
		return all
	}
	for i, p := range all {
		if path, to, _ := strings.Cut(p, "="); strings.HasPrefix(path, "files/kubernetes/") {
			all[i] = path + "=" + next + strings.TrimPrefix(to, bin)
		}
	}
	return all
}

// upgradePhase takes a node to the next version, where there is an upgrade.
func (a *KubeadmClusterArgs) upgradePhase(h string) ([]host.Phase, error) {
	if a.Upgrade == nil {
		return nil, nil
	}
	masters := host.Names(a.ControlPlanes)
	role, peers := "worker", []string(nil)
	var files []host.File
	if slices.Contains(masters, h) {
		role, peers = "follower", a.peers(h)
		if h == masters[0] {
			role = "leader"
			files = append(files, host.Embedded(phases, lib+"upgrade-snapshot", "phases/snapshots/etcd-snapshot.sh").Executable())
		}
	}
	p, err := host.NewPhase(phases, "upgrade", files...)
	p.Vars = map[string]string{"version": a.version(), "role": role, "address": a.address(h), "peers": strings.Join(peers, " ")}
	p.Timeout = 45 * time.Minute
	return []host.Phase{p}, err
}

// before are the workers that have to be done before one may begin: those of the
// group before its own, where there is an upgrade.
func (a *KubeadmClusterArgs) before(h string) []string {
	workers := host.Names(a.Workers)
	if a.Upgrade == nil {
		return nil
	}
	n := a.Upgrade.workers()
	group := slices.Index(workers, h) / n
	if group == 0 {
		return nil
	}
	return workers[(group-1)*n : group*n]
}

// from is the version that nodes may run beside the one that is wanted.
func (a *KubeadmClusterArgs) from() string {
	if a.Upgrade == nil {
		return "-"
	}
	return cmp.Or(a.Upgrade.From, "-")
}
