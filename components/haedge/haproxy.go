package haedge

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

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
	p, err := host.NewPhase(phases, "haproxy", append(files,
		host.File{Path: "/etc/haproxy/haproxy.cfg", Content: config},
		host.Embedded(phases, "/etc/systemd/system/haproxy.service.d/halinux.conf", "phases/haproxy/halinux.conf"),
		host.Embedded(phases, "/etc/tmpfiles.d/halinux-haproxy.conf", "phases/haproxy/tmpfiles.conf"),
		host.Embedded(phases, "/etc/sysctl.d/60-halinux-edge.conf", "phases/haproxy/sysctl.conf"),
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
	back = append(back, a.servers(s.Backends, s.Check.Interval, "layer7", s.Persistence == "cookie", tls, s.Check.Port)...)
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
