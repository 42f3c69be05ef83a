package provisioner

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/tests/apiserver"
	"github.com/halinux/halinux/tests/nfspool"
)

const (
	driver   = "nfs.halinux.internal"
	deadline = 2 * time.Minute
)

// bed is a real API server with the controllers that bind claims, two storage hosts
// and instances of the program.
type bed struct {
	t       *testing.T
	client  kubernetes.Interface
	storage *nfspool.Storage
}

// instance is one run of the program.
type instance struct {
	url  string
	stop func() error // what its Run returned
}

// start starts an instance with the rights that it is given.
func (b *bed) start(name string, client kubernetes.Interface) instance {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b.t, err)
	c := Config{
		Name: driver, Server: "10.10.0.102", Path: b.storage.Path, Pool: b.storage.Pool(), Identity: name, Namespace: "default",
		LeaseDuration: 6 * time.Second, Survey: time.Second, Retry: 50 * time.Millisecond,
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, client, listener) }()
	i := instance{url: "http://" + listener.Addr().String()}
	var result error
	i.stop = func() error {
		cancel()
		if ended != nil {
			result = <-ended
			ended = nil
		}
		return result
	}
	b.t.Cleanup(func() { _ = i.stop() })
	return i
}

func (b *bed) until(what string, done func() bool) {
	b.t.Helper()
	require.Eventually(b.t, done, deadline, 50*time.Millisecond, what)
}

// metric is the value of one, as Prometheus would read it; "" where there is none.
func (i instance) metric(name string) string {
	r, err := http.Get(i.url + "/metrics")
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (b *bed) class(name string, change func(*storagev1.StorageClass)) {
	b.t.Helper()
	yes := true
	c := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driver, AllowVolumeExpansion: &yes,
		MountOptions: []string{"nfsvers=4.2", "hard"},
		AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{
			{Key: "halinux.internal/nfs", Values: []string{"true"}},
		}}},
	}
	if change != nil {
		change(c)
	}
	_, err := b.client.StorageV1().StorageClasses().Create(b.t.Context(), c, metav1.CreateOptions{})
	require.NoError(b.t, err)
}

func (b *bed) claim(name, class, size string, change func(*corev1.PersistentVolumeClaim)) {
	b.t.Helper()
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
	if change != nil {
		change(c)
	}
	_, err := b.client.CoreV1().PersistentVolumeClaims("default").Create(b.t.Context(), c, metav1.CreateOptions{})
	require.NoError(b.t, err)
}

func (b *bed) get(name string) *corev1.PersistentVolumeClaim {
	c, err := b.client.CoreV1().PersistentVolumeClaims("default").Get(b.t.Context(), name, metav1.GetOptions{})
	require.NoError(b.t, err)
	return c
}

// bound waits for a claim's volume.
func (b *bed) bound(name string) *corev1.PersistentVolume {
	b.t.Helper()
	b.until("claim "+name+" to be bound", func() bool { return b.get(name).Status.Phase == corev1.ClaimBound })
	v, err := b.client.CoreV1().PersistentVolumes().Get(b.t.Context(), b.get(name).Spec.VolumeName, metav1.GetOptions{})
	require.NoError(b.t, err)
	return v
}

// ask asks for another size, and returns what the API server says to it.
func (b *bed) ask(name, size string) error {
	_, err := b.client.CoreV1().PersistentVolumeClaims("default").Patch(b.t.Context(), name, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"resources":{"requests":{"storage":%q}}}}`, size), metav1.PatchOptions{})
	return err
}

func (b *bed) remove(claim string) {
	b.t.Helper()
	require.NoError(b.t, b.client.CoreV1().PersistentVolumeClaims("default").Delete(b.t.Context(), claim, metav1.DeleteOptions{}))
}

// event waits for one about an object whose message has some words.
func (b *bed) event(object, words string) {
	b.t.Helper()
	b.until(fmt.Sprintf("an event of %s with %q", object, words), func() bool {
		all, err := b.client.CoreV1().Events("").List(b.t.Context(), metav1.ListOptions{})
		require.NoError(b.t, err)
		for _, e := range all.Items {
			if e.InvolvedObject.Name == object && strings.Contains(e.Message, words) {
				return true
			}
		}
		return false
	})
}

// has is the size that a claim says to have, once its conditions are gone.
func (b *bed) has(name, size string) bool {
	c := b.get(name)
	want, have := resource.MustParse(size), c.Status.Capacity[corev1.ResourceStorage]
	return have.Cmp(want) == 0 && len(c.Status.Conditions) == 0 && len(c.Status.AllocatedResourceStatuses) == 0
}

// TestProvisioner is the life of volumes of a real API server, whose own controllers
// bind them, on storage that runs its real program.
func TestProvisioner(t *testing.T) {
	server := apiserver.Start(t)
	server.Controllers("persistentvolume-binder-controller", "persistentvolume-expander-controller",
		"persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller")
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	b := &bed{t: t, client: client, storage: nfspool.New(t, 1000)}
	b.class("nfs", nil)
	retain := corev1.PersistentVolumeReclaimRetain
	b.class("nfs-retain", func(c *storagev1.StorageClass) {
		c.ReclaimPolicy, c.Parameters = &retain, map[string]string{"mode": "0750"}
	})
	first := b.start("first", client)
	b.until("the first instance to lead", func() bool { return first.metric("nfs_provisioner_leading") == "1" })
	second := b.start("second", client)

	t.Run("a volume", func(t *testing.T) {
		b := b.in(t)
		b.claim("files", "nfs", "99M", nil)
		v := b.bound("files")
		assert.Equal(t, &corev1.NFSVolumeSource{Server: "10.10.0.102", Path: b.storage.Path + "/" + v.Name}, v.Spec.NFS)
		assert.Equal(t, []string{"nfsvers=4.2", "hard"}, v.Spec.MountOptions)
		assert.Equal(t, "95Mi", v.Spec.Capacity.Storage().String(), "no less than was asked for")
		assert.Equal(t, "95", b.storage.Quota(v.Name))
		assert.Equal(t, "halinux.internal/nfs", v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Key)
		assert.DirExists(t, v.Spec.NFS.Path)
		for _, i := range []instance{first, second} {
			for _, path := range []string{"/healthz", "/readyz"} {
				r, err := http.Get(i.url + path)
				require.NoError(t, err)
				_ = r.Body.Close()
				assert.Equal(t, http.StatusOK, r.StatusCode, path)
			}
		}
		b.until("the survey", func() bool { return first.metric("nfs_provisioner_pool_volumes") == "1" })
		assert.Equal(t, "0", first.metric("nfs_provisioner_pool_orphans"))
		assert.Equal(t, `1`, first.metric(`nfs_provisioner_operations_total{operation="create",outcome="done"}`))
	})

	t.Run("what cannot be", func(t *testing.T) {
		b := b.in(t)
		b.claim("once", "nfs", "1Mi", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
		})
		b.event("once", "access mode ReadWriteOncePod")
		b.claim("chosen", "nfs", "1Mi", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		})
		b.event("chosen", "a selector")
		b.class("typo", func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"server": "x"} })
		b.claim("typo", "typo", "1Mi", nil)
		b.event("typo", `"server" is no parameter`)
		b.claim("huge", "nfs", "2000Mi", nil)
		b.event("huge", "the pool has no room")
		assert.NotEmpty(t, first.metric(`nfs_provisioner_operations_total{operation="create",outcome="no-room"}`))
		for _, name := range []string{"once", "chosen", "typo", "huge"} {
			assert.Equal(t, corev1.ClaimPending, b.get(name).Status.Phase)
			b.remove(name)
		}
	})

	t.Run("growth", func(t *testing.T) {
		b := b.in(t)
		v := b.bound("files")
		require.NoError(t, b.ask("files", "200Mi"))
		b.until("200 MiB", func() bool { return b.has("files", "200Mi") })
		assert.Equal(t, "200", b.storage.Quota(v.Name))
		assert.Equal(t, "200Mi", b.bound("files").Spec.Capacity.Storage().String())

		require.Error(t, b.ask("files", "100Mi"), "nobody shrinks")

		require.NoError(t, b.ask("files", "5000Mi"))
		b.until("the refusal", func() bool {
			return strings.Contains(fmt.Sprint(b.get("files").Status.Conditions), "no room")
		})
		assert.Equal(t, "200Mi", b.bound("files").Spec.Capacity.Storage().String())
		assert.Equal(t, "200", b.storage.Quota(v.Name))
		require.NoError(t, b.ask("files", "300Mi"), "back to what there is room for")
		b.until("300 MiB", func() bool { return b.has("files", "300Mi") })
		assert.Equal(t, "300", b.storage.Quota(v.Name))
	})

	t.Run("failover in the middle", func(t *testing.T) {
		b := b.in(t)
		b.storage.KillNext()
		b.storage.Hosts[0].Deaf(b.storage.ServeNowhere)
		b.claim("moved", "nfs", "10Mi", nil)
		b.event("moved", "does not serve")
		b.storage.Serve(1)
		v := b.bound("moved")
		assert.True(t, b.storage.Killed(), "the first try ended in the middle")
		assert.Equal(t, "10", b.storage.Quota(v.Name))
		b.storage.Hosts[1].Deaf(func() {}) // growth that was done unheard
		require.NoError(t, b.ask("moved", "20Mi"))
		b.until("20 MiB", func() bool { return b.has("moved", "20Mi") })
	})

	t.Run("a claim that goes in the middle", func(t *testing.T) {
		b := b.in(t)
		b.storage.Hosts[1].Deaf(b.storage.ServeNowhere) // made, and nobody has heard of it
		b.claim("gone", "nfs", "10Mi", nil)
		name := "pvc-" + string(b.get("gone").UID)
		b.event("gone", "remote command exited without exit status")
		b.until("another try", func() bool { return strings.Count(strings.Join(b.storage.Hosts[1].Asked(), " "), name) > 1 })
		assert.Equal(t, "10", b.storage.Quota(name))
		b.remove("gone")
		b.until("the claim to go", func() bool {
			_, err := b.client.CoreV1().PersistentVolumeClaims("default").Get(t.Context(), "gone", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
		b.storage.Serve(1)
		b.until("what was made to be removed", func() bool { return b.storage.Quota(name) == "0" })
		assert.NoDirExists(t, b.storage.Path+"/"+name)
	})

	t.Run("another machine behind the address", func(t *testing.T) {
		b := b.in(t)
		b.storage.Hosts[1].NewKey()
		b.claim("foreign", "nfs", "10Mi", nil)
		b.event("foreign", "key mismatch")
		b.storage.Know()
		b.bound("foreign")
		b.remove("foreign")
	})

	t.Run("the other instance", func(t *testing.T) {
		b := b.in(t)
		asked := len(b.storage.Hosts[1].Asked())
		require.NoError(t, first.stop())
		lease, err := client.CoordinationV1().Leases("default").Get(t.Context(), driver, metav1.GetOptions{})
		require.NoError(t, err)
		assert.NotEqual(t, "first", *lease.Spec.HolderIdentity, "it was given back")
		b.until("the second instance to lead", func() bool { return second.metric("nfs_provisioner_leading") == "1" })
		b.claim("later", "nfs", "10Mi", nil)
		b.bound("later")
		assert.Greater(t, len(b.storage.Hosts[1].Asked()), asked)
	})

	t.Run("removal", func(t *testing.T) {
		b := b.in(t)
		b.claim("kept", "nfs-retain", "10Mi", nil)
		kept, files := b.bound("kept"), b.bound("files")
		b.remove("kept")
		b.remove("files")
		gone := func(name string) bool {
			_, err := b.client.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}
		b.until("the volume to go", func() bool { return gone(files.Name) })
		assert.NoDirExists(t, files.Spec.NFS.Path)
		assert.False(t, gone(kept.Name))
		assert.DirExists(t, kept.Spec.NFS.Path, "retained")
		b.storage.ServeNowhere()
		moved := b.bound("moved")
		b.remove("moved")
		b.event(moved.Name, "does not serve")
		assert.DirExists(t, moved.Spec.NFS.Path)
		b.storage.Serve(0)
		b.until("the volume to go, once somebody serves", func() bool { return gone(moved.Name) })
		assert.NoDirExists(t, moved.Spec.NFS.Path)

		require.NoError(t, b.client.CoreV1().PersistentVolumes().Delete(t.Context(), kept.Name, metav1.DeleteOptions{}))
		b.until("what is retained to be told of", func() bool { return second.metric("nfs_provisioner_pool_orphans") == "1" })
		assert.DirExists(t, kept.Spec.NFS.Path, "and no more than that")

		later := b.bound("later")
		b.until("the volume to be held until its storage is removed", func() bool { return len(b.bound("later").Finalizers) == 2 })
		require.NoError(t, b.client.CoreV1().PersistentVolumes().Delete(t.Context(), later.Name, metav1.DeleteOptions{}))
		b.remove("later")
		b.until("a volume to go that was deleted before its claim", func() bool { return gone(later.Name) })
		assert.NoDirExists(t, later.Spec.NFS.Path)
	})
	require.NoError(t, second.stop())
}

// in is the bed for a part of the test.
func (b *bed) in(t *testing.T) *bed {
	part := *b
	part.t = t
	return &part
}

// untouched is storage that nobody may ask anything.
type untouched struct{ storage }

func TestForeignVolumesAreNotTouched(t *testing.T) {
	p := &provisioner{server: "10.10.0.102", path: "/srv/nfs/volumes", metrics: newMetrics(), storage: untouched{}}
	for _, nfs := range []*corev1.NFSVolumeSource{
		nil, {Server: "10.10.0.103", Path: "/srv/nfs/volumes/a"}, {Server: "10.10.0.102", Path: "/srv/nfs/home"},
		{Server: "10.10.0.102", Path: "/srv/nfs/volumes/a/b"}, {Server: "10.10.0.102", Path: "/srv/nfs/volumes"},
		{Server: "10.10.0.102", Path: "/srv/nfs/volumes/../volumes/.."}, {Server: "10.10.0.102", Path: "/srv/nfs/volumes/a b"},
	} {
		v := &corev1.PersistentVolume{}
		v.Spec.NFS = nfs
		assert.Error(t, p.Delete(t.Context(), v), "%v", nfs) // a call of the storage would panic
	}
}

// TestAlertsAskForWhatThereIs keeps the rules and the metrics together.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	alerts, err := os.ReadFile("../alerts.yaml")
	require.NoError(t, err)
	asked := regexp.MustCompile(`nfs_provisioner_[a-z_]+`).FindAllString(string(alerts), -1)
	require.NotEmpty(t, asked)
	descriptions := make(chan *prometheus.Desc, 100)
	newMetrics().registry.Describe(descriptions)
	close(descriptions)
	var there strings.Builder
	for d := range descriptions {
		there.WriteString(d.String())
	}
	for _, name := range asked {
		assert.Contains(t, there.String(), fmt.Sprintf("%q", name))
	}
}
