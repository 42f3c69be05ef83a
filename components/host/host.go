// Package host turns one Debian machine into what a component needs of it.
//
// Its unit is the [Phase]: one concern on one host, as files and three small
// shell scripts, sent over one SSH connection. Components plan phases and give
// them to [Host.Apply]; [Base] is the component that every host starts with.
// This is the only package that knows the command plugin. It leaves to the
// components what a phase contains and to the stacks which hosts there are.
package host

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"

	"github.com/pulumi/pulumi-command/sdk/go/command/remote"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/problem"
)

// Host is one machine: its name, the way to it, and what was found on it.
type Host struct {
	// Name is the host's own name, a DNS label. It is part of the name of
	// every resource on this host.
	Name string
	// SSH is how the controller reaches it.
	SSH SSH
	// Drift is what [Probe] found on the host: for each phase by name the
	// lines of what differs. Nil means that nobody looked.
	Drift *Drift

	after []pulumi.Resource // what this host's next phase waits for
	ready bool              // whether the library has been planned on it
}

// SSH is the way to a host. The agent in SSH_AUTH_SOCK is used unless a key
// file is named, so that no key enters the state and a new key is no change.
type SSH struct {
	Address string // IP address or DNS name
	Port    int    // default 22
	User    string // default root; another user needs sudo without a password
	// HostKey is the host's public key as in a known_hosts file
	// ("ssh-ed25519 AAAA..."). Required, unless InsecureIgnoreHostKey is set.
	HostKey string
	// InsecureIgnoreHostKey talks to whoever answers. For trials only.
	InsecureIgnoreHostKey bool
	// KeyFile is the path of a private key on the controller; it is read when
	// the program runs and kept in the state as a secret. Default: the agent.
	KeyFile string
	// Proxy is the bastion on the way to the host, if there is one.
	Proxy *SSH
	// DialTimeout is for one attempt to connect, in seconds; default 15.
	DialTimeout int
	// DialAttempts is after how many failed attempts a host counts as
	// unreachable; default 10.
	DialAttempts int
}

// After is the host with something more for its next phase to wait for.
func (h Host) After(resources ...pulumi.Resource) Host {
	h.after = append(slices.Clone(h.after), resources...)
	return h
}

// DNSLabel is what a name must be to stand in host names, file names and
// resource names (RFC 1123).
var DNSLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

var dnsName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?$`)
var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// Validate reports what is wrong with a host's name or the way to it.
func (h Host) Validate() problem.List {
	var l problem.List
	if !DNSLabel.MatchString(h.Name) {
		l.Add("name", fmt.Sprintf("%q is not a DNS label", h.Name), "use lower-case letters, digits and hyphens, at most 63")
	}
	l.Include("ssh", h.SSH.validate())
	return l
}

func (s SSH) validate() problem.List {
	var l problem.List
	if _, err := netip.ParseAddr(s.Address); err != nil && !dnsName.MatchString(s.Address) {
		l.Add("address", fmt.Sprintf("%q is neither an IP address nor a DNS name", s.Address), "write 10.10.0.11, or edge1.example.org")
	}
	if s.Port < 0 || s.Port > 65535 {
		l.Add("port", fmt.Sprintf("%d is not a port", s.Port), "use 1 to 65535, or leave it out for 22")
	}
	if s.User != "" && !userName.MatchString(s.User) {
		l.Add("user", fmt.Sprintf("%q is not a user name", s.User), "use lower-case letters, digits, hyphens and underscores, at most 32")
	}
	switch {
	case s.HostKey != "":
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey)); err != nil {
			l.Add("hostKey", fmt.Sprintf("is not a public key: %v", err), "copy the line that `ssh-keyscan` prints, without the address")
		}
	case !s.InsecureIgnoreHostKey:
		l.Add("hostKey", "the host's key is not known", "give hostKey, or a knownHosts file that has it, or (not in production) insecureIgnoreHostKey: true")
	}
	if s.KeyFile != "" {
		if _, err := os.Stat(s.KeyFile); err != nil {
			l.Add("keyFile", err.Error(), "give the path of a private key, or leave it out to use the SSH agent")
		}
	}
	if s.Proxy != nil {
		l.Include("proxy", s.Proxy.validate())
	}
	return l
}

func (s SSH) user() string {
	if s.User == "" {
		return "root"
	}
	return s.User
}

func (s SSH) port() int {
	if s.Port == 0 {
		return 22
	}
	return s.Port
}

func (s SSH) dialTimeout() int {
	if s.DialTimeout == 0 {
		return 15
	}
	return s.DialTimeout
}

func (s SSH) dialAttempts() int {
	if s.DialAttempts == 0 {
		return 10
	}
	return s.DialAttempts
}

func (s SSH) hostKey() pulumi.StringPtrInput {
	if s.InsecureIgnoreHostKey {
		return nil
	}
	return pulumi.StringPtr(s.HostKey)
}

func (s SSH) privateKey() (pulumi.StringPtrInput, error) {
	if s.KeyFile == "" {
		return nil, nil
	}
	key, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the private key for %s: %w", s.Address, err)
	}
	return pulumi.ToSecret(pulumi.String(string(key))).(pulumi.StringOutput).ToStringPtrOutput(), nil
}

// connection is what the plugin dials with. Every value that has a default in
// the plugin is given, so that a new default is no change.
func (s SSH) connection() (remote.ConnectionInput, error) {
	key, err := s.privateKey()
	if err != nil {
		return nil, err
	}
	c := remote.ConnectionArgs{
		Host:           pulumi.String(s.Address),
		Port:           pulumi.Float64(s.port()),
		User:           pulumi.String(s.user()),
		HostKey:        s.hostKey(),
		PrivateKey:     key,
		PerDialTimeout: pulumi.Int(s.dialTimeout()),
		DialErrorLimit: pulumi.Int(s.dialAttempts()),
	}
	if p := s.Proxy; p != nil {
		proxyKey, err := p.privateKey()
		if err != nil {
			return nil, err
		}
		c.Proxy = remote.ProxyConnectionArgs{
			Host:           pulumi.String(p.Address),
			Port:           pulumi.Float64(p.port()),
			User:           pulumi.String(p.user()),
			HostKey:        p.hostKey(),
			PrivateKey:     proxyKey,
			PerDialTimeout: pulumi.Int(p.dialTimeout()),
			DialErrorLimit: pulumi.Int(p.dialAttempts()),
		}
	}
	return c, nil
}

// Names are the names of hosts, in their order.
func Names(hosts []Host) []string {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return names
}
