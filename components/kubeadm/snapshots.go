package kubeadm

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

// snapshotFolder is where snapshots of etcd lie on control planes.
const snapshotFolder = "/var/backups/etcd"

func (s Snapshots) keep() int { return cmp.Or(s.Keep, 12) }

func (a *KubeadmClusterArgs) validateSnapshots() problem.List {
	var l problem.List
	s := a.Snapshots
	switch {
	case s.Every == 0 && (s.Keep != 0 || s.CopyTo != ""):
		l.Add("every", "is missing, so that none is taken", "say how often, like 6h")
	case s.Every == 0:
	case s.Every < 10*time.Minute || s.Every > 7*24*time.Hour || s.Every%time.Minute != 0:
		l.Add("every", fmt.Sprintf("%s is no interval for it", s.Every), "use 10m to 168h, in whole minutes")
	}
	if k := s.keep(); k < 1 || k > 1000 {
		l.Add("keep", fmt.Sprintf("%d snapshots", k), "use 1 to 1000, or leave it out for 12")
	}
	if s.CopyTo == "" {
		return l
	}
	store := a.SnapshotStore
	_, network := a.Plan.Network(a.Network)
	switch {
	case slices.Contains(host.Names(a.ControlPlanes), s.CopyTo):
		l.Add("copyTo", s.CopyTo+" is a control plane, and has its own", "name a host that is none")
	case store.Name != s.CopyTo:
		l.Add("copyTo", fmt.Sprintf("there is no host %q", s.CopyTo), "use the name of one of the hosts")
	case network && !a.Plan.Address(s.CopyTo, a.Network).Is4():
		l.Add("copyTo", fmt.Sprintf("%s has no IPv4 address on the network %q", s.CopyTo, a.Network), "give it a link there, or name another host")
	case store.SSH.HostKey == "":
		l.Add("copyTo", "the key of "+s.CopyTo+" is not known, and a snapshot is handed to nobody else", "give the host its hostKey, or a knownHosts file that has it")
	case store.SSH.Port != 0 && store.SSH.Port != 22:
		l.Add("copyTo", fmt.Sprintf("the sshd of %s listens at port %d", s.CopyTo, store.SSH.Port), "name a host where it is 22")
	}
	return l
}

// SnapshotUser is the account that control planes bring copies of snapshots as.
const SnapshotUser = "halinux-etcd"

// storeKey are the two halves of the key that control planes share for it, as the
// private one in OpenSSH's format.
func storeKey() (string, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(key, SnapshotUser)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(block)), nil
}

// storePublicKey is its public half, as a line of authorized_keys.
func storePublicKey(private string) (string, error) {
	key, err := ssh.ParsePrivateKey([]byte(private))
	if err != nil {
		return "", fmt.Errorf("the key for copies of snapshots in the state is damaged; restore the state from its last backup: %w", err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))), nil
}

// snapshotStorePhase makes a host take copies.
func (a *KubeadmClusterArgs) snapshotStorePhase(key pulumi.StringInput) (host.Phase, error) {
	masters := host.Names(a.ControlPlanes)
	var from []string
	for _, m := range masters {
		from = append(from, a.address(m))
	}
	home := "/var/lib/" + SnapshotUser
	p, err := host.NewPhase(phases, "snapshot-store",
		host.Embedded(phases, lib+"etcd-snapshot-store", "phases/snapshot-store/etcd-snapshot-store.sh").Executable(),
		host.File{
			Path: home + "/.ssh/authorized_keys", Mode: 0o640, Owner: "root:" + SnapshotUser,
			Content: fmt.Sprintf("restrict,from=\"%s\",command=\"exec %setcd-snapshot-store %s/snapshots %d \\\"$SSH_ORIGINAL_COMMAND\\\"\" [secret key]\n",
				strings.Join(from, ","), lib, home, a.Snapshots.keep()),
		},
	)
	p.Vars = map[string]string{"masters": strings.Join(masters, " "), "every": fmt.Sprint(int(a.Snapshots.Every.Seconds()))}
	p.Secrets = map[string]pulumi.StringInput{"key": key}
	return p, err
}

// snapshotsPhase takes snapshots of etcd on a control plane. The key is for copies,
// where they are taken somewhere.
func (a *KubeadmClusterArgs) snapshotsPhase(h string, key pulumi.StringInput) (host.Phase, error) {
	seconds, target := int(a.Snapshots.Every.Seconds()), ""
	if a.Snapshots.CopyTo != "" {
		target = a.address(a.Snapshots.CopyTo)
	}
	values := map[string]any{
		"Name": h, "Address": a.address(h), "Folder": snapshotFolder, "Keep": a.Snapshots.keep(),
		"Seconds": seconds, "Spread": seconds / 10, "Target": target,
	}
	files := []host.File{host.Embedded(phases, lib+"etcd-snapshot", "phases/snapshots/etcd-snapshot.sh").Executable()}
	for _, name := range []string{"halinux-etcd-snapshot.service", "halinux-etcd-snapshot.timer"} {
		file, err := rendered("/etc/systemd/system/"+name, "snapshots/"+name+".tmpl", values)
		if err != nil {
			return host.Phase{}, err
		}
		files = append(files, file)
	}
	if target != "" {
		files = append(files,
			host.File{Path: "/etc/kubernetes/halinux/snapshots.key", Content: "[secret key]\n"},
			host.File{Path: "/etc/kubernetes/halinux/snapshots.hosts", Content: target + " " + strings.TrimSpace(a.SnapshotStore.SSH.HostKey) + "\n"},
		)
	}
	p, err := host.NewPhase(phases, "snapshots", files...)
	p.Vars = map[string]string{"every": fmt.Sprint(seconds), "target": target}
	if target != "" {
		p.Secrets = map[string]pulumi.StringInput{"key": key}
	}
	return p, err
}
