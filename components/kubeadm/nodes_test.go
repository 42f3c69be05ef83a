package kubeadm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asked is kubectl of a cluster that answers a "get" with the file "answer" and
// notes everything else that it is asked for.
const asked = `
while :; do case $1 in --kubeconfig | --request-timeout) shift 2 ;; *) break ;; esac; done
case $1 in
get) [ ! -e "$DIR/away" ] && cat "$DIR/answer" ;;
*) printf '%s\n' "$*" >>"$DIR/asked" ;;
esac
`

func TestNodeLabels(t *testing.T) {
	for _, c := range []struct {
		name, had, want string
		labels          []string
	}{
		{"the first ones", "", `{"metadata":{"labels":{"a":"b","example.org/c":""},"annotations":{"halinux/labels":"a example.org/c"}}}`, []string{"a=b", "example.org/c="}},
		{"one leaves, one changes", "a example.org/c", `{"metadata":{"labels":{"a":"d","example.org/c":null},"annotations":{"halinux/labels":"a"}}}`, []string{"a=d"}},
		{"all leave", "a", `{"metadata":{"labels":{"a":null},"annotations":{"halinux/labels":null}}}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scriptOf(t, "phases/labels/node-labels.sh", map[string]string{"kubectl": asked})
			s.put("answer", c.had)
			out, err := s.run(append([]string{"worker1"}, c.labels...)...)
			require.NoError(t, err, out)
			assert.Equal(t, "patch node worker1 --type merge -p "+c.want+"\n", s.file("asked"))
		})
	}
	s := scriptOf(t, "phases/labels/node-labels.sh", map[string]string{"kubectl": asked})
	s.put("away", "")
	_, err := s.run("worker1", "a=b")
	require.Error(t, err)
	assert.Empty(t, s.file("asked"), "who does not know what was there takes nothing away")
}

func TestNodeTaints(t *testing.T) {
	const (
		master  = "node-role.kubernetes.io/control-plane"
		byAll   = `|{"node-role.kubernetes.io/control-plane":""}`
		kubeadm = master + "=:NoSchedule"
	)
	for _, c := range []struct {
		name, nodes, file string
		want              []string
	}{
		{"nothing to do", "worker1|x=:NoSchedule||{}\n", "", nil},
		{"it joined with them", "worker1|a=b:NoSchedule ||{}\n", "worker1 a=b:NoSchedule\n", []string{"annotate node worker1 --overwrite halinux/taints=a=b:NoSchedule"}},
		{"one more, one less, and one of somebody else", "worker1|a=b:NoSchedule x=:NoExecute |a=b:NoSchedule|{}\n", "worker1 c=:NoExecute\n", []string{
			"taint node worker1 --overwrite c=:NoExecute a:NoSchedule-", "annotate node worker1 --overwrite halinux/taints=c=:NoExecute",
		}},
		{"another value", "worker1|a=b:NoSchedule |a=b:NoSchedule|{}\n", "worker1 a=c:NoSchedule\n", []string{
			"taint node worker1 --overwrite a=c:NoSchedule", "annotate node worker1 --overwrite halinux/taints=a=c:NoSchedule",
		}},
		{"none any more, and somebody took it away", "worker1||a=b:NoSchedule|{}\n", "", []string{"annotate node worker1 --overwrite halinux/taints-"}},
		{"a control plane of its own kind", "master1|" + kubeadm + " |" + byAll + "\n", "master1 a=:NoExecute\n", []string{
			"taint node master1 --overwrite a=:NoExecute " + master + ":NoSchedule-", "annotate node master1 --overwrite halinux/taints=a=:NoExecute",
		}},
		{"a control plane like any other again", "master1|a=:NoExecute |a=:NoExecute" + byAll + "\n", "", []string{
			"taint node master1 --overwrite " + kubeadm + " a:NoExecute-", "annotate node master1 --overwrite halinux/taints-",
		}},
		{"as it is", "master1|a=:NoExecute x=y:NoSchedule |a=:NoExecute" + byAll + "\n", "master1 a=:NoExecute\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scriptOf(t, "phases/taints/node-taints.sh", map[string]string{"kubectl": asked})
			s.put("answer", c.nodes)
			s.put("file", c.file)
			out, err := s.run(filepath.Join(s.dir, "file"))
			require.NoError(t, err, out)
			want := ""
			if c.want != nil {
				want = strings.Join(c.want, "\n") + "\n"
			}
			assert.Equal(t, want, s.file("asked"))
		})
	}
	s := scriptOf(t, "phases/taints/node-taints.sh", map[string]string{"kubectl": asked})
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "away"), nil, 0o600))
	s.put("file", "worker1 a=:NoSchedule\n")
	out, err := s.run(filepath.Join(s.dir, "file"))
	require.Error(t, err)
	assert.Contains(t, out, "there is no node worker1")
}

func TestGone(t *testing.T) {
	try := func(ready, expel string) (hostScript, string, error) {
		s := phaseOf(t, "gone/converge.sh", map[string]string{"gone": "old1 old2", "address": "10.0.0.1", "peers": "10.0.0.2"}, map[string]string{"kubectl": asked})
		s.put("answer", ready)
		s.put("usr/local/lib/halinux/etcd-members", "#!/bin/sh\necho \"$*\" >>\"$DIR/told\"\n"+expel)
		out, err := s.run()
		return s, out, err
	}
	for _, ready := range []string{"Unknown", "False", ""} {
		s, out, err := try(ready, "")
		require.NoError(t, err, out)
		assert.Equal(t, "expel old1 10.0.0.1 10.0.0.2\nexpel old2 10.0.0.1 10.0.0.2\n", s.file("told"))
		assert.Equal(t, "delete node old1 --ignore-not-found --wait=false\ndelete node old2 --ignore-not-found --wait=false\n", s.file("asked"))
	}
	s, out, err := try("True", "")
	require.Error(t, err)
	assert.Contains(t, out, "old1 is ready, and not gone")
	assert.Empty(t, s.file("asked")+s.file("told"))
	s, out, err = try("Unknown", "echo it answers; exit 1")
	require.Error(t, err)
	assert.Contains(t, out, "old1 stays a member of etcd: it answers")
	assert.Empty(t, s.file("asked"))
}

// TestDrainedWorker takes a worker out of use and back, as the settings say.
func TestDrainedWorker(t *testing.T) {
	const node = `
while :; do case $1 in --kubeconfig | --request-timeout) shift 2 ;; *) break ;; esac; done
case "$1 $5" in
"get jsonpath={.metadata.annotations.halinux/drained}") cat "$DIR/note" ;;
"get jsonpath={.spec.unschedulable}") cat "$DIR/cordoned" ;;
"get "*) printf True ;;
*) printf '%s\n' "$*" >>"$DIR/asked" ;;
esac
`
	worker := func(path, note string, vars map[string]string) (hostScript, string, error) {
		vars["host"] = "worker1"
		s := phaseOf(t, path, vars, map[string]string{"kubectl": node, "nft": "echo table ip kube-proxy"})
		text, err := os.ReadFile(s.path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.path, append([]byte("service() { :; }\n"), strings.ReplaceAll(string(text), "/run/flannel/subnet.env", "/dev/null")...), 0o600))
		s.put("etc/kubernetes/kubelet.conf", "")
		s.put("var/lib/kubelet/config.yaml", "")
		s.put("usr/local/lib/halinux/drain", "#!/bin/sh\necho \"drain $*\" >>\"$DIR/asked\"\n[ ! -e \"$DIR/kept\" ]\n")
		s.put("note", note)
		s.put("cordoned", note)
		out, err := s.run()
		return s, out, err
	}
	s, out, err := worker("worker/converge.sh", "", map[string]string{"drain": "yes"})
	require.NoError(t, err, out)
	assert.Equal(t, "annotate node worker1 --overwrite halinux/drained=yes\ndrain worker1 480\n", s.file("asked"))
	s.put("kept", "")
	out, err = s.run()
	require.Error(t, err)
	assert.Contains(t, out, "not all pods have left worker1")

	s, out, err = worker("worker/converge.sh", "yes", map[string]string{})
	require.NoError(t, err, out)
	assert.Equal(t, `patch node worker1 --type merge -p {"metadata":{"annotations":{"halinux/drained":null}},"spec":{"unschedulable":null}}`+"\n", s.file("asked"))
	s, out, err = worker("worker/converge.sh", "", map[string]string{})
	require.NoError(t, err, out)
	assert.Empty(t, s.file("asked"), "what somebody has cordoned is his")

	for _, c := range []struct {
		cordoned string
		vars     map[string]string
		want     string
	}{
		{"true", map[string]string{"drain": "yes"}, ""},
		{"", map[string]string{"drain": "yes"}, "- the node takes pods, and the settings drain it\n"},
		{"", map[string]string{}, ""},
	} {
		_, out, err := worker("worker/check.sh", c.cordoned, c.vars)
		require.NoError(t, err, out)
		assert.Equal(t, c.want, out)
	}
}

// TestAControlPlaneLeaves never takes a majority with it.
func TestAControlPlaneLeaves(t *testing.T) {
	const manifest = "etc/kubernetes/manifests/etcd.yaml"
	try := func(leave string) (hostScript, string, error) {
		s := phaseOf(t, "control-plane/remove.sh", map[string]string{"host": "master2", "address": "10.0.0.2", "peers": "10.0.0.1"}, map[string]string{
			"kubectl": asked, "ss": ":", "systemctl": ":",
		})
		text, err := os.ReadFile(s.path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.path, append([]byte("no_service() { :; }\n"), text...), 0o600))
		s.put("usr/local/lib/halinux/etcd-members", "#!/bin/sh\necho \"$*\" >>\"$DIR/told\"\n"+leave)
		s.put(manifest, "")
		s.put("var/lib/etcd/member/db", "")
		out, err := s.run()
		return s, out, err
	}
	s, out, err := try("")
	require.NoError(t, err, out)
	assert.Equal(t, "leave 10.0.0.2 10.0.0.1\n", s.file("told"))
	assert.Equal(t, "delete node master2 --ignore-not-found --wait=false\n", s.file("asked"))
	assert.False(t, s.exists(manifest) || s.exists("var/lib/etcd"))

	s, out, err = try(`[ "$(wc -l <"$DIR/told")" -ge 3 ]`)
	require.NoError(t, err, "members that have just met need a moment: %s", out)
	assert.False(t, s.exists(manifest))

	s, out, err = try("echo unhealthy cluster; exit 1")
	require.Error(t, err)
	assert.Contains(t, out, "would have no majority: unhealthy cluster")
	assert.True(t, s.exists(manifest) && s.exists("var/lib/etcd/member/db"), "it stays what it is")
	assert.Empty(t, s.file("asked"))
}
