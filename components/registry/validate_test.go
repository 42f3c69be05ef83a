package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValidateReportsEveryProblem(t *testing.T) {
	l := example().Validate("registry")
	require.NoError(t, l.Err())
	for _, c := range []struct {
		path, what string
		spoil      func(*RegistryArgs)
	}{
		{"host", "not a whole DNS name", func(a *RegistryArgs) { a.Host = "registry" }},
		{"host", "not a whole DNS name", func(a *RegistryArgs) { a.Host = "" }},
		{"host", "not a whole DNS name", func(a *RegistryArgs) { a.Host = "Registry.example.org" }},
		{"namespace", "is not a DNS label", func(a *RegistryArgs) { a.Namespace = "Re_g" }},
		{"image", "is not an image", func(a *RegistryArgs) { a.Image = "registry:" }},
		{"image", "in this registry itself", func(a *RegistryArgs) { a.Image = a.Host + "/registry:1" }},
		{"replicas", "-1 is outside", func(a *RegistryArgs) { a.Replicas = -1 }},
		{"replicas", "10 is outside", func(a *RegistryArgs) { a.Replicas = 10 }},
		{"storageClass", "is not the name", func(a *RegistryArgs) { a.StorageClass = "N F S" }},
		{"size", "is not a size", func(a *RegistryArgs) { a.Size = "64Mi" }},
		{"size", "is not a size", func(a *RegistryArgs) { a.Size = "big" }},
		{"users", "there is none", func(a *RegistryArgs) { a.Users = nil }},
		{"users[0].name", "is not a name", func(a *RegistryArgs) { a.Users[0].Name = "a:b" }},
		{"users[1].name", "is users[0] too", func(a *RegistryArgs) { a.Users[1].Name = a.Users[0].Name }},
		{"ingressClass", "is not the name", func(a *RegistryArgs) { a.IngressClass = "A B" }},
		{"sources[0]", "is not a network", func(a *RegistryArgs) { a.Sources = []string{"10.10.0.1/24"} }},
		{"sources[0]", "is not a network", func(a *RegistryArgs) { a.Sources = []string{"all"} }},
		{"collection.schedule", "is not a schedule", func(a *RegistryArgs) { a.Collection.Schedule = "daily" }},
		{"collection.grace", "1m0s is no time", func(a *RegistryArgs) { a.Collection.Grace = time.Minute }},
		{"collection.wait", "1s is outside", func(a *RegistryArgs) { a.Collection.Wait = time.Second }},
	} {
		a := example()
		c.spoil(a)
		l := a.Validate("registry")
		found := l.All()
		if assert.Len(t, found, 1, "%s %s: %v", c.path, c.what, found) {
			assert.Equal(t, c.path, found[0].Path)
			assert.Contains(t, found[0].What, c.what)
			assert.NotEmpty(t, found[0].Remedy, c.path)
		}
	}
	for _, name := range []string{"", "Registry", "1st", strings.Repeat("x", 41)} {
		l := example().Validate(name)
		require.Len(t, l.All(), 1, "%q", name)
		assert.Equal(t, "name", l.All()[0].Path)
	}
	l = (&RegistryArgs{Replicas: 10, Size: "x"}).Validate("Registry")
	assert.Len(t, l.All(), 5, "all in one report: %v", l.All())
}
