package haedge

import (
	"fmt"
	"strings"

	"github.com/halinux/halinux/components/host"
)

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
	p, err := host.NewPhase(phases, "acme", append(files,
		host.File{Path: "/etc/dehydrated/config", Content: config},
		host.File{Path: "/etc/dehydrated/domains.txt", Content: domains.String()},
		host.Embedded(phases, "/etc/dehydrated/hook.sh", "phases/acme/hook.sh").Executable(),
		host.Embedded(phases, "/etc/systemd/system/halinux-acme.service", "phases/acme/halinux-acme.service"),
		host.Embedded(phases, "/etc/systemd/system/halinux-acme.timer", "phases/acme/halinux-acme.timer"),
	)...)
	p.Vars = map[string]string{"acme_sites": strings.Join(a.acmeSites(), " ")}
	return p, err
}
