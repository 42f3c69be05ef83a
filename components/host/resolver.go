package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/problem"
)

// ResolverType is the type token of [Resolver].
const ResolverType = "halinux:index:Resolver"

// ResolverArgs says whom the hosts ask for names.
type ResolverArgs struct {
	Hosts []Host      // as they are after the name servers' own phases
	Plan  AddressPlan // has the links of the hosts
	// Servers are the addresses of the name servers, the preferred one first.
	Servers []string
	// Domains are searched for short names; default the plan's domain.
	Domains []string
}

// Resolver is systemd-resolved on all hosts, asking the platform's own name
// servers: all of them at once, so that a dead one costs nothing.
type Resolver struct {
	pulumi.ResourceState

	// Hosts are the hosts by name as they are after it.
	Hosts map[string]Host

	// Servers are the name servers in the order in which they are asked.
	Servers pulumi.StringArrayOutput `pulumi:"servers"`
}

// NewResolver points all hosts at the name servers. What is wrong with the
// arguments is one *problem.Error, and nothing is registered then.
func NewResolver(ctx *pulumi.Context, name string, args *ResolverArgs, opts ...pulumi.ResourceOption) (*Resolver, error) {
	problems := args.Validate()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	r := &Resolver{Hosts: map[string]Host{}}
	if err := ctx.RegisterComponentResource(ResolverType, name, r, opts...); err != nil {
		return nil, err
	}
	for _, h := range args.Hosts {
		p, err := args.phase(h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		if r.Hosts[h.Name], err = h.Apply(ctx, name, r, []Phase{*p}); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	r.Servers = pulumi.ToStringArray(args.Servers).ToStringArrayOutput()
	return r, ctx.RegisterResourceOutputs(r, pulumi.Map{"servers": r.Servers})
}

// Validate reports everything that is wrong with the arguments.
func (a *ResolverArgs) Validate() problem.List {
	var l problem.List
	if len(a.Servers) == 0 {
		l.Add("servers", "there is none", "give the addresses of the name servers")
	}
	for i, s := range a.Servers {
		if addr, err := plainAddr(s); err != nil || addr.IsUnspecified() {
			l.Add(fmt.Sprintf("servers[%d]", i), fmt.Sprintf("%q is not an address", s), "write it without a prefix length, like 10.10.0.11")
		}
		if slices.Contains(a.Servers[:i], s) {
			l.Add(fmt.Sprintf("servers[%d]", i), s+" stands there twice", "leave one of them out")
		}
	}
	for i, d := range a.domains() {
		if !domainName.MatchString(d) || len(d) > 200 {
			l.Add(fmt.Sprintf("domains[%d]", i), fmt.Sprintf("%q is not a DNS domain", d), "use lower-case letters, digits, hyphens and dots, like lab.example")
		}
	}
	for i, h := range a.Hosts {
		l.Include(fmt.Sprintf("hosts[%d]", i), h.Validate())
		if planned, ok := a.Plan.Host(h.Name); !ok || len(planned.Links) == 0 {
			l.Add(fmt.Sprintf("hosts[%d].name", i), fmt.Sprintf("%q has no link in the address plan", h.Name), "add it to plan.hosts")
		}
	}
	return l
}

func (a *ResolverArgs) domains() []string {
	if len(a.Domains) == 0 && a.Plan.Domain != "" {
		return []string{a.Plan.Domain}
	}
	return a.Domains
}

// phase makes two scopes of the same servers, the global one and that of the
// host's link to them, each beginning with another server. resolved asks both
// scopes at once and takes the first good answer, so that a dead server costs
// no query its five seconds: see docs/decisions/resolver.md.
func (a *ResolverArgs) phase(h Host) (*Phase, error) {
	link := a.link(h.Name)
	others := slices.Clone(a.Servers)
	slices.Reverse(others)
	p := &Phase{Name: "resolver", Vars: map[string]string{
		"servers": strings.Join(a.Servers, " "),
		"others":  strings.Join(others, " "),
		"link":    link,
	}}
	// Both scopes must match a name equally well to be asked together.
	text, err := render("resolver", "resolved.conf.tmpl", map[string]any{
		"Servers": strings.Join(a.Servers, " "), "Domains": strings.Join(append(slices.Clone(a.domains()), "~."), " "),
	})
	if err != nil {
		return nil, err
	}
	p.Files = []File{{Path: "/etc/systemd/resolved.conf.d/05-halinux.conf", Content: text}}
	dropIn, err := render("resolver", "link.conf.tmpl", map[string]any{
		"Servers": strings.Join(others, " "), "Domains": strings.Join(append(prefixed("~", a.domains()), "~."), " "),
	})
	if err != nil {
		return nil, err
	}
	// The link's file is either the one of the network phase or Netplan's.
	for _, base := range []string{"05-halinux-" + link, "10-netplan-" + link} {
		p.Files = append(p.Files, File{Path: "/etc/systemd/network/" + base + ".network.d/halinux-resolver.conf", Content: dropIn})
	}
	return p, p.Scripts(phaseFiles, "phases/resolver")
}

func prefixed(with string, list []string) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = with + s
	}
	return all
}

// link is the interface that leads to the first server, or else the host's first.
func (a *ResolverArgs) link(name string) string {
	h, _ := a.Plan.Host(name)
	server, _ := netip.ParseAddr(a.Servers[0])
	for _, l := range h.Links {
		if n, ok := a.Plan.Network(l.Network); ok && n.Prefix().Contains(server) {
			return l.Interface
		}
	}
	return h.Links[0].Interface
}
