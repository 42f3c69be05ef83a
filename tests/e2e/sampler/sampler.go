// Package sampler looks at the role of a DRBD replica again and again, and tells
// what changed and when it could not look. What two hosts' samplers said is then
// judged together: never were both primary ([Both]).
package sampler

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"strings"
	"time"
)

// Line is what a sampler says, one JSON object a line: what has changed, and
// otherwise once a second that nothing has. A primary without its peer is told
// of at each look, since that is when there may be two.
type Line struct {
	// State as DRBD names it: connection, role, disks; "none" without a replica.
	Connection, Role, Disks string
	// GapMS is in a line that comes after a time without a look.
	GapMS int64 `json:",omitempty"`
}

// Primary says whether this host's own replica is.
func (l Line) Primary() bool { return strings.HasPrefix(l.Role, "Primary/") }

// alone is a primary that does not see its peer.
func (l Line) alone() bool { return l.Primary() && l.Connection != "Connected" }

var status = regexp.MustCompile(`(?m)^ *0: cs:(\S+)(?: ro:(\S+) ds:(\S+))?`)

// parse reads /proc/drbd of DRBD 8.4.
func parse(text []byte) Line {
	m := status.FindSubmatch(text)
	if m == nil {
		return Line{Connection: "none"}
	}
	return Line{Connection: string(m[1]), Role: string(m[2]), Disks: string(m[3])}
}

// alive is after how long without news a sampler says that there is none.
const alive = time.Second

// Run looks every so often until the context ends. A file that is not there is a
// host without a replica.
func Run(ctx context.Context, every time.Duration, read func() ([]byte, error), w io.Writer) error {
	out := json.NewEncoder(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last Line
	var looked, said time.Time
	for {
		text, err := read()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		now, l := time.Now(), parse(text)
		changed := l != last
		last = l
		if gap := now.Sub(looked); !looked.IsZero() && gap > every*5/2 {
			l.GapMS = gap.Milliseconds()
		}
		if looked = now; changed || l.GapMS > 0 || l.alone() || now.Sub(said) >= alive {
			said = now
			if err := out.Encode(l); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
