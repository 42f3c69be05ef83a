package kubeadm

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// upgrading is a node whose programs are files that name their version. kubeadm,
// kubectl, drain and systemctl note what they were asked for; the kubelet that runs
// is the one that was there when it was started last.
func upgrading(t *testing.T, more map[string]string) hostScript {
	t.Helper()
	vars := map[string]string{"host": "worker1", "version": "v1.36.3", "role": "worker", "address": "10.0.0.5", "peers": ""}
	maps.Copy(vars, more)
	s := phaseOf(t, "upgrade/converge.sh", vars, map[string]string{
		"systemctl": `echo "systemctl $*" >>"$DIR/did"; cp "$DIR/usr/local/bin/kubelet" "$DIR/runs"`,
		"sync":      ":",
	})
	text, err := os.ReadFile(s.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path, append([]byte("service_failed() { echo failed; exit 1; }\n"), text...), 0o600))
	const lib = "usr/local/lib/halinux/"
	for _, p := range []string{"kubeadm", "kubelet", "kubectl"} {
		s.put("usr/local/bin/"+p, "v1.35.4")
	}
	s.put(lib+"next/kubelet", "v1.36.3")
	s.put(lib+"next/kubeadm", "#!/bin/sh\necho \"kubeadm $*\" >>\"$DIR/did\"\n[ ! -e \"$DIR/kubeadm-fails\" ]\n")
	s.put(lib+"next/kubectl", `#!/bin/sh
while :; do case $1 in --kubeconfig | --request-timeout) shift 2 ;; *) break ;; esac; done
case "$*" in
"get node"*kubeletVersion*) printf '%s/True' "$(cat "$DIR/runs")" ;;
"get node"*unschedulable*) cat "$DIR/unschedulable" 2>/dev/null || : ;;
*) echo "kubectl $*" >>"$DIR/did" ;;
esac
`)
	for name, did := range map[string]string{"drain": "drain", "upgrade-snapshot": "snapshot", "etcd-members": "etcd"} {
		s.put(lib+name, "#!/bin/sh\necho \""+did+" $*\" >>\"$DIR/did\"\n[ ! -e \"$DIR/"+did+"-fails\" ]\n")
	}
	s.put("runs", "v1.35.4")
	s.put("etc/kubernetes/kubelet.conf", "")
	return s
}

func TestUpgrade(t *testing.T) {
	did := func(s hostScript) []string {
		return strings.Split(strings.TrimSpace(strings.ReplaceAll(s.file("did"), s.dir, "")), "\n")
	}
	forget := func(s hostScript) { require.NoError(t, os.Remove(filepath.Join(s.dir, "did"))) }
	good := func(s hostScript) {
		t.Helper()
		out, err := s.run()
		require.NoError(t, err, out)
		assert.Equal(t, "v1.36.3", s.file("usr/local/bin/kubelet"))
		assert.Equal(t, "v1.36.3", s.file("runs"))
		assert.Contains(t, s.file("usr/local/bin/kubeadm"), "#!/bin/sh", "the next one is there")
	}
	master := map[string]string{"host": "master1", "role": "leader", "address": "10.0.0.1", "peers": "10.0.0.2"}

	s := upgrading(t, nil)
	good(s)
	worker := []string{
		"kubeadm upgrade node --ignore-preflight-errors=SystemVerification", "drain worker1 480", "systemctl restart kubelet.service", "kubectl uncordon worker1",
	}
	assert.Equal(t, worker, did(s))
	forget(s)
	good(s)
	assert.Empty(t, s.file("did"), "a second run does nothing")

	s = upgrading(t, master)
	good(s)
	assert.Equal(t, []string{
		"etcd grow none 10.0.0.1 10.0.0.2", "snapshot master1 10.0.0.1 /var/backups/etcd 1000 0",
		"kubeadm init phase upload-config kubeadm --config /etc/kubernetes/halinux/kubeadm.yaml",
		"kubeadm upgrade apply v1.36.3 --yes --ignore-preflight-errors=SystemVerification",
		"kubectl drain master1 --ignore-daemonsets --delete-emptydir-data --timeout 480s", "systemctl restart kubelet.service", "kubectl uncordon master1",
	}, did(s))

	master["role"] = "follower"
	s = upgrading(t, master)
	good(s)
	assert.NotContains(t, s.file("did"), "snapshot")
	assert.Contains(t, s.file("did"), "kubeadm upgrade node")

	// What fails is done again, and what succeeded is not.
	master["role"] = "leader"
	for _, c := range []struct{ fails, says string }{
		{"etcd", "not now"}, {"snapshot", "no snapshot"}, {"kubeadm", "kubeadm init phase upload-config"},
	} {
		s = upgrading(t, master)
		s.put(c.fails+"-fails", "")
		out, err := s.run()
		require.Error(t, err)
		assert.Contains(t, out, c.says)
		assert.NotContains(t, s.file("did"), "drain", "nothing of the node was touched")
		assert.Equal(t, "v1.35.4", s.file("usr/local/bin/kubelet"))
		require.NoError(t, os.Remove(filepath.Join(s.dir, c.fails+"-fails")))
		good(s)
	}
	s = upgrading(t, nil)
	s.put("drain-fails", "")
	out, err := s.run()
	require.Error(t, err)
	assert.Contains(t, out, "disruption budgets")
	assert.Equal(t, "v1.35.4", s.file("runs"))
	require.NoError(t, os.Remove(filepath.Join(s.dir, "drain-fails")))
	forget(s)
	s.put("unschedulable", "true") // by the run before
	good(s)
	assert.Equal(t, worker[1:], did(s), "kubeadm has done its part, and the node is put to use again")

	s = upgrading(t, nil)
	s.put("unschedulable", "true")
	good(s)
	assert.NotContains(t, s.file("did"), "uncordon", "who took it out of use will put it back")

	// A worker that is new joins with the new programs.
	s = upgrading(t, nil)
	require.NoError(t, os.Remove(filepath.Join(s.dir, "etc/kubernetes/kubelet.conf")))
	out, err = s.run()
	require.NoError(t, err, out)
	assert.Equal(t, "v1.36.3", s.file("usr/local/bin/kubelet"))
	assert.Empty(t, s.file("did"))
}

// TestAnotherVersionIsRefused without an upgrade.
func TestAnotherVersionIsRefused(t *testing.T) {
	try := func(runs, from, role string) string {
		t.Helper()
		s := phaseOf(t, "kubernetes-preflight/converge.sh", map[string]string{
			"host": "node1", "memory": "1", "bundle": "http://127.0.0.1:1", "sums": "-", "needs": "x", "version": "v1.36.3", "from": from, "role": role,
		}, map[string]string{"hostname": "echo node1", "stat": "echo cgroup2fs"})
		text, err := os.ReadFile(s.path)
		require.NoError(t, err)
		// It asks a bundle that is none, which takes its time.
		s.put("script.sh", strings.ReplaceAll(string(text), "/usr/lib/apt/apt-helper", "false"))
		s.put("work/secrets/ca", "")
		if runs != "" {
			s.put("etc/kubernetes/kubelet.conf", "")
			s.put("usr/local/bin/kubelet", "#!/bin/sh\necho Kubernetes "+runs+"\n")
		}
		out, _ := s.run()
		return out
	}
	assert.Contains(t, try("v1.35.4", "-", "worker"), "it runs Kubernetes v1.35.4, not v1.36.3; set upgrade.from")
	assert.Contains(t, try("v1.34.2", "v1.35.4", "worker"), "it runs Kubernetes v1.34.2")
	for _, c := range [][3]string{{"v1.36.3", "-", "worker"}, {"v1.35.4", "v1.35.4", "worker"}, {"v1.36.3", "v1.35.4", "control-plane"}, {"", "-", "control-plane"}, {"", "v1.35.4", "worker"}} {
		out := try(c[0], c[1], c[2])
		assert.NotContains(t, out, "it runs Kubernetes", "%v", c)
		assert.NotContains(t, out, "no control plane yet", "%v", c)
	}
	assert.Contains(t, try("", "v1.35.4", "control-plane"), "it is no control plane yet; add it before the upgrade")
}

func TestProgramsWaitForTheUpgrade(t *testing.T) {
	a := example()
	a.Version = "v1.36.3"
	assert.Contains(t, a.programTargets(true), "files/kubernetes/v1.36.3/kubelet=/usr/local/bin/kubelet")
	a.Upgrade = &Upgrade{From: "v1.35.4"}
	targets := a.programTargets(true)
	assert.Contains(t, targets, "files/kubernetes/v1.36.3/kubelet=/usr/local/lib/halinux/next/kubelet", "the one that runs stays where it is")
	assert.Contains(t, targets, "files/etcd/v3.6.5/etcdctl=/usr/local/bin/etcdctl")
	assert.Len(t, targets, 5)
}

// TestKubeletSettings reach a kubelet that runs, and start nothing where none does.
func TestKubeletSettings(t *testing.T) {
	try := func(is, file, healthy string) (hostScript, string, error) {
		s := phaseOf(t, "kubernetes/converge.sh", map[string]string{"bundle": "x", "sums": "-", "programs": "", "images": ""}, map[string]string{
			"systemctl": `case $1 in is-active) ` + is + ` ;; restart) echo x >>"$DIR/restarted" ;; esac`,
			"curl":      healthy,
		})
		text, err := os.ReadFile(s.path)
		require.NoError(t, err)
		s.put("script.sh", "packages() { :; }\nservice() { :; }\nservice_failed() { echo \"$1 did not $2\"; exit 1; }\n"+
			"changed() { [ \"${1##*/}\" = "+file+" ]; }\n"+string(text))
		s.put("usr/local/lib/halinux/bundle", "#!/bin/sh\n")
		s.put("var/lib/kubelet/config.yaml", "")
		out, err := s.run()
		return s, out, err
	}
	s, out, err := try("true", "10-halinux.conf", "true")
	require.NoError(t, err, out)
	assert.Equal(t, "x\n", s.file("restarted"))
	s, out, err = try("false", "10-halinux.conf", "true")
	require.NoError(t, err, out)
	assert.Empty(t, s.file("restarted"), "it has not joined yet")
	s, out, err = try("true", "other", "true")
	require.NoError(t, err, out)
	assert.Empty(t, s.file("restarted"))
	_, out, err = try("true", "10-halinux.conf", "false")
	require.Error(t, err)
	assert.Contains(t, out, "kubelet.service did not accept its settings")
}
