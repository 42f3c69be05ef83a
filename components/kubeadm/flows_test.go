package kubeadm

import (
	"slices"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
)

// TestTheEdgeTakesTheAPIServers gives the edge what the cluster says of itself.
func TestTheEdgeTakesTheAPIServers(t *testing.T) {
	a := example()
	a.Edges = []string{"edge1", "edge2"}
	edges := []host.Host{aHost("edge1", "10.10.0.11"), aHost("edge2", "10.10.0.12")}
	for _, e := range edges {
		a.Plan.Hosts = append(a.Plan.Hosts, host.PlannedHost{Name: e.Name, Links: []host.Link{{Network: "lan", Address: e.SSH.Address, Interface: "eth0"}}})
	}
	edge := &haedge.HAEdgeArgs{
		Hosts: edges, Plan: a.Plan, Network: "lan",
		VIPs:     []haedge.VIP{{Name: "internal", Address: a.Endpoint.Address, RouterID: 77}},
		Services: []haedge.Service{a.Service("internal", pulumi.String(testCA))},
		Sites:    []haedge.Site{a.Site(haedge.Site{Name: "apps", Hosts: []string{"apps.lab.halinux.test"}})},
	}
	problems := edge.Validate()
	require.NoError(t, problems.Err())

	flows := append(a.Flows(), edge.Flows()...)
	for _, f := range flows {
		problems := f.Validate(a.Plan)
		require.NoError(t, problems.Err(), f.Name)
	}
	find := func(name string) (host.Flow, bool) {
		for _, f := range flows {
			if f.Name == name {
				return f, true
			}
		}
		return host.Flow{}, false
	}
	api, ok := find("kubeadm: api")
	require.True(t, ok)
	assert.Equal(t, []string{"master1", "master2", "master3"}, api.To)
	assert.Equal(t, []string{"lan", "edge1", "edge2"}, api.From, "no list of nodes, and edges may have their link elsewhere")
	etcd, ok := find("kubeadm: etcd")
	require.True(t, ok)
	assert.Equal(t, []string{"master1", "master2", "master3"}, etcd.From, "nobody else reaches etcd")
	ingress, ok := find("kubeadm: ingress")
	require.True(t, ok)
	assert.Equal(t, []string{"edge1", "edge2"}, ingress.From, "nobody else speaks to pods without TLS")
	_, ok = find("kubeadm: vxlan")
	assert.True(t, ok)
	a.Nodes = map[string]Node{"worker1": {Drain: true}}
	assert.Equal(t, []haedge.Backend{{Host: "worker2", Port: 8080}}, a.Site(haedge.Site{}).Backends)
	assert.Contains(t, ingress.To, "worker1", "it is still a node")
	a.Flannel.Backend = "host-gw"
	for _, f := range a.Flows() {
		assert.NotEqual(t, "kubeadm: vxlan", f.Name, "host-gw has no overlay")
	}
}

// TestAnotherWorkerChangesNobodysFlows compares what each host lets in.
func TestAnotherWorkerChangesNobodysFlows(t *testing.T) {
	received := func(a *KubeadmClusterArgs, h string) []host.Flow {
		var all []host.Flow
		for _, f := range a.Flows() {
			if slices.Contains(f.To, h) {
				f.To = nil
				all = append(all, f)
			}
		}
		return all
	}
	a, grown := example(), example()
	grown.Workers = append(grown.Workers, aHost("worker9", "10.10.0.69"))
	grown.Plan.Hosts = append(grown.Plan.Hosts, host.PlannedHost{Name: "worker9", Links: []host.Link{{Network: "lan", Address: "10.10.0.69", Interface: "eth0"}}})
	for _, h := range host.Names(slices.Concat(a.ControlPlanes, a.Workers)) {
		assert.NotEmpty(t, received(a, h), h)
		assert.Equal(t, received(a, h), received(grown, h), h)
	}
	assert.Equal(t, received(a, a.Workers[0].Name), received(grown, "worker9"))
}
