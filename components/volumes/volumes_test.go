package volumes

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/tests/golden"
	"github.com/halinux/halinux/tests/graph"
)

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEifqgANOTZ7vHIzPd7wuUQcS7vlGsgKQkl3eh34oJyx"

func aHost(name, address string) host.Host {
	return host.Host{Name: name, SSH: host.SSH{Address: address, HostKey: hostKey}}
}

// example is a cluster with both kinds of volumes.
func example() *VolumesArgs {
	return &VolumesArgs{
		NFS: &NFS{
			Pool: Pool{
				Server: "10.10.0.102", Path: "/srv/nfs/volumes", MountOptions: []string{"nfsvers=4.2", "hard", "proto=tcp", "timeo=50", "retrans=2"},
				Hosts: []string{"10.10.0.31", "10.10.0.32:2222"}, KnownHosts: []string{"10.10.0.31 " + hostKey, "[10.10.0.32]:2222 " + hostKey},
				User: "halinux-volumes", MiB: 40960,
			},
			Key:        pulumi.ToSecret(pulumi.String("sentinel-key")).(pulumi.StringOutput),
			Classes:    []Class{{Name: "nfs", Default: true}, {Name: "nfs-retain", Retain: true, Mode: "0770"}},
			Nodes:      map[string]string{"example.org/nfs": "true"},
			APIServers: []string{"10.10.0.51", "10.10.0.52:6443"},
		},
		Local: &Local{
			Hosts: []host.Host{aHost("worker1", "10.10.0.61"), aHost("worker2", "10.10.0.62"), aHost("worker3", "10.10.0.63")},
			Volumes: []LocalVolume{
				{Node: "worker1", Path: "/var/lib/volumes/database", Size: 20480}, {Node: "worker2", Path: "/var/lib/volumes/database", Size: 20480},
				{Node: "worker1", Path: "/var/lib/volumes/other", Size: 1024},
			},
		},
	}
}

// provider is that of a cluster.
type provider struct{ pulumi.ProviderResourceState }

func run(t *testing.T, a *VolumesArgs, more func(*Volumes), opts ...pulumi.ResourceOption) map[string]pulumi.MockResourceArgs {
	t.Helper()
	return graph.Of(t, func(ctx *pulumi.Context) error {
		p := &provider{}
		if err := ctx.RegisterResource("pulumi:providers:kubernetes", "cluster", pulumi.Map{}, p); err != nil {
			return err
		}
		v, err := NewVolumes(ctx, "volumes", a, p, opts...)
		if err == nil && more != nil {
			more(v)
		}
		return err
	})
}

func TestGraph(t *testing.T) {
	resources := run(t, example(), nil, pulumi.Protect(true))
	require.Equal(t, Type, resources["volumes"].TypeToken)
	for name, r := range resources {
		if name == "volumes" || name == "cluster" {
			continue
		}
		assert.True(t, strings.HasSuffix(r.RegisterRPC.GetParent(), Type+"::volumes"), name)
		assert.True(t, r.RegisterRPC.GetProtect(), "options reach %s", name)
		if strings.HasPrefix(r.TypeToken, "kubernetes:") {
			assert.Contains(t, r.Provider, "::cluster::", "%s is in that cluster", name)
		}
	}
	waits := func(name, before string) {
		t.Helper()
		r, ok := resources["volumes-"+name]
		require.True(t, ok, "%s is missing", name)
		assert.Contains(t, strings.Join(r.RegisterRPC.GetDependencies(), " ")+" ", "::volumes-"+before+" ", "%s waits for %s", name, before)
	}
	for _, name := range []string{"account", "role", "role-binding", "network-policy", "known-hosts", "secret", "budget"} {
		waits(name, "namespace")
		waits("deployment", name)
	}
	waits("deployment", "cluster-role-binding")
	waits("class-nfs", "deployment")
	waits("class-nfs-retain", "deployment")
	waits("local-worker1-cfeeb8a5", "worker1-local-volumes")
	assert.NotContains(t, strings.Join(resources["volumes-local-worker1-cfeeb8a5"].RegisterRPC.GetDependencies(), " "), "worker2", "a node waits for no other")
	assert.NotContains(t, resources, "volumes-worker3-local-volumes", "it has none")
}

// TestEndWithTheCluster is objects that nobody takes out of a cluster that goes, and
// directories that are taken off their hosts all the same.
func TestEndWithTheCluster(t *testing.T) {
	resources := graph.Of(t, func(ctx *pulumi.Context) error {
		p := &provider{}
		if err := ctx.RegisterResource("pulumi:providers:kubernetes", "cluster", pulumi.Map{}, p); err != nil {
			return err
		}
		_, err := NewVolumes(ctx, "volumes", example(), p, pulumi.DeletedWith(p))
		return err
	})
	for name, r := range resources {
		if strings.HasPrefix(r.TypeToken, "kubernetes:") {
			assert.Contains(t, r.RegisterRPC.GetDeletedWith(), "::cluster", name)
		} else if name != "volumes" {
			assert.Empty(t, r.RegisterRPC.GetDeletedWith(), name)
		}
	}
}

func TestOneKindAlone(t *testing.T) {
	a := example()
	a.Local, a.NFS.AllowInline = nil, true
	for name := range run(t, a, nil) {
		assert.NotContains(t, name, "local")
		assert.NotContains(t, name, "volumes-policy")
	}
	a = example()
	a.NFS, a.Local.Hosts = nil, nil
	resources := run(t, a, nil)
	assert.Contains(t, resources, "volumes-class-local")
	assert.NotContains(t, resources, "volumes-deployment")
	for name, r := range resources {
		assert.NotEqual(t, "command:remote:Command", r.TypeToken, "%s: the directories are there already", name)
	}
}

// TestObjects shows what is put into the cluster.
func TestObjects(t *testing.T) {
	resources := run(t, example(), nil)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		r := resources[name]
		if !strings.HasPrefix(r.TypeToken, "kubernetes:") {
			continue
		}
		text, err := json.MarshalIndent(graph.Plain(resource.NewObjectProperty(r.Inputs)), "", "  ")
		require.NoError(t, err)
		fmt.Fprintf(&b, "--- %s %s\n%s\n", name, r.TypeToken, text)
	}
	golden.Compare(t, "testdata/objects.golden", b.String())
}

func TestSecretsAreNeverPlain(t *testing.T) {
	found := false
	for name, r := range run(t, example(), nil) {
		for property, v := range r.Inputs {
			if v.ContainsSecrets() {
				found = true
				continue
			}
			assert.NotContains(t, v.String(), "sentinel", "%s.%s", name, property)
		}
	}
	assert.True(t, found)
}

func TestOutputs(t *testing.T) {
	var wg sync.WaitGroup
	run(t, example(), func(v *Volumes) {
		wg.Add(1)
		pulumi.All(v.Classes, v.LocalClass).ApplyT(func(v []any) error {
			defer wg.Done()
			assert.Equal(t, []string{"nfs", "nfs-retain"}, v[0])
			assert.Equal(t, "local", v[1])
			return nil
		})
	})
	wg.Wait()
}

// TestKey is both halves of the key that the program makes.
func TestKey(t *testing.T) {
	var wg sync.WaitGroup
	graph.Of(t, func(ctx *pulumi.Context) error {
		k, err := NewKey(ctx, "volumes", nil)
		if err != nil {
			return err
		}
		wg.Add(1)
		pulumi.All(k.Private, k.Public).ApplyT(func(v []any) error {
			defer wg.Done()
			assert.Contains(t, v[0], "BEGIN OPENSSH PRIVATE KEY")
			assert.Regexp(t, `^ssh-ed25519 \S+$`, v[1])
			return nil
		})
		return nil
	})
	wg.Wait()
}

// TestAChangeOfTheListMovesNothing is a volume that keeps its name wherever it
// stands.
func TestAChangeOfTheListMovesNothing(t *testing.T) {
	a := example()
	before := run(t, a, nil)
	slices.Reverse(a.Local.Volumes)
	a.Local.Volumes = append(a.Local.Volumes, LocalVolume{Node: "worker3", Path: "/srv/new/one", Size: 1})
	after := run(t, a, nil)
	for name := range before {
		assert.Contains(t, after, name)
	}
}

func TestValidate(t *testing.T) {
	l := example().Validate()
	require.NoError(t, l.Err())
	for name, test := range map[string]struct {
		spoil func(*VolumesArgs)
		want  []string
	}{
		"nothing":          {func(a *VolumesArgs) { a.NFS, a.Local = nil, nil }, []string{": there are no volumes"}},
		"no address":       {func(a *VolumesArgs) { a.NFS.Pool.Server = "nfs.example.org" }, []string{`nfs.pool.server: "nfs.example.org" is not an IP address`}},
		"no path":          {func(a *VolumesArgs) { a.NFS.Pool.Path = "/srv/../x" }, []string{`nfs.pool.path: "/srv/../x" is not the path`}},
		"a soft mount":     {func(a *VolumesArgs) { a.NFS.Pool.MountOptions[1] = "soft" }, []string{`nfs.pool.mountOptions[1]: "soft" cannot be used`}},
		"two options":      {func(a *VolumesArgs) { a.NFS.Pool.MountOptions[1] = "hard,ro" }, []string{`nfs.pool.mountOptions[1]: "hard,ro"`}},
		"no hosts":         {func(a *VolumesArgs) { a.NFS.Pool.Hosts = nil }, []string{"nfs.pool.hosts: there is none"}},
		"a host by name":   {func(a *VolumesArgs) { a.NFS.Pool.Hosts[0] = "store1" }, []string{`nfs.pool.hosts[0]: "store1" is not an address`}},
		"a host unknown":   {func(a *VolumesArgs) { a.NFS.Pool.Hosts[0] = "10.10.0.33" }, []string{"nfs.pool.hosts[0]: no public key of 10.10.0.33"}},
		"its other port":   {func(a *VolumesArgs) { a.NFS.Pool.Hosts[1] = "10.10.0.32:22" }, []string{"nfs.pool.hosts[1]: no public key of 10.10.0.32:22"}},
		"no line of keys":  {func(a *VolumesArgs) { a.NFS.Pool.KnownHosts[0] = hostKey }, []string{"nfs.pool.knownHosts[0]: is not one line", "nfs.pool.hosts[0]: no public key"}},
		"no user":          {func(a *VolumesArgs) { a.NFS.Pool.User = "" }, []string{`nfs.pool.user: "" is not a user`}},
		"no key":           {func(a *VolumesArgs) { a.NFS.Key = nil }, []string{"nfs.key: is missing"}},
		"no classes":       {func(a *VolumesArgs) { a.NFS.Classes = []Class{} }, []string{"nfs.classes: there is none"}},
		"a class's name":   {func(a *VolumesArgs) { a.NFS.Classes[0].Name = "NFS" }, []string{`nfs.classes[0].name: "NFS" is not`}},
		"one class twice":  {func(a *VolumesArgs) { a.NFS.Classes[1].Name = "nfs" }, []string{"nfs.classes[1].name: nfs is classes[0] too"}},
		"a mode":           {func(a *VolumesArgs) { a.NFS.Classes[1].Mode = "rwx" }, []string{`nfs.classes[1].mode: "rwx" is not a mode`}},
		"two defaults":     {func(a *VolumesArgs) { a.NFS.Classes[1].Default = true }, []string{"nfs.classes[1].default: classes[0] is it already"}},
		"a label":          {func(a *VolumesArgs) { a.NFS.Nodes["a b"] = "c" }, []string{"nfs.nodes: a b=c is not a label"}},
		"an API server":    {func(a *VolumesArgs) { a.NFS.APIServers[0] = "master1" }, []string{`nfs.apiServers[0]: "master1" is not an address`}},
		"a namespace":      {func(a *VolumesArgs) { a.NFS.Namespace = "a.b" }, []string{`nfs.namespace: "a.b" is not a name`}},
		"an image":         {func(a *VolumesArgs) { a.NFS.Image = "a b" }, []string{`nfs.image: "a b" is not`}},
		"replicas":         {func(a *VolumesArgs) { a.NFS.Replicas = 6 }, []string{"nfs.replicas: 6 is outside"}},
		"no directories":   {func(a *VolumesArgs) { a.Local.Volumes = nil }, []string{"local.volumes: there is none"}},
		"the same class":   {func(a *VolumesArgs) { a.Local.Class = "nfs" }, []string{"local.class: nfs is one of nfs.classes too"}},
		"a local class":    {func(a *VolumesArgs) { a.Local.Class = "L" }, []string{`local.class: "L" is not`}},
		"a node":           {func(a *VolumesArgs) { a.Local.Volumes[0].Node = "" }, []string{`local.volumes[0].node: "" is not the name of a node`}},
		"a node elsewhere": {func(a *VolumesArgs) { a.Local.Volumes[0].Node = "worker9" }, []string{"local.volumes[0].node: worker9 is not a host"}},
		"the root":         {func(a *VolumesArgs) { a.Local.Volumes[0].Path = "/srv" }, []string{`local.volumes[0].path: "/srv" is not a path`}},
		"a dotted path":    {func(a *VolumesArgs) { a.Local.Volumes[0].Path = "/srv/a/.." }, []string{`local.volumes[0].path: "/srv/a/.." is not a path`}},
		"one in another":   {func(a *VolumesArgs) { a.Local.Volumes[2].Path = "/var/lib/volumes/database/x" }, []string{"local.volumes[2].path: /var/lib/volumes/database/x is within volumes[0]"}},
		"no size":          {func(a *VolumesArgs) { a.Local.Volumes[0].Size = 0 }, []string{"local.volumes[0].size: 0 MiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := example()
			test.spoil(a)
			l := a.Validate()
			var got []string
			for _, p := range l.All() {
				got = append(got, p.Path+": "+p.What)
			}
			require.Len(t, got, len(test.want), strings.Join(got, "\n"))
			for i, want := range test.want {
				assert.True(t, strings.HasPrefix(got[i], want), "%s\nis not: %s", got[i], want)
			}
		})
	}
	_, err := newVolumesIn(t, &VolumesArgs{NFS: &NFS{}})
	require.ErrorContains(t, err, "nothing was touched")
}

// newVolumesIn is what NewVolumes says to arguments.
func newVolumesIn(t *testing.T, a *VolumesArgs) (v *Volumes, err error) {
	t.Helper()
	resources := graph.Of(t, func(ctx *pulumi.Context) error {
		v, err = NewVolumes(ctx, "volumes", a, nil)
		return nil
	})
	assert.Empty(t, resources)
	return v, err
}
