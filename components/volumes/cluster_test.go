package volumes

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/components/volumes/provisioner"
	"github.com/halinux/halinux/tests/apiserver"
	"github.com/halinux/halinux/tests/nfspool"
)

// TestInACluster puts the component's objects into a real API server, and has the
// provisioner work with the rights that they give it, and no others.
func TestInACluster(t *testing.T) {
	server := apiserver.Start(t)
	server.Controllers("persistentvolume-binder-controller", "persistentvolume-protection-controller", "persistentvolumeclaim-protection-controller")
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	storage := nfspool.New(t, 1000)
	a := example()
	a.NFS.Pool.Path = storage.Path
	resources := run(t, a, nil)
	server.Put(resources)

	// What the namespace asks of pods is asked when they are made.
	deployment, err := client.AppsV1().Deployments("volumes").Get(t.Context(), program, metav1.GetOptions{})
	require.NoError(t, err)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "as-deployed"}, Spec: deployment.Spec.Template.Spec}
	dryRun := func(namespace string, p *corev1.Pod) error {
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	require.NoError(t, dryRun("volumes", pod))
	no := false
	pod.Spec.Containers[0].SecurityContext.RunAsNonRoot = &no
	require.ErrorContains(t, dryRun("volumes", pod), "restricted", "that it asks at all")

	// Nobody goes around the classes.
	inline := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "inline"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "a", Image: "a"}},
		Volumes:    []corev1.Volume{{Name: "pool", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.10.0.102", Path: "/srv/nfs/volumes"}}}},
	}}
	require.Eventually(t, func() bool {
		err := dryRun("default", inline)
		return err != nil && strings.Contains(err.Error(), "claim a volume of a storage class")
	}, time.Minute, 100*time.Millisecond, "the policy counts from when the API server has read it")
	inline.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "files"}}
	require.NoError(t, dryRun("default", inline))
	inline.Spec.Volumes = nil
	require.NoError(t, dryRun("default", inline))

	as, err := kubernetes.NewForConfig(server.As("volumes", program))
	require.NoError(t, err)
	for _, forbidden := range []func() error{
		func() error {
			_, err := as.CoreV1().Secrets("volumes").List(t.Context(), metav1.ListOptions{})
			return err
		},
		func() error {
			_, err := as.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
			return err
		},
		func() error {
			return as.CoreV1().PersistentVolumeClaims("default").Delete(t.Context(), "x", metav1.DeleteOptions{})
		},
		func() error {
			_, err := as.CoordinationV1().Leases("kube-system").Get(t.Context(), "x", metav1.GetOptions{})
			return err
		},
	} {
		require.True(t, apierrors.IsForbidden(forbidden()))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- provisioner.Config{
			Name: Provisioner, Server: a.NFS.Pool.Server, Path: storage.Path, Pool: storage.Pool(), Identity: "one", Namespace: "volumes",
			Retry: 50 * time.Millisecond,
		}.Run(ctx, as, listener)
	}()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })

	class := "nfs-retain"
	claims := client.CoreV1().PersistentVolumeClaims("default")
	_, err = claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "files"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: apiresource.MustParse("10Mi")}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	until := func(what string, done func(*corev1.PersistentVolumeClaim) bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			c, err := claims.Get(t.Context(), "files", metav1.GetOptions{})
			return err == nil && done(c)
		}, time.Minute, 50*time.Millisecond, what)
	}
	until("a volume", func(c *corev1.PersistentVolumeClaim) bool { return c.Status.Phase == corev1.ClaimBound })
	asked := storage.Hosts[0].Asked()
	assert.True(t, slices.ContainsFunc(asked, func(s string) bool { return strings.HasSuffix(s, " 10 0770") }), "the mode of its class: %s", asked)
	_, err = claims.Patch(t.Context(), "files", types.MergePatchType, []byte(`{"spec":{"resources":{"requests":{"storage":"20Mi"}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	until("growth", func(c *corev1.PersistentVolumeClaim) bool { return c.Status.Capacity.Storage().String() == "20Mi" })
	c, err := claims.Get(t.Context(), "files", metav1.GetOptions{})
	require.NoError(t, err)
	events := func(words string) bool {
		all, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
		return err == nil && slices.ContainsFunc(all.Items, func(e corev1.Event) bool { return strings.Contains(e.Message, words) })
	}
	require.Eventually(t, func() bool { return events("Successfully provisioned") && events("the volume has 20Mi") }, time.Minute, 50*time.Millisecond)
	// The class that deletes, with the right to do so.
	v, err := client.CoreV1().PersistentVolumes().Patch(t.Context(), c.Spec.VolumeName, types.MergePatchType, []byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, claims.Delete(t.Context(), "files", metav1.DeleteOptions{}))
	require.Eventually(t, func() bool {
		_, err := client.CoreV1().PersistentVolumes().Get(t.Context(), v.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}, time.Minute, 50*time.Millisecond)
	assert.NoDirExists(t, v.Spec.NFS.Path)
}
