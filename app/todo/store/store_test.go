package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStore runs the same tests on both databases.
func TestStore(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		run(t, func(t *testing.T) *Store {
			s, err := OpenSQLite(filepath.Join(t.TempDir(), "folder", "todo.db"))
			require.NoError(t, err)
			return s
		})
	})
	t.Run("mariadb", func(t *testing.T) {
		dir := installMariaDB(t)
		server := startMariaDB(t, dir, "--skip-networking").MariaDB
		n := 0
		run(t, func(t *testing.T) *Store {
			n++
			server.Name = fmt.Sprintf("todo%d", n)
			admin, err := OpenMariaDB(MariaDB{Address: server.Address, User: server.User})
			require.NoError(t, err)
			_, err = admin.DB().ExecContext(t.Context(), "CREATE DATABASE "+server.Name+" CHARACTER SET latin1")
			require.NoError(t, errors.Join(err, admin.Close()))
			s, err := OpenMariaDB(server)
			require.NoError(t, err)
			return s
		})
	})
}

func run(t *testing.T, open func(*testing.T) *Store) {
	fresh := func(t *testing.T) *Store {
		s := open(t)
		t.Cleanup(func() { assert.NoError(t, s.Close()) })
		return s
	}
	t.Run("migrations", func(t *testing.T) { testMigrations(t, fresh(t)) })
	s := fresh(t)
	_, err := s.Migrate(t.Context())
	require.NoError(t, err)
	for name, test := range map[string]func(*testing.T, *Store){
		"users": testUsers, "sessions": testSessions, "attempts": testAttempts, "lists": testLists, "items": testItems,
		"search": testSearch, "attachments": testAttachments, "counter": testNoUpdateIsLost, "refused": testRefusedIsRepeated,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func testMigrations(t *testing.T, s *Store) {
	ctx := t.Context()
	require.ErrorContains(t, s.Ready(ctx), "run todo migrate")
	ran, err := s.Migrate(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"00001_start.sql"}, ran)
	require.NoError(t, s.Ready(ctx))
	ran, err = s.Migrate(ctx)
	require.NoError(t, err)
	require.Empty(t, ran)
	_, err = s.schema.DownTo(ctx, 0)
	require.NoError(t, err)
	_, err = s.Migrate(ctx)
	require.NoError(t, err)
}

// Both databases have the same tables and columns.
func TestMigrationsAreTheSame(t *testing.T) {
	table := regexp.MustCompile(`(?s)CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\)`)
	column := regexp.MustCompile(`(?m)^    ([a-z]\w*) `)
	names := func(dialect string) (out []string) {
		files, err := fs.Glob(migrations, "migrations/"+dialect+"/*.sql")
		require.NoError(t, err)
		for _, f := range files {
			out = append(out, filepath.Base(f))
			text, err := migrations.ReadFile(f)
			require.NoError(t, err)
			for _, m := range table.FindAllStringSubmatch(string(text), -1) {
				for _, c := range column.FindAllStringSubmatch(m[2], -1) {
					out = append(out, m[1]+"."+c[1])
				}
			}
		}
		return out
	}
	require.Equal(t, names("sqlite"), names("mariadb"))
	require.Contains(t, names("sqlite"), "attachments.sha256")
}

func newUser(t *testing.T, s *Store) string {
	t.Helper()
	id := NewID()
	_, err := s.CreateUser(t.Context(), User{ID: id, Name: "user " + id, Password: "hash"})
	require.NoError(t, err)
	return id
}

func testUsers(t *testing.T, s *Store) {
	ctx := t.Context()
	zoe := User{ID: NewID(), Name: "Zoé 🦉", Password: "hash of her"}
	for range 2 {
		_, err := s.CreateUser(ctx, zoe)
		require.NoError(t, err, "the same again is the same")
	}
	got, err := s.UserByName(ctx, "ZOE 🦉")
	require.NoError(t, err)
	require.Equal(t, zoe, got)
	_, err = s.UserByName(ctx, "Zoé")
	require.ErrorIs(t, err, ErrNotFound)

	_, err = s.CreateUser(ctx, User{ID: zoe.ID, Name: "zoe 🦉", Password: "another"})
	require.ErrorIs(t, err, ErrNameTaken, "who knows the id alone is nobody")
	other, err := s.CreateUser(ctx, User{ID: zoe.ID, Name: "Yves", Password: "another"})
	require.NoError(t, err)
	require.NotEqual(t, zoe.ID, other.ID)

	require.NoError(t, s.UpgradeHash(ctx, zoe.ID, "not that", "x"))
	require.NoError(t, s.UpgradeHash(ctx, zoe.ID, "hash of her", "better"))
	got, err = s.UserByName(ctx, zoe.Name)
	require.NoError(t, err)
	require.Equal(t, "better", got.Password)
}

func testSessions(t *testing.T, s *Store) {
	ctx := t.Context()
	id := newUser(t, s)
	here, there, old := []byte("here"+id), []byte("there"+id), []byte("old"+id)
	until := time.Now().Add(time.Hour)
	for _, token := range [][]byte{here, here, there} {
		require.NoError(t, s.CreateSession(ctx, token, id, until))
	}
	require.NoError(t, s.CreateSession(ctx, old, id, time.Now().Add(-time.Second)))
	u, end, err := s.Session(ctx, here)
	require.NoError(t, err)
	require.Equal(t, id, u.ID)
	require.WithinDuration(t, until, end, time.Millisecond)
	_, _, err = s.Session(ctx, old)
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, s.ExtendSession(ctx, here, until.Add(time.Hour)))
	_, end, err = s.Session(ctx, here)
	require.NoError(t, err)
	require.WithinDuration(t, until.Add(time.Hour), end, time.Millisecond)

	require.NoError(t, s.Sweep(ctx, time.Now()))
	require.NoError(t, s.SetPassword(ctx, id, "new", here))
	_, _, err = s.Session(ctx, there)
	require.ErrorIs(t, err, ErrNotFound, "who changes a password signs everybody else out")
	u, _, err = s.Session(ctx, here)
	require.NoError(t, err)
	require.Equal(t, "new", u.Password)
	require.NoError(t, s.DeleteSession(ctx, here))
	_, _, err = s.Session(ctx, here)
	require.ErrorIs(t, err, ErrNotFound)
}

func testAttempts(t *testing.T, s *Store) {
	ctx := t.Context()
	person, address := Limit{"a person " + NewID(), 3, time.Hour, true}, Limit{"an address " + NewID(), 5, time.Hour, false}
	both := []Limit{person, address}
	attempt := func() (string, bool) {
		id, allowed, err := s.Attempt(ctx, both)
		require.NoError(t, err)
		return id, allowed
	}
	var id string
	for range 3 {
		var allowed bool
		id, allowed = attempt()
		require.True(t, allowed)
	}
	require.NoError(t, s.Succeeded(ctx, id, both))
	for range 3 { // 2 failures of the address are left, and 3 come
		_, allowed := attempt()
		require.True(t, allowed)
	}
	_, allowed := attempt()
	require.False(t, allowed)
	require.NoError(t, s.Sweep(ctx, time.Now()))
	_, allowed = attempt()
	require.True(t, allowed, "what is past is not counted")
	short := []Limit{{person.Subject, 1, -time.Second, false}}
	_, allowed, err := s.Attempt(ctx, short)
	require.NoError(t, err)
	require.True(t, allowed, "nor what is outside of the window")
}

func testLists(t *testing.T, s *Store) {
	ctx := t.Context()
	me, other := newUser(t, s), newUser(t, s)
	list, err := s.CreateList(ctx, me, List{ID: NewID(), Title: "Größe"})
	require.NoError(t, err)
	again, err := s.CreateList(ctx, me, List{ID: list.ID, Title: "Größe"})
	require.NoError(t, err)
	require.Equal(t, list.ID, again.ID)
	another, err := s.CreateList(ctx, me, List{ID: list.ID, Title: "another"})
	require.NoError(t, err)
	require.NotEqual(t, list.ID, another.ID)
	_, err = s.CreateList(ctx, other, List{ID: list.ID, Title: "Größe"})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.List(ctx, other, list.ID)
	require.ErrorIs(t, err, ErrNotFound)

	all, err := s.Lists(ctx, me, Page{1, 10})
	require.NoError(t, err)
	require.Equal(t, 2, all.Total)
	require.Equal(t, "Größe", all.Rows[0].Title)

	require.NoError(t, s.UpdateList(ctx, me, List{ID: list.ID, Title: "one", Version: 1}))
	var conflict *Conflict[List]
	require.ErrorAs(t, s.UpdateList(ctx, me, List{ID: list.ID, Title: "two", Version: 1}), &conflict)
	require.Equal(t, "one", conflict.Stored.Title)
	require.EqualValues(t, 2, conflict.Stored.Version)
	require.ErrorIs(t, s.UpdateList(ctx, other, List{ID: list.ID, Title: "x", Version: 2}), ErrNotFound)

	_, err = s.DeleteList(ctx, other, list.ID)
	require.NoError(t, err)
	_, err = s.List(ctx, me, list.ID)
	require.NoError(t, err, "others delete nothing")
	_, err = s.DeleteList(ctx, me, list.ID)
	require.NoError(t, err)
	_, err = s.List(ctx, me, list.ID)
	require.ErrorIs(t, err, ErrNotFound)
}

func newItem(t *testing.T, s *Store, user string, i Item) Item {
	t.Helper()
	if i.List == "" {
		list, err := s.CreateList(t.Context(), user, List{ID: NewID(), Title: "list"})
		require.NoError(t, err)
		i.List = list.ID
	}
	i.ID = NewID()
	i, err := s.CreateItem(t.Context(), user, i)
	require.NoError(t, err)
	return i
}

func testItems(t *testing.T, s *Store) {
	ctx := t.Context()
	me, other := newUser(t, s), newUser(t, s)
	first := newItem(t, s, me, Item{Title: "no date"})
	for _, i := range []Item{{Title: "done", Done: true}, {Title: "late", Due: "2026-12-01"}, {Title: "soon", Due: "2026-11-01", Notes: "line\nline 🐌"}} {
		i.List = first.List
		newItem(t, s, me, i)
	}
	titles := func(p Page) (out []string) {
		items, err := s.Items(ctx, me, first.List, p)
		require.NoError(t, err)
		require.Equal(t, 4, items.Total)
		for _, i := range items.Rows {
			out = append(out, i.Title)
		}
		return out
	}
	require.Equal(t, []string{"soon", "late", "no date", "done"}, titles(Page{1, 10}))
	require.Equal(t, []string{"done"}, titles(Page{2, 3}))
	require.Equal(t, []string{"done"}, titles(Page{9, 3}), "the last page there is")

	got, err := s.Item(ctx, me, first.ID)
	require.NoError(t, err)
	require.Equal(t, "list", got.ListTitle)
	got.Notes, got.Due = "line\nline 🐌", "2027-01-01"
	require.NoError(t, s.UpdateItem(ctx, me, got))
	require.NoError(t, s.UpdateItem(ctx, me, got), "the same again, after an answer that was lost")
	stale := got
	stale.Notes = "mine"
	var conflict *Conflict[Item]
	require.ErrorAs(t, s.UpdateItem(ctx, me, stale), &conflict)
	require.True(t, conflict.Stored.same(got))

	for range 2 {
		require.NoError(t, s.SetDone(ctx, me, first.ID, true))
	}
	require.ErrorIs(t, s.SetDone(ctx, other, first.ID, false), ErrNotFound)
	got, err = s.Item(ctx, me, first.ID)
	require.NoError(t, err)
	require.True(t, got.Done)
	require.EqualValues(t, 3, got.Version)

	_, err = s.CreateItem(ctx, other, Item{ID: NewID(), List: first.List, Title: "x"})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.DeleteItem(ctx, me, first.ID)
	require.NoError(t, err)
	require.ErrorIs(t, s.UpdateItem(ctx, me, got), ErrNotFound)
}

func testSearch(t *testing.T, s *Store) {
	ctx := t.Context()
	me, other := newUser(t, s), newUser(t, s)
	item := newItem(t, s, me, Item{Title: "Café à Plœmeur", Notes: "100% sûr, straße_1"})
	newItem(t, s, other, Item{Title: "café"})
	require.NoError(t, s.CreateAttachment(ctx, me, Attachment{ID: NewID(), Item: item.ID, Name: "Été.pdf", Type: "application/pdf", SHA256: strings.Repeat("a", 64)}))
	for query, n := range map[string]int{
		"CAFE": 1, "café": 1, "cafe sur": 1, "cafe not": 0, "100%": 1, "10%0": 0, "STRASSE_": 1, "strasse!1": 0, "e_e": 0, "ete cafe": 1, "'": 0, "": 1,
	} {
		found, err := s.Search(ctx, me, query, Page{1, 10})
		require.NoError(t, err)
		assert.Equal(t, n, found.Total, query)
	}
}

func testAttachments(t *testing.T, s *Store) {
	ctx := t.Context()
	me, other := newUser(t, s), newUser(t, s)
	item := newItem(t, s, me, Item{Title: "item"})
	a := Attachment{ID: NewID(), Item: item.ID, Name: "a.txt", Type: "text/plain", Size: 5 << 30, SHA256: strings.Repeat("1", 64)}
	for range 2 {
		require.NoError(t, s.CreateAttachment(ctx, me, a))
	}
	b := a
	b.SHA256 = strings.Repeat("2", 64)
	require.ErrorIs(t, s.CreateAttachment(ctx, me, b), ErrNotFound, "another content is another file")
	b.ID = NewID()
	require.ErrorIs(t, s.CreateAttachment(ctx, other, b), ErrNotFound)
	require.NoError(t, s.CreateAttachment(ctx, me, b))

	all, err := s.Attachments(ctx, me, item.ID)
	require.NoError(t, err)
	require.ElementsMatch(t, []Attachment{a, b}, all)
	known, err := s.KnownKeys(ctx, []string{a.Key(), Key(a.ID, b.SHA256), "x", Key(NewID(), a.SHA256)})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{a.Key(): true}, known)

	_, err = s.DeleteAttachment(ctx, other, a.ID)
	require.ErrorIs(t, err, ErrNotFound)
	gone, err := s.DeleteAttachment(ctx, me, a.ID)
	require.NoError(t, err)
	require.Equal(t, a, gone)
	orphans, err := s.DeleteList(ctx, me, item.List)
	require.NoError(t, err)
	require.Equal(t, []Attachment{b}, orphans)
	_, err = s.Item(ctx, me, item.ID)
	require.ErrorIs(t, err, ErrNotFound)
}

// Many write one item at the same time, each from what it has read: whoever was
// too late learns it, so no write that was accepted is lost.
func testNoUpdateIsLost(t *testing.T, s *Store) {
	ctx := t.Context()
	me := newUser(t, s)
	item := newItem(t, s, me, Item{Title: "0"})
	var accepted atomic.Int64
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			for n := range 10 {
				for {
					now, err := s.Item(ctx, me, item.ID)
					if !assert.NoError(t, err) {
						return
					}
					now.Notes += fmt.Sprintf("%d.%d\n", writer, n)
					err = s.UpdateItem(ctx, me, now)
					if errors.As(err, new(*Conflict[Item])) {
						continue
					}
					if assert.NoError(t, err) {
						accepted.Add(1)
					}
					break
				}
			}
		})
	}
	all.Wait()
	got, err := s.Item(ctx, me, item.ID)
	require.NoError(t, err)
	lines := strings.Fields(got.Notes)
	require.EqualValues(t, 40, accepted.Load())
	require.Len(t, lines, 40)
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(lines))), 40)
}

// A transaction whose end was refused, or not heard of, is made again.
func testRefusedIsRepeated(t *testing.T, s *Store) {
	me := newUser(t, s)
	item := newItem(t, s, me, Item{Title: "item"})
	for name, refused := range map[string]error{
		"certification": &mysql.MySQLError{Number: 1213}, "not ready": &mysql.MySQLError{Number: 1047},
		"cut short": tally{}.Scan(nil), "connection": driver.ErrBadConn, "network": &net.OpError{Op: "read", Err: errors.New("reset")},
	} {
		if s.dialect.name() == "sqlite" {
			continue // it refuses in one way only, which testNoUpdateIsLost meets
		}
		times := 0
		before := s.Retries()
		require.NoError(t, s.write(t.Context(), "test", func(ctx context.Context, q querier) error {
			if _, err := q.ExecContext(ctx, "UPDATE items SET title = ? WHERE id = ?", fmt.Sprint(name, times), item.ID); err != nil {
				return err
			}
			if times++; times < 3 {
				return refused
			}
			return nil
		}))
		require.Equal(t, 3, times, name)
		require.EqualValues(t, 2, s.Retries()-before)
		got, err := s.Item(t.Context(), me, item.ID)
		require.NoError(t, err)
		require.Equal(t, name+"2", got.Title)
	}
	times := 0
	broken := errors.New("broken")
	require.ErrorIs(t, s.write(t.Context(), "test", func(context.Context, querier) error { times++; return broken }), broken)
	require.Equal(t, 1, times, "what does not pass by itself is not repeated")
}

// A database that is away for longer than a person waits is said to be.
func TestUnavailable(t *testing.T) {
	s, err := OpenMariaDB(MariaDB{Address: filepath.Join(t.TempDir(), "no-socket"), Name: "todo"})
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	_, err = s.Item(t.Context(), "", "")
	require.ErrorIs(t, err, ErrUnavailable)
	require.Positive(t, s.Retries())
	require.Error(t, s.Ready(t.Context()))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Item(ctx, "", "")
	require.ErrorIs(t, err, context.Canceled)
}

func TestIDs(t *testing.T) {
	a, b := NewID(), NewID()
	require.Less(t, a, b)
	require.True(t, ValidID(a))
	for _, id := range []string{"", "x", strings.ToUpper(a), "{" + a + "}", a + "0"} {
		require.False(t, ValidID(id), id)
	}
}
