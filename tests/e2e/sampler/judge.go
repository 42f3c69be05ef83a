package sampler

import "time"

// Log is what the sampler of one host has said, with the times of who listened.
type Log struct {
	Seen []Seen
}

// Seen is a line and when it was heard.
type Seen struct {
	At time.Time
	Line
}

// Hear notes a line.
func (l *Log) Hear(line Line, at time.Time) { l.Seen = append(l.Seen, Seen{at, line}) }

// Last is what was said last.
func (l *Log) Last() Line {
	if len(l.Seen) == 0 {
		return Line{}
	}
	return l.Seen[len(l.Seen)-1].Line
}

// LongestGap is the longest time without a look, as the sampler itself says.
func (l *Log) LongestGap() time.Duration {
	var longest time.Duration
	for _, s := range l.Seen {
		longest = max(longest, time.Duration(s.GapMS)*time.Millisecond)
	}
	return longest
}

// Promotions counts how often the host became primary after a moment.
func (l *Log) Promotions(after time.Time) int {
	n := 0
	for i, s := range l.Seen {
		if s.At.After(after) && s.Primary() && (i == 0 || !l.Seen[i-1].Primary()) {
			n++
		}
	}
	return n
}

// span is a time in which a host was primary.
type span struct{ from, to time.Time }

// primary are the times in which the host was seen as primary. After a look
// nothing is known until the next one, but for a silence that is shorter than
// that of a sampler which has no news.
func (l *Log) primary() []span {
	const silence = alive * 3 / 2
	var all []span
	for i, s := range l.Seen {
		if !s.Primary() {
			continue
		}
		to := s.At
		if i+1 < len(l.Seen) && l.Seen[i+1].At.Sub(s.At) <= silence {
			to = l.Seen[i+1].At
		}
		all = append(all, span{s.At, to})
	}
	return all
}

// Both returns the first moment at which both hosts were primary, and for how
// long in all.
func Both(a, b *Log) (first time.Time, total time.Duration, both bool) {
	for _, x := range a.primary() {
		for _, y := range b.primary() {
			from, to := x.from, x.to
			if y.from.After(from) {
				from = y.from
			}
			if y.to.Before(to) {
				to = y.to
			}
			if to.Before(from) {
				continue
			}
			if !both || from.Before(first) {
				first = from
			}
			both = true
			total += to.Sub(from)
		}
	}
	return first, total, both
}
