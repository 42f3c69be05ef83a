package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsSender asks one server for one A record. A question is sent once: whether
// a resolver that hides the loss of a server does hide it, is what is measured.
// "*.zone" is another name of the zone in each question, which no cache can
// answer; that there is no such name is as good an answer as an address.
func dnsSender(s Settings) (request, error) {
	zone, fresh := strings.CutPrefix(s.URL, "*.")
	if _, err := dnsmessage.NewName(s.URL); err != nil {
		return nil, fmt.Errorf("%q: %w", s.URL, err)
	}
	if s.Server == "" {
		return nil, errors.New("the mode dns needs a server")
	}
	var asked atomic.Uint32
	begun := time.Now().UnixNano()
	return func(ctx context.Context) (string, error) {
		number := asked.Add(1)
		id, text := uint16(number), zone
		if fresh {
			text = fmt.Sprintf("q%d-%d.%s", begun, number, zone)
		}
		name, err := dnsmessage.NewName(text)
		if err != nil {
			return "", err
		}
		question := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		}
		packet, err := question.Pack()
		if err != nil {
			return "", err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", s.Server)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline)
		}
		if _, err := conn.Write(packet); err != nil {
			return "", err
		}
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return "", err
			}
			var answer dnsmessage.Message
			if err := answer.Unpack(buffer[:n]); err != nil {
				return "", err
			}
			if answer.ID != id {
				continue
			}
			if answer.RCode == dnsmessage.RCodeServerFailure {
				return "", status(500) // counted with the 5xx of HTTP
			}
			if fresh && answer.RCode == dnsmessage.RCodeNameError {
				return "", nil
			}
			if answer.RCode != dnsmessage.RCodeSuccess {
				return "", fmt.Errorf("answer %s", answer.RCode)
			}
			for _, r := range answer.Answers {
				if a, ok := r.Body.(*dnsmessage.AResource); ok {
					return net.IP(a.A[:]).String(), nil
				}
			}
			return "", errors.New("an answer without an address")
		}
	}, nil
}
