package haedge

import (
	"cmp"
	"embed"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

//go:embed phases
var phases embed.FS

// Ports that the edge uses for itself; none of them is on a VIP.
const (
	peersPort     = 8401 // HAProxy's peers, between the edges
	healthPort    = 8402 // how many backends an edge sees, between the edges
	chainPort     = 8403 // the whole chain, NGINX to HAProxy, on loopback
	metricsPort   = 8404 // HAProxy's figures, where a network may read them
	challengePort = 8405 // answers to ACME's challenges, between the edges
)

const acmeCerts = "/var/lib/dehydrated/certs" // one folder for each site

var ownPorts = []int{peersPort, healthPort, chainPort, challengePort}

// address is a VIP of either kind.
type address struct {
	Name, Address string
	Public        bool
}

// secrets are what the plan needs and must not show.
type secrets struct {
	transfer pulumi.StringInput            // the TSIG key
	leaf     map[string]pulumi.StringInput // certificate chain by site
	leafKey  map[string]pulumi.StringInput // private key by site
}

// plan returns the phases of each edge, in their order. Equal arguments give
// equal phases.
func plan(a *HAEdgeArgs, s secrets) (map[string][]host.Phase, error) {
	all := map[string][]host.Phase{}
	for _, h := range a.hostNames() {
		makers := []func(string, secrets) (host.Phase, error){a.haproxyPhase}
		if len(a.Sites) > 0 {
			makers = append(makers, a.nginxPhase)
		}
		if a.DNS != nil {
			makers = append(makers, a.bindPhase)
		}
		// What holds and announces addresses comes after what serves on them.
		makers = append(makers, a.keepalivedPhase)
		if a.BGP != nil {
			makers = append(makers, a.frrPhase)
		}
		// The authority can only ask once the VIPs are there.
		if a.ACME != nil {
			makers = append(makers, a.acmePhase)
		}
		for _, make := range makers {
			p, err := make(h, s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", h, err)
			}
			all[h] = append(all[h], p)
		}
	}
	return all, nil
}

// phase reads the scripts of one phase and its plain files.
func phase(name string, files ...host.File) (host.Phase, error) {
	p := host.Phase{Name: name, Files: files}
	return p, p.Scripts(phases, "phases/"+name)
}

// embedded is a file that is the same on every edge.
func embedded(path, source string) host.File {
	b, err := phases.ReadFile("phases/" + source)
	if err != nil {
		panic(err) // go:embed holds what the tree holds
	}
	return host.File{Path: path, Content: string(b)}
}

func executable(f host.File) host.File {
	f.Mode = 0o755
	return f
}

// ---- names and addresses ----------------------------------------------------

func (a *HAEdgeArgs) hostNames() []string {
	var names []string
	for _, h := range a.Hosts {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	return names
}

func (a *HAEdgeArgs) networkNames() []string {
	var names []string
	for _, n := range a.Plan.Networks {
		names = append(names, n.Name)
	}
	return names
}

func (a *HAEdgeArgs) planNames() []string {
	var names []string
	for _, h := range a.Plan.Hosts {
		names = append(names, h.Name)
	}
	return names
}

// serving are the edges that are not in maintenance.
func (a *HAEdgeArgs) serving() []string {
	return slices.DeleteFunc(a.hostNames(), func(h string) bool { return slices.Contains(a.Maintenance, h) })
}

// others are the other edges.
func (a *HAEdgeArgs) others(h string) []string {
	return slices.DeleteFunc(a.hostNames(), func(o string) bool { return o == h })
}

func (a *HAEdgeArgs) addr(h string) string { return a.Plan.Address(h, a.Network).String() }

func (a *HAEdgeArgs) networkOf(v VIP) string { return cmp.Or(v.Network, a.Network) }

// linkTo is the link of a host to the network that holds an address.
func (a *HAEdgeArgs) linkTo(h string, addr netip.Addr) host.Link {
	planned, _ := a.Plan.Host(h)
	for _, k := range planned.Links {
		if n, ok := a.Plan.Network(k.Network); ok && n.Prefix().IsValid() && n.Prefix().Contains(addr) {
			return k
		}
	}
	return host.Link{}
}

// vipsOf are the VIPs with these names, or all.
func (a *HAEdgeArgs) vipsOf(names []string) []address {
	var all []address
	for _, v := range a.VIPs {
		all = append(all, address{v.Name, v.Address, false})
	}
	if a.BGP != nil {
		for _, v := range a.BGP.VIPs {
			all = append(all, address{v.Name, v.Address, true})
		}
	}
	if len(names) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(v address) bool { return !slices.Contains(names, v.Name) })
}

// siteName completes a name without a dot.
func (a *HAEdgeArgs) siteName(name string) string {
	if strings.Contains(name, ".") || a.Plan.Domain == "" {
		return name
	}
	return name + "." + a.Plan.Domain
}

func (a *HAEdgeArgs) siteNames(s Site) []string {
	names := make([]string, len(s.Hosts))
	for i, name := range s.Hosts {
		names[i] = a.siteName(name)
	}
	return names
}

func (a *HAEdgeArgs) now() time.Time {
	if a.Now.IsZero() {
		return time.Now()
	}
	return a.Now
}

func (c Certificate) source() string { return cmp.Or(c.Source, "private") }

func (m Metrics) port() int { return cmp.Or(m.Port, metricsPort) }

func (b Backend) name() string {
	if b.Name != "" {
		return b.Name
	}
	if b.Host != "" {
		return b.Host
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(b.Address)
}

func (a *HAEdgeArgs) backendAddress(b Backend) netip.Addr {
	if b.Address != "" {
		addr, _ := netip.ParseAddr(b.Address)
		return addr
	}
	return a.Plan.Address(b.Host, a.Network)
}

// ---- HAProxy ------------------------------------------------------------------

// section is a frontend or backend: its head and its lines.
type section struct {
	Head  string
	Lines []string
}

type peer struct {
	Name, Address string
	Port          int
}

func (a *HAEdgeArgs) haproxyPhase(h string, _ secrets) (host.Phase, error) {
	var sections []section
	var counts []string
	cas := map[string]pulumi.StringInput{}
	var files []host.File
	ca := func(name string, pem pulumi.StringInput) string {
		if pem == nil {
			return ""
		}
		cas["ca-"+name] = pem
		path := "/etc/haproxy/ca/" + name + ".pem"
		files = append(files, host.File{Path: path, Content: "[secret ca-" + name + "]\n"})
		return path
	}
	for _, s := range a.Sites {
		var pem pulumi.StringInput
		if s.BackendTLS != nil {
			pem = s.BackendTLS.CA
		}
		sections = append(sections, a.siteSections(s, ca("site-"+s.Name, pem))...)
		counts = append(counts, "%[nbsrv(site-"+s.Name+")]")
	}
	for _, s := range a.Services {
		sections = append(sections, a.serviceSections(s, ca("service-"+s.Name, s.Check.CA))...)
		counts = append(counts, "%[nbsrv(service-"+s.Name+")]")
	}
	var peers []peer
	for _, o := range a.hostNames() {
		peers = append(peers, peer{o, a.addr(o), peersPort})
	}
	var metrics *peer
	if a.Metrics != nil {
		metrics = &peer{Address: a.Plan.Address(h, a.Metrics.Network).String(), Port: a.Metrics.port()}
	}
	config, err := host.Render(phases, "phases/haproxy/haproxy.cfg.tmpl", map[string]any{
		"Host": h, "Address": a.addr(h), "Peers": peers, "HealthPort": healthPort,
		"Counts": cmp.Or(strings.Join(counts, " "), "1"), "Metrics": metrics, "Sections": sections,
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := phase("haproxy", append(files,
		host.File{Path: "/etc/haproxy/haproxy.cfg", Content: config},
		embedded("/etc/systemd/system/haproxy.service.d/halinux.conf", "haproxy/halinux.conf"),
		embedded("/etc/tmpfiles.d/halinux-haproxy.conf", "haproxy/tmpfiles.conf"),
		embedded("/etc/sysctl.d/60-halinux-edge.conf", "haproxy/sysctl.conf"),
	)...)
	p.Secrets = cas
	return p, err
}

func (a *HAEdgeArgs) siteSections(s Site, ca string) []section {
	name := "site-" + s.Name
	var all []section
	front := []string{
		"mode http",
		"option httplog",
		"bind unix@/run/haproxy/" + name + ".sock user root group www-data mode 660",
		// Only NGINX can open the socket, and it overwrites the header.
		"http-request set-src hdr(x-real-ip)",
		"timeout client " + ms(cmp.Or(s.Timeout, time.Minute)),
	}
	if r := s.RateLimit; r != nil {
		period := cmp.Or(r.Period, 10*time.Second)
		front = append(front,
			"http-request track-sc0 src table rate-"+s.Name,
			fmt.Sprintf("http-request return status 429 content-type text/plain hdr Retry-After %d string \"too many requests\\n\" if { sc_http_req_rate(0,rate-%s) gt %d }", int(period.Seconds()), s.Name, r.Requests),
		)
		all = append(all, section{"backend rate-" + s.Name, []string{
			"mode http",
			fmt.Sprintf("stick-table type ip size 200k expire %s store http_req_rate(%s) peers edges", ms(period), ms(period)),
		}})
	}
	front = append(front, "default_backend "+name)

	back := []string{
		"mode http",
		"balance leastconn",
		"timeout server " + ms(cmp.Or(s.Timeout, time.Minute)),
	}
	back = append(back, httpCheck(s.Check.Path, cmp.Or(s.Check.Host, a.siteNames(s)[0]), s.Check.Status)...)
	back = append(back,
		// Another backend may answer what the first one did not, where asking
		// twice does no harm.
		"retry-on conn-failure empty-response 503",
		"http-request disable-l7-retry unless { method GET HEAD OPTIONS }",
	)
	back = append(back, persistence(s.Persistence)...)
	tls := ""
	if ca != "" {
		tls = fmt.Sprintf(" ssl verify required ca-file %s sni str(%s) verifyhost %s check-sni %s", ca, s.BackendTLS.ServerName, s.BackendTLS.ServerName, s.BackendTLS.ServerName)
	}
	back = append(back, a.servers(s.Backends, s.Check.Interval, "layer7", s.Persistence == "cookie", tls, 0)...)
	return append(all, section{"frontend " + name, front}, section{"backend " + name, back})
}

func (a *HAEdgeArgs) serviceSections(s Service, ca string) []section {
	name := "service-" + s.Name
	front := []string{"mode tcp", "option tcplog"}
	for _, v := range a.vipsOf(s.VIPs) {
		front = append(front, fmt.Sprintf("bind %s:%d", v.Address, s.Port))
	}
	timeout := ms(cmp.Or(s.Timeout, time.Hour))
	front = append(front, "timeout client "+timeout, "default_backend "+name)
	back := []string{"mode tcp", "balance " + cmp.Or(s.Balance, "leastconn"), "timeout server " + timeout}
	tls := ""
	switch s.Check.Type {
	case "http":
		back = append(back, httpCheck(s.Check.Path, s.Check.Host, s.Check.Status)...)
	case "https":
		back = append(back, httpCheck(s.Check.Path, s.Check.Host, s.Check.Status)...)
		tls = fmt.Sprintf(" check-ssl verify required ca-file %s verifyhost %s check-sni %s", ca, s.Check.Host, s.Check.Host)
	}
	back = append(back, persistence(s.Persistence)...)
	if s.CloseOnDown {
		tls += " on-marked-down shutdown-sessions"
	}
	back = append(back, a.servers(s.Backends, s.Check.Interval, "layer4", false, tls, s.Check.Port)...)
	return []section{{"frontend " + name, front}, {"backend " + name, back}}
}

// httpCheck asks for a page that only a working backend has.
func httpCheck(path, hostHeader string, status int) []string {
	send := fmt.Sprintf("http-check send meth GET uri %s ver HTTP/1.1 hdr Host %s hdr Connection close", cmp.Or(path, "/healthz"), cmp.Or(hostHeader, "localhost"))
	return []string{"option httpchk", send, fmt.Sprintf("http-check expect status %d", cmp.Or(status, 200))}
}

func persistence(kind string) []string {
	switch kind {
	case "cookie":
		return []string{"cookie HALINUX insert indirect nocache httponly secure attr SameSite=Lax"}
	case "source":
		return []string{"stick-table type ip size 200k expire 1h peers edges", "stick on src"}
	}
	return nil
}

func (a *HAEdgeArgs) servers(backends []Backend, interval time.Duration, observe string, cookie bool, extra string, checkPort int) []string {
	interval = cmp.Or(interval, 500*time.Millisecond)
	// What fails in service is only asked sooner: were it marked down, one bad
	// address of an application, asked for often, would take down all backends.
	lines := []string{fmt.Sprintf("default-server check inter %s fastinter %s downinter 1s fall 2 rise 3 observe %s error-limit 3 on-error fastinter", ms(interval), ms(interval/2), observe)}
	for _, b := range backends {
		addr := a.backendAddress(b).String()
		if strings.Contains(addr, ":") {
			addr = "[" + addr + "]"
		}
		line := fmt.Sprintf("server %s %s:%d weight %d", b.name(), addr, b.Port, cmp.Or(b.Weight, 100))
		if checkPort != 0 {
			line += fmt.Sprintf(" port %d", checkPort)
		}
		if cookie {
			line += " cookie " + b.name()
		}
		line += extra
		if b.Backup {
			line += " backup"
		}
		if b.Maintenance {
			line += " disabled"
		}
		lines = append(lines, line)
	}
	return lines
}

// ms writes a duration as HAProxy reads it.
func ms(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// ---- NGINX --------------------------------------------------------------------

type siteServer struct {
	Name, Names      string
	Listen           []string
	Certificate, Key string
	Headers          []string
	MaxBody          int
	Timeout          string
	ACME             bool
}

func (a *HAEdgeArgs) nginxPhase(h string, s secrets) (host.Phase, error) {
	var servers []siteServer
	var files []host.File
	var private []string
	listen := map[string]bool{}
	phaseSecrets := map[string]pulumi.StringInput{}
	for _, site := range a.Sites {
		server := siteServer{
			Name: site.Name, Names: strings.Join(a.siteNames(site), " "),
			Certificate: "tls/" + site.Name + ".crt", Key: "tls/" + site.Name + ".key",
			MaxBody: cmp.Or(site.MaxBody, 100),
			Timeout: fmt.Sprintf("%ds", int(cmp.Or(site.Timeout, time.Minute).Seconds())),
			ACME:    site.Certificate.source() == "acme",
		}
		for _, v := range a.vipsOf(site.VIPs) {
			server.Listen = append(server.Listen, v.Address)
			listen[v.Address] = true
		}
		if hsts := cmp.Or(site.HSTS, 180*24*time.Hour); hsts > 0 {
			server.Headers = append(server.Headers, fmt.Sprintf("Strict-Transport-Security \"max-age=%d\"", int(hsts.Seconds())))
		}
		if server.ACME {
			server.Certificate = acmeCerts + "/" + site.Name + "/fullchain.pem"
			server.Key = acmeCerts + "/" + site.Name + "/privkey.pem"
		} else {
			crt, key := site.Name+".crt", site.Name+".key"
			files = append(files,
				host.File{Path: "/etc/nginx/tls/" + crt, Content: "[secret " + crt + "]\n"},
				host.File{Path: "/etc/nginx/tls/" + key, Content: "[secret " + key + "]\n"},
			)
			phaseSecrets[crt], phaseSecrets[key] = s.leaf[site.Name], s.leafKey[site.Name]
			if site.Certificate.source() == "private" {
				private = append(private, site.Name)
			}
		}
		servers = append(servers, server)
	}
	var challenge any
	if a.ACME != nil {
		var peers []string
		for _, o := range a.others(h) {
			peers = append(peers, fmt.Sprintf("%s:%d", a.addr(o), challengePort))
		}
		challenge = map[string]any{"Address": a.addr(h), "Port": challengePort, "Peers": peers}
	}
	config, err := host.Render(phases, "phases/nginx/nginx.conf.tmpl", map[string]any{
		"HealthPort": chainPort, "Sites": servers, "Listen": slices.Sorted(maps.Keys(listen)), "Challenge": challenge,
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := phase("nginx", append(files,
		host.File{Path: "/etc/nginx/nginx.conf", Content: config},
		embedded("/etc/systemd/system/nginx.service.d/halinux.conf", "nginx/halinux.conf"),
		embedded("/etc/tmpfiles.d/halinux-nginx.conf", "nginx/tmpfiles.conf"),
	)...)
	p.Secrets = phaseSecrets
	p.Vars = map[string]string{"private_sites": strings.Join(private, " "), "acme_sites": strings.Join(a.acmeSites(), " ")}
	return p, err
}

// ---- ACME -----------------------------------------------------------------------

func (a *HAEdgeArgs) acmeSites() []string {
	var names []string
	for _, s := range a.Sites {
		if s.Certificate.source() == "acme" {
			names = append(names, s.Name)
		}
	}
	return names
}

// acmePhase gives each edge an account and certificates of its own, so that no
// private key travels between hosts.
func (a *HAEdgeArgs) acmePhase(string, secrets) (host.Phase, error) {
	var domains strings.Builder
	for _, s := range a.Sites {
		if s.Certificate.source() == "acme" {
			fmt.Fprintf(&domains, "%s > %s\n", strings.Join(a.siteNames(s), " "), s.Name)
		}
	}
	var more []string
	var files []host.File
	if a.ACME.Email != "" {
		more = append(more, fmt.Sprintf("CONTACT_EMAIL=%q", a.ACME.Email))
	}
	if a.ACME.CA != "" {
		more = append(more, `CURL_OPTS="--cacert /etc/dehydrated/ca.pem"`)
		files = append(files, host.File{Path: "/etc/dehydrated/ca.pem", Content: a.ACME.CA})
	}
	config, err := host.Render(phases, "phases/acme/config.tmpl", map[string]any{"Directory": a.ACME.Directory, "More": more})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := phase("acme", append(files,
		host.File{Path: "/etc/dehydrated/config", Content: config},
		host.File{Path: "/etc/dehydrated/domains.txt", Content: domains.String()},
		executable(embedded("/etc/dehydrated/hook.sh", "acme/hook.sh")),
		embedded("/etc/systemd/system/halinux-acme.service", "acme/halinux-acme.service"),
		embedded("/etc/systemd/system/halinux-acme.timer", "acme/halinux-acme.timer"),
	)...)
	p.Vars = map[string]string{"acme_sites": strings.Join(a.acmeSites(), " ")}
	return p, err
}

// ---- Keepalived ----------------------------------------------------------------

type trackFile struct{ Name, Path string }

type instance struct {
	Name, Interface, Source, Advert string
	RouterID, Priority              int
	Peers, Addresses, Files         []string
}

// gateRouterID is the VRRP router id by which an edge holds the public VIPs.
// It is the edge's own, so that each edge holds them; the last byte of its
// address stays the same when other edges come and go.
func gateRouterID(addr netip.Addr) int {
	if !addr.Is4() {
		return 0
	}
	return int(addr.As4()[3])
}

// priority puts the preferred edge first and the others in the order of their
// names, all near the top: with a low priority the wait for a dead master grows.
func (a *HAEdgeArgs) priority(h, prefer string) int {
	order := a.hostNames()
	if prefer != "" {
		order = append([]string{prefer}, slices.DeleteFunc(order, func(o string) bool { return o == prefer })...)
	}
	return 254 - 3*slices.Index(order, h)
}

func (v VRRP) advert() string {
	d := time.Second
	if v.Profile == "fast" {
		d = cmp.Or(v.Advert, 200*time.Millisecond)
	}
	return fmt.Sprintf("%g", d.Seconds())
}

func (a *HAEdgeArgs) keepalivedPhase(h string, _ secrets) (host.Phase, error) {
	files := []trackFile{{"haproxy", "/run/halinux/haproxy"}}
	target := "UNIX-CONNECT:/run/haproxy/health.sock"
	if len(a.Sites) > 0 {
		files = append(files, trackFile{"nginx", "/run/halinux/nginx"})
		target = fmt.Sprintf("TCP4:127.0.0.1:%d", chainPort)
	}
	var tracked []string
	for _, f := range files {
		tracked = append(tracked, f.Name)
	}
	// In maintenance the public VIPs stay until the provider has stopped using
	// them, so they follow a file of their own.
	files = append(files, trackFile{"maintenance", "/etc/keepalived/maintenance"})

	var instances []instance
	for _, v := range a.VIPs {
		network := a.networkOf(v)
		link, _ := a.Plan.Link(h, network)
		i := instance{
			Name: "vip-" + v.Name, Interface: link.Interface, Source: link.Address, Advert: a.VRRP.advert(),
			RouterID: v.RouterID, Priority: a.priority(h, v.Prefer),
			Addresses: []string{v.Address + "/32 dev " + link.Interface},
			Files:     append(slices.Clone(tracked), "maintenance"),
		}
		for _, o := range a.others(h) {
			i.Peers = append(i.Peers, a.Plan.Address(o, network).String())
		}
		instances = append(instances, i)
	}
	if a.BGP != nil {
		link, _ := a.Plan.Link(h, a.Network)
		gate := instance{
			Name: "public", Interface: link.Interface, Source: link.Address, Advert: a.VRRP.advert(),
			RouterID: gateRouterID(a.Plan.Address(h, a.Network)), Priority: 254,
			Files: append(slices.Clone(tracked), "withdrawn"),
		}
		files = append(files, trackFile{"withdrawn", "/etc/keepalived/withdrawn"})
		for _, o := range a.others(h) {
			gate.Peers = append(gate.Peers, a.addr(o))
		}
		for _, v := range a.BGP.VIPs {
			gate.Addresses = append(gate.Addresses, v.Address+"/32 dev lo")
		}
		instances = append(instances, gate)
	}
	var rivals []string
	for _, o := range a.serving() {
		if o != h {
			rivals = append(rivals, fmt.Sprintf("%s:%d", a.addr(o), healthPort))
		}
	}
	config, err := host.Render(phases, "phases/keepalived/keepalived.conf.tmpl", map[string]any{
		"Host": h, "Files": files, "Instances": instances, "Target": target, "Rivals": strings.Join(rivals, " "),
	})
	if err != nil {
		return host.Phase{}, err
	}
	maintenance := "0\n"
	if slices.Contains(a.Maintenance, h) {
		maintenance = "1\n"
	}
	var watched []string
	for _, v := range a.VIPs {
		link, _ := a.Plan.Link(h, a.networkOf(v))
		watched = append(watched, v.Address+":"+link.Interface)
	}
	unit, err := host.Render(phases, "phases/keepalived/halinux-edge-watch.service.tmpl", strings.Join(watched, " "))
	if err != nil {
		return host.Phase{}, err
	}
	p, err := phase("keepalived",
		host.File{Path: "/etc/keepalived/keepalived.conf", Content: config},
		host.File{Path: "/etc/keepalived/maintenance", Content: maintenance},
		host.File{Path: "/etc/keepalived/withdrawn", Content: maintenance},
		executable(embedded("/usr/local/lib/halinux/edge-serving", "keepalived/edge-serving.sh")),
		executable(embedded("/usr/local/lib/halinux/edge-backends", "keepalived/edge-backends.sh")),
		executable(embedded("/usr/local/lib/halinux/edge-watch", "keepalived/edge-watch.sh")),
		host.File{Path: "/etc/systemd/system/halinux-edge-watch.service", Content: unit},
		embedded("/etc/systemd/system/keepalived.service.d/halinux.conf", "keepalived/halinux.conf"),
	)
	var all, lan []string
	for _, v := range a.vipsOf(nil) {
		all = append(all, v.Address)
		if !v.Public {
			lan = append(lan, v.Address)
		}
	}
	p.Vars = map[string]string{
		"vip_filter": "src " + strings.Join(all, " or src "), "vip_set": strings.Join(all, ", "), "lan_vips": strings.Join(lan, " "), "watched": strings.Join(watched, " "), "asn": "",
	}
	if a.BGP != nil {
		p.Vars["asn"] = fmt.Sprint(a.BGP.ASN)
	}
	return p, err
}

// ---- FRR ----------------------------------------------------------------------

func (a *HAEdgeArgs) frrPhase(h string, _ secrets) (host.Phase, error) {
	b := a.BGP
	var lists, maps_, options, neighbors, family []string
	drained := slices.Contains(a.Maintenance, h)

	var serve, standby []string
	for _, v := range b.VIPs {
		if v.Prefer == "" || v.Prefer == h {
			serve = append(serve, v.Address)
		} else {
			standby = append(standby, v.Address)
		}
		family = append(family, "network "+v.Address+"/32")
	}
	announce := func(list string, addresses []string, sequence, med int) {
		for i, addr := range addresses {
			lists = append(lists, fmt.Sprintf("ip prefix-list %s seq %d permit %s/32", list, 5*(i+1), addr))
		}
		if len(addresses) == 0 {
			return
		}
		maps_ = append(maps_, fmt.Sprintf("route-map TO-PROVIDER permit %d", sequence), " match ip address prefix-list "+list, fmt.Sprintf(" set metric %d", med))
		if drained {
			// For a provider that does not know GRACEFUL_SHUTDOWN (RFC 8326).
			maps_ = append(maps_, fmt.Sprintf(" set as-path prepend %d %d %d", b.ASN, b.ASN, b.ASN))
		}
		maps_ = append(maps_, "exit")
	}
	announce("VIPS", serve, 10, 0)
	announce("STANDBY-VIPS", standby, 20, 100)

	for i, text := range b.Accept {
		lists = append(lists, fmt.Sprintf("ip prefix-list FROM-PROVIDER seq %d permit %s", 5*(i+1), text))
	}
	if len(b.Accept) == 0 {
		lists = append(lists, "ip prefix-list FROM-PROVIDER seq 5 deny any")
	}
	maps_ = append(maps_, "route-map FROM-PROVIDER permit 10", " match ip address prefix-list FROM-PROVIDER", "exit")

	options = append(options,
		"no bgp default ipv4-unicast",
		// A dead edge must not keep its routes: restart and BFD exclude each other.
		"bgp graceful-restart-disable",
	)
	if drained {
		options = append(options, "bgp graceful-shutdown")
	}
	phaseSecrets := map[string]pulumi.StringInput{}
	for _, p := range b.Peers {
		n := "neighbor " + p.Address
		neighbors = append(neighbors,
			fmt.Sprintf("%s remote-as %d", n, p.ASN),
			n+" description "+p.Name,
		)
		if p.TTLSecurity {
			neighbors = append(neighbors, n+" ttl-security hops 1")
		}
		if p.Password != nil {
			neighbors = append(neighbors, n+" password [secret bgp-"+p.Name+"]")
			phaseSecrets["bgp-"+p.Name] = p.Password
		}
		if !p.NoBFD {
			neighbors = append(neighbors, n+" bfd", n+" bfd profile provider")
		}
		family = append(family,
			n+" activate",
			n+" route-map FROM-PROVIDER in",
			n+" route-map TO-PROVIDER out",
			fmt.Sprintf("%s maximum-prefix %d", n, cmp.Or(b.MaximumPrefix, 10)),
		)
	}
	routerID := a.addr(h)
	if addr, err := netip.ParseAddr(b.Peers[0].Address); err == nil {
		routerID = a.linkTo(h, addr).Address
	}
	config, err := host.Render(phases, "phases/frr/frr.conf.tmpl", map[string]any{
		"Host": h, "ASN": b.ASN, "RouterID": routerID, "PrefixLists": lists, "RouteMaps": maps_, "Options": options,
		"Neighbors": neighbors, "Family": family,
		"Keepalive": int(cmp.Or(b.Keepalive, 3*time.Second).Seconds()), "Hold": int(cmp.Or(b.Hold, 9*time.Second).Seconds()),
		"BFD": map[string]any{"Interval": cmp.Or(b.BFD.Interval, 200*time.Millisecond).Milliseconds(), "Multiplier": cmp.Or(b.BFD.Multiplier, 3)},
	})
	if err != nil {
		return host.Phase{}, err
	}
	daemons := embedded("/etc/frr/daemons", "frr/daemons")
	daemons.Owner, daemons.Mode = "frr:frr", 0o640
	p, err := phase("frr",
		host.File{Path: "/etc/frr/frr.conf", Content: config, Owner: "frr:frr", Mode: 0o640},
		daemons,
	)
	p.Secrets = phaseSecrets
	return p, err
}
