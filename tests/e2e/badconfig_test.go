package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/report"
)

// spoiled are files that get a line which their daemon cannot read, and the
// unit that must go on as it was.
var spoiled = []struct{ phase, path, line, unit string }{
	{"haproxy", "/etc/haproxy/haproxy.cfg", "this is no configuration", "haproxy.service"},
	{"nginx", "/etc/nginx/nginx.conf", "this is no configuration;", "nginx.service"},
	{"keepalived", "/etc/keepalived/keepalived.conf", "vrrp_instance broken {", "keepalived.service"},
	{"bind", "/etc/bind/named.conf", "this is no configuration;", "named.service"},
	{"frr", "/etc/frr/frr.conf", "this is no configuration", "frr.service"},
	{"firewall", "/etc/halinux/firewall.nft", "this is no configuration", ""},
}

// badConfig sends each phase of an edge again, as the command plugin does, but
// with a file that the daemon rejects. No settings lead there, since what the
// components render is valid; a new version of a daemon may.
func badConfig(t *testing.T, b *Bed, f *facts) {
	edge := b.owner(t, f)
	sent := b.payloads(t)
	lan, internet := both(t, b, f, patient)
	refused := 0
	for _, c := range spoiled {
		payload, ok := sent["-"+edge+"-"+c.phase]
		if !ok {
			t.Errorf("%s has no phase %s", edge, c.phase)
			continue
		}
		start := strings.Index(payload.create, "\nfile "+c.path+" ")
		if start < 0 {
			t.Errorf("the phase %s has no file %s", c.phase, c.path)
			continue
		}
		at := start + 1 + strings.Index(payload.create[start+1:], "\n") + 1
		bad := payload.create[:at] + c.line + "\n" + payload.create[at:]
		look := "sha256sum " + c.path
		if c.unit != "" {
			look += "; systemctl show -P MainPID -P ActiveState " + c.unit
		}
		before := b.On(t, edge, look)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		_, err := b.ssh.run(ctx, b.hosts[edge], bad, strings.NewReader(payload.stdin))
		cancel()
		switch {
		case err == nil:
			t.Errorf("%s took a configuration that is none", c.phase)
			continue
		case !strings.Contains(err.Error(), edge) || !strings.Contains(err.Error(), c.phase):
			t.Errorf("the error names neither host nor phase: %v", err)
		}
		if after := b.On(t, edge, look); after != before {
			t.Errorf("%s: not as before: %s, was %s", c.phase, after, before)
			continue
		}
		refused++
	}
	b.Record(t, report.Measurement{ID: "F9", Scenario: "a bad HAProxy, NGINX, Keepalived, BIND, FRR or nftables configuration is pushed", Metric: "refused, the old one serves", Unit: "configurations", Value: float64(refused), Limit: float64(len(spoiled)), AtLeast: true})
	lossless(t, b, report.Measurement{ID: "F9", Scenario: "a bad HAProxy, NGINX, Keepalived, BIND, FRR or nftables configuration is pushed"}, lan, internet)
	b.NoDrift(t)
}

// payload is what the command plugin sends for one phase.
type payload struct{ create, stdin string }

// payloads reads them from the stack's state, by the end of their names.
func (b *Bed) payloads(t testing.TB) map[string]payload {
	t.Helper()
	c := exec.Command("pulumi", "stack", "export", "--show-secrets", "--stack", b.stack, "--cwd", b.work())
	c.Env = b.environment("")
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		t.Fatalf("pulumi stack export: %v\n%s", err, complaint.String())
	}
	var state struct {
		Deployment struct {
			Resources []struct {
				URN    string
				Type   string
				Inputs map[string]any
			}
		}
	}
	if err := json.Unmarshal(out, &state); err != nil {
		t.Fatalf("the stack's state: %v", err)
	}
	all := map[string]payload{}
	for _, r := range state.Deployment.Resources {
		if r.Type != "command:remote:Command" {
			continue
		}
		name := r.URN[strings.LastIndex(r.URN, "::")+2:]
		_, rest, _ := strings.Cut(name, "-")
		all["-"+rest] = payload{plain(r.Inputs["create"]), plain(r.Inputs["stdin"])}
	}
	return all
}

// plain is an input's text, be it marked as secret or not.
func plain(v any) string {
	if m, ok := v.(map[string]any); ok {
		text, _ := m["plaintext"].(string)
		var s string
		if json.Unmarshal([]byte(text), &s) == nil {
			return s
		}
		return text
	}
	s, _ := v.(string)
	return s
}
