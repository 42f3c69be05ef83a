// Package kubeadm makes hosts a Kubernetes cluster: three control planes with
// their own etcd behind the edge's VIP, and workers, by kubeadm's own phases.
//
// What runs on a host is in phases/, as files. Programs and images come from a
// bundle (package bundle). The package leaves the base system and the firewall
// to package host ([KubeadmClusterArgs.Flows] says which traffic it needs) and
// the endpoint and the way to the ingress controller to package haedge
// ([KubeadmClusterArgs.Service], [KubeadmClusterArgs.Site]).
//
// Not proven yet, and so not in the lab's own stack: docs/open.md lists what is
// missing.
package kubeadm

import (
	"fmt"
	"slices"
	"time"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/stash"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:KubeadmCluster"

// KubeadmCluster is the cluster. Its outputs are known when pods run on all nodes,
// reach each other, and find names.
type KubeadmCluster struct {
	pulumi.ResourceState

	// Endpoint is where API servers are reached, as address:port.
	Endpoint pulumi.StringOutput `pulumi:"endpoint"`
	// Kubeconfig is the administrator's, a secret.
	Kubeconfig pulumi.StringOutput `pulumi:"kubeconfig"`
	// UserKubeconfigs are those of [KubeadmClusterArgs.Users], by their names, all
	// of it a secret.
	UserKubeconfigs pulumi.StringMapOutput `pulumi:"userKubeconfigs"`
	// CACertificate is the PEM of the authority that signed the API servers'
	// certificates.
	CACertificate pulumi.StringOutput `pulumi:"caCertificate"`

	// Hosts are all hosts after their last phase, by name.
	Hosts map[string]host.Host

	name     string
	provider *kubernetes.Provider
}

// NewKubeadmCluster makes the hosts a cluster. What is wrong with the arguments
// is one *problem.Error, and nothing is registered then.
func NewKubeadmCluster(ctx *pulumi.Context, name string, args *KubeadmClusterArgs, opts ...pulumi.ResourceOption) (*KubeadmCluster, error) {
	problems := args.Validate()
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := &KubeadmCluster{Hosts: map[string]host.Host{}, name: name}
	if err := ctx.RegisterComponentResource(Type, name, c, opts...); err != nil {
		return nil, err
	}
	authorities := args.Authorities
	if authorities == nil {
		var err error
		if authorities, err = NewAuthorities(ctx, name, c); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	keys, err := args.keepKeys(ctx, name, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, err := plan(args, func(part string) pulumi.StringInput {
		if key, ok := keys[part]; ok {
			return key
		}
		return authorities.part(part)
	}, func(node string) pulumi.StringInput {
		return authorities.secrets.ApplyT(func(all string) (string, error) {
			return joinKubeconfig(args.name(), "https://"+args.Endpoint.String(), node, all)
		}).(pulumi.StringOutput)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	nodes, err := host.Gate(ctx, name, c, slices.Concat(args.ControlPlanes, args.Workers), func(h host.Host) (host.Phase, error) {
		return s.preflight[h.Name], nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, h := range nodes {
		if c.Hosts[h.Name], err = h.Apply(ctx, name, c, s.prepare[h.Name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	apply := func(h string, p []host.Phase, after []pulumi.Resource) ([]pulumi.Resource, error) {
		done, err := c.Hosts[h].After(after...).Apply(ctx, name, c, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.Hosts[h] = done
		return done.Resources(), nil
	}
	var first, before []pulumi.Resource
	if args.Restore != nil {
		if before, err = c.restore(ctx, name, args, s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, m := range s.controlPlanes {
		if len(s.readers[m.host]) == 0 {
			continue
		}
		if before, err = apply(m.host, s.readers[m.host], before); err != nil {
			return nil, err
		}
	}
	for _, m := range s.controlPlanes {
		if before, err = apply(m.host, append(s.upgrade[m.host], m.phase), before); err != nil {
			return nil, err
		}
		if first == nil {
			first = before
		}
	}
	if args.Restore != nil {
		if before, err = apply(args.Restore.Host, s.restored, before); err != nil {
			return nil, err
		}
	}
	for _, h := range args.ControlPlanes {
		if _, err = apply(h.Name, []host.Phase{s.certificates[h.Name]}, nil); err != nil {
			return nil, err
		}
	}
	if _, err = apply(args.ControlPlanes[0].Name, s.cluster, nil); err != nil {
		return nil, err
	}
	all := slices.Clone(before)
	if len(s.encryption) > 0 {
		if _, err = apply(args.ControlPlanes[0].Name, s.encryption, before); err != nil {
			return nil, err
		}
	}
	if args.Snapshots.Every > 0 {
		// Not while the next one is becoming a member.
		if err := c.snapshots(ctx, name, args, before, apply); err != nil {
			return nil, err
		}
	}
	done := map[string][]pulumi.Resource{}
	for _, h := range args.Workers {
		after := first
		if args.Upgrade != nil {
			// No kubelet may be newer than any API server.
			after = slices.Clone(before)
			for _, w := range args.before(h.Name) {
				after = append(after, done[w]...)
			}
		}
		if done[h.Name], err = apply(h.Name, append(s.upgrade[h.Name], s.workers[h.Name]), after); err != nil {
			return nil, err
		}
		all = append(all, done[h.Name]...)
	}
	for _, h := range slices.Concat(args.ControlPlanes, args.Workers) {
		p, ok := s.labels[h.Name]
		if !ok {
			continue
		}
		if _, err = apply(h.Name, []host.Phase{p}, nil); err != nil {
			return nil, err
		}
	}
	whole, err := apply(args.ControlPlanes[0].Name, append(s.taints, s.systemPods), all)
	if err != nil {
		return nil, err
	}
	users, err := c.userKubeconfigs(ctx, name, args, authorities, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, c.outputs(ctx, args, authorities, users, whole)
}

// restore stops all control planes, when all of them have said that they may be,
// and fills one with the snapshot. It returns what that is waited for by.
func (c *KubeadmCluster) restore(ctx *pulumi.Context, name string, args *KubeadmClusterArgs, s *steps) ([]pulumi.Resource, error) {
	hosts := slices.Clone(args.ControlPlanes)
	for i, h := range hosts {
		hosts[i] = c.Hosts[h.Name]
	}
	hosts, err := host.Gate(ctx, name, c, hosts, func(h host.Host) (host.Phase, error) { return s.mayRestore[h.Name], nil })
	if err != nil {
		return nil, err
	}
	var all []pulumi.Resource
	for _, h := range hosts {
		if c.Hosts[h.Name], err = h.Apply(ctx, name, c, []host.Phase{s.restore[h.Name]}); err != nil {
			return nil, err
		}
		all = append(all, c.Hosts[h.Name].Resources()...)
	}
	return all, nil
}

// snapshots has every control plane take them, and another host keep copies where
// one is named.
func (c *KubeadmCluster) snapshots(ctx *pulumi.Context, name string, args *KubeadmClusterArgs, after []pulumi.Resource,
	apply func(string, []host.Phase, []pulumi.Resource) ([]pulumi.Resource, error)) error {
	var private pulumi.StringInput
	if to := args.Snapshots.CopyTo; to != "" {
		made, err := storeKey()
		if err != nil {
			return err
		}
		key, err := stash.Keep(ctx, name+"-snapshots-key", made, c)
		if err != nil {
			return err
		}
		private = key
		p, err := args.snapshotStorePhase(key.ApplyT(storePublicKey).(pulumi.StringOutput))
		if err != nil {
			return err
		}
		if _, ok := c.Hosts[to]; !ok {
			c.Hosts[to] = args.SnapshotStore
		}
		ready, err := apply(to, []host.Phase{p}, nil)
		if err != nil {
			return err
		}
		after = append(slices.Clone(after), ready...)
	}
	for _, h := range host.Names(args.ControlPlanes) {
		p, err := args.snapshotsPhase(h, private)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := apply(h, []host.Phase{p}, after); err != nil {
			return err
		}
	}
	return nil
}

// outputs tells the rest of the program how the cluster is reached. They depend
// on the arguments and the authorities alone: no host's change ever changes them.
func (c *KubeadmCluster) outputs(ctx *pulumi.Context, a *KubeadmClusterArgs, authorities *Authorities, users pulumi.StringMapOutput, after []pulumi.Resource) error {
	later := func(o pulumi.StringOutput) pulumi.StringOutput {
		return pulumi.OutputWithDependencies(ctx.Context(), o, after...).(pulumi.StringOutput)
	}
	c.Endpoint = later(pulumi.String(a.Endpoint.String()).ToStringOutput())
	c.CACertificate = later(authorities.CA)
	c.Kubeconfig = later(authorities.secrets.ApplyT(func(all string) (string, error) {
		return adminKubeconfig(a.name(), "https://"+a.Endpoint.String(), all)
	}).(pulumi.StringOutput))
	c.UserKubeconfigs = pulumi.OutputWithDependencies(ctx.Context(), users, after...).(pulumi.StringMapOutput)
	outputs := pulumi.Map{"endpoint": c.Endpoint, "kubeconfig": c.Kubeconfig, "caCertificate": c.CACertificate}
	if len(a.Users) > 0 {
		outputs["userKubeconfigs"] = c.UserKubeconfigs
	}
	return ctx.RegisterResourceOutputs(c, outputs)
}
