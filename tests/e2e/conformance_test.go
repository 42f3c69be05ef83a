package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// conformanceSets are those of upstream's groups whose conformance tests a cluster
// with two workers, and without the internet, can carry.
var conformanceSets = []string{"sig-auth", "sig-network", "sig-apps", "sig-storage"}

// setWithin is how long one set may take.
const setWithin = 90 * time.Minute

// TestConformance runs upstream's conformance tests against the cluster. It takes
// hours, and is one of those that HALINUX_FULL asks for.
func TestConformance(t *testing.T) {
	b := open(t)
	f := b.facts(t)
	if f.Kubernetes.Endpoint.Address == "" {
		t.Skipf("SKIP: %s has no cluster: make e2e STACK=kubernetes", b.settingsFile())
	}
	if os.Getenv("HALINUX_FULL") == "" {
		t.Skip("SKIP: upstream's tests take hours: make conformance")
	}
	t.Run("conformance", func(t *testing.T) {
		b.inTime(t)
		tests := findSuite(t)
		k := b.kube(t, f)
		k.id, k.scenario = "conformance", "upstream's conformance tests of networking, storage, apps and auth"
		k.done[k.id] = k.scenario
		k.deploy(t)
		k.ready(t)
		dir := t.TempDir()
		kubeconfig := filepath.Join(dir, "kubeconfig")
		if err := os.WriteFile(kubeconfig, []byte(k.On(t, k.masters[0], "cat /etc/kubernetes/admin.conf")), 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if t.Failed() {
				b.Bundle(t)
			}
			b.outcome(t, k.id, t.Failed())
		}()
		for _, set := range conformanceSets {
			c, err := runSet(t, tests, kubeconfig, set, filepath.Join(dir, set+".xml"))
			if err != nil {
				t.Errorf("%s: %v", set, err)
				continue
			}
			for _, name := range c.failed {
				t.Logf("%s: failed: %s", set, name)
			}
			note := fmt.Sprintf("of %d: %d passed, %d failed, %d left themselves out; agnhost:2.55 is 2.63.0 under another tag", c.all, c.passed, len(c.failed), c.skipped)
			figure := k.measured("conformance tests of "+set+" that failed", "tests")
			figure.Value, figure.Note = float64(len(c.failed)), note
			k.Record(t, figure)
			figure = k.measured("conformance tests of "+set+" that passed", "tests")
			figure.Value, figure.AtLeast, figure.Note = float64(c.passed), true, note
			k.Record(t, figure)
		}
	})
}

// suite is what `bundle -conformance` has made: the tests' program, and the file
// that says where their images are.
type suite struct{ Program, Repositories string }

func findSuite(t *testing.T) suite {
	t.Helper()
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	path := filepath.Join(home, ".cache", "halinux", "bundle", "conformance.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("SKIP: upstream's tests are not built (%v): make conformance", err)
	}
	var s suite
	require.NoError(t, json.Unmarshal(data, &s))
	return s
}

// runSet runs the conformance tests of one group, one after the other.
func runSet(t *testing.T, program suite, kubeconfig, set, results string) (counts, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program.Program, "--kubeconfig="+kubeconfig, "--provider=skeleton", "--num-nodes=2",
		"--ginkgo.focus="+`\[`+set+`\].*\[Conformance\]`, "--ginkgo.timeout="+setWithin.String(), "--ginkgo.no-color", "--ginkgo.junit-report="+results)
	// The tests write into the folder that they run in.
	cmd.Dir = filepath.Dir(results)
	cmd.Env = append(os.Environ(), "KUBE_TEST_REPO_LIST="+program.Repositories)
	log, err := os.Create(strings.TrimSuffix(results, ".xml") + ".log")
	if err != nil {
		return counts{}, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	ended := cmd.Run() // tests that fail are an error too
	text, err := os.ReadFile(results)
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return counts{}, fmt.Errorf("%w (%w): %s", err, ended, tail(string(said)))
	}
	return countTests(text, set)
}

// counts is what came of a set.
type counts struct {
	all, passed, skipped int // skipped by a test itself
	failed               []string
}

// countTests reads ginkgo's report, which has all tests of the program: those that
// were not asked for have been skipped without a reason.
func countTests(text []byte, set string) (counts, error) {
	var r struct {
		Suites []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Status  string `xml:"status,attr"`
				Skipped *struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &r); err != nil {
		return counts{}, fmt.Errorf("ginkgo's report: %w", err)
	}
	var c counts
	for _, s := range r.Suites {
		for _, one := range s.Cases {
			if !strings.Contains(one.Name, "["+set+"]") || !strings.Contains(one.Name, "[Conformance]") {
				continue
			}
			c.all++
			switch {
			case one.Status == "passed":
				c.passed++
			case one.Status == "skipped" && one.Skipped != nil && one.Skipped.Message != "skipped":
				c.skipped++
			case one.Status == "skipped" || one.Status == "pending":
			default:
				c.failed = append(c.failed, one.Name)
			}
		}
	}
	if c.passed+len(c.failed)+c.skipped == 0 {
		return c, fmt.Errorf("none of the %d tests has run", c.all)
	}
	return c, nil
}

func TestCountTests(t *testing.T) {
	const text = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="6"><testsuite name="Kubernetes e2e suite">
<testcase name="[ReportBeforeSuite]" status="passed"></testcase>
<testcase name="[It] [sig-network] DNS should resolve [Conformance]" status="passed" time="3.1"></testcase>
<testcase name="[It] [sig-network] Services should move [Conformance]" status="failed"><failure message="no"></failure></testcase>
<testcase name="[It] [sig-network] Services should end [Conformance]" status="timedout"></testcase>
<testcase name="[It] [sig-network] Services should be dual [Conformance]" status="skipped"><skipped message="skipped - no IPv6"></skipped></testcase>
<testcase name="[It] [sig-network] Services of another run [Conformance]" status="skipped"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-network] Services beyond it" status="failed"></testcase>
<testcase name="[It] [sig-apps] Job should end [Conformance]" status="passed"></testcase>
</testsuite></testsuites>`
	c, err := countTests([]byte(text), "sig-network")
	require.NoError(t, err)
	require.Equal(t, counts{all: 5, passed: 1, skipped: 1, failed: []string{
		"[It] [sig-network] Services should move [Conformance]", "[It] [sig-network] Services should end [Conformance]",
	}}, c)
	_, err = countTests([]byte(text), "sig-auth")
	require.ErrorContains(t, err, "none of the 0 tests")
	_, err = countTests([]byte("no report"), "sig-apps")
	require.Error(t, err)
}
