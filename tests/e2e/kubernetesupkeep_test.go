package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pulumi is the CLI on the stack, as a person calls it.
func (b *Bed) pulumi(t testing.TB, words ...string) string {
	t.Helper()
	c := exec.Command("pulumi", append(words, "-s", b.stack)...)
	c.Dir, c.Env = b.work(), b.environment("")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("pulumi %s: %v", strings.Join(words, " "), err)
	}
	return string(out)
}

// forget takes the phases of a host out of the state, as docs/operations.md says
// for one that is gone for good.
func (b *Bed) forget(t testing.TB, host string) {
	t.Helper()
	for line := range strings.Lines(b.pulumi(t, "stack", "--show-urns")) {
		if _, urn, ok := strings.Cut(strings.TrimSpace(line), "URN: "); ok && strings.HasSuffix(urn, "Command::base-"+host+"-library") {
			b.pulumi(t, "state", "delete", "--yes", "--target-dependents", urn)
			return
		}
	}
	t.Fatalf("the state has no phases of %s", host)
}

// withoutHost takes a host out of the settings.
func withoutHost(name string) Change {
	return func(s Settings) {
		s["halinux:hosts"] = slices.DeleteFunc(s["halinux:hosts"].([]any), func(h any) bool { return h.(map[string]any)["name"] == name })
	}
}

// members waits until etcd has one member for each control plane, and all vote.
func (k *kube) members(t testing.TB) {
	t.Helper()
	const list = `etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key /etc/kubernetes/pki/etcd/healthcheck-client.key member list`
	Until(t, 2*time.Minute, "all control planes to vote in etcd", paced(func() error {
		out, err := k.try(k.masters[0], list)
		if err != nil {
			return err
		}
		if lines := strings.Count(out, "\n"); lines != len(k.masters) || strings.Count(out, ", started, ") != lines || strings.Contains(out, ", true\n") {
			return fmt.Errorf("its members are\n%s", out)
		}
		return nil
	}))
}

// settled waits until the cluster is whole, and sees that nothing is left to do.
func (k *kube) settled(t testing.TB, changes ...Change) {
	t.Helper()
	Until(t, 5*time.Minute, "the cluster to be whole", paced(k.Whole))
	k.members(t)
	k.Unchanged(t, changes...)
}

// may says what somebody may do, by a kubeconfig that lies on a host.
func (k *kube) may(t testing.TB, host, kubeconfig, what string) bool {
	t.Helper()
	out := k.On(t, host, "kubectl --kubeconfig "+kubeconfig+" --request-timeout=10s auth can-i "+what+" 2>/dev/null || :")
	if out = strings.TrimSpace(out); out != "yes" && out != "no" {
		t.Fatalf("whether %s may %s: %q", kubeconfig, what, out)
	}
	return out == "yes"
}

// upkept gives a cluster that stands all that its settings can give it, and takes it
// away again.
func upkept(t *testing.T, k *kube) {
	m, w, store := k.masters[1], k.workers[len(k.workers)-1], k.f.Edge.Services[0].Backends[0].Host
	changes := []Change{
		Set(map[string]any{"every": "10m", "keep": 5, "copyTo": store}, kubernetesKey, "snapshots"),
		Set(map[string]any{"ops": map[string]any{"role": "cluster-admin"}, "web": map[string]any{"role": "edit", "namespaces": []any{"web"}}}, kubernetesKey, "groups"),
		Set(map[string]any{"anna": map[string]any{"groups": []any{"ops"}}, "ben": map[string]any{"groups": []any{"web"}, "days": 30}}, kubernetesKey, "users"),
		Set(map[string]any{
			w: map[string]any{
				"labels": map[string]any{"disk": "fast", "topology.kubernetes.io/zone": "b"}, "maxPods": 40,
				"taints": []any{map[string]any{"key": "only", "value": "gpu", "effect": "PreferNoSchedule"}},
			},
			m: map[string]any{"labels": map[string]any{"rack": "r2"}},
		}, kubernetesKey, "nodes"),
	}
	node := func(name, is string) {
		t.Helper()
		Until(t, time.Minute, name+" to be as the settings say", paced(func() error {
			out, err := k.kubectl("get node " + name + ` -o jsonpath='{.metadata.labels.disk}|{.metadata.labels.topology\.kubernetes\.io/zone}|{.metadata.labels.rack}|{.spec.taints[?(@.key=="only")].effect}|{.status.capacity.pods}'`)
			if err == nil && out != is {
				err = fmt.Errorf("%q, not %q", out, is)
			}
			return err
		}))
	}
	l := k.Send(t, "client", with(k.pods(t), patient))
	given := k.Up(t, changes...)
	node(w, "fast|b||PreferNoSchedule|40")
	node(m, "||r2||110")
	var kubeconfigs map[string]string
	if err := json.Unmarshal([]byte(k.pulumi(t, "stack", "output", "userKubeconfigs", "--show-secrets", "--json")), &kubeconfigs); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"anna", "ben"} {
		file := "/root/halinux-" + name
		if err := k.put(m, file, strings.NewReader(kubeconfigs[name])); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = k.try(m, "rm -f "+file) })
		all := name == "anna"
		for what, can := range map[string]bool{"list nodes": all, "create deployments -n web": true, "create deployments -n " + workload: all, "list secrets -n kube-system": all} {
			if k.may(t, m, file, what) != can {
				t.Errorf("%s may %s: %v", name, what, !can)
			}
		}
	}
	for _, master := range k.masters {
		k.On(t, master, "ls /var/backups/etcd/etcd-"+master+"-*.db")
		k.On(t, store, "ls /var/lib/halinux-etcd/snapshots/etcd-"+master+"-*.db")
	}
	k.settled(t, changes...)
	taken := k.Up(t)
	node(w, "||||110")
	node(m, "||||110")
	if k.may(t, m, "/root/halinux-anna", "list nodes") {
		t.Error("who is no user any more may do what he could before")
	}
	k.On(t, store, "! id halinux-etcd 2>/dev/null; ls /var/lib/halinux-etcd/snapshots/*.db")
	k.settled(t)
	figure := k.measured("snapshots, users, labels, taints and the kubelet's settings for a cluster that stands", "s")
	figure.Value, figure.Limit, figure.Note = given.Took.Seconds(), 120, fmt.Sprintf("taken away again in %.0f s", taken.Took.Seconds())
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), l)
}

// snapshots are taken while a scenario needs them.
var snapshots = Set(map[string]any{"every": "10m"}, kubernetesKey, "snapshots")

// snapshot has a control plane take one, which knows the namespace "before" and not
// "after", and returns its name.
func (k *kube) snapshot(t testing.TB, host string) string {
	t.Helper()
	k.Up(t, snapshots)
	k.do(t, "create namespace before")
	t.Cleanup(func() { _, _ = k.kubectl("delete namespace before after --ignore-not-found --wait=false") })
	name := path.Base(strings.TrimSpace(k.On(t, host, "systemctl start halinux-etcd-snapshot.service; ls /var/backups/etcd/*.db | tail -n 1")))
	k.do(t, "create namespace after")
	return name
}

// restoreOf are the settings of a restore that no cluster has seen yet.
func restoreOf(host, snapshot string, discard bool) Change {
	return Set(map[string]any{"name": fmt.Sprintf("trial-%d", time.Now().Unix()), "host": host, "snapshot": snapshot, "discard": discard}, kubernetesKey, "restore")
}

// isBefore fails the test unless the cluster is what it was at the snapshot.
func (k *kube) isBefore(t testing.TB) {
	t.Helper()
	if out := k.do(t, "get namespaces -o name"); !strings.Contains(out, "namespace/before\n") || strings.Contains(out, "namespace/after\n") {
		t.Errorf("the cluster is not what it was at the snapshot:\n%s", out)
	}
}

// restored has etcd made from a snapshot, while pods are asked, and wants the cluster
// of then.
func (k *kube) restored(t *testing.T, restore Change, metric string, l *Load) {
	t.Helper()
	r := k.Up(t, snapshots, restore)
	k.isBefore(t)
	k.settled(t, snapshots, restore)
	k.Up(t)
	figure := k.measured(metric, "s")
	figure.Value, figure.Limit = r.Took.Seconds(), 900
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), l)
}

// putBack restores etcd while it works, from a control plane that is not the first.
func putBack(t *testing.T, k *kube) {
	holder := k.masters[1]
	snapshot := k.snapshot(t, holder)
	refused := k.Do(t, "up", snapshots, restoreOf(holder, snapshot, false))
	if refused.Code == 0 {
		t.Error("up has thrown away what came after the snapshot, unasked")
	}
	has(t, refused.Output(), "discard")
	l := k.Send(t, "client", with(k.pods(t), patient))
	k.restored(t, restoreOf(holder, snapshot, true), "etcd is as it was at a snapshot, all control planes vote", l)
}

// majorityGone puts fresh hosts in the place of two control planes, and etcd is made
// from what the third one has.
func majorityGone(t *testing.T, k *kube) {
	holder := k.masters[2]
	snapshot := k.snapshot(t, holder)
	l := k.Send(t, "client", with(k.pods(t), patient))
	for _, m := range k.masters[:2] {
		k.Lab(t, "crash", m)
	}
	for _, m := range k.masters[:2] {
		k.Lab(t, "replace", m)
	}
	k.restored(t, restoreOf(holder, snapshot, false), "the majority is gone for good: restored on fresh hosts", l)
}

// masterReplaced puts a fresh host in the place of the control plane that made the
// cluster.
func masterReplaced(t *testing.T, k *kube) {
	m := k.masters[0]
	pods := k.Send(t, "client", with(k.pods(t), patient))
	l := k.Send(t, controller, with(k.api(t), impatient))
	k.Lab(t, "replace", m)
	r := k.Up(t)
	k.settled(t)
	k.NoDrift(t)
	s := l.Stop(t)
	figure := k.measured("time without an API server at the endpoint", "s")
	figure.Value, figure.Limit, figure.Note = outage(s), 5, loads(s)
	k.Record(t, figure)
	figure = k.measured("a fresh host is a control plane", "s")
	figure.Value, figure.Limit, figure.Note = r.Took.Seconds(), 600, m+", the first of the list"
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), pods)
}

// certificatesRenewed has each control plane renew its certificates long before it
// has to, as its timer would.
func certificatesRenewed(t *testing.T, k *kube) {
	pods := k.Send(t, "client", with(k.pods(t), patient))
	l := k.Send(t, controller, with(k.api(t), impatient))
	const unit, serials = "halinux-e2e-renewal", "for c in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt; do echo $c $(openssl x509 -noout -serial -in $c); done"
	for _, m := range k.masters {
		words := []string{"/usr/local/lib/halinux/renew-certificates", k.hosts[m], "4000"}
		for _, peer := range k.masters {
			if peer != m {
				words = append(words, k.hosts[peer])
			}
		}
		before := strings.Split(k.On(t, m, serials), "\n")
		k.On(t, m, "systemd-run --quiet --unit="+unit+" -p Type=oneshot -p RemainAfterExit=yes --no-block "+strings.Join(words, " "))
		Until(t, 10*time.Minute, m+" to have renewed its certificates", paced(func() error {
			state, err := k.try(m, "systemctl show -P ActiveState "+unit)
			if err != nil {
				return err
			}
			if state = strings.TrimSpace(state); state == "failed" {
				t.Fatalf("on %s:\n%s", m, k.On(t, m, "journalctl -q --no-pager -o cat -u "+unit))
			}
			if state != "active" {
				return fmt.Errorf("the renewal is %s", state)
			}
			return nil
		}))
		k.On(t, m, "systemctl stop "+unit)
		for i, line := range strings.Split(k.On(t, m, serials), "\n") {
			file, _, _ := strings.Cut(line, " ")
			if authority := strings.HasSuffix(file, "ca.crt"); file != "" && (line == before[i]) != authority {
				t.Errorf("%s: %s, it was %s", m, line, before[i])
			}
		}
		Until(t, 5*time.Minute, "the cluster to be whole", paced(k.Whole))
	}
	k.settled(t)
	k.NoDrift(t)
	s := l.Stop(t)
	figure := k.measured("time without an API server at the endpoint", "s")
	figure.Value, figure.Limit, figure.Note = outage(s), 5, loads(s)
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), pods)
}

// keysRotated has another key write the cluster's secrets, and then the first one again.
func keysRotated(t *testing.T, k *kube) {
	pods := k.Send(t, "client", with(k.pods(t), patient))
	l := k.Send(t, controller, with(k.api(t), impatient))
	k.do(t, "-n default create secret generic kept --from-literal=word=halinux")
	t.Cleanup(func() { _, _ = k.kubectl("-n default delete secret kept --ignore-not-found") })
	var took time.Duration
	for _, keys := range [][2]string{{"next", "key1"}, {"key1", "next"}} {
		both := Set([]any{keys[0], keys[1]}, kubernetesKey, "encryptionKeys")
		alone := Set([]any{keys[0]}, kubernetesKey, "encryptionKeys")
		took += k.Up(t, both).Took
		k.settled(t, both)
		took += k.Up(t, alone).Took
		k.settled(t, alone)
		for _, m := range k.masters {
			k.On(t, m, "/usr/local/lib/halinux/encryption-keys written "+k.hosts[m]+" "+keys[0])
			if out := k.On(t, m, "cat /etc/kubernetes/halinux/apiserver/encryption-*.yaml"); strings.Contains(out, "name: "+keys[1]+",") {
				t.Errorf("%s still has the key %s", m, keys[1])
			}
		}
		if out := k.do(t, "-n default get secret kept -o jsonpath='{.data.word}'"); out != "aGFsaW51eA==" {
			t.Errorf("the secret is %q", out)
		}
	}
	k.Unchanged(t)
	s := l.Stop(t)
	figure := k.measured("time without an API server at the endpoint", "s")
	figure.Value, figure.Limit, figure.Note = outage(s), 5, loads(s)
	k.Record(t, figure)
	figure = k.measured("another key writes all secrets, and the one before is gone", "s")
	figure.Value, figure.Limit, figure.Note = took.Seconds()/2, 600, "the mean of two rotations, of two runs each"
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), pods)
}

// nodesGone: a worker and a control plane die. One is not to come back, and a fresh
// host takes the other's place.
func nodesGone(t *testing.T, k *kube) {
	m, w := k.masters[2], k.workers[len(k.workers)-1]
	l := k.Send(t, "client", with(k.pods(t), impatient))
	k.Lab(t, "crash", m)
	k.Lab(t, "crash", w)
	k.forget(t, w)
	k.Lab(t, "replace", m)
	gone := []Change{withoutHost(w), Set([]any{w}, kubernetesKey, "gone")}
	r := k.Up(t, gone...)
	if out := k.do(t, "get nodes -o name"); strings.Contains(out, "node/"+w+"\n") {
		t.Errorf("%s is still a node:\n%s", w, out)
	}
	k.movedOff(t, w)
	k.members(t)
	k.Unchanged(t, gone...)
	l.Steady(t, 5*time.Second, time.Minute)
	s := l.Stop(t)
	figure := k.measured("time with failed requests to the pods", "s")
	figure.Value, figure.Limit, figure.Note = outage(s), 60, loads(s)
	k.Record(t, figure)
	figure = k.measured("a worker is gone from the cluster, a fresh control plane in it", "s")
	figure.Value, figure.Limit = r.Took.Seconds(), 600
	k.Record(t, figure)
	k.Lab(t, "replace", w)
	k.Up(t)
	k.settled(t)
	k.NoDrift(t)
}

func TestWithoutHost(t *testing.T) {
	s := Settings{"halinux:hosts": []any{map[string]any{"name": "one"}, map[string]any{"name": "two"}}}
	withoutHost("one")(s)
	require.Equal(t, Settings{"halinux:hosts": []any{map[string]any{"name": "two"}}}, s)
}
