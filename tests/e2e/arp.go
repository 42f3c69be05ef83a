package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// announcements listens for gratuitous ARP on the controller's networks.
type announcements struct {
	fd   int
	mu   sync.Mutex
	seen []announcement
	done chan struct{}
}

// announcement is one host saying that an address is its own.
type announcement struct {
	at      time.Time
	address netip.Addr
	mac     string
}

// listen starts to collect announcements.
func listen(t testing.TB) *announcements {
	t.Helper()
	protocol := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ARP)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatalf("listen for ARP: %v", err)
	}
	// So that the reader comes to see the end.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		t.Fatalf("listen for ARP: %v", err)
	}
	a := &announcements{fd: fd, done: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.read()
	}()
	t.Cleanup(func() { close(a.done); <-ended; unix.Close(fd) })
	return a
}

func (a *announcements) read() {
	frame := make([]byte, 2048)
	for {
		select {
		case <-a.done:
			return
		default:
		}
		n, _, err := unix.Recvfrom(a.fd, frame, 0)
		if err != nil || n < 42 {
			continue // the timeout, or too short for ARP
		}
		sender, _ := netip.AddrFromSlice(frame[28:32])
		target, _ := netip.AddrFromSlice(frame[38:42])
		if sender != target {
			continue
		}
		a.mu.Lock()
		a.seen = append(a.seen, announcement{time.Now(), sender, net.HardwareAddr(frame[22:28]).String()})
		a.mu.Unlock()
	}
}

// last is the last announcement of an address after a time.
func (a *announcements) last(address string, after time.Time) (announcement, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.seen) - 1; i >= 0; i-- {
		if s := a.seen[i]; s.address.String() == address && s.at.After(after) {
			return s, nil
		}
	}
	return announcement{}, fmt.Errorf("nobody has announced %s since %s", address, after.Format("15:04:05.000"))
}
