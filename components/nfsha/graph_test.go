package nfsha

import (
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/graph"
)

func run(t *testing.T, a *NFSHAClusterArgs, more func(*NFSHACluster), opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		c, err := NewNFSHACluster(ctx, "storage", a, opts...)
		if err == nil && more != nil {
			more(c)
		}
		return err
	})
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), nil, pulumi.Protect(true))
	require.Equal(t, Type, resources["storage"].TypeToken)
	waits := func(name, before string) {
		t.Helper()
		r, ok := resources["storage-"+name]
		require.True(t, ok, "%s is missing", name)
		assert.Contains(t, strings.Join(r.RegisterRPC.GetDependencies(), " "), "::storage-"+before, "%s waits for %s", name, before)
	}
	for _, h := range []string{"store1", "store2"} {
		waits(h+"-library", "edge1-witness")
		waits(h+"-library", "edge2-witness")
		waits(h+"-drbd", h+"-disks")
		waits(h+"-cluster", h+"-drbd")
		waits("store1-fencing", h+"-cluster")
	}
	waits("store1-fence-test", "store1-fencing")
	waits("store2-fence-test", "store1-fence-test")
	waits("store1-volume", "store2-fence-test")
	waits("store2-volume", "store1-volume")
	waits("store1-resources", "store2-volume")
	waits("store2-provisioner", "store1-resources")
	waits("store2-purge", "store2-provisioner")
	for name, r := range resources {
		if name != "storage" {
			assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::storage"), name)
			assert.True(t, r.RegisterRPC.GetProtect(), "options reach %s", name)
		}
	}

	a := example()
	a.SkipFenceTest = true
	for name := range run(t, a, nil) {
		assert.NotContains(t, name, "fence-test")
	}
}

func TestSecretsAreNeverPlain(t *testing.T) {
	for name, r := range run(t, exampleAgents(), nil) {
		for property, v := range r.Inputs {
			if v.ContainsSecrets() {
				continue
			}
			for _, secret := range []string{"sentinel", "PRIVATE KEY"} {
				assert.NotContains(t, v.String(), secret, "%s.%s", name, property)
			}
		}
	}
}

func TestOutputs(t *testing.T) {
	var wg sync.WaitGroup
	run(t, example(), func(c *NFSHACluster) {
		wg.Add(1)
		pulumi.All(c.VIP, c.Exports, c.Mounts, c.MountOptions, c.Servers, c.Provisioner).ApplyT(func(v []any) error {
			defer wg.Done()
			assert.Equal(t, "10.10.0.102", v[0])
			assert.Equal(t, map[string]string{"home": "/srv/nfs/home", "kubernetes": "/srv/nfs/kubernetes", "public": "/srv/nfs/public"}, v[1])
			assert.Equal(t, "10.10.0.102:/srv/nfs/home", v[2].(map[string]string)["home"])
			assert.Equal(t, []string{"nfsvers=4.2", "hard", "proto=tcp", "timeo=50", "retrans=2"}, v[3])
			assert.Equal(t, []string{"store1", "store2"}, v[4])
			assert.Equal(t, map[string]string{
				"user": "halinux-volumes", "hosts": "10.10.0.31,10.10.0.32", "path": "/srv/nfs/kubernetes",
				"knownHosts": "10.10.0.31 " + hostKey + "\n10.10.0.32 " + hostKey,
			}, v[5])
			return nil
		})
		assert.Len(t, c.Hosts, 4)
	})
	wg.Wait()
}

func TestCertificates(t *testing.T) {
	all, err := newCertificates("nfs")
	require.NoError(t, err)
	for _, part := range []string{"ca", "witness", "node"} {
		text, err := certificatePart(all, part)
		require.NoError(t, err)
		assert.Contains(t, text, "BEGIN CERTIFICATE")
		assert.Equal(t, part != "ca", strings.Contains(text, "PRIVATE KEY"), "the authority's key is forgotten")
	}
	_, err = certificatePart(all, "other")
	require.ErrorContains(t, err, `lacks the certificate "other"`)

	secret, err := replicationSecret("c2VjcmV0")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(secret), 63)
}
