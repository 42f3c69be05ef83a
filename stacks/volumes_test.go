package stacks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestVolumesAreWired is what the volumes are told of storage and cluster, and the
// storage of them.
func TestVolumesAreWired(t *testing.T) {
	c, err := Parse(prod(t).texts())
	require.NoError(t, err)
	hosts, _ := c.hosts()
	args := c.volumes(hosts, unmade)
	assert.Equal(t, "10.20.0.102", args.NFS.Pool.Server)
	assert.Equal(t, "/srv/nfs/volumes", args.NFS.Pool.Path)
	assert.Contains(t, args.NFS.Pool.MountOptions, "hard")
	assert.Len(t, args.NFS.Pool.KnownHosts, 2)
	assert.Len(t, args.NFS.APIServers, 3)
	assert.Contains(t, args.NFS.APIServers[0], ":6443")
	assert.Len(t, args.Local.Hosts, len(c.controlPlaneIndexes())+len(c.workerIndexes()))
	assert.NotNil(t, c.storage(hosts).Provisioner.Key, "the storage lets the provisioner in")
	assert.Nil(t, c.Storage.Provisioner.Key, "what was read stays as it was read")
}

// TestBadVolumes is TestBadInput for the volumes.
func TestBadVolumes(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(tree)
		want  []string
	}{
		"no keys of the storage":      {func(c tree) { delete(c.at("storage", "provisioner"), "keys") }, nil},
		"no local ones":               {func(c tree) { delete(c.at("volumes"), "local") }, nil},
		"a key":                       {func(c tree) { c.at("volumes", "nfs")["server"] = "10.0.0.1" }, []string{"volumes.nfs.server: is not a key"}},
		"no provisioner":              {func(c tree) { delete(c.at("storage"), "provisioner") }, []string{"volumes.nfs: there is no storage that makes volumes"}},
		"no cluster":                  {func(c tree) { delete(c, "kubernetes") }, []string{"volumes: there is no cluster"}},
		"nothing":                     {func(c tree) { delete(c.at("volumes"), "local"); delete(c.at("volumes"), "nfs") }, []string{"volumes: there are no volumes"}},
		"a node that is not there":    {func(c tree) { c.at("volumes", "local", "volumes", 0)["node"] = "app1" }, []string{"volumes.local.volumes[0].node: app1 is not a host of the cluster"}},
		"a worker that may not mount": {func(c tree) { c.at("storage", "projects", 3)["clients"] = []any{"10.20.0.51", "worker2"} }, []string{"volumes.nfs.nodes: the worker worker3 ("}},
		"workers that may not, and have no label": {func(c tree) {
			c.at("storage", "projects", 3)["clients"] = []any{"10.20.0.51"}
			c.at("volumes", "nfs")["nodes"] = map[string]any{"example.net/nfs": "true"}
		}, nil},
		"a storage host unknown": {func(c tree) {
			delete(c.at("hosts", 5), "hostKey")
			c.at("hosts", 5)["ssh"] = map[string]any{"insecureIgnoreHostKey": true}
		}, []string{"volumes.nfs.pool.hosts[0]: no public key of"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := prod(t)
			test.spoil(c)
			if test.want == nil {
				_, err := Parse(c.texts())
				require.NoError(t, err)
				return
			}
			var got []string
			for _, p := range problems(t, c.texts()) {
				got = append(got, p.Path+": "+p.What)
			}
			require.NotEmpty(t, got)
			for _, want := range test.want {
				assert.True(t, strings.Contains("\n"+strings.Join(got, "\n"), "\n"+want), "%s\nis not in:\n%s", want, strings.Join(got, "\n"))
			}
		})
	}
}
