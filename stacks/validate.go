package stacks

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/halinux/halinux/components/galera"
	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/kubeadm"
	"github.com/halinux/halinux/components/nfsha"
	"github.com/halinux/halinux/components/problem"
	"github.com/halinux/halinux/components/volumes"
)

// Validate reports everything that is wrong with the configuration, as far as
// it can be known without touching a host. Each path is that of the key to
// change.
func (c *Config) Validate() problem.List {
	var l problem.List
	if c.Drift != "off" && c.Drift != "detect" {
		l.Add("drift", fmt.Sprintf("%q is neither off nor detect", c.Drift), "use one of them")
	}
	hosts, hl := c.hosts()
	l.Include("", hl)
	edge := c.edge(hosts, unmade)
	var el problem.List
	if edge != nil {
		el = edge.Validate()
	}
	storage := c.storage(hosts)
	var sl problem.List
	if storage != nil {
		sl = storage.Validate()
		if edge != nil {
			if i := slices.IndexFunc(edge.VIPs, func(v haedge.VIP) bool { return v.Address == storage.VIP }); i >= 0 {
				sl.Add("vip", fmt.Sprintf("%s is edge.vips[%d] (%s) too", storage.VIP, i, edge.VIPs[i].Name), "choose a free address: both would answer for it")
			}
		}
	}
	cluster := c.kubernetes(hosts)
	var kl problem.List
	if cluster != nil {
		kl = cluster.Validate()
		if edge != nil && c.endpointVIP() == "" {
			kl.Add("endpoint.address", fmt.Sprintf("%q is no VIP of the edge", cluster.Endpoint.Address), "use one of edge.vips, or add it there")
		}
		if sites := c.Kubernetes.Sites; len(sites) > 0 && edge == nil {
			kl.Add("sites", "there is no edge that they could be sites of", "add the edge, or leave them out")
		} else if len(sites) > 0 && cluster.Ingress.Off {
			kl.Add("sites", "there is no ingress controller that they could lead to", "leave them out, or kubernetes.ingress.off")
		}
		for i, s := range c.Kubernetes.Sites {
			at := fmt.Sprintf("sites[%d].", i)
			if len(s.Backends) > 0 {
				kl.Add(at+"backends", "are the cluster's workers", "leave them out, or make it one of edge.sites")
			}
			if s.Check.Port != 0 || s.Check.Path != "" {
				kl.Add(at+"check", "is the ingress controller's own: it answers for all its sites", "leave port and path out")
			}
			if s.BackendTLS != nil {
				kl.Add(at+"backendTls", "the ingress controller speaks plain HTTP to the edges", "leave it out")
			}
		}
	}
	base, bl := c.base(hosts)
	if el.Err() != nil || sl.Err() != nil || kl.Err() != nil {
		base.Firewall.Flows = nil // made from what is wrong already
	}
	l.Include("base", bl)
	l.Include("base", base.Validate())
	l.Include("edge", el)
	l.Include("storage", sl)
	l.Include("kubernetes", kl)
	if allow := c.Base.SSHD.AllowUsers; c.Storage != nil && c.Storage.Provisioner != nil && len(allow) > 0 && !slices.Contains(allow, nfsha.VolumesUser) {
		l.Add("base.sshd.allowUsers", nfsha.VolumesUser+" is missing, whom storage.provisioner comes in as", "add it")
	}
	if allow := c.Base.SSHD.AllowUsers; cluster != nil && cluster.Snapshots.CopyTo != "" && len(allow) > 0 && !slices.Contains(allow, kubeadm.SnapshotUser) {
		l.Add("base.sshd.allowUsers", kubeadm.SnapshotUser+" is missing, whom kubernetes.snapshots.copyTo comes in as", "add it")
	}
	l.Include("volumes", c.validateVolumes(hosts, sl.Err() != nil))
	l.Include("database", c.validateDatabase(hosts))
	l.Include("registry", c.validateRegistry())
	l.Include("todo", c.validateTodo(hosts, edge))
	l.Include("secrets", c.validateSecrets(edge))
	return c.placed(l)
}

// validateVolumes finds what the cluster's volumes lack. Storage that is wrong has
// been told of.
func (c *Config) validateVolumes(hosts []host.Host, wrong bool) problem.List {
	var l problem.List
	args := c.volumes(hosts, unmade)
	if args == nil {
		return l
	}
	if c.Kubernetes == nil {
		l.Add("", "there is no cluster that they could be of", "add kubernetes, or leave them out")
		return l
	}
	if args.NFS != nil && (c.Storage == nil || c.Storage.Provisioner == nil) {
		l.Add("nfs", "there is no storage that makes volumes", "set storage.provisioner, or leave nfs out")
		args.NFS = nil
		if args.Local == nil {
			return l
		}
	}
	if wrong {
		return l
	}
	l.Include("", args.Validate())
	if args.NFS == nil || len(args.NFS.Nodes) > 0 {
		return l // who has the labels is known to the cluster alone
	}
	storage, cluster := c.storage(hosts), c.kubernetes(hosts)
	for _, h := range cluster.Workers {
		project, address := storage.Provisioner.Project, cluster.Plan.Address(h.Name, cluster.Network)
		if address.IsValid() && !storage.Serves(project, address) {
			l.Add("nfs.nodes", fmt.Sprintf("the worker %s (%s) is no client of the storage's project %s", h.Name, address, project),
				"add it or its network to the project's clients, or name the labels of the nodes that are")
		}
	}
	return l
}

// validateDatabase finds what the database lacks.
func (c *Config) validateDatabase(hosts []host.Host) problem.List {
	var l problem.List
	name, args := c.database(hosts)
	if args == nil {
		return l
	}
	if c.Kubernetes == nil {
		l.Add("", "there is no cluster that it could run in", "add kubernetes, or leave it out")
		return l
	}
	l.Include("", args.Validate(name))
	if c.Volumes == nil {
		return l
	}
	if nfs := c.Volumes.NFS; nfs != nil && slices.ContainsFunc(nfs.ClassList(), func(k volumes.Class) bool {
		return k.Name == args.StorageClass || k.Default && args.StorageClass == ""
	}) {
		l.Add("storageClass", "is on NFS, where a database waits for each commit twice, and for every failover", "add volumes.local, or name a class of the nodes' own disks")
	}
	if local := c.Volumes.Local; local != nil && local.ClassName() == args.StorageClass {
		if n := cmp.Or(args.Replicas, 3); len(local.Volumes) < n {
			l.Add("storageClass", fmt.Sprintf("%s has %d volumes for %d nodes of the database", args.StorageClass, len(local.Volumes), n), "add one in volumes.local.volumes for each")
		}
	}
	return l
}

// validateRegistry finds what the registry lacks.
func (c *Config) validateRegistry() problem.List {
	var l problem.List
	name, args := c.registry()
	if args == nil {
		return l
	}
	switch {
	case c.Kubernetes == nil:
		l.Add("", "there is no cluster that it could run in", "add kubernetes, or leave it out")
		return l
	case c.Kubernetes.Ingress.Off:
		l.Add("", "there is no ingress controller that could lead to it", "take kubernetes.ingress.off out")
	case c.Edge == nil:
		l.Add("", "there is no edge that it could be reached by", "add edge, or leave it out")
	}
	l.Include("", args.Validate(name))
	l.Include("site", validateWorkloadSite(c.Registry.Site, "registry.host"))
	return l
}

// validateWorkloadSite finds what the settings of a site say that is not theirs to say:
// it leads to the cluster, by the names that stand at key.
func validateWorkloadSite(s haedge.Site, key string) problem.List {
	var l problem.List
	if s.Name != "" || len(s.Hosts) > 0 {
		l.Add("hosts", "are those of what runs in the cluster, and so is the name", "leave both out, and set "+key)
	}
	if len(s.Backends) > 0 || s.Check.Port != 0 || s.Check.Path != "" || s.BackendTLS != nil {
		l.Add("backends", "are the cluster's workers, which say themselves how they are", "leave out backends, check and backendTls")
	}
	return l
}

// validateTodo finds what the application lacks.
func (c *Config) validateTodo(hosts []host.Host, edge *haedge.HAEdgeArgs) problem.List {
	var l problem.List
	args := c.todo(hosts, unmadeDatabase)
	if args == nil {
		return l
	}
	for _, need := range []struct {
		there        bool
		what, remedy string
	}{
		{c.Kubernetes != nil, "there is no cluster that it could run in", "add kubernetes, or leave it out"},
		{c.Database != nil, "there is no database for its rows", "add database, or leave it out"},
		{edge != nil, "there is no edge that it could be a site of", "add edge, or leave it out"},
		{c.Kubernetes == nil || !c.Kubernetes.Ingress.Off, "there is no ingress controller that its site could lead to", "leave out kubernetes.ingress.off"},
	} {
		if !need.there {
			l.Add("", need.what, need.remedy)
		}
	}
	if l.Err() != nil {
		return l
	}
	l.Include("", args.Validate(c.todoName()))
	s := c.Todo.Site
	l.Include("site", validateWorkloadSite(s, "todo.hosts"))
	if s.MaxBody != 0 && s.MaxBody <= cmp.Or(args.UploadLimit, 20) {
		l.Add("site.maxBody", fmt.Sprintf("%d MiB does not let files of uploadLimit through", s.MaxBody), "use more than uploadLimit, or leave it out")
	}
	if edge.DNS != nil && slices.Contains([]string{"", "private"}, s.Certificate.Source) {
		// With a certificate of somebody else's, so may the name be.
		zone := cmp.Or(edge.DNS.Zone, c.Domain)
		for i, h := range args.Hosts {
			if !strings.HasSuffix("."+h, "."+zone) {
				l.Add(fmt.Sprintf("hosts[%d]", i), fmt.Sprintf("%s is not in the edge's zone %s", h, zone), "use a name in it, or a certificate that is given or of an ACME authority")
			}
		}
	}
	_, database := c.database(hosts)
	if !slices.ContainsFunc(database.Databases, func(d galera.Database) bool { return d.Name == cmp.Or(args.Database.Name, "todo") }) {
		l.Add("database.name", fmt.Sprintf("%q is none of database.databases", cmp.Or(args.Database.Name, "todo")), "add it there")
	}
	for path, user := range map[string]string{"user": cmp.Or(args.Database.User, "todo"), "migrateUser": args.Database.MigrateUser} {
		if user != "" && !slices.ContainsFunc(database.Users, func(u galera.User) bool { return u.Name == user && cmp.Or(u.Host, "%") == "%" }) {
			l.Add("database."+path, fmt.Sprintf("%q is none of database.users that may come from anywhere", user), "add it there")
		}
	}
	if !slices.ContainsFunc(database.Clients, func(m map[string]string) bool { return reaches(m, args.Labels(c.todoName())) }) {
		l.Add("database", "lets no pod of the application connect", "add app.kubernetes.io/name: todo to database.clients")
	}
	if c.Volumes != nil && c.Volumes.Local != nil && args.StorageClass == c.Volumes.Local.ClassName() {
		l.Add("storageClass", "is of the nodes' own disks, which pods of other nodes cannot mount", "name a class of volumes.nfs")
	}
	if c.Volumes != nil && c.Volumes.NFS != nil {
		for _, k := range c.Volumes.NFS.ClassList() {
			named := k.Name == args.StorageClass || k.Default && args.StorageClass == ""
			// Its last digit is what those may who are neither root nor of root's group.
			if named && k.Mode != "" && !strings.ContainsRune("37", rune(k.Mode[len(k.Mode)-1])) {
				l.Add("storageClass", fmt.Sprintf("%s makes directories of mode %s, and the application is not root", k.Name, k.Mode), "name a class without a mode")
			}
		}
	}
	return l
}

// reaches is whether labels are among those of a pod.
func reaches(labels, pod map[string]string) bool {
	for k, v := range labels {
		if pod[k] != v {
			return false
		}
	}
	return len(labels) > 0
}

// placed puts each problem where its key is, and keeps one of each: the parts
// of a platform look at the same hosts.
func (c *Config) placed(l problem.List) problem.List {
	var placed problem.List
	seen := map[problem.Problem]bool{}
	for _, p := range l.All() {
		p.Path = c.keyOf(p.Path)
		if p.Path == "" || seen[p] {
			continue
		}
		seen[p] = true
		placed.Add(p.Path, p.What, p.Remedy)
	}
	return placed
}

var (
	hostPath    = regexp.MustCompile(`^(base|edge|storage|kubernetes)\.(hosts|witnesses|controlPlanes|workers)(?:\[(\d+)\])?(.*)$`)
	servicePath = regexp.MustCompile(`^edge\.services\[(\d+)\]`)
	sitePath    = regexp.MustCompile(`^edge\.sites\[(\d+)\](.*)$`)
	agentSecret = regexp.MustCompile(`^storage\.fencing\.agents\[(\d+)\]\.secrets$`)
	sourcePath  = regexp.MustCompile(`^base\.packages\.sources\[(\d+)\]\.key$`)
)

// keyOf is the key that an argument of a component was made from; "" where
// another problem says the same.
func (c *Config) keyOf(path string) string {
	if rest, ok := strings.CutPrefix(path, "base.plan."); ok {
		return rest
	}
	number := func(digits string) int {
		n, _ := strconv.Atoi(digits) // the pattern lets nothing else through
		return n
	}
	if m := servicePath.FindStringSubmatch(path); m != nil && number(m[1]) >= len(c.Edge.Services) {
		return "kubernetes.endpoint" // the service is made for it
	}
	if m := sitePath.FindStringSubmatch(path); m != nil {
		sites, at, i := c.Edge.Sites, "edge", number(m[1])
		if i >= len(sites) { // they come after those
			sites, at, i = c.Kubernetes.Sites, "kubernetes", i-len(sites)
		}
		if i >= len(sites) { // and at the end those of what runs in the cluster
			of := c.workloadSites()[i-len(sites)]
			switch rest, hosts := strings.CutPrefix(m[2], ".hosts"); {
			case m[2] == ".certificate.key":
				return "secrets.certificates." + of.site.Name
			case m[2] == ".name":
				return of.key + m[2]
			case hosts && of.key == "registry":
				return "registry.host" // it has one
			case hosts:
				return of.key + ".hosts" + rest
			}
			return of.key + ".site" + m[2]
		}
		if m[2] == ".certificate.key" {
			return "secrets.certificates." + sites[i].Name
		}
		return fmt.Sprintf("%s.sites[%d]%s", at, i, m[2])
	}
	if m := sourcePath.FindStringSubmatch(path); m != nil {
		if s := c.Base.Packages.Sources[number(m[1])]; s.Key == "" && s.KeyFile != "" {
			if _, err := os.Stat(expand(s.KeyFile)); err != nil {
				return ""
			}
			return path + "File"
		}
	}
	if m := agentSecret.FindStringSubmatch(path); m != nil {
		f := c.Storage.Fencing.Agents[number(m[1])]
		return "secrets.fencing." + f.Host + "." + f.Agent
	}
	m := hostPath.FindStringSubmatch(path)
	if m == nil {
		return path
	}
	component, list, index, rest := m[1], m[2], m[3], m[4]
	switch {
	case list == "witnesses" && (index == "" || rest == ".name"):
		return strings.TrimSuffix(path, ".name")
	case index == "" && component == "kubernetes":
		return component + "." + strings.TrimSuffix(list, "s") + "Role"
	case index == "" && component != "base":
		return component + ".role"
	case index == "":
		return "hosts"
	}
	i := number(index)
	switch {
	case list == "witnesses":
		if i = c.indexOf(c.Storage.Witnesses[i]); i < 0 {
			return "" // there is no such host, which has been said
		}
	case list == "controlPlanes":
		i = c.controlPlaneIndexes()[i]
	case list == "workers":
		i = c.workerIndexes()[i]
	case component == "edge":
		i = c.edgeIndexes()[i]
	case component == "storage":
		i = c.storageIndexes()[i]
	}
	h, at := c.Hosts[i], fmt.Sprintf("hosts[%d]", i)
	way, isWay := strings.CutPrefix(rest, ".ssh")
	switch {
	case !isWay:
		return at + rest
	case way == ".address" && h.Address == "" && len(h.Links) > 0:
		return "" // the plan looks at the address of a link
	case way == ".address" || way == ".hostKey":
		return at + way
	case h.SSH.says(way):
		return at + ".ssh" + way
	}
	return "ssh" + way
}

// says is whether a host's own way has the key at a path, like .proxy.port.
func (s *SSHConfig) says(path string) bool {
	if s == nil {
		return false
	}
	switch strings.Split(path, ".")[1] {
	case "user":
		return s.User != ""
	case "port":
		return s.Port != 0
	case "keyFile":
		return s.KeyFile != ""
	case "proxy":
		return s.Proxy != nil
	}
	return false
}

// validateSecrets finds secrets that nothing uses: a name with a typing error.
func (c *Config) validateSecrets(edge *haedge.HAEdgeArgs) problem.List {
	var l problem.List
	peers, sites := map[string]bool{}, map[string]bool{}
	if edge != nil {
		for _, s := range edge.Sites {
			sites[s.Name] = true
		}
		if edge.BGP != nil {
			for _, p := range edge.BGP.Peers {
				peers[p.Name] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets.BGP)) {
		if !peers[name] {
			l.Add("bgp."+name, "there is no BGP peer of this name", "check the spelling")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets.Certificates)) {
		if !sites[name] {
			l.Add("certificates."+name, "there is no site of this name", "check the spelling")
		}
	}
	for _, h := range slices.Sorted(maps.Keys(c.Secrets.Fencing)) {
		for _, agent := range slices.Sorted(maps.Keys(c.Secrets.Fencing[h])) {
			if c.Storage == nil || !slices.ContainsFunc(c.Storage.Fencing.Agents, func(f nfsha.FenceAgent) bool { return f.Host == h && f.Agent == agent }) {
				l.Add("fencing."+h+"."+agent, "there is no such agent for this host", "check the spelling against storage.fencing.agents")
			}
		}
	}
	if c.Secrets.TSIG != "" {
		if edge == nil || edge.DNS == nil {
			l.Add("tsig", "no name server uses it", "set edge.dns, or leave it out")
		}
		if key, err := base64.StdEncoding.DecodeString(c.Secrets.TSIG); err != nil || len(key) < 16 {
			l.Add("tsig", "is not base64 of 16 bytes or more", "make one with `openssl rand -base64 32`, or leave it out")
		}
	}
	return l
}
