package e2e

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ask sends one question to one name server.
func ask(server, name string, kind dnsmessage.Type) (*dnsmessage.Message, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, err
	}
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(time.Now().UnixNano()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	packet, err := question.Pack()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("udp", net.JoinHostPort(server, "53"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buffer := make([]byte, 4096)
	size, err := conn.Read(buffer)
	if err != nil {
		return nil, err
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(buffer[:size]); err != nil {
		return nil, err
	}
	if answer.RCode != dnsmessage.RCodeSuccess {
		return nil, fmt.Errorf("%s: %s: %s", server, name, answer.RCode)
	}
	return &answer, nil
}

// serial is the zone's serial on one server.
func serial(server, zone string) (uint32, error) {
	answer, err := ask(server, zone, dnsmessage.TypeSOA)
	if err != nil {
		return 0, err
	}
	for _, r := range answer.Answers {
		if soa, ok := r.Body.(*dnsmessage.SOAResource); ok {
			return soa.Serial, nil
		}
	}
	return 0, errors.New("an answer without SOA")
}
