package volumes

import (
	"maps"
	"slices"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/tests/apiserver"
	"github.com/halinux/halinux/tests/engine"
)

// TestUp has the engine put the volumes into a real API server and take them away.
func TestUp(t *testing.T) {
	server := apiserver.Start(t)
	server.Controllers("namespace-controller", "garbage-collector-controller", "persistentvolume-protection-controller")
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	a := example()
	a.Local.Hosts = nil // no host is in reach
	stack := engine.New(t, func(ctx *pulumi.Context) error {
		p := &provider{}
		if err := ctx.RegisterResource("pulumi:providers:kubernetes", "cluster", pulumi.Map{"kubeconfig": pulumi.ToSecret(pulumi.String(server.Kubeconfig()))}, p, pulumi.Version("4.30.0")); err != nil {
			return err
		}
		key, err := NewKey(ctx, "volumes", nil)
		if err != nil {
			return err
		}
		a.NFS.Key = key.Private
		_, err = NewVolumes(ctx, "volumes", a, p)
		return err
	})

	server.Available()
	assert.Equal(t, "create", stack.Up()["volumes-deployment"])
	classes, err := client.StorageV1().StorageClasses().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, classes.Items, 3)
	secret, err := client.CoreV1().Secrets("volumes").Get(t.Context(), program, metav1.GetOptions{})
	require.NoError(t, err)
	assert.Contains(t, string(secret.Data["key"]), "BEGIN OPENSSH PRIVATE KEY")
	assert.Empty(t, stack.Up(), "a second run")

	// A storage host was replaced: another key of it, and no pod starts anew.
	a.NFS.Pool.KnownHosts[0] = "10.10.0.31 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOzNZhU/day9xiRqLcIB+CAJR6lHw6rraU0n/kAEDPtk"
	assert.Equal(t, []string{"volumes-known-hosts"}, slices.Collect(maps.Keys(stack.Up())))
	hosts, err := client.CoreV1().ConfigMaps("volumes").Get(t.Context(), program, metav1.GetOptions{})
	require.NoError(t, err)
	assert.Contains(t, hosts.Data["known_hosts"], "OzNZhU")

	stack.Destroy()
	_, err = client.CoreV1().Namespaces().Get(t.Context(), "volumes", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err))
	volumes, err := client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, volumes.Items)
}
