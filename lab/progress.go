package lab

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress tells a person what is being done and for how long already.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

// NewProgress writes to w; nothing is written when w is nil.
func NewProgress(w io.Writer) *Progress {
	if w == nil {
		w = io.Discard
	}
	return &Progress{w: w, start: time.Now()}
}

func (p *Progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "lab: [%4.0fs] %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}

// progressFirst is how long a wait lasts before it is told of.
const progressFirst = 3 * time.Second

// progressEvery is how often a step that takes long says that it still runs.
const progressEvery = 10 * time.Second

// wait says nothing of an f that is quick, and else what it waits for.
func (p *Progress) wait(what string, f func() error) error {
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- f() }()
	next := time.NewTimer(progressFirst)
	defer next.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-next.C:
			next.Reset(progressEvery)
			p.say("waiting for %s, %.0f s so far", what, time.Since(began).Seconds())
		}
	}
}

// step announces f, says from time to time that it still runs, and how long it took.
func (p *Progress) step(what string, f func() error) error {
	p.say("%s", what)
	began, done := time.Now(), make(chan struct{})
	var ticker sync.WaitGroup
	ticker.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.say("%s ... %.0f s so far", what, time.Since(began).Seconds())
			}
		}
	})
	err := f()
	close(done)
	ticker.Wait()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p.say("%s: done in %.1f s", what, time.Since(began).Seconds())
	return nil
}
