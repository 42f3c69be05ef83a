package writer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Log is what a writer has said, with the times of who listened: the writers of
// several hosts have one clock there.
type Log struct {
	Acks     []Ack
	Begun    int64
	Errors   []string
	Attempts map[string]int // at the lock, by what became of them
	LastLock string         // what became of the last one
	Done     bool
}

// Ack is one acknowledged record.
type Ack struct {
	N    int64
	At   time.Time     // when the acknowledgement was heard of
	Took time.Duration // by the writer's own clock
}

// Hear notes a line.
func (l *Log) Hear(line Line, at time.Time) {
	l.Begun = max(l.Begun, line.Begun)
	l.Done = l.Done || line.Done
	switch {
	case line.Error != "":
		l.Errors = append(l.Errors, line.Error)
	case line.Lock != "":
		if l.Attempts == nil {
			l.Attempts = map[string]int{}
		}
		l.Attempts[line.Lock]++
		l.LastLock = line.Lock
	case line.Ack > 0:
		l.Acks = append(l.Acks, Ack{line.Ack, at, time.Duration(line.TookUS) * time.Microsecond})
		l.Begun = max(l.Begun, line.Ack)
	}
}

// Unacknowledged counts the records that were begun and not acknowledged: what
// becomes of them is open.
func (l *Log) Unacknowledged() int64 { return l.Begun - int64(len(l.Acks)) }

// Stall is a time without an acknowledgement.
type Stall struct {
	From time.Time
	For  time.Duration
}

// End of the stall: the first acknowledgement after it.
func (s Stall) End() time.Time { return s.From.Add(s.For) }

// LongestStall is the longest time between two acknowledgements, or after the
// last one until now.
func (l *Log) LongestStall(now time.Time) Stall {
	var longest Stall
	for i, a := range l.Acks {
		until := now
		if i+1 < len(l.Acks) {
			until = l.Acks[i+1].At
		}
		if d := until.Sub(a.At); d > longest.For {
			longest = Stall{a.At, d}
		}
	}
	return longest
}

// Median is how long a record took, usually.
func (l *Log) Median() time.Duration {
	if len(l.Acks) == 0 {
		return 0
	}
	var took []time.Duration
	for _, a := range l.Acks {
		took = append(took, a.Took)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// Verdict is what another host found of a writer's records.
type Verdict struct {
	Acked, Found int
	// Lost are acknowledged records that are not there: nothing is worse.
	Lost []int64
	// Torn are places with something that is neither a record nor empty.
	Torn int
	// Unasked are records that are there though nobody was told so, which is
	// well: a write that came to no end may have been done.
	Unasked int
}

func (v Verdict) String() string {
	s := fmt.Sprintf("%d acknowledged, %d found", v.Acked, v.Found)
	if v.Unasked > 0 {
		s += fmt.Sprintf(", %d of them never acknowledged", v.Unasked)
	}
	if v.Torn > 0 {
		s += fmt.Sprintf(", %d torn", v.Torn)
	}
	if n := len(v.Lost); n > 0 {
		s += fmt.Sprintf(", %d LOST, first %v", n, v.Lost[:min(n, 5)])
	}
	return s
}

// Judge looks for each acknowledged record in what was read of the file.
func Judge(run string, l *Log, r io.Reader) (Verdict, error) {
	v := Verdict{Acked: len(l.Acks)}
	found := map[int64]bool{}
	empty := make([]byte, recordSize)
	in := bufio.NewReader(r)
	for {
		slot := make([]byte, recordSize)
		size, err := io.ReadFull(in, slot)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return v, err
		}
		n, whole := number(run, slot[:size])
		switch {
		case whole:
			found[n] = true
		case !bytes.Equal(slot, empty):
			v.Torn++
		}
	}
	v.Found = len(found)
	for _, a := range l.Acks {
		if !found[a.N] {
			v.Lost = append(v.Lost, a.N)
		}
		delete(found, a.N)
	}
	v.Unasked = len(found)
	return v, nil
}
