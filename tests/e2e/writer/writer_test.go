package writer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memory is a file that breaks its word as told: at the record with the number
// of a fault, counted from 1.
type memory struct {
	data    []byte
	pending []byte // written and not synced, with its place
	at      int64
	writes  int64

	lose     int64 // is acknowledged and not there
	unsynced int64 // its fsync does nothing
	tear     int64 // only half of it gets there
	fail     int64 // ends with an error
	stall    int64 // takes a quarter of a second
	locked   bool
	dropped  bool // the lock was lost
}

func (m *memory) put(p []byte, at int64) {
	if need := int(at) + len(p); need > len(m.data) {
		m.data = append(m.data, make([]byte, need-len(m.data))...)
	}
	copy(m.data[at:], p)
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	m.writes++
	if m.writes == m.fail {
		return 0, errors.New("input/output error")
	}
	if m.writes == m.stall {
		<-time.After(250 * time.Millisecond)
	}
	m.pending, m.at = bytes.Clone(p), at
	return len(p), nil
}

func (m *memory) Sync() error {
	switch m.writes {
	case m.lose, m.unsynced:
	case m.tear:
		m.put(m.pending[:recordSize/2], m.at)
	default:
		m.put(m.pending, m.at)
	}
	return nil
}

func (m *memory) Write(p []byte) (int, error) {
	n, err := m.WriteAt(p, int64(len(m.data)))
	if err != nil {
		return n, err
	}
	return n, m.Sync()
}

func (m *memory) Lock() (string, error) {
	if m.locked && !m.dropped {
		return Refused, nil
	}
	m.locked = true
	return Granted, nil
}
func (m *memory) Unlock() error { m.locked = m.dropped; return nil }
func (m *memory) Close() error  { return nil }

// wrote runs a writer on the file until it has begun so many records.
func wrote(t *testing.T, mode string, f File, records int64) *Log {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &Log{}
	out := hears(func(text []byte) {
		var line Line
		require.NoError(t, json.Unmarshal(text, &line))
		l.Hear(line, time.Now())
		if line.Ack >= records || l.Attempts[Granted]+l.Attempts[Refused] >= int(records) {
			cancel()
		}
	})
	require.NoError(t, Run(ctx, Settings{Mode: mode, Run: "r1", Every: time.Millisecond, Limit: time.Minute}, f, out))
	require.True(t, l.Done)
	return l
}

type hears func([]byte)

func (h hears) Write(p []byte) (int, error) { h(p); return len(p), nil }

func judged(t *testing.T, l *Log, data []byte) Verdict {
	t.Helper()
	v, err := Judge("r1", l, bytes.NewReader(data))
	require.NoError(t, err)
	return v
}

func TestAllIsThere(t *testing.T) {
	for _, mode := range []string{Fsync, Append, Lock} {
		m := &memory{}
		l := wrote(t, mode, m, 50)
		v := judged(t, l, m.data)
		require.Empty(t, v.Lost, mode)
		require.Zero(t, v.Torn, mode)
		require.GreaterOrEqual(t, v.Acked, 50, mode)
		require.Equal(t, v.Acked, v.Found, mode)
		require.Zero(t, l.Unacknowledged(), mode)
		require.Empty(t, l.Errors, mode)
	}
}

// The judge has to find what a file loses, whichever way it does.
func TestLossIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		file *memory
		torn int
	}{
		"acknowledged and dropped":     {&memory{lose: 7}, 0},
		"fsync that does nothing":      {&memory{unsynced: 7}, 0},
		"half of a record got through": {&memory{tear: 7}, 1},
	} {
		l := wrote(t, Fsync, c.file, 20)
		v := judged(t, l, c.file.data)
		require.Equal(t, []int64{7}, v.Lost, name)
		require.Equal(t, c.torn, v.Torn, name)
		require.Contains(t, v.String(), "1 LOST", name)
	}
	// A file that is read back too short, empty, or as it was in another run.
	m := &memory{}
	l := wrote(t, Append, m, 20)
	require.Len(t, judged(t, l, m.data[:10*recordSize]).Lost, len(l.Acks)-10)
	require.Len(t, judged(t, l, nil).Lost, len(l.Acks))
	require.Len(t, judged(t, l, bytes.ReplaceAll(m.data, []byte("r1"), []byte("r0"))).Lost, len(l.Acks))
	// One bit.
	m.data[3*recordSize+40] ^= 1
	v := judged(t, l, m.data)
	require.Equal(t, []int64{4}, v.Lost)
	require.Equal(t, 1, v.Torn)
}

// A write that ended with an error is no acknowledgement, and no loss.
func TestErrors(t *testing.T) {
	for _, mode := range []string{Fsync, Append} {
		m := &memory{fail: 5}
		l := wrote(t, mode, m, 20)
		require.Equal(t, []string{"input/output error"}, l.Errors)
		require.EqualValues(t, 1, l.Unacknowledged())
		require.Empty(t, judged(t, l, m.data).Lost, mode)
	}
}

// A record that got through though its writer died is neither lost nor torn.
func TestNeverAcknowledged(t *testing.T) {
	m := &memory{}
	l := wrote(t, Fsync, m, 20)
	last := l.Acks[len(l.Acks)-1]
	l.Acks = l.Acks[:len(l.Acks)-1]
	v := judged(t, l, m.data)
	require.Empty(t, v.Lost)
	require.Equal(t, 1, v.Unasked)
	require.EqualValues(t, 1, l.Unacknowledged())
	require.Positive(t, last.N)
}

func TestStall(t *testing.T) {
	m := &memory{stall: 10}
	l := wrote(t, Fsync, m, 20)
	s := l.LongestStall(time.Now())
	require.GreaterOrEqual(t, s.For, 250*time.Millisecond)
	require.Equal(t, l.Acks[8].At, s.From)
	require.WithinDuration(t, l.Acks[9].At, s.End(), time.Microsecond)
	require.Less(t, l.Median(), 200*time.Millisecond)
	// Silence at the end is a stall too.
	require.GreaterOrEqual(t, l.LongestStall(time.Now().Add(time.Minute)).For, time.Minute)
}

func TestLocks(t *testing.T) {
	l := wrote(t, Try, &memory{locked: true}, 5)
	require.Zero(t, l.Attempts[Granted])
	require.Equal(t, Refused, l.LastLock)
	// A server that forgot the lock gives it to the next one who asks.
	l = wrote(t, Try, &memory{locked: true, dropped: true}, 5)
	require.Positive(t, l.Attempts[Granted])
	require.ErrorContains(t, Run(context.Background(), Settings{Mode: Lock, Every: time.Second, Limit: time.Second}, &memory{locked: true}, &bytes.Buffer{}), "refused")
}

// A real file, and a lock that another process would see.
func TestRealFile(t *testing.T) {
	for _, mode := range []string{Fsync, Append, Lock} {
		s := Settings{Mode: mode, Path: filepath.Join(t.TempDir(), "w")}
		f, err := Open(s)
		require.NoError(t, err)
		l := wrote(t, mode, f, 30)
		data, err := os.ReadFile(s.Path)
		require.NoError(t, err)
		require.Empty(t, judged(t, l, data).Lost)
		require.True(t, strings.HasPrefix(string(data), "r1 000000000001 "))
	}
	_, err := Open(Settings{Mode: "none"})
	require.Error(t, err)
}
