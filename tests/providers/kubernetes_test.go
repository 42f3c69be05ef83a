package providers_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func base64Text(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// serviceKey is the path of a key that signs service accounts' tokens.
func serviceKey(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "service-account.key")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	return path
}

// kubernetesProvider is a provider resource without the plugin's SDK.
type kubernetesProvider struct{ pulumi.ProviderResourceState }

// object is any resource of the plugin.
type object struct {
	pulumi.CustomResourceState
	Metadata pulumi.MapOutput `pulumi:"metadata"`
}

// inCluster is a program on one provider.
func inCluster(args pulumi.Map, body func(*pulumi.Context, pulumi.ResourceOption) error) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		p := &kubernetesProvider{}
		if err := ctx.RegisterResource("pulumi:providers:kubernetes", "cluster", args, p, pulumi.Version("4.30.0")); err != nil {
			return err
		}
		return body(ctx, pulumi.Provider(p))
	}
}

// one is a program of a single object called "o".
func one(provider pulumi.Map, token string, args pulumi.Map, opts ...pulumi.ResourceOption) pulumi.RunFunc {
	return inCluster(provider, func(ctx *pulumi.Context, p pulumi.ResourceOption) error {
		o := &object{}
		if err := ctx.RegisterResource(token, "o", args, o, append(opts, p, pulumi.Version("4.30.0"))...); err != nil {
			return err
		}
		ctx.Export("metadata", o.Metadata)
		return nil
	})
}

func named(name string) pulumi.Map { return pulumi.Map{"name": pulumi.String(name)} }

func configMap(metadata pulumi.Map, data map[string]string) pulumi.Map {
	m := pulumi.Map{"apiVersion": pulumi.String("v1"), "kind": pulumi.String("ConfigMap"), "data": pulumi.ToStringMap(data)}
	if metadata != nil {
		m["metadata"] = metadata
	}
	return m
}

const configMapToken = "kubernetes:core/v1:ConfigMap"

func TestKubernetes(t *testing.T) {
	t.Parallel()
	a := startAPIServer(t)
	args := pulumi.Map{"kubeconfig": pulumi.String(a.kubeconfig("test"))}
	data := func(name string) map[string]string {
		t.Helper()
		o, err := a.configMaps().Get(a.context(), name, metav1.GetOptions{})
		require.NoError(t, err)
		m, _, err := unstructured.NestedStringMap(o.Object, "data")
		require.NoError(t, err)
		return m
	}
	gone := func(name string) bool {
		_, err := a.configMaps().Get(a.context(), name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}

	t.Run("lifecycle", func(t *testing.T) {
		s := newStack(t)
		r := s.preview(one(args, configMapToken, configMap(named("life"), map[string]string{"a": "1"})))
		assert.Equal(t, map[string]int{"create": 1}, r.changes)
		assert.True(t, gone("life"), "a preview made something")
		s.up(one(args, configMapToken, configMap(named("life"), map[string]string{"a": "1"})))
		assert.Equal(t, "default/life", string(s.resource("o").ID))
		assert.Equal(t, map[string]string{"a": "1"}, data("life"))
		r = s.up(one(args, configMapToken, configMap(named("life"), map[string]string{"a": "1"})))
		assert.Equal(t, map[string]int{"same": 1}, r.changes)

		// The data of a ConfigMap is never changed in place; one with a name of the
		// program's own has to go first.
		r = s.up(one(args, configMapToken, configMap(named("life"), map[string]string{"b": "2"})))
		assert.Equal(t, []string{"delete-replaced", "replace", "create-replacement"}, r.ops("o"))
		assert.Equal(t, map[string]string{"b": "2"}, data("life"))
		s.destroy()
		assert.True(t, gone("life"))
	})

	t.Run("a name is made, and a replacement comes first", func(t *testing.T) {
		s := newStack(t)
		s.up(one(args, configMapToken, configMap(nil, map[string]string{"a": "1"})))
		first := string(s.resource("o").ID)
		assert.Regexp(t, `^default/o-[0-9a-f]{8}$`, first)
		r := s.up(one(args, configMapToken, configMap(nil, map[string]string{"a": "2"})))
		assert.Equal(t, []string{"create-replacement", "replace", "delete-replaced"}, r.ops("o"))
		assert.NotEqual(t, first, string(s.resource("o").ID))
		s.destroy()
	})

	t.Run("mutable", func(t *testing.T) {
		s := newStack(t)
		mutable := pulumi.Map{"kubeconfig": args["kubeconfig"], "enableConfigMapMutable": pulumi.Bool(true)}
		s.up(one(mutable, configMapToken, configMap(named("mutable"), map[string]string{"a": "1", "b": "2"})))
		r := s.up(one(mutable, configMapToken, configMap(named("mutable"), map[string]string{"a": "3"})))
		assert.Equal(t, map[string]int{"update": 1}, r.changes)
		assert.Equal(t, map[string]string{"a": "3"}, data("mutable"), "what the program left out is gone")
		s.destroy()
	})

	t.Run("what is there already is not taken over", func(t *testing.T) {
		_, err := a.configMaps().Create(a.context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "theirs"}, "data": map[string]any{"a": "1"},
		}}, metav1.CreateOptions{})
		require.NoError(t, err)
		r := newStack(t).fail(one(args, configMapToken, configMap(named("theirs"), map[string]string{"a": "2"})))
		assert.Contains(t, r.everything(t), "already exists")
		assert.Equal(t, map[string]string{"a": "1"}, data("theirs"))

		// A Patch owns the fields that it names, and gives them up again.
		s := newStack(t)
		s.up(one(args, configMapToken+"Patch", configMap(named("theirs"), map[string]string{"b": "2"})))
		assert.Equal(t, map[string]string{"a": "1", "b": "2"}, data("theirs"))
		s.destroy()
		assert.Equal(t, map[string]string{"a": "1"}, data("theirs"))

		// Another's field is taken by force alone.
		s = newStack(t)
		r = s.fail(one(args, configMapToken+"Patch", configMap(named("theirs"), map[string]string{"a": "9"})))
		assert.Contains(t, r.everything(t), "conflict")
		forced := named("theirs")
		forced["annotations"] = pulumi.ToStringMap(map[string]string{"pulumi.com/patchForce": "true"})
		s.up(one(args, configMapToken+"Patch", configMap(forced, map[string]string{"a": "9"})))
		assert.Equal(t, map[string]string{"a": "9"}, data("theirs"))
	})

	t.Run("waits until it is ready", func(t *testing.T) {
		s := newStack(t)
		deployment := func(timeout string) pulumi.Map {
			var m pulumi.Map
			labels := pulumi.ToStringMap(map[string]string{"app": "slow"})
			m = pulumi.Map{"apiVersion": pulumi.String("apps/v1"), "kind": pulumi.String("Deployment"),
				"metadata": pulumi.Map{"name": pulumi.String("slow"), "annotations": pulumi.ToStringMap(map[string]string{"pulumi.com/timeoutSeconds": timeout})},
				"spec": pulumi.Map{
					"replicas": pulumi.Int(1), "selector": pulumi.Map{"matchLabels": labels},
					"template": pulumi.Map{"metadata": pulumi.Map{"labels": labels}, "spec": pulumi.Map{"containers": pulumi.Array{
						pulumi.Map{"name": pulumi.String("c"), "image": pulumi.String("pause"), "resources": pulumi.Map{"requests": pulumi.ToStringMap(map[string]string{"cpu": "0.5"})}},
					}}},
				}}
			return m
		}
		const token = "kubernetes:apps/v1:Deployment"
		r := s.fail(one(args, token, deployment("2")))
		assert.Contains(t, r.everything(t), "failed to fully initialize")
		assert.Equal(t, "default/slow", string(s.resource("o").ID), "what was made is in the state")
		// The annotation, which the next update changes, counts as a generation.
		status := map[string]any{"status": map[string]any{
			"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
			"conditions": []any{
				map[string]any{"type": "Available", "status": "True"},
				map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
			},
		}}
		patch, err := json.Marshal(status)
		require.NoError(t, err)
		_, err = a.objects("apps", "v1", "deployments").Patch(a.context(), "slow", types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		require.NoError(t, err)
		s.up(one(args, token, deployment("60")))
		r = s.preview(one(args, token, deployment("60")))
		assert.Equal(t, map[string]int{"same": 1}, r.changes, "0.5 and 500m are one quantity")
	})

	t.Run("secrets", func(t *testing.T) {
		s := newStack(t)
		secret := pulumi.Map{"apiVersion": pulumi.String("v1"), "kind": pulumi.String("Secret"), "metadata": named("hidden"),
			"stringData": pulumi.ToStringMap(map[string]string{"password": "sentinel"})}
		s.up(one(args, "kubernetes:core/v1:Secret", secret))
		for _, text := range []string{"sentinel", base64Text("sentinel")} {
			assert.NotContains(t, s.backend(), text)
		}
		r := s.preview(one(args, "kubernetes:core/v1:Secret", secret))
		assert.Equal(t, map[string]int{"same": 1}, r.changes)
		s.destroy()
	})

	t.Run("the server judges a preview", func(t *testing.T) {
		s := newStack(t)
		s.use(one(args, configMapToken, configMap(named("Not_A_Name"), nil)))
		_, err := s.s.Preview(s.ctx)
		require.ErrorContains(t, err, "Not_A_Name")
	})

	t.Run("an order that is not said", func(t *testing.T) {
		s := newStack(t)
		s.up(inCluster(args, func(ctx *pulumi.Context, p pulumi.ResourceOption) error {
			m := configMap(pulumi.Map{"name": pulumi.String("c"), "namespace": pulumi.String("later")}, nil)
			if err := ctx.RegisterResource(configMapToken, "c", m, &object{}, p); err != nil {
				return err
			}
			n := pulumi.Map{"apiVersion": pulumi.String("v1"), "kind": pulumi.String("Namespace"), "metadata": named("later")}
			return ctx.RegisterResource("kubernetes:core/v1:Namespace", "n", n, &object{}, p)
		}))
		assert.Equal(t, "later/c", string(s.resource("c").ID))
	})

	t.Run("a cluster that is gone", func(t *testing.T) {
		s := newStack(t)
		at := func(kubeconfig string, more pulumi.Map) pulumi.RunFunc {
			m := pulumi.Map{"kubeconfig": pulumi.String(kubeconfig), "clusterIdentifier": pulumi.String("one")}
			for k, v := range more {
				m[k] = v
			}
			return one(m, configMapToken, configMap(named("left"), map[string]string{"a": "1"}))
		}
		s.up(at(a.kubeconfig("test"), nil))
		// The same cluster by another way: nothing is made again.
		r := s.preview(at(a.kubeconfig("renamed"), nil))
		assert.Equal(t, map[string]int{"same": 1}, r.changes)
		nowhere := kubeconfigFor(freePort(t), a.ca, "test")
		r = s.preview(at(nowhere, nil))
		assert.Equal(t, map[string]int{"same": 1}, r.changes, "a preview needs no cluster")

		s.up(at(nowhere, nil))
		s.use(func(*pulumi.Context) error { return nil })
		_, err := s.s.Destroy(s.ctx)
		require.ErrorContains(t, err, "unreachable")
		s.up(at(nowhere, pulumi.Map{"deleteUnreachable": pulumi.Bool(true)}))
		s.destroy()
		assert.False(t, gone("left"))
	})

	t.Run("another cluster", func(t *testing.T) {
		s := newStack(t)
		at := func(identifier string) pulumi.RunFunc {
			return one(pulumi.Map{"kubeconfig": args["kubeconfig"], "clusterIdentifier": pulumi.String(identifier)},
				configMapToken, configMap(named("moved"), map[string]string{"a": "1"}))
		}
		s.up(at("one"))
		r := s.preview(at("two"))
		assert.Contains(t, r.ops("o"), "replace")
		s.destroy()
	})
}
