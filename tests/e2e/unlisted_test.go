package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/report"
)

// The faults in this file are not in FAULTS.md: a user's hosts find them.

// cablePulled takes the site's network from the VIP's owner, which keeps its
// way to the provider.
func cablePulled(t *testing.T, b *Bed, f *facts) {
	const scenario = "pull the site's cable of the VIP's owner"
	lan, internet := failover(t, b, f, func(owner string) { b.Lab(t, "cut", owner, "eth0") })
	m := report.Measurement{ID: "lan-cable", Scenario: scenario, Unit: "s"}
	m.Metric, m.Limit, m.Value, m.Note = "time without service at the VIP", f.deathLimit(f.advert()), outage(lan), loads(lan)
	b.Record(t, m)
	m.Metric, m.Limit, m.Value, m.Note = "time without service at the public address", 1, outage(internet), loads(internet)
	b.Record(t, m)
}

// isolated takes from the VIP's owner all that is behind it, other than the
// controller, and leaves its card without a sign of it.
func isolated(t *testing.T, b *Bed, f *facts) {
	const scenario = "the VIP's owner reaches neither backends nor the other edge, and its link stays up"
	lan, internet := failover(t, b, f, func(owner string) {
		b.Lab(t, "cut", owner, f.other(owner))
		for _, backend := range f.Edge.Services[0].Backends {
			b.Lab(t, "cut", owner, backend.Host)
		}
	})
	m := report.Measurement{ID: "isolated", Scenario: scenario, Unit: "s", Limit: 10}
	m.Metric, m.Value, m.Note = "time without service at the VIP", outage(lan), loads(lan)
	b.Record(t, m)
	m.Metric, m.Value, m.Note = "time without service at the public address", outage(internet), loads(internet)
	b.Record(t, m)
}

// keepalivedKilled leaves the VIP on an edge that no longer looks after it.
func keepalivedKilled(t *testing.T, b *Bed, f *facts) {
	owner := b.owner(t, f)
	lan, internet := both(t, b, f, impatient)
	before := b.On(t, owner, "systemctl show -P MainPID keepalived.service")
	b.On(t, owner, "systemctl kill --signal=KILL --kill-whom=all keepalived.service")
	Until(t, time.Minute, "Keepalived to run again", func() error {
		if now := b.On(t, owner, "systemctl show -P MainPID keepalived.service"); now == before || now == "0\n" {
			return errors.New("it does not")
		}
		return nil
	})
	Until(t, time.Minute, "the platform to be well", func() error { return b.Well(f) })
	lan.Steady(t, 5*time.Second, time.Minute)
	internet.Steady(t, 5*time.Second, time.Minute)
	l, i := lan.Stop(t), internet.Stop(t)
	m := report.Measurement{ID: "keepalived", Scenario: "SIGKILL Keepalived on the VIP's owner", Unit: "s"}
	m.Metric, m.Limit, m.Value, m.Note = "time without service at the VIP", f.deathLimit(f.advert()), outage(l), loads(l)
	b.Record(t, m)
	m.Metric, m.Limit, m.Value, m.Note = "time without service at the public address", f.deathLimit(f.advert()), outage(i), loads(i)
	b.Record(t, m)
}

// memoryFull leaves no room in /run, where the edge's services tell each other
// how they are.
func memoryFull(t *testing.T, b *Bed, f *facts) {
	filled := ""
	defer func() { b.On(t, filled, "rm -f /run/halinux-filler") }()
	lan, _ := failover(t, b, f, func(owner string) {
		filled = owner
		b.On(t, owner, "dd if=/dev/zero of=/run/halinux-filler bs=64k 2>/dev/null || :; dd if=/dev/zero of=/run/halinux-filler bs=1 oflag=append conv=notrunc 2>/dev/null || :; systemctl kill --signal=KILL --kill-whom=all haproxy.service")
	})
	Until(t, time.Minute, "HAProxy to serve again", func() error {
		_, err := b.try(filled, "systemctl is-active haproxy.service && "+serverStates)
		return err
	})
	b.Record(t, report.Measurement{ID: "run-full", Scenario: "SIGKILL HAProxy on the VIP's owner while /run is full", Metric: "time without service at the VIP", Unit: "s", Limit: 2, Value: outage(lan), Note: loads(lan)})
}

// routingKilled ends each of FRR's daemons in turn, then one whose configuration
// is missing.
func routingKilled(t *testing.T, b *Bed, f *facts) {
	edge := f.edges[0]
	for _, daemon := range []string{"bgpd", "zebra"} {
		l := b.Send(t, "client", with(f.internet(), impatient))
		before := b.On(t, edge, "pidof "+daemon)
		b.On(t, edge, "kill -KILL $(pidof "+daemon+")")
		Until(t, time.Minute, daemon+" to run again", func() error {
			now, err := b.try(edge, "pidof "+daemon)
			if err == nil && now == before {
				err = errors.New("it has not gone")
			}
			return err
		})
		Until(t, 2*time.Minute, "both ways again", func() error { return b.Well(f) })
		l.Steady(t, 2*time.Second, time.Minute)
		s := l.Stop(t)
		b.Record(t, report.Measurement{ID: "frr", Scenario: "SIGKILL bgpd, or zebra, on one edge", Metric: "time without service at the public address: " + daemon, Unit: "s", Limit: 1, Value: outage(s), Note: loads(s)})
	}
	// It comes up with no configuration, and a reload alone does not give it all.
	b.On(t, edge, "rm /etc/frr/frr.conf; kill -KILL $(pidof bgpd)")
	Until(t, time.Minute, "one way alone", func() error {
		_, err := b.try(edge, "pidof bgpd")
		if ways, _ := b.ways(f); err == nil && len(ways) != 1 {
			err = fmt.Errorf("the ways are %v", ways)
		}
		return err
	})
	b.Up(t, Set("detect", "halinux:drift"))
	Until(t, 2*time.Minute, "both ways again", func() error { return b.Well(f) })
	b.Up(t)
}

// mirrorGone runs with nothing to install while no package can be had: first
// with nothing to do at all, then with something to do in many phases.
func mirrorGone(t *testing.T, b *Bed, f *facts) {
	b.Lab(t, "cut", "mirror", "eth0")
	r := b.Up(t)
	changed := changesIn(r.Output())
	if changed != "" {
		t.Errorf("a run with nothing to do changed something: %s", changed)
	}
	b.NoDrift(t)
	m := report.Measurement{ID: "mirror-gone", Scenario: "`up` with nothing to install while the package mirror is off"}
	m.Metric, m.Unit, m.Value, m.Note = "changes where nothing is to do", "resources", float64(min(1, len(changed))), fmt.Sprintf("took %.1f s", r.Took.Seconds())
	b.Record(t, m)
	r = b.Up(t, variation(20))
	m.Metric, m.Unit, m.Value, m.Note = "phases that fail for it", "phases", 0, fmt.Sprintf("many changes on all hosts took %.1f s", r.Took.Seconds())
	b.Record(t, m)
	b.Up(t)
}

// taken gives the VIP to another machine of the site by mistake.
func taken(t *testing.T, b *Bed, f *facts) {
	owner := b.owner(t, f)
	thief := f.Edge.Services[0].Backends[0].Host
	l := b.Send(t, controller, with(f.lan(), impatient))
	give := "ip address del " + f.vip() + "/32 dev eth0 2>/dev/null || :"
	defer func() { b.On(t, thief, give) }()
	b.On(t, thief, "ip address add "+f.vip()+"/32 dev eth0; python3 - <<'END'\n"+gratuitous(f.vip())+"END")
	told := Until(t, time.Minute, "the second owner to be told of", func() error { return b.dualMasterTold(f) })
	b.On(t, thief, give)
	gone := time.Now()
	l.Steady(t, 2*time.Second, 2*time.Minute)
	s := l.Stop(t)
	healed := max(0, s.Start.Add(time.Duration(s.LastMS)*time.Millisecond).Sub(gone).Seconds())
	if s.LastMS < 0 {
		healed = 0
	}
	if now := b.owner(t, f); now != owner {
		t.Errorf("the VIP moved from %s to %s", owner, now)
	}
	m := report.Measurement{ID: "vip-taken", Scenario: "another machine of the site takes the VIP's address", Metric: "until the alert", Unit: "s", Value: told.Seconds(), Limit: 10, Note: loads(s)}
	b.Record(t, m)
	m.Metric, m.Value = "until all is well once it is gone", healed
	b.Record(t, m)
}

// gratuitous is a program that announces an address by ARP on eth0.
func gratuitous(address string) string {
	return `import socket
address = socket.inet_aton("` + address + `")
mac = bytes.fromhex(open("/sys/class/net/eth0/address").read().strip().replace(":", ""))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0x0806))
s.send(b"\xff" * 6 + mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01" + mac + address + b"\xff" * 6 + address)
`
}
