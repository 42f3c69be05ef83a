package stacks

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDatabaseIsWired is what the database is told of the cluster and its volumes.
func TestDatabaseIsWired(t *testing.T) {
	tree := prod(t)
	delete(tree.at("database"), "storageClass")
	delete(tree.at("database"), "name")
	c, err := Parse(tree.texts())
	require.NoError(t, err)
	hosts, _ := c.hosts()
	name, args := c.database(hosts)
	assert.Equal(t, "db", name)
	assert.Equal(t, "local", args.StorageClass, "local volumes, where there are any")
	assert.Len(t, args.APIServers, 3)
	assert.Empty(t, c.Database.APIServers, "what was read stays as it was read")
}

// TestBadDatabase is TestBadInput for the database.
func TestBadDatabase(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(tree)
		want  []string
	}{
		"an even number":    {func(c tree) { c.at("database")["replicas"] = 4 }, []string{"database.replicas: 4 nodes", "database.storageClass: local has 3 volumes for 4"}},
		"a name":            {func(c tree) { c.at("database")["name"] = "My.DB" }, []string{`database.name: "My.DB" is not the name of a service`}},
		"a key":             {func(c tree) { c.at("database")["password"] = "x" }, []string{"database.password: is not a key"}},
		"no cluster":        {func(c tree) { delete(c, "kubernetes") }, []string{"database: there is no cluster"}},
		"on NFS":            {func(c tree) { c.at("database")["storageClass"] = "nfs" }, []string{"database.storageClass: is on NFS"}},
		"on NFS by default": {func(c tree) { delete(c.at("volumes"), "local"); delete(c.at("database"), "storageClass") }, []string{"database.storageClass: is on NFS"}},
		"too many nodes":    {func(c tree) { c.at("database")["replicas"] = 5 }, []string{"database.storageClass: local has 3 volumes for 5 nodes"}},
		"a grant":           {func(c tree) { c.at("database")["databases"] = []any{} }, []string{`database.users[0].grants[0].database: "todo" is none`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := prod(t)
			test.spoil(c)
			var got []string
			for _, p := range problems(t, c.texts()) {
				got = append(got, p.Path+": "+p.What)
			}
			for _, want := range test.want {
				assert.Condition(t, func() bool {
					for _, g := range got {
						if len(g) >= len(want) && g[:len(want)] == want {
							return true
						}
					}
					return false
				}, "%s is not in %v", want, got)
			}
		})
	}
}
