package kubeadm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// pluginVersion is that of the Kubernetes plugin that workloads are made by.
const pluginVersion = "4.30.0"

// Provider is the cluster for resources of the Kubernetes plugin: what is put into
// the cluster names it with [pulumi.Provider]. It is the plugin's own kind of
// resource; without its Go package, which nothing else here needs.
type Provider struct{ pulumi.ProviderResourceState }

// Provider returns the way to the cluster for resources of the Kubernetes plugin,
// as a child of the cluster, and as the administrator. The first call makes it: a
// program that asks for none needs no plugin. Its clusterIdentifier is a checksum of
// the cluster's authority, which the cluster has as long as it lives: neither
// another endpoint nor another certificate replaces what lies in the cluster, and
// nor does another name of the stack (pulumi.com, kubernetes.Provider).
func (c *KubeadmCluster) Provider(ctx *pulumi.Context) (*Provider, error) {
	if c.provider != nil {
		return c.provider, nil
	}
	p := &Provider{}
	if err := ctx.RegisterResource("pulumi:providers:kubernetes", c.name, pulumi.Map{
		"kubeconfig": c.Kubeconfig,
		"clusterIdentifier": c.CACertificate.ApplyT(func(ca string) string {
			sum := sha256.Sum256([]byte(ca))
			return hex.EncodeToString(sum[:16])
		}).(pulumi.StringOutput),
	}, p, pulumi.Parent(c), pulumi.Version(pluginVersion)); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	c.provider = p
	return p, nil
}
