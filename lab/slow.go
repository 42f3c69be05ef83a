package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Impairment makes a link bad. It holds for each direction by itself, so a
// round trip takes twice the delay.
type Impairment struct {
	// Loss is the share of frames that vanish, 0 to 1.
	Loss float64 `json:",omitempty"`
	// Delay of every frame.
	Delay time.Duration `json:",omitempty"`
	// Rate in bits per second, 0 for no limit.
	Rate int64 `json:",omitempty"`
}

func (i Impairment) String() string {
	var parts []string
	if i.Loss > 0 {
		parts = append(parts, fmt.Sprintf("loss=%g%%", i.Loss*100))
	}
	if i.Delay > 0 {
		parts = append(parts, fmt.Sprintf("delay=%v", i.Delay))
	}
	if i.Rate > 0 {
		parts = append(parts, fmt.Sprintf("rate=%dkbit", i.Rate/1000))
	}
	return strings.Join(parts, " ")
}

// ParseImpairment reads words as loss=20%, delay=100ms, rate=10mbit.
func ParseImpairment(words []string) (Impairment, error) {
	var imp Impairment
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "loss":
			var percent float64
			percent, err = strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
			if err == nil && !(percent >= 0 && percent <= 100) {
				err = errors.New("out of range (0% to 100%)")
			}
			imp.Loss = percent / 100
		case "delay":
			imp.Delay, err = time.ParseDuration(value)
			if err == nil && (imp.Delay < 0 || imp.Delay > time.Minute) {
				err = errors.New("out of range (0s to 1m)")
			}
		case "rate":
			unit := int64(1)
			for suffix, factor := range map[string]int64{"kbit": 1e3, "mbit": 1e6, "gbit": 1e9} {
				if number, found := strings.CutSuffix(value, suffix); found {
					value, unit = number, factor
				}
			}
			imp.Rate, err = strconv.ParseInt(value, 10, 32)
			if err == nil && imp.Rate < 1 {
				err = errors.New("must be above 0")
			}
			imp.Rate *= unit
		default:
			err = errors.New("unknown, known are loss=20%, delay=100ms, rate=10mbit")
		}
		if err != nil {
			return imp, fmt.Errorf("slow: %s: %w", word, err)
		}
	}
	if imp == (Impairment{}) {
		return imp, errors.New("slow: say how: loss=20%, delay=100ms, rate=10mbit")
	}
	return imp, nil
}

// Slow makes a link of a node bad, or all of its links when link is empty.
func (l *Lab) Slow(ctx context.Context, node, link string, imp Impairment) error {
	links, err := l.linksOf(node, link)
	if err != nil {
		return err
	}
	return l.changeFaults(ctx, func(list []fault) ([]fault, error) {
		for _, link := range links {
			list = slices.DeleteFunc(list, func(f fault) bool {
				return f.Slow != nil && f.Host == node && f.Link == link.Name
			})
			list = append(list, fault{Host: node, Link: link.Name, Slow: &imp})
		}
		return list, nil
	})
}

// The machine's kernel has no netem. A slow link is therefore made by a process:
// the host's port leaves the bridge, and the process carries its frames to and
// from a veth pair whose far end, slowPort, takes the port's place there.

func slowPort(node, link string) string { return "s-" + slowID(node, link) }
func slowTail(node, link string) string { return "t-" + slowID(node, link) }

func slowID(node, link string) string {
	sum := sha256.Sum256([]byte(portName(node, link)))
	return hex.EncodeToString(sum[:5])
}

func (l *Lab) slowLock(port string) string { return filepath.Join(l.dir, "slow", port+".lock") }

// carrying is what a forwarder works on; another one is needed when it changes.
type carrying struct {
	Port int // interface index, new after each boot of the host
	Impairment
}

// applySlow starts and ends the processes behind slow links.
func (l *Lab) applySlow(ctx context.Context, list []fault) error {
	sw, err := netlinkIn(l.namespace(switchName))
	if err != nil {
		return err
	}
	defer sw.Close()
	for _, node := range append(l.topology.hostNames(), controllerName, mirrorName) {
		links, err := l.linksOf(node, "")
		if err != nil {
			return err
		}
		for _, link := range links {
			var imp *Impairment
			for _, f := range list {
				if f.Slow != nil && f.Host == node && f.Link == link.Name {
					imp = f.Slow
				}
			}
			if err := l.applySlowLink(ctx, sw, node, link, imp); err != nil {
				return fmt.Errorf("slow %s %s: %w", node, link.Name, err)
			}
		}
	}
	return nil
}

func (l *Lab) applySlowLink(ctx context.Context, sw *netlink.Handle, node string, link Link, imp *Impairment) error {
	port := portName(node, link.Name)
	lockPath := l.slowLock(port)
	outer, err := sw.LinkByName(port)
	present := err == nil
	if imp != nil && present && locked(lockPath) {
		var now carrying
		data, _ := os.ReadFile(lockPath + ".json")
		if json.Unmarshal(data, &now) == nil && now == (carrying{outer.Attrs().Index, *imp}) {
			return nil
		}
	}
	inner, err := sw.LinkByName(slowPort(node, link.Name))
	if err == nil || locked(lockPath) {
		if err := killAll(inCgroup(l.cgroup(slowPort(node, link.Name)))); err != nil {
			return err
		}
		if err := removeCgroup(l.cgroup(slowPort(node, link.Name))); err != nil {
			return err
		}
		if inner != nil {
			if err := sw.LinkDel(inner); err != nil {
				return err
			}
		}
		if present {
			if br, err := sw.LinkByName(link.Network); err == nil {
				if err := sw.LinkSetMaster(outer, br); err != nil {
					return err
				}
			}
		}
	}
	if imp == nil || !present {
		return nil
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: slowPort(node, link.Name)}, PeerName: slowTail(node, link.Name)}
	if err := sw.LinkAdd(pair); err != nil {
		return err
	}
	tail, err := sw.LinkByName(pair.PeerName)
	if err != nil {
		return err
	}
	if err := sw.LinkSetUp(tail); err != nil {
		return err
	}
	if err := sw.LinkSetNoMaster(outer); err != nil {
		return err
	}
	if err := l.plugPort(sw, pair.Name, link.Network); err != nil {
		return err
	}
	record, err := json.Marshal(carrying{outer.Attrs().Index, *imp})
	if err != nil {
		return err
	}
	if err := writeFile(lockPath+".json", record, 0o644); err != nil {
		return err
	}
	if err := l.spawn(node+"-slow", "_slow", node, link.Name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := poll(ctx, 10*time.Millisecond, func() (bool, error) { return locked(lockPath), nil }); err != nil {
		return fmt.Errorf("forwarder does not start: %w\n%s", err, l.logTail(node+"-slow"))
	}
	return nil
}

// Carry is the process behind one slow link. It ends when the port is gone.
func (l *Lab) Carry(ctx context.Context, node, link string) error {
	if err := l.enter(slowPort(node, link)); err != nil {
		return err
	}
	path := l.slowLock(portName(node, link))
	data, err := os.ReadFile(path + ".json")
	if err != nil {
		return err
	}
	var work carrying
	if err := json.Unmarshal(data, &work); err != nil {
		return err
	}
	var outer, inner int
	if err := inNamespace(l.namespace(switchName), func() error {
		if outer, err = openPacket(portName(node, link)); err != nil {
			return err
		}
		inner, err = openPacket(slowTail(node, link))
		return err
	}); err != nil {
		return err
	}
	held, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer held.Close()
	ended := make(chan error, 2)
	go func() { ended <- carry(outer, inner, work.Impairment) }()
	go func() { ended <- carry(inner, outer, work.Impairment) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// vnetHeader is the length of struct virtio_net_hdr. With it a frame keeps what
// its sender left to the hardware: checksums and segmentation.
const vnetHeader = 10

// openPacket reads and writes whole frames of an interface.
func openPacket(name string) (int, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	for _, option := range []int{unix.PACKET_VNET_HDR, unix.PACKET_IGNORE_OUTGOING} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
			return 0, fmt.Errorf("packet socket option %d: %w", option, err)
		}
	}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
		&unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_PROMISC}); err != nil {
		return 0, fmt.Errorf("promiscuous mode of %s: %w", name, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index}); err != nil {
		return 0, fmt.Errorf("bind to %s: %w", name, err)
	}
	return fd, nil
}

// slowQueue is how many frames wait on a slow link before more are dropped.
const slowQueue = 1000

type delayed struct {
	at    time.Time
	frame []byte
}

// carry forwards frames in one direction, in order.
func carry(from, to int, imp Impairment) error {
	queue := make(chan delayed, slowQueue)
	go func() {
		for d := range queue {
			<-time.After(time.Until(d.at))
			// A frame that cannot be sent is a lost frame.
			unix.Write(to, d.frame)
		}
	}()
	defer close(queue)
	buffer := make([]byte, vnetHeader+1<<17)
	var free time.Time // when the line has sent all that came before
	for {
		n, err := unix.Read(from, buffer)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN):
			continue // a port that is down comes up again, or is removed
		case err != nil:
			return fmt.Errorf("read frame: %w", err)
		}
		if n <= vnetHeader || rand.Float64() < imp.Loss {
			continue
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if imp.Rate > 0 {
			free = free.Add(time.Duration(float64(n-vnetHeader) * 8 / float64(imp.Rate) * float64(time.Second)))
		}
		select {
		case queue <- delayed{free.Add(imp.Delay), slices.Clone(buffer[:n])}:
		default:
		}
	}
}
