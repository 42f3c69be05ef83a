package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
)

// List is a list of items.
type List struct {
	ID      string
	Title   string
	Version int64
	Open    int // items that are not done; set where lists are shown
	Total   int // all items; likewise
}

// Item is something to do.
type Item struct {
	ID          string
	List        string // the id of its list
	ListTitle   string
	Title       string
	Notes       string
	Due         string // like 2026-11-22; empty means no date
	Done        bool
	Version     int64
	Attachments int // how many; set where items are shown
	Updated     time.Time
}

// same says whether two have what a person writes in common.
func (i Item) same(o Item) bool {
	return i.Title == o.Title && i.Notes == o.Notes && i.Due == o.Due && i.Done == o.Done
}

// Page asks for a part of many rows.
type Page struct {
	Number int // from 1
	Size   int
}

// Paged is a part of many rows.
type Paged[T any] struct {
	Rows  []T
	Page  int // which one this is, from 1
	Pages int // at least 1
	Total int // rows in all pages
}

// paged counts and selects. columns and from are fixed texts of this package.
func paged[T any](ctx context.Context, q querier, p Page, columns, from, order string, args []any, scan func(*sql.Rows) (T, error)) (Paged[T], error) {
	out := Paged[T]{Page: max(p.Number, 1), Pages: 1}
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) "+from, args...).Scan(&out.Total); err != nil {
		return out, err
	}
	out.Pages = max(1, (out.Total+p.Size-1)/p.Size)
	out.Page = min(out.Page, out.Pages)
	rows, err := q.QueryContext(ctx, "SELECT "+columns+" "+from+" ORDER BY "+order+" LIMIT ? OFFSET ?",
		append(args[:len(args):len(args)], p.Size, (out.Page-1)*p.Size)...)
	if err != nil {
		return out, err
	}
	out.Rows, err = collect(rows, scan)
	return out, err
}

func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) (out []T, err error) {
	defer rows.Close()
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// errCutShort means that a statement was ended in its middle.
var errCutShort = errors.New("a count has no number; the statement was cut short")

// tally is the number of a COUNT below a SELECT. Where Galera refuses a
// transaction while such a statement runs, MariaDB has been seen to answer NULL
// for it, and to tell of the refusal with the next statement only.
type tally struct{ n *int }

// Scan takes the number.
func (t tally) Scan(value any) error {
	var n sql.NullInt64
	if err := n.Scan(value); err != nil {
		return err
	}
	if !n.Valid {
		return errCutShort
	}
	*t.n = int(n.Int64)
	return nil
}

// Lists are a user's lists, the oldest first.
func (s *Store) Lists(ctx context.Context, user string, p Page) (out Paged[List], err error) {
	err = s.read(ctx, "lists", func(ctx context.Context, q querier) error {
		out, err = paged(ctx, q, p, `l.id, l.title, l.version,
			(SELECT COUNT(*) FROM items i WHERE i.list_id = l.id AND i.done = 0), (SELECT COUNT(*) FROM items i WHERE i.list_id = l.id)`,
			"FROM lists l WHERE l.user_id = ?", "l.created_at, l.id", []any{user},
			func(r *sql.Rows) (l List, err error) {
				return l, r.Scan(&l.ID, &l.Title, &l.Version, tally{&l.Open}, tally{&l.Total})
			})
		return err
	})
	return out, err
}

// List is one of a user's lists.
func (s *Store) List(ctx context.Context, user, id string) (l List, err error) {
	err = s.read(ctx, "list", func(ctx context.Context, q querier) error {
		l, err = list(ctx, q, user, id)
		return err
	})
	return l, err
}

func list(ctx context.Context, q querier, user, id string) (l List, err error) {
	err = q.QueryRowContext(ctx, `SELECT id, title, version, (SELECT COUNT(*) FROM items WHERE list_id = lists.id AND done = 0),
		(SELECT COUNT(*) FROM items WHERE list_id = lists.id) FROM lists WHERE id = ? AND user_id = ?`, id, user).
		Scan(&l.ID, &l.Title, &l.Version, tally{&l.Open}, tally{&l.Total})
	return l, found(err)
}

// CreateList stores a new list and returns it. One that is there already with
// the same id and title is the same form sent twice; with another title it is
// another list, and gets another id.
func (s *Store) CreateList(ctx context.Context, user string, l List) (List, error) {
	err := s.write(ctx, "create list", func(ctx context.Context, q querier) error {
		there, err := list(ctx, q, user, l.ID)
		if err == nil && there.Title == l.Title {
			l = there
			return nil
		}
		if err != nil && err != ErrNotFound {
			return err
		}
		if err == nil {
			l.ID = NewID()
		}
		l.Version = 1
		_, err = q.ExecContext(ctx, "INSERT INTO lists (id, user_id, title, version, created_at) VALUES (?, ?, ?, 1, ?)", l.ID, user, l.Title, millis(time.Now()))
		if s.dialect.duplicate(err) {
			return ErrNotFound // another user's id
		}
		return err
	})
	return l, err
}

// UpdateList changes the title, or returns a *Conflict[List].
func (s *Store) UpdateList(ctx context.Context, user string, l List) error {
	return s.write(ctx, "update list", func(ctx context.Context, q querier) error {
		r, err := q.ExecContext(ctx, "UPDATE lists SET title = ?, version = version + 1 WHERE id = ? AND user_id = ? AND version = ?", l.Title, l.ID, user, l.Version)
		if changed, err := one(r, err); changed || err != nil {
			return err
		}
		stored, err := list(ctx, q, user, l.ID)
		if err != nil {
			return err
		}
		if stored.Title == l.Title {
			return nil // somebody else, or we before, wrote the same
		}
		return &Conflict[List]{stored}
	})
}

// one says whether a statement changed a row.
func one(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// DeleteList removes a list with its items, and returns the attachments whose
// files nobody refers to now.
func (s *Store) DeleteList(ctx context.Context, user, id string) (orphans []Attachment, err error) {
	err = s.write(ctx, "delete list", func(ctx context.Context, q querier) error {
		orphans, err = attachments(ctx, q, "item_id IN (SELECT id FROM items WHERE list_id = ? AND user_id = ?)", id, user)
		if err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM attachments WHERE item_id IN (SELECT id FROM items WHERE list_id = ? AND user_id = ?)",
			"DELETE FROM items WHERE list_id = ? AND user_id = ?",
			"DELETE FROM lists WHERE id = ? AND user_id = ?",
		} {
			if _, err := q.ExecContext(ctx, statement, id, user); err != nil {
				return err
			}
		}
		return nil
	})
	return orphans, err
}

const itemColumns = `i.id, i.list_id, l.title, i.title, i.notes, COALESCE(i.due, ''), i.done, i.version, i.updated_at,
	(SELECT COUNT(*) FROM attachments a WHERE a.item_id = i.id)`

type scanner interface{ Scan(...any) error }

func scanItem(r scanner) (i Item, err error) {
	var updated int64
	err = r.Scan(&i.ID, &i.List, &i.ListTitle, &i.Title, &i.Notes, &i.Due, &i.Done, &i.Version, &updated, tally{&i.Attachments})
	i.Updated = atMillis(updated)
	return i, err
}

func scanItems(r *sql.Rows) (Item, error) { return scanItem(r) }

const itemOrder = "i.done, i.due IS NULL, i.due, i.created_at, i.id"

// Items are the items of a list: what is open first, by its date.
func (s *Store) Items(ctx context.Context, user, list string, p Page) (out Paged[Item], err error) {
	err = s.read(ctx, "items", func(ctx context.Context, q querier) error {
		out, err = paged(ctx, q, p, itemColumns, "FROM items i JOIN lists l ON l.id = i.list_id WHERE i.list_id = ? AND i.user_id = ?",
			itemOrder, []any{list, user}, scanItems)
		return err
	})
	return out, err
}

// Search finds the items that have every word of a query in their title, their
// notes or the name of an attachment.
func (s *Store) Search(ctx context.Context, user, query string, p Page) (out Paged[Item], err error) {
	where, args := "i.user_id = ?", []any{user}
	for _, word := range strings.Fields(fold(query)) {
		pattern := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(word) + "%"
		where += " AND (i.folded LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM attachments a WHERE a.item_id = i.id AND a.folded LIKE ? ESCAPE '!'))"
		args = append(args, pattern, pattern)
	}
	err = s.read(ctx, "search", func(ctx context.Context, q querier) error {
		out, err = paged(ctx, q, p, itemColumns, "FROM items i JOIN lists l ON l.id = i.list_id WHERE "+where, itemOrder, args, scanItems)
		return err
	})
	return out, err
}

// Item is one of a user's items.
func (s *Store) Item(ctx context.Context, user, id string) (i Item, err error) {
	err = s.read(ctx, "item", func(ctx context.Context, q querier) error {
		i, err = item(ctx, q, user, id)
		return err
	})
	return i, err
}

func item(ctx context.Context, q querier, user, id string) (Item, error) {
	i, err := scanItem(q.QueryRowContext(ctx, "SELECT "+itemColumns+" FROM items i JOIN lists l ON l.id = i.list_id WHERE i.id = ? AND i.user_id = ?", id, user))
	return i, found(err)
}

func due(i Item) sql.NullString { return sql.NullString{String: i.Due, Valid: i.Due != ""} }
func itemText(i Item) string    { return fold(i.Title + "\n" + i.Notes) }
func (i Item) row() []any       { return []any{i.Title, i.Notes, due(i), i.Done, itemText(i)} }

// CreateItem stores a new item and returns it, under the rule of CreateList.
func (s *Store) CreateItem(ctx context.Context, user string, i Item) (Item, error) {
	err := s.write(ctx, "create item", func(ctx context.Context, q querier) error {
		if _, err := list(ctx, q, user, i.List); err != nil {
			return err
		}
		there, err := item(ctx, q, user, i.ID)
		if err == nil && there.List == i.List && there.same(i) {
			i = there
			return nil
		}
		if err != nil && err != ErrNotFound {
			return err
		}
		if err == nil {
			i.ID = NewID()
		}
		i.Version = 1
		now := millis(time.Now())
		_, err = q.ExecContext(ctx, `INSERT INTO items (title, notes, due, done, folded, id, user_id, list_id, version, created_at, updated_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)`, append(i.row(), i.ID, user, i.List, now, now)...)
		if s.dialect.duplicate(err) {
			return ErrNotFound
		}
		return err
	})
	return i, err
}

// UpdateItem changes an item, or returns a *Conflict[Item].
func (s *Store) UpdateItem(ctx context.Context, user string, i Item) error {
	return s.write(ctx, "update item", func(ctx context.Context, q querier) error {
		r, err := q.ExecContext(ctx, `UPDATE items SET title = ?, notes = ?, due = ?, done = ?, folded = ?, version = version + 1, updated_at = ?
			WHERE id = ? AND user_id = ? AND version = ?`, append(i.row(), millis(time.Now()), i.ID, user, i.Version)...)
		if changed, err := one(r, err); changed || err != nil {
			return err
		}
		stored, err := item(ctx, q, user, i.ID)
		if err != nil {
			return err
		}
		if stored.same(i) {
			return nil
		}
		return &Conflict[Item]{stored}
	})
}

// SetDone marks an item as done or not. It takes nothing away from somebody
// who changes the text at the same time, so it needs no version.
func (s *Store) SetDone(ctx context.Context, user, id string, done bool) error {
	return s.write(ctx, "set done", func(ctx context.Context, q querier) error {
		r, err := q.ExecContext(ctx, "UPDATE items SET done = ?, version = version + 1, updated_at = ? WHERE id = ? AND user_id = ? AND done <> ?",
			done, millis(time.Now()), id, user, done)
		if changed, err := one(r, err); changed || err != nil {
			return err
		}
		_, err = item(ctx, q, user, id)
		return err
	})
}

// DeleteItem removes an item, and returns the attachments whose files nobody
// refers to now.
func (s *Store) DeleteItem(ctx context.Context, user, id string) (orphans []Attachment, err error) {
	err = s.write(ctx, "delete item", func(ctx context.Context, q querier) error {
		if orphans, err = attachments(ctx, q, "item_id = ? AND user_id = ?", id, user); err != nil {
			return err
		}
		if _, err := q.ExecContext(ctx, "DELETE FROM attachments WHERE item_id = ? AND user_id = ?", id, user); err != nil {
			return err
		}
		_, err = q.ExecContext(ctx, "DELETE FROM items WHERE id = ? AND user_id = ?", id, user)
		return err
	})
	return orphans, err
}
