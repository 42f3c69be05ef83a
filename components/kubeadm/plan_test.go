package kubeadm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/planned"
)

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEifqgANOTZ7vHIzPd7wuUQcS7vlGsgKQkl3eh34oJyx"

func aHost(name, address string) host.Host {
	return host.Host{Name: name, SSH: host.SSH{Address: address, HostKey: hostKey}}
}

// example is a small site: three control planes and two workers on one network.
func example() *KubeadmClusterArgs {
	a := &KubeadmClusterArgs{
		Network: "lan", Endpoint: Endpoint{Address: "10.10.0.101", Names: []string{"kubernetes.example.org"}},
		Bundle: Bundle{URL: "http://10.10.0.5/"},
		Plan: host.AddressPlan{
			Domain:   "example.org",
			Networks: []host.Network{{Name: "lan", CIDR: "10.10.0.0/24", Gateway: "10.10.0.1"}},
		},
		Nodes: map[string]Node{"worker2": {
			Labels: map[string]string{"example.org/disk": "ssd", "topology.kubernetes.io/zone": "b"},
			Taints: []Taint{{Key: "example.org/only", Value: "db", Effect: "NoSchedule"}},
		}},
	}
	for _, h := range []struct {
		name string
		last int
	}{{"master1", 51}, {"master2", 52}, {"master3", 53}, {"worker1", 61}, {"worker2", 62}, {"spare1", 71}} {
		address := fmt.Sprintf("10.10.0.%d", h.last)
		a.Plan.Hosts = append(a.Plan.Hosts, host.PlannedHost{Name: h.name, Links: []host.Link{{Network: "lan", Address: address, Interface: "eth0"}}})
		switch {
		case strings.HasPrefix(h.name, "master"):
			a.ControlPlanes = append(a.ControlPlanes, aHost(h.name, address))
		case strings.HasPrefix(h.name, "worker"):
			a.Workers = append(a.Workers, aHost(h.name, address))
		}
	}
	return a
}

// exampleOther says what example leaves to its defaults.
func exampleOther() *KubeadmClusterArgs {
	a := example()
	a.Name, a.Version, a.Pods, a.Services, a.Domain = "site-b", "v1.35.4", "10.64.0.0/12", "10.80.0.0/20", "site-b.internal"
	a.Proxy, a.Flannel = "iptables", Flannel{Backend: "host-gw"}
	a.Ingress, a.Edges = Ingress{Port: 18080, CheckPort: 18081}, []string{"spare1"}
	a.Endpoint.Port = 8443
	a.Reaction, a.PodSecurity, a.Audit = "fast", "restricted", Audit{Policy: "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n", Days: 7}
	a.Snapshots = Snapshots{Every: 90 * time.Minute, Keep: 24, CopyTo: "spare1"}
	a.SnapshotStore = aHost("spare1", "10.10.0.71")
	a.Groups = map[string]Group{"ops": {Role: "cluster-admin"}, "dev": {Role: "edit", Namespaces: []string{"web", "db"}}}
	a.Users = map[string]User{"anna": {Groups: []string{"ops", "dev"}}, "berta": {Groups: []string{"dev"}, Days: 30}}
	a.Gone = []string{"master4", "worker9"}
	a.Restore = &Restore{Name: "2026-01-02", Host: "master2", Snapshot: "etcd-master2-20260102T030405Z.db"}
	a.Nodes["worker1"] = Node{MaxPods: 200, Reserved: map[string]string{"cpu": "200m", "memory": "512Mi"}}
	a.Plan.Networks[0].MTU = 9000
	a.Bundle = Bundle{URL: "https://bundle.example.org", CA: testCA, Sums: strings.Repeat("0123456789abcdef", 4)}
	a.Mirrors = []Mirror{{Registry: "docker.io", URLs: []string{"https://mirror1.example.org", "https://mirror2.example.org/"}, CA: testCA}}
	return a
}

func exampleParts(string) pulumi.StringInput { return pulumi.String("sentinel") }

type stepPhase struct {
	step, host string
	host.Phase
}

// phasesOf are all phases in their order.
func phasesOf(t *testing.T, a *KubeadmClusterArgs) []stepPhase {
	t.Helper()
	s, err := plan(a, exampleParts, exampleParts)
	require.NoError(t, err)
	var all []stepPhase
	for _, h := range slices.Sorted(maps.Keys(s.preflight)) {
		all = append(all, stepPhase{"preflight", h, s.preflight[h]})
	}
	for _, h := range slices.Sorted(maps.Keys(s.prepare)) {
		for _, p := range s.prepare[h] {
			all = append(all, stepPhase{"prepare", h, p})
		}
	}
	for _, m := range []map[string]host.Phase{s.mayRestore, s.restore} {
		for _, h := range slices.Sorted(maps.Keys(m)) {
			all = append(all, stepPhase{"restore", h, m[h]})
		}
	}
	for _, h := range slices.Sorted(maps.Keys(s.upgrade)) {
		for _, p := range s.upgrade[h] {
			all = append(all, stepPhase{"upgrade", h, p})
		}
	}
	for _, h := range slices.Sorted(maps.Keys(s.readers)) {
		for _, p := range s.readers[h] {
			all = append(all, stepPhase{"encryption", h, p})
		}
	}
	for _, p := range s.controlPlanes {
		all = append(all, stepPhase{"control planes", p.host, p.phase})
	}
	for _, p := range s.restored {
		all = append(all, stepPhase{"restore", a.Restore.Host, p})
	}
	for _, h := range slices.Sorted(maps.Keys(s.certificates)) {
		all = append(all, stepPhase{"certificates", h, s.certificates[h]})
	}
	if a.Snapshots.Every > 0 {
		if a.Snapshots.CopyTo != "" {
			p, err := a.snapshotStorePhase(pulumi.String("sentinel"))
			require.NoError(t, err)
			all = append(all, stepPhase{"snapshots", a.Snapshots.CopyTo, p})
		}
		for _, h := range host.Names(a.ControlPlanes) {
			p, err := a.snapshotsPhase(h, pulumi.String("sentinel"))
			require.NoError(t, err)
			all = append(all, stepPhase{"snapshots", h, p})
		}
	}
	for _, h := range slices.Sorted(maps.Keys(s.workers)) {
		all = append(all, stepPhase{"workers", h, s.workers[h]})
	}
	for _, h := range slices.Sorted(maps.Keys(s.labels)) {
		all = append(all, stepPhase{"labels", h, s.labels[h]})
	}
	for _, p := range s.encryption {
		all = append(all, stepPhase{"encryption", a.ControlPlanes[0].Name, p})
	}
	for _, p := range slices.Concat(s.cluster, s.taints, []host.Phase{s.systemPods}) {
		all = append(all, stepPhase{"cluster", a.ControlPlanes[0].Name, p})
	}
	return all
}

// text is everything that the steps put on the hosts, without the scripts. What
// is the same on several hosts stands there once.
func text(t *testing.T, a *KubeadmClusterArgs) string {
	t.Helper()
	var b strings.Builder
	bodies := map[string]string{}
	for _, p := range phasesOf(t, a) {
		body := planned.Text(p.Phase)
		fmt.Fprintf(&b, "=== %s: %s on %s\n", p.step, p.Name, p.host)
		if first, ok := bodies[p.Name+body]; ok {
			fmt.Fprintf(&b, "as on %s\n", first)
			continue
		}
		bodies[p.Name+body] = p.host
		b.WriteString(body)
	}
	return b.String()
}

func TestExamplesAreValid(t *testing.T) {
	for _, a := range []*KubeadmClusterArgs{example(), exampleOther()} {
		problems := a.Validate()
		require.NoError(t, problems.Err())
	}
}

func TestFiles(t *testing.T) {
	golden.Compare(t, "testdata/cluster.golden", text(t, example()))
	golden.Compare(t, "testdata/other.golden", text(t, exampleOther()))
	for range 20 {
		require.Equal(t, text(t, exampleOther()), text(t, exampleOther()), "equal arguments must give equal files")
	}
	assert.NotContains(t, text(t, example()), "sentinel", "a secret is in a file's text")
}

// changed are the phases, as "host phase", that a change of the arguments changes.
func changed(t *testing.T, change func(*KubeadmClusterArgs)) []string {
	t.Helper()
	named := func(a *KubeadmClusterArgs) map[string]host.Phase {
		all := map[string]host.Phase{}
		for _, p := range phasesOf(t, a) {
			all[p.host+" "+p.Name] = p.Phase
		}
		return all
	}
	after := example()
	change(after)
	return planned.Changed(named(example()), named(after))
}

func TestAChangeTouchesWhatItMust(t *testing.T) {
	assert.Equal(t, []string{"spare1 kubernetes", "spare1 kubernetes-preflight", "spare1 runtime", "spare1 worker"}, changed(t, func(a *KubeadmClusterArgs) {
		a.Workers = append(a.Workers, aHost("spare1", "10.10.0.71"))
	}), "a new worker touches no other host")
	assert.Equal(t, []string{"- worker1 kubernetes", "- worker1 kubernetes-preflight", "- worker1 runtime", "- worker1 worker"}, changed(t, func(a *KubeadmClusterArgs) {
		a.Workers = a.Workers[1:]
	}), "neither does one that leaves")
	assert.Equal(t, []string{"master1 flannel"}, changed(t, func(a *KubeadmClusterArgs) { a.Flannel.Port = 4789 }))
	assert.Equal(t, []string{
		"master1 control-plane", "master1 restore", "master1 restore-preflight",
		"master2 control-plane", "master2 restore", "master2 restore-preflight", "master2 restored",
		"master3 control-plane", "master3 restore", "master3 restore-preflight",
	}, changed(t, func(a *KubeadmClusterArgs) { a.Restore = exampleOther().Restore }), "a restore is the control planes' affair")
	assert.Equal(t, []string{"master1 ingress"}, changed(t, func(a *KubeadmClusterArgs) { a.Edges = []string{"spare1"} }))
	assert.Equal(t, []string{"master1 control-plane", "master1 gone", "master2 control-plane", "master3 control-plane"}, changed(t, func(a *KubeadmClusterArgs) {
		a.Gone = []string{"master4"}
	}))
	for _, c := range changed(t, func(a *KubeadmClusterArgs) { a.Version, a.Upgrade = "v1.36.2", &Upgrade{From: "v1.36.1"} }) {
		_, phase, _ := strings.Cut(c, " ")
		assert.Contains(t, []string{"kubernetes-preflight", "kubernetes", "upgrade", "control-plane", "flannel"}, phase, "an upgrade changes %s", c)
	}
	assert.Equal(t, []string{"master1 access"}, changed(t, func(a *KubeadmClusterArgs) { a.Groups = exampleOther().Groups }))
	assert.Empty(t, changed(t, func(a *KubeadmClusterArgs) { a.Users = map[string]User{"anna": {}} }), "a user alone is no host's affair")
	assert.Equal(t, []string{"worker1 labels", "worker1 worker"}, changed(t, func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Labels: map[string]string{"a": "b"}}
	}))
	assert.Equal(t, []string{"worker1 kubernetes"}, changed(t, func(a *KubeadmClusterArgs) { a.Nodes["worker1"] = Node{MaxPods: 200} }))
	assert.Len(t, changed(t, func(a *KubeadmClusterArgs) { a.Reaction = "fast" }), 8, "all nodes' kubelets, and the control planes")
	assert.Equal(t, []string{"master1 taints", "worker1 worker"}, changed(t, func(a *KubeadmClusterArgs) {
		a.Nodes["worker1"] = Node{Taints: []Taint{{Key: "a", Effect: "NoSchedule"}}}
	}), "a node may not change its own taints")
}

// TestContainerdsTemplate is about the one template that is not ours to fill in.
func TestContainerdsTemplate(t *testing.T) {
	for _, p := range phasesOf(t, example()) {
		for _, f := range p.Files {
			if f.Path == "/etc/containerd/cni.tmpl" {
				assert.Contains(t, f.Content, "{{range $i, $r := .PodCIDRRanges}}")
				assert.Contains(t, f.Content, `"mtu": 1450`)
				return
			}
		}
	}
	t.Fatal("no phase has it")
}

// TestMirrorOfThePlatform: an authority that is known in a run alone comes to the
// hosts as what is secret does.
func TestMirrorOfThePlatform(t *testing.T) {
	a := exampleOther()
	authority := pulumi.String("PEM")
	a.Mirrors = append(a.Mirrors, Mirror{Registry: "registry.example.org", URLs: []string{"https://registry.example.org"}, Authority: authority})
	p, err := a.runtimePhase()
	require.NoError(t, err)
	contents := map[string]string{}
	for _, f := range p.Files {
		contents[f.Path] = f.Content
	}
	folder := "/etc/containerd/certs.d/registry.example.org/"
	assert.Equal(t, map[string]pulumi.StringInput{"authority-2": authority}, p.Secrets)
	assert.Equal(t, "[secret authority-2]\n", contents[folder+"ca.pem"])
	assert.Contains(t, contents[folder+"hosts.toml"], `ca = "`+folder+`ca.pem"`)
	assert.Equal(t, testCA, contents["/etc/containerd/certs.d/docker.io/ca.pem"], "others stay what they are")
}
