package todoapp

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	client "k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/tests/apiserver"
	"github.com/halinux/halinux/tests/engine"
)

// TestUp has the engine put the application into a real API server, change it, and
// take it away.
func TestUp(t *testing.T) {
	server := apiserver.Start(t)
	server.Controllers("namespace-controller", "garbage-collector-controller", "persistentvolumeclaim-protection-controller")
	server.Available()
	cluster, err := client.NewForConfig(server.Config())
	require.NoError(t, err)
	a := example()
	stack := engine.New(t, func(ctx *pulumi.Context) error {
		p, err := kubernetes.NewProvider(ctx, "cluster", &kubernetes.ProviderArgs{Kubeconfig: pulumi.ToSecret(pulumi.String(server.Kubeconfig())).(pulumi.StringOutput)})
		if err != nil {
			return err
		}
		_, err = NewTodoApp(ctx, "todo", a, p)
		return err
	})
	settings := func() (inTheCluster, inThePods string) {
		t.Helper()
		config, err := cluster.CoreV1().ConfigMaps("lists").Get(t.Context(), "todo", metav1.GetOptions{})
		require.NoError(t, err)
		d, err := cluster.AppsV1().Deployments("lists").Get(t.Context(), "todo", metav1.GetOptions{})
		require.NoError(t, err)
		return config.ResourceVersion, d.Spec.Template.Annotations["todo.halinux.internal/config"]
	}
	migrations := migrate(t, cluster)

	made := stack.Up()
	assert.Equal(t, "create", made["todo-deployment"])
	assert.EqualValues(t, 1, migrations.Load())
	is, told := settings()
	assert.Equal(t, is, told, "what was not known before the run")
	assert.Empty(t, stack.Up(), "a second run")

	// The autoscaler's number of pods stays; another setting reaches all pods, by a
	// migration of its own.
	_, err = cluster.AppsV1().Deployments("lists").Patch(t.Context(), "todo", types.MergePatchType, []byte(`{"spec":{"replicas":5}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	a.UploadLimit = 60
	changed := stack.Up()
	for _, name := range []string{"todo-config", "todo-migrate", "todo-deployment", "todo-sweep"} {
		assert.Contains(t, changed, name)
	}
	assert.Equal(t, "update", changed["todo-deployment"], "its pods are replaced in turn: %v", changed)
	assert.NotContains(t, changed, "todo-secret")
	assert.NotContains(t, changed, "todo-claim")
	assert.EqualValues(t, 2, migrations.Load())
	before := is
	is, told = settings()
	assert.Equal(t, is, told)
	assert.NotEqual(t, before, is)
	d, err := cluster.AppsV1().Deployments("lists").Get(t.Context(), "todo", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, int32(5), *d.Spec.Replicas)

	stack.Destroy()
	_, err = cluster.CoreV1().Namespaces().Get(t.Context(), "lists", metav1.GetOptions{})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
}

// migrate says of each migration what the controller of Jobs would of one that takes a
// while, and that no pod of the new version is there until it ends. It counts them.
func migrate(t *testing.T, cluster client.Interface) *atomic.Int32 {
	var ended atomic.Int32
	now := func() string { return time.Now().UTC().Format(time.RFC3339) }
	// versions of the pods that there are, or are to be.
	version := func(ctx context.Context) int64 {
		d, err := cluster.AppsV1().Deployments("lists").Get(ctx, "todo", metav1.GetOptions{})
		if err != nil {
			return 0
		}
		return d.Generation
	}
	report := func(ctx context.Context, status string) error {
		_, err := cluster.BatchV1().Jobs("lists").Patch(ctx, "todo-migrate", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
		return err
	}
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		var seen types.UID
		var since time.Time
		var atStart int64
		_ = wait.PollUntilContextCancel(t.Context(), 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			j, err := cluster.BatchV1().Jobs("lists").Get(ctx, "todo-migrate", metav1.GetOptions{})
			switch {
			case err != nil || j.DeletionTimestamp != nil || j.Status.CompletionTime != nil:
			case j.UID != seen:
				if err := report(ctx, fmt.Sprintf(`{"status":{"startTime":%q,"active":1}}`, now())); err == nil {
					seen, since, atStart = j.UID, time.Now(), version(ctx)
				}
			case time.Since(since) > 2*time.Second: // longer than the plugin takes to look again
				assert.Equal(t, atStart, version(ctx), "pods of a version whose migration has not ended")
				met := fmt.Sprintf(`"status":"True","lastProbeTime":%[1]q,"lastTransitionTime":%[1]q`, now())
				err := report(ctx, fmt.Sprintf(`{"status":{"active":0,"succeeded":1,"completionTime":%q,"conditions":[{"type":"SuccessCriteriaMet",%[2]s},{"type":"Complete",%[2]s}]}}`, now(), met))
				if assert.NoError(t, err) {
					ended.Add(1)
				}
			}
			return false, nil
		})
	}()
	return &ended
}
