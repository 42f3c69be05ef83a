package kubeadm

import (
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/halinux/halinux/tests/graph"
)

func run(t *testing.T, a *KubeadmClusterArgs, more func(*KubeadmCluster), opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		c, err := NewKubeadmCluster(ctx, "kubernetes", a, opts...)
		if err == nil && more != nil {
			more(c)
		}
		return err
	})
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), nil, pulumi.Protect(true))
	require.Equal(t, Type, resources["kubernetes"].TypeToken)
	dependencies := func(name string) string {
		t.Helper()
		r, ok := resources["kubernetes-"+name]
		require.True(t, ok, "%s is missing", name)
		return strings.Join(r.RegisterRPC.GetDependencies(), " ") + " "
	}
	waits := func(name, before string) {
		t.Helper()
		assert.Contains(t, dependencies(name), "::kubernetes-"+before+" ", "%s waits for %s", name, before)
	}
	for _, h := range []string{"master1", "master2", "master3", "worker1", "worker2"} {
		waits(h+"-runtime", h+"-kubernetes-preflight")
		waits(h+"-kubernetes", h+"-runtime")
		for _, o := range []string{"master1", "master2", "worker1"} {
			if o != h {
				assert.NotContains(t, dependencies(h+"-kubernetes"), o, "hosts are prepared side by side")
			}
		}
	}
	waits("master2-control-plane", "master1-control-plane")
	waits("master3-control-plane", "master2-control-plane")
	for _, h := range []string{"worker1", "worker2"} {
		waits(h+"-worker", "master1-control-plane")
		waits(h+"-worker", h+"-kubernetes")
		assert.NotContains(t, dependencies(h+"-worker"), "master2", "a worker needs one control plane")
	}
	waits("master1-nodes", "master1-certificates")
	for _, h := range []string{"master1", "master2", "master3"} {
		waits(h+"-certificates", h+"-control-plane")
	}
	waits("master1-flannel", "master1-nodes")
	assert.NotContains(t, dependencies("master2-control-plane"), "flannel", "the overlay holds nobody up")
	for name, r := range resources {
		if name != "kubernetes" {
			assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::kubernetes"), name)
			assert.True(t, r.RegisterRPC.GetProtect(), "options reach %s", name)
		}
	}
}

// A restore stops all control planes before one of them begins anew, and that one
// has the snapshot.
func TestGraphOfARestore(t *testing.T) {
	resources := run(t, exampleOther(), nil)
	waits := func(name, before string) {
		t.Helper()
		r, ok := resources["kubernetes-"+name]
		require.True(t, ok, "%s is missing", name)
		assert.Contains(t, strings.Join(r.RegisterRPC.GetDependencies(), " ")+" ", "::kubernetes-"+before+" ", "%s waits for %s", name, before)
	}
	for _, h := range []string{"master1", "master2", "master3"} {
		waits(h+"-restore-preflight", h+"-kubernetes")
		waits(h+"-restore", h+"-restore-preflight")
		waits("master2-control-plane", h+"-restore")
	}
	waits("master1-control-plane", "master2-control-plane")
	waits("master3-control-plane", "master1-control-plane")
	waits("master2-restored", "master3-control-plane")
	waits("worker1-worker", "master2-control-plane")
}

// An upgrade goes one control plane after the other, then one group of workers
// after the other.
func TestGraphOfAnUpgrade(t *testing.T) {
	a := example()
	a.Version, a.Upgrade = "v1.36.3", &Upgrade{From: "v1.35.4", Workers: 2}
	a.Workers = append(a.Workers, aHost("spare1", "10.10.0.71"))
	resources := run(t, a, nil)
	dependencies := func(name string) string {
		t.Helper()
		r, ok := resources["kubernetes-"+name]
		require.True(t, ok, "%s is missing", name)
		return strings.Join(r.RegisterRPC.GetDependencies(), " ") + " "
	}
	waits := func(name, before string) {
		t.Helper()
		assert.Contains(t, dependencies(name), "::kubernetes-"+before+" ", "%s waits for %s", name, before)
	}
	waits("master1-upgrade", "master1-kubernetes")
	waits("master1-control-plane", "master1-upgrade")
	waits("master2-upgrade", "master1-control-plane")
	waits("master3-upgrade", "master2-control-plane")
	for _, w := range []string{"worker1", "worker2", "spare1"} {
		waits(w+"-upgrade", "master3-control-plane")
		waits(w+"-worker", w+"-upgrade")
	}
	assert.NotContains(t, dependencies("worker2-upgrade"), "worker1-", "they are one group")
	waits("spare1-upgrade", "worker1-worker")
	waits("spare1-upgrade", "worker2-worker")
}

func TestSecretsAreNeverPlain(t *testing.T) {
	for name, r := range run(t, example(), nil) {
		for property, v := range r.Inputs {
			if !v.ContainsSecrets() {
				assert.NotContains(t, v.String(), "PRIVATE KEY", "%s.%s", name, property)
			}
		}
	}
}

func TestOutputs(t *testing.T) {
	var wg sync.WaitGroup
	run(t, example(), func(c *KubeadmCluster) {
		assert.Len(t, c.Hosts, 5)
		wg.Add(1)
		pulumi.All(c.Endpoint, c.Kubeconfig, c.CACertificate).ApplyT(func(v []any) error {
			defer wg.Done()
			assert.Equal(t, "10.10.0.101:6443", v[0])
			assert.Contains(t, v[2], "BEGIN CERTIFICATE")
			var k struct {
				Clusters []struct{ Cluster struct{ Server string } }
			}
			require.NoError(t, yaml.Unmarshal([]byte(v[1].(string)), &k))
			assert.Equal(t, "https://10.10.0.101:6443", k.Clusters[0].Cluster.Server)
			return nil
		})
	})
	wg.Wait()
}
