package galera

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

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
	resources := run(t, a)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		r := resources[name]
		if r.TypeToken == Type {
			continue
		}
		m := map[string]any{}
		for k, v := range r.Inputs {
			m[string(k)] = graph.Plain(v)
		}
		out, err := yaml.Marshal(m)
		require.NoError(t, err)
		fmt.Fprintf(&b, "# %s %s\n%s", r.TypeToken, name, out)
	}
	return b.String()
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

// Copies are kept as many as asked for, and one that was cut short is none.
func TestBackupScript(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "mariadb-backup"), []byte("#!/bin/sh\n[ -z \"${FAIL-}\" ] || exit 1\n"), 0o755))
	backup := filepath.Join(dir, "backup")
	for _, old := range []string{"20260101T000000Z", "20260102T000000Z", "20260103T000000Z", "20260104T000000Z.part"} {
		require.NoError(t, os.MkdirAll(filepath.Join(backup, old), 0o755))
	}
	script := filepath.Join(dir, "backup.sh")
	require.NoError(t, os.WriteFile(script, []byte(strings.ReplaceAll(backupScript, "/backup", backup)), 0o755))
	start := func(more ...string) error {
		cmd := exec.Command("sh", script)
		cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "BACKUP_HOST=db-2", "BACKUP_KEEP=2"}, more...)
		return cmd.Run()
	}
	list := func() []string {
		entries, err := os.ReadDir(backup)
		require.NoError(t, err)
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	require.Error(t, start("FAIL=1"))
	assert.Subset(t, list(), []string{"20260101T000000Z", "20260102T000000Z", "20260103T000000Z"}, "nothing is forgotten for a copy that failed")
	require.NoError(t, start())
	got := list()
	require.Len(t, got, 2)
	assert.Equal(t, "20260103T000000Z", got[0])
	assert.NotContains(t, got[1], ".part")
}
