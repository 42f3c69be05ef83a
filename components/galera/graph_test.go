package galera

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/graph"
)

// sentinel is a password that may stand nowhere in plain.
const sentinel = "a password's sentinel"

func example() *GaleraDBArgs {
	return &GaleraDBArgs{
		Namespace:    "todo",
		StorageClass: "local",
		Databases:    []Database{{Name: "todo", CharacterSet: "utf8mb4"}},
		Users: []User{{
			Name: "todo", Password: pulumi.ToSecret(pulumi.String(sentinel)).(pulumi.StringOutput),
			Grants: []Grant{{Database: "todo", Privileges: []string{"SELECT", "INSERT", "UPDATE", "DELETE"}}},
		}},
		Clients: []map[string]string{{"app.kubernetes.io/name": "todo"}},
		Metrics: []map[string]string{{"app.kubernetes.io/name": "prometheus"}},
		Backup:  &Backup{Schedule: "30 2 * * *", StorageClass: "nfs-retain"},
	}
}

func run(t *testing.T, a *GaleraDBArgs, opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		_, err := NewGaleraDB(ctx, "db", a, nil, opts...)
		return err
	})
}

func text(t *testing.T, a *GaleraDBArgs) string {
	t.Helper()
	return graph.Text(t, run(t, a), Type)
}

func TestObjects(t *testing.T) {
	golden.Compare(t, "testdata/cluster.golden", text(t, example()))
	golden.Compare(t, "testdata/least.golden", text(t, &GaleraDBArgs{Namespace: "other", Replicas: 5, Memory: 4096}))
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), pulumi.Protect(true))
	require.Equal(t, Type, resources["db"].TypeToken, "the component")
	for name, r := range resources {
		if r.TypeToken != Type {
			assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::db"), name)
			assert.True(t, r.RegisterRPC.GetProtect(), "options reach %s", name)
		}
	}
	set := resources["db-set"]
	require.Equal(t, "kubernetes:apps/v1:StatefulSet", set.TypeToken)
	dependencies := strings.Join(set.RegisterRPC.GetDependencies(), " ") + " "
	for _, before := range []string{"db-namespace", "db-nodes", "db-record", "db-config", "db-tls", "db-schema"} {
		assert.Contains(t, dependencies, "::"+before+" ", "pods need it to start")
	}
	assert.Contains(t, resources["db-record"].RegisterRPC.GetIgnoreChanges(), "data", "the nodes write it")
}

// A user without a password is given one, the same in every run.
func TestAPasswordIsMade(t *testing.T) {
	a := example()
	a.Users[0].Password = nil
	resources := run(t, a)
	require.Contains(t, resources, "db-password-todo")
	assert.Contains(t, resources["db-password-todo"].RegisterRPC.GetIgnoreChanges(), "input")
	assert.True(t, resources["db-password-todo"].Inputs.ContainsSecrets())
	made := fmt.Sprint(graph.Revealed(resources["db-password-todo"].Inputs["input"]))
	require.NoError(t, checkPassword("todo", made))
	assert.Contains(t, fmt.Sprint(graph.Revealed(resources["db-schema"].Inputs["stringData"])), made)
	assert.NotContains(t, run(t, example()), "db-password-todo", "one that was given is taken")
}

// Another generation has an authority, a certificate and a key of its own.
func TestACertificateIsMadeAnew(t *testing.T) {
	a := example()
	a.CertificateGeneration = 2
	resources := run(t, a)
	require.Contains(t, resources, "db-secrets-2")
	assert.NotContains(t, resources, "db-secrets")
	made := fmt.Sprint(graph.Revealed(resources["db-secrets-2"].Inputs["input"]))
	certificate, err := part(made, certificatePart)
	require.NoError(t, err)
	assert.Contains(t, fmt.Sprint(graph.Revealed(resources["db-tls"].Inputs["stringData"])), certificate)
}

func TestSecretsAreNeverPlain(t *testing.T) {
	for name, r := range run(t, example()) {
		for property, v := range r.Inputs {
			text := fmt.Sprint(graph.Plain(v))
			assert.NotContains(t, text, sentinel, "%s.%s", name, property)
			assert.NotContains(t, text, "PRIVATE KEY", "%s.%s", name, property)
		}
	}
}

func TestAPasswordThatMariaDBRefuses(t *testing.T) {
	for _, password := range []string{"", "short", strings.Repeat("x", 257), "line\nbreak..", "nul\x00nul...."} {
		a := example()
		a.Users[0].Password = pulumi.String(password)
		err := pulumi.RunErr(func(ctx *pulumi.Context) error {
			_, err := NewGaleraDB(ctx, "db", a, nil)
			return err
		}, pulumi.WithMocks("project", "stack", mocks{}))
		require.ErrorContains(t, err, "the password of todo", "%q", password)
	}
	require.NoError(t, checkPassword("todo", `p'a"s\s%&$ wörd`))
}

type mocks struct{}

func (mocks) NewResource(a pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	outputs := a.Inputs.Copy()
	if a.TypeToken == "pulumi:index:Stash" {
		outputs["output"] = a.Inputs["input"]
	}
	return a.Name, outputs, nil
}
func (mocks) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

func TestTheCertificateHasAllNames(t *testing.T) {
	n := names{"db", "todo"}
	all, err := newSecrets("db", n.certified(), time.Now())
	require.NoError(t, err)
	get := func(name string) *x509.Certificate {
		text, err := part(all, name)
		require.NoError(t, err)
		block, _ := pem.Decode([]byte(text))
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		return c
	}
	pool := x509.NewCertPool()
	pool.AddCert(get(caPart))
	for _, host := range append(n.peers(5), "db", "db.todo", "db.todo.svc", "db.todo.svc.cluster.local", "db-readers.todo.svc", "localhost") {
		_, err := get(certificatePart).Verify(x509.VerifyOptions{DNSName: host, Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		assert.NoError(t, err, host)
	}
	_, err = part(all, "other")
	require.Error(t, err)
}

func TestSchema(t *testing.T) {
	a := example()
	got, err := a.schema([]string{"p'a\"s\\s12"}, "of the backup")
	require.NoError(t, err)
	var s pod.Schema
	require.NoError(t, json.Unmarshal([]byte(got), &s))
	require.Len(t, s.Users, 2)
	assert.Equal(t, "p'a\"s\\s12", s.Users[0].Password)
	assert.Equal(t, backupUser, s.Users[1].Name)
}

// nodeOfBackups stands in for a node with binary logs, and what its programs do.
type nodeOfBackups struct {
	t           *testing.T
	dir, script string
}

func newNodeOfBackups(t *testing.T) nodeOfBackups {
	n := nodeOfBackups{t, t.TempDir(), ""}
	for _, d := range []string{"bin", "backup", "data"} {
		require.NoError(t, os.Mkdir(filepath.Join(n.dir, d), 0o755))
	}
	program := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(n.dir, "bin", name), []byte("#!/bin/sh\nset -eu\n[ -z \"${FAIL-}\" ] || exit 1\ncd "+n.dir+"/data\n"+text), 0o755))
	}
	program("mariadb-backup", `case "$*" in *--backup*) for a; do case $a in --target-dir=*) printf '%s\t256\t0-1-1\n' "$(tail -n 1 binlog.index | cut -c 3-)" >"${a#*=}/mariadb_backup_binlog_info" ;; esac; done ;; esac`)
	program("mariadb", `now=$(wc -l <binlog.index); echo "$LIFE $now" >"$(printf 'binlog.%06d' "$now")"; printf './binlog.%06d\n' $((now + 1)) >>binlog.index; : >"$(printf 'binlog.%06d' $((now + 1)))"`)
	n.fresh()
	n.script = filepath.Join(n.dir, "backup.sh")
	text := strings.NewReplacer("/backup", n.dir+"/backup", "/var/lib/mysql", n.dir+"/data").Replace(strings.ReplaceAll(backupScript, "/etc/galera-backup/backup.cnf", "/secret.cnf"))
	require.NoError(t, os.WriteFile(n.script, []byte(text), 0o755))
	return n
}

// fresh is the node with a new volume, whose logs begin anew.
func (n nodeOfBackups) fresh() {
	require.NoError(n.t, os.RemoveAll(filepath.Join(n.dir, "data")))
	require.NoError(n.t, os.Mkdir(filepath.Join(n.dir, "data"), 0o755))
	require.NoError(n.t, os.WriteFile(filepath.Join(n.dir, "data/binlog.index"), []byte("./binlog.000001\n"), 0o644))
	require.NoError(n.t, os.WriteFile(filepath.Join(n.dir, "data/binlog.000001"), nil, 0o644))
}

func (n nodeOfBackups) run(what string, more ...string) (string, error) {
	cmd := exec.Command("sh", n.script, what)
	cmd.Env = append([]string{"PATH=" + n.dir + "/bin:" + os.Getenv("PATH"), "BACKUP_HOST=db-2", "BACKUP_KEEP=2", "LIFE=1"}, more...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// copied are the folders of copies, or the logs in one row of them.
func (n nodeOfBackups) copied(pattern string) []string {
	found, err := filepath.Glob(filepath.Join(n.dir, "backup", pattern))
	require.NoError(n.t, err)
	for i, f := range found {
		found[i] = filepath.Base(f)
	}
	return found
}

// Copies are kept as many as asked for, and one that was cut short is none.
func TestBackupScript(t *testing.T) {
	n := newNodeOfBackups(t)
	for _, old := range []string{"20260101T000000Z", "20260102T000000Z", "20260103T000000Z", "20260104T000000Z.part"} {
		require.NoError(t, os.MkdirAll(filepath.Join(n.dir, "backup", old), 0o755))
	}
	_, err := n.run("full", "FAIL=1")
	require.Error(t, err)
	assert.Subset(t, n.copied("*"), []string{"20260101T000000Z", "20260102T000000Z", "20260103T000000Z"}, "nothing is forgotten for a copy that failed")
	out, err := n.run("full")
	require.NoError(t, err, out)
	got := n.copied("2*")
	require.Len(t, got, 2)
	assert.Equal(t, "20260103T000000Z", got[0])
	assert.NotContains(t, got[1], ".part")
	_, err = n.run("other")
	require.Error(t, err)
}

// The logs are copied without gaps from a copy on, and where they cannot be, a copy
// is made.
func TestBackupScriptCopiesLogs(t *testing.T) {
	n := newNodeOfBackups(t)
	out, err := n.run("logs")
	require.NoError(t, err)
	require.Contains(t, out, "copying all data", "there was no copy")
	first := n.copied("2*")
	require.Len(t, first, 1)
	require.Equal(t, first, n.copied("logs/*"), "a row begins with a copy")
	for range 2 {
		out, err = n.run("logs")
		require.NoError(t, err, out)
	}
	require.Equal(t, []string{"binlog.000001", "binlog.000002", "binlog.000003"}, n.copied("logs/"+first[0]+"/*"))

	// The node begins anew, and its logs get the same names.
	n.fresh()
	for range 3 {
		_, err = exec.Command("env", "LIFE=2", n.dir+"/bin/mariadb").CombinedOutput()
		require.NoError(t, err)
	}
	out, err = n.run("logs", "LIFE=2")
	require.Error(t, err)
	require.Contains(t, out, "is not an hour old", "not a copy each time that logs are to be copied")
	old := filepath.Join(n.dir, "backup", "20260101T000000Z")
	require.NoError(t, os.Rename(filepath.Join(n.dir, "backup", first[0]), old))
	require.NoError(t, os.Rename(filepath.Join(n.dir, "backup/logs", first[0]), filepath.Join(n.dir, "backup/logs/20260101T000000Z")))
	require.NoError(t, os.Chtimes(old, time.Now(), time.Now().Add(-2*time.Hour)))
	out, err = n.run("logs", "LIFE=2")
	require.NoError(t, err, out)
	rows := n.copied("logs/*")
	require.Len(t, rows, 2)
	require.Equal(t, []string{"binlog.000004"}, n.copied("logs/"+rows[1]+"/*"), "those of before the copy are not asked for")
	out, err = n.run("logs", "LIFE=2")
	require.NoError(t, err, out)
	require.Equal(t, []string{"binlog.000004", "binlog.000005"}, n.copied("logs/"+rows[1]+"/*"))

	// Another copy in the same row; what only the oldest one needs is forgotten.
	require.NoError(t, os.Rename(filepath.Join(n.dir, "backup", rows[1]), filepath.Join(n.dir, "backup/20260102T000000Z")))
	require.NoError(t, os.Rename(filepath.Join(n.dir, "backup/logs", rows[1]), filepath.Join(n.dir, "backup/logs/20260102T000000Z")))
	out, err = n.run("full", "LIFE=2")
	require.NoError(t, err, out)
	require.Equal(t, []string{"20260102T000000Z"}, n.copied("logs/*"), "the copies that are left are of this row")
	out, err = n.run("full", "LIFE=2", "BACKUP_KEEP=1")
	require.NoError(t, err, out)
	require.Equal(t, []string{"20260102T000000Z"}, n.copied("logs/*"))
	require.Empty(t, n.copied("logs/20260102T000000Z/binlog.000004"), "logs of before the only copy")
}
