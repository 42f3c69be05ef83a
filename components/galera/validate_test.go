package galera

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValidateReportsEveryProblem(t *testing.T) {
	l := example().Validate("db")
	require.NoError(t, l.Err())
	for _, c := range []struct {
		path, what string
		spoil      func(*GaleraDBArgs)
	}{
		{"namespace", "is not a DNS label", func(a *GaleraDBArgs) { a.Namespace = "To_Do" }},
		{"replicas", "4 nodes", func(a *GaleraDBArgs) { a.Replicas = 4 }},
		{"replicas", "1 nodes", func(a *GaleraDBArgs) { a.Replicas = 1 }},
		{"replicas", "7 nodes", func(a *GaleraDBArgs) { a.Replicas = 7 }},
		{"image", "is not an image", func(a *GaleraDBArgs) { a.Image = "mariadb:" }},
		{"helper", "is not an image", func(a *GaleraDBArgs) { a.Helper = "galera node" }},
		{"storageClass", "is not the name", func(a *GaleraDBArgs) { a.StorageClass = "N F S" }},
		{"size", "is not a size", func(a *GaleraDBArgs) { a.Size = "100Mi" }},
		{"size", "is not a size", func(a *GaleraDBArgs) { a.Size = "big" }},
		{"memory", "100 MiB", func(a *GaleraDBArgs) { a.Memory = 100 }},
		{"cpu", "is not a quantity", func(a *GaleraDBArgs) { a.CPU = "much" }},
		{"writeSetCache", "1 MiB", func(a *GaleraDBArgs) { a.WriteSetCache = 1 }},
		{"maxConnections", "5", func(a *GaleraDBArgs) { a.MaxConnections = 5 }},
		{"grace", "5 s", func(a *GaleraDBArgs) { a.Grace = 5 }},
		{"apiServers[0]", "is not an address", func(a *GaleraDBArgs) { a.APIServers = []string{"10.10.0.1/24"} }},
		{"clients[0]", "has no labels", func(a *GaleraDBArgs) { a.Clients[0] = nil }},
		{"certificateGeneration", "-1", func(a *GaleraDBArgs) { a.CertificateGeneration = -1 }},
		{"metrics[0]", "no labels", func(a *GaleraDBArgs) { a.Metrics = []map[string]string{{}} }},
		{"clients[0]", "is not a label", func(a *GaleraDBArgs) { a.Clients[0] = map[string]string{"a b": "c"} }},
		{"databases[1].name", "is not the name", func(a *GaleraDBArgs) { a.Databases = append(a.Databases, Database{Name: "to`do"}) }},
		{"databases[1].name", "the server's own", func(a *GaleraDBArgs) { a.Databases = append(a.Databases, Database{Name: "mysql"}) }},
		{"databases[1].name", "twice", func(a *GaleraDBArgs) { a.Databases = append(a.Databases, a.Databases[0]) }},
		{"databases[0].collation", "is none", func(a *GaleraDBArgs) { a.Databases[0].Collation = "x;" }},
		{"users[0].name", "is not a name", func(a *GaleraDBArgs) { a.Users[0].Name = "a b" }},
		{"users[0].name", "the cluster's own", func(a *GaleraDBArgs) { a.Users[0].Name = "root" }},
		{"users[1].name", "twice", func(a *GaleraDBArgs) { a.Users = append(a.Users, a.Users[0]) }},
		{"users[0].host", "is not a host", func(a *GaleraDBArgs) { a.Users[0].Host = "'" }},
		{"users[0].maxConnections", "-1", func(a *GaleraDBArgs) { a.Users[0].MaxConnections = -1 }},
		{"users[0].grants[0].database", "is none of the databases", func(a *GaleraDBArgs) { a.Users[0].Grants[0].Database = "other" }},
		{"users[0].grants[0].privileges", "there is none", func(a *GaleraDBArgs) { a.Users[0].Grants[0].Privileges = nil }},
		{"users[0].grants[0].privileges", `"SUPER" is none`, func(a *GaleraDBArgs) { a.Users[0].Grants[0].Privileges = []string{"SUPER"} }},
		{"backup.schedule", "is not a schedule", func(a *GaleraDBArgs) { a.Backup.Schedule = "daily" }},
		{"backup.logSchedule", "is not a schedule", func(a *GaleraDBArgs) { a.Backup.LogSchedule = "often" }},
		{"backup.logSchedule", "no logs", func(a *GaleraDBArgs) { a.Backup.LogSchedule, a.Backup.WithoutLogs = "* * * * *", true }},
		{"backup.storageClass", "is not the name", func(a *GaleraDBArgs) { a.Backup.StorageClass = "N F S" }},
		{"backup.size", "is not a size", func(a *GaleraDBArgs) { a.Backup.Size = "1" }},
		{"backup.keep", "-1", func(a *GaleraDBArgs) { a.Backup.Keep = -1 }},
	} {
		a := example()
		c.spoil(a)
		l := a.Validate("db")
		found := l.All()
		if assert.Len(t, found, 1, "%s %s: %v", c.path, c.what, found) {
			assert.Equal(t, c.path, found[0].Path)
			assert.Contains(t, found[0].What, c.what)
			assert.NotEmpty(t, found[0].Remedy, c.path)
		}
	}
	for _, name := range []string{"", "0db", "a.b", "a-name-that-is-much-too-long-for-all-that-is-made-of-it"} {
		l := example().Validate(name)
		require.Len(t, l.All(), 1, name)
		assert.Equal(t, "name", l.All()[0].Path)
	}
}

func TestNothingIsRegisteredForBadArguments(t *testing.T) {
	a := example()
	a.Replicas = 2
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		_, err := NewGaleraDB(ctx, "db", a, nil)
		return err
	}, pulumi.WithMocks("project", "stack", mocks{}))
	require.ErrorContains(t, err, "replicas: 2 nodes; use 3")
}
