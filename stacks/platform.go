package stacks

import (
	"context"
	"maps"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/galera"
	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm"
	"github.com/halinux/halinux/components/nfsha"
	"github.com/halinux/halinux/components/registry"
	"github.com/halinux/halinux/components/todoapp"
	"github.com/halinux/halinux/components/volumes"
)

// probeTimeout is how long a look at one host may take before it is unknown.
const probeTimeout = 30 * time.Second

// Probe looks at all hosts of a configuration at once.
func Probe(ctx context.Context, c *Config) []host.Host {
	hosts, _ := c.hosts()
	return host.Probe(ctx, hosts, probeTimeout)
}

// Preflight asks all hosts of a configuration at once whether they are what
// the platform needs, before anything is changed. Only this way are hosts
// compared with each other and with the controller (machine ids, clocks); each
// host's own phase of this name asks the rest again.
func Preflight(ctx context.Context, c *Config) (host.Report, error) {
	hosts, _ := c.hosts()
	args, _ := c.base(hosts)
	return host.Preflight(ctx, args, probeTimeout)
}

// Platform is the Pulumi program: it reads the configuration, reports all that
// is wrong with it at once, and builds the platform layer by layer.
func Platform(ctx *pulumi.Context) error {
	c, err := Load(ctx)
	if err != nil {
		return err
	}
	hosts, _ := c.hosts()
	if c.Drift == "detect" {
		hosts = Probe(context.Background(), c)
		for _, h := range hosts {
			if h.Drift.Err != nil {
				_ = ctx.Log.Warn("drift unknown: "+h.Drift.Err.Error(), nil)
			}
		}
	}
	baseArgs, _ := c.base(hosts)
	base, err := host.NewBase(ctx, "base", baseArgs)
	if err != nil {
		return err
	}
	ctx.Export("addresses", base.Addresses)

	// Each host as the component before has left it.
	current := maps.Clone(base.Hosts)
	at := func(hosts []host.Host) {
		for i, h := range hosts {
			hosts[i] = current[h.Name]
		}
	}
	// The edge asks API servers by TLS, before there is any.
	var authorities *kubeadm.Authorities
	var kubernetesCA pulumi.StringInput
	if c.Kubernetes != nil {
		if authorities, err = kubeadm.NewAuthorities(ctx, "kubernetes", nil); err != nil {
			return err
		}
		kubernetesCA = authorities.CA
	}
	var edge *haedge.HAEdge
	edgeArgs := c.edge(hosts, kubernetesCA)
	if edgeArgs != nil {
		at(edgeArgs.Hosts)
		if edge, err = haedge.NewHAEdge(ctx, "edge", edgeArgs); err != nil {
			return err
		}
		maps.Copy(current, edge.Hosts)
		ctx.Export("vips", edge.VIPs)
		ctx.Export("publicVips", edge.PublicVIPs)
		ctx.Export("dnsServers", edge.DNSServers)
		ctx.Export("endpoints", edge.Endpoints)
		ctx.Export("siteUrls", edge.SiteURLs)
		ctx.Export("caCertificate", edge.CACertificate)
	}

	// Storage and cluster each get their half.
	var key *volumes.Key
	if c.Volumes != nil && c.Volumes.NFS != nil {
		if key, err = volumes.NewKey(ctx, "volumes", nil); err != nil {
			return err
		}
	}
	var served []pulumi.Resource
	if storageArgs := c.storage(hosts); storageArgs != nil {
		at(storageArgs.Hosts)
		at(storageArgs.Witnesses)
		if key != nil {
			storageArgs.Provisioner.Key = key.Public
		}
		storage, err := nfsha.NewNFSHACluster(ctx, "storage", storageArgs)
		if err != nil {
			return err
		}
		served = append(served, storage)
		maps.Copy(current, storage.Hosts)
		ctx.Export("storageVip", storage.VIP)
		ctx.Export("storageHosts", storage.Servers)
		ctx.Export("storageExports", storage.Exports)
		ctx.Export("storageMounts", storage.Mounts)
		ctx.Export("storageMountOptions", storage.MountOptions)
		ctx.Export("storageProvisioner", storage.Provisioner)
	}

	if edge != nil && edgeArgs.DNS != nil {
		resolver, err := host.NewResolver(ctx, "resolver", c.resolver(baseArgs, current, edge))
		if err != nil {
			return err
		}
		maps.Copy(current, resolver.Hosts)
	}

	// After the resolver: pods are given their node's name servers as they start.
	if clusterArgs := c.kubernetes(hosts); clusterArgs != nil {
		clusterArgs.Authorities = authorities
		at(clusterArgs.ControlPlanes)
		at(clusterArgs.Workers)
		if edge != nil {
			c.trustRegistry(clusterArgs, edge.CACertificate)
		}
		if store := clusterArgs.SnapshotStore.Name; store != "" {
			clusterArgs.SnapshotStore = current[store]
		}
		cluster, err := kubeadm.NewKubeadmCluster(ctx, "kubernetes", clusterArgs)
		if err != nil {
			return err
		}
		maps.Copy(current, cluster.Hosts)
		ctx.Export("kubernetesEndpoint", cluster.Endpoint)
		ctx.Export("kubeconfig", cluster.Kubeconfig)
		if len(clusterArgs.Users) > 0 {
			ctx.Export("userKubeconfigs", cluster.UserKubeconfigs)
		}
		after := []pulumi.Resource{cluster} // of what runs in it
		if edge != nil {
			after = append(after, edge)
		}
		return c.workloads(ctx, hosts, workloadNeeds{cluster, current, key, append(after, served...)})
	}
	return nil
}

// workloadNeeds is what the platform has for what runs in the cluster.
type workloadNeeds struct {
	cluster *kubeadm.KubeadmCluster
	hosts   map[string]host.Host // as the cluster has left them
	key     *volumes.Key         // of volumes on the storage; nil where there are none
	after   []pulumi.Resource    // what comes first
}

// workloads registers what runs in the cluster.
func (c *Config) workloads(ctx *pulumi.Context, hosts []host.Host, needs workloadNeeds) error {
	if c.Volumes == nil && c.Registry == nil && c.Database == nil {
		return nil // and nobody asks for the plugin
	}
	provider, err := needs.cluster.Provider(ctx)
	if err != nil {
		return err
	}
	// A cluster that is gone has taken with it what was in it.
	gone, after := pulumi.DeletedWith(needs.cluster), needs.after
	var private pulumi.StringInput
	if needs.key != nil {
		private = needs.key.Private
	}
	if args := c.volumes(hosts, private); args != nil {
		if args.Local != nil {
			for i, h := range args.Local.Hosts {
				args.Local.Hosts[i] = needs.hosts[h.Name]
			}
		}
		made, err := volumes.NewVolumes(ctx, "volumes", args, provider, pulumi.DependsOn(after), gone)
		if err != nil {
			return err
		}
		ctx.Export("volumeClasses", made.Classes)
		ctx.Export("localVolumeClass", made.LocalClass)
		after = append(after, made)
	}
	if name, args := c.registry(); args != nil {
		made, err := registry.NewRegistry(ctx, name, args, provider, pulumi.DependsOn(after), gone)
		if err != nil {
			return err
		}
		ctx.Export("registryAddress", made.Address)
		ctx.Export("registryPasswords", made.Passwords)
		ctx.Export("registryDockerConfigs", made.DockerConfigs)
	}
	name, args := c.database(hosts)
	if args == nil {
		return nil
	}
	database, err := galera.NewGaleraDB(ctx, name, args, provider, pulumi.DependsOn(after), gone)
	if err != nil {
		return err
	}
	ctx.Export("databaseHost", database.Host)
	ctx.Export("databaseReaderHost", database.ReaderHost)
	ctx.Export("databasePort", database.Port)
	ctx.Export("databaseCaCertificate", database.CACertificate)
	ctx.Export("databasePasswords", database.Passwords)
	// Validate has said that there is no application without a database.
	todo := c.todo(hosts, databaseOutputs{database.Host, database.CACertificate, func(user string) pulumi.StringInput {
		return database.Passwords.MapIndex(pulumi.String(user))
	}})
	if todo == nil {
		return nil
	}
	app, err := todoapp.NewTodoApp(ctx, c.todoName(), todo, provider, pulumi.DependsOn(append(after, database)), gone)
	if err != nil {
		return err
	}
	ctx.Export("todoUrl", app.URL)
	ctx.Export("todoImage", app.Image)
	ctx.Export("todoQosClass", app.QOSClass)
	return nil
}
