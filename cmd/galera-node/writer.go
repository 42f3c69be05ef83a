package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

// silence is for how many intervals the writer must not have answered before
// another node takes its place. One that answers that it is no member any more is
// replaced at once.
const silence = 3

// writer is what a node remembers of who writes. Any member may be written to, as
// Galera finds conflicts; one writer has none of them, and its readers see what
// was written.
type writer struct {
	seen    time.Time // when the writer last said that it is a member
	labeled *bool     // what the own label was last made
	schema  [32]byte  // checksum of the schema that was made
}

// elect lets the cluster have one writer: the one that is, as long as it is a
// member, else the first member.
func (n *node) elect(ctx context.Context) {
	r, err := n.api.read(ctx)
	if err != nil {
		return // as it was
	}
	// A host that lost its power refuses nothing. Who has not answered within the time
	// between two looks is asked again at the next one.
	soon, done := context.WithTimeout(ctx, n.settings.interval)
	others := n.peers.ask(soon)
	done()
	self := n.settings.ordinal
	if n.writer.seen.IsZero() {
		n.writer.seen = time.Now() // not before the first look
	}
	if r.writer != self {
		o, answers := others[r.writer]
		if answers && o.Phase == recovery.Primary {
			n.writer.seen = time.Now()
			n.label(ctx, false)
			return
		}
		if r.writer >= 0 && !answers && time.Since(n.writer.seen) < silence*n.settings.interval {
			return
		}
		for ordinal, o := range others {
			if ordinal < self && o.Phase == recovery.Primary {
				return
			}
		}
		r.writer = self
		if err := n.api.write(ctx, r); err != nil {
			return // another one was faster
		}
		n.log.Info("this node is the writer")
		n.writer.labeled = nil
	}
	if n.writer.labeled == nil || !*n.writer.labeled {
		// Those who are gone cannot take it off themselves.
		for ordinal := range n.settings.peers {
			if ordinal != self {
				if err := n.api.label(ctx, n.settings.podOf(ordinal), false); err != nil {
					n.log.Debug("label of another pod", "pod", n.settings.podOf(ordinal), "error", err)
				}
			}
		}
		n.label(ctx, true)
	}
	if err := n.makeSchema(ctx); err != nil {
		n.log.Error("databases and users", "error", err)
	}
}

func (n *node) label(ctx context.Context, is bool) {
	if n.writer.labeled != nil && *n.writer.labeled == is {
		return
	}
	if err := n.api.label(ctx, n.settings.pod, is); err != nil {
		n.log.Warn("label of the writer", "error", err)
		return
	}
	n.writer.labeled = &is
	n.set(func() { n.writes = is })
}

// release gives the writer's place to another one before the server ends.
func (n *node) release(ctx context.Context) {
	n.label(ctx, false)
	if r, err := n.api.read(ctx); err == nil && r.writer == n.settings.ordinal {
		r.writer = -1
		if err := n.api.write(ctx, r); err != nil {
			n.log.Warn("the writer's place was not given back", "error", err)
		}
	}
}

// makeSchema makes the databases and users that are asked for, when they have
// changed. What is no longer asked for stays: data is nobody's to drop.
func (n *node) makeSchema(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(n.settings.schema, "schema.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if sum == n.writer.schema {
		return nil
	}
	var s pod.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("schema.json: %w", err)
	}
	for _, q := range statements(s) {
		if _, err := n.server.db.ExecContext(ctx, q.text, q.args...); err != nil {
			return fmt.Errorf("%s: %w", q.text, err)
		}
	}
	n.writer.schema = sum
	n.log.Info("databases and users are made", "databases", len(s.Databases), "users", len(s.Users))
	return nil
}

// statement is one statement; secrets are among the arguments alone.
type statement struct {
	text string
	args []any
}

func statements(s pod.Schema) []statement {
	var all []statement
	for _, d := range s.Databases {
		text := "CREATE DATABASE IF NOT EXISTS " + identifier(d.Name)
		if d.CharacterSet != "" {
			text += " CHARACTER SET " + identifier(d.CharacterSet)
		}
		if d.Collation != "" {
			text += " COLLATE " + identifier(d.Collation)
		}
		all = append(all, statement{text: text})
	}
	for _, u := range s.Users {
		all = append(all,
			statement{"CREATE USER IF NOT EXISTS ?@?", []any{u.Name, u.Host}},
			statement{fmt.Sprintf("ALTER USER ?@? IDENTIFIED BY ? REQUIRE NONE WITH MAX_USER_CONNECTIONS %d", u.MaxConnections), []any{u.Name, u.Host, u.Password}})
		for _, g := range u.Grants {
			on := "*"
			if g.Database != "*" {
				on = identifier(g.Database)
			}
			all = append(all, statement{"GRANT " + strings.Join(g.Privileges, ", ") + " ON " + on + ".* TO ?@?", []any{u.Name, u.Host}})
		}
	}
	return all
}

func identifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
