package providers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/halinux/halinux/components/kubeadm/release"
	"github.com/halinux/halinux/tests/bundled"
)

// apiServer is a cluster without nodes and controllers: etcd and a kube-apiserver
// on loopback. What a controller would do, a test does itself.
type apiServer struct {
	t      *testing.T
	port   int
	ca     string
	client dynamic.Interface
}

// token is the administrator's.
const token = "for-the-test-only"

// startAPIServer starts the programs.
func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	etcdProgram, apiProgram := bundled.Program(t, "etcd", release.Etcd), bundled.Program(t, "kube-apiserver", release.Kubernetes)
	dir := t.TempDir()
	a := &apiServer{t: t, port: freePort(t)}
	clients, peers := freePort(t), freePort(t)
	etcd := fmt.Sprintf("http://127.0.0.1:%d", clients)
	a.start(etcdProgram, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", peers))
	tokens := filepath.Join(dir, "tokens.csv")
	require.NoError(t, os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600))
	a.start(apiProgram, "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(a.port),
		"--cert-dir", filepath.Join(dir, "certs"), "--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-account-key-file", serviceKey(t, dir), "--service-account-signing-key-file", serviceKey(t, dir),
		"--service-account-issuer", "https://kubernetes.test", "--service-cluster-ip-range", "10.0.0.0/24",
		"--disable-admission-plugins", "ServiceAccount")
	certificate := filepath.Join(dir, "certs", "apiserver.crt")
	var ca []byte
	require.True(t, poll(3*deadline, func() bool {
		var err error
		if ca, err = os.ReadFile(certificate); err != nil {
			return false // it makes that first
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
		r, err := c.Get(fmt.Sprintf("https://127.0.0.1:%d/readyz", a.port))
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	}), "the API server is not ready")
	var err error
	a.ca = string(ca)
	a.client, err = dynamic.NewForConfig(&rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", a.port), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: ca},
	})
	require.NoError(t, err)
	for _, r := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"}, {Group: "apps", Version: "v1", Resource: "deployments"},
	} {
		a.collect(r)
	}
	return a
}

// collect does the garbage collector's part for objects that nothing belongs to:
// one that is deleted with what is below it goes when the collector lets it.
func (a *apiServer) collect(r schema.GroupVersionResource) {
	a.t.Helper()
	objects := a.client.Resource(r)
	w, err := objects.Watch(a.t.Context(), metav1.ListOptions{})
	require.NoError(a.t, err)
	go func() {
		for e := range w.ResultChan() {
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok || e.Type == watch.Deleted || !slices.Contains(o.GetFinalizers(), metav1.FinalizerDeleteDependents) {
				continue
			}
			// Whether it worked is what the tests wait for.
			_, _ = objects.Namespace(o.GetNamespace()).Patch(a.t.Context(), o.GetName(), types.MergePatchType,
				[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		}
	}()
}

// start runs a program until the test ends.
func (a *apiServer) start(path string, args ...string) {
	a.t.Helper()
	var out strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(a.t, cmd.Start())
	a.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if a.t.Failed() {
			text := out.String()
			a.t.Logf("%s: %s", filepath.Base(path), text[max(0, len(text)-2000):])
		}
	})
}

// kubeconfig leads there, under a context of some name.
func (a *apiServer) kubeconfig(name string) string { return kubeconfigFor(a.port, a.ca, name) }

func kubeconfigFor(port int, ca, name string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: %[1]s
clusters: [{name: %[1]s, cluster: {server: "https://127.0.0.1:%[2]d", certificate-authority-data: %[3]s}}]
users: [{name: admin, user: {token: %[4]s}}]
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: admin}}]
`, name, port, base64Text(ca), token)
}

// objects of a kind in the namespace default.
func (a *apiServer) objects(group, version, plural string) dynamic.ResourceInterface {
	return a.client.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}).Namespace("default")
}

func (a *apiServer) configMaps() dynamic.ResourceInterface { return a.objects("", "v1", "configmaps") }

func (a *apiServer) context() context.Context { return a.t.Context() }
