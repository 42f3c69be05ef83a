package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/kubeadm"
	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/graph"
)

// sentinel is a password that may stand nowhere in plain.
const sentinel = "a password's sentinel"

func example() *RegistryArgs {
	return &RegistryArgs{
		Host: "registry.example.org", StorageClass: "nfs-retain", Sources: []string{"10.10.0.0/24"}, IngressClass: "traefik",
		Users: []User{{Name: "ci", Password: pulumi.ToSecret(pulumi.String(sentinel)).(pulumi.StringOutput)}, {Name: "nodes"}},
	}
}

func run(t *testing.T, a *RegistryArgs, opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		_, err := NewRegistry(ctx, "registry", a, nil, opts...)
		return err
	})
}

func text(t *testing.T, a *RegistryArgs) string {
	t.Helper()
	return graph.Text(t, run(t, a), Type)
}

func TestObjects(t *testing.T) {
	golden.Compare(t, "testdata/registry.golden", text(t, example()))
	golden.Compare(t, "testdata/least.golden", text(t, &RegistryArgs{
		Host: "images.example.net", Namespace: "images", Replicas: 1, Users: []User{{Name: "me"}}, Collection: Collection{Off: true},
	}))
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), pulumi.Protect(true))
	require.Equal(t, Type, resources["registry"].TypeToken)
	for name, r := range resources {
		if r.TypeToken != Type {
			assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::registry"), name)
			assert.True(t, r.RegisterRPC.GetProtect(), "options reach %s", name)
		}
	}
	dependencies := strings.Join(resources["registry-deployment"].RegisterRPC.GetDependencies(), " ") + " "
	for _, before := range []string{"namespace", "config", "secret", "claim", "policy"} {
		assert.Contains(t, dependencies, "::registry-"+before+" ", "pods need it to start")
	}
}

func TestSecretsAreNeverPlain(t *testing.T) {
	resources := run(t, example())
	for name, r := range resources {
		for property, v := range r.Inputs {
			text := fmt.Sprint(graph.Plain(v))
			assert.NotContains(t, text, sentinel, "%s.%s", name, property)
			assert.NotContains(t, text, "$2a$", "%s.%s", name, property)
		}
		if strings.HasPrefix(r.TypeToken, "kubernetes:") {
			assert.NotContains(t, fmt.Sprint(graph.Revealed(resource.NewObjectProperty(r.Inputs))), sentinel, "the cluster has hashes alone: %s", name)
		}
	}
	require.Contains(t, resources, "registry-password-nodes", "one is made")
	require.NotContains(t, resources, "registry-password-ci", "one is given")
	data, ok := graph.Revealed(resources["registry-secret"].Inputs["stringData"]).(map[string]any)
	require.True(t, ok)
	lines := strings.Split(strings.TrimSpace(data[usersFile].(string)), "\n")
	require.Len(t, lines, 2)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(strings.TrimPrefix(lines[0], "ci:")), []byte(sentinel)))
}

// The same users are the same file in each run, another password is another line,
// and equal passwords of two users look different.
func TestHtpasswd(t *testing.T) {
	names, passwords := []string{"a", "b"}, []string{"passwörd", "passwörd"}
	first, err := htpasswd("salt", names, passwords)
	require.NoError(t, err)
	again, err := htpasswd("salt", names, passwords)
	require.NoError(t, err)
	assert.Equal(t, first, again)
	lines := strings.Split(first, "\n")
	assert.NotEqual(t, strings.TrimPrefix(lines[0], "a:"), strings.TrimPrefix(lines[1], "b:"))
	other, err := htpasswd("salt", names[:1], []string{"otherword"})
	require.NoError(t, err)
	assert.NotEqual(t, lines[0][:31], other[:31], "the salt is another one too")
	for _, bad := range []string{"", "short", strings.Repeat("x", 73), "line\nbreak.."} {
		_, err := htpasswd("salt", names[:1], []string{bad})
		require.ErrorContains(t, err, "the password of a", "%q", bad)
	}
	_, err = madeOf("{}")
	require.ErrorContains(t, err, "restore the state")
}

func TestTheWayIn(t *testing.T) {
	a := example()
	s := a.Site(haedge.Site{VIPs: []string{"public"}})
	assert.Equal(t, haedge.Site{
		Name: "registry", Hosts: []string{"registry.example.org"}, VIPs: []string{"public"},
		MaxBody: 65536, Timeout: 15 * time.Minute, Persistence: "source",
	}, s)
	pem := pulumi.String("PEM")
	assert.Equal(t, kubeadm.Mirror{Registry: "registry.example.org", URLs: []string{"https://registry.example.org"}, Authority: pem}, a.Mirror(pem))
}
