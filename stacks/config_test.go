package stacks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/components/problem"
	"github.com/halinux/halinux/tests/golden"
)

// texts are the settings in a file, as the engine hands them over.
func texts(t testing.TB, file string) map[string]string {
	t.Helper()
	s, err := workspace.LoadProjectStack(nil, &workspace.Project{Name: "halinux"}, file)
	require.NoError(t, err)
	values, err := s.Config.Decrypt(config.NopDecrypter)
	require.NoError(t, err)
	all := map[string]string{}
	for key, value := range values {
		require.Equal(t, "halinux", key.Namespace())
		all[key.Name()] = value
	}
	return all
}

// certificate makes a self-signed certificate with its key.
func certificate(t testing.TB, from, to time.Time, names ...string) (certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: from, NotAfter: to,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// tree is a configuration that a test may change anywhere.
type tree map[string]any

func treeOf(t testing.TB, texts map[string]string) tree {
	t.Helper()
	all := tree{}
	for key, text := range texts {
		var v any = text
		if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
			require.NoError(t, json.Unmarshal([]byte(text), &v), key)
		}
		all[key] = v
	}
	return all
}

func (c tree) texts() map[string]string {
	all := map[string]string{}
	for key, v := range c {
		if text, plain := v.(string); plain {
			all[key] = text
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // it came from JSON
		}
		all[key] = string(b)
	}
	return all
}

// at is the map at a path of keys and indexes.
func (c tree) at(path ...any) map[string]any {
	var v any = map[string]any(c)
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v.(map[string]any)
}

// prod is the example of Pulumi.prod.yaml with what is not in the file.
func prod(t testing.TB) tree {
	t.Helper()
	c := treeOf(t, texts(t, "../Pulumi.prod.yaml"))
	cert, key := certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "shop.example.net")
	c.at("edge", "sites", 1, "certificate")["certificate"] = cert
	c["secrets"] = map[string]any{
		"bgp":          map[string]any{"isp-a": "sentinel-a", "isp-b": "sentinel-b"},
		"certificates": map[string]any{"shop": key},
		"fencing": map[string]any{
			"store1": map[string]any{"fence_ipmilan": map[string]any{"password": "sentinel-1"}},
			"store2": map[string]any{"fence_ipmilan": map[string]any{"password": "sentinel-2"}},
		},
	}
	return c
}

// problems are those of a configuration that must be refused.
func problems(t testing.TB, texts map[string]string) []problem.Problem {
	t.Helper()
	_, err := Parse(texts)
	require.Error(t, err)
	var report *problem.Error
	require.ErrorAs(t, err, &report)
	return report.Problems
}

func TestExamplesAreValid(t *testing.T) {
	_, err := Parse(prod(t).texts())
	require.NoError(t, err)
	render(t, prod(t).texts())
}

// TestLabStacks keeps the lab's stacks the same platform: one with storage, one with
// a cluster, and one with both and what runs in the cluster.
func TestLabStacks(t *testing.T) {
	lab, cluster := treeOf(t, texts(t, "../Pulumi.lab.yaml")), treeOf(t, texts(t, "../Pulumi.kubernetes.yaml"))
	whole := treeOf(t, texts(t, "../Pulumi.platform.yaml"))
	for _, key := range []string{"storage", "kubernetes", "volumes", "registry", "database", "todo"} {
		require.Contains(t, whole, key)
	}
	// The lab's own files are not there.
	bare := treeOf(t, texts(t, "../Pulumi.platform.yaml"))
	delete(bare.at("base"), "packages")
	delete(bare.at("ssh"), "knownHosts")
	bare.at("ssh")["insecureIgnoreHostKey"] = true
	for _, h := range bare["hosts"].([]any) {
		h.(map[string]any)["hostKey"] = prod(t).at("hosts", 0)["hostKey"]
	}
	_, err := Parse(bare.texts())
	require.NoError(t, err)

	hosts := func(stack tree, roles ...string) []any {
		return slices.DeleteFunc(slices.Clone(stack["hosts"].([]any)), func(h any) bool {
			return !slices.Contains(roles, h.(map[string]any)["roles"].([]any)[0].(string))
		})
	}
	// Beside the others' it has a worker that mounts the storage's volumes.
	assert.Equal(t, hosts(lab, "edge", "backend", "storage"), hosts(whole, "edge", "backend", "storage"))
	workers := hosts(whole, "worker")
	assert.Equal(t, hosts(cluster, "worker"), workers[:len(workers)-1])
	assert.Equal(t, hosts(cluster, "control-plane"), hosts(whole, "control-plane"))
	delete(whole.at("kubernetes"), "nodes")
	assert.Equal(t, cluster["kubernetes"], whole["kubernetes"])
	delete(whole.at("storage"), "provisioner")
	for _, stack := range []tree{lab, whole} {
		projects := stack.at("storage")["projects"].([]any)
		stack.at("storage")["projects"] = projects[:len(projects)-1] // which holds the volumes
	}
	assert.Equal(t, lab["storage"], whole["storage"])

	common := len(cluster["networks"].([]any))
	for _, stack := range []tree{lab, cluster, whole} {
		for _, key := range []string{"storage", "kubernetes", "volumes", "registry", "database", "todo"} {
			delete(stack, key)
		}
		stack["networks"] = stack["networks"].([]any)[:common]
		stack["hosts"] = hosts(stack, "edge", "backend")
		delete(stack.at("base", "firewall"), "except")
	}
	assert.Equal(t, lab, cluster)
	assert.Equal(t, lab, whole)
}

func TestProdAsDelivered(t *testing.T) {
	var paths []string
	for _, p := range problems(t, texts(t, "../Pulumi.prod.yaml")) {
		paths = append(paths, p.Path)
	}
	require.Equal(t, []string{"secrets.certificates.shop", "edge.sites[1].certificate.certificate"}, paths,
		"all that the file lacks is what its head says to set")
}

// TestStorageManual: what docs/storage.md says to write below storage is accepted.
func TestStorageManual(t *testing.T) {
	manual, err := os.ReadFile("../docs/storage.md")
	require.NoError(t, err)
	accepted := func(what string, change func(storage map[string]any)) {
		t.Helper()
		c := prod(t)
		change(c.at("storage"))
		_, err := Parse(c.texts())
		assert.NoError(t, err, what)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(manual), -1)
	require.Len(t, blocks, 2)
	var agents struct{ Fencing struct{ Agents []any } }
	require.NoError(t, yaml.Unmarshal([]byte(blocks[0][1]), &agents))
	require.Len(t, agents.Fencing.Agents, 2)
	accepted("IPMI", func(s map[string]any) { s["fencing"] = map[string]any{"agents": agents.Fencing.Agents} })
	var second []any
	require.NoError(t, yaml.Unmarshal([]byte(blocks[1][1]), &second))
	accepted("a second agent", func(s map[string]any) {
		s["fencing"] = map[string]any{"agents": append(slices.Clone(agents.Fencing.Agents), second...)}
	})
	var project any
	for _, m := range regexp.MustCompile("`(\\{name: .*?\\})`").FindAllStringSubmatch(string(manual), -1) {
		require.NoError(t, yaml.Unmarshal([]byte(m[1]), &project), m[1])
		accepted(m[1], func(s map[string]any) {
			projects := s["projects"].([]any)
			s["projects"] = append([]any{project}, projects[1:]...)
		})
	}
	require.NotNil(t, project)
}

// TestBadInput breaks the example in one place each: exactly this is reported,
// at the path of the key to change.
func TestBadInput(t *testing.T) {
	hosts := func(c tree, n int) map[string]any { return c.at("hosts", n) }
	link := func(c tree, n int) map[string]any { return c.at("hosts", n, "links", 0) }
	edge := func(c tree) map[string]any { return c.at("edge") }
	storage := func(c tree) map[string]any { return c.at("storage") }
	site := func(c tree, n int) map[string]any { return c.at("edge", "sites", n) }
	for name, test := range map[string]struct {
		spoil func(tree)
		want  []string // path: beginning of what is wrong
	}{
		"a top-level key with a typing error": {func(c tree) { c["egde"] = map[string]any{} }, []string{"egde: is not a key"}},
		"a nested key":                        {func(c tree) { edge(c)["vrpp"] = map[string]any{} }, []string{"edge.vrpp: is not a key"}},
		"a key in a list":                     {func(c tree) { link(c, 1)["adress"] = "10.20.0.12" }, []string{"hosts[1].links[0].adress: is not a key"}},
		"a key below capitals":                {func(c tree) { c.at("edge", "vips", 0)["adress"] = "x" }, []string{"edge.vips[0].adress: is not a key"}},
		"a key of the bastion":                {func(c tree) { c.at("ssh", "proxy")["usr"] = "x" }, []string{"ssh.proxy.usr: is not a key"}},
		"a key without a value":               {func(c tree) { edge(c)["dns"] = nil }, []string{"edge.dns: has no value"}},
		"a word for a number":                 {func(c tree) { c.at("edge", "vips", 0)["routerId"] = "many" }, []string{`edge.vips[0].routerId: "many" is not a whole number`}},
		"a fraction":                          {func(c tree) { c.at("edge", "services", 0)["port"] = 3306.5 }, []string{`edge.services[0].port: "3306.5" is not a whole number`}},
		"a number that would wrap":            {func(c tree) { c.at("edge", "bgp")["asn"] = 1<<32 + 65010 }, []string{`edge.bgp.asn: "4295032306" is not a whole number`}},
		"a word for a truth value":            {func(c tree) { c.at("base", "updates")["reboot"] = "sometimes" }, []string{`base.updates.reboot: "sometimes" is neither true`}},
		"a time without a unit":               {func(c tree) { site(c, 1)["timeout"] = 30 }, []string{`edge.sites[1].timeout: "30" is not a time`}},
		"a text for a list of objects":        {func(c tree) { edge(c)["sites"] = "www" }, []string{"edge.sites[0]: is a single value", "secrets.certificates.shop: there is no site"}},
		"a text for an object":                {func(c tree) { c["edge"] = "yes" }, []string{"edge: is a single value or a list", "kubernetes.sites: there is no edge", "todo: there is no edge", "secrets.bgp.isp-a: there is no", "secrets.bgp.isp-b: there is no", "secrets.certificates.shop: there is no"}},
		"a list for an object":                {func(c tree) { c["ssh"] = []any{"deploy", "x"} }, []string{"ssh: is a single value or a list", "base.sshd.rootLogin: no would", "base.sshd.allowUsers: root is"}},
		"an object for a text":                {func(c tree) { c["domain"] = map[string]any{"name": "x"} }, []string{"domain: has values below it", "edge.dns.zone: "}},
		"two of a kind":                       {func(c tree) { link(c, 0)["adress"] = "x"; link(c, 1)["address"] = []any{"a", "b"} }, []string{"hosts[0].links[0].adress: is not", "hosts[1].links[0].address: has values below it", "hosts[1].name: edge2 has no IPv4", "edge.metrics.network: edge2 has no"}},

		"a bad address":                     {func(c tree) { link(c, 2)["address"] = "10.20.0.300" }, []string{`hosts[2].links[0].address: "10.20.0.300" is not an address`, `edge.sites[0].backends[0].host: app1 has no IPv4`, `edge.sites[1].backends[0].host: app1 has no IPv4`, `edge.services[0].backends[0].host: app1 has no IPv4`, "storage.witnesses[0]: app1 has no address"}},
		"an address outside of its network": {func(c tree) { link(c, 0)["address"] = "10.21.0.11" }, []string{"hosts[0].links[0].address: 10.21.0.11 is outside"}},
		"one address twice":                 {func(c tree) { link(c, 1)["address"] = "10.20.0.11" }, []string{"hosts[1].links[0].address: 10.20.0.11 is the address of edge1", "hosts[1].name: the last byte"}},
		"one name twice": {func(c tree) { hosts(c, 4)["name"] = "app2" }, []string{`hosts[4].name: "app2" is the name of hosts[3] too`, `base.firewall.extra[0].to[4]: there is no host "app3"`,
			`edge.sites[0].backends[2].host: the plan has no host "app3"`, `edge.sites[1].backends[2].host: the plan has no host "app3"`,
			`edge.sites[2].backends[0].host: the plan has no host "app3"`, `edge.services[0].backends[2].host: the plan has no host "app3"`, "edge.dns.zone: app2 would be", `storage.projects[1].clients[2]: "app3" is neither`}},
		"networks that overlap": {func(c tree) {
			c.at("networks", 0)["cidr"] = "10.0.0.0/8"
			c["networks"] = append(c["networks"].([]any), map[string]any{"name": "other", "cidr": "10.99.0.0/24"})
		}, []string{"networks[0].routes[0].to: 10.30.0.0/16 is part of 10.0.0.0/8", "networks[2].cidr: 10.21.0.0/30 overlaps 10.0.0.0/8 of networks[0] (lan)", "networks[3].cidr: 10.99.0.0/24 overlaps 10.0.0.0/8 of networks[0] (lan)",
			"kubernetes.pods: 10.244.0.0/16 overlaps the plan's network lan", "kubernetes.services: 10.96.0.0/16 overlaps the plan's network lan"}},
		"a role without enough hosts":          {func(c tree) { hosts(c, 1)["roles"] = []any{"app"} }, []string{"roles[0].min: 1 hosts have the role edge", "edge.role: 1 edge", `edge.vips[1].prefer: "edge2" is not an edge`, `edge.bgp.vips[1].prefer: "edge2" is not an edge`}},
		"an even number where a quorum counts": {func(c tree) { hosts(c, 0)["roles"] = []any{"edge", "db"} }, []string{"roles[2].odd: 4 hosts have the role db"}},
		"a role with a typing error":           {func(c tree) { hosts(c, 2)["roles"] = []any{"db", "ap"} }, []string{`hosts[2].roles[1]: there is no role "ap"`}},
		"a bond of one port":                   {func(c tree) { link(c, 0)["bond"].(map[string]any)["members"] = []any{"eno1"} }, []string{"hosts[0].links[0].bond.members: 1 port"}},
		"a gateway elsewhere":                  {func(c tree) { c.at("networks", 1)["gateway"] = "192.0.2.129" }, []string{"networks[1].gateway: 192.0.2.129 is outside"}},

		"no host key":       {func(c tree) { delete(hosts(c, 1), "hostKey") }, []string{"hosts[1].hostKey: the host's key is not known"}},
		"a broken host key": {func(c tree) { hosts(c, 1)["hostKey"] = "ssh-ed25519 AAAA" }, []string{"hosts[1].hostKey: is not a public key"}},
		"no such file of host keys": {func(c tree) {
			delete(hosts(c, 0), "hostKey")
			delete(hosts(c, 1), "hostKey")
			c.at("ssh")["knownHosts"] = "nothing"
		}, []string{"ssh.knownHosts: open nothing", "hosts[0].hostKey: the host's key", "hosts[1].hostKey: the host's key"}},
		"no such private key":        {func(c tree) { c.at("ssh")["keyFile"] = "nothing" }, []string{"ssh.keyFile: stat nothing"}},
		"a port of the bastion":      {func(c tree) { c.at("ssh", "proxy")["port"] = 70000 }, []string{"ssh.proxy.port: 70000 is not a port"}},
		"a port of one host":         {func(c tree) { hosts(c, 4)["ssh"] = map[string]any{"port": -1} }, []string{"hosts[4].ssh.port: -1 is not a port"}},
		"a user who cannot be one":   {func(c tree) { c.at("ssh")["user"] = "De Ploy" }, []string{`ssh.user: "De Ploy" is not a user name`, "base.sshd.allowUsers: De Ploy is missing"}},
		"the controller locked out":  {func(c tree) { c.at("base", "sshd")["allowUsers"] = []any{"alice", "halinux-volumes", "halinux-etcd"} }, []string{"base.sshd.allowUsers: deploy is missing"}},
		"root locked out":            {func(c tree) { delete(c.at("ssh"), "user") }, []string{"base.sshd.rootLogin: no would lock out", "base.sshd.allowUsers: root is missing"}},
		"nobody may administer":      {func(c tree) { delete(c.at("base", "firewall"), "ssh") }, []string{"base.firewall.ssh: nobody could"}},
		"two clocks":                 {func(c tree) { c.at("base", "time")["servers"] = []any{"a.example", "b.example"} }, []string{"base.time.servers: of two clocks"}},
		"no key of a package source": {func(c tree) { source(c, map[string]any{}) }, []string{"base.packages.sources[0].key: is not an armored"}},
		"no file of that key":        {func(c tree) { source(c, map[string]any{"keyFile": "nothing"}) }, []string{"base.packages.sources[0].keyFile: open nothing"}},
		"a file that is no key":      {func(c tree) { source(c, map[string]any{"keyFile": "config.go"}) }, []string{"base.packages.sources[0].keyFile: is not an armored"}},

		"a VIP outside of its network": {func(c tree) { c.at("edge", "vips", 0)["address"] = "10.99.0.1" }, []string{"edge.vips[0].address: 10.99.0.1 is outside of the network lan"}},
		"a VIP that a host has":        {func(c tree) { c.at("edge", "vips", 0)["address"] = "10.20.0.21" }, []string{"edge.vips[0].address: 10.20.0.21 is an address of the host app1"}},
		"one VRID twice":               {func(c tree) { c.at("edge", "vips", 1)["routerId"] = 51 }, []string{"edge.vips[1].routerId: 51 is that of vips[0]"}},
		"a VRID that is none":          {func(c tree) { c.at("edge", "vips", 1)["routerId"] = 256 }, []string{"edge.vips[1].routerId: 256 is not"}},
		"a VIP that is not there":      {func(c tree) { site(c, 0)["vips"] = []any{"publik"} }, []string{`edge.sites[0].vips[0]: there is no VIP "publik"`}},
		"a backend that is not there":  {func(c tree) { site(c, 2)["backends"] = []any{map[string]any{"host": "app9", "port": 80}} }, []string{`edge.sites[2].backends[0].host: the plan has no host "app9"`}},
		"a peer that is an edge":       {func(c tree) { c.at("edge", "bgp", "peers", 0)["address"] = "192.0.2.11" }, []string{"edge.bgp.peers[0].address: 192.0.2.11 is the edge edge1"}},
		"all edges in maintenance":     {func(c tree) { edge(c)["maintenance"] = []any{"edge1", "edge2"} }, []string{"edge.maintenance: no edge would serve"}},
		"adverts too fast":             {func(c tree) { edge(c)["vrrp"] = map[string]any{"profile": "fast", "advert": "20ms"} }, []string{"edge.vrrp.advert: 20ms is outside"}},
		"one port twice": {func(c tree) {
			c.at("edge", "services", 0)["vips"] = []any{"public"}
			c.at("edge", "services", 0)["port"] = 443
		}, []string{"edge.services[0].port: 443 on the VIP public"}},
		"a check that trusts nobody": {func(c tree) { site(c, 0)["backendTls"] = map[string]any{"serverName": "app.example.net"} }, []string{"edge.sites[0].backendTls.ca: is missing"}},
		"an authority that nobody asks": {func(c tree) {
			site(c, 0)["certificate"] = map[string]any{}
			delete(c.at("kubernetes"), "sites")
			delete(c.at("todo", "site"), "certificate")
		}, []string{"edge.acme: no site uses it"}},

		"no witness":                             {func(c tree) { delete(storage(c), "witnesses") }, []string{"storage.witnesses: there is none"}},
		"a witness that is not there":            {func(c tree) { storage(c)["witnesses"] = []any{"app1", "app9"} }, []string{`storage.witnesses[1]: the plan has no host "app9"`}},
		"a witness that stores":                  {func(c tree) { storage(c)["witnesses"] = []any{"store1"} }, []string{"storage.witnesses[0]: store1 is a storage host"}},
		"one storage host":                       {func(c tree) { hosts(c, 6)["roles"] = []any{} }, []string{"roles[3].min: 1 hosts have the role storage", "storage.role: 1 storage host", "storage.disks.store2: is not a storage host", `storage.fencing.agents[1].host: "store2" is not a storage host`}},
		"no fencing":                             {func(c tree) { storage(c)["fencing"] = map[string]any{}; delete(c.at("secrets"), "fencing") }, []string{"storage.fencing: there is none"}},
		"a VIP of the storage elsewhere":         {func(c tree) { storage(c)["vip"] = "10.99.0.1" }, []string{"storage.vip: 10.99.0.1 is outside of the network lan"}},
		"a VIP of the storage that the edge has": {func(c tree) { storage(c)["vip"] = "10.20.0.100" }, []string{"storage.vip: 10.20.0.100 is edge.vips[0] (internal) too"}},
		"agents and a watchdog":                  {func(c tree) { c.at("storage", "fencing")["watchdog"] = map[string]any{} }, []string{"storage.fencing.watchdog: agents are given too"}},
		"an agent of nobody": {func(c tree) {
			c.at("storage", "fencing", "agents", 1)["host"] = "store3"
			delete(c.at("secrets", "fencing"), "store2")
		}, []string{"storage.fencing.agents: none is for store2", `storage.fencing.agents[1].host: "store3" is not a storage host`}},
		"a token too short": {func(c tree) { storage(c)["token"] = "100ms" }, []string{"storage.token: 100ms is outside"}},
		"a watchdog too slow": {func(c tree) {
			c.at("storage")["fencing"] = map[string]any{"watchdog": map[string]any{"timeout": "2m"}}
			delete(c.at("secrets"), "fencing")
		}, []string{"storage.fencing.watchdog.timeout: 2m0s is outside"}},
		"one fsid twice": {func(c tree) { c.at("storage", "projects", 0)["id"] = 9; c.at("storage", "projects", 2)["id"] = 9 }, []string{"storage.projects[2].id: 9 is that of projects[0] (home) too"}},
		"a disk in two places": {func(c tree) {
			c.at("storage", "disks", "store2", "groups", 0)["devices"] = []any{"pair", "/dev/disk/by-id/nvme-eui.0025385b00000001"}
		}, []string{"storage.disks.store2.groups[0].devices[1]: /dev/disk/by-id/nvme-eui.0025385b00000001 is arrays[0].members[0] too"}},
		"replicas of two sizes":          {func(c tree) { c.at("storage", "disks", "store2", "groups", 0, "volumes", 0)["size"] = 1023996 }, []string{"storage.volume: data/nfs has 1023996 MiB on store2, 1024000 MiB on store1"}},
		"a key of the storage":           {func(c tree) { storage(c)["fence"] = map[string]any{} }, []string{"storage.fence: is not a key"}},
		"a project out of its directory": {func(c tree) { c.at("storage", "projects", 0)["name"] = "../etc" }, []string{`storage.projects[0].name: "../etc" would leave`}},
		"a quota beyond the volume":      {func(c tree) { c.at("storage", "projects", 0)["quota"] = 2048000 }, []string{"storage.projects[0].quota: 2048000 MiB are more than"}},
		"everybody a client":             {func(c tree) { c.at("storage", "projects", 2)["clients"] = []any{"0.0.0.0/0"} }, []string{"storage.projects[2].clients[0]: 0.0.0.0/0"}},
		"a password that can be read": {func(c tree) {
			c.at("storage", "fencing", "agents", 0, "options")["password"] = "x"
			delete(c.at("secrets"), "fencing")
		}, []string{"storage.fencing.agents[0].options: password would be shown"}},
		"a provisioner who cannot log in": {func(c tree) { c.at("base", "sshd")["allowUsers"] = []any{"deploy", "halinux-etcd"} }, []string{"base.sshd.allowUsers: halinux-volumes is missing"}},
		"a purge of what is used":         {func(c tree) { storage(c)["purge"] = []any{"home"} }, []string{"storage.purge[0]: home is still one of projects"}},
		"a secret of no agent": {func(c tree) {
			c.at("secrets", "fencing")["store1"] = map[string]any{"fence_ipmi": map[string]any{"password": "sentinel-p"}}
		}, []string{"secrets.fencing.store1.fence_ipmi: there is no such agent"}},
		"a secret that is no option": {func(c tree) { c.at("secrets", "fencing", "store2", "fence_ipmilan")["Pass word"] = "sentinel-p" }, []string{`secrets.fencing.store2.fence_ipmilan: "Pass word" is not an option`}},

		"a missing secret":           {func(c tree) { delete(c.at("secrets", "certificates"), "shop") }, []string{"secrets.certificates.shop: is missing"}},
		"a secret of nobody":         {func(c tree) { c.at("secrets", "bgp")["isp-c"] = "x" }, []string{"secrets.bgp.isp-c: there is no BGP peer"}},
		"a certificate of nobody":    {func(c tree) { c.at("secrets", "certificates")["shpo"] = "x" }, []string{"secrets.certificates.shpo: there is no site"}},
		"a bad transfer key":         {func(c tree) { c.at("secrets")["tsig"] = "secret?" }, []string{"secrets.tsig: is not base64"}},
		"a transfer key for nothing": {func(c tree) { c.at("secrets")["tsig"] = "MDEyMzQ1Njc4OTAxMjM0NTY3ODk="; delete(edge(c), "dns") }, []string{"secrets.tsig: no name server"}},
		"a certificate without PEM":  {func(c tree) { site(c, 1)["certificate"].(map[string]any)["certificate"] = "shop.pem" }, []string{"edge.sites[1].certificate.certificate: holds no PEM"}},
		"the key of another":         {func(c tree) { _, c.at("secrets", "certificates")["shop"] = certificate(t, time.Now(), time.Now(), "x") }, []string{"secrets.certificates.shop: private key does not match"}},
		"a certificate that has ended": {func(c tree) {
			given(t, c, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour), "shop.example.net")
		}, []string{`edge.sites[1].certificate.certificate: "shop.example.net" expired on`}},
		"one that has not begun": {func(c tree) {
			given(t, c, time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour), "shop.example.net")
		}, []string{`edge.sites[1].certificate.certificate: "shop.example.net" is valid from`}},
		"one for another name":  {func(c tree) { given(t, c, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "shop.example.org") }, []string{"edge.sites[1].certificate.certificate: is not for shop.example.net but for shop.example.org"}},
		"drift that is neither": {func(c tree) { c["drift"] = "maybe" }, []string{`drift: "maybe" is neither`}},
	} {
		t.Run(name, func(t *testing.T) {
			c := prod(t)
			test.spoil(c)
			var got []string
			for _, p := range problems(t, c.texts()) {
				got = append(got, p.Path+": "+p.What)
				assert.NotContains(t, p.String(), "sentinel")
			}
			require.Len(t, got, len(test.want), strings.Join(got, "\n"))
			for i, want := range test.want {
				assert.True(t, strings.HasPrefix(got[i], want), "%s\nis not: %s", got[i], want)
			}
		})
	}
}

// A program sees only the keys that it asks for; of a top-level key with a typing
// error it learns by the list of keys that the engine gives it.
func TestTypingErrorInAKeyThatNobodyAsksFor(t *testing.T) {
	t.Setenv("PULUMI_CONFIG", `{"halinux:egde":"{}","halinux:domain":"example.org","aws:region":"x"}`)
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		_, err := Load(ctx)
		return err
	}, pulumi.WithMocks("halinux", "lab", nothing{}))
	require.ErrorContains(t, err, "egde: is not a key of the configuration")
	require.NotContains(t, err.Error(), "region")
}

// source adds a package source with these further keys.
func source(c tree, more map[string]any) {
	s := map[string]any{"name": "mirror", "url": "https://mirror.example.net/debian", "suites": []any{"trixie"}}
	maps.Copy(s, more)
	c.at("base", "packages")["sources"] = []any{s}
}

// given gives the shop another certificate, with its key.
func given(t *testing.T, c tree, from, to time.Time, names ...string) {
	t.Helper()
	c.at("edge", "sites", 1, "certificate")["certificate"], c.at("secrets", "certificates")["shop"] = certificate(t, from, to, names...)
}

// TestReport is what the reader of a terrible configuration sees.
func TestReport(t *testing.T) {
	_, err := Parse(texts(t, "testdata/terrible.yaml"))
	require.Error(t, err)
	golden.Compare(t, "testdata/terrible.golden", err.Error()+"\n")
	_, err = Parse(texts(t, "testdata/misspelled.yaml"))
	require.Error(t, err)
	golden.Compare(t, "testdata/misspelled.golden", err.Error()+"\n")
}

// TestEmpty is what is said to somebody who has written nothing yet.
func TestEmpty(t *testing.T) {
	var paths []string
	for _, p := range problems(t, nil) {
		paths = append(paths, p.Path)
	}
	require.Equal(t, []string{"networks", "hosts", "base.firewall.ssh"}, paths)
}

func TestWay(t *testing.T) {
	c, err := Parse(prod(t).texts())
	require.NoError(t, err)
	hosts, l := c.hosts()
	require.NoError(t, l.Err())
	assert.Equal(t, "10.20.0.11", hosts[0].SSH.Address)
	assert.Equal(t, "deploy", hosts[4].SSH.User, "what a host does not say is as everywhere")
	assert.Equal(t, 2222, hosts[4].SSH.Port)
	assert.Equal(t, "bastion.example.net", hosts[4].SSH.Proxy.Address)
}

func TestKnownHosts(t *testing.T) {
	key := func() ssh.PublicKey {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		public, err := ssh.NewPublicKey(private.Public())
		require.NoError(t, err)
		return public
	}
	plain, hashed, other := key(), key(), key()
	file := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join([]string{
		"# a comment",
		knownhosts.Line([]string{"10.0.0.1"}, plain),
		knownhosts.HashHostname("10.0.0.2") + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hashed))),
		knownhosts.Line([]string{"[10.0.0.1]:2222"}, other),
	}, "\n")), 0o600))
	known, err := knownhosts.New(file)
	require.NoError(t, err)
	for _, test := range []struct {
		address string
		port    int
		want    ssh.PublicKey
	}{{"10.0.0.1", 0, plain}, {"10.0.0.1", 22, plain}, {"10.0.0.2", 0, hashed}, {"10.0.0.1", 2222, other}, {"10.0.0.3", 0, nil}} {
		got := knownKey(known, test.address, test.port)
		want := ""
		if test.want != nil {
			want = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(test.want)))
		}
		assert.Equal(t, want, got, "%s port %d", test.address, test.port)
	}
}

// TestBadCluster is TestBadInput for the cluster.
func TestBadCluster(t *testing.T) {
	cluster := func(c tree) map[string]any { return c.at("kubernetes") }
	for name, test := range map[string]struct {
		spoil func(tree)
		want  []string
	}{
		"two control planes":   {func(c tree) { c.at("hosts", 7)["roles"] = []any{"worker"} }, []string{"kubernetes.controlPlaneRole: 2 control planes"}},
		"a role without hosts": {func(c tree) { cluster(c)["controlPlaneRole"] = "master" }, []string{"kubernetes.controlPlaneRole: there is none"}},
		"one host with two": {func(c tree) {
			c.at("hosts", 8)["roles"] = []any{"worker", "control-plane"}
			c.at("hosts", 9)["roles"] = []any{"control-plane"}
		}, []string{"hosts[8].name: worker1 is controlPlanes[3] too"}},
		"no VIP of the edge":          {func(c tree) { c.at("kubernetes", "endpoint")["address"] = "10.10.0.109" }, []string{`kubernetes.endpoint.address: "10.10.0.109" is no VIP of the edge`}},
		"a port that is taken":        {func(c tree) { c.at("kubernetes", "endpoint")["port"] = 8080 }, []string{"kubernetes.endpoint: "}},
		"ranges that overlap":         {func(c tree) { cluster(c)["pods"] = "10.10.0.0/16" }, []string{"kubernetes.pods: 10.10.0.0/16 overlaps the plan's network lan", "kubernetes.pods: 10.10.0.0/16 holds the endpoint"}},
		"a host that is not one":      {func(c tree) { cluster(c)["nodes"] = map[string]any{"worker9": map[string]any{}} }, []string{"kubernetes.nodes.worker9: is no host of the cluster"}},
		"a site that nobody leads to": {func(c tree) { delete(c, "edge") }, []string{"kubernetes.sites: there is no edge"}},
		"a site that leads nowhere":   {func(c tree) { cluster(c)["ingress"] = map[string]any{"off": true} }, []string{"kubernetes.sites: there is no ingress controller"}},
		"backends of one's own": {func(c tree) {
			c.at("kubernetes", "sites", 0)["backends"] = []any{map[string]any{"host": "worker1", "port": 80}}
		}, []string{"kubernetes.sites[0].backends: are the cluster's workers"}},
		"a check of one's own": {func(c tree) { c.at("kubernetes", "sites", 0)["check"] = map[string]any{"path": "/healthz"} }, []string{"kubernetes.sites[0].check: is the ingress controller's"}},
		"TLS to the ingress controller": {func(c tree) {
			c.at("kubernetes", "sites", 0)["backendTls"] = map[string]any{"serverName": "apps.example.net"}
		}, []string{"kubernetes.sites[0].backendTls.ca: is missing", "kubernetes.sites[0].backendTls: the ingress"}},
		"a name of a site twice":          {func(c tree) { c.at("kubernetes", "sites", 0)["hosts"] = []any{"www.lab.halinux.test"} }, []string{"kubernetes.sites[0].hosts[0]: www.lab.halinux.test is a name of", "edge.dns.zone: www would be"}},
		"ports of the ingress controller": {func(c tree) { cluster(c)["ingress"] = map[string]any{"port": 80, "checkPort": 80} }, []string{"kubernetes.ingress.port: 80", "kubernetes.ingress.checkPort: 80 is not", "kubernetes.ingress.checkPort: 80 is that"}},
		"copies that nobody may bring": {func(c tree) {
			c.at("base")["sshd"] = map[string]any{"allowUsers": []any{"root"}}
			cluster(c)["snapshots"] = map[string]any{"every": "1h", "copyTo": "backend1"}
		}, []string{"kubernetes.snapshots.copyTo: the key of backend1 is not known", "base.sshd.allowUsers: halinux-etcd is missing"}},
		"copies to nobody": {func(c tree) { cluster(c)["snapshots"] = map[string]any{"every": "1h", "copyTo": "backup1"} }, []string{`kubernetes.snapshots.copyTo: there is no host "backup1"`}},
		"a key of it":      {func(c tree) { cluster(c)["endpont"] = "x" }, []string{"kubernetes.endpont: is not a key"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := treeOf(t, texts(t, "../Pulumi.kubernetes.yaml"))
			delete(c.at("base"), "packages")
			c.at("ssh")["insecureIgnoreHostKey"] = true
			delete(c.at("ssh"), "knownHosts")
			test.spoil(c)
			found := problems(t, c.texts())
			require.Len(t, found, len(test.want), "%v", found)
			for i, p := range found {
				assert.Contains(t, p.String(), test.want[i])
			}
		})
	}
}

// A file that is not there is told of once, not once per host.
func TestKnownHostsMissing(t *testing.T) {
	c, err := Parse(prod(t).texts())
	require.NoError(t, err)
	c.SSH.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
	for i := range c.Hosts {
		c.Hosts[i].HostKey = ""
	}
	_, l := c.hosts()
	assert.Len(t, l.All(), 1)
	assert.ErrorContains(t, l.Err(), "ssh.knownHosts")
}

// nothing is an engine that makes whatever it is asked for.
type nothing struct{}

func (nothing) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	outputs := args.Inputs.Copy()
	if input, ok := outputs["input"]; ok {
		outputs["output"] = input
	}
	return args.Name, outputs, nil
}

func (nothing) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

// render runs the program up to the engine: all phases are planned.
func render(t testing.TB, texts map[string]string) {
	t.Helper()
	settings := map[string]string{}
	for key, text := range texts {
		settings["halinux:"+key] = text
	}
	err := pulumi.RunErr(Platform, pulumi.WithMocks("halinux", "test", nothing{}), func(i *pulumi.RunInfo) { i.Config = settings })
	require.NoError(t, err)
}

// FuzzParse: no text makes the reader panic, and whatever it accepts can be
// turned into phases.
func FuzzParse(f *testing.F) {
	for _, key := range keys {
		f.Add(key, "")
		f.Add(key, "{}")
		f.Add(key, "[null]")
		f.Add(key, prod(f).texts()[key])
	}
	f.Add("ssh", `{"insecureIgnoreHostKey": true, "dialTimeout": 1}`)
	f.Add("edge", `{"network": "lan", "vips": [{"name": "a", "address": "10.20.0.9", "routerId": 9}]}`)
	f.Fuzz(func(t *testing.T, key, text string) {
		if !slices.Contains(keys, key) {
			t.Skip("unknown keys are for TestBadInput; here values are to be found")
		}
		lower := strings.ToLower(text)
		if strings.Contains(lower, "file") || strings.Contains(lower, "knownhosts") {
			t.Skip("it would read any file of this machine")
		}
		c := prod(t)
		all := c.texts()
		all[key] = text
		if _, err := Parse(all); err != nil {
			var report *problem.Error
			if !errors.As(err, &report) {
				t.Fatalf("not a report: %v", err)
			}
			for _, p := range report.Problems {
				if p.Path == "" || p.What == "" {
					t.Fatalf("a problem without place or reason: %+v", p)
				}
			}
			return
		}
		render(t, all)
	})
}

// TestPathsAreKeys: what a report calls a path is a key as it was written.
func TestPathsAreKeys(t *testing.T) {
	raw := map[string]any{"edge": map[string]any{"vips": []any{map[string]any{"routerId": "x"}}}, "secrets": map[string]any{"bgp": map[string]any{}}}
	for path, want := range map[string]string{
		"Edge.VIPs[0].RouterID": "edge.vips[0].routerId",
		"Edge.VIPs[7].RouterID": "edge.vips[7].RouterID",
		"Secrets.BGP[a.b]":      "secrets.bgp[a.b]",
		"":                      "",
	} {
		assert.Equal(t, want, written(raw, path))
	}
	assert.Equal(t, fmt.Sprint(keys), fmt.Sprint(slices.Compact(slices.Clone(keys))))
}
