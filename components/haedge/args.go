package haedge

import (
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

// HAEdgeArgs says what the edge serves and on which hosts.
type HAEdgeArgs struct {
	// Hosts are the edges, two or more. All of them do the same work.
	Hosts []host.Host `mapstructure:"-"`
	// Plan has the edges' addresses, and every host that a backend names.
	Plan host.AddressPlan `mapstructure:"-"`
	// Network is the plan's network on which the edges talk to each other
	// (VRRP, zone transfers, HAProxy's peers) and reach the backends.
	Network string
	// VRRP is how fast a VIP leaves a dead edge.
	VRRP VRRP
	// VIPs are the addresses on the plan's networks that one healthy edge at a
	// time holds.
	VIPs []VIP
	// BGP announces addresses to the provider's routers. Default: none.
	BGP *BGP
	// Sites are served over HTTPS, each under its own names.
	Sites []Site
	// Services are served over TCP, each on its own port.
	Services []Service
	// DNS makes the edges name servers of the plan. Default: none.
	DNS *DNS
	// ACME is the authority behind the sites whose certificate says "acme".
	ACME *ACME
	// Metrics opens HAProxy's figures to a network. Default: closed.
	Metrics *Metrics
	// Maintenance names edges that are to serve nothing: their routes are
	// withdrawn and their VIPs move, after what is being served has ended.
	Maintenance []string
	// From restricts who may reach the sites and services: ranges, or names
	// of the plan's networks and hosts. Default: everybody.
	From []string
	// Now is when the program runs; leaf certificates are made for it. A test
	// sets it. Default: time.Now().
	Now time.Time `mapstructure:"-"`
}

// VRRP is how the edges watch each other (RFC 9568, keepalived.conf(5)).
type VRRP struct {
	// Profile is "normal", adverts each second and a dead edge replaced within
	// 3.1 s, or "fast". Default normal.
	Profile string
	// Advert is the interval of the fast profile, 100ms to 300ms: a dead edge
	// is replaced after three of them. Default 200ms. Below that a busy host
	// is taken for a dead one.
	Advert time.Duration
}

// VIP is an address on a network of the plan that moves between the edges.
type VIP struct {
	Name string // a DNS label of at most 32, unique among all VIPs
	// Address is free on its network, like 10.10.0.100.
	Address string
	// Network is the plan's network that it belongs to. Default: that of the
	// edge.
	Network string
	// RouterID is the VRRP virtual router id, 1 to 255, unique on the network,
	// other people's routers included. Required.
	RouterID int
	// Prefer names the edge that gets it when several start at once; it stays
	// where it is when that edge returns. Default: the first by name.
	Prefer string
}

// BGP announces addresses from every healthy edge (docs.frrouting.org).
type BGP struct {
	// ASN is the edges' autonomous system, as the provider knows it. Required;
	// 64512 to 65534 are for private use (RFC 6996).
	ASN uint32
	// VIPs are announced as /32, one or more.
	VIPs []PublicVIP
	// Peers are the provider's routers, one or more.
	Peers []Peer
	// Accept are the routes that the peers may give, with that exact length,
	// like 0.0.0.0/0. Default: none.
	Accept []string
	// MaximumPrefix is after how many accepted routes a session is closed, since
	// more than were agreed on are a mistake of the provider's. Default 10.
	MaximumPrefix int
	// BFD is how fast a dead path is seen. Default 3 times 200ms.
	BFD BFD
	// Keepalive and Hold are BGP's own timers in whole seconds, for peers
	// without BFD; Hold is three times Keepalive or more. Default 3s and 9s.
	Keepalive, Hold time.Duration
}

// PublicVIP is an address that the edges announce.
type PublicVIP struct {
	Name    string // as in VIP
	Address string // 198.51.100.10
	// Prefer names the edge that serves as long as it can; the others announce
	// with a higher MED. Default: all serve, and the provider spreads (ECMP).
	Prefer string
}

// Peer is a router of the provider.
type Peer struct {
	Name    string // names the password in previews; a DNS label
	Address string // on a network of the plan that every edge has a link to
	ASN     uint32 // its autonomous system, not that of the edges
	// Password is for TCP-MD5 (RFC 2385). Default: none.
	Password pulumi.StringInput `mapstructure:"-"`
	// NoBFD is for a router that cannot do it.
	NoBFD bool
	// TTLSecurity refuses packets from further away than one hop (RFC 5082).
	// The peer must have it set too, else no session comes up.
	TTLSecurity bool
}

// BFD is Bidirectional Forwarding Detection (RFC 5880). Interval times
// Multiplier is how long a dead path still gets packets: 600 ms by default, so
// that the other path carries within a second.
type BFD struct {
	Interval   time.Duration // between two packets, 50ms to 1s; default 200ms
	Multiplier int           // so many lost packets, 2 to 10, mean a dead path; default 3
}

// Site is a web site: NGINX ends TLS, HAProxy chooses the backend.
type Site struct {
	Name string // a DNS label
	// Hosts are the names under which it is asked for. A name without a dot is
	// in the plan's domain.
	Hosts []string
	// VIPs are the names of those it listens on, public ones included.
	// Default: all.
	VIPs []string
	// Certificate is where TLS gets its certificate from.
	Certificate Certificate
	// Backends are the web servers behind it, one or more.
	Backends []Backend
	// BackendTLS encrypts the way to the backends. Default: plain HTTP.
	BackendTLS *BackendTLS
	// Check asks each backend whether it serves.
	Check HTTPCheck
	// Persistence keeps a client on its backend: "none", "cookie" (HAProxy adds
	// one) or "source" (by its address). Default none.
	Persistence string
	// RateLimit is per client address. Default: none.
	RateLimit *RateLimit
	// HSTS is how long browsers keep to HTTPS (RFC 6797). Default 4320h (180
	// days); a negative value leaves the header out.
	HSTS time.Duration
	// MaxBody is the largest request body in MiB, 1 to 1048576. Default 100.
	MaxBody int
	// Timeout is how long a backend may be silent, 1s to 24h in whole seconds.
	// Default 60s.
	Timeout time.Duration
}

// Certificate of a site. A private leaf lives for 90 days and is made anew by
// the first `up` of every 30; a given one is refused when it has expired, does
// not fit its key or lacks a name of the site.
type Certificate struct {
	// Source is "private" (the edge's own CA, renewed by `up`), "given" or
	// "acme". Default private.
	Source string
	// Certificate is the given chain as PEM, the leaf first.
	Certificate string
	// Key is the given private key as PEM. It becomes a secret of the engine,
	// and comes from one; it is plain here so that a key that does not fit is
	// found before anything is touched.
	Key string `mapstructure:"-"`
	// Generation makes a new private leaf with a new key when it is raised.
	// Default 0.
	Generation int
}

// Backend is a server behind a site or a service.
type Backend struct {
	// Name appears in statistics and cookies. Default: the host's name, or the
	// address with hyphens.
	Name string
	// Host is a host of the plan; else give an Address.
	Host    string
	Address string // an IP address
	Port    int    // 1 to 65535
	// Weight is its share, 1 to 256. Default 100.
	Weight int
	// Backup serves only when no other backend does.
	Backup bool
	// Maintenance takes it out, after what it is serving has ended.
	Maintenance bool
}

// BackendTLS is TLS between HAProxy and the backends; certificates are always
// verified.
type BackendTLS struct {
	// CA is the PEM of the authority that signed the backends' certificates.
	// Required.
	CA pulumi.StringInput
	// ServerName is what the certificates are for, and is sent as SNI. Required.
	ServerName string
}

// HTTPCheck is a request that only a working backend answers.
type HTTPCheck struct {
	// Port is asked instead of the backend's. Default: the backend's.
	Port int
	// Path is asked for with GET. Default /healthz.
	Path string
	// Host is the Host header. Default: the site's first name; in the check of
	// a service, localhost.
	Host string
	// Status is the status expected, 200 to 599. Default 200.
	Status int
	// Interval is between two checks, 100ms to 1m. Default 500ms: a hung
	// backend is out after less than two seconds.
	Interval time.Duration
}

// RateLimit of one client address over all edges' frontends of a site.
type RateLimit struct {
	Requests int           // in one period, 1 to 1000000; required
	Period   time.Duration // 1s to 1h, in whole seconds; default 10s
}

// Service is a TCP service: HAProxy listens on the VIPs itself.
type Service struct {
	Name string // a DNS label
	// VIPs as in Site.
	VIPs []string
	// Port is where HAProxy listens, 1 to 65535 but 22.
	Port int
	// Backends as in Site.
	Backends []Backend
	// Check is how a backend is asked.
	Check ServiceCheck
	// Persistence keeps a client on its backend: "none", or "source" (by its
	// address). Default none.
	Persistence string
	// Balance is "roundrobin", "leastconn" or "source". Default leastconn,
	// since connections of such services live long.
	Balance string
	// Timeout is how long a connection may be silent, 1s to 24h in whole
	// seconds. Default 1h.
	Timeout time.Duration
	// CloseOnDown ends the connections to a backend that failed its check, as
	// databases need it.
	CloseOnDown bool
}

// ServiceCheck of a TCP service.
type ServiceCheck struct {
	// Type is "tcp" (the port answers), "http" or "https". Default tcp. Use it
	// only for protocols of their own: an open port serves nothing yet.
	Type string
	// Port is asked instead of the service's. Default: the backend's.
	Port     int
	Path     string        // as in HTTPCheck
	Host     string        // as in HTTPCheck; required for https
	Status   int           // as in HTTPCheck
	Interval time.Duration // as in HTTPCheck
	// CA is the PEM that verifies the backend in an https check.
	CA pulumi.StringInput
}

// DNS makes the edges the name servers of the plan's hosts: authoritative for
// its zones, resolvers for everything else.
type DNS struct {
	// Zone is the forward zone. Default: the plan's domain.
	Zone string
	// Primary is the edge that the zones are made on. Default: the first by
	// name. All others are secondaries.
	Primary string
	// Records beyond those of hosts, VIPs, sites and services.
	Records []Record
	// Forwarders resolve foreign names. Default: the root servers.
	Forwarders []string
	// Networks of the plan that may ask. Default: all.
	Networks []string
	// Key is the TSIG secret for transfers, base64 of 32 bytes. Default: made
	// once and kept in the state.
	Key pulumi.StringInput `mapstructure:"-"`
	// TTL of all records, 1s to 24h. Default 5m: so long an address that was
	// changed is still asked for.
	TTL time.Duration
}

// Record is a resource record of the zone.
type Record struct {
	Name  string // relative to the zone; @ is the zone itself
	Type  string // A, AAAA, CNAME, MX, TXT, SRV, CAA or NS
	Value string // as in a zone file; the quotes of a TXT record may be left out
}

// ACME is a certificate authority by RFC 8555, asked with http-01. Each edge has
// an account and certificates of its own, and renews them by itself when less
// than 30 days are left (a timer asks twice a day).
type ACME struct {
	// Directory is the https URL of the authority's directory, as it publishes
	// it. Required. The authority has to reach port 80 of each site.
	Directory string
	// Email is where the authority writes to. Default: none.
	Email string
	// CA is the PEM that verifies a private authority's own web server.
	// Default: the hosts' own store.
	CA string
}

// Metrics is HAProxy's statistics page (/) and Prometheus metrics (/metrics).
type Metrics struct {
	Network string // of the plan, on which the edges listen; required
	Port    int    // default 8404, as in HAProxy's documentation
}
