package kubeadm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

// snapshotFile is what a snapshot may be called.
var snapshotFile = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

func (r *Restore) validate(controlPlanes []string) problem.List {
	var l problem.List
	if r == nil {
		return l
	}
	if !host.DNSLabel.MatchString(r.Name) {
		l.Add("name", fmt.Sprintf("%q is not a name for a restore", r.Name), "use one that no restore had before, like its day: lower-case letters, digits and hyphens")
	}
	if !slices.Contains(controlPlanes, r.Host) {
		l.Add("host", fmt.Sprintf("%q is no control plane", r.Host), "name the one that has the snapshot: "+strings.Join(controlPlanes, ", "))
	}
	if !snapshotFile.MatchString(r.Snapshot) {
		l.Add("snapshot", fmt.Sprintf("%q is not the name of a file", r.Snapshot), "name one of those in "+snapshotFolder+", like etcd-master1-20260102T030405Z.db")
	}
	return l
}

// makes is the control plane that makes the cluster where there is none: the first
// of the list, or the one that has the snapshot.
func (a *KubeadmClusterArgs) makes() string {
	if a.Restore != nil {
		return a.Restore.Host
	}
	return a.ControlPlanes[0].Name
}

// restorePhase is one of the phases that put etcd back to a snapshot.
func (a *KubeadmClusterArgs) restorePhase(name, h string) (host.Phase, error) {
	var files []host.File
	if name == "restore-preflight" {
		files = append(files, host.Embedded(phases, lib+"etcd-restored", "phases/restore-preflight/etcd-restored.sh").Executable())
	}
	p, err := host.NewPhase(phases, name, files...)
	yes := map[bool]string{true: "yes", false: "no"}
	p.Vars = map[string]string{
		"name": a.Restore.Name, "snapshot": a.Restore.Snapshot, "holder": yes[h == a.Restore.Host], "discard": yes[a.Restore.Discard],
		"address": a.address(h), "peers": strings.Join(a.peers(h), " "),
	}
	return p, err
}
