package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/halinux/halinux/tests/e2e/load"
	"github.com/halinux/halinux/tests/report"
)

// impatient is for loads that measure an outage: shorter than the second after
// which TCP sends a lost SYN again, so that a lost request is seen as lost.
const impatient = 900 * time.Millisecond

// patient is for loads of which no request may fail: a person waits that long.
const patient = 5 * time.Second

func with(s load.Settings, timeout time.Duration) load.Settings {
	s.Timeout = timeout
	return s
}

// outage is the time without service: the longest gap between good answers,
// or, where a part of the requests went another way, the longest time in which
// every moment lost some.
func outage(s load.Summary) float64 { return max(s.GapMS, s.BadMS) / 1000 }

// loads says what was sent and what became of it.
func loads(s load.Summary) string {
	return fmt.Sprintf("%d requests, %.0f a second, %d failed %v", s.Sent, float64(s.Sent)/s.Seconds, s.Failed, s.Classes)
}

// both sends through the VIP from the site's network and through the public
// address from the internet.
func both(t *testing.T, b *Bed, f *facts, timeout time.Duration) (lan, internet *Load) {
	t.Helper()
	return b.Send(t, controller, with(f.lan(), timeout)), b.Send(t, "client", with(f.internet(), timeout))
}

// lossless ends loads of which no request may have failed.
func lossless(t *testing.T, b *Bed, m report.Measurement, running ...*Load) {
	t.Helper()
	m.Unit, m.Metric = "requests", "failed requests"
	var notes []string
	for _, l := range running {
		s := l.Stop(t)
		m.Value += float64(s.Failed + s.Skipped)
		notes = append(notes, l.from+": "+loads(s))
	}
	m.Note = strings.Join(notes, "; ")
	b.Record(t, m)
	if m.Value > 0 {
		t.Errorf("%s: %g requests were lost, none may be: %s", m.ID, m.Value, m.Note)
	}
}

// failover does something to the owner of the VIP under load, waits until the
// other edge serves, and returns what the clients noticed.
func failover(t *testing.T, b *Bed, f *facts, fault func(owner string)) (lan, internet load.Summary) {
	t.Helper()
	owner := b.owner(t, f)
	l, i := both(t, b, f, impatient)
	fault(owner)
	Until(t, time.Minute, "the VIP on the other edge", func() error {
		if owners := b.owners(f, f.vip()); !slices.Equal(owners, []string{f.other(owner)}) {
			return fmt.Errorf("%s is on %v", f.vip(), owners)
		}
		return nil
	})
	l.Steady(t, 2*time.Second, time.Minute)
	i.Steady(t, 2*time.Second, time.Minute)
	return l.Stop(t), i.Stop(t)
}

func proxyKilled(t *testing.T, b *Bed, f *facts) {
	lan, internet := failover(t, b, f, func(owner string) {
		b.On(t, owner, "systemctl kill --signal=KILL --kill-whom=all haproxy.service")
	})
	m := report.Measurement{ID: "F1", Scenario: "SIGKILL HAProxy on the VIP's owner", Metric: "failed new requests, as time of the load", Unit: "s", Limit: 0.2, Value: float64(lan.Failed) / b.rate, Note: loads(lan)}
	b.Record(t, m)
	m.Metric, m.Limit, m.Value = "time without service at the VIP", 2, outage(lan)
	b.Record(t, m)
	m.Metric, m.Value, m.Note = "time without service at the public address", outage(internet), loads(internet)
	b.Record(t, m)
}

func proxyHangs(t *testing.T, b *Bed, f *facts) {
	stopped := ""
	defer func() {
		if stopped != "" {
			b.On(t, stopped, "systemctl kill --signal=CONT --kill-whom=all haproxy.service")
		}
	}()
	lan, internet := failover(t, b, f, func(owner string) {
		stopped = owner
		b.On(t, owner, "systemctl kill --signal=STOP --kill-whom=all haproxy.service")
	})
	m := report.Measurement{ID: "F3", Scenario: "hang HAProxy (SIGSTOP) on the VIP's owner", Metric: "time without service at the VIP", Unit: "s", Limit: 2.5, Value: outage(lan), Note: "fall 2, interval 1 s; " + loads(lan)}
	b.Record(t, m)
	m.Metric, m.Value, m.Note = "time without service at the public address", outage(internet), loads(internet)
	b.Record(t, m)
}

// ownerDies is the power cut of the VIP's owner, and its return.
func ownerDies(t *testing.T, b *Bed, f *facts) {
	died(t, b, f, f.advert())
	returns(t, b, f)
}

// ownerDiesFast is the same with the other profile.
func ownerDiesFast(t *testing.T, b *Bed, f *facts) {
	b.Up(t, Set("fast", "halinux:edge", "vrrp", "profile"))
	Until(t, time.Minute, "the platform to be well", func() error { return b.Well(f) })
	died(t, b, f, fastAdvert)
	b.Lab(t, "up")
	b.Up(t)
}

// fastAdvert is the interval of the profile "fast" where none is set.
const fastAdvert = 200 * time.Millisecond

func died(t *testing.T, b *Bed, f *facts, advert time.Duration) {
	t.Helper()
	lan, internet := failover(t, b, f, func(owner string) { b.Lab(t, "crash", owner) })
	m := report.Measurement{ID: "F2", Scenario: "power off the VIP's owner", Unit: "s"}
	m.Metric, m.Limit, m.Value, m.Note = "time without service at the VIP, adverts every "+advert.String(), f.deathLimit(advert), outage(lan), loads(lan)
	b.Record(t, m)
	m.Metric, m.Limit, m.Value, m.Note = "time without service at the public address, adverts every "+advert.String(), 1, outage(internet), "seen by BFD; "+loads(internet)
	b.Record(t, m)
}

// returns starts what is down and sees that the VIP stays where it is.
func returns(t *testing.T, b *Bed, f *facts) {
	t.Helper()
	owner := b.owner(t, f)
	lan, internet := both(t, b, f, patient)
	b.Lab(t, "up")
	Until(t, 5*time.Minute, "the returned edge to serve", func() error { return b.Well(f) })
	if now := b.owner(t, f); now != owner {
		t.Errorf("the VIP moved from %s to %s when its former owner returned", owner, now)
	}
	lossless(t, b, report.Measurement{ID: "F4", Scenario: "the former owner returns"}, lan, internet)
}

// splitVRRP cuts what the edges tell each other, and nothing else, while hosts
// of the site use the VIP.
func splitVRRP(t *testing.T, b *Bed, f *facts) {
	heard := listen(t)
	clients := []*Load{b.Send(t, controller, with(f.lan(), impatient))}
	for _, backend := range f.Edge.Services[0].Backends {
		s := with(f.lan(), impatient)
		s.Rate = 20
		clients = append(clients, b.Send(t, backend.Host, s))
	}
	b.Lab(t, "cut", f.edges[0], f.edges[1], "vrrp")
	Until(t, time.Minute, "both edges to take the VIP, each alone", func() error {
		if owners := b.owners(f, f.vip()); len(owners) != 2 {
			return fmt.Errorf("%s is on %v", f.vip(), owners)
		}
		return nil
	})
	detected := Until(t, 2*time.Minute, "the second owner to be told of", func() error { return b.dualMasterTold(f) })
	healed := time.Now()
	b.Lab(t, "heal")
	one := Until(t, time.Minute, "one owner", func() error {
		if owners := b.owners(f, f.vip()); len(owners) != 1 {
			return fmt.Errorf("%s is on %v", f.vip(), owners)
		}
		return nil
	})
	owner := b.owner(t, f)
	mac := strings.TrimSpace(b.On(t, owner, "cat /sys/class/net/$(ip -4 -o address show to "+f.vip()+" | awk '{print $2}')/address"))
	var announced announcement
	_, silent := poll(10*time.Second, func() error {
		var err error
		if announced, err = heard.last(f.vip(), healed); err == nil && announced.mac != mac {
			err = fmt.Errorf("the last announcement is that of %s, the owner is %s", announced.mac, mac)
		}
		return err
	})
	if silent != nil {
		t.Errorf("the owner does not announce the address: %v", silent)
	}
	m := report.Measurement{ID: "F5", Scenario: "cut VRRP alone between the edges, then heal", Metric: "one owner after the heal", Unit: "s", Value: one.Seconds(), Limit: 5}
	m.Note = fmt.Sprintf("two owners were told of after %.1f s", detected.Seconds())
	if silent == nil {
		m.Note += fmt.Sprintf("; announced %.1f s after the heal", announced.at.Sub(healed).Seconds())
	}
	b.Record(t, m)
	stuck := 0
	for _, l := range clients {
		l.Steady(t, time.Second, 2*time.Minute)
		s := l.Stop(t)
		// What was due 5 s after the heal, or later, and failed.
		if late := s.Start.Add(time.Duration(s.LastMS) * time.Millisecond).Sub(healed); s.LastMS >= 0 && late > 5*time.Second {
			stuck++
			t.Logf("%s still had a failed request %.1f s after the heal", l.from, late.Seconds())
		}
	}
	m.Metric, m.Unit, m.Value, m.Limit = "clients stuck 5 s after the heal", "hosts", float64(stuck), 0
	m.Note = fmt.Sprintf("of %d, each on the site's network", len(clients))
	b.Record(t, m)
}

// dualMasterTold says whether an edge has noticed that another has its VIP.
func (b *Bed) dualMasterTold(f *facts) error {
	for _, edge := range f.edges {
		out, err := b.try(edge, "sh /var/lib/halinux/lib.sh check")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, f.vip()) && strings.HasPrefix(line, "- ") {
				return nil
			}
		}
	}
	return errors.New("no edge says so")
}

// bothBoot starts both edges at once, and reloads Keepalived as they come.
func bothBoot(t *testing.T, b *Bed, f *facts) {
	for _, edge := range f.edges {
		b.Lab(t, "crash", edge)
	}
	b.Lab(t, "up")
	for _, edge := range f.edges {
		Until(t, time.Minute, "Keepalived on "+edge, func() error {
			_, err := b.try(edge, "systemctl reload keepalived.service")
			return err
		})
	}
	settled := 0.0
	Until(t, 2*time.Minute, "one owner, for 3 s", func() error {
		owners := b.owners(f, f.vip())
		if len(owners) != 1 {
			return fmt.Errorf("%s is on %v", f.vip(), owners)
		}
		now, started, moved := 0.0, 0.0, 0.0
		for _, edge := range f.edges {
			out, err := b.try(edge, "date +%s.%N; journalctl -b -q -u keepalived.service --no-pager -o short-unix")
			if err != nil {
				return err
			}
			for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
				at, err := strconv.ParseFloat(strings.Fields(line)[0], 64)
				switch {
				case err != nil:
				case i == 0:
					now = at
				case strings.Contains(line, "Entering MASTER STATE"), strings.Contains(line, "Entering BACKUP STATE"):
					moved = max(moved, at)
				case strings.Contains(line, "Starting Keepalived"):
					started = max(started, at)
				}
			}
		}
		if now-moved < 3 {
			return fmt.Errorf("the last move was %.1f s ago", now-moved)
		}
		settled = max(0, moved-started)
		return nil
	})
	b.Record(t, report.Measurement{ID: "F6", Scenario: "boot both edges at once, and reload", Metric: "one owner", Unit: "s", Value: settled, Limit: 5, Note: "from the later start of Keepalived to the last change of state in the two journals"})
}

func reload(t *testing.T, b *Bed, f *facts) {
	lan, internet := both(t, b, f, patient)
	alive := f.lan()
	alive.Mode, alive.Rate = "keepalive", b.rate/4
	kept := b.Send(t, controller, with(alive, patient))
	var wg sync.WaitGroup
	for _, edge := range f.edges {
		wg.Go(func() {
			for range b.reloads / 2 {
				if _, err := b.try(edge, "systemctl reload haproxy.service"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	lossless(t, b, report.Measurement{ID: "F8", Scenario: fmt.Sprintf("%d reloads of HAProxy, half of them on each edge", b.reloads)}, lan, internet, kept)
}

func backendKilled(t *testing.T, b *Bed, f *facts) {
	const connections = 10
	victim := f.Edge.Services[0].Backends[0].Host
	// Through the site, which can ask another backend; the service is TCP alone,
	// where an answer that was under way is lost.
	site := f.site(b.authority(t))
	site.Rate = b.rate / 4
	gets := b.Send(t, "client", with(site, patient))
	post := f.lan()
	post.URL += "echo"
	post.Mode, post.Connections = "keepalive-post", connections
	posts := b.Send(t, controller, with(post, patient))
	if gets.Progress().By[victim] == 0 {
		t.Fatalf("%s serves nothing before it is killed: %v", victim, gets.Progress().By)
	}
	defer func() { b.On(t, victim, "systemctl reset-failed nginx.service; systemctl start nginx.service") }()
	b.On(t, victim, "systemctl kill --signal=KILL --kill-whom=all nginx.service")
	gets.Steady(t, 3*time.Second, time.Minute)
	posts.Steady(t, 3*time.Second, time.Minute)
	p := posts.Stop(t)
	b.Record(t, report.Measurement{ID: "F10", Scenario: "kill one backend", Metric: "failed POSTs per connection", Unit: "requests", Value: float64(p.Failed) / connections, Limit: 1, Note: fmt.Sprintf("%d connections; %s", connections, loads(p))})
	if p.Failed > connections {
		t.Errorf("%d POSTs failed over %d connections", p.Failed, connections)
	}
	lossless(t, b, report.Measurement{ID: "F10", Scenario: "kill one backend"}, gets)
}

// backendSick makes a backend answer 500, then hang.
func backendSick(t *testing.T, b *Bed, f *facts) {
	victim := f.Edge.Services[0].Backends[0].Host
	for _, c := range []struct{ what, fault, cure string }{
		{
			"answers 500",
			`cp /etc/nginx/sites-available/default /root/well; sed -i 's/return 200 .*;/return 500;/' /etc/nginx/sites-available/default; systemctl reload nginx.service`,
			`mv /root/well /etc/nginx/sites-available/default; systemctl reload nginx.service`,
		},
		{
			"hangs",
			`systemctl kill --signal=STOP --kill-whom=all nginx.service`,
			`systemctl kill --signal=CONT --kill-whom=all nginx.service`,
		},
	} {
		l := b.Send(t, controller, with(f.lan(), patient))
		func() {
			defer func() { b.On(t, victim, c.cure) }()
			b.On(t, victim, c.fault)
			faulted := time.Now()
			for _, edge := range f.edges {
				Until(t, time.Minute, victim+" to be held for down on "+edge, func() error {
					out, err := b.try(edge, serverStates)
					if err != nil {
						return err
					}
					seen := 0
					for line := range strings.Lines(out) {
						w := strings.Fields(line)
						if len(w) != 4 || w[1] != victim {
							continue
						}
						if seen++; w[2] != "0" {
							return errors.New(strings.TrimSpace(line))
						}
					}
					if seen == 0 {
						return errors.New("HAProxy does not know it")
					}
					return nil
				})
			}
			took := time.Since(faulted)
			l.Steady(t, time.Second, time.Minute)
			b.Record(t, report.Measurement{ID: "F11", Scenario: "a backend returns 500, or hangs", Metric: "marked down by both edges when it " + c.what, Unit: "s", Value: took.Seconds(), Limit: 2, Note: loads(l.Stop(t))})
		}()
		Until(t, time.Minute, victim+" to be up again", func() error { return b.Well(f) })
	}
}

// rotate renews the site's certificate while clients shake hands.
func rotate(t *testing.T, b *Bed, f *facts) {
	site := f.site(b.authority(t))
	site.Rate = b.rate / 4
	l := b.Send(t, "client", with(site, patient))
	before := b.leaf(t, f)
	b.Up(t, func(s Settings) {
		sites := s["halinux:edge"].(map[string]any)["sites"].([]any)
		sites[0].(map[string]any)["certificate"] = map[string]any{"generation": 2}
	})
	if after := b.leaf(t, f); before == after {
		t.Errorf("the edges still serve the old certificate, %s", before)
	}
	lossless(t, b, report.Measurement{ID: "F12", Scenario: "renew the site's certificate"}, l)
	b.Up(t)
}

// authority writes the platform's CA to a file.
func (b *Bed) authority(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(b.output(t, "caCertificate")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// leaf is the serial number of the certificate that a client sees.
func (b *Bed) leaf(t testing.TB, f *facts) string {
	t.Helper()
	name := strings.TrimSuffix(strings.TrimPrefix(f.site("").URL, "https://"), "/")
	return b.On(t, "client", "openssl s_client -connect "+f.site("").Server+" -servername "+name+" </dev/null 2>/dev/null | openssl x509 -noout -serial")
}

// pathDies takes the way to the provider from one edge.
func pathDies(t *testing.T, b *Bed, f *facts) {
	edge := f.edges[0]
	way := strings.TrimSpace(b.On(t, edge, "ip -4 -o route get "+b.hosts["router"]+` | sed 's/.* src \([0-9.]*\).*/\1/'`))
	for _, c := range []struct {
		what        string
		fault, cure func()
	}{
		{"the path is cut", func() { b.Lab(t, "cut", edge, "router") }, func() { b.Lab(t, "heal") }},
		{"bfdd is killed", func() { b.On(t, edge, "kill -KILL $(pidof bfdd)") }, func() {}},
	} {
		l := b.Send(t, "client", with(f.internet(), impatient))
		c.fault()
		Until(t, time.Minute, "the provider to take the other way", func() error {
			ways, err := b.ways(f)
			if err == nil && slices.Contains(ways, way) {
				err = fmt.Errorf("it goes by %v", ways)
			}
			return err
		})
		l.Steady(t, 2*time.Second, time.Minute)
		s := l.Stop(t)
		b.Record(t, report.Measurement{ID: "F13", Scenario: "BGP session down, or bfdd killed, on one edge", Metric: "time without service when " + c.what, Unit: "s", Value: outage(s), Limit: 1, Note: loads(s)})
		c.cure()
		Until(t, 2*time.Minute, "both ways again", func() error { return b.Well(f) })
	}
}

// maintenance takes an edge out of service and puts it back.
func maintenance(t *testing.T, b *Bed, f *facts) {
	edge := b.owner(t, f)
	// As far away as clients are, so that many requests are under way when the
	// provider takes another way.
	b.Lab(t, "slow", "client", "delay=40ms")
	lan, internet := both(t, b, f, patient)
	b.Up(t, Set([]any{edge}, "halinux:edge", "maintenance"))
	if owners := b.owners(f, f.vip()); len(owners) != 1 || owners[0] == edge {
		t.Errorf("%s is in maintenance and the VIP is on %v", edge, owners)
	}
	if ways, err := b.ways(f); err != nil || len(ways) != len(f.edges)-1 {
		t.Errorf("%s is in maintenance and the provider's ways are %v (%v)", edge, ways, err)
	}
	lan.Steady(t, 2*time.Second, time.Minute)
	internet.Steady(t, 2*time.Second, time.Minute)
	b.Up(t)
	Until(t, 2*time.Minute, "the edge to serve again", func() error { return b.Well(f) })
	lossless(t, b, report.Measurement{ID: "F14", Scenario: "maintenance of the VIP's owner, and back"}, lan, internet)
}

// primaryDies kills the primary name server while hosts ask.
func primaryDies(t *testing.T, b *Bed, f *facts) {
	primary, secondary := f.primary(), f.other(f.primary())
	asker := f.Edge.Services[0].Backends[0].Host
	name := primary + "." + f.zone()
	// The resolver would answer for minutes from its cache. It asks again after 5 s
	// what the killed server had taken and not answered; glibc waits for 10 s in all.
	l := b.Send(t, asker, load.Settings{Mode: "dns", URL: "*." + f.zone(), Server: "127.0.0.53:53", Rate: b.rate / 4, Timeout: 10 * time.Second})
	direct := b.Send(t, controller, load.Settings{Mode: "dns", URL: name, Server: b.hosts[secondary] + ":53", Rate: b.rate / 4, Timeout: patient})
	b.On(t, primary, "systemctl kill --signal=KILL --kill-whom=all named.service; systemctl stop named.service")
	if _, err := ask(b.hosts[primary], name, dnsmessage.TypeA); err == nil {
		t.Fatal("the killed name server still answers")
	}
	from := l.Progress().OK
	enough := int(5 * b.rate) // what is asked in 20 s
	Until(t, time.Minute, fmt.Sprintf("%d questions without the primary", enough), func() error {
		if n := l.Progress().OK - from; n < enough {
			return fmt.Errorf("%d were answered", n)
		}
		return nil
	})
	s, d := l.Stop(t), direct.Stop(t)
	m := report.Measurement{ID: "F16", Scenario: "kill the primary name server", Metric: "SERVFAIL", Unit: "answers", Value: float64(s.Classes["5xx"] + d.Classes["5xx"]), Note: "a host's resolver: " + loads(s) + "; the secondary: " + loads(d)}
	b.Record(t, m)
	m.Metric, m.Unit, m.Value = "lost questions", "questions", float64(s.Failed+d.Failed)
	b.Record(t, m)
	if s.Failed+d.Failed > 0 {
		t.Errorf("%d questions were lost", s.Failed+d.Failed)
	}
	before, err := serial(b.hosts[secondary], f.zone())
	if err != nil {
		t.Fatal(err)
	}
	b.On(t, primary, "systemctl start named.service")
	b.Up(t, record("f16"))
	took := b.transferred(t, f, before)
	b.Record(t, report.Measurement{ID: "F16", Scenario: "kill the primary name server", Metric: "new serial on both after recovery", Unit: "s", Value: took.Seconds(), Limit: 10, Note: "from the end of the `up` that changes the zone"})
}

// record is a change of the zone.
func record(name string) Change {
	return Set([]any{map[string]any{"name": name, "type": "TXT", "value": `"here"`}}, "halinux:edge", "dns", "records")
}

// transferred waits until both name servers have the same serial, beyond the
// one before.
func (b *Bed) transferred(t testing.TB, f *facts, before uint32) time.Duration {
	t.Helper()
	return Until(t, 2*time.Minute, "the new zone on both name servers", func() error {
		var serials []uint32
		for _, edge := range f.edges {
			s, err := serial(b.hosts[edge], f.zone())
			if err != nil {
				return err
			}
			serials = append(serials, s)
		}
		if int32(serials[0]-before) <= 0 || serials[0] != serials[1] { // RFC 1982
			return fmt.Errorf("the serials are %v, it was %d", serials, before)
		}
		return nil
	})
}

// changeWithoutPrimary changes the zone while the primary's host is off.
func changeWithoutPrimary(t *testing.T, b *Bed, f *facts) {
	primary, secondary := f.primary(), f.other(f.primary())
	before, err := serial(b.hosts[secondary], f.zone())
	if err != nil {
		t.Fatal(err)
	}
	b.Lab(t, "crash", primary)
	r := b.Do(t, "up", record("f17"), Set(2, "halinux:ssh", "dialAttempts"), Set(3, "halinux:ssh", "dialTimeout"))
	if r.Code == 0 {
		t.Error("up succeeded with a host that is off")
	}
	has(t, r.Output(), primary)
	if s, err := serial(b.hosts[secondary], f.zone()); err != nil || s != before {
		t.Errorf("the secondary serves serial %d (%v), not %d, while the primary is off", s, err, before)
	}
	b.Lab(t, "up")
	b.Up(t, record("f17"))
	took := b.transferred(t, f, before)
	b.Record(t, report.Measurement{ID: "F17", Scenario: "zone change while the primary is off", Metric: "serials equal after its return", Unit: "s", Value: took.Seconds(), Limit: 10, Note: "from the end of the `up` that was repeated"})
	b.Up(t)
}
