package todoapp

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValidateReportsEveryProblem(t *testing.T) {
	for _, a := range []*TodoAppArgs{example(), least()} {
		l := a.Validate("todo")
		require.NoError(t, l.Err())
	}
	for _, c := range []struct {
		path, what string
		spoil      func(*TodoAppArgs)
	}{
		{"namespace", "is not a DNS label", func(a *TodoAppArgs) { a.Namespace = "To_Do" }},
		{"hosts", "has no name", func(a *TodoAppArgs) { a.Hosts = nil }},
		{"hosts[0]", "is not a whole DNS name", func(a *TodoAppArgs) { a.Hosts[0] = "todo" }},
		{"hosts[1]", "is not a whole DNS name", func(a *TodoAppArgs) { a.Hosts[1] = "Todo.example.net" }},
		{"hosts[1]", "twice", func(a *TodoAppArgs) { a.Hosts[1] = a.Hosts[0] }},
		{"image", "is not an image", func(a *TodoAppArgs) { a.Image = "registry.example.net/todo:" }},
		{"image", "has no digest", func(a *TodoAppArgs) { a.Image = "registry.example.net/todo:1" }},
		{"image", "has no digest", func(a *TodoAppArgs) { a.Image += "0" }},
		{"image", "beside build", func(a *TodoAppArgs) { a.Build = &Build{Context: ".", Name: "registry.example.net/todo:1"} }},
		{"build.context", "is missing", func(a *TodoAppArgs) { a.Image, a.Build = "", &Build{Name: "registry.example.net/todo:1"} }},
		{"build.name", "is not a name", func(a *TodoAppArgs) { a.Image, a.Build = "", &Build{Context: ".", Name: "todo"} }},
		{"build.user", "is missing", func(a *TodoAppArgs) {
			a.Image, a.Build = "", &Build{Context: ".", Name: "registry.example.net/todo:1", User: "ci"}
		}},
		{"replicas", "1 pods", func(a *TodoAppArgs) { a.Replicas = 1 }},
		{"autoscale.max", "fewer than", func(a *TodoAppArgs) { a.Autoscale.Max = 2 }},
		{"autoscale.cpu", "5 %", func(a *TodoAppArgs) { a.Autoscale.CPU = 5 }},
		{"cpu", "is not a quantity", func(a *TodoAppArgs) { a.CPU = "much" }},
		{"cpuLimit", "is not a quantity", func(a *TodoAppArgs) { a.CPULimit = "much" }},
		{"cpuLimit", "is less than", func(a *TodoAppArgs) { a.CPULimit = "100m" }},
		{"memory", "256 MiB", func(a *TodoAppArgs) { a.Memory = 256 }},
		{"thumbnailMemory", "-1 MiB", func(a *TodoAppArgs) { a.ThumbnailMemory = -1 }},
		{"size", "is not a size", func(a *TodoAppArgs) { a.Size = "big" }},
		{"uploadLimit", "is more than the volume has", func(a *TodoAppArgs) { a.UploadLimit = 30000 }},
		{"uploadLimit", "-1 MiB", func(a *TodoAppArgs) { a.UploadLimit = -1 }},
		{"storageClass", "is not the name", func(a *TodoAppArgs) { a.StorageClass = "N F S" }},
		{"timeZone", "is none", func(a *TodoAppArgs) { a.TimeZone = "Paris" }},
		{"ingressClass", "is not the name", func(a *TodoAppArgs) { a.IngressClass = "T R" }},
		{"ingressFrom", "there is none", func(a *TodoAppArgs) { a.IngressFrom = nil }},
		{"ingressFrom[0]", "is not a network", func(a *TodoAppArgs) { a.IngressFrom[0] = "10.20.0.51" }},
		{"trustedProxies[0]", "is not a network", func(a *TodoAppArgs) { a.TrustedProxies[0] = "lan" }},
		{"metrics[0]", "has no labels", func(a *TodoAppArgs) { a.Metrics[0] = nil }},
		{"metrics[0]", "is not a label", func(a *TodoAppArgs) { a.Metrics[0] = map[string]string{"a b": "c"} }},
		{"sweep", "is not a schedule", func(a *TodoAppArgs) { a.Sweep = "daily" }},
		{"database.host", "is missing", func(a *TodoAppArgs) { a.Database.Host = nil }},
		{"database.password", "is missing", func(a *TodoAppArgs) { a.Database.Password = nil }},
		{"database.ca", "is missing", func(a *TodoAppArgs) { a.Database.CA = nil }},
		{"database.port", "is not a port", func(a *TodoAppArgs) { a.Database.Port = 70000 }},
		{"database.name", "is not the name", func(a *TodoAppArgs) { a.Database.Name = "to`do" }},
		{"database.user", "is not a name", func(a *TodoAppArgs) { a.Database.User = "a b" }},
		{"database.migrateUser", "is not a name", func(a *TodoAppArgs) { a.Database.MigrateUser = "a b" }},
		{"database.migrateUser", "is missing", func(a *TodoAppArgs) { a.Database.MigratePassword = nil }},
		{"database.namespace", "is not a DNS label", func(a *TodoAppArgs) { a.Database.Namespace = "Data_Base" }},
	} {
		a := example()
		c.spoil(a)
		l := a.Validate("todo")
		found := l.All()
		if assert.Len(t, found, 1, "%s %s: %v", c.path, c.what, found) {
			assert.Equal(t, c.path, found[0].Path)
			assert.Contains(t, found[0].What, c.what)
			assert.NotEmpty(t, found[0].Remedy, c.path)
		}
	}
	for _, name := range []string{"", "0todo", "a.b", "a-name-that-is-too-long-for-all-of-it"} {
		l := example().Validate(name)
		require.Len(t, l.All(), 1, name)
		assert.Equal(t, "name", l.All()[0].Path)
	}
}
