package haedge

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
)

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
		"Edge": h, "HealthPort": chainPort, "Sites": servers, "Listen": slices.Sorted(maps.Keys(listen)), "Challenge": challenge,
	})
	if err != nil {
		return host.Phase{}, err
	}
	p, err := host.NewPhase(phases, "nginx", append(files,
		host.File{Path: "/etc/nginx/nginx.conf", Content: config},
		host.Embedded(phases, "/etc/systemd/system/nginx.service.d/halinux.conf", "phases/nginx/halinux.conf"),
		host.Embedded(phases, "/etc/tmpfiles.d/halinux-nginx.conf", "phases/nginx/tmpfiles.conf"),
	)...)
	p.Secrets = phaseSecrets
	p.Vars = map[string]string{"private_sites": strings.Join(private, " "), "acme_sites": strings.Join(a.acmeSites(), " ")}
	return p, err
}
