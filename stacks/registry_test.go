package stacks

import (
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/kubeadm"
)

// withRegistry is the settings with a registry.
func withRegistry(t *testing.T) tree {
	c := prod(t)
	c["registry"] = map[string]any{"host": "registry.example.net", "users": []any{map[string]any{"name": "ci"}}}
	return c
}

// TestRegistryIsWired is what the edge is told of the registry.
func TestRegistryIsWired(t *testing.T) {
	c, err := Parse(withRegistry(t).texts())
	require.NoError(t, err)
	hosts, _ := c.hosts()
	name, args := c.registry()
	assert.Equal(t, "registry", name)
	require.NotNil(t, args)
	sites := c.edge(hosts, nil).Sites
	s := sites[slices.IndexFunc(sites, func(s haedge.Site) bool { return s.Name == name })]
	assert.Equal(t, []string{"registry.example.net"}, s.Hosts)
	assert.NotEmpty(t, s.Backends, "the cluster's workers")
	assert.Equal(t, "/ping", s.Check.Path)
	assert.Len(t, c.Edge.Sites, len(sites)-len(c.Kubernetes.Sites)-len(c.workloadSites()), "what was read stays as it was read")
	// containerd believes who signed the site's certificate.
	cluster, authority := c.kubernetes(hosts), pulumi.String("PEM")
	read := len(cluster.Mirrors)
	c.trustRegistry(cluster, authority)
	assert.Equal(t, []kubeadm.Mirror{args.Mirror(authority)}, cluster.Mirrors[read:])
	c.trustRegistry(cluster, authority)
	assert.Len(t, cluster.Mirrors, read+1, "who is named is left as he is")
	c.Registry.Site.Certificate.Source = "acme"
	cluster = c.kubernetes(hosts)
	c.trustRegistry(cluster, authority)
	assert.Len(t, cluster.Mirrors, read)
}

// TestBadRegistry is TestBadInput for the registry.
func TestBadRegistry(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(tree)
		want  string
	}{
		"no cluster":    {func(c tree) { delete(c, "kubernetes") }, "registry: there is no cluster"},
		"no edge":       {func(c tree) { delete(c, "edge") }, "registry: there is no edge"},
		"no ingress":    {func(c tree) { c.at("kubernetes")["ingress"] = map[string]any{"off": true} }, "registry: there is no ingress"},
		"a key":         {func(c tree) { c.at("registry")["password"] = "x" }, "registry.password: is not a key"},
		"a host":        {func(c tree) { c.at("registry")["host"] = "registry" }, `registry.host: "registry" is not a whole DNS name`},
		"a host of two": {func(c tree) { c.at("registry")["host"] = c.at("edge", "sites", 0)["hosts"].([]any)[0] }, "registry.host: "},
		"a VIP":         {func(c tree) { c.at("registry")["site"] = map[string]any{"vips": []any{"publik"}} }, `registry.site.vips[0]: there is no VIP "publik"`},
		"a site's name": {func(c tree) { c.at("registry")["site"] = map[string]any{"hosts": []any{"x.example.net"}} }, "registry.site.hosts: are those of what runs"},
		"a time":        {func(c tree) { c.at("registry")["collection"] = map[string]any{"grace": "1s"} }, "registry.collection.grace: 1s is no time"},
		"nobody's":      {func(c tree) { c.at("registry")["users"] = []any{} }, "registry.users: there is none"},
	} {
		t.Run(name, func(t *testing.T) {
			c := withRegistry(t)
			test.spoil(c)
			var got []string
			for _, p := range problems(t, c.texts()) {
				got = append(got, p.Path+": "+p.What)
			}
			assert.Condition(t, func() bool {
				for _, g := range got {
					if strings.HasPrefix(g, test.want) {
						return true
					}
				}
				return false
			}, "%s is not in %v", test.want, got)
		})
	}
}
