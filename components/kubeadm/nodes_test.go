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
