package e2e

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/halinux/halinux/tests/e2e/load"
)

// facts are what the scenarios know of the platform: what its settings say.
type facts struct {
	Domain string
	Hosts  []struct {
		Name  string
		Roles []string
	}
	Edge struct {
		VRRP struct {
			Profile string
			Advert  time.Duration
		}
		VIPs []struct{ Name, Address, Prefer string }
		BGP  struct {
			VIPs  []struct{ Name, Address string }
			Peers []struct{ Address string }
			BFD   struct {
				Interval   time.Duration
				Multiplier int
			}
		}
		Sites []struct {
			Name     string
			Hosts    []string
			VIPs     []string
			Backends []struct{ Host string }
		}
		Services []struct {
			Name     string
			Port     int
			VIPs     []string
			Backends []struct{ Host string }
		}
		DNS struct{ Zone, Primary string }
	}
	Storage struct {
		Name, VIP, Volume, Role string
		Witnesses               []string
		Projects                []storageProject
	}

	Kubernetes struct {
		Endpoint struct {
			Address string
			Port    int
		}
		ControlPlaneRole, WorkerRole string
		Sites                        []struct{ Hosts []string }
	}

	edges []string // by name
}

type storageProject struct {
	Name  string
	Quota int // MiB
}

// facts reads the settings of the lab's stack, as far as scenarios need them.
func (b *Bed) facts(t testing.TB) *facts {
	t.Helper()
	_, s := b.settings(t)
	f := &facts{}
	plain := map[string]any{}
	for key, value := range s {
		plain[strings.TrimPrefix(key, "halinux:")] = value
	}
	text, err := yaml.Marshal(lowerKeys(plain))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, f); err != nil {
		t.Fatalf("%s: %v", b.settingsFile(), err)
	}
	for _, h := range f.Hosts {
		if slices.Contains(h.Roles, "edge") {
			f.edges = append(f.edges, h.Name)
		}
	}
	slices.Sort(f.edges)
	if len(f.edges) != 2 || len(f.Edge.VIPs) == 0 || len(f.Edge.BGP.VIPs) == 0 || len(f.Edge.Services) == 0 || len(f.Edge.Sites) == 0 {
		t.Fatalf("the scenarios need two edges, a VIP, a public VIP, a service and a site in %s; found %+v", b.settingsFile(), f)
	}
	return f
}

// lowerKeys writes keys as the yaml package looks for those of a plain struct.
func lowerKeys(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[strings.ToLower(k)] = lowerKeys(x)
		}
		return m
	case []any:
		for i := range v {
			v[i] = lowerKeys(v[i])
		}
	}
	return v
}

// other is the edge that is not the one.
func (f *facts) other(edge string) string {
	if f.edges[0] == edge {
		return f.edges[1]
	}
	return f.edges[0]
}

// vip is the address that one edge at a time holds.
func (f *facts) vip() string { return f.Edge.VIPs[0].Address }

// public is the address that every healthy edge announces.
func (f *facts) public() string { return f.Edge.BGP.VIPs[0].Address }

// lan is a load through the VIP, as hosts of the site send it.
func (f *facts) lan() load.Settings {
	return load.Settings{URL: "http://" + net.JoinHostPort(f.vip(), strconv.Itoa(f.Edge.Services[0].Port)) + "/"}
}

// internet is a load through the public address, as the provider's other
// customers send it.
func (f *facts) internet() load.Settings {
	return load.Settings{URL: "http://" + net.JoinHostPort(f.public(), strconv.Itoa(f.Edge.Services[0].Port)) + "/"}
}

// site is a load through the public address over HTTPS, a handshake each.
func (f *facts) site(ca string) load.Settings {
	name := f.Edge.Sites[0].Hosts[0]
	if !strings.Contains(name, ".") {
		name += "." + f.Domain
	}
	return load.Settings{URL: "https://" + name + "/", Server: net.JoinHostPort(f.public(), "443"), CA: ca}
}

// advert is the interval of the VRRP profile in use.
func (f *facts) advert() time.Duration {
	switch {
	case f.Edge.VRRP.Profile != "fast":
		return time.Second
	case f.Edge.VRRP.Advert == 0:
		return 200 * time.Millisecond
	}
	return f.Edge.VRRP.Advert
}

// deathLimit is 3 adverts, the skew of the lowest priority that an edge uses
// (254 - the number of edges) and half a second.
func (f *facts) deathLimit(advert time.Duration) float64 {
	skew := time.Duration(256-254+len(f.edges)) * advert / 256
	return (3*advert + skew + 500*time.Millisecond).Seconds()
}

// primary is the edge that the zones are made on.
func (f *facts) primary() string {
	if f.Edge.DNS.Primary != "" {
		return f.Edge.DNS.Primary
	}
	return f.edges[0]
}

// zone is the forward zone, with its dot.
func (f *facts) zone() string {
	zone := f.Edge.DNS.Zone
	if zone == "" {
		zone = f.Domain
	}
	return strings.TrimSuffix(zone, ".") + "."
}

// owners are the edges that have the address now, of those that answer.
func (b *Bed) owners(f *facts, address string) []string {
	holds := make([]bool, len(f.edges))
	var all sync.WaitGroup // a dead edge must not hold up the answer of the other
	for i, edge := range f.edges {
		all.Go(func() {
			out, err := b.try(edge, "ip -4 -o address show to "+address)
			holds[i] = err == nil && strings.Contains(out, address)
		})
	}
	all.Wait()
	var owners []string
	for i, edge := range f.edges {
		if holds[i] {
			owners = append(owners, edge)
		}
	}
	return owners
}

// owner waits for the one edge that has the VIP.
func (b *Bed) owner(t testing.TB, f *facts) string {
	t.Helper()
	owner := ""
	Until(t, time.Minute, "one owner of "+f.vip(), func() error {
		owners := b.owners(f, f.vip())
		if len(owners) != 1 {
			return fmt.Errorf("on %v", owners)
		}
		owner = owners[0]
		return nil
	})
	return owner
}
