package e2e

import (
	"cmp"
	"fmt"
	"testing"
)

// scenario is one fault: what is done, what must come of it, and what is
// measured. It leaves the hosts to Restore, but undoes itself what Restore
// does not know of: a hung process, other settings.
type scenario struct {
	id  string // as in FAULTS.md
	of  string // the fault of which it is another form, where it is one
	run func(*testing.T, *Bed, *facts)
	// once says that it is not repeated when the others are.
	once bool
}

// scenarios are in an order in which little has to be redone: the first one
// brings the platform up, and those that lose a host come last.
var scenarios = []scenario{
	{id: "C1", run: killedRuns, once: true},
	{id: "C7", run: handEdits},
	{id: "F8", run: reload},
	{id: "F1", run: proxyKilled},
	{id: "F3", run: proxyHangs},
	{id: "F10", run: backendKilled},
	{id: "F11", run: backendSick},
	{id: "F12", run: rotate},
	{id: "F12acme", of: "F12", run: acme},
	{id: "F13", run: pathDies},
	{id: "F14", run: maintenance},
	{id: "F16", run: primaryDies},
	{id: "F5", run: splitVRRP},
	{id: "F9", run: badConfig},
	{id: "C3", run: connectionCut},
	{id: "C4", run: diskFull},
	{id: "C5", run: mirrorDown},
	{id: "C6", run: slowNetwork},
	{id: "C8", run: twoControllers},
	{id: "C9", run: lockedOut},
	{id: "bond", run: bondLinkCut},
	{id: "mirror-gone", run: mirrorGone},
	{id: "frr", run: routingKilled},
	{id: "keepalived", run: keepalivedKilled},
	{id: "run-full", run: memoryFull},
	{id: "vip-taken", run: taken},
	{id: "lan-cable", run: cablePulled},
	{id: "isolated", run: isolated},
	{id: "F2", run: ownerDies},
	{id: "F2fast", of: "F2", run: ownerDiesFast},
	{id: "F6", run: bothBoot},
	{id: "F17", run: changeWithoutPrimary},
	{id: "C2", run: rebootInPhase},
	{id: "reboot", run: cleanReboot},
	{id: "C10", run: replaced},
}

// TestFaults runs every scenario, one after the other, on one platform.
func TestFaults(t *testing.T) {
	b := open(t)
	f := b.facts(t)
	calibrated := false
	calibrate := func(t *testing.T) {
		if !calibrated {
			calibrated = true
			b.Calibrate(t, f)
		}
	}
	for run := range b.runs {
		for _, s := range scenarios {
			if s.once && run > 0 {
				continue
			}
			name := s.id
			if b.runs > 1 {
				name = fmt.Sprintf("%s/%d", s.id, run+1)
			}
			t.Run(name, func(t *testing.T) {
				b.inTime(t)
				if b.broken != "" {
					t.Fatalf("not run, since the platform did not recover %s", b.broken)
				}
				if s.id != "C1" { // which brings it up
					b.prepare(t, f)
				}
				ended := false
				defer func() {
					if !t.Skipped() {
						b.outcome(t, cmp.Or(s.of, s.id), t.Failed() || !ended)
					}
					if t.Failed() {
						b.Bundle(t)
					}
					b.Restore(t, f)
				}()
				if s.id != "C1" {
					calibrate(t)
				}
				s.run(t, b, f)
				ended = true
			})
		}
	}
}
