// Package writer writes numbered, checksummed records to a file, one after the
// other, and tells of each acknowledgement as it comes, on a channel that is not
// the file's: its own output. What was acknowledged is later looked for in what
// another host reads ([Judge]).
//
// It knows nothing of hosts, networks and faults.
package writer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Modes of a writer.
const (
	Fsync  = "fsync"  // write, then fsync: acknowledged when both returned
	Append = "append" // O_APPEND and O_SYNC: acknowledged when write returned
	Lock   = "lock"   // as fsync, on a file of which the writer holds the POSIX lock
	// Try writes nothing: it asks for the lock that another one holds, and tells
	// whether it got it.
	Try = "try"
)

// Settings are what a writer is made of.
type Settings struct {
	Mode  string
	Path  string
	Run   string        // a word in each record, so that what an earlier run left is not taken for this one's
	Every time.Duration // a record is begun so often, or when the last one has returned
	Limit time.Duration // ends after this time
}

// Line is what a writer says, one JSON object a line.
type Line struct {
	// AtUS is when, in microseconds since the writer's start.
	AtUS int64 `json:"at"`
	// Ack is the number of a record that was acknowledged just now.
	Ack int64 `json:"ack,omitempty"`
	// TookUS is how long an acknowledgement, an error or an attempt took.
	TookUS int64 `json:"took,omitempty"`
	// Error of a write that returned with one, or of an attempt that was neither
	// granted nor refused.
	Error string `json:"error,omitempty"`
	// Lock is what became of an attempt: held, granted, refused.
	Lock string `json:"lock,omitempty"`
	// Begun is how many records have been begun, four times a second.
	Begun int64 `json:"begun,omitempty"`
	// Done is in the last line.
	Done bool `json:"done,omitempty"`
}

// What an attempt to lock can give.
const (
	Held    = "held"
	Granted = "granted"
	Refused = "refused"
)

// File is what is written to.
type File interface {
	io.Writer
	io.WriterAt
	io.Closer
	Sync() error
	// Lock takes the POSIX lock of the whole file, or says Refused without
	// waiting for it.
	Lock() (string, error)
	Unlock() error
}

// Open opens the file of a writer.
func Open(s Settings) (File, error) {
	flags := os.O_RDWR | os.O_CREATE
	switch s.Mode {
	case Fsync, Lock:
		flags |= os.O_TRUNC
	case Append:
		flags |= os.O_TRUNC | os.O_APPEND | os.O_SYNC
	case Try:
	default:
		return nil, fmt.Errorf("there is no mode %q", s.Mode)
	}
	f, err := os.OpenFile(s.Path, flags, 0o666)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

type file struct{ *os.File }

func (f file) Lock() (string, error) {
	err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	switch {
	case err == nil:
		return Granted, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return Refused, nil
	}
	return "", fmt.Errorf("lock: %w", err)
}

func (f file) Unlock() error {
	return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
}

// Run writes to the file, or tries its lock, until the context or the time ends,
// and waits for what is under way.
func Run(ctx context.Context, s Settings, f File, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	start := time.Now()
	out := json.NewEncoder(w)
	var written sync.Mutex
	say := func(l Line) {
		written.Lock()
		defer written.Unlock()
		l.AtUS = time.Since(start).Microseconds()
		_ = out.Encode(l)
	}
	if s.Mode == Lock {
		got, err := f.Lock()
		if err != nil {
			return fmt.Errorf("the lock of %s: %w", s.Path, err)
		}
		if got != Granted {
			return fmt.Errorf("the lock of %s was %s", s.Path, got)
		}
		say(Line{Lock: Held})
	}
	var begun atomic.Int64
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				say(Line{Begun: begun.Load()})
			case <-ended:
				return
			}
		}
	})
	next := time.NewTicker(s.Every)
	defer next.Stop()
	for n := int64(1); ctx.Err() == nil; n++ {
		at := time.Now()
		var l Line
		var err error
		if s.Mode == Try {
			l.Lock, err = f.Lock()
			if err == nil && l.Lock == Granted {
				err = f.Unlock()
			}
		} else {
			begun.Store(n)
			err = write(s, f, n)
			l.Ack = n
		}
		if err != nil {
			l = Line{Error: err.Error()}
		}
		l.TookUS = time.Since(at).Microseconds()
		say(l)
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
	close(ended)
	wg.Wait()
	err := f.Close()
	say(Line{Begun: begun.Load(), Done: true})
	return err
}

// write returns without an error only when the record is acknowledged.
func write(s Settings, f File, n int64) error {
	text := record(s.Run, n)
	if s.Mode == Append {
		_, err := f.Write(text)
		return err
	}
	// At its own place, so that a write which failed moves none of the others.
	if _, err := f.WriteAt(text, (n-1)*recordSize); err != nil {
		return err
	}
	return f.Sync()
}
