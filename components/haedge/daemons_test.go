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
	f.Add("-", "a-.example.org", "/%00", "-b", "10.10.0.255", "_", "TXT", `"a" "b"`, uint16(1024), int16(255), int64(100*time.Millisecond))
	f.Add("site", "www.example.org.", `/a"b`, "b.c", "0.0.0.0", "@", "NS", "ns1", uint16(443), int16(1), int64(1001*time.Millisecond))
	f.Add("all", "*.*.org", "/a\\ b", "disabled", "10.10.0.1", "a.b.c.d", "CAA", "128 iodef \"mailto:a@b\"", uint16(8404), int16(100), int64(24*time.Hour))
	f.Add("0", "xn--.example", "/$host", "${HOME}", "224.0.0.18", "in-addr", "SRV", "0 0 0 .", uint16(1), int16(2), int64(24*time.Hour+1))
	f.Add("edges", "1.2.3.4", "/'", "0", "10.10.0.11", "x", "MX", "10 a..b", uint16(22), int16(3), int64(1500e6))
	f.Fuzz(func(t *testing.T, name, hostName, path, backend, address, owner, kind, value string, port uint16, weight int16, d int64) {
		duration := time.Duration(d)
		// Each input changes one thing at a time, and what is valid
		// is kept: so one bad input does not hide what the others lead to.
		var kept []func(*HAEdgeArgs)
		site := func(a *HAEdgeArgs) *Site { return &a.Sites[len(a.Sites)-1] }
		service := func(a *HAEdgeArgs) *Service { return &a.Services[len(a.Services)-1] }
		for _, change := range []func(*HAEdgeArgs){
			func(a *HAEdgeArgs) { site(a).Hosts = []string{hostName} },
			func(a *HAEdgeArgs) { site(a).Check.Path = path },
			func(a *HAEdgeArgs) { site(a).Check.Host = hostName },
			func(a *HAEdgeArgs) { site(a).Check.Interval = duration },
			func(a *HAEdgeArgs) { site(a).HSTS = duration },
			func(a *HAEdgeArgs) { site(a).Timeout = duration },
			func(a *HAEdgeArgs) { site(a).RateLimit = &RateLimit{Requests: int(weight), Period: duration} },
			func(a *HAEdgeArgs) { site(a).Name, site(a).Persistence = name, "cookie" },
			func(a *HAEdgeArgs) {
				site(a).Backends = append(site(a).Backends, Backend{Name: backend, Address: "10.10.0.77", Port: 80})
			},
			func(a *HAEdgeArgs) { site(a).Backends = append(site(a).Backends, Backend{Address: address, Port: 80}) },
			func(a *HAEdgeArgs) { service(a).Name = name + "s" },
			func(a *HAEdgeArgs) { service(a).Port = int(port) },
			func(a *HAEdgeArgs) { service(a).Timeout = duration },
			func(a *HAEdgeArgs) { service(a).Check = ServiceCheck{Type: "http", Path: path, Host: hostName} },
			func(a *HAEdgeArgs) {
				service(a).Backends = []Backend{{Name: backend, Address: "10.10.0.78", Port: int(port), Weight: int(weight)}}
			},
			func(a *HAEdgeArgs) { a.DNS.Records = append(a.DNS.Records, Record{owner, kind, value}) },
			func(a *HAEdgeArgs) { a.DNS.TTL = duration },
			func(a *HAEdgeArgs) { a.DNS.Forwarders = []string{address} },
			func(a *HAEdgeArgs) {
				a.VIPs = append(a.VIPs, VIP{Name: name + "v", Address: "10.10.0.200", RouterID: 200})
			},
			func(a *HAEdgeArgs) {
				a.VIPs = append(a.VIPs, VIP{Name: "more", Address: address, RouterID: int(weight)})
			},
			func(a *HAEdgeArgs) { a.BGP.Accept = []string{address + "/32"} },
			func(a *HAEdgeArgs) { a.BGP.VIPs = append(a.BGP.VIPs, PublicVIP{Name: name + "p", Address: address}) },
			func(a *HAEdgeArgs) { a.From = []string{address} },
		} {
			a := example()
			for _, k := range kept {
				k(a)
			}
			change(a)
			if problems := a.Validate(); problems.Err() == nil {
				kept = append(kept, change)
			}
		}
		if len(kept) == 0 {
			return
		}
		a := example()
		for _, k := range kept {
			k(a)
		}
		skip(t, accepted(t, a, "edge1"))
	})
}
