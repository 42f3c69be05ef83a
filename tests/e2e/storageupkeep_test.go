package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/report"
)

// replicasCompared changes one block below the replica of the host that does not
// serve, as a bad disk would, and starts what the timer starts: it must be found,
// told of, and gone after the next connection.
func replicasCompared(t *testing.T, s *store) {
	w := s.work(t)
	primary := s.serving(t)
	peer := s.other(primary)
	// A block in the second half of the volume, which the writers do not reach.
	const at = "skip=$(($(blockdev --getsize64 /dev/%[1]s) / 4096 * 3 / 4)) count=1 bs=4k"
	sum := fmt.Sprintf("dd if=/dev/%[1]s "+at+" iflag=direct 2>/dev/null | sha256sum", s.volume)
	before := s.On(t, peer, sum)
	if on := s.On(t, primary, sum); on != before {
		t.Fatalf("the replicas differ before anything is done: %s %s", on, before)
	}
	s.On(t, peer, fmt.Sprintf("dd if=/dev/urandom of=/dev/%[1]s %[2]s oflag=direct conv=notrunc 2>/dev/null", s.volume,
		strings.Replace(fmt.Sprintf(at, s.volume), "skip=", "seek=", 1)))
	if s.On(t, peer, sum) == before {
		t.Fatal("the block has not changed")
	}
	began := time.Now()
	s.On(t, primary, "systemctl start halinux-drbd-verify.service")
	found := func(host string) (string, error) {
		out, err := s.try(host, `sed -n 's/.*\(cs:[A-Za-z]*\).*/\1/p; s/.*\(oos:[0-9]*\).*/\1/p' /proc/drbd`)
		return strings.Join(strings.Fields(out), " "), err
	}
	Until(t, 5*time.Minute, "the replicas to be compared", paced(func() error {
		said, err := found(primary)
		if err == nil && said != "cs:Connected oos:4" {
			err = errors.New(said)
		}
		return err
	}))
	took := time.Since(began)
	s.alerted(t, primary, "differ between the replicas")
	s.On(t, peer, "drbdadm disconnect "+s.name+"; drbdadm connect "+s.name)
	Until(t, 2*time.Minute, "the replicas to be alike", paced(s.Whole))
	if after := s.On(t, peer, sum); after != before {
		t.Errorf("the block is not what it was: %s, it was %s", after, before)
	}
	w.Steady(t, time.Minute)
	w.Stop(t)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "changed blocks found and copied again", Unit: "of 1", Value: 1, Limit: 1, AtLeast: true, Note: fmt.Sprintf("compared in %.0f s, while clients wrote", took.Seconds())})
}

// witnessChanged gives the third vote to the next candidate, and back.
func witnessChanged(t *testing.T, s *store) {
	candidates := s.witnesses
	if len(candidates) < 2 {
		t.Fatalf("only one host can be the witness: %v", candidates)
	}
	w := s.work(t)
	votesBy := func(host string) condition {
		return paced(func() error {
			for _, h := range s.hosts {
				out, err := s.try(h, "corosync-qdevice-tool -s -v")
				if err != nil {
					return err
				}
				if !strings.Contains(out, "QNetd host:") || !strings.Contains(out, s.Bed.hosts[host]+":") {
					return fmt.Errorf("%s asks another witness than %s: %s", h, host, out)
				}
			}
			return s.Whole()
		})
	}
	reversed := slices.Clone(candidates)
	slices.Reverse(reversed)
	s.Up(t, append(s.sized(t, 0), Set(words(reversed), storageKey, "witnesses"))...)
	Until(t, 2*time.Minute, "the votes of "+reversed[0], votesBy(reversed[0]))
	// The one that has the vote no more may go.
	s.Lab(t, "crash", candidates[0])
	Until(t, time.Minute, "a whole storage without "+candidates[0], votesBy(reversed[0]))
	s.Lab(t, "up")
	Until(t, 3*time.Minute, candidates[0]+" to be there again", func() error { _, err := s.try(candidates[0], ":"); return err })
	s.Up(t, s.sized(t, 0)...)
	Until(t, 2*time.Minute, "the votes of "+candidates[0], votesBy(candidates[0]))
	w.Steady(t, time.Minute)
	r := w.Stop(t)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "longest stall of the writers", Unit: "s", Value: r.stall.For.Seconds(), Limit: 5, Note: r.note})
}

func words(list []string) []any {
	var all []any
	for _, w := range list {
		all = append(all, w)
	}
	return all
}
