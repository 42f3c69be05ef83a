package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/halinux/halinux/tests/report"
	"github.com/halinux/halinux/tests/simulated"
	"github.com/halinux/halinux/tests/sshkey"
)

// knee is the cost per host, against that of a stack of a tenth of the hosts,
// from which on it counts as a knee.
const knee = 1.5

// series is what a stack of many simulated hosts is made of.
type series struct {
	id, what string
	// masters are the hosts that are there beside those that are counted; with
	// them, the stack is a cluster.
	masters int
}

var (
	plainHosts = series{id: "bench-hosts", what: "simulated hosts with the base system"}
	workers    = series{id: "bench-scale", what: "simulated workers of a cluster with three masters", masters: 3}
)

// grown is what a stack of one size cost.
type grown struct {
	hosts              int // all of them
	up, preview, drift cost
	state              int64 // bytes of the state file at the end
}

// growth measures how cost grows with the number of hosts.
func growth(ctx context.Context, k series, sizes []int, halinux, work string) error {
	var all []grown
	for _, n := range sizes {
		fmt.Printf("%s: %d %s\n", k.id, n, k.what)
		g, err := k.growTo(ctx, n+k.masters, halinux, work)
		if err != nil {
			return errors.Join(fmt.Errorf("%d %s: %w", n, k.what, err), k.record(all))
		}
		fmt.Println("  " + g.String())
		all = append(all, g)
	}
	return k.record(all)
}

func (g grown) String() string {
	return fmt.Sprintf("%d hosts: up %.1f s (CPU %.1f s), preview %.1f s (CPU %.1f s), drift %.1f s (CPU %.1f s), memory %s, written %s, state %s",
		g.hosts, g.up.Wall.Seconds(), g.up.CPU.Seconds(), g.preview.Wall.Seconds(), g.preview.CPU.Seconds(),
		g.drift.Wall.Seconds(), g.drift.CPU.Seconds(), mega(max(g.up.Memory, g.preview.Memory, g.drift.Memory)), mega(g.up.Written), mega(g.state))
}

func mega(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// record compares each size with the one before.
func (k series) record(all []grown) error {
	ms := k.measurements(all)
	for _, m := range ms {
		if err := report.Append(m); err != nil {
			return err
		}
	}
	return nil
}

func (k series) measurements(all []grown) []report.Measurement {
	var ms []report.Measurement
	var figures []string
	for _, g := range all {
		figures = append(figures, g.String())
	}
	note := "simulated hosts; " + strings.Join(figures, "; ")
	scenario := "a growing number of " + k.what
	metrics := []struct {
		name string
		of   func(grown) float64
	}{
		{"time of up", func(g grown) float64 { return g.up.Wall.Seconds() }},
		{"time of a preview without changes", func(g grown) float64 { return g.preview.Wall.Seconds() }},
		{"time of a drift check", func(g grown) float64 { return g.drift.Wall.Seconds() }},
		{"memory of engine and program", func(g grown) float64 { return float64(g.up.Memory) }},
		{"memory of a preview", func(g grown) float64 { return float64(g.preview.Memory) }},
		{"bytes written", func(g grown) float64 { return float64(g.up.Written) }},
		{"bytes of state", func(g grown) float64 { return float64(g.state) }},
	}
	for i, g := range all[min(1, len(all)):] {
		for _, m := range metrics {
			per, before := m.of(g)/float64(g.hosts), m.of(all[i])/float64(all[i].hosts)
			ms = append(ms, report.Measurement{
				ID: k.id, Scenario: scenario,
				Metric: fmt.Sprintf("%s per host, %d hosts against %d", m.name, g.hosts, all[i].hosts),
				Unit:   "times", Value: per / before, Limit: knee, Note: note,
			})
		}
	}
	return ms
}

// growTo makes a stack of n simulated hosts in all from nothing.
func (k series) growTo(ctx context.Context, n int, halinux, work string) (grown, error) {
	g := grown{hosts: n}
	dir, err := os.MkdirTemp(work, "hosts-")
	if err != nil {
		return g, err
	}
	defer os.RemoveAll(dir)
	first := 2000 + os.Getpid()%28*2000
	end, err := startSimulated(ctx, first, n, dir)
	if err != nil {
		return g, err
	}
	defer end()
	socket, closeAgent, err := startAgent(dir)
	if err != nil {
		return g, err
	}
	defer closeAgent()
	if err := os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), []byte("name: halinux\nruntime: go\n"), 0o644); err != nil {
		return g, err
	}
	settings := func(text string) error {
		return os.WriteFile(filepath.Join(dir, "Pulumi.simulated.yaml"), []byte(text), 0o644)
	}
	run := func(verb string) (cost, string, error) {
		cmd := exec.CommandContext(ctx, halinux, "-s", "simulated", verb)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(),
			"PULUMI_BACKEND_URL=file://"+dir,
			"PULUMI_CONFIG_PASSPHRASE=for the benchmark only",
			"PULUMI_SKIP_UPDATE_CHECK=true",
			"SSH_AUTH_SOCK="+socket,
		)
		return measure(cmd)
	}
	// The plugin leaves each command's connection open until the run ends, and
	// that to the agent beside it: a whole cluster of a thousand workers at once
	// would be more files than a process may have open on many machines. So the
	// cluster comes with a second run.
	for _, text := range slices.Compact([]string{plainHosts.config(first, n), k.config(first, n)}) {
		if err := settings(text); err != nil {
			return g, err
		}
		c, _, err := run("up")
		if err != nil {
			return g, err
		}
		g.up.Wall, g.up.CPU, g.up.Written = g.up.Wall+c.Wall, g.up.CPU+c.CPU, g.up.Written+c.Written
		g.up.Memory = max(g.up.Memory, c.Memory)
	}
	var said string
	if g.preview, said, err = run("preview"); err != nil {
		return g, err
	}
	if changes.MatchString(said) {
		return g, fmt.Errorf("a preview after up shows changes:\n%s", said)
	}
	if g.drift, _, err = run("drift"); err != nil {
		return g, err
	}
	info, err := os.Stat(filepath.Join(dir, ".pulumi", "stacks", "halinux", "simulated.json"))
	if err != nil {
		return g, err
	}
	g.state = info.Size()
	return g, nil
}

// changes is what the engine says where there are some.
var changes = regexp.MustCompile(`(?m)^ +[-+~]+ *\d+ (to )?(create|update|delete|replace)d?$`)

// config is Pulumi.simulated.yaml: the base system on n hosts, and perhaps a
// cluster of them.
func (k series) config(first, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `config:
  halinux:domain: simulated.halinux.test
  halinux:ssh:
    port: %d
    knownHosts: known_hosts
  halinux:networks:
    - {name: lan, cidr: 10.64.0.0/16}
  halinux:base:
    updates: {apart: 1m}
    firewall:
      ssh: [lan]
    kernel:
      sysctl:
        - {name: net.ipv4.tcp_fin_timeout, value: "30"}
`, simulated.Port)
	if k.masters > 0 {
		b.WriteString(`  halinux:kubernetes:
    network: lan
    endpoint: {address: 10.64.255.1}
    bundle: {url: "http://10.64.255.2"}
    pods: 10.128.0.0/12
`)
	}
	b.WriteString("  halinux:hosts:\n")
	for i := range n {
		address := simulated.Address(first + i)
		planned := address.As4()
		planned[0] = 10
		role := ""
		switch {
		case i < k.masters:
			role = "roles: [control-plane], "
		case k.masters > 0:
			role = "roles: [worker], "
		}
		fmt.Fprintf(&b, "    - {name: %s, %saddress: %s, links: [{network: lan, address: %s, interface: eth0}]}\n",
			simulated.Name(i), role, address, netip.AddrFrom4(planned))
	}
	return b.String()
}

// startSimulated starts the simulated hosts in a process of their own, so that
// what they cost is not counted.
func startSimulated(ctx context.Context, first, n int, dir string) (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "_simulated", strconv.Itoa(first), strconv.Itoa(n), dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end = func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		end()
		return nil, errors.New("the simulated hosts did not start")
	}
	return end, nil
}

// startAgent serves a new key as an SSH agent.
func startAgent(dir string) (socket string, end func(), err error) {
	key, err := sshkey.New()
	if err != nil {
		return "", nil, err
	}
	socket = filepath.Join(dir, "agent")
	closeAgent, err := sshkey.Serve(socket, key)
	if err != nil {
		return "", nil, err
	}
	return socket, func() { _ = closeAgent() }, nil
}
