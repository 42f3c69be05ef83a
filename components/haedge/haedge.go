// Package haedge is the edge of the platform: two or more hosts that accept
// everything from outside and bring it to whoever serves it.
//
// HAProxy balances and checks, NGINX ends TLS before it, Keepalived keeps each
// VIP on one healthy edge, FRR announces public addresses from all healthy
// ones, and BIND names everything. What runs on a host is in phases/, as files.
// The package leaves the hosts' base system and firewall to package host: it
// only says which traffic it needs ([HAEdgeArgs.Flows]).
package haedge

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/stash"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:HAEdge"

// HAEdge is the edge. Its outputs are known when the edge serves.
type HAEdge struct {
	pulumi.ResourceState

	// VIPs are the addresses on the plan's networks, by name.
	VIPs pulumi.StringMapOutput `pulumi:"vips"`
	// PublicVIPs are the announced addresses, by name.
	PublicVIPs pulumi.StringMapOutput `pulumi:"publicVips"`
	// DNSServers are the edges' addresses where they answer queries.
	DNSServers pulumi.StringArrayOutput `pulumi:"dnsServers"`
	// Endpoints are address:port of each service, by its name; inside the
	// plan's networks where it has a VIP there.
	Endpoints pulumi.StringMapOutput `pulumi:"endpoints"`
	// SiteURLs are the addresses of the sites, by name.
	SiteURLs pulumi.StringMapOutput `pulumi:"siteUrls"`
	// CACertificate is the PEM of the private authority, made with the first
	// site and kept; empty where there are no sites.
	CACertificate pulumi.StringOutput `pulumi:"caCertificate"`

	// Hosts are the edges after their last phase, by name: what is given to
	// them waits for the edge.
	Hosts map[string]host.Host
}

// NewHAEdge makes the hosts an edge: on each, its phases one after the other.
// What is wrong with the arguments is one error that wraps a *problem.Error, and
// nothing is registered then.
func NewHAEdge(ctx *pulumi.Context, name string, args *HAEdgeArgs, opts ...pulumi.ResourceOption) (*HAEdge, error) {
	problems := args.Validate()
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e := &HAEdge{Hosts: map[string]host.Host{}}
	if err := ctx.RegisterComponentResource(Type, name, e, opts...); err != nil {
		return nil, err
	}
	s, ca, err := args.secrets(ctx, name, e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	all, err := plan(args, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var last []pulumi.Resource
	for _, h := range args.Hosts {
		after, err := h.Apply(ctx, name, e, all[h.Name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		e.Hosts[h.Name] = after
		last = append(last, after.Resources()...)
	}
	return e, e.outputs(ctx, args, ca, last)
}

// secrets are made once, kept in the state, and never shown.
func (a *HAEdgeArgs) secrets(ctx *pulumi.Context, name string, parent pulumi.Resource) (secrets, pulumi.StringOutput, error) {
	s := secrets{leaf: map[string]pulumi.StringInput{}, leafKey: map[string]pulumi.StringInput{}}
	none := pulumi.String("").ToStringOutput()
	if a.DNS != nil {
		s.transfer = a.DNS.Key
		if s.transfer == nil {
			key := make([]byte, 32)
			rand.Read(key)
			kept, err := stash.Keep(ctx, name+"-transfer-key", base64.StdEncoding.EncodeToString(key), parent)
			if err != nil {
				return s, none, err
			}
			s.transfer = kept
		} else {
			s.transfer = s.transfer.ToStringOutput().ApplyT(func(key string) (string, error) {
				return key, validateKey(key)
			}).(pulumi.StringOutput)
		}
	}
	var ca pulumi.StringOutput
	// Kept where no site uses it now, too: one that comes back from another
	// authority has to find the one that its clients trust.
	if len(a.Sites) > 0 {
		made, err := newCA(name+" private CA", a.now())
		if err != nil {
			return s, none, err
		}
		if ca, err = stash.Keep(ctx, name+"-ca", made, parent); err != nil {
			return s, none, err
		}
		none = pulumi.Unsecret(ca.ApplyT(caCertificate)).(pulumi.StringOutput)
	}
	for _, site := range a.Sites {
		switch site.Certificate.source() {
		case "private":
			names, now := a.siteNames(site), a.now()
			pair := ca.ApplyT(func(ca string) ([]string, error) {
				certificate, key, err := leaf(ca, site.Name, names, site.Certificate.Generation, now)
				return []string{certificate, key}, err
			}).(pulumi.StringArrayOutput)
			s.leaf[site.Name], s.leafKey[site.Name] = pair.Index(pulumi.Int(0)), pair.Index(pulumi.Int(1))
		case "given":
			s.leaf[site.Name] = pulumi.String(site.Certificate.Certificate)
			s.leafKey[site.Name] = pulumi.ToSecret(pulumi.String(site.Certificate.Key)).(pulumi.StringOutput)
		}
	}
	return s, none, nil
}

// outputs tells the rest of the program where everything is, once it is there.
func (e *HAEdge) outputs(ctx *pulumi.Context, a *HAEdgeArgs, ca pulumi.StringOutput, last []pulumi.Resource) error {
	vips, public, endpoints, urls := map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	for _, v := range a.vipsOf(nil) {
		if v.Public {
			public[v.Name] = v.Address
		} else {
			vips[v.Name] = v.Address
		}
	}
	for _, s := range a.Services {
		endpoints[s.Name] = fmt.Sprintf("%s:%d", a.inside(s.VIPs)[0], s.Port)
	}
	for _, s := range a.Sites {
		urls[s.Name] = "https://" + a.siteNames(s)[0]
	}
	var servers []string
	if a.DNS != nil {
		for _, h := range a.hostNames() {
			servers = append(servers, a.addr(h))
		}
		primary := a.addr(a.primary())
		servers = append([]string{primary}, slices.DeleteFunc(servers, func(s string) bool { return s == primary })...)
	}
	// The values are known in a preview; who uses them waits for the hosts.
	later := func(m map[string]string) pulumi.StringMapOutput {
		return pulumi.OutputWithDependencies(ctx.Context(), pulumi.ToStringMap(m).ToStringMapOutput(), last...).(pulumi.StringMapOutput)
	}
	e.VIPs, e.PublicVIPs, e.Endpoints, e.SiteURLs = later(vips), later(public), later(endpoints), later(urls)
	e.DNSServers = pulumi.OutputWithDependencies(ctx.Context(), pulumi.ToStringArray(servers).ToStringArrayOutput(), last...).(pulumi.StringArrayOutput)
	e.CACertificate = ca
	return ctx.RegisterResourceOutputs(e, pulumi.Map{
		"vips": e.VIPs, "publicVips": e.PublicVIPs, "endpoints": e.Endpoints, "siteUrls": e.SiteURLs,
		"dnsServers": e.DNSServers, "caCertificate": e.CACertificate,
	})
}
