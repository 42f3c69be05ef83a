// Package nfsha is replicated storage: two hosts that serve NFSv4 from one
// volume, with a VIP that follows it.
//
// LVM lies on (RAID) disks, DRBD replicates one logical volume in protocol C,
// Pacemaker and Corosync decide with a third vote who serves it, and fencing
// makes certain that the other does not. XFS projects with a hard quota are
// what clients mount. What runs on a host is in phases/, as files. The package
// leaves the hosts' base system, disks and firewall to package host: it only
// says which traffic it needs ([NFSHAClusterArgs.Flows]).
//
// Not proven yet, and so not in the lab's own stack: docs/open.md lists what has
// not been seen on hosts.
package nfsha

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/stash"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:NFSHACluster"

// NFSHACluster is the storage. Its outputs are known when it serves.
type NFSHACluster struct {
	pulumi.ResourceState

	// VIP is the server's address.
	VIP pulumi.StringOutput `pulumi:"vip"`
	// Servers are the names of the storage hosts; either tells how the storage is
	// (halinux-storage status).
	Servers pulumi.StringArrayOutput `pulumi:"servers"`
	// Exports are the paths of the projects on the server, by name.
	Exports pulumi.StringMapOutput `pulumi:"exports"`
	// Mounts are "address:path" of the projects, by name.
	Mounts pulumi.StringMapOutput `pulumi:"mounts"`
	// MountOptions are those under which a failover is only a pause (nfs(5)).
	MountOptions pulumi.StringArrayOutput `pulumi:"mountOptions"`

	// Provisioner is the access of who provisions volumes: user, hosts (addresses,
	// apart by commas, of which the one that serves obeys), path (where the volumes
	// are exported) and knownHosts (the hosts' public keys, as in a file
	// known_hosts). Empty where there is none.
	Provisioner pulumi.StringMapOutput `pulumi:"provisioner"`

	// Hosts are the storage hosts and witnesses after their last phase, by name:
	// what is given to them waits for the storage.
	Hosts map[string]host.Host
}

// NewNFSHACluster makes the hosts a storage cluster.
func NewNFSHACluster(ctx *pulumi.Context, name string, args *NFSHAClusterArgs, opts ...pulumi.ResourceOption) (*NFSHACluster, error) {
	problems := args.Validate()
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := &NFSHACluster{Hosts: map[string]host.Host{}}
	if err := ctx.RegisterComponentResource(Type, name, c, opts...); err != nil {
		return nil, err
	}
	s, err := args.secrets(ctx, name, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	steps, err := plan(args, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, h := range slices.Concat(args.Hosts, args.Witnesses) {
		c.Hosts[h.Name] = h
	}
	// All hosts of a step work side by side, and each waits for all of the step
	// before.
	var before []pulumi.Resource
	for _, step := range steps {
		var done []pulumi.Resource
		for _, name_ := range step.hosts() {
			h, err := c.Hosts[name_].After(before...).Apply(ctx, name, c, step[name_])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			c.Hosts[name_] = h
			done = append(done, h.Resources()...)
		}
		before = done
	}
	return c, c.outputs(ctx, args, before)
}

// secrets are made once, kept in the state, and never shown.
func (a *NFSHAClusterArgs) secrets(ctx *pulumi.Context, name string, parent pulumi.Resource) (secrets, error) {
	var s secrets
	key := make([]byte, 192)
	rand.Read(key)
	kept, err := stash.Keep(ctx, name+"-cluster-key", base64.StdEncoding.EncodeToString(key), parent)
	if err != nil {
		return s, err
	}
	s.cluster = kept
	// The secrets of the two daemons are not one: corosync's is worth more.
	s.replication = kept.ApplyT(replicationSecret).(pulumi.StringOutput)
	made, err := newCertificates(a.name())
	if err != nil {
		return s, err
	}
	if kept, err = stash.Keep(ctx, name+"-witness-certificates", made, parent); err != nil {
		return s, err
	}
	part := func(file string) pulumi.StringInput {
		return kept.ApplyT(func(all string) (string, error) { return certificatePart(all, file) }).(pulumi.StringOutput)
	}
	s.ca, s.witness, s.node = part("ca"), part("witness"), part("node")
	s.agents = map[string]pulumi.StringInput{}
	for i, f := range a.Fencing.Agents {
		for option, value := range f.Secrets {
			// It stands in an attribute of an XML document.
			s.agents[fmt.Sprintf("%s-%s", a.agentID(i), option)] = pulumi.ToSecret(value.ToStringOutput().ApplyT(escape)).(pulumi.StringOutput)
		}
	}
	return s, nil
}

// mountOptions make a client wait for a server that is away, for as long as it
// takes: a soft mount would lose what it was writing.
var mountOptions = []string{"nfsvers=4.2", "hard", "proto=tcp", "timeo=50", "retrans=2"}

// outputs tells the rest of the program where everything is, once it is there.
func (c *NFSHACluster) outputs(ctx *pulumi.Context, a *NFSHAClusterArgs, last []pulumi.Resource) error {
	exports, mounts := map[string]string{}, map[string]string{}
	for _, p := range a.Projects {
		exports[p.Name] = a.root() + "/" + p.Name
		mounts[p.Name] = a.VIP + ":" + exports[p.Name]
	}
	later := func(m map[string]string) pulumi.StringMapOutput {
		return pulumi.OutputWithDependencies(ctx.Context(), pulumi.ToStringMap(m).ToStringMapOutput(), last...).(pulumi.StringMapOutput)
	}
	c.VIP = pulumi.OutputWithDependencies(ctx.Context(), pulumi.String(a.VIP).ToStringOutput(), last...).(pulumi.StringOutput)
	c.Servers = pulumi.OutputWithDependencies(ctx.Context(), pulumi.ToStringArray(a.hostNames()).ToStringArrayOutput(), last...).(pulumi.StringArrayOutput)
	c.Exports, c.Mounts = later(exports), later(mounts)
	access := map[string]string{}
	if a.Provisioner != nil {
		way := a.Access()
		access = map[string]string{
			"user": way.User, "hosts": strings.Join(way.Hosts, ","), "path": way.Path, "knownHosts": strings.Join(way.KnownHosts, "\n"),
		}
	}
	c.Provisioner = later(access)
	c.MountOptions = pulumi.ToStringArray(mountOptions).ToStringArrayOutput()
	return ctx.RegisterResourceOutputs(c, pulumi.Map{
		"vip": c.VIP, "servers": c.Servers, "exports": c.Exports, "mounts": c.Mounts, "mountOptions": c.MountOptions, "provisioner": c.Provisioner,
	})
}
