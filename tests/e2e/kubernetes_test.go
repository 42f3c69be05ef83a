package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/e2e/load"
	"github.com/halinux/halinux/tests/report"
)

// kubeScenario is one fault of the cluster. It leaves hosts and cables to Restore.
type kubeScenario struct {
	id   string // as in FAULTS.md
	what string // what is done
	run  func(*testing.T, *kube)
	full bool // for the report alone: too long for each test run
}

// kubeScenarios go from those that lose no host to those that lose all.
var kubeScenarios = []kubeScenario{
	{id: "F56", what: "drain each worker in turn", run: drained},
	{id: "join-killed", what: "a worker is drained, leaves, and joins again by a run that is killed in the middle", run: joinKilled},
	{id: "node-reboots", what: "reboot every node in turn", run: nodesReboot},
	{id: "F53", what: "power off each of three control planes in turn", run: masterDies},
	{id: "master-cut", what: "cut one control plane off the network", run: masterCut},
	{id: "F55", what: "power off a worker", run: workerDies},
	{id: "F54", what: "power off two of three control planes", run: majorityDies},
	{id: "cluster-power", what: "power off all nodes at once", run: allDie},
	{id: "upkeep", what: "snapshots, users, labels, taints and the kubelet's settings are given and taken away", run: upkept, full: true},
	{id: "certificates", what: "all control planes renew their certificates", run: certificatesRenewed, full: true},
	{id: "keys", what: "the key of the cluster's secrets is rotated, and rotated back", run: keysRotated, full: true},
	{id: "master-replaced", what: "a fresh host takes the place of the first control plane", run: masterReplaced, full: true},
	{id: "nodes-gone", what: "a control plane and a worker die for good", run: nodesGone, full: true},
	{id: "restore", what: "etcd is put back to a snapshot while it works", run: putBack, full: true},
	{id: "majority-gone", what: "two of three control planes are gone for good: restore from a snapshot", run: majorityGone, full: true},
}

// TestKubernetes does to the cluster what FAULTS.md lists, under load.
func TestKubernetes(t *testing.T) {
	b := open(t)
	f := b.facts(t)
	if f.Kubernetes.Endpoint.Address == "" {
		t.Skipf("SKIP: %s has no cluster: make e2e STACK=kubernetes", b.settingsFile())
	}
	k := b.kube(t, f)
	k.deploy(t)
	for run := range b.runs {
		for _, c := range kubeScenarios {
			if c.full && !b.full {
				continue
			}
			name := c.id
			if b.runs > 1 {
				name = fmt.Sprintf("%s/%d", c.id, run+1)
			}
			t.Run(name, func(t *testing.T) {
				b.inTime(t)
				if k.broken != "" {
					t.Fatalf("not run, since the cluster did not recover %s", k.broken)
				}
				k.id, k.scenario = c.id, c.what
				k.done[c.id] = c.what
				k.ready(t)
				began, ended := time.Now(), false
				defer func() {
					if t.Failed() {
						b.Bundle(t)
					}
					k.Restore(t)
					if !t.Skipped() {
						b.outcome(t, c.id, t.Failed() || !ended)
					}
					t.Logf("%s took %.0f s in all", c.id, time.Since(began).Seconds())
				}()
				c.run(t, k)
				ended = true
			})
		}
	}
}

// measured is a figure of the running scenario.
func (k *kube) measured(metric, unit string) report.Measurement {
	return report.Measurement{ID: k.id, Scenario: k.scenario, Metric: metric, Unit: unit}
}

// kubeRate is that of the loads on the cluster, in requests a second: enough to see half a second without service,
// and little beside what the nodes do.
const kubeRate = 20

// api is a load of questions through the endpoint that an API server answers only
// when it reaches etcd.
func (k *kube) api(t testing.TB) load.Settings {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, []byte(k.On(t, k.masters[0], "cat /etc/kubernetes/pki/ca.crt")), 0o600); err != nil {
		t.Fatal(err)
	}
	return load.Settings{URL: "https://" + k.endpoint + "/readyz", CA: path, Rate: kubeRate}
}

// pods is a load of requests to the workload through the public address, HAProxy
// and the ingress controller. Its pod is who answers.
func (k *kube) pods(t testing.TB) load.Settings {
	t.Helper()
	return load.Settings{URL: "https://" + k.site + "/", Server: net.JoinHostPort(k.f.public(), "443"), CA: k.authority(t), Rate: kubeRate}
}

// movedOff waits until all pods of the workload serve on other nodes.
func (k *kube) movedOff(t testing.TB, node string, away ...string) time.Duration {
	t.Helper()
	return Until(t, 10*time.Minute, "all pods to serve elsewhere than on "+node, paced(func() error {
		out, err := k.kubectl(podStates, away...)
		if err != nil {
			return err
		}
		if n := readyOff(out, node); n < replicas {
			return fmt.Errorf("%d do:\n%s", n, out)
		}
		return nil
	}))
}

// drained empties the workers, one after the other: nobody may notice.
func drained(t *testing.T, k *kube) {
	l := k.Send(t, "client", with(k.pods(t), patient))
	for _, w := range k.workers {
		out := k.do(t, "drain "+w+" --ignore-daemonsets --delete-emptydir-data --timeout=50s --request-timeout=0")
		t.Log(strings.TrimSpace(out))
		k.movedOff(t, w)
		k.do(t, "uncordon "+w)
	}
	lossless(t, k.Bed, report.Measurement{ID: k.id, Scenario: k.scenario}, l)
}

// without takes a worker out of the cluster; it stays a host of the platform.
func without(t testing.TB, worker string) Change {
	return func(s Settings) {
		for _, h := range s["halinux:hosts"].([]any) {
			if h := h.(map[string]any); h["name"] == worker {
				h["roles"] = []any{}
				return
			}
		}
		t.Fatalf("the settings have no host %s", worker)
	}
}

// joinKilled takes a worker out of use and then out of the cluster, and kills, with
// -9, the run that brings it back.
func joinKilled(t *testing.T, k *kube) {
	w := k.workers[len(k.workers)-1]
	l := k.Send(t, "client", with(k.pods(t), patient))
	drains := k.Up(t, Set(true, kubernetesKey, "nodes", w, "drain"))
	k.movedOff(t, w)
	leaves := k.Up(t, without(t, w))
	if out := k.do(t, "get nodes -o name"); strings.Contains(out, "node/"+w+"\n") {
		t.Errorf("%s is still a node:\n%s", w, out)
	}
	r := k.Start(t, "up")
	Until(t, 5*time.Minute, "kubeadm to run on "+w, func() error {
		select {
		case <-r.done:
			t.Fatalf("the run has ended:\n%s", tail(r.Output()))
		default:
		}
		_, err := k.try(w, "pidof kubeadm")
		return err
	})
	r.Kill()
	again := k.Up(t)
	Until(t, 5*time.Minute, "the cluster to be whole", paced(k.Whole))
	k.Unchanged(t)
	figure := k.measured("a worker joins, by the run after the one that was killed", "s")
	figure.Value, figure.Limit, figure.Note = again.Took.Seconds(), 300, fmt.Sprintf("it was drained in %.0f s, and left in %.0f", drains.Took.Seconds(), leaves.Took.Seconds())
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), l)
}

// nodesReboot restarts all nodes as a person would, one after the other, and spreads
// the workload before each, as docs/operations.md says: a host that goes down asks no
// budget, and would take both pods with it.
func nodesReboot(t *testing.T, k *kube) {
	api := k.api(t)
	for _, h := range slices.Concat(k.workers, k.masters) {
		// Containers have the machine's boot id; their first process is their own.
		const boot = "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1"
		before := k.On(t, h, boot)
		k.spread(t)
		pods := k.Send(t, "client", with(k.pods(t), impatient))
		l := k.Send(t, controller, with(api, impatient))
		_, _ = k.try(h, "systemctl reboot") // the connection ends with it
		Until(t, 5*time.Minute, h+" to come back", func() error {
			now, err := k.try(h, boot)
			if err == nil && now == before {
				err = errors.New("it has not gone yet")
			}
			return err
		})
		Until(t, 5*time.Minute, "the cluster to be whole", paced(k.Whole))
		for what, s := range map[string]load.Summary{"an API server at the endpoint": l.Stop(t), "the pods": pods.Stop(t)} {
			figure := k.measured("time without "+what+" while a node reboots", "s")
			figure.Value, figure.Limit, figure.Note = outage(s), 5, h+"; "+loads(s)
			k.Record(t, figure)
		}
	}
	k.NoDrift(t)
	k.Unchanged(t)
}

// masterDies takes the power from each control plane, while others ask API
// servers and pods.
func masterDies(t *testing.T, k *kube) {
	api := k.api(t)
	for _, m := range k.masters {
		pods := k.Send(t, "client", with(k.pods(t), patient))
		l := k.Send(t, controller, with(api, impatient))
		k.Lab(t, "crash", m)
		l.Steady(t, 5*time.Second, 2*time.Minute)
		s := l.Stop(t)
		figure := k.measured("time without an API server at the endpoint", "s")
		figure.Value, figure.Limit, figure.Note = outage(s), 5, m+"; "+loads(s)
		k.Record(t, figure)
		lossless(t, k.Bed, k.measured("", ""), pods)
		back := time.Now()
		k.Lab(t, "restart", m)
		Until(t, 5*time.Minute, m+" to be a member again", paced(k.Whole))
		t.Logf("%s was back %.0f s after its power", m, time.Since(back).Seconds())
	}
}

// masterCut leaves a control plane alive, and alone.
func masterCut(t *testing.T, k *kube) {
	m := k.masters[0]
	pods := k.Send(t, "client", with(k.pods(t), patient))
	l := k.Send(t, controller, with(k.api(t), impatient))
	k.Lab(t, "cut", m, "eth0")
	l.Steady(t, 5*time.Second, 2*time.Minute)
	k.Lab(t, "heal")
	Until(t, 5*time.Minute, m+" to be a member again", paced(k.Whole))
	s := l.Stop(t)
	figure := k.measured("time without an API server at the endpoint", "s")
	figure.Value, figure.Limit, figure.Note = outage(s), 5, loads(s)
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), pods)
}

// workerDies takes the power from a worker that serves, in a cluster that is set
// up to react fast.
func workerDies(t *testing.T, k *kube) {
	k.Up(t, Set("fast", kubernetesKey, "reaction"))
	// Pods are told how long they stay on a dead node when they are made.
	k.renew(t)
	victim := k.workers[0]
	l := k.Send(t, "client", with(k.pods(t), impatient))
	k.Lab(t, "crash", victim)
	elsewhere := k.movedOff(t, victim)
	l.Steady(t, 2*time.Second, time.Minute)
	s := l.Stop(t)
	figure := k.measured("until all pods serve elsewhere, profile fast", "s")
	figure.Value, figure.Limit, figure.Note = elsewhere.Seconds(), 60, loads(s)
	k.Record(t, figure)
	figure = k.measured("time with failed requests to the pods", "s")
	figure.Value, figure.Limit, figure.Note = outage(s), 60, loads(s)
	k.Record(t, figure)
	k.Lab(t, "restart", victim)
	k.Up(t)
}

// majorityDies leaves one control plane, which may decide nothing: pods go on.
func majorityDies(t *testing.T, k *kube) {
	l := k.Send(t, "client", with(k.pods(t), patient))
	for _, m := range k.masters[:2] {
		k.Lab(t, "crash", m)
	}
	lost := func() error {
		if out, err := k.try(k.masters[2], "curl -sk --max-time 5 https://"+k.endpoint+"/readyz"); err == nil && strings.TrimSpace(out) == "ok" {
			return fmt.Errorf("the endpoint answers, with a third of etcd")
		}
		return nil
	}
	// It takes etcd and the edges some seconds to see it.
	Until(t, time.Minute, "the last API server to say that it cannot serve", lost)
	For(t, 30*time.Second, "no API server to say that it can serve", lost)
	power := time.Now()
	for _, m := range k.masters[:2] {
		k.Lab(t, "restart", m)
	}
	Until(t, 5*time.Minute, "the cluster to be whole", paced(k.Whole))
	figure := k.measured("from the power of the two until the cluster is whole", "s")
	figure.Value, figure.Limit = time.Since(power).Seconds(), 900
	k.Record(t, figure)
	lossless(t, k.Bed, k.measured("", ""), l)
}

// allDie is the power cut of a whole site, but for its edges.
func allDie(t *testing.T, k *kube) {
	all := slices.Concat(k.masters, k.workers)
	for _, h := range all {
		k.Lab(t, "crash", h)
	}
	power := time.Now()
	k.Lab(t, "up", kubernetesGroup)
	Until(t, 10*time.Minute, "the cluster to be whole", paced(k.Whole))
	figure := k.measured("from the power until the cluster is whole", "s")
	figure.Value, figure.Limit, figure.Note = time.Since(power).Seconds(), 300, fmt.Sprintf("%d nodes, no hand", len(all))
	k.Record(t, figure)
}

func TestWholeNodes(t *testing.T) {
	hosts := []string{"master1", "worker1"}
	require.NoError(t, wholeNodes("master1 True \nworker1 True \n", hosts))
	require.ErrorContains(t, wholeNodes("master1 True \nworker1 Unknown \n", hosts), "worker1")
	require.ErrorContains(t, wholeNodes("master1 True true\nworker1 True \n", hosts), "master1")
	require.ErrorContains(t, wholeNodes("master1 True \n", hosts), "worker1")
	require.ErrorContains(t, wholeNodes("master1 True \nworker1 True \nold True \n", hosts), "old")
}

func TestLacksNode(t *testing.T) {
	require.False(t, lacksNode("master1 True \nworker1 Unknown true\n", []string{"worker1", "master1"}))
	require.True(t, lacksNode("master1 True \nworker11 True \n", []string{"worker1"}))
}

func TestOneEach(t *testing.T) {
	require.True(t, oneEach("worker1 True \nworker2 True \n"))
	require.True(t, oneEach("worker1 True \nworker2 True \nworker2 False \nworker2 True 2026-01-02T03:04:05Z\n"))
	require.False(t, oneEach("worker2 True \nworker2 True \n"))
	require.False(t, oneEach("worker1 True \nworker2 False \n"))
	require.False(t, oneEach("worker1 True \nworker2 True \nworker2 True \n"))
}

func TestReadyOff(t *testing.T) {
	const states = "worker1 True \nworker2 True \nworker2 False \nworker2 True 2026-01-02T03:04:05Z\n"
	require.Equal(t, 1, readyOff(states, "worker1"))
	require.Equal(t, 1, readyOff(states, "worker2"))
	require.Equal(t, 2, readyOff(states, ""))
}
