package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/halinux/halinux/tests/report"
)

// Where the platform with its cluster stands, seen from the checkout, and the
// group of hosts in the lab that is for it.
const (
	clusterStack    = "kubernetes"
	clusterSettings = "Pulumi." + clusterStack + ".yaml"
	clusterTopology = "lab/topology.yaml"
	clusterGroup    = "kubernetes"
)

// floorFactor is how many times `kubeadm init` alone the whole platform may take.
const floorFactor = 6

// site is the lab with the cluster: the hosts of the settings by their roles.
type site struct {
	testbed
	halinux  string
	topology string
	settings map[string]any
	masters  []string
	workers  []string
}

// benchCluster brings the platform with its cluster up on bare hosts, runs it
// again, takes a worker out and in, and at last lets kubeadm alone make a control
// plane of the host that was the first one.
func benchCluster(ctx context.Context, labProgram, halinuxProgram, dir string) error {
	s, err := newSite(labProgram, halinuxProgram, dir)
	if err != nil {
		return err
	}
	defer func() {
		if _, err := s.run(context.WithoutCancel(ctx), "-f", s.topology, "down"); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	for _, words := range [][]string{{"down"}, {"image", clusterGroup}, {"up", clusterGroup}} {
		if _, err := s.run(ctx, append([]string{"-f", s.topology}, words...)...); err != nil {
			return err
		}
	}
	fmt.Println("bench-cluster: the platform on bare hosts")
	bare, said, err := s.up(ctx, true)
	if err != nil {
		return err
	}
	if err := s.allReady(ctx, len(s.masters)+len(s.workers)); err != nil {
		return err
	}
	again, _, err := s.up(ctx, false)
	if err != nil {
		return err
	}
	joined, made, err := s.another(ctx)
	if err != nil {
		return err
	}
	floor, err := s.floor(ctx)
	if err != nil {
		return err
	}
	return recordCluster(clusterFigures{
		bare: bare.Wall, again: again.Wall, joined: joined.Wall, floor: floor, took: phaseTimes(said, s.hosts), touched: made, masters: s.masters, workers: s.workers,
	})
}

func newSite(labProgram, halinuxProgram, dir string) (*site, error) {
	text, err := os.ReadFile(clusterSettings)
	if err != nil {
		return nil, fmt.Errorf("%w; run it in the checkout", err)
	}
	topology, err := filepath.Abs(clusterTopology)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte("name: halinux\nruntime: go\n"), 0o644); err != nil {
		return nil, err
	}
	s := &site{testbed: testbed{lab: labProgram, dir: dir}, halinux: halinuxProgram, topology: topology}
	if err := s.read(text); err != nil {
		return nil, err
	}
	return s, s.write("")
}

// read finds the hosts in the settings.
func (s *site) read(text []byte) error {
	if err := yaml.Unmarshal(text, &s.settings); err != nil {
		return fmt.Errorf("%s: %w", clusterSettings, err)
	}
	var file struct {
		Config struct {
			Hosts []struct {
				Name  string
				Roles []string
			} `yaml:"halinux:hosts"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("%s: %w", clusterSettings, err)
	}
	for _, h := range file.Config.Hosts {
		s.hosts = append(s.hosts, h.Name)
		switch {
		case slices.Contains(h.Roles, "control-plane"):
			s.masters = append(s.masters, h.Name)
		case slices.Contains(h.Roles, "worker"):
			s.workers = append(s.workers, h.Name)
		}
	}
	if len(s.masters) == 0 || len(s.workers) < 2 {
		return fmt.Errorf("%s: control planes %v and workers %v are too few", clusterSettings, s.masters, s.workers)
	}
	return nil
}

// write gives the program the settings, with one host, perhaps, that has no role.
func (s *site) write(without string) error {
	text, err := s.text(without)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, clusterSettings), text, 0o644)
}

func (s *site) text(without string) ([]byte, error) {
	plain, err := yaml.Marshal(s.settings)
	if err != nil || without == "" {
		return plain, err
	}
	var all map[string]any // its own, so that the settings stay
	if err := yaml.Unmarshal(plain, &all); err != nil {
		return nil, err
	}
	for _, h := range all["config"].(map[string]any)["halinux:hosts"].([]any) {
		if h := h.(map[string]any); h["name"] == without {
			h["roles"] = []any{}
		}
	}
	return yaml.Marshal(all)
}

// up runs the program, which has to change something or nothing.
func (s *site) up(ctx context.Context, changes_ bool) (cost, string, error) {
	cmd := s.command(ctx, "exec", "--", s.halinux, "-s", clusterStack, "-work", "project", "up")
	cmd.Env = append(cmd.Env,
		"PULUMI_BACKEND_URL=file://"+filepath.Join(s.dir, "state"),
		"PULUMI_CONFIG_PASSPHRASE=for the benchmark only",
		"PULUMI_SKIP_UPDATE_CHECK=true",
	)
	c, said, err := measure(cmd)
	if err == nil && changes.MatchString(said) != changes_ {
		err = fmt.Errorf("it should have changed something: %t, and did: %t\n%s", changes_, !changes_, said)
	}
	return c, said, err
}

// allReady says whether so many nodes are ready.
func (s *site) allReady(ctx context.Context, n int) error {
	out, err := s.on(ctx, s.masters[0], "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes --no-headers")
	if err != nil {
		return err
	}
	if ready := strings.Count(out, " Ready "); ready != n {
		return fmt.Errorf("%d of %d nodes are ready:\n%s", ready, n, out)
	}
	return nil
}

// another takes the last worker out, and measures the run that brings it in. It
// returns how many connections that run has made to each other host.
func (s *site) another(ctx context.Context) (cost, map[string]int, error) {
	w := s.workers[len(s.workers)-1]
	fmt.Println("bench-cluster: a worker leaves, and another one comes")
	if err := s.write(w); err != nil {
		return cost{}, nil, err
	}
	if _, _, err := s.up(ctx, true); err != nil {
		return cost{}, nil, err
	}
	if err := s.write(""); err != nil {
		return cost{}, nil, err
	}
	before, err := s.connectionsOf(ctx)
	if err != nil {
		return cost{}, nil, err
	}
	c, _, err := s.up(ctx, true)
	if err != nil {
		return c, nil, err
	}
	after, err := s.connectionsOf(ctx)
	if err != nil {
		return c, nil, err
	}
	made := map[string]int{}
	for _, h := range s.hosts {
		if h != w {
			made[h] = after[h] - before[h] - 1 // asking was one itself
		}
	}
	return c, made, s.allReady(ctx, len(s.masters)+len(s.workers))
}

// floorScript makes a control plane by kubeadm alone, of a host whose programs and
// images are there, and prints how long that took. The settings are those of the
// cluster before it, but for the endpoint, which is the host itself.
const floorScript = `set -eu
systemctl stop kubelet
kubeadm reset --force --skip-phases=preflight,remove-etcd-member --cri-socket unix:///run/containerd/containerd.sock >/run/bench-floor.log 2>&1
rm -rf /var/lib/etcd /etc/kubernetes/pki /etc/kubernetes/manifests
sed '/^controlPlaneEndpoint:/d' /etc/kubernetes/halinux/kubeadm.yaml >/run/bench-floor.yaml
begun=$(date +%s%N)
kubeadm init --config /run/bench-floor.yaml --ignore-preflight-errors=all >>/run/bench-floor.log 2>&1 || { tail -n 20 /run/bench-floor.log >&2; exit 1; }
echo "took $((($(date +%s%N) - begun) / 1000000)) ms"
`

var floorTook = regexp.MustCompile(`(?m)^took (\d+) ms$`)

// floor is what `kubeadm init` takes on the first control plane, when no other
// node takes the processor.
func (s *site) floor(ctx context.Context) (time.Duration, error) {
	first := s.masters[0]
	fmt.Printf("bench-cluster: kubeadm init alone on %s\n", first)
	for _, h := range slices.Concat(s.masters[1:], s.workers) {
		if _, err := s.run(ctx, "-f", s.topology, "crash", h); err != nil {
			return 0, err
		}
	}
	out, err := s.on(ctx, first, floorScript)
	if err != nil {
		return 0, err
	}
	return parseFloor(out)
}

func parseFloor(out string) (time.Duration, error) {
	m := floorTook.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%q does not say how long kubeadm init took", out)
	}
	ms, err := strconv.Atoi(m[1])
	if err == nil && ms == 0 {
		err = errors.New("kubeadm init took no time")
	}
	return time.Duration(ms) * time.Millisecond, err
}

// phaseTimes are what each phase took on each of the hosts, by the phase's name
// after its component's: kubernetes/worker.
func phaseTimes(said string, hosts []string) map[string][]time.Duration {
	names := slices.Clone(hosts)
	for i, h := range names {
		names[i] = regexp.QuoteMeta(h)
	}
	done := regexp.MustCompile(`(?m) command:remote:Command (\S+?)-(?:` + strings.Join(names, "|") + `)-(\S+) created \((?:(\d+)m)?([\d.]+)s\)`)
	took := map[string][]time.Duration{}
	for _, m := range done.FindAllStringSubmatch(said, -1) {
		minutes, _ := strconv.Atoi(m[3])
		seconds, err := strconv.ParseFloat(m[4], 64)
		if err != nil {
			continue
		}
		phase := m[1] + "/" + m[2]
		took[phase] = append(took[phase], time.Duration(minutes)*time.Minute+time.Duration(seconds*float64(time.Second)))
	}
	return took
}

// clusterFigures are what was measured.
type clusterFigures struct {
	bare, again, joined, floor time.Duration
	took                       map[string][]time.Duration
	touched                    map[string]int // connections that a new worker's run made to other hosts
	masters, workers           []string
}

func recordCluster(f clusterFigures) error {
	for _, m := range f.measurements() {
		fmt.Printf("bench-cluster: %s: %.3g %s %s\n", m.Metric, m.Value, m.Unit, m.Note)
		if err := report.Append(m); err != nil {
			return err
		}
	}
	return nil
}

// measurements judges the figures that have a limit, and lists the others.
func (f clusterFigures) measurements() []report.Measurement {
	var parts []string
	for _, p := range sortedByTime(f.took) {
		parts = append(parts, fmt.Sprintf("%s %.1f s on %d", p, slices.Max(f.took[p]).Seconds(), len(f.took[p])))
	}
	nodes, others := 0, 0
	var where []string
	for h, n := range f.touched {
		if n == 0 {
			continue
		}
		where = append(where, fmt.Sprintf("%s %d", h, n))
		if slices.Contains(f.masters, h) || slices.Contains(f.workers, h) {
			nodes += n
		} else {
			others += n
		}
	}
	slices.Sort(where)
	all := []report.Measurement{
		{Metric: "bare hosts to all nodes ready, against kubeadm init alone", Unit: "times", Value: f.bare.Seconds() / f.floor.Seconds(), Limit: floorFactor,
			Note: fmt.Sprintf("%.0f s against %.1f s; the longest of each phase and on how many hosts: %s", f.bare.Seconds(), f.floor.Seconds(), strings.Join(parts, ", "))},
		{Metric: "bare hosts to all nodes ready", Unit: "s", Value: f.bare.Seconds(), AtLeast: true, Note: "base system, edge and cluster"},
		{Metric: "kubeadm init alone", Unit: "s", Value: f.floor.Seconds(), AtLeast: true, Note: "programs and images are there, no other node runs"},
		{Metric: "a run without changes", Unit: "s", Value: f.again.Seconds(), Limit: 15},
		{Metric: "one more worker", Unit: "s", Value: f.joined.Seconds(), AtLeast: true},
		{Metric: "SSH connections to other nodes for one more worker", Unit: "connections", Value: float64(nodes), Note: strings.Join(where, ", ")},
		{Metric: "SSH connections to hosts that are no nodes for one more worker", Unit: "connections", Value: float64(others), AtLeast: true,
			Note: "it is a backend of the edges' sites, and a name in their zones"},
	}
	for _, p := range sortedByTime(f.took) {
		if !strings.HasPrefix(p, "kubernetes/") {
			continue
		}
		m := report.Measurement{Metric: "phase " + p + ", longest", Unit: "s", Value: slices.Max(f.took[p]).Seconds(), AtLeast: true}
		if p == "kubernetes/control-plane" {
			m.Metric, m.Value = "phase "+p+", one after the other", sum(f.took[p]).Seconds()
		}
		all = append(all, m)
	}
	for i := range all {
		all[i].ID = "bench-cluster"
		all[i].Scenario = fmt.Sprintf("%d control planes and %d workers from bare hosts, with the bundle at hand", len(f.masters), len(f.workers))
	}
	return all
}

// sortedByTime are the phases, the longest first.
func sortedByTime(took map[string][]time.Duration) []string {
	var all []string
	for p := range took {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b string) int {
		if d := slices.Max(took[b]) - slices.Max(took[a]); d != 0 {
			return int(d / time.Millisecond)
		}
		return strings.Compare(a, b)
	})
	return all
}

func sum(all []time.Duration) time.Duration {
	var s time.Duration
	for _, d := range all {
		s += d
	}
	return s
}
