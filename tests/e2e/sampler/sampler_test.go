package sampler

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const procDRBD = `version: 8.4.11 (api:1/proto:86-101)
srcversion: DA6B55A41DED5E58CDBAB30
 0: cs:%s C r-----
    ns:2908 nr:2539 dw:889855 dr:3106 al:74 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
`

func proc(s string) []byte { return bytes.ReplaceAll([]byte(procDRBD), []byte("%s"), []byte(s)) }

func TestParse(t *testing.T) {
	l := parse(proc("Connected ro:Primary/Secondary ds:UpToDate/UpToDate"))
	require.Equal(t, Line{Connection: "Connected", Role: "Primary/Secondary", Disks: "UpToDate/UpToDate"}, l)
	require.True(t, l.Primary())
	require.False(t, parse(proc("Connected ro:Secondary/Primary ds:UpToDate/UpToDate")).Primary())
	require.Equal(t, Line{Connection: "Unconfigured"}, parse([]byte(" 0: cs:Unconfigured\n")))
	require.Equal(t, Line{Connection: "none"}, parse(nil))
}

// sampled runs a sampler over states, one a look.
func sampled(t *testing.T, looks ...func() ([]byte, error)) []Line {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	go func() {
		n := 0
		_ = Run(ctx, 5*time.Millisecond, func() ([]byte, error) {
			if n++; n == len(looks) {
				cancel()
			}
			return looks[min(n, len(looks))-1]()
		}, w)
		w.Close()
	}()
	var lines []Line
	d := json.NewDecoder(r)
	for {
		var l Line
		if d.Decode(&l) != nil {
			return lines
		}
		lines = append(lines, l)
	}
}

func state(s string) func() ([]byte, error) { return func() ([]byte, error) { return proc(s), nil } }

func TestOnlyChangesAndGaps(t *testing.T) {
	second := state("Connected ro:Secondary/Primary ds:UpToDate/UpToDate")
	alone := state("WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown")
	none := func() ([]byte, error) { return nil, fs.ErrNotExist }
	slow := func() ([]byte, error) { <-time.After(200 * time.Millisecond); return second() }
	lines := sampled(t, second, second, second, alone, alone, none, second, slow, second)
	var roles []string
	gaps := 0
	for _, l := range lines {
		roles = append(roles, l.Role)
		if l.GapMS >= 150 {
			gaps++
		}
	}
	require.Equal(t, 1, gaps, "%+v", lines)
	require.Subset(t, roles, []string{"Secondary/Primary", "Primary/Unknown", ""})
	primary := 0
	for _, l := range lines {
		if l.Primary() {
			primary++
		}
	}
	require.Equal(t, 2, primary, "a primary alone is told of at each look: %+v", lines)
}

// at makes a log of roles, so many milliseconds after a moment.
func at(start time.Time, steps ...any) *Log {
	l := &Log{}
	for i := 0; i < len(steps); i += 2 {
		l.Hear(Line{Connection: "WFConnection", Role: steps[i+1].(string)}, start.Add(time.Duration(steps[i].(int))*time.Millisecond))
	}
	return l
}

func TestBoth(t *testing.T) {
	const p, s = "Primary/Unknown", "Secondary/Unknown"
	start := time.Now()
	for name, c := range map[string]struct {
		a, b *Log
		both bool
		for_ int
	}{
		"one after the other": {at(start, 0, p, 100, p, 200, s), at(start, 0, s, 250, p, 350, p), false, 0},
		"two at once":         {at(start, 0, p, 100, p, 200, p, 300, s), at(start, 0, s, 150, p, 250, p), true, 100},
		// The one that was reset says nothing more; the other one takes over later.
		"silent, then the other":      {at(start, 0, p, 1000, p), at(start, 0, s, 1900, p, 2000, p), false, 0},
		"two, though one looked once": {at(start, 0, s, 100, p), at(start, 0, p, 1000, p), true, 0},
	} {
		first, total, both := Both(c.a, c.b)
		require.Equal(t, c.both, both, name)
		require.Equal(t, time.Duration(c.for_)*time.Millisecond, total, name)
		require.Equal(t, c.both, !first.IsZero(), name)
		_, _, swapped := Both(c.b, c.a)
		require.Equal(t, both, swapped, name)
	}
}

func TestPromotions(t *testing.T) {
	const p, s = "Primary/Unknown", "Secondary/Unknown"
	start := time.Now()
	l := at(start, 0, p, 100, s, 200, p, 300, p, 400, s, 500, p)
	require.Equal(t, 2, l.Promotions(start))
	require.Equal(t, 1, l.Promotions(start.Add(250*time.Millisecond)), "to be primary still is no promotion")
	require.Equal(t, 3, l.Promotions(start.Add(-time.Second)))
	require.Zero(t, l.Promotions(start.Add(time.Minute)))
}
