package kubeadm

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm/release"
)

// spoiled is one mistake, and how its report begins.
var spoiled = map[string]func(*KubeadmClusterArgs){
	`name: "my cluster" is not a name`:                                        func(a *KubeadmClusterArgs) { a.Name = "my cluster" },
	"network: is missing":                                                     func(a *KubeadmClusterArgs) { a.Network = "" },
	`network: the plan has no network "wan"`:                                  func(a *KubeadmClusterArgs) { a.Network = "wan" },
	"controlPlanes: there is none":                                            func(a *KubeadmClusterArgs) { a.ControlPlanes = nil },
	"controlPlanes: 2 control planes; use 3":                                  func(a *KubeadmClusterArgs) { a.ControlPlanes = a.ControlPlanes[:2] },
	"workers[0].name: master1 is controlPlanes":                               func(a *KubeadmClusterArgs) { a.Workers[0] = a.ControlPlanes[0] },
	`workers[2].name: the plan has no host "x"`:                               func(a *KubeadmClusterArgs) { a.Workers = append(a.Workers, aHost("x", "10.10.0.99")) },
	`controlPlanes[1].name: master2 has no IPv4 address on the network "lan"`: func(a *KubeadmClusterArgs) { a.Plan.Hosts[1].Links = nil },
	"controlPlanes[0].ssh.hostKey":                                            func(a *KubeadmClusterArgs) { a.ControlPlanes[0].SSH.HostKey = "" },
	"gone[0]: worker1 is a host of the cluster":                               func(a *KubeadmClusterArgs) { a.Gone = []string{"worker1"} },
	"gone[1]: old1 stands there twice":                                        func(a *KubeadmClusterArgs) { a.Gone = []string{"old1", "old1"} },
	`gone[0]: "a b" is not the name of a node`:                                func(a *KubeadmClusterArgs) { a.Gone = []string{"a b"} },
	"nodes.other: is no host of the cluster": func(a *KubeadmClusterArgs) {
		a.Nodes["other"] = Node{}
	},
	"nodes.worker1.labels.kubernetes.io/role: a kubelet may not": func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Labels: map[string]string{"kubernetes.io/role": "db"}}
	},
	"nodes.worker1.labels.topology.kubernetes.io/rack: a kubelet may not": func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Labels: map[string]string{"topology.kubernetes.io/rack": "7"}}
	},
	"nodes.worker1.labels.node-restriction.kubernetes.io/x: a kubelet may not": func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Labels: map[string]string{"node-restriction.kubernetes.io/x": "7"}}
	},
	`nodes.worker1.labels: "a b" is not`: func(a *KubeadmClusterArgs) { a.Nodes["worker1"] = Node{Labels: map[string]string{"a b": ""}} },
	`nodes.worker1.labels.a: "b c" is not`: func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Labels: map[string]string{"a": "b c"}}
	},
	"nodes: all workers are drained": func(a *KubeadmClusterArgs) {
		for _, h := range a.Workers {
			a.Nodes[h.Name] = Node{Drain: true}
		}
	},
	"nodes.master1.drain: is for workers": func(a *KubeadmClusterArgs) { a.Nodes["master1"] = Node{Drain: true} },
	"nodes.worker1.maxPods: 500 pods":     func(a *KubeadmClusterArgs) { a.Nodes["worker1"] = Node{MaxPods: 500} },
	"nodes.worker1.reserved.disk: is no resource": func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Reserved: map[string]string{"disk": "1Gi"}}
	},
	`nodes.worker1.reserved.memory: "much" is not an amount`: func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Reserved: map[string]string{"memory": "much"}}
	},
	`nodes.worker2.taints[0].effect: "Never" is not an effect`:    func(a *KubeadmClusterArgs) { a.Nodes["worker2"].Taints[0].Effect = "Never" },
	`nodes.worker2.taints[0].key: "" is not the name`:             func(a *KubeadmClusterArgs) { a.Nodes["worker2"].Taints[0].Key = "" },
	`nodes.worker2.taints[0].value: "$x" is not the value`:        func(a *KubeadmClusterArgs) { a.Nodes["worker2"].Taints[0].Value = "$x" },
	`endpoint.address: "" is not an IPv4 address`:                 func(a *KubeadmClusterArgs) { a.Endpoint.Address = "" },
	"endpoint.address: 10.10.0.51 is the address of the host mas": func(a *KubeadmClusterArgs) { a.Endpoint.Address = "10.10.0.51" },
	"endpoint.port: 443 is not a port for it":                     func(a *KubeadmClusterArgs) { a.Endpoint.Port = 443 },
	`endpoint.names[0]: "a b" is not a DNS name`:                  func(a *KubeadmClusterArgs) { a.Endpoint.Names = []string{"a b"} },
	`version: "1.36.3" is not a version`:                          func(a *KubeadmClusterArgs) { a.Version = "1.36.3" },
	`version: "latest" is not a version`:                          func(a *KubeadmClusterArgs) { a.Version = "latest" },
	"version: v1.37.0 is unknown to this release":                 func(a *KubeadmClusterArgs) { a.Version = "v1.37.0" },
	"version: v1.34.2 is unknown to this release":                 func(a *KubeadmClusterArgs) { a.Version = "v1.34.2" },
	`upgrade.from: "1.35" is not a version`:                       func(a *KubeadmClusterArgs) { a.Upgrade = &Upgrade{From: "1.35"} },
	"upgrade.from: v1.36.3 is where the upgrade leads": func(a *KubeadmClusterArgs) {
		a.Version, a.Upgrade = "v1.36.3", &Upgrade{From: "v1.36.3"}
	},
	"upgrade.from: from v1.36.3, v1.35.4 is a way back": func(a *KubeadmClusterArgs) {
		a.Version, a.Upgrade = "v1.35.4", &Upgrade{From: "v1.36.3"}
	},
	"upgrade.from: from v1.34.2 to v1.36.3 skips a minor version; go to v1.35 first": func(a *KubeadmClusterArgs) {
		a.Version, a.Upgrade = "v1.36.3", &Upgrade{From: "v1.34.2"}
	},
	"upgrade: is asked for together with a restore": func(a *KubeadmClusterArgs) {
		a.Upgrade, a.Restore = &Upgrade{From: "v1.35.4"}, &Restore{Name: "a", Host: "master1", Snapshot: "x.db"}
	},
	`encryptionKeys[1]: "my key" is not a name for a key`: func(a *KubeadmClusterArgs) { a.EncryptionKeys = []string{"a", "my key"} },
	"encryptionKeys[1]: a stands there twice":             func(a *KubeadmClusterArgs) { a.EncryptionKeys = []string{"a", "a"} },
	"encryptionKeys: change together with the version": func(a *KubeadmClusterArgs) {
		a.Upgrade, a.EncryptionKeys = &Upgrade{From: "v1.35.4"}, []string{"a", "key1"}
	},
	"upgrade.workers: -1 at a time":                     func(a *KubeadmClusterArgs) { a.Upgrade = &Upgrade{From: "v1.35.4", Workers: -1} },
	`bundle.url: "" is not the address of a web server`: func(a *KubeadmClusterArgs) { a.Bundle.URL = "" },
	`bundle.url: "http://$(reboot)" is not the address`: func(a *KubeadmClusterArgs) { a.Bundle.URL = "http://$(reboot)" },
	"bundle.url: http://10.10.0.5/k is not the root":    func(a *KubeadmClusterArgs) { a.Bundle.URL = "http://10.10.0.5/k" },
	"bundle.ca: is not a certificate":                   func(a *KubeadmClusterArgs) { a.Bundle.CA = "x" },
	`bundle.sums: "abc" is not a checksum`:              func(a *KubeadmClusterArgs) { a.Bundle.Sums = "abc" },
	`mirrors[0].registry: "docker.io/library" is not a registry`: func(a *KubeadmClusterArgs) {
		a.Mirrors = []Mirror{{Registry: "docker.io/library", URLs: []string{"http://m"}}}
	},
	"mirrors[0].urls: there is none":             func(a *KubeadmClusterArgs) { a.Mirrors = []Mirror{{Registry: "docker.io"}} },
	`mirrors[0].urls[0]: "m" is not the address`: func(a *KubeadmClusterArgs) { a.Mirrors = []Mirror{{Registry: "docker.io", URLs: []string{"m"}}} },
	"mirrors[1].registry: docker.io stands there twice": func(a *KubeadmClusterArgs) {
		m := Mirror{Registry: "docker.io", URLs: []string{"http://m"}}
		a.Mirrors = []Mirror{m, m}
	},
	"mirrors[0].registry: bundle.halinux.internal is the bundle's": func(a *KubeadmClusterArgs) {
		a.Mirrors = []Mirror{{Registry: release.Registry, URLs: []string{"http://m"}}}
	},
	`pods: "10.244.0.1/16" is not a range`:               func(a *KubeadmClusterArgs) { a.Pods = "10.244.0.1/16" },
	"pods: 10.10.0.0/16 overlaps the plan's network lan": func(a *KubeadmClusterArgs) { a.Pods = "10.10.0.0/16" },
	"pods: 10.200.0.0/16 overlaps a route of the network lan": func(a *KubeadmClusterArgs) {
		a.Pods = "10.200.0.0/16"
		a.Plan.Networks[0].Routes = []host.Route{{To: "10.200.7.0/24", Via: "10.10.0.1"}}
	},
	"pods: 10.244.0.0/24 is of the wrong size":                 func(a *KubeadmClusterArgs) { a.Pods = "10.244.0.0/24" },
	"pods: 10.244.0.0/22 has 4 ranges of /24, and there are 5": func(a *KubeadmClusterArgs) { a.Pods = "10.244.0.0/22" },
	"services: 10.244.16.0/20 overlaps pods (10.244.0.0/16)":   func(a *KubeadmClusterArgs) { a.Services = "10.244.16.0/20" },
	"services: 10.96.0.0/8 is not a range":                     func(a *KubeadmClusterArgs) { a.Services = "10.96.0.0/8" },
	`domain: "a b" is not a DNS domain`:                        func(a *KubeadmClusterArgs) { a.Domain = "a b" },
	`proxy: "ipvs" is not a mode`:                              func(a *KubeadmClusterArgs) { a.Proxy = "ipvs" },
	`reaction: "slow" is not a profile`:                        func(a *KubeadmClusterArgs) { a.Reaction = "slow" },
	`podSecurity: "strict" is not a level`:                     func(a *KubeadmClusterArgs) { a.PodSecurity = "strict" },
	"audit.days: -1":                                           func(a *KubeadmClusterArgs) { a.Audit.Days = -1 },
	"audit.policy: is no YAML":                                 func(a *KubeadmClusterArgs) { a.Audit.Policy = "\t{" },
	`audit.policy: is of kind "Pod"`:                           func(a *KubeadmClusterArgs) { a.Audit.Policy = "kind: Pod" },
	"audit.policy: has no rules":                               func(a *KubeadmClusterArgs) { a.Audit.Policy = "{apiVersion: audit.k8s.io/v1, kind: Policy}" },
	"snapshots.every: is missing":                              func(a *KubeadmClusterArgs) { a.Snapshots.Keep = 5 },
	"snapshots.every: 1m0s is no interval":                     func(a *KubeadmClusterArgs) { a.Snapshots.Every = time.Minute },
	"snapshots.every: 10m1s is no interval":                    func(a *KubeadmClusterArgs) { a.Snapshots.Every = 601 * time.Second },
	`restore.name: "" is not a name`: func(a *KubeadmClusterArgs) {
		a.Restore = &Restore{Host: "master1", Snapshot: "x.db"}
	},
	`restore.host: "worker1" is no control plane; name the one that has the snapshot: master1, master2, master3`: func(a *KubeadmClusterArgs) {
		a.Restore = &Restore{Name: "a", Host: "worker1", Snapshot: "x.db"}
	},
	`restore.snapshot: "../x.db" is not the name of a file`: func(a *KubeadmClusterArgs) {
		a.Restore = &Restore{Name: "a", Host: "master1", Snapshot: "../x.db"}
	},
	`groups.Ops: "Ops" is not a name`:        func(a *KubeadmClusterArgs) { a.Groups = map[string]Group{"Ops": {Role: "view"}} },
	`groups.ops.role: "" is not the name`:    func(a *KubeadmClusterArgs) { a.Groups = map[string]Group{"ops": {}} },
	`groups.ops.role: "a b" is not the name`: func(a *KubeadmClusterArgs) { a.Groups = map[string]Group{"ops": {Role: "a b"}} },
	`groups.ops.namespaces[0]: "A" is not a na`: func(a *KubeadmClusterArgs) {
		a.Groups = map[string]Group{"ops": {Role: "view", Namespaces: []string{"A"}}}
	},
	"groups.ops.namespaces[1]: a stands there": func(a *KubeadmClusterArgs) {
		a.Groups = map[string]Group{"ops": {Role: "view", Namespaces: []string{"a", "a"}}}
	},
	`users.a@b: "a@b" is not a name`:                func(a *KubeadmClusterArgs) { a.Users = map[string]User{"a@b": {}} },
	"users.halinux: is the name of the cluster":     func(a *KubeadmClusterArgs) { a.Users = map[string]User{"halinux": {}} },
	"users.anna.days: 1 days":                       func(a *KubeadmClusterArgs) { a.Users = map[string]User{"anna": {Days: 1}} },
	`users.anna.groups[0]: there is no group "ops"`: func(a *KubeadmClusterArgs) { a.Users = map[string]User{"anna": {Groups: []string{"ops"}}} },
	"users.anna.groups[1]: ops stands there twice": func(a *KubeadmClusterArgs) {
		a.Groups = map[string]Group{"ops": {Role: "view"}}
		a.Users = map[string]User{"anna": {Groups: []string{"ops", "ops"}}}
	},
	"snapshots.copyTo: master1 is a control plane": func(a *KubeadmClusterArgs) {
		a.Snapshots = Snapshots{Every: time.Hour, CopyTo: "master1"}
	},
	`snapshots.copyTo: there is no host "x"`: func(a *KubeadmClusterArgs) { a.Snapshots = Snapshots{Every: time.Hour, CopyTo: "x"} },
	`snapshots.copyTo: x has no IPv4 address on the network "lan"`: func(a *KubeadmClusterArgs) {
		a.Snapshots, a.SnapshotStore = Snapshots{Every: time.Hour, CopyTo: "x"}, aHost("x", "10.10.0.99")
	},
	"snapshots.copyTo: the key of spare1 is not known": func(a *KubeadmClusterArgs) {
		a.Snapshots, a.SnapshotStore = Snapshots{Every: time.Hour, CopyTo: "spare1"}, aHost("spare1", "10.10.0.71")
		a.SnapshotStore.SSH.HostKey = ""
	},
	"snapshots.copyTo: the sshd of spare1 listens at port 2222": func(a *KubeadmClusterArgs) {
		a.Snapshots, a.SnapshotStore = Snapshots{Every: time.Hour, CopyTo: "spare1"}, aHost("spare1", "10.10.0.71")
		a.SnapshotStore.SSH.Port = 2222
	},
	"snapshots.keep: -1 snapshots":                func(a *KubeadmClusterArgs) { a.Snapshots = Snapshots{Every: time.Hour, Keep: -1} },
	`flannel.backend: "udp" is not a backend`:     func(a *KubeadmClusterArgs) { a.Flannel.Backend = "udp" },
	"flannel.port: 70000 is not a port":           func(a *KubeadmClusterArgs) { a.Flannel.Port = 70000 },
	"ingress.port: 443 is not a port for it":      func(a *KubeadmClusterArgs) { a.Ingress.Port = 443 },
	"ingress.checkPort: 8080 is that of requests": func(a *KubeadmClusterArgs) { a.Ingress.CheckPort = 8080 },
}

func TestValidate(t *testing.T) {
	for want, spoil := range spoiled {
		t.Run(want, func(t *testing.T) {
			a := example()
			spoil(a)
			problems := a.Validate()
			found := false
			for _, p := range problems.All() {
				found = found || strings.HasPrefix(strings.ReplaceAll(p.String(), `"10.96.0.0/8"`, "10.96.0.0/8"), want)
				assert.NotEmpty(t, p.Remedy, p.String())
			}
			assert.True(t, found, "%v", problems.Err())
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	a := &KubeadmClusterArgs{}
	problems := a.Validate()
	require.Error(t, problems.Err())
	assert.GreaterOrEqual(t, len(problems.All()), 4)
}
