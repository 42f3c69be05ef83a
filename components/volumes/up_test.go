package volumes

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/tests/apiserver"
	"github.com/halinux/halinux/tests/providers"
)

// TestUp has the engine put the volumes into a real API server and take them away.
func TestUp(t *testing.T) {
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skipf("SKIP: no Pulumi CLI on PATH (%v)", err)
	}
	server := apiserver.Start(t)
	server.Controllers("namespace-controller", "garbage-collector-controller", "persistentvolume-protection-controller")
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	attached, err := providers.Attach(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, attached.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cli, err := auto.NewPulumiCommand(&auto.PulumiCommandOptions{SkipVersionCheck: true})
	require.NoError(t, err)
	env := map[string]string{
		"PULUMI_BACKEND_URL": "file://" + t.TempDir(), "PULUMI_CONFIG_PASSPHRASE": "for the test only",
		"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
	}
	for k, v := range attached.Env {
		env[k] = v
	}
	a := example()
	a.Local.Hosts = nil // no host is in reach
	stack, err := auto.NewStackInlineSource(ctx, "test", "volumes", func(ctx *pulumi.Context) error {
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
	}, auto.Pulumi(providers.Frugal{PulumiCommand: cli}), auto.EnvVars(env), auto.WorkDir(t.TempDir()),
		auto.Project(workspace.Project{Name: tokens.PackageName("volumes"), Runtime: workspace.NewProjectRuntimeInfo("go", nil)}))
	require.NoError(t, err)

	deployments := client.AppsV1().Deployments("volumes")
	// No pod runs here: a test says of the Deployment what its controller would.
	available := func() {
		for ctx.Err() == nil {
			d, err := deployments.Get(ctx, program, metav1.GetOptions{})
			if err == nil && d.Status.ObservedGeneration != d.Generation {
				status := fmt.Sprintf(`{"status":{"observedGeneration":%d,"replicas":2,"updatedReplicas":2,"readyReplicas":2,"availableReplicas":2,"conditions":[
{"type":"Available","status":"True"},{"type":"Progressing","status":"True","reason":"NewReplicaSetAvailable"}]}}`, d.Generation)
				_, _ = deployments.Patch(ctx, program, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	go available()
	up := func() map[string]string {
		t.Helper()
		stream, ops := collect()
		_, err := stack.Up(ctx, optup.EventStreams(stream), optup.SuppressOutputs())
		require.NoError(t, err)
		return ops()
	}
	made := up()
	assert.Equal(t, "create", made["volumes-deployment"])
	classes, err := client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Len(t, classes.Items, 3)
	secret, err := client.CoreV1().Secrets("volumes").Get(ctx, program, metav1.GetOptions{})
	require.NoError(t, err)
	assert.Contains(t, string(secret.Data["key"]), "BEGIN OPENSSH PRIVATE KEY")
	assert.Empty(t, changed(up()), "a second run")

	// A storage host was replaced: another key of it, and no pod starts anew.
	a.NFS.Pool.KnownHosts[0] = "10.10.0.31 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOzNZhU/day9xiRqLcIB+CAJR6lHw6rraU0n/kAEDPtk"
	assert.Equal(t, []string{"volumes-known-hosts"}, changed(up()))
	hosts, err := client.CoreV1().ConfigMaps("volumes").Get(ctx, program, metav1.GetOptions{})
	require.NoError(t, err)
	assert.Contains(t, hosts.Data["known_hosts"], "OzNZhU")

	_, err = stack.Destroy(ctx, optdestroy.SuppressProgress())
	require.NoError(t, err)
	_, err = client.CoreV1().Namespaces().Get(ctx, "volumes", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err))
	volumes, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, volumes.Items)
}

// collect gives a channel for a run, and what it did to each resource.
func collect() (chan<- events.EngineEvent, func() map[string]string) {
	stream, done := make(chan events.EngineEvent), make(chan map[string]string)
	go func() {
		ops := map[string]string{}
		for e := range stream {
			if p := e.ResourcePreEvent; p != nil {
				ops[p.Metadata.URN[strings.LastIndex(p.Metadata.URN, "::")+2:]] = string(p.Metadata.Op)
			}
		}
		done <- ops
	}()
	return stream, func() map[string]string { return <-done }
}

// changed are the resources that a run did something to.
func changed(ops map[string]string) []string {
	var names []string
	for name, op := range ops {
		if op != "same" {
			names = append(names, name)
		}
	}
	return names
}
