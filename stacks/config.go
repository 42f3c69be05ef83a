// Package stacks is the platform as a whole: what Pulumi.<stack>.yaml may say
// ([Config]) and how the components are wired together ([Platform]). What a
// component does on its hosts is the component's own matter.
package stacks

import (
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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
	// Networks are those that the hosts have links to.
	Networks []host.Network
	// Hosts are all machines of the platform.
	Hosts []HostConfig
	// Roles says which roles there are and how many hosts each needs. Default:
	// any role, any number.
	Roles []host.Role
	// SSH is the way to every host; what a host's own says goes before it.
	SSH SSHConfig
	// Drift is "off" (default) or "detect": look at all hosts before the
	// preview or update, and show and repair what differs on them.
	Drift string
	// Base is the base system of every host.
	Base host.BaseArgs
	// Edge is the load balancers. Default: none.
	Edge *EdgeConfig
	// Secrets are set with
	// `pulumi config set --secret --path 'halinux:secrets.tsig'`.
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
	// TSIG is the key for zone transfers, base64 of 16 bytes or more. Default:
	// made once and kept in the state.
	TSIG string
}

// SSHConfig is the way to the hosts.
type SSHConfig struct {
	User string // default root; another user needs sudo without a password
	Port int    // default 22
	// KnownHosts is a file in the format of OpenSSH (sshd(8)), relative to the
	// project, that holds the hosts' public keys by address; hashed names are
	// understood. Default: each host names its key itself.
	KnownHosts string
	// InsecureIgnoreHostKey talks to whoever answers. For trials only.
	InsecureIgnoreHostKey bool
	KeyFile               string       // a private key; default: the SSH agent
	Proxy                 *ProxyConfig // default: none
	DialTimeout           int          // seconds for one attempt; default 15
	DialAttempts          int          // default 10
}

// ProxyConfig is a bastion on the way to the hosts.
type ProxyConfig struct {
	Address string // IP address or DNS name
	Port    int    // default 22
	User    string // default root
	HostKey string // default: from knownHosts
	KeyFile string // default: the SSH agent
}

// HostConfig is one machine.
type HostConfig struct {
	Name  string   // a DNS label; part of the name of everything on the host
	Roles []string // free words, like edge and backend; default none
	// Address is where the controller reaches the host. Default: the address
	// of its first link.
	Address string
	HostKey string // "ssh-ed25519 AAAA..."; default: from knownHosts
	// SSH overrides single values of the common way. Default: nothing.
	SSH   *SSHConfig
	Links []host.Link // one or more
}

// keys are the top-level keys of the configuration.
var keys = []string{"domain", "networks", "roles", "hosts", "ssh", "drift", "base", "edge", "secrets"}

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

// Parse reads a configuration strictly and reports all that is wrong with it,
// at once: a key that nobody knows is a problem, not a default. It takes the
// value of each key as the engine hands it over.
func Parse(texts map[string]string) (*Config, error) {
	c, l := read(texts)
	unread := l.All()
	values := c.Validate()
	for _, p := range values.All() {
		// What could not be read has been reported, and has no value to judge.
		if !slices.ContainsFunc(unread, func(u problem.Problem) bool {
			return strings.HasPrefix(strings.ToLower(p.Path)+".", strings.ToLower(u.Path)+".")
		}) {
			l.Add(p.Path, p.What, p.Remedy)
		}
	}
	if err := l.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Read is the part of [Parse] that does not judge the values, for who needs
// only the way to the hosts and has no secrets.
func Read(texts map[string]string) (*Config, error) {
	c, l := read(texts)
	return c, l.Err()
}

func read(texts map[string]string) (*Config, problem.List) {
	raw := map[string]any{}
	var l problem.List
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if !slices.Contains(keys, key) {
			l.Add(key, "is not a key of the configuration", "check the spelling; known are "+strings.Join(keys, ", "))
			continue
		}
		raw[key] = scalars(&l, key, parse(texts[key]))
	}
	c := &Config{Drift: "off"}
	unread := decode(raw, c)
	if unread.Err() != nil {
		// The decoder leaves out the whole of what has a part that it cannot
		// read. Without these parts it can, and the rest can be judged.
		for _, p := range unread.All() {
			prune(raw, p.Path)
		}
		c = &Config{Drift: "off"}
		_ = decode(raw, c) // said already
	}
	l.Include("", unread)
	return c, l
}

var step = regexp.MustCompile(`[^.\[\]]+`)

// prune takes the value at a path of keys away; of a list, it empties the entry.
func prune(raw map[string]any, path string) {
	var at any = raw
	drop := func() {}
	for _, key := range step.FindAllString(path, -1) {
		switch v := at.(type) {
		case map[string]any:
			below, ok := v[key]
			if !ok {
				continue // the index of a list of one, written without the list
			}
			drop = func() { delete(v, key) }
			at = below
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n >= len(v) {
				return
			}
			drop = func() { v[n] = map[string]any{} }
			at = v[n]
		}
	}
	drop()
}

// parse takes what the engine hands over: JSON for objects and lists, and the
// bare text for everything else.
func parse(text string) any {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return text
	}
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return text
	}
	return v
}

// scalars makes every number and truth value the text that it was written as.
// The decoder parses texts with care, while it cuts 1.5 to 1, takes 60 for 60
// nanoseconds and lets large numbers wrap. A key without a value is reported:
// it reads like "as by default", and would mean "not at all".
func scalars(l *problem.List, path string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			v[key] = scalars(l, path+"."+key, v[key])
		}
	case []any:
		for i := range v {
			v[i] = scalars(l, fmt.Sprintf("%s[%d]", path, i), v[i])
		}
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		l.Add(path, "has no value", "write {} for all defaults, or leave the key out")
		return map[string]any{}
	}
	return v
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
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           into,
		ErrorUnused:      true, // its list of unused keys ends at the first error
		WeaklyTypedInput: true, // all scalars are texts
		DecodeHook:       hook,
	})
	if err != nil {
		l.Add("", err.Error(), "")
		return l
	}
	addDecodeError(&l, raw, d.Decode(raw))
	return l
}

// hook reads what the decoder cannot read by itself: times, and values that a
// program may also take from another resource.
func hook(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	switch {
	case !ok:
		return value, nil
	case to == reflect.TypeFor[pulumi.StringInput]():
		return pulumi.String(text), nil
	case to == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, wrongType{fmt.Sprintf("%q is not a time", text), "write it with its unit, like 250ms, 30s or 24h"}
		}
		return d, nil
	}
	return value, nil
}

// wrongType is a value that cannot be what its key needs.
type wrongType struct{ what, remedy string }

func (e wrongType) Error() string { return e.what }

// addDecodeError takes the decoder's tree of errors apart.
func addDecodeError(l *problem.List, raw map[string]any, err error) {
	switch e := err.(type) {
	case nil:
	case *mapstructure.DecodeError:
		path := written(raw, e.Name())
		if unknown, ok := strings.CutPrefix(e.Unwrap().Error(), "has invalid keys: "); ok {
			for key := range strings.SplitSeq(unknown, ", ") {
				l.Add(path+"."+key, "is not a key of the configuration", "check the spelling")
			}
			return
		}
		w := why(e)
		l.Add(path, w.what, w.remedy)
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			addDecodeError(l, raw, part)
		}
	case interface{ Unwrap() error }:
		addDecodeError(l, raw, e.Unwrap())
	default:
		l.Add("", err.Error(), "")
	}
}

// why says what a value should have been, in the words of the file.
func why(e *mapstructure.DecodeError) wrongType {
	var w wrongType
	var number *mapstructure.ParseError
	switch {
	case errors.As(e, &w):
		return w
	case errors.As(e, &number) && number.Expected.Kind() == reflect.Bool:
		return wrongType{fmt.Sprintf("%q is neither true nor false", number.Value), ""}
	case errors.As(e, &number):
		return wrongType{fmt.Sprintf("%q is not a whole number in range", number.Value), ""}
	case strings.HasPrefix(e.Unwrap().Error(), "expected a map"):
		return wrongType{"is a single value or a list", "write its keys below it, as `key: value`"}
	}
	return wrongType{"has values below it that cannot stand there", "write a single value, or a list where there may be several"}
}

// written is a path of Go fields, like Hosts[0].HostKey, with the keys as they
// were written: hosts[0].hostKey.
func written(raw any, path string) string {
	words := strings.Split(path, ".")
	at := raw
	for i, word := range words {
		name, index, _ := strings.Cut(word, "[")
		parent, _ := at.(map[string]any)
		at = nil
		for key, value := range parent {
			if strings.EqualFold(key, name) {
				words[i] = key + word[len(name):]
				at = value
			}
		}
		if list, ok := at.([]any); ok {
			if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil && n < len(list) {
				at = list[n]
			}
		}
	}
	return strings.Join(words, ".")
}

// Validate reports everything that is wrong with the configuration, as far as
// it can be known without touching a host. Each path is that of the key to
// change.
func (c *Config) Validate() problem.List {
	var l problem.List
	if c.Drift != "off" && c.Drift != "detect" {
		l.Add("drift", fmt.Sprintf("%q is neither off nor detect", c.Drift), "")
	}
	hosts, hl := c.hosts()
	l.Include("", hl)
	edge := c.edge(hosts)
	var el problem.List
	if edge != nil {
		el = edge.Validate()
	}
	base, bl := c.base(hosts)
	if el.Err() != nil {
		base.Firewall.Flows = nil // made from what is wrong already
	}
	l.Include("base", bl)
	l.Include("base", base.Validate())
	l.Include("edge", el)
	l.Include("secrets", c.validateSecrets(edge))
	return c.placed(l)
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
	hostPath   = regexp.MustCompile(`^(base|edge)\.hosts(?:\[(\d+)\])?(.*)$`)
	sitePath   = regexp.MustCompile(`^edge\.sites\[(\d+)\]\.certificate\.key$`)
	sourcePath = regexp.MustCompile(`^base\.packages\.sources\[(\d+)\]\.key$`)
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
	if m := sitePath.FindStringSubmatch(path); m != nil {
		return "secrets.certificates." + c.Edge.Sites[number(m[1])].Name
	}
	if m := sourcePath.FindStringSubmatch(path); m != nil {
		if s := c.Base.Packages.Sources[number(m[1])]; s.Key == "" && s.KeyFile != "" {
			if _, err := os.Stat(expand(s.KeyFile)); err != nil {
				return ""
			}
			return path + "File"
		}
	}
	m := hostPath.FindStringSubmatch(path)
	switch {
	case m == nil:
		return path
	case m[2] == "" && m[1] == "edge":
		return "edge.role"
	case m[2] == "":
		return "hosts"
	}
	i := number(m[2])
	if m[1] == "edge" {
		i = c.edgeIndexes()[i]
	}
	h, at := c.Hosts[i], fmt.Sprintf("hosts[%d]", i)
	way, isWay := strings.CutPrefix(m[3], ".ssh")
	switch {
	case !isWay:
		return at + m[3]
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

// edgeIndexes are the places of the edges among the hosts.
func (c *Config) edgeIndexes() []int {
	var all []int
	for i, h := range c.Hosts {
		if slices.Contains(h.Roles, cmp.Or(c.Edge.Role, "edge")) {
			all = append(all, i)
		}
	}
	return all
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

// hosts are the machines with the way to each.
func (c *Config) hosts() ([]host.Host, problem.List) {
	var l problem.List
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
		if way.KnownHosts != "" {
			for _, hop := range []*host.SSH{&s, s.Proxy} {
				if hop == nil || hop.HostKey != "" {
					continue
				}
				key, err := knownKey(expand(way.KnownHosts), hop.Address, hop.Port)
				if err != nil {
					l.Add("ssh.knownHosts", err.Error(), "make it with `ssh-keyscan`, and compare the keys with those on the hosts")
				}
				hop.HostKey = key
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

// knownKey is the public key that a known_hosts file has for an address, or
// "" where it has none. An RSA key is taken only where there is no other.
func knownKey(file, address string, port int) (string, error) {
	known, err := knownhosts.New(file)
	if err != nil {
		return "", err
	}
	// The library answers the question whether a key is known; who asks with
	// one that nobody has is told all that are.
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return "", err
	}
	at := net.JoinHostPort(address, strconv.Itoa(cmp.Or(port, 22)))
	var unknown *knownhosts.KeyError
	if !errors.As(known(at, &net.TCPAddr{}, nobody), &unknown) || len(unknown.Want) == 0 {
		return "", nil
	}
	key := unknown.Want[0].Key
	for _, k := range unknown.Want {
		if key.Type() == ssh.KeyAlgoRSA {
			key = k.Key
		}
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}
