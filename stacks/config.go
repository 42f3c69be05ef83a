// Package stacks is the platform as a whole: what Pulumi.<stack>.yaml may say
// ([Config]) and how the components are wired together ([Platform]). What a
// component does on its hosts is the component's own matter.
package stacks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
)

// Config is what a stack's configuration may say, below the key "halinux:".
// Beside its own keys it takes the arguments of the components as they are.
type Config struct {
	// Domain is the DNS domain of all hosts.
	Domain string
	// Networks and Hosts are the address plan.
	Networks []host.Network
	Hosts    []HostConfig
	// SSH holds for every host unless the host says otherwise.
	SSH SSHConfig
	// Drift is "off" (default) or "detect": look at all hosts before the
	// preview or update, and show and repair what differs on them.
	Drift string
	// Base is the base system of every host.
	Base host.BaseArgs
	// Edge is the load balancers. Default: none.
	Edge *EdgeConfig
	// Secrets are set with `pulumi config set --path 'secrets.tsig' --secret`.
	Secrets SecretsConfig
}

// EdgeConfig is the edge: the hosts by their role, and the rest as haedge
// describes it.
type EdgeConfig struct {
	haedge.HAEdgeArgs `mapstructure:",squash"`
	// Role is which hosts are edges. Default "edge".
	Role string
}

// SecretsConfig are the values that stand encrypted in the settings.
type SecretsConfig struct {
	// BGP are the passwords of the BGP peers, by the peer's name.
	BGP map[string]string
	// Certificates are the private keys of given certificates, as PEM, by the
	// site's name.
	Certificates map[string]string
	// TSIG is the key for zone transfers. Default: made once.
	TSIG string
}

// SSHConfig is the way to the hosts.
type SSHConfig struct {
	User string // default root
	Port int    // default 22
	// KnownHosts is a file in the format of OpenSSH, relative to the project,
	// that holds the hosts' public keys by address.
	KnownHosts            string
	InsecureIgnoreHostKey bool
	KeyFile               string // default: the SSH agent
	Proxy                 *ProxyConfig
	DialTimeout           int // seconds for one attempt, default 15
	DialAttempts          int // default 10
}

// ProxyConfig is a bastion on the way to the hosts.
type ProxyConfig struct {
	Address, User, HostKey, KeyFile string
	Port                            int
}

// HostConfig is one machine.
type HostConfig struct {
	Name  string
	Roles []string
	// Address is where the controller reaches the host. Default: the address
	// of its first link.
	Address string
	HostKey string // default: from knownHosts
	SSH     *SSHConfig
	Links   []host.Link
}

// keys are the top-level keys of the configuration.
var keys = []string{"domain", "networks", "hosts", "ssh", "drift", "base", "edge", "secrets"}

// Load reads the configuration of the stack that runs.
func Load(ctx *pulumi.Context) (*Config, error) {
	texts := map[string]string{}
	for _, key := range keys {
		if text, ok := ctx.GetConfig("halinux:" + key); ok {
			texts[key] = text
		}
	}
	for _, key := range unknownKeys() {
		texts[key] = ""
	}
	return Parse(texts)
}

// Parse reads a configuration strictly: a key that nobody knows is a problem,
// not a default. It takes the value of each key as the engine hands it over.
func Parse(texts map[string]string) (*Config, error) {
	raw := map[string]any{}
	var l problem.List
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if !slices.Contains(keys, key) {
			l.Add(key, "is not a key of the configuration", "check the spelling; known are "+strings.Join(keys, ", "))
			continue
		}
		raw[key] = parse(texts[key])
	}
	c := &Config{Drift: "off"}
	l.Include("", decode(raw, c))
	if err := l.Err(); err != nil {
		return nil, err
	}
	l = c.Validate()
	return c, l.Err()
}

// parse takes what the engine hands over: JSON for objects and lists, and the
// bare text for everything else.
func parse(text string) any {
	var v any
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		if json.Unmarshal([]byte(text), &v) == nil {
			return v
		}
	}
	return text
}

// unknownKeys are those that stand in the configuration and mean nothing. The
// engine tells a program its keys in PULUMI_CONFIG.
func unknownKeys() []string {
	all := map[string]any{}
	if json.Unmarshal([]byte(os.Getenv("PULUMI_CONFIG")), &all) != nil {
		return nil
	}
	var unknown []string
	for name := range all {
		if key, ours := strings.CutPrefix(name, "halinux:"); ours && !slices.Contains(keys, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// decode fills a struct from what was parsed, and reports every unknown key
// and every value of the wrong type with its path.
func decode(raw map[string]any, into any) problem.List {
	var l problem.List
	var meta mapstructure.Metadata
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           into,
		Metadata:         &meta,
		WeaklyTypedInput: true, // the engine turns every scalar into a string
		DecodeHook:       mapstructure.StringToTimeDurationHookFunc(),
	})
	if err != nil {
		l.Add("", err.Error(), "")
		return l
	}
	if err := d.Decode(raw); err != nil {
		var parts interface{ Unwrap() []error }
		if errors.As(err, &parts) {
			for _, part := range parts.Unwrap() {
				addDecodeError(&l, part)
			}
		} else {
			addDecodeError(&l, err)
		}
	}
	slices.Sort(meta.Unused)
	for _, key := range meta.Unused {
		l.Add(lowerCamel(key), "is not a key of the configuration", "check the spelling")
	}
	return l
}

func addDecodeError(l *problem.List, err error) {
	var named *mapstructure.DecodeError
	if errors.As(err, &named) {
		l.Add(lowerCamel(named.Name()), named.Unwrap().Error(), "")
		return
	}
	l.Add("", err.Error(), "")
}

// lowerCamel turns the path of Go fields (Hosts[0].HostKey) into the path of
// keys (hosts[0].hostKey).
func lowerCamel(path string) string {
	words := strings.Split(path, ".")
	for i, w := range words {
		upper := 0
		for upper < len(w) && w[upper] >= 'A' && w[upper] <= 'Z' {
			upper++
		}
		if upper > 1 && upper < len(w) && w[upper] != '[' {
			upper-- // SSHConfig -> sshConfig
		}
		words[i] = strings.ToLower(w[:upper]) + w[upper:]
	}
	return strings.Join(words, ".")
}

// Validate reports everything that is wrong with the configuration, as far as
// it can be known without touching a host.
func (c *Config) Validate() problem.List {
	var l problem.List
	if c.Drift != "off" && c.Drift != "detect" {
		l.Add("drift", fmt.Sprintf("%q is neither off nor detect", c.Drift), "")
	}
	hosts, hl := c.hosts()
	l.Include("", hl)
	for i, h := range hosts {
		l.Include(fmt.Sprintf("hosts[%d]", i), h.Validate())
	}
	edge := c.edge(hosts)
	if edge != nil {
		l.Include("edge", edge.Validate())
	}
	l.Include("secrets", c.validateSecrets(edge))
	base, bl := c.base(hosts)
	l.Include("base", bl)
	l.Include("base", base.Validate())
	return l
}

// plan is the address plan.
func (c *Config) plan() host.AddressPlan {
	p := host.AddressPlan{Domain: c.Domain, Networks: c.Networks}
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
	if edge := c.edge(hosts); edge != nil {
		args.Firewall.Flows = edge.Flows()
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

// edge are the arguments of the edge, or nil where there is none.
func (c *Config) edge(hosts []host.Host) *haedge.HAEdgeArgs {
	if c.Edge == nil {
		return nil
	}
	args := c.Edge.HAEdgeArgs
	args.Plan = c.plan()
	names := args.Plan.ByRole(cmp.Or(c.Edge.Role, "edge"))
	for _, h := range hosts {
		if slices.Contains(names, h.Name) {
			args.Hosts = append(args.Hosts, h)
		}
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
	for i, s := range args.Sites {
		args.Sites[i].Certificate.Key = c.Secrets.Certificates[s.Name]
	}
	if args.DNS != nil && c.Secrets.TSIG != "" {
		dns := *args.DNS
		dns.Key = secret(c.Secrets.TSIG)
		args.DNS = &dns
	}
	return &args
}

// resolver points all hosts at the name servers on the edges, once these
// answer.
func (c *Config) resolver(args *host.BaseArgs, base *host.Base, edge *haedge.HAEdge) *host.ResolverArgs {
	r := &host.ResolverArgs{Plan: args.Plan}
	var ready []pulumi.Resource
	for _, name := range slices.Sorted(maps.Keys(edge.Hosts)) {
		ready = append(ready, edge.Hosts[name].Resources()...)
		r.Servers = append(r.Servers, args.Plan.Address(name, c.Edge.Network).String())
	}
	for _, h := range args.Hosts {
		if e, ok := edge.Hosts[h.Name]; ok {
			r.Hosts = append(r.Hosts, e)
		} else {
			r.Hosts = append(r.Hosts, base.Hosts[h.Name].After(ready...))
		}
	}
	return r
}

func secret(value string) pulumi.StringInput {
	return pulumi.ToSecret(pulumi.String(value)).(pulumi.StringOutput)
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
	return l
}

// hosts are the machines with the way to each.
func (c *Config) hosts() ([]host.Host, problem.List) {
	var l problem.List
	hosts := make([]host.Host, len(c.Hosts))
	for i, hc := range c.Hosts {
		way := c.SSH
		if hc.SSH != nil {
			way = *hc.SSH
		}
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
		if way.KnownHosts != "" {
			for _, hop := range []*host.SSH{&s, s.Proxy} {
				if hop == nil || hop.HostKey != "" {
					continue
				}
				key, err := knownKey(expand(way.KnownHosts), hop.Address, hop.Port)
				if err != nil {
					l.Add("ssh.knownHosts", err.Error(), "")
				}
				hop.HostKey = key
			}
		}
		hosts[i] = host.Host{Name: hc.Name, SSH: s}
	}
	return hosts, l
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

// knownKey is the public key that a known_hosts file has for an address, or
// "" where it has none.
func knownKey(file, address string, port int) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if port == 0 {
		port = 22
	}
	want := knownhosts.Normalize(fmt.Sprintf("[%s]:%d", address, port))
	for len(b) > 0 {
		marker, names, key, _, rest, err := ssh.ParseKnownHosts(b)
		if err != nil {
			break // io.EOF, or nothing more that can be read
		}
		b = rest
		if marker == "" && slices.Contains(names, want) {
			return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
		}
	}
	return "", nil
}
