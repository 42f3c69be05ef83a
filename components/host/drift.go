package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Drift is what a look at one host found: how it differs from what the phases
// last left there.
type Drift struct {
	// Phases has an entry for every phase that has run on the host.
	Phases map[string]PhaseDrift
	// At is when the host was looked at.
	At time.Time
	// Err says why the host could not be looked at; its state is unknown then.
	Err error
}

// PhaseDrift is the drift of one phase.
type PhaseDrift struct {
	Converged   string   // when the phase last succeeded, RFC 3339
	Differences []string // one line each; none where all is as it was left
}

// Drifted returns the names of the phases that drifted, sorted.
func (d *Drift) Drifted() []string {
	if d == nil {
		return nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.Phases)) {
		if len(d.Phases[name].Differences) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// note is what a drifted phase shows in a preview. It names the time of the
// run that it refers to, so that the same drift found again is another note.
func (d *Drift) note(phase string) string {
	if d == nil || d.Err != nil {
		return ""
	}
	p, known := d.Phases[phase]
	if !known {
		// A phase that is new to the state as well is created anyway.
		return fmt.Sprintf("# drift found %s: the host knows nothing of this phase\n", d.At.UTC().Format(time.RFC3339))
	}
	var b strings.Builder
	for _, line := range p.Differences {
		fmt.Fprintf(&b, "# drift since %s: %s\n", p.Converged, line)
	}
	return b.String()
}

// Probe looks at all hosts at once, over one connection each, and returns them
// with their Drift set. It changes nothing. A host that cannot be looked at
// within the timeout has Drift.Err set, and is never called clean.
func Probe(ctx context.Context, hosts []Host, timeout time.Duration) []Host {
	probed := slices.Clone(hosts)
	var ways bastions
	defer ways.close()
	var wg sync.WaitGroup
	for i := range probed {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			probed[i].Drift = probe(ctx, probed[i], &ways)
		})
	}
	wg.Wait()
	return probed
}

func probe(ctx context.Context, h Host, ways *bastions) *Drift {
	out, err := h.SSH.run(ctx, ways, fmt.Sprintf("if [ -e /var/lib/halinux ]; then %s sh %s check; else echo end; fi", asRoot, libraryPath))
	if err != nil {
		return &Drift{Err: fmt.Errorf("%s (%s): %w", h.Name, h.SSH.Address, err)}
	}
	d, err := parseCheck(out)
	if err != nil {
		return &Drift{Err: fmt.Errorf("%s (%s): %w", h.Name, h.SSH.Address, err)}
	}
	d.At = time.Now()
	return d
}

// parseCheck reads what lib.sh's check prints.
func parseCheck(out string) (*Drift, error) {
	d := &Drift{Phases: map[string]PhaseDrift{}}
	phase := ""
	ended := false
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		switch {
		case ended || line == "":
			continue
		case strings.HasPrefix(line, "= "):
			name, at, _ := strings.Cut(line[2:], " ")
			phase = name
			d.Phases[phase] = PhaseDrift{Converged: at}
		case strings.HasPrefix(line, "- ") && phase != "":
			p := d.Phases[phase]
			p.Differences = append(p.Differences, line[2:])
			d.Phases[phase] = p
		case line == "end":
			ended = true
		default:
			return nil, fmt.Errorf("unexpected answer to the check: %q", line)
		}
	}
	if !ended {
		return nil, errors.New("the check ended before its last line")
	}
	return d, nil
}
