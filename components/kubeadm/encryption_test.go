package kubeadm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/kubeadm/release"
	"github.com/halinux/halinux/tests/bundled"
)

// TestEncryptionKeysInThePlan: the key that comes is read before it writes, and the
// keys of before stay as they are in the state.
func TestEncryptionKeysInThePlan(t *testing.T) {
	rotating := func(a *KubeadmClusterArgs) { a.EncryptionKeys = []string{"2026-11", "key1"} }
	assert.Equal(t, []string{
		"master1 control-plane", "master1 encryption", "master1 encryption-reader",
		"master2 control-plane", "master2 encryption-reader", "master3 control-plane", "master3 encryption-reader",
	}, changed(t, rotating))
	a := example()
	a.EncryptionKeys = []string{"key1"}
	assert.Equal(t, text(t, example()), text(t, a), "it is the one that every cluster begins with")
	rotating(a)
	orders := map[string]string{}
	for _, p := range phasesOf(t, a) {
		for _, f := range p.Files {
			if strings.HasPrefix(f.Path, serverFiles+"/encryption-") {
				names := regexp.MustCompile(`name: (\S+), secret: "\[secret (\S+)\]"`).FindAllStringSubmatch(f.Content, -1)
				require.Len(t, names, 2)
				orders[p.Name] = names[0][1] + " " + names[1][1]
				for _, n := range names {
					assert.Contains(t, p.Secrets, n[2], "%s on %s", p.Name, p.host)
				}
			}
		}
	}
	assert.Equal(t, map[string]string{"encryption-reader": "key1 2026-11", "control-plane": "2026-11 key1"}, orders)

	resources := run(t, a, nil)
	resources.waits(t, "master2-encryption-reader", "master1-encryption-reader")
	resources.waits(t, "master1-control-plane", "master3-encryption-reader")
	resources.waits(t, "master1-encryption", "master3-control-plane")
	assert.Contains(t, resources, "kubernetes-encryption-key-2026-11")
	assert.NotContains(t, resources, "kubernetes-encryption-key", "the first key is one of the authorities' parts")
}

// etcdctlOfFields prints values as `etcdctl -w fields` does.
const etcdctlOfFields = `[ ! -e "$DIR/away" ] || exit 1
while read -r value; do printf '"Key" : "/registry/secrets/x"\n"Value" : "%s\\x00\\n"\n' "$value"; done <"$DIR/values"
`

func TestEncryptionKeys(t *testing.T) {
	const own, other, clear = "k8s:enc:secretbox:v1:key1:abc", "k8s:enc:secretbox:v1:2026-11:abc", `k8s\x00\n`
	for _, c := range []struct {
		name, values, says string
		args               []string
	}{
		{"it reads with both", "", "", []string{"reads", "10.0.0.1", "key1", "key0"}},
		{"one is unknown", "", "does not read with 2026-11", []string{"reads", "10.0.0.1", "key1", "2026-11"}},
		{"a beginning is not a name", "", "does not read with key", []string{"reads", "10.0.0.1", "key"}},
		{"a key comes", own, "", []string{"may", "10.0.0.1", "2026-11", "key1", "key0"}},
		{"one leaves that nothing needs", own + "\n" + clear, "", []string{"may", "10.0.0.1", "key1"}},
		{"one leaves that wrote", clear + "\n" + own, "still written with key1", []string{"may", "10.0.0.1", "2026-11", "key0"}},
		{"one leaves, and nobody says what it wrote", "?", "etcd does not say", []string{"may", "10.0.0.1", "2026-11", "key0"}},
		{"all are written", own + "\n" + own, "", []string{"written", "10.0.0.1", "key1"}},
		{"one is not", own + "\n" + other, "but also: 2026-11", []string{"written", "10.0.0.1", "key1"}},
		{"one is in the clear", own + "\n" + clear, "but also: -", []string{"written", "10.0.0.1", "key1"}},
		{"nobody says", "?", "but also: ?", []string{"written", "10.0.0.1", "key1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := keysHost(t, map[string]string{"etcdctl": etcdctlOfFields})
			if c.values == "?" {
				s.put("away", "")
			}
			s.put("values", c.values+"\n")
			config, err := encryptionConfig([]string{"key1", "key0"})
			require.NoError(t, err)
			s.put("keys.yaml", config)
			s.put(serverManifest, "spec:\n    - kube-apiserver\n    - --encryption-provider-config="+s.dir+"/keys.yaml\n    - --other=1\n")
			out, err := s.run(c.args...)
			if c.says == "" {
				require.NoError(t, err, out)
				return
			}
			require.Error(t, err)
			assert.Contains(t, out, c.says)
		})
	}
}

const serverManifest = "etc/kubernetes/manifests/kube-apiserver.yaml"

// keysHost is a host with the script encryption-keys, which is its script.
func keysHost(t *testing.T, programs map[string]string) hostScript {
	t.Helper()
	s := phaseOf(t, "control-plane/encryption-keys.sh", nil, programs)
	script, err := os.ReadFile("phases/control-plane/encryption-keys.sh")
	require.NoError(t, err)
	s.put("usr/local/lib/halinux/encryption-keys", strings.ReplaceAll(string(script), "/etc/kubernetes", s.dir+"/etc/kubernetes"))
	s.path = filepath.Join(s.dir, "usr/local/lib/halinux/encryption-keys")
	s.put("usr/local/lib/halinux/encryption-reader", s.file("usr/local/lib/halinux/encryption-keys"))
	return s
}

// master is a control plane without a kubelet and kubeadm: etcd and an API server
// whose flags stand in a manifest. It is started anew when that has changed.
type master struct {
	hostScript
	address string
	program string
	flags   []string // those of every API server
}

// TestEncryptionKeysAreRotated goes the whole way on real API servers: at every
// step all of them read all secrets.
func TestEncryptionKeysAreRotated(t *testing.T) {
	masters, kubectl := startMasters(t, map[bool]int{true: 2, false: 1}[os.Getenv("HALINUX_FULL") != ""])
	const old, coming = "key1", "2026-11"
	a := example()
	a.EncryptionKeys = []string{coming, old}
	var secrets []string
	create := func(m *master, name string) {
		t.Helper()
		out, err := kubectl(m, "create", "secret", "generic", name, "--from-literal", "word="+name)
		require.NoError(t, err, out)
		secrets = append(secrets, name)
	}
	legible := func() {
		t.Helper()
		for _, m := range masters {
			for _, name := range secrets {
				out, err := kubectl(m, "get", "secret", name, "-o", "jsonpath={.data.word}")
				require.NoError(t, err, "%s of %s: %s", name, m.address, out)
			}
		}
	}
	keys := func(m *master, args ...string) (string, error) {
		t.Helper()
		return m.run(append([]string{args[0], m.address}, args[1:]...)...)
	}
	phase := func(m *master, name string, vars map[string]string) (string, error) {
		t.Helper()
		all := map[string]string{"address": m.address, "key": coming, "keys": coming + " " + old, "writer": old}
		for k, v := range vars {
			all[k] = v
		}
		return m.phase(t, name, all)
	}
	last := masters[len(masters)-1]
	create(last, "first")
	out, err := keys(last, "written", old)
	require.NoError(t, err, out)

	// Not before it is known to anybody.
	out, err = keys(last, "may", coming)
	require.Error(t, err)
	assert.Contains(t, out, "still written with "+old)

	file := map[*master]string{}
	for i, m := range masters {
		file[m] = m.keyFile(t, "encryption-reader", old, coming)
		out, err = phase(m, "encryption-reader/converge.sh", map[string]string{"file": file[m]})
		require.NoError(t, err, out)
		out, err = phase(m, "encryption-reader/check.sh", nil)
		require.NoError(t, err, out)
		assert.Empty(t, out)
		create(m, fmt.Sprintf("while-reading-%d", i))
		legible()
	}
	out, err = keys(last, "written", old)
	require.NoError(t, err, "none writes with the new key yet: %s", out)

	for i, m := range masters {
		m.write(t, m.keyFile(t, "encryption", coming, old))
		require.Eventually(t, func() bool { _, err := keys(m, "runs"); return err == nil }, time.Minute, 200*time.Millisecond)
		create(m, fmt.Sprintf("while-writing-%d", i))
		legible()
		// Once more: nothing goes back.
		out, err = phase(m, "encryption-reader/converge.sh", map[string]string{"file": file[m]})
		require.NoError(t, err, out)
		assert.NotContains(t, out, "writes with")
	}
	out, err = phase(last, "encryption/check.sh", nil)
	require.NoError(t, err, out)
	assert.Contains(t, out, "- not all secrets are written with "+coming)
	_, err = keys(last, "may", coming)
	require.Error(t, err, "a secret that was not written anew would be lost")

	out, err = phase(last, "encryption/converge.sh", nil)
	require.NoError(t, err, out)
	out, err = phase(last, "encryption/check.sh", nil)
	require.NoError(t, err, out)
	assert.Empty(t, out)
	legible()
	out, err = keys(last, "may", coming)
	require.NoError(t, err, out)

	last.write(t, last.keyFile(t, "encryption", coming))
	require.Eventually(t, func() bool { _, err := keys(last, "runs"); return err == nil }, time.Minute, 200*time.Millisecond)
	legible()
}

// startMasters starts etcd on the first one's address, and an API server on each.
func startMasters(t *testing.T, n int) ([]*master, func(*master, ...string) (string, error)) {
	t.Helper()
	programs := map[string]string{}
	for name, version := range map[string]string{"etcd": release.Etcd, "etcdctl": release.Etcd, "kube-apiserver": release.Kubernetes, "kubectl": release.Kubernetes} {
		programs[name] = bundled.Program(t, name, version)
	}
	ca, caKey, err := newAuthority("test", time.Now())
	require.NoError(t, err)
	var masters []*master
	pki := func(m *master, name string, ips ...net.IP) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template, err := certificate(pkix.Name{CommonName: "test", Organization: []string{"system:masters"}}, time.Now())
		require.NoError(t, err)
		template.IPAddresses, template.ExtKeyUsage = ips, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		raw, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
		require.NoError(t, err)
		private, err := keyPEM(key)
		require.NoError(t, err)
		m.put(name+".crt", certPEM(raw))
		m.put(name+".key", private)
	}
	// The port is part of the scripts, so each test has an address of its own.
	network := 1 + os.Getpid()%250
	for i := range n {
		m := &master{address: fmt.Sprintf("127.77.%d.%d", network, i+1)}
		m.hostScript = keysHost(t, map[string]string{"etcdctl": ""})
		m.put("etcdctl", "#!/bin/sh\ncase $2 in *127.77.*) shift 2; exec "+programs["etcdctl"]+fmt.Sprintf(" --endpoints https://127.77.%d.1:2379", network)+" \"$@\" ;; esac\nexit 8\n")
		ip := net.ParseIP(m.address)
		for _, name := range []string{"server", "etcd/server", "etcd/healthcheck-client", "admin"} {
			pki(m, "etc/kubernetes/pki/"+name, ip)
		}
		m.put("etc/kubernetes/pki/ca.crt", certPEM(ca.Raw))
		m.put("etc/kubernetes/pki/etcd/ca.crt", certPEM(ca.Raw))
		m.put("etc/kubernetes/admin.conf", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":"https://%s:6443","certificate-authority":"%s"}}],
"users":[{"name":"c","user":{"client-certificate":"%s","client-key":"%s"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}]}`,
			m.address, m.at("etc/kubernetes/pki/ca.crt"), m.at("etc/kubernetes/pki/admin.crt"), m.at("etc/kubernetes/pki/admin.key")))
		// Its name is what a process is found by.
		require.NoError(t, os.Symlink(programs["kube-apiserver"], m.at("kube-apiserver")))
		m.program = m.at("kube-apiserver")
		m.put("kubectl", "#!/bin/sh\nexec "+programs["kubectl"]+" \"$@\"\n")
		masters = append(masters, m)
	}
	first := masters[0]
	start(t, programs["etcd"], "--data-dir", filepath.Join(first.dir, "var/lib/etcd"), "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", "https://"+first.address+":2379", "--advertise-client-urls", "https://"+first.address+":2379",
		"--listen-peer-urls", "http://"+first.address+":2380", "--client-cert-auth",
		"--trusted-ca-file", first.at("etc/kubernetes/pki/etcd/ca.crt"), "--cert-file", first.at("etc/kubernetes/pki/etcd/server.crt"), "--key-file", first.at("etc/kubernetes/pki/etcd/server.key"))
	for _, m := range masters {
		file := func(name string) string { return m.at("etc/kubernetes/pki/" + name) }
		m.flags = []string{
			"--etcd-servers=https://" + first.address + ":2379", "--etcd-cafile=" + file("etcd/ca.crt"),
			"--etcd-certfile=" + file("etcd/healthcheck-client.crt"), "--etcd-keyfile=" + file("etcd/healthcheck-client.key"),
			"--bind-address=" + m.address, "--secure-port=6443", "--client-ca-file=" + file("ca.crt"),
			"--tls-cert-file=" + file("server.crt"), "--tls-private-key-file=" + file("server.key"), "--authorization-mode=RBAC",
			"--service-account-key-file=" + first.at("etc/kubernetes/pki/server.key"), "--service-account-signing-key-file=" + first.at("etc/kubernetes/pki/server.key"),
			"--service-account-issuer=https://kubernetes.test", "--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount",
		}
		m.write(t, m.keyFile(t, "encryption", "key1"))
		m.kubelet(t)
		require.Eventually(t, func() bool { _, err := m.run("runs", m.address); return err == nil }, 2*time.Minute, 200*time.Millisecond)
	}
	return masters, func(m *master, args ...string) (string, error) {
		out, err := exec.Command(programs["kubectl"], append([]string{"--kubeconfig", m.at("etc/kubernetes/admin.conf")}, args...)...).CombinedOutput()
		return string(out), err
	}
}

func (s hostScript) at(name string) string { return filepath.Join(s.dir, name) }

// keyFile writes an API server's file for keys in this order.
func (m *master) keyFile(t *testing.T, name string, keys ...string) string {
	t.Helper()
	content, err := encryptionConfig(keys)
	require.NoError(t, err)
	path := strings.TrimPrefix(serverFile(name, content).Path, "/")
	for i, mark := range []string{"[secret encryption-key]", "[secret encryption-key-2026-11]"} {
		content = strings.ReplaceAll(content, mark, []string{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}[i])
	}
	m.put(path, content)
	return m.at(path)
}

// write is what kubeadm does with the API server's manifest.
func (m *master) write(t *testing.T, keys string) {
	t.Helper()
	text := "spec:\n  containers:\n  - command:\n    - kube-apiserver\n"
	for _, f := range append(m.flags, "--encryption-provider-config="+keys) {
		text += "    - " + f + "\n"
	}
	m.put(serverManifest+".new", text)
	require.NoError(t, os.Rename(m.at(serverManifest+".new"), m.at(serverManifest)))
}

// phase runs a phase's script here.
func (m *master) phase(t *testing.T, path string, vars map[string]string) (string, error) {
	t.Helper()
	p := phaseOf(t, path, vars, nil)
	body, err := os.ReadFile(p.path)
	require.NoError(t, err)
	wait := "wait_for() { what=$2 left=$(($1 * 5)); shift 2; until \"$@\"; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 0.2; done; say \"$what\"; }\n"
	m.put("phase.sh", strings.Replace(strings.ReplaceAll(string(body), p.dir, m.dir), "here=$DIR", wait+"here=$DIR", 1))
	s := m.hostScript
	s.path = m.at("phase.sh")
	return s.run()
}

// kubelet runs the API server of the manifest, and another one when that is another.
func (m *master) kubelet(t *testing.T) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var is string
		var server *exec.Cmd
		end := func() {
			if server != nil {
				_ = server.Process.Kill()
				_ = server.Wait()
			}
		}
		defer end()
		for {
			if wanted, err := os.ReadFile(m.at(serverManifest)); err == nil && string(wanted) != is {
				end()
				is = string(wanted)
				var flags []string
				for line := range strings.Lines(is) {
					if flag, ok := strings.CutPrefix(strings.TrimSpace(line), "- --"); ok {
						flags = append(flags, "--"+flag)
					}
				}
				server = exec.Command(m.program, flags...)
				server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				log, err := os.Create(m.at("kube-apiserver.log"))
				if err == nil {
					server.Stdout, server.Stderr = log, log
					err = server.Start()
					_ = log.Close()
				}
				if err != nil {
					server = nil
				}
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
}

// start runs a program until the test ends.
func start(t *testing.T, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}
