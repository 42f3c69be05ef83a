package haedge

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var secretMark = regexp.MustCompile(`\[secret [a-z0-9.-]+\]`)

// program returns where a daemon's checker is, or "" where it is not installed.
func program(name string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	return ""
}

// checkers are the daemons' own, as the converge scripts call them. Each gets
// the folder in which the files of its phase are staged.
var checkers = []struct {
	phase, program string
	run            func(program, stage string) *exec.Cmd
}{
	{"haproxy", "haproxy", func(program, stage string) *exec.Cmd {
		return exec.Command(program, "-c", "-f", stage+"/etc/haproxy/haproxy.cfg")
	}},
	{"nginx", "nginx", func(program, stage string) *exec.Cmd {
		return exec.Command(program, "-t", "-q", "-c", stage+"/etc/nginx/nginx.conf")
	}},
	{"keepalived", "keepalived", func(program, stage string) *exec.Cmd {
		return exec.Command(program, "-t", "-f", stage+"/etc/keepalived/keepalived.conf")
	}},
	{"frr", "vtysh", func(program, stage string) *exec.Cmd {
		return exec.Command(program, "-C", "-f", stage+"/etc/frr/frr.conf")
	}},
	{"bind", "named-checkconf", func(program, stage string) *exec.Cmd {
		return exec.Command(program, stage+"/etc/bind/named.conf")
	}},
	{"bind", "named-checkzone", func(program, stage string) *exec.Cmd {
		return exec.Command("sh", "-c", `set -e
			for zone in "$1"/etc/bind/zones/*; do sed "s/( SERIAL /( 1 /" "$zone" >"$zone.1"; "$0" -i local "$(basename "$zone")" "$zone.1"; done`, program, stage)
	}},
}

// accepted gives what the phases would put on a host to the daemons' own
// checkers, with real certificates in the place of secrets. It returns the
// checkers that are not installed here: what they would say is not known, and
// the test that asks has to skip. The end-to-end tests run these tests where all
// of them are.
func accepted(t *testing.T, a *HAEdgeArgs, h string) (missing []string) {
	t.Helper()
	certificate, key := pair(t, a.now(), "www.example.org")
	all, err := plan(a, exampleSecrets())
	require.NoError(t, err)
	// Not t.TempDir: the test's name in the path holds signs that HAProxy reads.
	stage, err := os.MkdirTemp("", "edge")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(stage) })
	// Paths of files that the converge scripts rewrite, or that stand on a host.
	var paths []string
	for _, p := range all[h] {
		for _, f := range p.Files {
			paths = append(paths, f.Path, stage+f.Path)
		}
	}
	for _, site := range a.acmeSites() {
		for name, content := range map[string]string{"fullchain.pem": certificate, "privkey.pem": key} {
			path := filepath.Join(acmeCerts, site, name)
			paths = append(paths, path, stage+path)
			require.NoError(t, os.MkdirAll(filepath.Dir(stage+path), 0o755))
			require.NoError(t, os.WriteFile(stage+path, []byte(content), 0o600))
		}
	}
	for _, unit := range []string{"/run/haproxy", "/run/halinux"} {
		require.NoError(t, os.MkdirAll(stage+unit, 0o755))
	}
	here := strings.NewReplacer(append(paths, "/etc/nginx/mime.types", stage+"/mime.types")...)
	require.NoError(t, os.WriteFile(stage+"/mime.types", []byte("types { text/plain txt; }\n"), 0o644))
	secrets := func(text string) string {
		return secretMark.ReplaceAllStringFunc(text, func(mark string) string {
			switch name := strings.TrimSuffix(strings.TrimPrefix(mark, "[secret "), "]"); {
			case strings.HasSuffix(name, ".key"):
				return key
			case strings.HasSuffix(name, ".crt"), strings.HasPrefix(name, "ca-"):
				return certificate
			case name == "transfer":
				return "c2VudGluZWwtdHJhbnNmZXIta2V5IQ=="
			default:
				return "sentinel"
			}
		})
	}
	for _, p := range all[h] {
		for _, f := range p.Files {
			require.NoError(t, os.MkdirAll(filepath.Dir(stage+f.Path), 0o755))
			require.NoError(t, os.WriteFile(stage+f.Path, []byte(here.Replace(secrets(f.Content))), 0o755))
		}
	}
	for _, c := range checkers {
		if c.phase == "nginx" && len(a.Sites) == 0 || c.phase == "bind" && a.DNS == nil || c.phase == "frr" && a.BGP == nil ||
			c.program == "named-checkzone" && h != a.primary() {
			continue
		}
		path := program(c.program)
		if path == "" {
			missing = append(missing, c.program)
			continue
		}
		out, err := c.run(path, stage).CombinedOutput()
		if err != nil && benign(c.program, string(out)) {
			continue
		}
		require.NoError(t, err, "%s refuses what the plan made: %s", c.program, out)
	}
	return missing
}

// skip ends a test of which a part could not be done.
func skip(t *testing.T, missing []string) {
	t.Helper()
	if len(missing) > 0 {
		t.Skipf("SKIP: not checked by %s: not installed here; on the lab's hosts they are", strings.Join(missing, ", "))
	}
}

// benign tells what a checker cannot know on a machine that is no edge from
// what is wrong with a file.
func benign(program, out string) bool {
	switch program {
	case "nginx": // the addresses of an edge
		return strings.Contains(out, "Cannot assign requested address") || strings.Contains(out, "/var/log/nginx") || strings.Contains(out, "/run/nginx.pid")
	case "keepalived": // the interfaces of an edge, and the user of its scripts
		for line := range strings.Lines(out) {
			if strings.Contains(line, "nknown keyword") || strings.Contains(line, "nvalid") || strings.Contains(line, "issing") {
				return false
			}
		}
		return true
	}
	return false
}

func TestDaemonsAcceptTheExample(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: runs the daemons' checkers")
	}
	drained := example()
	drained.Maintenance = []string{"edge1"}
	for _, c := range []struct {
		name, host string
		args       *HAEdgeArgs
	}{
		{"first edge", "edge1", example()},
		{"second edge", "edge2", example()},
		{"in maintenance", "edge1", drained},
		{"a VIP and nothing else", "edge1", &HAEdgeArgs{Hosts: example().Hosts, Plan: examplePlan(), Network: "lan", VIPs: example().VIPs[:1]}},
	} {
		t.Run(c.name, func(t *testing.T) { skip(t, accepted(t, c.args, c.host)) })
	}
}

// FuzzArgs: whatever Validate lets through is what the daemons accept.
func FuzzArgs(f *testing.F) {
	f.Add("www", "www.example.org", "/healthz", "backend-1", "10.10.0.21", "_sip._tcp", "SRV", "1 2 5060 api", uint16(80), int16(100), int64(time.Second))
	f.Add("a", "*.example.org", "/a?b=c&d=#e", "B1", "::1", "@", "TXT", `v=spf1 "x" \ ; -all`, uint16(0), int16(0), int64(0))
	f.Add("x{y}", "exa mple.org", "/\n}", "b;", "fe80::1%eth0", "a.b", "CNAME", "@", uint16(65535), int16(-5), int64(-1))
	f.Add("default", "localhost", "/%[src]", "default-server", "2001:db8::1", "*", "A", "10.10.0.100", uint16(53), int16(256), int64(3600e9))
	f.Add("health", "xn--bcher-kva.example", "/~", "check", "255.255.255.255", "www2", "CAA", `0 issue "ca.example;x"`, uint16(8402), int16(1), int64(60e9))
	f.Add("edges", "1.2.3.4", "/'", "0", "10.10.0.11", "x", "MX", "10 a..b", uint16(22), int16(3), int64(1500e6))
	f.Fuzz(func(t *testing.T, name, hostName, path, backend, address, owner, kind, value string, port uint16, weight int16, d int64) {
		a := example()
		b := Backend{Name: backend, Address: address, Port: int(port), Weight: int(weight)}
		duration := time.Duration(d)
		a.Sites = append(a.Sites, Site{Name: name, Hosts: []string{hostName}, Backends: []Backend{b}, Check: HTTPCheck{Path: path, Host: hostName, Interval: duration},
			HSTS: duration, Timeout: duration, RateLimit: &RateLimit{Requests: int(weight), Period: duration}, Persistence: "cookie"})
		a.Services = append(a.Services, Service{Name: name + "s", VIPs: []string{"side"}, Port: int(port), Backends: []Backend{b}, Timeout: duration,
			Check: ServiceCheck{Type: "http", Path: path, Port: int(port)}})
		a.DNS.Records = append(a.DNS.Records, Record{owner, kind, value})
		a.DNS.TTL = duration
		a.VIPs = append(a.VIPs, VIP{Name: name + "v", Address: address, RouterID: int(weight)})
		// Each part that is valid by itself is tried, so that one bad input
		// does not hide what another leads to.
		for _, drop := range []func(){
			func() { a.VIPs = example().VIPs }, func() { a.DNS = example().DNS }, func() { a.Services = example().Services }, func() { a.Sites = example().Sites },
		} {
			problems := a.Validate()
			if problems.Err() == nil {
				skip(t, accepted(t, a, "edge1"))
				return
			}
			drop()
		}
	})
}
