package kubeadm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Provider returns the way to the cluster for resources of the Kubernetes plugin,
// as a child of the cluster, and as the administrator. The first call makes it: a
// program that asks for none needs no plugin. Its clusterIdentifier is a checksum of
// the cluster's authority, which the cluster has as long as it lives: neither
// another endpoint nor another certificate replaces what lies in the cluster, and
// nor does another name of the stack (pulumi.com, kubernetes.Provider).
func (c *KubeadmCluster) Provider(ctx *pulumi.Context) (*kubernetes.Provider, error) {
	if c.provider != nil {
		return c.provider, nil
	}
	p, err := kubernetes.NewProvider(ctx, c.name, &kubernetes.ProviderArgs{
		Kubeconfig: c.Kubeconfig,
		ClusterIdentifier: c.CACertificate.ApplyT(func(ca string) string {
			sum := sha256.Sum256([]byte(ca))
			return hex.EncodeToString(sum[:16])
		}).(pulumi.StringOutput),
	}, pulumi.Parent(c))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	c.provider = p
	return p, nil
}
