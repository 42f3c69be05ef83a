package stacks

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/components/galera"
	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm"
	"github.com/halinux/halinux/components/nfsha"
	"github.com/halinux/halinux/components/problem"
	"github.com/halinux/halinux/components/registry"
	"github.com/halinux/halinux/components/todoapp"
	"github.com/halinux/halinux/components/volumes"
)

// edgeIndexes are the places of the edges among the hosts.
func (c *Config) edgeIndexes() []int { return c.withRole(cmp.Or(c.Edge.Role, "edge")) }

// storageIndexes are the places of the storage hosts among the hosts.
func (c *Config) storageIndexes() []int { return c.withRole(cmp.Or(c.Storage.Role, "storage")) }

func (c *Config) controlPlaneIndexes() []int {
	return c.withRole(cmp.Or(c.Kubernetes.ControlPlaneRole, "control-plane"))
}

func (c *Config) workerIndexes() []int { return c.withRole(cmp.Or(c.Kubernetes.WorkerRole, "worker")) }

func (c *Config) withRole(role string) []int {
	var all []int
	for i, h := range c.Hosts {
		if slices.Contains(h.Roles, role) {
			all = append(all, i)
		}
	}
	return all
}

// indexOf is the place of a host among the hosts, or -1.
func (c *Config) indexOf(name string) int {
	return slices.IndexFunc(c.Hosts, func(h HostConfig) bool { return h.Name == name })
}

// plan is the address plan.
func (c *Config) plan() host.AddressPlan {
	p := host.AddressPlan{Domain: c.Domain, Networks: c.Networks, Roles: c.Roles}
	for _, h := range c.Hosts {
		p.Hosts = append(p.Hosts, host.PlannedHost{Name: h.Name, Roles: h.Roles, Links: h.Links})
	}
	return p
}

// base are the arguments of the base system.
func (c *Config) base(hosts []host.Host) (*host.BaseArgs, problem.List) {
	var l problem.List
	args := c.Base
	args.Hosts, args.Plan = hosts, c.plan()
	if edge := c.edge(hosts, unmade); edge != nil {
		args.Firewall.Flows = append(args.Firewall.Flows, edge.Flows()...)
	}
	if storage := c.storage(hosts); storage != nil {
		args.Disks = storage.Disks
		args.Firewall.Flows = append(args.Firewall.Flows, storage.Flows()...)
	}
	if cluster := c.kubernetes(hosts); cluster != nil {
		args.Firewall.Flows = append(args.Firewall.Flows, cluster.Flows()...)
		args.Firewall.Forward = slices.Concat(args.Firewall.Forward, host.Names(cluster.ControlPlanes), host.Names(cluster.Workers))
	}
	args.Packages.Sources = slices.Clone(args.Packages.Sources)
	for i := range args.Packages.Sources {
		s := &args.Packages.Sources[i]
		if s.Key != "" || s.KeyFile == "" {
			continue
		}
		key, err := os.ReadFile(expand(s.KeyFile))
		if err != nil {
			l.Add(fmt.Sprintf("packages.sources[%d].keyFile", i), err.Error(), "give the path of the source's public key")
		}
		s.Key = string(key)
	}
	return &args, l
}

// unmade takes the place of an authority where the program only looks at the
// arguments and makes nothing.
var unmade = pulumi.String("")

// edge are the arguments of the edge, or nil where there is none. It asks API
// servers by TLS, and kubernetesCA is the authority of their certificates.
func (c *Config) edge(hosts []host.Host, kubernetesCA pulumi.StringInput) *haedge.HAEdgeArgs {
	if c.Edge == nil {
		return nil
	}
	args := c.Edge.HAEdgeArgs
	args.Plan = c.plan()
	for _, i := range c.edgeIndexes() {
		args.Hosts = append(args.Hosts, hosts[i])
	}
	if args.BGP != nil {
		bgp := *args.BGP
		bgp.Peers = slices.Clone(bgp.Peers)
		for i, p := range bgp.Peers {
			if password, ok := c.Secrets.BGP[p.Name]; ok {
				bgp.Peers[i].Password = secret(password)
			}
		}
		args.BGP = &bgp
	}
	args.Sites = slices.Clone(args.Sites)
	if c.Kubernetes != nil {
		for _, s := range c.Kubernetes.Sites {
			args.Sites = append(args.Sites, c.kubernetes(hosts).Site(s))
		}
		for _, w := range c.workloadSites() {
			args.Sites = append(args.Sites, c.kubernetes(hosts).Site(w.site))
		}
	}
	for i, s := range args.Sites {
		args.Sites[i].Certificate.Key = c.Secrets.Certificates[s.Name]
	}
	if args.DNS != nil && c.Secrets.TSIG != "" {
		dns := *args.DNS
		dns.Key = secret(c.Secrets.TSIG)
		args.DNS = &dns
	}
	if vip := c.endpointVIP(); vip != "" && len(c.controlPlaneIndexes()) > 0 {
		args.Services = append(slices.Clone(args.Services), c.kubernetes(hosts).Service(vip, kubernetesCA))
	}
	return &args
}

// endpointVIP is the name of the edge's VIP that the cluster's API servers are
// reached by; "" where they are reached otherwise.
func (c *Config) endpointVIP() string {
	if c.Edge == nil || c.Kubernetes == nil {
		return ""
	}
	for _, v := range c.Edge.VIPs {
		if v.Address == c.Kubernetes.Endpoint.Address {
			return v.Name
		}
	}
	return ""
}

// kubernetes are the arguments of the cluster, or nil where there is none.
func (c *Config) kubernetes(hosts []host.Host) *kubeadm.KubeadmClusterArgs {
	if c.Kubernetes == nil {
		return nil
	}
	args := c.Kubernetes.KubeadmClusterArgs
	args.Plan = c.plan()
	for _, i := range c.controlPlaneIndexes() {
		args.ControlPlanes = append(args.ControlPlanes, hosts[i])
	}
	for _, i := range c.workerIndexes() {
		args.Workers = append(args.Workers, hosts[i])
	}
	if c.Edge != nil {
		for _, i := range c.edgeIndexes() {
			args.Edges = append(args.Edges, hosts[i].Name)
		}
	}
	if i := c.indexOf(args.Snapshots.CopyTo); i >= 0 {
		args.SnapshotStore = hosts[i]
	}
	return &args
}

// storage are the arguments of the storage, or nil where there is none.
func (c *Config) storage(hosts []host.Host) *nfsha.NFSHAClusterArgs {
	if c.Storage == nil {
		return nil
	}
	args := c.Storage.NFSHAClusterArgs
	args.Plan = c.plan()
	for _, i := range c.storageIndexes() {
		args.Hosts = append(args.Hosts, hosts[i])
	}
	for _, name := range c.Storage.Witnesses {
		w := host.Host{Name: name}
		if i := c.indexOf(name); i >= 0 {
			w = hosts[i]
		}
		args.Witnesses = append(args.Witnesses, w)
	}
	if c.Volumes != nil && c.Volumes.NFS != nil && args.Provisioner != nil {
		provisioner := *args.Provisioner
		provisioner.Key = unmade
		args.Provisioner = &provisioner
	}
	args.Fencing.Agents = slices.Clone(args.Fencing.Agents)
	for i, f := range args.Fencing.Agents {
		secrets := map[string]pulumi.StringInput{}
		for option, value := range c.Secrets.Fencing[f.Host][f.Agent] {
			secrets[option] = secret(value)
		}
		args.Fencing.Agents[i].Secrets = secrets
	}
	return &args
}

// resolver points all hosts at the name servers on the edges, once these
// answer. The hosts are given as the components before have left them.
func (c *Config) resolver(args *host.BaseArgs, hosts map[string]host.Host, edge *haedge.HAEdge) *host.ResolverArgs {
	r := &host.ResolverArgs{Plan: args.Plan}
	var ready []pulumi.Resource
	for _, name := range slices.Sorted(maps.Keys(edge.Hosts)) {
		ready = append(ready, edge.Hosts[name].Resources()...)
		r.Servers = append(r.Servers, args.Plan.Address(name, c.Edge.Network).String())
	}
	for _, h := range args.Hosts {
		if _, ok := edge.Hosts[h.Name]; ok {
			r.Hosts = append(r.Hosts, hosts[h.Name])
		} else {
			r.Hosts = append(r.Hosts, hosts[h.Name].After(ready...))
		}
	}
	return r
}

// volumes are the arguments of the cluster's volumes, or nil where there are none.
// The provisioner's key is made by the program, one half for the storage and one for
// the cluster.
func (c *Config) volumes(hosts []host.Host, key pulumi.StringInput) *volumes.VolumesArgs {
	if c.Volumes == nil {
		return nil
	}
	args := *c.Volumes
	cluster, storage := c.kubernetes(hosts), c.storage(hosts)
	if args.NFS != nil {
		nfs := *args.NFS
		nfs.Key = key
		if storage != nil && storage.Provisioner != nil {
			nfs.Pool = volumes.Pool(storage.Access())
		}
		if cluster != nil {
			nfs.APIServers = cluster.APIServers()
		}
		args.NFS = &nfs
	}
	if args.Local != nil && cluster != nil {
		local := *args.Local
		local.Hosts = slices.Concat(cluster.ControlPlanes, cluster.Workers)
		args.Local = &local
	}
	return &args
}

// database are the name and the arguments of the database, or nil where there is
// none.
func (c *Config) database(hosts []host.Host) (string, *galera.GaleraDBArgs) {
	if c.Database == nil {
		return "", nil
	}
	args := c.Database.GaleraDBArgs
	if cluster := c.kubernetes(hosts); cluster != nil {
		args.APIServers = cluster.APIServers()
	}
	if args.StorageClass == "" && c.Volumes != nil && c.Volumes.Local != nil {
		args.StorageClass = c.Volumes.Local.ClassName()
	}
	return cmp.Or(c.Database.Name, "db"), &args
}

// registry are the name and the arguments of the registry, or nil where there is
// none.
func (c *Config) registry() (string, *registry.RegistryArgs) {
	if c.Registry == nil {
		return "", nil
	}
	args := c.Registry.RegistryArgs
	return cmp.Or(c.Registry.Name, "registry"), &args
}

// trustRegistry has containerd believe the edge's own authority where that has signed
// the registry's certificate. An entry of kubernetes.mirrors says otherwise.
func (c *Config) trustRegistry(cluster *kubeadm.KubeadmClusterArgs, authority pulumi.StringInput) {
	_, args := c.registry()
	if args == nil || cmp.Or(c.Registry.Site.Certificate.Source, "private") != "private" ||
		slices.ContainsFunc(cluster.Mirrors, func(m kubeadm.Mirror) bool { return m.Registry == args.Host }) {
		return
	}
	cluster.Mirrors = append(slices.Clone(cluster.Mirrors), args.Mirror(authority))
}

// workloadSite is the edge's site of something that runs in the cluster.
type workloadSite struct {
	key  string // of the configuration
	site haedge.Site
}

// workloadSites are in the order in which the edge has them.
func (c *Config) workloadSites() []workloadSite {
	var all []workloadSite
	if name, args := c.registry(); args != nil {
		s := c.Registry.Site
		s.Name = name
		all = append(all, workloadSite{"registry", args.Site(s)})
	}
	if c.Todo != nil {
		all = append(all, workloadSite{"todo", c.todoSite()})
	}
	return all
}

// todoSite is the application's site of the edge.
func (c *Config) todoSite() haedge.Site {
	s := c.Todo.Site
	s.Name, s.Hosts = c.todoName(), c.Todo.Hosts
	if s.MaxBody == 0 {
		// A form has more in it than the file.
		s.MaxBody = max(100, c.Todo.UploadLimit+1)
	}
	return s
}

func (c *Config) todoName() string { return cmp.Or(c.Todo.Name, "todo") }

// databaseOutputs are what the application takes from a database.
type databaseOutputs struct {
	host, ca  pulumi.StringInput
	passwords func(user string) pulumi.StringInput
}

// unmadeDatabase takes the place of one where the program only looks at arguments.
var unmadeDatabase = databaseOutputs{unmade, unmade, func(string) pulumi.StringInput { return unmade }}

// todo are the arguments of the application, or nil where there is none.
func (c *Config) todo(hosts []host.Host, of databaseOutputs) *todoapp.TodoAppArgs {
	if c.Todo == nil {
		return nil
	}
	args := c.Todo.TodoAppArgs
	if cluster := c.kubernetes(hosts); cluster != nil {
		args.IngressFrom, args.TrustedProxies = cluster.IngressFrom(), cluster.TrustedProxies()
	}
	if name, database := c.database(hosts); database != nil {
		d := &args.Database
		d.Host, d.CA = of.host, of.ca
		d.Password = of.passwords(cmp.Or(d.User, "todo"))
		if d.MigrateUser != "" {
			d.MigratePassword = of.passwords(d.MigrateUser)
		}
		d.Namespace, d.Pods = database.Place(name)
	}
	return &args
}

func secret(value string) pulumi.StringInput {
	return pulumi.ToSecret(pulumi.String(value)).(pulumi.StringOutput)
}

// hosts are the machines with the way to each.
func (c *Config) hosts() ([]host.Host, problem.List) {
	var l problem.List
	known := map[string]ssh.HostKeyCallback{} // by file: a thousand hosts have one
	hosts := make([]host.Host, len(c.Hosts))
	for i, hc := range c.Hosts {
		way := c.SSH.with(hc.SSH)
		if hc.Address == "" && len(hc.Links) > 0 {
			hc.Address = hc.Links[0].Address
		}
		s := host.SSH{
			Address: hc.Address, Port: way.Port, User: way.User, HostKey: hc.HostKey,
			InsecureIgnoreHostKey: way.InsecureIgnoreHostKey, KeyFile: expand(way.KeyFile),
			DialTimeout: way.DialTimeout, DialAttempts: way.DialAttempts,
		}
		if p := way.Proxy; p != nil {
			s.Proxy = &host.SSH{
				Address: p.Address, Port: p.Port, User: p.User, HostKey: p.HostKey, KeyFile: expand(p.KeyFile),
				InsecureIgnoreHostKey: way.InsecureIgnoreHostKey, DialTimeout: way.DialTimeout, DialAttempts: way.DialAttempts,
			}
		}
		if file := expand(way.KnownHosts); file != "" {
			if _, read := known[file]; !read {
				var err error
				if known[file], err = knownhosts.New(file); err != nil {
					l.Add("ssh.knownHosts", err.Error(), "make it with `ssh-keyscan`, and compare the keys with those on the hosts")
				}
			}
			for _, hop := range []*host.SSH{&s, s.Proxy} {
				if hop != nil && hop.HostKey == "" && known[file] != nil {
					hop.HostKey = knownKey(known[file], hop.Address, hop.Port)
				}
			}
		}
		hosts[i] = host.Host{Name: hc.Name, SSH: s}
	}
	return hosts, l
}

// with is the way with what a host says itself.
func (s SSHConfig) with(own *SSHConfig) SSHConfig {
	if own == nil {
		return s
	}
	return SSHConfig{
		User: cmp.Or(own.User, s.User), Port: cmp.Or(own.Port, s.Port),
		KnownHosts: cmp.Or(own.KnownHosts, s.KnownHosts), KeyFile: cmp.Or(own.KeyFile, s.KeyFile),
		InsecureIgnoreHostKey: own.InsecureIgnoreHostKey || s.InsecureIgnoreHostKey,
		Proxy:                 cmp.Or(own.Proxy, s.Proxy),
		DialTimeout:           cmp.Or(own.DialTimeout, s.DialTimeout), DialAttempts: cmp.Or(own.DialAttempts, s.DialAttempts),
	}
}

// expand turns a leading ~ into the home of the user who runs the program.
func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// nobody is a key that nobody has, of the right size: that cannot fail.
var nobody, _ = ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))

// knownKey is the public key that a known_hosts file has for an address, or
// "" where it has none. An RSA key is taken only where there is no other.
func knownKey(known ssh.HostKeyCallback, address string, port int) string {
	// The library answers the question whether a key is known; who asks with
	// one that nobody has is told all that are.
	at := net.JoinHostPort(address, strconv.Itoa(cmp.Or(port, 22)))
	var unknown *knownhosts.KeyError
	if !errors.As(known(at, &net.TCPAddr{}, nobody), &unknown) || len(unknown.Want) == 0 {
		return ""
	}
	key := unknown.Want[0].Key
	for _, k := range unknown.Want {
		if key.Type() == ssh.KeyAlgoRSA {
			key = k.Key
		}
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
