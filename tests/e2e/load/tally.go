package load

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// tally is the count of what became of the requests.
type tally struct {
	mu      sync.Mutex
	start   time.Time
	sent    int
	skipped int
	ok      int
	failed  int
	classes map[string]int
	by      map[string]int
	good    []time.Duration // when good answers came, since the start
	took    []time.Duration // how long each good answer took, from when it was due
	late    time.Duration   // how much later than due a request left at most
	first   time.Duration   // when the first and the last failed request were due
	last    time.Duration
	slots   []slot
	samples []string
}

// slot counts the requests that were due in a tenth of a second.
type slot struct{ sent, failed int }

const slotLength = 100 * time.Millisecond

func newTally(start time.Time) *tally {
	return &tally{start: start, classes: map[string]int{}, by: map[string]int{}, first: -1, last: -1}
}

func (t *tally) skip() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skipped++
}

func (t *tally) sending() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
}

func (t *tally) note(due, at, end time.Time, by string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = max(t.late, at.Sub(due))
	n := int(due.Sub(t.start) / slotLength)
	for len(t.slots) <= n {
		t.slots = append(t.slots, slot{})
	}
	t.slots[n].sent++
	if err != nil {
		t.slots[n].failed++
	}
	if err == nil {
		t.ok++
		t.by[by]++
		t.good = append(t.good, end.Sub(t.start))
		t.took = append(t.took, end.Sub(due))
		return
	}
	t.failed++
	t.classes[class(err)]++
	when := due.Sub(t.start)
	if t.first < 0 || when < t.first {
		t.first = when
	}
	t.last = max(t.last, when)
	if len(t.samples) < 5 && !slices.Contains(t.samples, err.Error()) {
		t.samples = append(t.samples, err.Error())
	}
}

// Progress is the line printed while the load runs.
type Progress struct {
	AtMS    int64          `json:"at_ms"` // since the start
	Sent    int            `json:"sent"`
	OK      int            `json:"ok"`
	Failed  int            `json:"failed"`
	LastMS  int64          `json:"last_failed_ms"` // when the last failed request was due, -1: none
	GoodMS  int64          `json:"last_good_ms"`   // when the last good answer came, -1: none
	Classes map[string]int `json:"classes,omitempty"`
	By      map[string]int `json:"by,omitempty"`
}

func (t *tally) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	good := time.Duration(-1)
	if len(t.good) > 0 {
		good = t.good[len(t.good)-1]
	}
	return Progress{
		GoodMS: milliseconds(good),
		AtMS:   time.Since(t.start).Milliseconds(), Sent: t.sent, OK: t.ok, Failed: t.failed, LastMS: milliseconds(t.last),
		Classes: maps.Clone(t.classes), By: maps.Clone(t.by),
	}
}

// Summary is the last line: what became of all requests.
type Summary struct {
	Done    bool           `json:"done"`
	Start   time.Time      `json:"start"`
	Seconds float64        `json:"seconds"`
	Sent    int            `json:"sent"`
	OK      int            `json:"ok"`
	Failed  int            `json:"failed"`
	Skipped int            `json:"skipped"` // not sent, since too many were under way
	Classes map[string]int `json:"classes"` // of the failed: refused, reset, timeout, 5xx, ...
	By      map[string]int `json:"by"`      // who gave the good answers
	GapMS   float64        `json:"gap_ms"`  // the longest time without a good answer
	GapAtMS int64          `json:"gap_at_ms"`
	// BadMS is the longest time in which a fifth of the requests failed, or
	// more, in every tenth of a second: where a part of them goes another way,
	// there is no gap.
	BadMS       float64  `json:"bad_ms"`
	FirstMS     int64    `json:"first_failed_ms"`
	LastMS      int64    `json:"last_failed_ms"`
	P50MS       float64  `json:"p50_ms"`
	P99MS       float64  `json:"p99_ms"`
	MaxMS       float64  `json:"max_ms"`
	MaxLateMS   float64  `json:"max_late_ms"` // how late this program itself was
	Samples     []string `json:"samples,omitempty"`
	CompletedOK float64  `json:"ok_per_second"`
}

func (t *tally) summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	length := time.Since(t.start)
	s := Summary{
		Done: true, Start: t.start, Seconds: length.Seconds(), Sent: t.sent, OK: t.ok, Failed: t.failed, Skipped: t.skipped,
		Classes: t.classes, By: t.by, FirstMS: milliseconds(t.first), LastMS: milliseconds(t.last), Samples: t.samples,
		MaxLateMS: fraction(t.late), CompletedOK: float64(t.ok) / length.Seconds(),
	}
	slices.Sort(t.good)
	// The times before the first answer and after the last one count too: a
	// service that never comes back has no gap between answers.
	previous := time.Duration(0)
	for _, at := range append(slices.Clone(t.good), length) {
		if gap := at - previous; fraction(gap) > s.GapMS {
			s.GapMS, s.GapAtMS = fraction(gap), milliseconds(previous)
		}
		previous = at
	}
	bad := 0
	for _, slot := range t.slots {
		if slot.failed == 0 || slot.failed*5 < slot.sent {
			bad = 0
			continue
		}
		bad++
		s.BadMS = max(s.BadMS, fraction(time.Duration(bad)*slotLength))
	}
	if len(t.took) > 0 {
		slices.Sort(t.took)
		s.P50MS = fraction(t.took[len(t.took)/2])
		s.P99MS = fraction(t.took[len(t.took)*99/100])
		s.MaxMS = fraction(t.took[len(t.took)-1])
	}
	return s
}

func milliseconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}

func fraction(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
