package e2e

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// kubernetesGroup is the lab's group of nodes.
	kubernetesGroup = "kubernetes"
	// kubernetesKey is where the cluster stands in the settings.
	kubernetesKey = "halinux:kubernetes"
	// workload is what is asked for through the ingress controller, and the name
	// of its Deployment and of its namespace.
	workload = "hello"
)

// kube is what a scenario of the cluster works with.
type kube struct {
	*Bed
	f        *facts
	masters  []string
	workers  []string
	endpoint string // of API servers, as address:port
	site     string // the name that leads to the workload
	scenario string // what the report says the running scenario does
	id       string
}

// kube finds the cluster in the platform's settings.
func (b *Bed) kube(t testing.TB, f *facts) *kube {
	t.Helper()
	k := &kube{Bed: b, f: f, endpoint: net.JoinHostPort(f.Kubernetes.Endpoint.Address, strconv.Itoa(cmp.Or(f.Kubernetes.Endpoint.Port, 6443)))}
	for _, h := range f.Hosts {
		if slices.Contains(h.Roles, cmp.Or(f.Kubernetes.ControlPlaneRole, "control-plane")) {
			k.masters = append(k.masters, h.Name)
		}
		if slices.Contains(h.Roles, cmp.Or(f.Kubernetes.WorkerRole, "worker")) {
			k.workers = append(k.workers, h.Name)
		}
	}
	if len(k.masters) != 3 || len(k.workers) < 2 || len(f.Kubernetes.Sites) == 0 || len(f.Kubernetes.Sites[0].Hosts) == 0 {
		t.Fatalf("the scenarios need three control planes, two workers and a site in %s; found %+v", b.settingsFile(), f.Kubernetes)
	}
	k.site = f.Kubernetes.Sites[0].Hosts[0]
	return k
}

// kubectl runs it on the first control plane that is not away. It asks API
// servers by the endpoint, so that any of them may answer.
func (k *kube) kubectl(words string, away ...string) (string, error) {
	for _, m := range k.masters {
		if !slices.Contains(away, m) {
			return k.try(m, "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s "+words)
		}
	}
	return "", fmt.Errorf("all of %v are away", k.masters)
}

// do is kubectl for what has to work.
func (k *kube) do(t testing.TB, words string, away ...string) string {
	t.Helper()
	out, err := k.kubectl(words, away...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", words, err)
	}
	return out
}

// nodeStates prints for each node its name, whether it is ready, and whether it
// takes no pods.
const nodeStates = `get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.spec.unschedulable}{"\n"}{end}'`

// wholeNodes says which of the hosts is no node that takes pods, or nil.
func wholeNodes(states string, hosts []string) error {
	found := map[string]string{}
	for line := range strings.Lines(states) {
		if words := strings.Fields(line); len(words) > 1 {
			found[words[0]] = strings.Join(words[1:], " ")
		}
	}
	for _, h := range hosts {
		if found[h] != "True" {
			return fmt.Errorf("node %s: ready and cordoned: %q", h, found[h])
		}
	}
	if len(found) != len(hosts) {
		return fmt.Errorf("there are the nodes %v, not %v", found, hosts)
	}
	return nil
}

// lacksNode says whether one of the hosts is no node at all.
func lacksNode(states string, hosts []string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool { return !strings.Contains("\n"+states, "\n"+h+" ") })
}

// podStates prints for each pod of the workload its node, whether it is ready,
// and when it was told to end.
const podStates = `-n ` + workload + ` get pods -l app=` + workload + ` -o jsonpath='{range .items[*]}{.spec.nodeName} {.status.conditions[?(@.type=="Ready")].status} {.metadata.deletionTimestamp}{"\n"}{end}'`

// readyOff counts the pods that serve on another node than the one.
func readyOff(states, node string) int {
	n := 0
	for line := range strings.Lines(states) {
		if words := strings.Fields(line); len(words) == 2 && words[0] != node && words[1] == "True" {
			n++
		}
	}
	return n
}

// replicas of the workload.
const replicas = 2

// Whole says what keeps the cluster from being whole, or nil: all nodes take
// pods, each API server can serve, the system and the workload run, and the edges
// hold all that they lead to for up.
func (k *kube) Whole() error {
	for _, m := range k.masters {
		if out, err := k.try(m, "curl -sk --max-time 5 https://"+k.hosts[m]+":6443/readyz"); err != nil || strings.TrimSpace(out) != "ok" {
			return fmt.Errorf("the API server of %s: %v %q", m, err, out)
		}
	}
	out, err := k.kubectl(nodeStates)
	if err != nil {
		return err
	}
	if err := wholeNodes(out, slices.Concat(k.masters, k.workers)); err != nil {
		return err
	}
	for _, item := range []string{"kube-flannel daemonset/flannel", "kube-system daemonset/kube-proxy", "kube-system deployment/coredns", "ingress daemonset/traefik", workload + " deployment/" + workload} {
		out, err := k.kubectl("rollout status --watch=false -n " + item)
		if err != nil || !strings.Contains(out, "successfully rolled out") {
			return fmt.Errorf("%s: %v %s", item, err, strings.TrimSpace(out))
		}
	}
	return k.Well(k.f)
}

// ready waits until the cluster is whole: no scenario starts on one that is not.
func (k *kube) ready(t testing.TB) {
	t.Helper()
	if err := k.Whole(); err != nil {
		t.Logf("not whole: %v", err)
		k.Restore(t)
	}
}

// deploy brings the workload into the cluster.
func (k *kube) deploy(t testing.TB) {
	t.Helper()
	manifest, err := os.Open(filepath.Join(k.root, "lab", "workloads", workload+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer manifest.Close()
	const path = "/run/halinux-workload.yaml"
	if err := k.put(k.masters[0], path, manifest); err != nil {
		t.Fatal(err)
	}
	k.do(t, "apply -f "+path)
	k.rolled(t)
}

// rolled waits until the workload is as it was told to be.
func (k *kube) rolled(t testing.TB) {
	t.Helper()
	k.do(t, fmt.Sprintf("-n %s rollout status deployment/%s --timeout=50s --request-timeout=0", workload, workload))
}

// spread has the workload's pods on different nodes: they stay where a reboot or a
// drain has moved them.
func (k *kube) spread(t testing.TB) {
	t.Helper()
	if !oneEach(k.do(t, podStates)) {
		k.renew(t)
	}
}

// renew makes the workload's pods anew, each on a node of its own.
func (k *kube) renew(t testing.TB) {
	t.Helper()
	k.do(t, fmt.Sprintf("-n %s rollout restart deployment/%s", workload, workload))
	k.rolled(t)
	Until(t, time.Minute, "the pods to be on different nodes", paced(func() error {
		out, err := k.kubectl(podStates)
		if err == nil && !oneEach(out) {
			err = fmt.Errorf("they are on\n%s", out)
		}
		return err
	}))
}

// oneEach says whether all replicas serve, and each on a node of its own.
func oneEach(states string) bool {
	nodes, n := map[string]bool{}, 0
	for line := range strings.Lines(states) {
		if words := strings.Fields(line); len(words) == 2 && words[1] == "True" {
			nodes[words[0]], n = true, n+1
		}
	}
	return n == replicas && len(nodes) == n
}

// Restore takes back what a scenario did, and waits until the cluster is whole.
func (k *kube) Restore(t testing.TB) {
	t.Helper()
	k.Lab(t, "heal")
	k.Lab(t, "up", kubernetesGroup)
	started := time.Now()
	uncordoned := false
	deadline := 5 * time.Minute
	if out, err := k.kubectl(nodeStates); err == nil && lacksNode(out, slices.Concat(k.masters, k.workers)) {
		deadline = 0 // it is up that brings it back
	}
	_, err := poll(deadline, paced(func() error {
		if !uncordoned {
			if out, err := k.kubectl("uncordon " + strings.Join(k.workers, " ")); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			uncordoned = true
		}
		return k.Whole()
	}))
	if err != nil {
		t.Logf("not whole %.0f s after the heal: %v", time.Since(started).Seconds(), err)
		if r := k.Do(t, "up", Set("detect", "halinux:drift")); r.Code != 0 {
			t.Logf("up failed:\n%s", tail(r.Output()))
		}
		if _, err := poll(3*time.Minute, paced(k.Whole)); err != nil {
			k.broken = fmt.Sprintf("after %s: %v", t.Name(), err)
			t.Error(k.broken)
			return
		}
	}
	t.Logf("whole again %.0f s after the heal", time.Since(started).Seconds())
}
