package host

import (
	"embed"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
)

//go:embed phases
var phaseFiles embed.FS

// BaseType is the type token of [Base].
const BaseType = "halinux:index:Base"

// BaseArgs says what every host of a platform has in common.
type BaseArgs struct {
	// Hosts are the machines, each with the way to it; their names are those
	// of the plan.
	Hosts []Host `mapstructure:"-"`
	// Plan has every host's roles, links and addresses.
	Plan AddressPlan `mapstructure:"-"`
	// Disks are what later components make of hosts' disks, by the host's name:
	// the preflight looks at them before anything is changed. Default: none.
	Disks map[string]Disks `mapstructure:"-"`
	// Preflight is what a host must be like. Default: see its fields.
	Preflight PreflightArgs
	// Packages are the sources, versions and further packages. Default: what
	// the host was installed with.
	Packages PackageSource
	// Updates are installed each night. Default: security updates, no reboot.
	Updates Updates
	// Users are the accounts of people and machines. A declared account has
	// exactly the keys that stand here; other accounts are left alone. One that
	// is taken out of the list is deleted, its home stays.
	Users []User
	// SSHD is hardened: keys only.
	SSHD SSHD
	// Time is kept by chrony.
	Time Time
	// Kernel parameters, modules, limits and swap. Default: nothing of it.
	Kernel Kernel
	// Network puts the plan's links onto the hosts, by systemd-networkd or
	// Netplan, whichever a host uses.
	Network NetworkArgs
	// Firewall drops what no flow names. Its field SSH is required.
	Firewall Firewall
}

// PackageSource is where packages come from.
type PackageSource struct {
	// Sources take the place of all package sources of the host. Default: what
	// the host has, as it was installed with Debian's mirrors.
	Sources []Source
	// Pins hold packages to versions. Default: none.
	Pins []Pin
	// Install are packages that every host gets.
	Install []string
}

// Source is one package source (sources.list(5)).
type Source struct {
	Name       string   // a word; the file's name comes of it
	URL        string   // http, https or file
	Suites     []string // like trixie, or a path that ends in a slash
	Components []string // default main; none for a suite that ends in a slash
	Key        string   // the public key of its signature, armored
	// KeyFile is where the program finds Key, when it is not given itself: a
	// path on the controller.
	KeyFile string
}

// Pin holds packages to a version (apt_preferences(5)).
type Pin struct {
	Package  string // a name or a pattern, like "haproxy" or "linux-image-*"
	Version  string // a version or a pattern, like "3.0.*"
	Priority int    // default 1001: that version and no other, downgrades included
}

// Updates are the security updates that hosts install by themselves.
type Updates struct {
	Off bool // installs none
	// At is the time of day of the first host, in the host's time zone;
	// default "03:00". The others follow in the order of the hosts, Apart from
	// each other, so that two hosts of a pair are never at it together.
	At    string
	Apart time.Duration // default 30m
	// Reboot says that a host which needs it for an update boots right after
	// it, in its own window. Default: never.
	Reboot bool
	// Hold names packages that are left alone.
	Hold []string
}

// User is an account on every host.
type User struct {
	Name   string   // at most 32 lower-case letters, digits, - and _
	Keys   []string // public keys as in authorized_keys
	Sudo   bool     // may become root without a password
	Groups []string // further groups, which exist
	Shell  string   // default /bin/bash
}

// SSHD is how sshd is hardened. Passwords are never accepted.
type SSHD struct {
	Off bool // leaves sshd as it is
	// RootLogin is "key" or "no"; default key. It cannot be "no" while the
	// controller itself is root.
	RootLogin string
	// AllowUsers are the only accounts that may log in; default all.
	AllowUsers []string
}

// Time is the clock.
type Time struct {
	Off bool // leaves the clock to others
	// Servers are asked for the time; default what Debian's chrony comes with.
	Servers []string
}

// Kernel is what the kernel is told.
type Kernel struct {
	Sysctl  []Setting // set now and at each boot
	Modules []string  // loaded now and at each boot (modules-load.d(5))
	Limits  []Limit   // of logins that begin afterwards
	// SwapOff names roles whose hosts have no swap, as Kubernetes wants it.
	SwapOff []string
}

// Setting is one kernel parameter (sysctl.d(5)).
type Setting struct {
	Name  string // like net.ipv4.ip_forward
	Value string // as the kernel shows it, words apart by one space
}

// Limit is one limit of logins (limits.conf(5)).
type Limit struct {
	Domain string // a user, an @group, or *
	Type   string // soft, hard or -
	Item   string // nofile, nproc, memlock, ...
	Value  string // a number, or unlimited
}

// NetworkArgs says how the plan's links get onto the hosts.
type NetworkArgs struct {
	// Off leaves addresses and bonds to others; names stay.
	Off bool
	// Confirm is within which time a change has to prove that the host can
	// still be reached, or else is undone; default 30s.
	Confirm time.Duration
}

// Firewall is the packet filter of every host.
type Firewall struct {
	Off bool // leaves the packet filter as it is
	// Except names hosts that something else protects, or whose kernel cannot
	// filter packets.
	Except []string
	// SSH says from where hosts may be administered: ranges, or names of
	// networks or hosts. Required; the controller has to be in it.
	SSH []string
	// Flows are what the components need: filled in by the program.
	Flows []Flow `mapstructure:"-"`
	// Extra are flows beyond those.
	Extra []Flow
	// Forward names hosts that pass on packets of others (routers, nodes of a
	// cluster). Elsewhere forwarding is denied.
	Forward []string
	// Confirm as with the network; default 30s.
	Confirm time.Duration
}

// Base is the base system of all hosts of a platform.
type Base struct {
	pulumi.ResourceState

	// Hosts are the hosts by name as they are after their last phase: what is
	// given them waits for the base system.
	Hosts map[string]Host

	// Addresses are the addresses of each host, in the order of its links.
	Addresses pulumi.StringArrayMapOutput `pulumi:"addresses"`
	// Names are the full names of the hosts, in the order of the plan.
	Names pulumi.StringArrayOutput `pulumi:"names"`
}

// NewBase makes the base system of all hosts: first each host's preflight, then,
// when all of them are fit, the phases. What is wrong with the arguments is one
// *problem.Error, and nothing is registered then.
func NewBase(ctx *pulumi.Context, name string, args *BaseArgs, opts ...pulumi.ResourceOption) (*Base, error) {
	problems := args.Validate()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	b := &Base{Hosts: map[string]Host{}}
	if err := ctx.RegisterComponentResource(BaseType, name, b, opts...); err != nil {
		return nil, err
	}
	hosts, err := args.gate(ctx, name, b)
	if err != nil {
		return nil, err
	}
	addresses := pulumi.StringArrayMap{}
	var names pulumi.StringArray
	for _, h := range hosts {
		phases, err := args.phases(h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		if b.Hosts[h.Name], err = h.Apply(ctx, name, b, phases); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		addresses[h.Name] = pulumi.ToStringArray(texts(args.Plan.Addresses(h.Name)))
		names = append(names, pulumi.String(args.Plan.FQDN(h.Name)))
	}
	b.Addresses = addresses.ToStringArrayMapOutput()
	b.Names = names.ToStringArrayOutput()
	return b, ctx.RegisterResourceOutputs(b, pulumi.Map{"addresses": b.Addresses, "names": b.Names})
}

// gate lets no host be changed before all hosts have passed their preflight.
func (a *BaseArgs) gate(ctx *pulumi.Context, name string, b *Base) ([]Host, error) {
	if a.Preflight.Off {
		return a.Hosts, nil
	}
	return Gate(ctx, name, b, a.Hosts, func(h Host) (Phase, error) {
		p, err := a.preflightPhase(h)
		if err != nil {
			return Phase{}, err
		}
		return *p, nil
	})
}

// Gate applies a phase that changes nothing to all hosts, and returns when all of
// them have passed it. It is the program that waits, before it registers anything
// else: a dependency would stay in the state, and tie every host to every other
// for ever.
func Gate(ctx *pulumi.Context, name string, parent pulumi.Resource, hosts []Host, phase func(Host) (Phase, error)) ([]Host, error) {
	hosts = slices.Clone(hosts)
	for i, h := range hosts {
		p, err := phase(h)
		if err == nil {
			hosts[i], err = h.Apply(ctx, name, parent, []Phase{p})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	for _, h := range hosts {
		for _, r := range h.after {
			// Its URN comes when the phase has ended; in a preview, at once.
			if _, err := internals.UnsafeAwaitOutput(ctx.Context(), r.URN()); err != nil {
				return nil, fmt.Errorf("%s: the preflight did not pass, and no host was changed: %w", h.Name, err)
			}
		}
	}
	return hosts, nil
}

func texts(addresses []netip.Addr) []string {
	list := make([]string, len(addresses))
	for i, a := range addresses {
		list[i] = a.String()
	}
	return list
}

// phases are the phases of one host after the preflight, in their order.
func (a *BaseArgs) phases(h Host) ([]Phase, error) {
	var all []Phase
	for _, plan := range []func(Host) (*Phase, error){
		a.packagesPhase, a.usersPhase, a.timePhase, a.kernelPhase, a.networkPhase, a.firewallPhase,
	} {
		p, err := plan(h)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if err := p.Scripts(phaseFiles, "phases/"+p.Name); err != nil {
			return nil, err
		}
		all = append(all, *p)
	}
	return all, nil
}

// position is a host's place among the hosts.
func (a *BaseArgs) position(h Host) int {
	return slices.IndexFunc(a.Hosts, func(o Host) bool { return o.Name == h.Name })
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
