package e2e

import (
	"fmt"
	"testing"
)

// scenario is one fault: what is done, what must come of it, and what is
// measured. It leaves the hosts to Restore, but undoes itself what Restore
// does not know of: a hung process, other settings.
type scenario struct {
	id  string // as in FAULTS.md
	run func(*testing.T, *Bed, *facts)
}

// scenarios are in an order in which little has to be redone: the first one
// brings the platform up, and those that lose a host come last.
var scenarios = []scenario{
	{"C1", killedRuns},
	{"C7", handEdits},
	{"F8", reload},
	{"F1", proxyKilled},
	{"F3", proxyHangs},
	{"F10", backendKilled},
	{"F11", backendSick},
	{"F12", rotate},
	{"F13", pathDies},
	{"F14", maintenance},
	{"F16", primaryDies},
	{"F5", splitVRRP},
	{"F9", badConfig},
	{"C3", connectionCut},
	{"C4", diskFull},
	{"C5", mirrorDown},
	{"C6", slowNetwork},
	{"C8", twoControllers},
	{"C9", lockedOut},
	{"bond", bondLinkCut},
	{"F2", ownerDies},
	{"F2fast", ownerDiesFast},
	{"F6", bothBoot},
	{"F17", changeWithoutPrimary},
	{"C2", rebootInPhase},
	{"reboot", cleanReboot},
	{"C10", replaced},
}

// TestFaults runs every scenario, one after the other, on one platform.
func TestFaults(t *testing.T) {
	b := open(t)
	f := b.facts(t)
	for run := range b.runs {
		for _, s := range scenarios {
			name := s.id
			if b.runs > 1 {
				name = fmt.Sprintf("%s/%d", s.id, run+1)
			}
			t.Run(name, func(t *testing.T) {
				if b.broken != "" {
					t.Fatalf("not run, since the platform did not recover %s", b.broken)
				}
				if s.id != "C1" { // which brings it up
					b.prepare(t, f)
				}
				defer func() {
					if t.Failed() {
						b.Bundle(t)
					}
					b.Restore(t, f)
				}()
				s.run(t, b, f)
			})
		}
	}
}
