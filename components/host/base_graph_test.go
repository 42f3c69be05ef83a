package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/golden"
)

// graph records what a program registers.
type graph struct {
	mu    sync.Mutex
	needs map[string][]string // by name, what it depends on directly
	types map[string]string
	from  map[string]string // the parent's name
	order []string          // in which they came
	fail  string            // the resource that does not come about
}

func lastName(urn string) string { return urn[strings.LastIndex(urn, "::")+2:] }

func (g *graph) NewResource(a pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.Name == g.fail {
		return "", nil, errors.New("it is full")
	}
	g.order = append(g.order, a.Name)
	g.types[a.Name] = a.TypeToken
	if r := a.RegisterRPC; r != nil {
		g.from[a.Name] = lastName(r.Parent)
		for _, d := range r.Dependencies {
			g.needs[a.Name] = append(g.needs[a.Name], lastName(d))
		}
	}
	return a.Name + "-id", a.Inputs, nil
}

func (g *graph) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

func register(t *testing.T, program func(*pulumi.Context) error) *graph {
	t.Helper()
	g := &graph{needs: map[string][]string{}, types: map[string]string{}, from: map[string]string{}}
	require.NoError(t, pulumi.RunErr(program, pulumi.WithMocks("project", "stack", g)))
	return g
}

func TestBaseGraph(t *testing.T) {
	args := exampleArgs()
	g := register(t, func(ctx *pulumi.Context) error {
		b, err := NewBase(ctx, "base", args)
		if err != nil {
			return err
		}
		assert.Len(t, b.Hosts, 3)
		_, err = NewResolver(ctx, "resolver", &ResolverArgs{
			Hosts: []Host{b.Hosts["edge1"]}, Plan: args.Plan, Servers: []string{"10.10.0.11", "10.10.0.12"},
		})
		return err
	})
	assert.Equal(t, BaseType, g.types["base"])
	assert.Equal(t, ResolverType, g.types["resolver"])
	for _, h := range []string{"edge1", "edge2", "store1"} {
		assert.Equal(t, []string{"base-" + h + "-library"}, g.needs["base-"+h+"-preflight"])
		name := func(phase string) string { return "base-" + h + "-" + phase }
		for phase, before := range map[string][]string{
			"packages": {name("preflight")},
			"users":    {name("packages")}, "time": {name("packages")}, "kernel": {name("packages")},
			"network":  {name("users"), name("time"), name("kernel")},
			"firewall": {name("network")},
		} {
			assert.ElementsMatch(t, before, g.needs[name(phase)], phase)
			assert.Equal(t, "base", g.from[name(phase)])
		}
		for _, other := range []string{"edge1", "edge2", "store1"} {
			assert.Less(t, slices.Index(g.order, "base-"+other+"-preflight"), slices.Index(g.order, "base-"+h+"-packages"), "no host is changed before all have passed")
		}
	}
	assert.Equal(t, []string{"base-edge1-firewall"}, g.needs["resolver-edge1-resolver"])
	assert.Equal(t, "resolver", g.from["resolver-edge1-resolver"])
}

func TestNoHostIsChangedWhereOneDoesNotPass(t *testing.T) {
	g := &graph{needs: map[string][]string{}, types: map[string]string{}, from: map[string]string{}, fail: "base-store1-preflight"}
	require.ErrorContains(t, pulumi.RunErr(func(ctx *pulumi.Context) error {
		_, err := NewBase(ctx, "base", exampleArgs())
		require.ErrorContains(t, err, "store1: the preflight did not pass, and no host was changed")
		return err
	}, pulumi.WithMocks("project", "stack", g)), "it is full")
	for name := range g.types {
		assert.NotContains(t, name, "packages")
	}
}

func TestBaseRegistersNothingWithAProblem(t *testing.T) {
	args := exampleArgs()
	args.Firewall.SSH = nil
	g := register(t, func(ctx *pulumi.Context) error {
		_, err := NewBase(ctx, "base", args)
		assert.ErrorContains(t, err, "firewall.ssh")
		return nil
	})
	delete(g.types, "project-stack")
	assert.Empty(t, g.types)
}

func TestResolverAsksBothServersAtOnce(t *testing.T) {
	args := exampleArgs()
	r := &ResolverArgs{Hosts: args.Hosts, Plan: args.Plan, Servers: []string{"10.10.0.11", "10.10.0.12"}}
	problems := r.Validate()
	require.NoError(t, problems.Err())
	p, err := r.phase(args.Hosts[2])
	require.NoError(t, err)
	golden.Compare(t, "testdata/resolver-store1.golden", shown(*p))
	for want, change := range map[string]func(*ResolverArgs){
		"servers: there is none":                  func(r *ResolverArgs) { r.Servers = nil },
		"servers[1]: \"ns2\" is not an address":   func(r *ResolverArgs) { r.Servers[1] = "ns2" },
		"servers[1]: 10.10.0.11 stands there":     func(r *ResolverArgs) { r.Servers[1] = "10.10.0.11" },
		"domains[0]: \"a b\" is not a DNS":        func(r *ResolverArgs) { r.Domains = []string{"a b"} },
		"hosts[0].name: \"edge9\" has no link in": func(r *ResolverArgs) { r.Hosts = []Host{aHost("edge9", "10.10.0.9")} },
	} {
		r := &ResolverArgs{Hosts: args.Hosts, Plan: args.Plan, Servers: []string{"10.10.0.11", "10.10.0.12"}}
		change(r)
		assert.Contains(t, told(r.Validate()), want)
	}
}

func TestPreflightJudgesHostsTogether(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hosts := []Host{aHost("a", "10.0.0.1"), aHost("b", "10.0.0.2"), aHost("c", "10.0.0.3"), aHost("d", "10.0.0.4")}
	at := func(machine string, skew time.Duration, findings ...Finding) preflightAnswer {
		return preflightAnswer{machine: machine, clock: now.Add(skew), asked: now, ended: now.Add(2 * time.Second), findings: findings}
	}
	r := PreflightArgs{}.judge(hosts, []preflightAnswer{
		at("one", 0), at("two", 5*time.Minute, Finding{"b", "no room", "make room"}), at("one", -time.Hour), {findings: []Finding{{"d", "no answer", ""}}},
	})
	text := r.Err().Error()
	for _, want := range []string{"6 findings on 4 hosts", "it has the machine id of c", "it has the machine id of a", "no room",
		"its clock is 4m58s ahead", "its clock is 1h0m0s behind", "no answer"} {
		assert.Contains(t, text, want)
	}
	assert.NoError(t, PreflightArgs{}.judge(hosts[:2], []preflightAnswer{at("one", 0), at("two", 3*time.Second)}).Err())
}

func TestUnreachableHostIsNamedWithItsReason(t *testing.T) {
	h := aHost("a", "10.0.0.1")
	for text, want := range map[string]string{
		"ssh: handshake failed: ssh: host key mismatch":                     "another host key",
		"ssh: handshake failed: ssh: unable to authenticate, attempted [x]": "it refuses root at 10.0.0.1:22",
		"no answer: context deadline exceeded":                              "no answer from 10.0.0.1:22 after 15s",
	} {
		what, remedy := unreachable(h, fmt.Errorf("%s", text), 15*time.Second)
		assert.Contains(t, what, want)
		assert.NotEmpty(t, remedy)
	}
}
