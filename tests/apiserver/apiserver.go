// Package apiserver gives a test a real cluster without nodes: etcd, a
// kube-apiserver and, where it asks for some, Kubernetes' own controllers, on
// loopback. Programs come from PATH or from what `make bundle` keeps; where there
// are none, the test is skipped and says so. It knows nothing of components.
package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/halinux/halinux/components/kubeadm/release"
	"github.com/halinux/halinux/tests/graph"
)

// token is the administrator's.
const token = "for-the-test-only"

// Server is the cluster.
type Server struct {
	t    testing.TB
	dir  string
	port int
	ca   []byte
}

// program is one of PATH, else that which `make bundle` keeps.
func program(t testing.TB, name, version string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	path := filepath.Join(home, ".cache", "halinux", "programs", name+"-"+version)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIP: no %s on PATH, and none that `make bundle` has built (%v)", name, err)
	}
	return path
}

// freePort is one that nobody had a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Start starts etcd and the API server until the test ends. Rights are RBAC's.
func Start(t testing.TB) *Server {
	t.Helper()
	etcdProgram, apiProgram := program(t, "etcd", release.Etcd), program(t, "kube-apiserver", release.Kubernetes)
	s := &Server{t: t, dir: t.TempDir(), port: freePort(t)}
	etcd, peers := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	s.run(etcdProgram, "--data-dir", filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers)
	tokens := filepath.Join(s.dir, "tokens.csv")
	require.NoError(t, os.WriteFile(tokens, []byte(token+",admin,admin,system:masters\n"), 0o600))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	signer := filepath.Join(s.dir, "service-account.key")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	require.NoError(t, os.WriteFile(signer, pem.EncodeToMemory(block), 0o600))
	s.run(apiProgram, "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(s.port),
		"--cert-dir", filepath.Join(s.dir, "certs"), "--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-account-key-file", signer, "--service-account-signing-key-file", signer,
		"--service-account-issuer", "https://kubernetes.test", "--service-cluster-ip-range", "10.0.0.0/24",
		"--disable-admission-plugins", "ServiceAccount")
	s.wait("the API server to be ready", func() bool {
		ca, err := os.ReadFile(filepath.Join(s.dir, "certs", "apiserver.crt"))
		if err != nil {
			return false // it makes that first
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
		r, err := c.Get(fmt.Sprintf("https://127.0.0.1:%d/readyz", s.port))
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		s.ca = ca
		return r.StatusCode == http.StatusOK
	})
	return s
}

// Controllers starts some of Kubernetes' own controllers (kube-controller-manager,
// --controllers).
func (s *Server) Controllers(names ...string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "kubeconfig")
	require.NoError(s.t, os.WriteFile(path, []byte(s.Kubeconfig()), 0o600))
	s.run(program(s.t, "kube-controller-manager", release.Kubernetes), "--kubeconfig", path, "--leader-elect=false", "--secure-port=0",
		"--controllers", strings.Join(names, ","))
}

// Available says of each Deployment that its pods are there, as long as the test runs:
// no pod ever is.
func (s *Server) Available() {
	s.t.Helper()
	client, err := kubernetes.NewForConfig(s.Config())
	require.NoError(s.t, err)
	go func() {
		_ = wait.PollUntilContextCancel(s.t.Context(), 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			all, err := client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
			if err != nil {
				return false, nil
			}
			for _, d := range all.Items {
				if d.Status.ObservedGeneration == d.Generation {
					continue
				}
				n := *d.Spec.Replicas
				d.Status = appsv1.DeploymentStatus{
					ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
					Conditions: []appsv1.DeploymentCondition{
						{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
						{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
					},
				}
				_, _ = client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, &d, metav1.UpdateOptions{}) // or the next time
			}
			return false, nil
		})
	}()
}

// Put creates the objects that a program has registered, namespaces first. A field that
// the server does not know fails the test.
func (s *Server) Put(resources map[string]pulumi.MockResourceArgs) {
	s.t.Helper()
	objects, err := dynamic.NewForConfig(s.Config())
	require.NoError(s.t, err)
	put := func(namespaces bool) {
		for name, r := range resources {
			if !strings.HasPrefix(r.TypeToken, "kubernetes:") || strings.HasSuffix(r.TypeToken, ":Namespace") != namespaces {
				continue
			}
			fields, ok := graph.Revealed(resource.NewObjectProperty(r.Inputs)).(map[string]any)
			require.True(s.t, ok, name)
			o := &unstructured.Unstructured{Object: fields}
			gv, err := schema.ParseGroupVersion(o.GetAPIVersion())
			require.NoError(s.t, err, name)
			plural, _ := meta.UnsafeGuessKindToResource(gv.WithKind(o.GetKind()))
			_, err = objects.Resource(plural).Namespace(o.GetNamespace()).Create(s.t.Context(), o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			require.NoError(s.t, err, name)
		}
	}
	put(true)
	put(false)
}

// Config leads there as the administrator.
func (s *Server) Config() *rest.Config {
	return &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", s.port), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: s.ca},
		QPS: 200, Burst: 200,
	}
}

// As leads there as a service account, with its rights alone.
func (s *Server) As(namespace, account string) *rest.Config {
	c := s.Config()
	c.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	return c
}

// Kubeconfig leads there as the administrator, as a file says it.
func (s *Server) Kubeconfig() string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "https://127.0.0.1:%d", certificate-authority-data: %s}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
`, s.port, base64.StdEncoding.EncodeToString(s.ca), token)
}

// run runs a program until the test ends; what it said last is shown when the test
// has failed.
func (s *Server) run(path string, args ...string) {
	s.t.Helper()
	out := &tail{}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s: %s", filepath.Base(path), out)
		}
	})
}

// wait polls a condition.
func (s *Server) wait(what string, done func() bool) {
	s.t.Helper()
	require.Eventually(s.t, done, 3*time.Minute, 100*time.Millisecond, what)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	o.text = o.text[max(0, len(o.text)-3000):]
	return len(p), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}
