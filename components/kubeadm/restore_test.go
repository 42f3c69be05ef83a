package kubeadm

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// phaseOf is a script of a phase on a host whose folders and programs are a test's:
// every absolute path of the folders below is one below the host's.
func phaseOf(t *testing.T, path string, vars, programs map[string]string) hostScript {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("phases", path))
	require.NoError(t, err)
	s := scriptOf(t, "", programs)
	s.path = filepath.Join(s.dir, "script.sh")
	text := "set -eu\nsay() { printf '%s\\n' \"$*\"; }\nfail() { printf 'error: %s; %s\\n' \"$1\" \"$2\"; exit 1; }\nplace() { :; }\n" +
		"differs() { printf -- '- %s\\n' \"$*\"; }\n" +
		"wait_for() { what=$2; shift 2; for _ in 1 2 3; do \"$@\" && { say \"$what\"; return 0; }; done; return 1; }\n" +
		"here=$DIR/here work=$DIR/work\nmkdir -p \"$here\" \"$work\"\n"
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		text += fmt.Sprintf("%s='%s'\n", k, vars[k])
	}
	body := string(script)
	for _, folder := range []string{"/var/lib", "/var/backups", "/etc/kubernetes", "/usr/local/lib/halinux", "/usr/local/bin"} {
		body = strings.ReplaceAll(body, folder, s.dir+folder)
	}
	for _, folder := range []string{"/var/lib", "/var/backups/etcd", "/etc/kubernetes/manifests", "/usr/local/lib/halinux", "/usr/local/bin"} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.dir, folder), 0o755))
	}
	require.NoError(t, os.WriteFile(s.path, []byte(text+body), 0o600))
	return s
}

// put writes a file of the host.
func (s hostScript) put(name, content string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(filepath.Dir(filepath.Join(s.dir, name)), 0o755))
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o755))
}

func (s hostScript) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(s.dir, name))
	return err == nil
}

func restoreVars(more map[string]string) map[string]string {
	all := map[string]string{
		"name": "r1", "host": "master1", "address": "10.0.0.1", "peers": "10.0.0.2 10.0.0.3", "snapshot": "etcd-master1-x.db", "holder": "yes", "discard": "no",
	}
	maps.Copy(all, more)
	return all
}

func TestEtcdRestored(t *testing.T) {
	for _, c := range []struct {
		name, etcdctl string
		code          string
	}{
		{"it was done", "echo x.db", "0"},
		{"a cluster works and knows nothing of it", ":", "1"},
		{"no majority anywhere", "exit 1", "2"},
		{"the first one does not answer", "case $* in *10.0.0.1*) exit 1 ;; *get*) echo x.db ;; esac", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scriptOf(t, "phases/restore-preflight/etcd-restored.sh", map[string]string{"etcdctl": c.etcdctl})
			_, err := s.run("r1", "10.0.0.1", "10.0.0.2")
			code := "0"
			if err != nil {
				code = strings.TrimPrefix(err.Error(), "exit status ")
			}
			assert.Equal(t, c.code, code)
		})
	}
}

func TestRestorePreflight(t *testing.T) {
	const file = "var/backups/etcd/etcd-master1-x.db"
	for _, c := range []struct {
		name, says string // what it says last, or nothing where it passes
		restored   string // what etcd says of the restore
		vars       map[string]string
		prepare    func(hostScript)
	}{
		{"etcd has lost its majority", "", "2", nil, nil},
		{"etcd works", "would lose all that came after", "1", nil, nil},
		{"etcd works, with consent", "", "1", map[string]string{"discard": "yes"}, nil},
		{"etcd works since this restore has begun", "", "1", nil, func(s hostScript) { s.put("etc/kubernetes/halinux/restores/r1/stopped", "") }},
		{"it was done", "", "0", nil, func(s hostScript) { require.NoError(s.t, os.Remove(filepath.Join(s.dir, file))) }},
		{"no such snapshot", "etcd-master1-x.db is missing", "2", nil, func(s hostScript) { require.NoError(s.t, os.Remove(filepath.Join(s.dir, file))) }},
		{"another host has it", "", "2", map[string]string{"holder": "no"}, func(s hostScript) { require.NoError(s.t, os.Remove(filepath.Join(s.dir, file))) }},
		{"it is cut off", "is damaged", "2", nil, func(s hostScript) { s.put(file, aSnapshot("content")[:20]) }},
		{"its structure is none", "is damaged", "2", nil, func(s hostScript) { s.put("damaged", "") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := phaseOf(t, "restore-preflight/converge.sh", restoreVars(c.vars), map[string]string{"etcdutl": `[ ! -e "$DIR/damaged" ]`})
			s.put("usr/local/lib/halinux/etcd-restored", "#!/bin/sh\nexit "+c.restored+"\n")
			s.put(file, aSnapshot("content"))
			if c.prepare != nil {
				c.prepare(s)
			}
			out, err := s.run()
			if c.says == "" {
				require.NoError(t, err, out)
				return
			}
			require.Error(t, err)
			assert.Contains(t, out, c.says)
		})
	}
}

func TestRestore(t *testing.T) {
	const (
		manifest = "etc/kubernetes/manifests/etcd.yaml"
		state    = "etc/kubernetes/halinux/restores/r1/"
	)
	start := func(vars map[string]string) hostScript {
		s := phaseOf(t, "restore/converge.sh", restoreVars(vars), map[string]string{
			// Pods end when their manifest is gone.
			"ss":        `[ ! -e "$DIR/` + manifest + `" ] || echo LISTEN`,
			"systemctl": ":",
			"etcdutl":   `echo "$*" >>"$DIR/restores"; while [ "$1" != --data-dir ]; do shift; done; [ ! -e "$2/member" ] || exit 1; mkdir -p "$2/member"; echo new >"$2/member/db"`,
		})
		s.put("usr/local/lib/halinux/etcd-restored", "#!/bin/sh\n[ -e \"$DIR/done\" ]\n")
		s.put(manifest, "")
		s.put("var/lib/etcd/member/db", "old\n")
		return s
	}
	again := func(s hostScript) {
		t.Helper()
		out, err := s.run()
		require.NoError(t, err, out)
	}
	s := start(nil)
	again(s)
	assert.False(t, s.exists(manifest))
	assert.Equal(t, "new\n", s.file("var/lib/etcd/member/db"))
	assert.Equal(t, "old\n", s.file("var/lib/etcd.before-r1/member/db"), "what was there is kept")
	for _, word := range []string{"--initial-cluster master1=https://10.0.0.1:2380", "--initial-cluster-token halinux-r1", "--bump-revision 1000000000 --mark-compacted"} {
		assert.Contains(t, s.file("restores"), word)
	}
	// The cluster has begun anew, and somebody runs it once more before it was noted.
	s.put("var/lib/etcd/member/db", "newer\n")
	again(s)
	assert.Equal(t, "newer\n", s.file("var/lib/etcd/member/db"), "never twice")
	assert.Equal(t, 1, strings.Count(s.file("restores"), "\n"))

	// Cut short before and after what was there was put aside, and before the mark.
	s = start(nil)
	s.put("var/lib/etcd.restoring/member/half", "")
	require.NoError(t, os.Rename(filepath.Join(s.dir, "var/lib/etcd"), filepath.Join(s.dir, "var/lib/etcd.before-r1")))
	again(s)
	assert.Equal(t, "old\n", s.file("var/lib/etcd.before-r1/member/db"))
	require.NoError(t, os.Remove(filepath.Join(s.dir, state+"filled")))
	again(s)
	assert.Equal(t, "new\n", s.file("var/lib/etcd/member/db"))
	assert.Equal(t, "old\n", s.file("var/lib/etcd.before-r1/member/db"))

	s = start(map[string]string{"holder": "no"})
	again(s)
	assert.False(t, s.exists("var/lib/etcd"), "it becomes a member of the one that has the snapshot")
	assert.Empty(t, s.file("restores"))

	s = start(nil)
	s.put("done", "")
	again(s)
	assert.True(t, s.exists(manifest), "a cluster that knows the restore is left alone")
	assert.Equal(t, "old\n", s.file("var/lib/etcd/member/db"))
}
