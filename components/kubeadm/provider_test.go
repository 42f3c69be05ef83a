package kubeadm

import (
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/graph"
)

func TestProvider(t *testing.T) {
	var authorities string
	of := func(spoil func(*KubeadmClusterArgs)) map[string]pulumi.MockResourceArgs {
		a := example()
		spoil(a)
		return graph.Of(t, func(ctx *pulumi.Context) error {
			if authorities == "" {
				authorities, _ = newAuthorities(time.Now())
			}
			kept := &Authorities{secrets: pulumi.ToSecret(pulumi.String(authorities)).(pulumi.StringOutput)}
			kept.CA = pulumi.Unsecret(kept.part(caCert)).(pulumi.StringOutput)
			a.Authorities = kept
			c, err := NewKubeadmCluster(ctx, "cluster", a)
			require.NoError(t, err)
			p, err := c.Provider(ctx)
			require.NoError(t, err)
			again, err := c.Provider(ctx)
			require.NoError(t, err)
			assert.Same(t, p, again)
			return nil
		})
	}
	var found pulumi.MockResourceArgs
	identifiers := map[string]bool{}
	for _, spoil := range []func(*KubeadmClusterArgs){func(*KubeadmClusterArgs) {}, func(a *KubeadmClusterArgs) { a.Endpoint.Address = "10.10.0.102" }} {
		for _, r := range of(spoil) {
			if r.TypeToken == "pulumi:providers:kubernetes" {
				found = r
				identifiers[r.Inputs["clusterIdentifier"].StringValue()] = true
			}
		}
	}
	require.Len(t, identifiers, 1, "what lies in the cluster stays, whatever way leads to it")
	authorities = ""
	for _, r := range of(func(*KubeadmClusterArgs) {}) {
		if r.TypeToken == "pulumi:providers:kubernetes" {
			identifiers[r.Inputs["clusterIdentifier"].StringValue()] = true
		}
	}
	assert.Len(t, identifiers, 2, "another cluster of the same name is another one")
	assert.True(t, found.Inputs["kubeconfig"].ContainsSecrets())
	assert.True(t, strings.HasSuffix(found.RegisterRPC.GetParent(), "::cluster"))
	assert.NotEmpty(t, found.RegisterRPC.GetVersion(), "the plugin of the package that is used")
	for _, r := range run(t, example(), nil) {
		assert.NotEqual(t, "pulumi:providers:kubernetes", r.TypeToken, "who asks for none needs no plugin")
	}
}
