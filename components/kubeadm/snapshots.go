package kubeadm

import (
	"cmp"
	"fmt"
	"time"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

// snapshotFolder is where snapshots of etcd lie on control planes.
const snapshotFolder = "/var/backups/etcd"

func (s Snapshots) keep() int { return cmp.Or(s.Keep, 12) }

func (s Snapshots) validate() problem.List {
	var l problem.List
	switch {
	case s.Every == 0 && s.Keep != 0:
		l.Add("every", "is missing, so that none is taken", "say how often, like 6h")
	case s.Every == 0:
	case s.Every < 10*time.Minute || s.Every > 7*24*time.Hour || s.Every%time.Minute != 0:
		l.Add("every", fmt.Sprintf("%s is no interval for it", s.Every), "use 10m to 168h, in whole minutes")
	}
	if k := s.keep(); k < 1 || k > 1000 {
		l.Add("keep", fmt.Sprintf("%d snapshots", k), "use 1 to 1000, or leave it out for 12")
	}
	return l
}

// snapshotsPhase takes snapshots of etcd on a control plane.
func (a *KubeadmClusterArgs) snapshotsPhase(h string) (host.Phase, error) {
	seconds := int(a.Snapshots.Every.Seconds())
	values := map[string]any{
		"Name": h, "Address": a.address(h), "Folder": snapshotFolder, "Keep": a.Snapshots.keep(),
		"Seconds": seconds, "Spread": seconds / 10, "Target": "",
	}
	files := []host.File{host.Embedded(phases, lib+"etcd-snapshot", "phases/snapshots/etcd-snapshot.sh").Executable()}
	for _, name := range []string{"halinux-etcd-snapshot.service", "halinux-etcd-snapshot.timer"} {
		file, err := rendered("/etc/systemd/system/"+name, "snapshots/"+name+".tmpl", values)
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	p, err := host.NewPhase(phases, "snapshots", files...)
	p.Vars = map[string]string{"every": fmt.Sprint(seconds), "target": ""}
	return p, err
}
