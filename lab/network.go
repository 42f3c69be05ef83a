package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// switchName is the namespace that holds one bridge per network. A host's
// cable ends there in a port called <host>.<link>.
const switchName = "switch"

const netnsDir = "/run/netns"

// namespace is the name, as `ip netns` shows it, of a node's namespace.
func (l *Lab) namespace(node string) string { return "hl-" + l.name + "-" + node }

func portName(host, link string) string { return host + "." + link }

// inNamespace runs f on a thread inside a network namespace. Processes that f
// starts stay in there.
func inNamespace(name string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and does not go
		// back into the pool in a foreign namespace.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(name)
		if err != nil {
			result <- fmt.Errorf("namespace %s: %w", name, err)
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			result <- fmt.Errorf("enter namespace %s: %w", name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// ensureNamespace makes a named namespace with its loopback up.
func ensureNamespace(name string) error {
	if namespaceExists(name) {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.NewNamed(name)
		if err != nil {
			done <- fmt.Errorf("make namespace %s: %w", name, err)
			return
		}
		defer ns.Close()
		done <- nil
	}()
	if err := <-done; err != nil {
		return err
	}
	h, err := netlinkIn(name)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback of %s: %w", name, err)
	}
	return h.LinkSetUp(lo)
}

func namespaceExists(name string) bool {
	// A file without a mount on it is what a kill between the two steps of
	// making a namespace leaves.
	var fs unix.Statfs_t
	path := filepath.Join(netnsDir, name)
	if unix.Statfs(path, &fs) != nil {
		return false
	}
	if fs.Type != unix.NSFS_MAGIC {
		os.Remove(path)
		return false
	}
	return true
}

func deleteNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove namespace: %w", err)
	}
	return nil
}

func netlinkIn(name string) (*netlink.Handle, error) {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("netlink in %s: %w", name, err)
	}
	return h, nil
}

// ensureSwitch makes the switch with one bridge per network.
func (l *Lab) ensureSwitch() error {
	ns := l.namespace(switchName)
	if err := ensureNamespace(ns); err != nil {
		return err
	}
	h, err := netlinkIn(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, name := range sortedKeys(l.topology.Networks) {
		if _, err := h.LinkByName(name); err == nil {
			continue
		}
		snoop := false // without a querier, snooping would lose multicast
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &snoop}
		if err := h.LinkAdd(br); err != nil {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
		if err := h.LinkSetUp(br); err != nil {
			return fmt.Errorf("bridge %s up: %w", name, err)
		}
	}
	// The switch forwards frames and takes no part in the networks itself.
	return inNamespace(ns, func() error {
		for _, path := range []string{"/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/default/disable_ipv6"} {
			if err := os.WriteFile(path, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// plugContainer gives a container (or a node) its cards: veth pairs whose other
// ends are ports of the switch.
func (l *Lab) plugContainer(node string, links []Link) error {
	sw, err := netlinkIn(l.namespace(switchName))
	if err != nil {
		return err
	}
	defer sw.Close()
	ns, err := netns.GetFromName(l.namespace(node))
	if err != nil {
		return fmt.Errorf("namespace of %s: %w", node, err)
	}
	defer ns.Close()
	for _, link := range links {
		port := portName(node, link.Name)
		if old, err := sw.LinkByName(port); err == nil {
			if err := sw.LinkDel(old); err != nil {
				return fmt.Errorf("old port %s: %w", port, err)
			}
		}
		mac, err := net.ParseMAC(link.MAC)
		if err != nil {
			return fmt.Errorf("%s: %w", port, err)
		}
		veth := &netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: port, TxQLen: 1000},
			PeerName:         link.Name,
			PeerHardwareAddr: mac,
			PeerNamespace:    netlink.NsFd(int(ns)),
		}
		if err := sw.LinkAdd(veth); err != nil {
			return fmt.Errorf("cable %s: %w", port, err)
		}
		if err := l.plugPort(sw, port, link.Network); err != nil {
			return err
		}
	}
	return nil
}

// plugPort puts a port into its network's bridge and switches it on.
func (l *Lab) plugPort(sw *netlink.Handle, port, network string) error {
	p, err := sw.LinkByName(port)
	if err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	br, err := sw.LinkByName(network)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", network, err)
	}
	if err := sw.LinkSetMaster(p, br); err != nil {
		return fmt.Errorf("port %s into %s: %w", port, network, err)
	}
	if err := sw.LinkSetUp(p); err != nil {
		return fmt.Errorf("port %s up: %w", port, err)
	}
	return nil
}

// unplug switches a host's ports off and removes them, so that from this
// moment on nothing answers for the host.
func (l *Lab) unplug(node string) error {
	if !namespaceExists(l.namespace(switchName)) {
		return nil
	}
	sw, err := netlinkIn(l.namespace(switchName))
	if err != nil {
		return err
	}
	defer sw.Close()
	// Other hosts come and go meanwhile, and the kernel then says that its list
	// may have a gap.
	all, err := sw.LinkList()
	for range 100 {
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		all, err = sw.LinkList()
	}
	if err != nil {
		return fmt.Errorf("ports of %s: %w", node, err)
	}
	var errs []error
	for _, link := range all {
		if strings.HasPrefix(link.Attrs().Name, node+".") {
			errs = append(errs, sw.LinkSetDown(link))
		}
	}
	for _, link := range all {
		if strings.HasPrefix(link.Attrs().Name, node+".") {
			errs = append(errs, sw.LinkDel(link))
		}
	}
	return errors.Join(errs...)
}

// ensureNode makes a node without an operating system: a namespace with
// configured links.
func (l *Lab) ensureNode(name string, node Node) error {
	ns := l.namespace(name)
	if namespaceExists(ns) {
		if h, err := netlinkIn(ns); err == nil {
			defer h.Close()
			complete := true
			for _, link := range node.Links {
				if _, err := h.LinkByName(link.Name); err != nil {
					complete = false
				}
			}
			if complete {
				return nil
			}
		}
	}
	if err := ensureNamespace(ns); err != nil {
		return err
	}
	if err := l.plugContainer(name, node.Links); err != nil {
		return err
	}
	h, err := netlinkIn(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, link := range node.Links {
		card, err := h.LinkByName(link.Name)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", link.Name, name, err)
		}
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(link.Address, l.topology.Networks[link.Network].Bits()))}
		if err := h.AddrAdd(card, addr); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
		if err := h.LinkSetUp(card); err != nil {
			return fmt.Errorf("%s of %s up: %w", link.Name, name, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// run executes a command and returns its output in the error when it fails.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, tail(string(out), 20))
	}
	return nil
}

// tail is the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
