package haedge

import (
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/graph"
)

func run(t *testing.T, a *HAEdgeArgs, more func(*HAEdge), opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		e, err := NewHAEdge(ctx, "edge", a, opts...)
		if err == nil && more != nil {
			more(e)
		}
		return err
	})
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), nil, pulumi.Protect(true))
	require.Equal(t, Type, resources["edge"].TypeToken)
	before := map[string][]string{
		"library": nil, "haproxy": {"library"}, "nginx": {"haproxy"}, "bind": {"haproxy"},
		"keepalived": {"nginx", "bind"}, "frr": {"keepalived"}, "acme": {"frr"},
	}
	want := []string{"edge", "edge-ca", "edge-transfer-key"}
	for _, h := range []string{"edge1", "edge2"} {
		for p, phases := range before {
			name := "edge-" + h + "-" + p
			want = append(want, name)
			r, ok := resources[name]
			require.True(t, ok, "%s is missing", name)
			assert.Equal(t, "command:remote:Command", r.TypeToken)
			assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::edge"), r.RegisterRPC.GetParent())
			assert.True(t, r.RegisterRPC.GetProtect(), "options reach the children")
			var waits []string
			for _, urn := range r.RegisterRPC.GetDependencies() {
				if _, phase, ok := strings.Cut(urn, "::edge-edge"); ok {
					waits = append(waits, "edge-edge"+phase)
				}
			}
			var expected []string
			for _, phase := range phases {
				expected = append(expected, "edge-"+h+"-"+phase)
			}
			assert.ElementsMatch(t, expected, waits, "what %s waits for: edges converge side by side", name)
		}
	}
	assert.Len(t, resources, len(want), "nothing else is registered")
}

func TestSecretsAreNeverPlain(t *testing.T) {
	given := example()
	certificate, key := pair(t, given.Now, "www.example.org", "example.org")
	given.Sites[0].Certificate = Certificate{Source: "given", Certificate: certificate, Key: key}
	given.DNS.Key = pulumi.String("c2VudGluZWwtdHJhbnNmZXIta2V5IQ==")
	for _, a := range []*HAEdgeArgs{example(), given} {
		for name, r := range run(t, a, nil) {
			for property, v := range r.Inputs {
				if v.ContainsSecrets() {
					continue
				}
				text := v.String()
				for _, secret := range []string{"sentinel", "PRIVATE KEY", "c2VudGluZWwt"} {
					assert.NotContains(t, text, secret, "%s.%s", name, property)
				}
			}
		}
	}
}

func TestOutputs(t *testing.T) {
	var wg sync.WaitGroup
	run(t, example(), func(e *HAEdge) {
		wg.Add(1)
		pulumi.All(e.VIPs, e.PublicVIPs, e.Endpoints, e.SiteURLs, e.DNSServers, e.CACertificate).ApplyT(func(v []any) error {
			defer wg.Done()
			assert.Equal(t, map[string]string{"front": "10.10.0.100", "side": "10.10.0.101"}, v[0])
			assert.Equal(t, map[string]string{"public": "198.51.100.10", "mail": "198.51.100.11"}, v[1])
			assert.Equal(t, map[string]string{"api": "10.10.0.100:6443", "db": "10.10.0.101:3306"}, v[2])
			assert.Equal(t, map[string]string{"www": "https://www.example.org", "shop": "https://shop.example.org"}, v[3])
			assert.Equal(t, []string{"10.10.0.11", "10.10.0.12"}, v[4])
			assert.Contains(t, v[5], "BEGIN CERTIFICATE")
			assert.NotContains(t, v[5], "PRIVATE KEY")
			return nil
		})
		assert.Len(t, e.Hosts, 2)
		assert.NotEmpty(t, e.Hosts["edge1"].Resources())
	})
	wg.Wait()
}

// A third edge leaves every resource of the first two where it is.
func TestAnotherEdge(t *testing.T) {
	before := run(t, example(), nil)
	a := example()
	third := a.Plan.Hosts[1]
	third.Name = "edge0"
	third.Links = append(third.Links[:0:0], third.Links...)
	third.Links[0].Address, third.Links[1].Address = "10.10.0.10", "192.0.2.10"
	a.Plan.Hosts = append(a.Plan.Hosts, third)
	h := a.Hosts[0]
	h.Name, h.SSH.Address = "edge0", "10.10.0.10"
	a.Hosts = append(a.Hosts, h)
	after := run(t, a, nil)
	for name := range before {
		assert.Contains(t, after, name)
	}
	assert.Len(t, after, len(before)+7)
}
