package preview_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh/knownhosts"
	"gopkg.in/yaml.v3"

	"github.com/halinux/halinux/tests/simulated"
	"github.com/halinux/halinux/tests/sshkey"
)

// site is one of the lab's stacks on simulated hosts: `up` works on it.
type site struct {
	*project
	hosts map[string]*simulated.Host
}

func newSite(t *testing.T) *site { return newSiteOf(t, "lab") }

func newSiteOf(t *testing.T, stack string) *site {
	t.Helper()
	s := &site{newProject(t), map[string]*simulated.Host{}}
	s.name = stack
	var known strings.Builder
	s.configure(func(config map[string]any) {
		key, err := sshkey.New()
		require.NoError(t, err)
		private, err := key.Private("")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "key"), []byte(private), 0o600))
		config["halinux:ssh"] = map[string]any{"knownHosts": "known_hosts", "port": simulated.Port, "keyFile": "key"}
		for i, h := range config["halinux:hosts"].([]any) {
			h := h.(map[string]any)
			host, err := simulated.Start(i)
			if err != nil {
				t.Skipf("SKIP: no simulated host here: %v", err)
			}
			t.Cleanup(func() { host.Close() })
			s.hosts[h["name"].(string)] = host
			h["address"] = host.Address.Addr().String()
			known.WriteString(knownhosts.Line([]string{knownhosts.Normalize(host.Address.String())}, host.Key) + "\n")
		}
	})
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "known_hosts"), []byte(known.String()), 0o600))
	return s
}

// configure edits the stack's settings.
func (p *project) configure(edit func(config map[string]any)) {
	p.t.Helper()
	path := filepath.Join(p.dir, "Pulumi."+p.name+".yaml")
	b, err := os.ReadFile(path)
	require.NoError(p.t, err)
	settings := map[string]any{}
	require.NoError(p.t, yaml.Unmarshal(b, &settings))
	edit(settings["config"].(map[string]any))
	b, err = yaml.Marshal(settings)
	require.NoError(p.t, err)
	require.NoError(p.t, os.WriteFile(path, b, 0o600))
}

func (s *site) up() string {
	s.t.Helper()
	stack := s.stack(s.name)
	var out bytes.Buffer
	_, err := stack.Up(s.t.Context(), optup.Diff(), optup.ProgressStreams(&out), optup.ErrorProgressStreams(&out))
	require.NoError(s.t, err, out.String())
	return out.String()
}

// changes are the names of the resources that a preview would change.
func (s *site) changes() []string {
	s.t.Helper()
	steps, err := s.preview(s.name)
	require.NoError(s.t, err)
	var names []string
	for _, step := range steps {
		if step.Op != apitype.OpSame {
			names = append(names, step.URN[strings.LastIndex(step.URN, "::")+2:])
		}
	}
	slices.Sort(names)
	return names
}

func TestOneChangeChangesOneHost(t *testing.T) {
	s := newSite(t)
	s.up()
	require.Empty(t, s.changes(), "a preview right after up must be empty")
	s.configure(func(config map[string]any) {
		hosts := config["halinux:hosts"].([]any)
		bonded := slices.IndexFunc(hosts, func(h any) bool { return h.(map[string]any)["name"] == "backend3" })
		links := hosts[bonded].(map[string]any)["links"].([]any)
		links[0].(map[string]any)["bond"].(map[string]any)["primary"] = "eth1"
	})
	assert.Equal(t, []string{"base-backend3-network"}, s.changes())
}

// One more worker is the affair of that worker, and of the edges, whose sites lead
// to it and whose zones have its name: nobody even connects to another node.
func TestAnotherWorkerTouchesNoOtherNode(t *testing.T) {
	s := newSiteOf(t, "kubernetes")
	roles := func(roles ...any) {
		s.configure(func(config map[string]any) {
			for _, h := range config["halinux:hosts"].([]any) {
				if h := h.(map[string]any); h["name"] == "worker2" {
					h["roles"] = roles
				}
			}
		})
	}
	roles()
	s.up()
	before := map[string]int{}
	for name, h := range s.hosts {
		before[name] = h.Connections()
	}
	roles("worker")
	s.up()
	var touched []string
	for name, h := range s.hosts {
		if h.Connections() > before[name] {
			touched = append(touched, name)
		}
	}
	slices.Sort(touched)
	assert.Equal(t, []string{"edge1", "edge2", "worker2"}, touched)
	require.Empty(t, s.changes())
}

func TestDriftIsShownRepairedAndForgotten(t *testing.T) {
	s := newSite(t)
	s.up()
	detect := func(mode string) {
		s.configure(func(config map[string]any) { config["halinux:drift"] = mode })
	}
	detect("detect")
	require.Empty(t, s.changes())
	for range 2 { // the same difference a second time is found again
		s.hosts["edge1"].Drift("haproxy", "/etc/haproxy/haproxy.cfg differs")
		require.Equal(t, []string{"edge-edge1-haproxy"}, s.changes())
		s.hosts["edge1"].Payloads()
		out := s.up()
		assert.Contains(t, out, "/etc/haproxy/haproxy.cfg differs")
		commands, _ := s.hosts["edge1"].Payloads()
		assert.Len(t, commands, 1, "only the phase that drifted converges")
		assert.Empty(t, s.changes(), "with detection on")
		detect("off")
		assert.Empty(t, s.changes(), "with detection off")
		detect("detect")
	}
	require.NoError(t, s.hosts["backend1"].Close())
	assert.Empty(t, s.changes(), "a host that cannot be reached is unknown, and no reason to change anything")
}

// Sentinel secrets go in; none may come out anywhere but on stdin.
func TestSecretsStaySecret(t *testing.T) {
	s := newSite(t)
	tsig := base64.StdEncoding.EncodeToString([]byte("SENTINEL-tsig-0123456789-abcdefg"))
	sentinels := []string{"SENTINEL-bgp-password", tsig}
	s.configure(func(config map[string]any) {
		peers := config["halinux:edge"].(map[string]any)["bgp"].(map[string]any)["peers"].([]any)
		name := peers[0].(map[string]any)["name"].(string)
		config["halinux:secrets"] = map[string]any{"bgp": map[string]any{name: sentinels[0]}, "tsig": tsig}
	})
	key, err := os.ReadFile(filepath.Join(s.dir, "key"))
	require.NoError(t, err)
	sentinels = append(sentinels, strings.Split(string(key), "\n")[2])

	stack := s.stack(s.name)
	var preview bytes.Buffer
	_, err = stack.Preview(t.Context(), optpreview.Diff(), optpreview.ProgressStreams(&preview), optpreview.ErrorProgressStreams(&preview))
	require.NoError(t, err)
	seen := map[string]string{"preview": preview.String(), "up": s.up()}
	state, err := os.ReadFile(filepath.Join(s.dir, ".pulumi", "stacks", "halinux", "lab.json"))
	require.NoError(t, err)
	seen["state"] = string(state)
	for name, h := range s.hosts {
		commands, stdins := h.Payloads()
		seen["commands on "+name] = strings.Join(commands, "\n")
		if name == "edge1" {
			assert.Contains(t, strings.Join(stdins, "\n"), base64.StdEncoding.EncodeToString([]byte(sentinels[0])), "the secret did not even arrive")
		}
	}
	for where, text := range seen {
		require.NotEmpty(t, text, where)
		for _, sentinel := range sentinels {
			for _, form := range []string{sentinel, base64.StdEncoding.EncodeToString([]byte(sentinel))} {
				assert.False(t, strings.Contains(text, form), fmt.Sprintf("%s shows a secret", where))
			}
		}
	}
	assert.Contains(t, seen["commands on edge1"], "[secret ", "a reader sees that there is a secret")
}
