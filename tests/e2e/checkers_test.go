package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheckers runs the tests that give rendered files to the daemons' own
// checkers, and the seeds of the fuzzers with them, on hosts that have all of
// these programs: on the controller most of them are missing, and installing
// them would start daemons there.
func TestCheckers(t *testing.T) {
	b := open(t)
	f := b.facts(t)
	for _, c := range []struct{ pkg, host, extra string }{
		{"haedge", f.edges[0], ""},
		{"host", f.Edge.Services[0].Backends[0].Host, "netplan.io"},
	} {
		program := filepath.Join(t.TempDir(), c.pkg+".test")
		build := exec.Command("go", "test", "-c", "-o", program, "./components/"+c.pkg)
		build.Dir, build.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the tests of %s: %v\n%s", c.pkg, err, out)
		}
		there := "/run/halinux-" + c.pkg + ".test"
		content, err := os.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if err := b.put(c.host, there, content); err != nil {
			t.Fatalf("%s: %v", c.host, err)
		}
		remove := ""
		if c.extra != "" {
			if more := strings.Fields(b.On(t, c.host, "apt-get install -s --no-install-recommends "+c.extra+" | awk '$1 == \"Inst\" {print $2}'")); len(more) > 0 {
				b.On(t, c.host, "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "+c.extra+" >/dev/null")
				remove = "; dpkg --purge " + strings.Join(more, " ")
			}
		}
		defer func() {
			if _, err := b.try(c.host, "rm -f "+there+remove); err != nil {
				t.Error(err)
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		out, err := b.ssh.run(ctx, b.hosts[c.host], "cd /tmp && PATH=$PATH:/usr/sbin "+there+" -test.v -test.run 'Accept|^Fuzz'", nil)
		cancel()
		switch {
		case err != nil:
			t.Errorf("%s: %v\n%s", c.pkg, err, tail(out))
		case strings.Contains(out, "SKIP"):
			t.Errorf("%s: a checker is missing on %s:\n%s", c.pkg, c.host, tail(out))
		default:
			t.Logf("%s: %d tests and seeds passed on %s", c.pkg, strings.Count(out, "--- PASS"), c.host)
		}
	}
}
