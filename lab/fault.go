package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// fault is one thing that is wrong with the network, until it is healed.
type fault struct {
	// Host and Link: a pulled cable, or a slow one.
	Host string `json:",omitempty"`
	Link string `json:",omitempty"`
	// Peer: no frame passes between Host and Peer, in either direction.
	Peer string `json:",omitempty"`
	// Match narrows it to one protocol, as "proto 112" or "udp 3784".
	Match string `json:",omitempty"`
	// Slow impairs the link instead of cutting it.
	Slow *Impairment `json:",omitempty"`
}

func (f fault) String() string {
	switch {
	case f.Slow != nil:
		return fmt.Sprintf("%s %s slow %s", f.Host, f.Link, f.Slow)
	case f.Peer != "":
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Host, f.Peer, f.Match))
	default:
		return f.Host + " " + f.Link
	}
}

func (l *Lab) faultsPath() string { return filepath.Join(l.dir, "faults.json") }

// faults are those that have not been healed.
func (l *Lab) faults() ([]fault, error) {
	data, err := os.ReadFile(l.faultsPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("faults: %w", err)
	}
	var list []fault
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", l.faultsPath(), err)
	}
	return list, nil
}

// changeFaults edits the list of faults and makes the network follow it.
func (l *Lab) changeFaults(ctx context.Context, change func([]fault) ([]fault, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	held, err := lock(ctx, l.faultsPath()+".lock")
	if err != nil {
		return err
	}
	defer held.Close()
	list, err := l.faults()
	if err != nil {
		return err
	}
	if list, err = change(list); err != nil {
		return err
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(l.faultsPath(), data, 0o644); err != nil {
		return err
	}
	return l.applyFaults(ctx, list)
}

// CutLink pulls one cable of a host: its card loses the carrier.
func (l *Lab) CutLink(ctx context.Context, host, link string) error {
	if _, err := l.linksOf(host, link); err != nil {
		return err
	}
	return l.changeFaults(ctx, func(list []fault) ([]fault, error) {
		f := fault{Host: host, Link: link}
		return append(slices.DeleteFunc(list, func(o fault) bool { return o == f }), f), nil
	})
}

// CutPair stops frames between two nodes, both ways, while both keep their
// carrier. match narrows it to a protocol, see parseMatch; empty means all.
func (l *Lab) CutPair(ctx context.Context, host, peer, match string) error {
	for _, name := range []string{host, peer} {
		if _, err := l.linksOf(name, ""); err != nil {
			return err
		}
	}
	if host == peer {
		return fmt.Errorf("cut: %s and %s are the same", host, peer)
	}
	if _, err := parseMatch(match); err != nil {
		return err
	}
	return l.changeFaults(ctx, func(list []fault) ([]fault, error) {
		f := fault{Host: host, Peer: peer, Match: match}
		return append(slices.DeleteFunc(list, func(o fault) bool { return o == f }), f), nil
	})
}

// Heal undoes cuts and slowness: all of them, those of a host, of one of its
// links, or between two nodes.
func (l *Lab) Heal(ctx context.Context, host, other string) error {
	if host != "" {
		if _, err := l.linksOf(host, ""); err != nil {
			return err
		}
	}
	return l.changeFaults(ctx, func(list []fault) ([]fault, error) {
		return slices.DeleteFunc(list, func(f fault) bool { return f.concerns(host, other) }), nil
	})
}

func (f fault) concerns(host, other string) bool {
	switch {
	case host == "":
		return true
	case other == "":
		return f.Host == host || f.Peer == host
	default:
		return f.Host == host && (f.Link == other || f.Peer == other) || f.Host == other && f.Peer == host
	}
}

// HasNode tells whether there is a host, or the controller or the mirror, of that name.
func (l *Lab) HasNode(name string) bool {
	_, err := l.linksOf(name, "")
	return err == nil
}

// linksOf are the links of a host or a node: all, or the one of that name.
func (l *Lab) linksOf(node, name string) ([]Link, error) {
	var links []Link
	switch h, ok := l.topology.Hosts[node]; {
	case ok:
		links = h.Links
	case node == controllerName:
		links = l.topology.Controller.Links
	case node == mirrorName:
		links = l.topology.Mirror.Links
	default:
		return nil, l.noHost(node)
	}
	if name == "" {
		return links, nil
	}
	for _, link := range links {
		if link.Name == name {
			return []Link{link}, nil
		}
	}
	var known []string
	for _, link := range links {
		known = append(known, link.Name)
	}
	return nil, fmt.Errorf("%s has no link %q, it has: %s", node, name, strings.Join(known, ", "))
}

// applyFaults brings the switch, and the cards of virtual machines, to what the
// list says. It may be called at any time.
func (l *Lab) applyFaults(ctx context.Context, list []fault) error {
	rules, err := l.cutRules(list)
	if err != nil {
		return err
	}
	var errs []error
	errs = append(errs, inNamespace(l.namespace(switchName), func() error {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		return run(cmd)
	}))
	errs = append(errs, l.applySlow(ctx, list), l.setPorts(list))
	for _, name := range l.topology.hostNames() {
		errs = append(errs, l.notifyCards(name))
	}
	return errors.Join(errs...)
}

// setPorts plugs every cable in or out at the switch.
func (l *Lab) setPorts(list []fault) error {
	sw, err := netlinkIn(l.namespace(switchName))
	if err != nil {
		return err
	}
	defer sw.Close()
	var errs []error
	for _, name := range append(l.topology.hostNames(), controllerName, mirrorName) {
		links, err := l.linksOf(name, "")
		if err != nil {
			return err
		}
		for _, link := range links {
			port, err := sw.LinkByName(portName(name, link.Name))
			if err != nil {
				continue // the host is off
			}
			if err := l.setPort(sw, port, name, link, isCut(list, name, link.Name)); err != nil {
				errs = append(errs, fmt.Errorf("cable %s %s: %w", name, link.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// setPort plugs one cable in or out at the switch's end. The port of a container
// is switched off, which takes the carrier from its card. That of a virtual
// machine leaves the bridge instead, and the machine is told of its carrier by
// itself (notifyCards): a device that is down answers writes with an error, after
// which the driver of user-mode Linux never uses it again.
func (l *Lab) setPort(sw *netlink.Handle, port netlink.Link, node string, link Link, cut bool) error {
	if h := l.topology.Hosts[node]; h == nil || l.driver(h).name() == containerName {
		if cut {
			return sw.LinkSetDown(port)
		}
		return sw.LinkSetUp(port)
	}
	// The port in the bridge is another one while the link is slow.
	inner, err := sw.LinkByName(slowPort(node, link.Name))
	if err != nil {
		inner = port
	}
	if cut {
		return sw.LinkSetNoMaster(inner)
	}
	return l.plugPort(sw, inner.Attrs().Name, link.Network)
}

// isCut tells whether a cable is pulled.
func isCut(list []fault, host, link string) bool {
	return slices.ContainsFunc(list, func(f fault) bool {
		return f.Slow == nil && f.Peer == "" && f.Host == host && f.Link == link
	})
}

// cutRules is the ruleset of the switch: what does not pass between two nodes.
func (l *Lab) cutRules(list []fault) (string, error) {
	var b strings.Builder
	b.WriteString("table bridge lab\ndelete table bridge lab\ntable bridge lab {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n")
	ports := func(node string) (string, error) {
		links, err := l.linksOf(node, "")
		if err != nil {
			return "", err
		}
		var names []string
		for _, link := range links {
			// The second name is that of a slow link's inner port.
			names = append(names, strconv.Quote(portName(node, link.Name)), strconv.Quote(slowPort(node, link.Name)))
		}
		return "{ " + strings.Join(names, ", ") + " }", nil
	}
	for _, f := range list {
		if f.Peer == "" {
			continue
		}
		from, err := ports(f.Host)
		if err != nil {
			return "", err
		}
		to, err := ports(f.Peer)
		if err != nil {
			return "", err
		}
		matches, err := parseMatch(f.Match)
		if err != nil {
			return "", err
		}
		for _, m := range matches {
			fmt.Fprintf(&b, "\t\tiifname %s oifname %s %scounter drop\n", from, to, m)
			fmt.Fprintf(&b, "\t\tiifname %s oifname %s %scounter drop\n", to, from, m)
		}
	}
	b.WriteString("\t}\n}\n")
	return b.String(), nil
}

var matchPattern = regexp.MustCompile(`^(proto|tcp|udp) ([0-9]{1,5})$`)

// parseMatch turns what a cut is narrowed to into matches of nftables: "vrrp",
// "icmp", "arp", "proto NUMBER" (of the IP protocol), "tcp PORT", "udp PORT".
// A port counts at either end.
func parseMatch(match string) ([]string, error) {
	switch match {
	case "":
		return []string{""}, nil
	case "arp":
		return []string{"ether type arp "}, nil
	case "icmp":
		return []string{"ip protocol 1 "}, nil
	case "vrrp":
		return []string{"ip protocol 112 "}, nil
	}
	m := matchPattern.FindStringSubmatch(match)
	if m == nil {
		return nil, fmt.Errorf("cut: %q is none of arp, icmp, vrrp, proto NUMBER, tcp PORT, udp PORT", match)
	}
	limit := 65535
	if m[1] == "proto" {
		limit = 255
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n > limit {
		return nil, fmt.Errorf("cut: %s is out of range (0 to %d)", m[2], limit)
	}
	if m[1] == "proto" {
		return []string{"ip protocol " + m[2] + " "}, nil
	}
	return []string{
		fmt.Sprintf("ip protocol %s %s dport %s ", m[1], m[1], m[2]),
		fmt.Sprintf("ip protocol %s %s sport %s ", m[1], m[1], m[2]),
	}, nil
}
