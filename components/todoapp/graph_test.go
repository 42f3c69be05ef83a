package todoapp

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/graph"
)

// sentinel is a password that may stand nowhere in plain.
const sentinel = "a password's sentinel"

const someDigest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func secret(text string) pulumi.StringInput {
	return pulumi.ToSecret(pulumi.String(text)).(pulumi.StringOutput)
}

func least() *TodoAppArgs {
	return &TodoAppArgs{
		Hosts: []string{"todo.example.net"}, IngressFrom: []string{"10.244.0.0/16"},
		Database: Database{Host: pulumi.String("db.database.svc"), Password: secret(sentinel), CA: pulumi.String("authority")},
	}
}

func example() *TodoAppArgs {
	return &TodoAppArgs{
		Namespace: "lists", Hosts: []string{"todo.example.net", "lists.example.net"}, Image: "registry.example.net/todo" + someDigest,
		Replicas: 3, Autoscale: &Autoscale{Max: 6}, CPU: "250m", CPULimit: "250m", Memory: 512,
		StorageClass: "nfs", Size: "20Gi", UploadLimit: 50, TimeZone: "Europe/Paris",
		Database: Database{
			Host: pulumi.String("db.database.svc"), Password: secret(sentinel), CA: pulumi.String("authority"),
			MigrateUser: "todo-migrate", MigratePassword: secret(sentinel + " 2"),
			Namespace: "database", Pods: map[string]string{"app.kubernetes.io/name": "galera", "app.kubernetes.io/instance": "db"},
		},
		IngressFrom: []string{"10.20.0.51/32", "10.20.0.52/32"}, TrustedProxies: []string{"10.20.0.51/32", "10.20.0.52/32", "10.244.0.0/16"},
		Metrics: []map[string]string{{"app.kubernetes.io/name": "prometheus"}},
	}
}

func run(t *testing.T, a *TodoAppArgs, opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		_, err := NewTodoApp(ctx, "todo", a, nil, opts...)
		return err
	})
}

func text(t *testing.T, a *TodoAppArgs) string {
	t.Helper()
	return graph.Text(t, run(t, a), Type)
}

func TestObjects(t *testing.T) {
	golden.Compare(t, "testdata/example.golden", text(t, example()))
	golden.Compare(t, "testdata/least.golden", text(t, least()))
}

func dependencies(r pulumi.MockResourceArgs) string {
	return strings.Join(r.RegisterRPC.GetDependencies(), " ") + " "
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), pulumi.Protect(true))
	require.Equal(t, Type, resources["todo"].TypeToken, "the component")
	for name, r := range resources {
		if r.TypeToken != Type {
			assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::todo"), name)
			assert.True(t, r.RegisterRPC.GetProtect(), "options reach %s", name)
		}
		assert.NotContains(t, fmt.Sprint(graph.Plain(resource.NewObjectProperty(r.Inputs))), "[version", "what stands for a value, in %s", name)
	}
	migrate, deployment := resources["todo-migrate"], resources["todo-deployment"]
	require.Equal(t, "kubernetes:batch/v1:Job", migrate.TypeToken)
	require.Equal(t, "kubernetes:apps/v1:Deployment", deployment.TypeToken)
	for _, before := range []string{"namespace", "account", "config", "authority", "secret", "outward", "deny"} {
		assert.Contains(t, dependencies(migrate), "::todo-"+before+" ", "the migration needs it to start")
	}
	assert.Contains(t, dependencies(deployment), "::todo-migrate ", "no pod runs before the tables are as it expects them")
	assert.Contains(t, dependencies(resources["todo-sweep"]), "::todo-migrate ")
	assert.True(t, migrate.RegisterRPC.GetDeleteBeforeReplace(), "two never run at a time")
	assert.Equal(t, []string{"spec"}, migrate.RegisterRPC.GetReplaceOnChanges(), "a Job cannot be changed")
	assert.Contains(t, deployment.RegisterRPC.GetIgnoreChanges(), "spec.replicas", "they are the autoscaler's")
	assert.NotContains(t, run(t, least()), "todo-autoscaler")
	assert.Empty(t, run(t, least())["todo-deployment"].RegisterRPC.GetIgnoreChanges())
}

func TestSecretsAreNeverPlain(t *testing.T) {
	for name, r := range run(t, example()) {
		for property, v := range r.Inputs {
			assert.NotContains(t, fmt.Sprint(graph.Plain(v)), sentinel, "%s.%s", name, property)
		}
	}
}

// An image that is built is what all three kinds of pods run, and is built in no preview.
func TestBuild(t *testing.T) {
	a := least()
	a.Build = &Build{Context: "app/todo", Name: "registry.example.net/todo:1", User: "ci", Password: secret(sentinel)}
	resources := run(t, a)
	image := resources["todo-image"]
	require.Equal(t, "docker:index/image:Image", image.TypeToken)
	inputs := graph.Plain(resource.NewObjectProperty(image.Inputs)).(map[string]any)
	assert.Equal(t, false, inputs["buildOnPreview"])
	assert.Equal(t, "registry.example.net/todo:1", inputs["imageName"])
	assert.NotContains(t, fmt.Sprint(inputs), sentinel)
	for _, name := range []string{"todo-migrate", "todo-deployment", "todo-sweep"} {
		assert.Contains(t, dependencies(resources[name]), "::todo-image ", name)
	}
	assert.NotContains(t, run(t, least()), "todo-image")
}

// Each setting is one that the program reads: a misspelled one would mean its default.
func TestSettingsAreKnown(t *testing.T) {
	source, err := os.ReadFile("../../app/todo/config/config.go")
	require.NoError(t, err)
	n, a := names{"todo", "lists"}, example()
	set := slices.Collect(maps.Keys(a.settings()))
	for _, part := range []string{"web", "migrate", "sweep"} {
		for _, e := range n.template(a, part, "serve").Spec.Containers[0].Env {
			set = append(set, strings.TrimSuffix(e.Name, "_FILE"))
		}
	}
	for _, name := range append(set, "TODO_DATABASE_ADDRESS") {
		if name != "TZ" { // which Go reads
			assert.Contains(t, string(source), "`env:\""+name+"\"`")
		}
	}
	assert.Greater(t, grace, drain+shutdown, "what is under way ends")
}

func TestQOSClass(t *testing.T) {
	for limit, want := range map[string]string{"": "Burstable", "1": "Burstable", "100m": "Guaranteed", "0.1": "Guaranteed"} {
		a := least()
		a.CPULimit = limit
		assert.Equal(t, want, string(a.qosClass()), limit)
	}
}
