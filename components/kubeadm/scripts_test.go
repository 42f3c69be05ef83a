package kubeadm

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostScript is a script of a phase on a host whose programs a test writes.
type hostScript struct {
	t    *testing.T
	path string
	dir  string // where the programs stand; they may keep files there
	vars string // what a phase's own script finds: variables, functions; none for a program
}

// waits is wait_for for who asks three times.
const waits = `wait_for() { shift 2; "$@" || "$@" || "$@"; }; `

// scriptOf prepares a script; programs are shell texts by name.
func scriptOf(t *testing.T, path string, programs map[string]string) hostScript {
	t.Helper()
	s := hostScript{t: t, path: path, dir: t.TempDir()}
	for name, text := range programs {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	return s
}

func (s hostScript) run(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.Command("sh", append([]string{s.path}, args...)...)
	if s.vars != "" {
		cmd = exec.Command("sh", "-c", s.vars+"\n. ./"+s.path)
	}
	cmd.Env = append(os.Environ(), "PATH="+s.dir+":"+os.Getenv("PATH"), "DIR="+s.dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s hostScript) file(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if os.IsNotExist(err) {
		return ""
	}
	require.NoError(s.t, err)
	return string(data)
}

// kubectl of a cluster whose pods and nodes are files. A pod whose name begins
// with "kept" is let go at the third request.
const kubectl = `
while :; do case $1 in --kubeconfig | --request-timeout) shift 2 ;; *) break ;; esac; done
case "$1 $2" in
"patch node") echo "$*" >>"$DIR/patched" ;;
"get pods") [ ! -e "$DIR/away" ] || exit 1; cat "$DIR/pods" ;;
"get nodes") [ ! -e "$DIR/forbidden" ] || exit 1; cat "$DIR/nodes" ;;
"create --raw")
	pod=${3%/eviction} pod=${pod##*/}
	grep -q "\"name\":\"$pod\"" || exit 9
	echo "$pod" >>"$DIR/asked"
	case $pod in kept*)
		if [ "$(grep -c "^$pod$" "$DIR/asked")" -lt 3 ]; then echo "it would violate the pod's disruption budget" >&2; exit 1; fi ;;
	esac
	grep -v "|$pod|" "$DIR/pods" >"$DIR/pods.new" || :
	mv "$DIR/pods.new" "$DIR/pods" ;;
*) echo "unexpected: $*" >&2; exit 8 ;;
esac
`

func TestDrain(t *testing.T) {
	drain := func(pods, nodes string) hostScript {
		s := scriptOf(t, "phases/worker/drain.sh", map[string]string{"kubectl": kubectl})
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "pods"), []byte(pods), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "nodes"), []byte(nodes), 0o600))
		return s
	}
	const (
		pods = "default|web|ReplicaSet||Running\ndefault|kept-1|ReplicaSet||Running\nkube-system|proxy|DaemonSet||Running\n" +
			"kube-system|static|Node|abc|Running\ndefault|done|Job||Succeeded\n"
		me    = "worker1|true||True\n"
		other = "worker2|||True\n"
	)
	s := drain(pods, me+other)
	out, err := s.run("worker1", "30")
	require.NoError(t, err, out)
	assert.Contains(t, s.file("patched"), `{"spec":{"unschedulable":true}}`)
	assert.Equal(t, []string{"web", "kept-1", "kept-1", "kept-1"}, strings.Fields(s.file("asked")), "each pod that has to leave, until it may")
	assert.Contains(t, out, "disruption budget")

	// Nobody is asked to leave when there is nowhere to go.
	for _, nodes := range []string{me, me + "worker2|true||True\n", me + "master1||NoSchedule |True\n", me + "worker2|||False\n"} {
		s = drain(pods, nodes)
		out, err = s.run("worker1", "30")
		require.NoError(t, err, out)
		assert.Empty(t, s.file("asked"), nodes)
		assert.Contains(t, out, "no other node takes pods")
	}

	// Who may not list nodes does not know of any, and that is not the same.
	s = drain(pods, me+other)
	s.put("forbidden", "")
	out, err = s.run("worker1", "30")
	require.NoError(t, err, out)
	assert.Contains(t, s.file("asked"), "web\n")

	s = drain(pods, me+other)
	s.put("away", "")
	out, err = s.run("worker1", "30")
	require.Error(t, err, "who cannot see pods does not know that there are none: %s", out)

	s = drain("default|kept-1|ReplicaSet||Running\n", me+other)
	out, err = s.run("worker1", "0")
	require.Error(t, err, "it has no time to wait for the budget")
	assert.Contains(t, out, "error: still there: default/kept-1")
}

// TestIngressIsSaidOrTakenBack runs the scripts with a cluster that answers as
// the files of a case say.
func TestIngressIsSaidOrTakenBack(t *testing.T) {
	const kubectl = `
echo "$3" >>"$DIR/calls"
[ ! -e "$DIR/cut" ] || { rm "$DIR/cut"; exit 1; }
case $3 in
diff) [ ! -e "$DIR/differs" ] ;;
get) [ ! -e "$DIR/silent" ] || exit 1; cat "$DIR/objects" ;;
esac
`
	try := func(script, wanted, objects, mark string) (string, string) {
		t.Helper()
		s := scriptOf(t, "phases/ingress/"+script+".sh", map[string]string{"kubectl": kubectl})
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "objects"), []byte(objects), 0o600))
		if mark != "" {
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, mark), nil, 0o600))
		}
		s.vars = "set -eu; place() { echo placed; }; differs() { echo \"- $*\"; }; " + waits + "wanted=" + wanted
		out, err := s.run()
		require.NoError(t, err, out)
		return out, s.file("calls")
	}
	const controller = "daemonset.apps/traefik\n"
	for _, c := range []struct{ wanted, objects, mark, says string }{
		{"yes", controller, "", ""},
		{"yes", controller, "differs", "- the ingress controller's objects in the cluster are others\n"},
		{"no", "", "", ""},
		{"no", controller, "", "- the ingress controller's objects are still in the cluster\n"},
		{"no", "", "silent", "- the ingress controller's objects are still in the cluster\n"},
	} {
		out, _ := try("check", c.wanted, c.objects, c.mark)
		assert.Equal(t, c.says, out, "%v", c)
	}
	_, calls := try("converge", "yes", "", "")
	assert.Equal(t, "apply\n", calls)
	_, calls = try("converge", "no", controller, "")
	assert.Equal(t, "delete\n", calls)
	_, calls = try("converge", "yes", "", "cut")
	assert.Equal(t, "apply\napply\n", calls, "one that was cut off is said again")
}

// TestNamesAreNotOnOneNode runs the phase in a cluster whose CoreDNS pods are where a
// case says.
func TestNamesAreNotOnOneNode(t *testing.T) {
	const kubectl = `
case "$5 $6" in
"rollout restart") echo "$7" >>"$DIR/restarted" ;;
"get pods") cat "$DIR/on" ;;
esac
`
	for on, restarted := range map[string]string{
		"master1\nmaster1\n": "deployment/coredns\n",
		"master1\nworker1\n": "",
		"master1\n":          "", // there is but one
		"":                   "",
	} {
		s := scriptOf(t, "phases/system-pods/converge.sh", map[string]string{"kubectl": kubectl})
		s.put("on", on)
		s.vars = "set -eu; say() { :; }; " + waits + "system=kube-system/deployment/coredns"
		out, err := s.run()
		require.NoError(t, err, out)
		assert.Equal(t, restarted, s.file("restarted"), on)
	}
}

func TestEtcdMembers(t *testing.T) {
	const etcdctl = `
echo "$*" >>"$DIR/calls"
case "$*" in
*10.0.0.9*) exit 1 ;;
*'member list'*) cat "$DIR/members" ;;
*10.0.0.4*) exit 1 ;;
*'endpoint health'*) [ ! -e "$DIR/sick" ] ;;
*'member promote'*) [ ! -e "$DIR/behind" ] ;;
*'member remove'*) [ ! -e "$DIR/majority" ] ;;
*) exit 8 ;;
esac
`
	const (
		one     = "1a, started, master1, https://10.0.0.1:2380, https://10.0.0.1:2379, false\n"
		two     = "2b, started, master2, https://10.0.0.2:2380, https://10.0.0.2:2379, false\n"
		learner = "2b, started, master2, https://10.0.0.2:2380, https://10.0.0.2:2379, true\n"
		dead    = "4d, started, master4, https://10.0.0.4:2380, https://10.0.0.4:2379, false\n"
		added   = "2b, unstarted, , https://10.0.0.2:2380, , true\n"
	)
	try := func(members, mark string, args ...string) (string, string, error) {
		t.Helper()
		s := scriptOf(t, "phases/control-plane/etcd-members.sh", map[string]string{"etcdctl": etcdctl})
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "members"), []byte(members), 0o600))
		if mark != "" {
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, mark), nil, 0o600))
		}
		out, err := s.run(args...)
		return out, s.file("calls"), err
	}
	for _, c := range []struct {
		name, members, mark, says string
		args                      []string
	}{
		{"a third may come", one + two, "", "", []string{"grow", "10.0.0.3", "10.0.0.1"}},
		{"the first that is asked does not answer", one + two, "", "", []string{"grow", "10.0.0.3", "10.0.0.9", "10.0.0.1"}},
		{"nobody answers", one, "", "no etcd answers", []string{"grow", "10.0.0.3", "10.0.0.9"}},
		{"one is learning", one + learner, "", "still learning", []string{"grow", "10.0.0.3", "10.0.0.1"}},
		{"one has not started", one + added, "", "has not started", []string{"grow", "10.0.0.3", "10.0.0.1"}},
		{"it is this one itself", one + added, "", "", []string{"grow", "10.0.0.2", "10.0.0.1"}},
		{"one is ill", one + two, "sick", "not all members are healthy", []string{"grow", "10.0.0.3", "10.0.0.1"}},
		{"it votes", one + two, "", "", []string{"votes", "10.0.0.2", "10.0.0.1"}},
		{"it is promoted", one + learner, "", "", []string{"votes", "10.0.0.2", "10.0.0.1"}},
		{"it is behind", one + learner, "behind", "still learning", []string{"votes", "10.0.0.2", "10.0.0.1"}},
		{"it has not started", one + added, "", "has not started", []string{"votes", "10.0.0.2", "10.0.0.1"}},
		{"it is none", one, "", "no member", []string{"votes", "10.0.0.2", "10.0.0.1"}},
		{"it leaves", one + two, "", "", []string{"leave", "10.0.0.2", "10.0.0.1"}},
		{"it has left", one, "", "", []string{"leave", "10.0.0.2", "10.0.0.1"}},
		{"nobody could be told", one + two, "", "", []string{"leave", "10.0.0.2", "10.0.0.9"}},
		{"it would take the majority with it", one + two + dead, "majority", "could not be removed: 2b", []string{"leave", "10.0.0.2", "10.0.0.1"}},
		{"it was replaced", one + two, "", "", []string{"anew", "10.0.0.2", "10.0.0.1"}},
		{"it never was one", one, "", "", []string{"anew", "10.0.0.2", "10.0.0.1"}},
		{"one is gone", one + two + dead, "", "", []string{"expel", "master4", "10.0.0.1"}},
		{"one was gone before", one + two, "", "", []string{"expel", "master4", "10.0.0.1"}},
		{"one is not gone", one + two, "", "master2 answers", []string{"expel", "master2", "10.0.0.1"}},
		{"nobody knows", one + two, "", "no etcd answers", []string{"expel", "master2", "10.0.0.9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, calls, err := try(c.members, c.mark, c.args...)
			if c.says == "" {
				require.NoError(t, err, out)
			} else {
				require.Error(t, err)
				assert.Contains(t, out, c.says)
			}
			assert.Equal(t, c.name == "it is promoted" || c.name == "it is behind", strings.Contains(calls, "member promote 2b"))
			assert.Equal(t, slices.Contains([]string{"it leaves", "it was replaced", "it would take the majority with it"}, c.name), strings.Contains(calls, "member remove 2b"))
			assert.Equal(t, c.name == "one is gone", strings.Contains(calls, "member remove 4d"))
		})
	}
}

func TestBundleScript(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("SKIP: no curl on PATH (%v)", err)
	}
	sum := func(text string) string {
		s := sha256.Sum256([]byte(text))
		return hex.EncodeToString(s[:])
	}
	content := map[string]string{"/files/a": "one\n", "/files/b": "two\n"}
	content["/SHA256SUMS"] = sum("one\n") + "  files/a\n" + sum("two\n") + "  files/b\n"
	fetched := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched[r.URL.Path]++
		text, ok := content[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	// The scratch folder of a host may be no folder of the machine's.
	s := scriptOf(t, "phases/runtime/bundle.sh", map[string]string{"mktemp": `mkdir "$DIR/work" && echo "$DIR/work"`})
	to := filepath.Join(s.dir, "a")
	run := func(args ...string) (string, error) { return s.run(append([]string{server.URL}, args...)...) }

	out, err := run("-", "files/a="+to)
	require.NoError(t, err, out)
	assert.Equal(t, "a\n", out)
	assert.Equal(t, "one\n", s.file("a"))
	out, err = run("-", "files/a="+filepath.Join(s.dir, "new/folder/a"))
	require.NoError(t, err, out)
	assert.Equal(t, "one\n", s.file("new/folder/a"), "where an upgrade puts what is next")
	delete(fetched, "/files/a")
	out, err = run("-", "files/a="+to)
	require.NoError(t, err, out)
	assert.Empty(t, out, "it is there already")
	assert.Equal(t, 0, fetched["/files/a"])

	out, err = run(sum(content["/SHA256SUMS"]), "files/a="+to)
	require.NoError(t, err, out)
	out, err = run(strings.Repeat("0", 64), "files/a="+to)
	require.Error(t, err)
	assert.Contains(t, out, "is not the one that the configuration names")

	out, err = run("-", "files/a="+to, "files/x=/x", "v2/y/manifests/1")
	require.Error(t, err)
	assert.Contains(t, out, "lacks: files/x v2/y/manifests/1", "all that is missing is said")

	content["/files/b"] = "damaged\n"
	out, err = run("-", "files/b="+filepath.Join(s.dir, "b"))
	require.Error(t, err)
	assert.Contains(t, out, "is damaged")
	assert.Empty(t, s.file("b"), "nothing damaged is left")
	assert.Empty(t, s.file("b.halinux"))

	// containerd has what was pulled, and pulls what the server has.
	const image = "registry.example/x:1"
	manifest := sum("manifest\n")
	content["/SHA256SUMS"] += manifest + "  v2/x/manifests/1\n"
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "ctr"), []byte(`#!/bin/sh
shift 3
echo "$1" >>"$DIR/asked"
case $1 in
ls)
	echo "REF TYPE DIGEST SIZE PLATFORMS LABELS"
	[ ! -s "$DIR/pulled" ] || echo "${2#name==} application/vnd.oci.image.manifest.v1+json sha256:$(cat "$DIR/pulled") 9.0 MiB linux/amd64 -" ;;
pull)
	[ -e "$DIR/served" ] || { echo "ctr: failed to resolve image" >&2; exit 1; }
	cp "$DIR/served" "$DIR/pulled" ;;
rm) rm "$DIR/pulled" ;;
esac
`), 0o755))
	serve := func(digest string) {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "served"), []byte(digest), 0o600))
	}
	out, err = run("-", "image:"+image)
	require.Error(t, err)
	assert.Contains(t, out, "cannot pull registry.example/x:1: ctr: failed to resolve image")
	serve(manifest)
	out, err = run("-", "image:"+image, "files/a="+to)
	require.NoError(t, err, out)
	assert.Equal(t, image+"\n", out)
	require.NoError(t, os.Remove(filepath.Join(s.dir, "asked")))
	out, err = run("-", "image:"+image)
	require.NoError(t, err, out)
	assert.Empty(t, out)
	assert.Equal(t, "ls\n", s.file("asked"), "it is there already")

	// Another one under this tag, here from before or on the server.
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "pulled"), []byte(sum("older\n")), 0o600))
	out, err = run("-", "image:"+image)
	require.NoError(t, err, out)
	assert.Equal(t, image+"\n", out)
	serve(sum("forged\n"))
	require.NoError(t, os.Remove(filepath.Join(s.dir, "pulled")))
	out, err = run("-", "image:"+image)
	require.Error(t, err)
	assert.Contains(t, out, "is not the image that the bundle's list means")
	assert.Empty(t, s.file("pulled"), "it does not stay")
	out, err = run("-", "image:registry.example/y:2")
	require.Error(t, err)
	assert.Contains(t, out, "lacks: v2/y/manifests/2")
}

func TestPreflight(t *testing.T) {
	if _, err := os.Stat("/usr/lib/apt/apt-helper"); err != nil {
		t.Skipf("SKIP: no apt-helper here (%v)", err)
	}
	sums := strings.Repeat("0", 64) + "  files/a\n" + strings.Repeat("1", 64) + "  v2/x/manifests/1\n"
	sum := sha256.Sum256([]byte(sums))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(sums)) }))
	defer server.Close()
	script, err := os.ReadFile("phases/kubernetes-preflight/converge.sh")
	require.NoError(t, err)
	nameserver := "10.10.0.11"
	preflight := func(vars map[string]string) (string, error) {
		t.Helper()
		all := map[string]string{"host": "node1", "memory": "1", "bundle": server.URL, "sums": "-", "needs": "files/a v2/x/manifests/1", "version": "v1.36.3", "from": "-", "role": "worker"}
		for k, v := range vars {
			all[k] = v
		}
		s := scriptOf(t, "script.sh", map[string]string{"hostname": "echo node1", "stat": "echo cgroup2fs"})
		require.NoError(t, os.MkdirAll(filepath.Join(s.dir, "work/secrets"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "work/secrets/ca"), []byte(testCA), 0o600))
		text := "set -eu\nsay() { printf '%s\\n' \"$*\"; }\nfail() { printf 'error: %s; %s\\n' \"$1\" \"$2\"; exit 1; }\nwork=$DIR/work\n"
		for k, v := range all {
			text += k + "='" + v + "'\n"
		}
		names := filepath.Join(s.dir, "resolv.conf")
		require.NoError(t, os.WriteFile(names, []byte("# of a test\nnameserver "+nameserver+"\n"), 0o600))
		s.path = filepath.Join(s.dir, "script.sh")
		text += strings.ReplaceAll(string(script), "/run/systemd/resolve/resolv.conf", names)
		require.NoError(t, os.WriteFile(s.path, []byte(text), 0o600))
		return s.run()
	}
	out, err := preflight(nil)
	require.NoError(t, err, out)
	out, err = preflight(map[string]string{"sums": hex.EncodeToString(sum[:])})
	require.NoError(t, err, out)

	out, err = preflight(map[string]string{
		"host": "node2", "memory": "999999999", "sums": strings.Repeat("a", 64), "needs": "files/a files/b v2/y/manifests/1",
	})
	require.Error(t, err)
	for _, want := range []string{
		"it calls itself node1", "MiB of memory; give it 999999999 MiB", "is not the one that the configuration names",
		"lacks: files/b v2/y/manifests/1", "error: ", "findings, nothing was changed",
	} {
		assert.Contains(t, out, want, "all of it, in one report")
	}
	out, err = preflight(map[string]string{"bundle": "http://127.0.0.1:1"})
	require.Error(t, err)
	assert.Contains(t, out, "no bundle answers at http://127.0.0.1:1")
	for _, nameserver = range []string{"127.0.0.53", "::1"} {
		out, err = preflight(nil)
		require.Error(t, err, nameserver)
		assert.Contains(t, out, "names no server but this host")
	}
}
