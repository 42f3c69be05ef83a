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

// registered are the resources of a program, by name.
type registered map[string]pulumi.MockResourceArgs

func run(t *testing.T, a *KubeadmClusterArgs, more func(*KubeadmCluster), opts ...pulumi.ResourceOption) registered {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		c, err := NewKubeadmCluster(ctx, "kubernetes", a, opts...)
		if err == nil && more != nil {
			more(c)
		}
		return err
	})
}

// dependencies are what a resource of the cluster waits for.
func (r registered) dependencies(t *testing.T, name string) string {
	t.Helper()
	args, ok := r["kubernetes-"+name]
	require.True(t, ok, "%s is missing", name)
	return strings.Join(args.RegisterRPC.GetDependencies(), " ") + " "
}

func (r registered) waits(t *testing.T, name, before string) {
	t.Helper()
	assert.Contains(t, r.dependencies(t, name), "::kubernetes-"+before+" ", "%s waits for %s", name, before)
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), nil, pulumi.Protect(true))
	require.Equal(t, Type, resources["kubernetes"].TypeToken)
	for _, h := range []string{"master1", "master2", "master3", "worker1", "worker2"} {
		resources.waits(t, h+"-runtime", h+"-kubernetes-preflight")
		resources.waits(t, h+"-kubernetes", h+"-runtime")
		for _, o := range []string{"master1", "master2", "worker1"} {
			if o != h {
				assert.NotContains(t, resources.dependencies(t, h+"-kubernetes"), o, "hosts are prepared side by side")
			}
		}
	}
	resources.waits(t, "master2-control-plane", "master1-control-plane")
	resources.waits(t, "master3-control-plane", "master2-control-plane")
	for _, h := range []string{"worker1", "worker2"} {
		resources.waits(t, h+"-worker", "master1-control-plane")
		resources.waits(t, h+"-worker", h+"-kubernetes")
		assert.NotContains(t, resources.dependencies(t, h+"-worker"), "master2", "a worker needs one control plane")
	}
	resources.waits(t, "master1-nodes", "master1-certificates")
	for _, h := range []string{"master1", "master2", "master3"} {
		resources.waits(t, h+"-certificates", h+"-control-plane")
	}
	resources.waits(t, "master1-flannel", "master1-nodes")
	assert.NotContains(t, resources.dependencies(t, "master2-control-plane"), "flannel", "the overlay holds nobody up")
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
	for _, h := range []string{"master1", "master2", "master3"} {
		resources.waits(t, h+"-restore-preflight", h+"-kubernetes")
		resources.waits(t, h+"-restore", h+"-restore-preflight")
		resources.waits(t, "master2-control-plane", h+"-restore")
	}
	resources.waits(t, "master1-control-plane", "master2-control-plane")
	resources.waits(t, "master3-control-plane", "master1-control-plane")
	resources.waits(t, "master2-restored", "master3-control-plane")
	resources.waits(t, "worker1-worker", "master2-control-plane")
}

// An upgrade goes one control plane after the other, then one group of workers
// after the other.
func TestGraphOfAnUpgrade(t *testing.T) {
	a := example()
	a.Version, a.Upgrade = "v1.36.3", &Upgrade{From: "v1.35.4", Workers: 2}
	a.Workers = append(a.Workers, aHost("spare1", "10.10.0.71"))
	resources := run(t, a, nil)
	resources.waits(t, "master1-upgrade", "master1-kubernetes")
	resources.waits(t, "master1-control-plane", "master1-upgrade")
	resources.waits(t, "master2-upgrade", "master1-control-plane")
	resources.waits(t, "master3-upgrade", "master2-control-plane")
	for _, w := range []string{"worker1", "worker2", "spare1"} {
		resources.waits(t, w+"-upgrade", "master3-control-plane")
		resources.waits(t, w+"-worker", w+"-upgrade")
	}
	assert.NotContains(t, resources.dependencies(t, "worker2-upgrade"), "worker1-", "they are one group")
	resources.waits(t, "spare1-upgrade", "worker1-worker")
	resources.waits(t, "spare1-upgrade", "worker2-worker")
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
