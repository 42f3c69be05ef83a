// Command edge-only is a stack of its own that takes one component of halinux:
// two hosts, whose base system is somebody else's matter, become the entrance
// to an API.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
)

func main() { pulumi.Run(program) }

func program(ctx *pulumi.Context) error {
	// The public keys of the hosts, by name: see Pulumi.dev.yaml.
	var hostKeys map[string]string
	config.RequireObject(ctx, "hostKeys", &hostKeys)

	// What the component must know of the addresses: its own hosts', and those
	// of the servers behind it.
	plan := host.AddressPlan{
		Domain:   "example.net",
		Networks: []host.Network{{Name: "lan", CIDR: "10.40.0.0/24"}},
		Hosts: []host.PlannedHost{
			{Name: "lb1", Links: []host.Link{{Network: "lan", Address: "10.40.0.11", Interface: "eth0"}}},
			{Name: "lb2", Links: []host.Link{{Network: "lan", Address: "10.40.0.12", Interface: "eth0"}}},
		},
	}
	// The firewall of these hosts is not the component's: what it needs open is
	// what HAEdgeArgs.Flows returns.
	edge, err := haedge.NewHAEdge(ctx, "edge", &haedge.HAEdgeArgs{
		Hosts: []host.Host{
			{Name: "lb1", SSH: host.SSH{Address: "10.40.0.11", HostKey: hostKeys["lb1"]}},
			{Name: "lb2", SSH: host.SSH{Address: "10.40.0.12", HostKey: hostKeys["lb2"]}},
		},
		Plan:    plan,
		Network: "lan",
		VIPs:    []haedge.VIP{{Name: "api", Address: "10.40.0.100", RouterID: 61}},
		Services: []haedge.Service{{
			Name: "api", Port: 6443,
			Check:    haedge.ServiceCheck{Type: "http", Port: 8080, Path: "/readyz"},
			Backends: []haedge.Backend{{Address: "10.40.0.21", Port: 6443}, {Address: "10.40.0.22", Port: 6443}},
		}},
	})
	if err != nil {
		return err
	}

	// The value is known in a preview; who uses it waits until the edge serves.
	ctx.Export("endpoint", edge.Endpoints.MapIndex(pulumi.String("api")))
	return nil
}
