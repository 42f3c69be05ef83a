// Package e2e puts the platform on the lab's hosts and does to it what
// FAULTS.md lists: it cuts, crashes, hangs and misconfigures, while a client
// sends a steady load, and measures what the client notices.
//
// A test fails on lost data and on wrong behaviour. Times are measured and
// judged in the report alone (package report), since machines differ too much;
// in a test they are only deadlines, generous ones.
//
// It runs inside the lab's controller namespace:
//
//	bin/lab exec -- bin/e2e.test -test.v -test.run TestFaults/F2
//
// and takes these from the environment: HALINUX_RESULTS (file to which the
// measurements are appended), HALINUX_RUNS (how often each scenario is
// repeated, default 1), HALINUX_FULL (as many kills, reloads and reboots as
// FAULTS.md says, and not a few), HALINUX_RATE (requests a second of the load, default
// 200, and less where the machine cannot carry it), HALINUX_BUNDLES (folder for
// what a failed scenario leaves), HALINUX_UNTIL (in seconds since 1970: scenarios
// that would begin later are skipped, and say so).
package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/halinux/halinux/lab"
	"github.com/halinux/halinux/tests/report"
)

// Bed is what a scenario works with: the lab's hosts, the platform on them,
// and the programs that act on both.
type Bed struct {
	root    string // the checkout
	lab     string // the lab's program
	halinux string // the platform's
	stack   string // whose settings are Pulumi.<stack>.yaml
	loader  string // the load's, to be copied to hosts
	hosts   map[string]string
	// topology is the lab's, with the groups that the scenarios of the edge leave out.
	topology *lab.Topology
	ssh      *dialer
	runs     int
	kills    int // of C1
	reloads  int // of F8
	full     bool
	rate     float64
	until    time.Time         // zero: for ever
	broken   string            // why the platform could not be restored, if so
	done     map[string]string // what the report says a fault is, by its id
}

// open finds the lab, or skips the test and says why there is none to find.
func open(t *testing.T) *Bed {
	if os.Getenv("HALINUX_E2E") == "" {
		t.Skip("SKIP: the fault scenarios need the lab; `make test` runs them")
	}
	root, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	b := &Bed{
		root:    root,
		lab:     filepath.Join(root, "bin", "lab"),
		halinux: filepath.Join(root, "bin", "halinux"),
		stack:   cmp.Or(os.Getenv("HALINUX_STACK"), "lab"),
		hosts:   map[string]string{},
		done:    map[string]string{},
		runs:    number(t, "HALINUX_RUNS", 1),
		kills:   3,
		reloads: 10,
		rate:    float64(number(t, "HALINUX_RATE", 200)),
	}
	if os.Getenv("HALINUX_FULL") != "" {
		b.kills, b.reloads, b.full = 20, 50, true
	}
	if s := number(t, "HALINUX_UNTIL", 0); s > 0 {
		b.until = time.Unix(int64(s), 0)
	}
	for _, program := range []string{b.lab, b.halinux} {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v; build it with make", err)
		}
	}
	topology, err := lab.LoadTopology(filepath.Join(root, "lab", "topology.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := onController(topology.Controller); err != nil {
		t.Fatal(err)
	}
	b.topology = topology
	// A group is up when one of its hosts is in the stack's settings.
	_, settings := b.settings(t)
	up := map[string]bool{"": true}
	for _, h := range settings["halinux:hosts"].([]any) {
		name, _ := h.(map[string]any)["name"].(string)
		if host := topology.Hosts[name]; host != nil {
			up[host.Group] = true
		}
	}
	for name, h := range topology.Hosts {
		if up[h.Group] {
			b.hosts[name] = h.Links[0].Address.String()
		}
	}
	if b.ssh, err = newDialer(filepath.Join(root, ".lab")); err != nil {
		t.Fatalf("%v; is the lab up? (bin/lab up)", err)
	}
	t.Cleanup(b.ssh.close)
	b.loader = b.build(t, "./tests/e2e/load/cmd/load")
	return b
}

// inTime skips a scenario for which no time is left. Which ones are left out then
// is their order in scenarios, storageScenarios and kubeScenarios.
func (b *Bed) inTime(t *testing.T) {
	t.Helper()
	if !b.until.IsZero() && time.Now().After(b.until) {
		t.Skipf("SKIP (time): it is later than HALINUX_UNTIL, %s", b.until.Format(time.TimeOnly))
	}
}

// onController says that this is not the lab's controller, from which alone the
// hosts can be reached: elsewhere every scenario would wait for its deadlines.
func onController(n lab.Node) error {
	mine, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range mine {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == n.Links[0].Address {
			return nil
		}
	}
	return fmt.Errorf("HALINUX_E2E is set, but this is not the lab's controller (no interface has %s): run `make e2e`, or bin/lab exec -- bin/e2e.test", n.Links[0].Address)
}

// checkout is the folder above this one that holds go.mod.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod in %s or above it", dir)
		}
	}
}

func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: not a count", name, text)
	}
	return n
}

// Lab runs a verb of the lab, as a person would.
func (b *Bed) Lab(t testing.TB, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, b.lab, words...)
	c.Dir = b.root
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("lab %s: %v\n%s", strings.Join(words, " "), err, out)
	}
	t.Logf("lab %s", strings.Join(words, " "))
}

// On runs a shell script on a host and returns what it printed.
func (b *Bed) On(t testing.TB, host, script string) string {
	t.Helper()
	out, err := b.try(host, script)
	if err != nil {
		t.Fatalf("on %s: %v\n%s", host, err, script)
	}
	return out
}

// try is On for a host that may not be able to answer.
func (b *Bed) try(host, script string) (string, error) {
	address, known := b.hosts[host]
	if !known {
		return "", fmt.Errorf("the lab has no host %q", host)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return b.ssh.run(ctx, address, "set -eu; export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8\n"+script, nil)
}

// condition says why something does not hold yet, or nil.
type condition func() error

// Until polls a condition until it holds, and fails the test with the last
// reason why not.
func Until(t testing.TB, deadline time.Duration, what string, holds condition) time.Duration {
	t.Helper()
	took, err := poll(deadline, holds)
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, deadline, err)
	}
	return took
}

// poll asks again and again, and returns how long it took until all was well.
func poll(deadline time.Duration, holds condition) (time.Duration, error) {
	start := time.Now()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	end := time.NewTimer(deadline)
	defer end.Stop()
	for {
		err := holds()
		if err == nil {
			return time.Since(start), nil
		}
		select {
		case <-again.C:
		case <-end.C:
			return time.Since(start), err
		}
	}
}

// For holds while a condition does, for some time, and fails the test when it
// ceases to.
func For(t testing.TB, d time.Duration, what string, holds condition) {
	t.Helper()
	_, err := poll(d, func() error {
		if err := holds(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return errors.New("held")
	})
	_ = err // the time has passed, which is what was asked for
}

// Record notes a measured value in the test's log and for the report.
func (b *Bed) Record(t testing.TB, m report.Measurement) {
	t.Helper()
	judged := "within"
	if m.Value > m.Limit != m.AtLeast && m.Value != m.Limit {
		judged = "BEYOND"
	}
	t.Logf("%s: %s = %.4g %s, %s the limit of %g; %s", m.ID, m.Metric, m.Value, m.Unit, judged, m.Limit, m.Note)
	b.done[m.ID] = m.Scenario
	if err := report.Append(m); err != nil {
		t.Error(err)
	}
}

// outcome notes for the report whether a run of a scenario was as it must be.
func (b *Bed) outcome(t testing.TB, id string, failed bool) {
	t.Helper()
	if err := report.Append(report.Outcome(id, b.done[id], failed)); err != nil {
		t.Error(err)
	}
}
