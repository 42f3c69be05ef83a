package stacks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTodoIsWired is what the application is told of edge, cluster and database.
func TestTodoIsWired(t *testing.T) {
	tree := prod(t)
	c, err := Parse(tree.texts())
	require.NoError(t, err)
	hosts, _ := c.hosts()
	args := c.todo(hosts, unmadeDatabase)
	assert.Equal(t, []string{"10.20.0.51/32", "10.20.0.52/32", "10.20.0.53/32"}, args.IngressFrom, "the workers, since Flannel is host-gw")
	assert.Equal(t, append(args.IngressFrom, "10.244.0.0/16"), args.TrustedProxies)
	assert.Equal(t, "database", args.Database.Namespace)
	assert.Equal(t, map[string]string{"app.kubernetes.io/name": "galera", "app.kubernetes.io/instance": "db"}, args.Database.Pods)
	sites := c.edge(hosts, unmade).Sites
	site := sites[len(sites)-1]
	assert.Equal(t, "todo", site.Name)
	assert.Equal(t, []string{"todo.example.net"}, site.Hosts)
	assert.Len(t, site.Backends, 3, "the workers")
	assert.Equal(t, 8080, site.Backends[0].Port)
	assert.Greater(t, site.MaxBody, 20, "a file of uploadLimit gets through")

	tree.at("kubernetes")["flannel"] = map[string]any{"backend": "vxlan"}
	c, err = Parse(tree.texts())
	require.NoError(t, err)
	args = c.todo(hosts, unmadeDatabase)
	assert.Equal(t, []string{"10.244.0.0/16"}, args.IngressFrom)
	assert.Equal(t, []string{"10.244.0.0/16"}, args.TrustedProxies)
}

// TestBadTodo is TestBadInput for the application.
func TestBadTodo(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(tree)
		want  string
	}{
		"a name":           {func(c tree) { c.at("todo")["name"] = "My.Todo" }, `todo.name: "My.Todo" is not the name of a service`},
		"a key":            {func(c tree) { c.at("todo")["password"] = "x" }, "todo.password: is not a key"},
		"a secret's key":   {func(c tree) { c.at("todo", "database")["password"] = "x" }, "todo.database.password: is not a key"},
		"no cluster":       {func(c tree) { delete(c, "kubernetes") }, "todo: there is no cluster"},
		"no database":      {func(c tree) { delete(c, "database") }, "todo: there is no database"},
		"no edge":          {func(c tree) { delete(c, "edge") }, "todo: there is no edge"},
		"no controller":    {func(c tree) { c.at("kubernetes")["ingress"] = map[string]any{"off": true} }, "todo: there is no ingress controller"},
		"no digest":        {func(c tree) { c.at("todo")["image"] = "registry.example.net/todo:1" }, "todo.image: registry.example.net/todo:1 has no digest"},
		"one name for two": {func(c tree) { c.at("todo")["hosts"] = []any{"www.example.net"} }, "todo.hosts[0]: www.example.net is a name of"},
		"one site for two": {func(c tree) { c.at("todo")["name"] = "shop" }, `todo.name: "shop" is the name of sites[1] too`},
		"another zone": {func(c tree) {
			c.at("todo")["hosts"] = []any{"todo.example.org"}
			delete(c.at("todo", "site"), "certificate")
		}, "todo.hosts[0]: todo.example.org is not in the edge's zone example.net"},
		"a VIP":               {func(c tree) { c.at("todo", "site")["vips"] = []any{"none"} }, "todo.site.vips[0]: there is no VIP"},
		"a site's own name":   {func(c tree) { c.at("todo", "site")["hosts"] = []any{"a.example.net"} }, "todo.site.hosts: are those of what runs in the cluster"},
		"backends":            {func(c tree) { c.at("todo", "site")["backends"] = []any{map[string]any{"host": "app1", "port": 80}} }, "todo.site.backends: are the cluster's workers"},
		"a small body":        {func(c tree) { c.at("todo", "site")["maxBody"] = 20 }, "todo.site.maxBody: 20 MiB"},
		"a given certificate": {func(c tree) { c.at("todo", "site")["certificate"] = map[string]any{"source": "given"} }, "todo.site.certificate"},
		"no such database":    {func(c tree) { c.at("todo", "database")["name"] = "lists" }, `todo.database.name: "lists" is none`},
		"no such user":        {func(c tree) { c.at("todo", "database")["migrateUser"] = "root2" }, `todo.database.migrateUser: "root2" is none`},
		"no client":           {func(c tree) { c.at("database")["clients"] = []any{} }, "todo.database: lets no pod"},
		"local volumes":       {func(c tree) { c.at("todo")["storageClass"] = "local" }, "todo.storageClass: is of the nodes' own disks"},
		"a mode":              {func(c tree) { c.at("todo")["storageClass"] = "nfs-retain" }, "todo.storageClass: nfs-retain makes directories of mode 0770"},
	} {
		t.Run(name, func(t *testing.T) {
			c := prod(t)
			test.spoil(c)
			var got []string
			found := false
			for _, p := range problems(t, c.texts()) {
				got = append(got, p.Path+": "+p.What)
				found = found || strings.HasPrefix(p.Path+": "+p.What, test.want)
			}
			assert.True(t, found, "%s is not in %v", test.want, got)
		})
	}
}
