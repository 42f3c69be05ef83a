package store

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Attachment is what is known of a file that belongs to an item. The file
// itself lies elsewhere, under Key.
type Attachment struct {
	ID     string
	Item   string // the id of its item
	Name   string // as its person calls it
	Type   string // as its content says
	Size   int64  // bytes
	SHA256 string // in hexadecimal digits
	Width  int    // of the thumbnail, in pixels; 0 means that there is none
	Height int
}

// Key is the name of the file: it has the content's sum, so that two contents
// never meet under one name.
func (a Attachment) Key() string { return Key(a.ID, a.SHA256) }

// Key is the name of the file with an id and a content's SHA-256.
func Key(id, sum string) string { return id + "-" + sum[:16] }

const attachmentColumns = "id, item_id, name, type, size, sha256, width, height"

func scanAttachment(r scanner) (a Attachment, err error) {
	return a, r.Scan(&a.ID, &a.Item, &a.Name, &a.Type, &a.Size, &a.SHA256, &a.Width, &a.Height)
}

// attachments: where is a fixed text of this package.
func attachments(ctx context.Context, q querier, where string, args ...any) ([]Attachment, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+attachmentColumns+" FROM attachments WHERE "+where+" ORDER BY created_at, id", args...)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(r *sql.Rows) (Attachment, error) { return scanAttachment(r) })
}

// Attachments are the files of an item, the oldest first.
func (s *Store) Attachments(ctx context.Context, user, item string) (out []Attachment, err error) {
	err = s.read(ctx, "attachments", func(ctx context.Context, q querier) error {
		out, err = attachments(ctx, q, "item_id = ? AND user_id = ?", item, user)
		return err
	})
	return out, err
}

// Attachment is one of a user's attachments.
func (s *Store) Attachment(ctx context.Context, user, id string) (a Attachment, err error) {
	err = s.read(ctx, "attachment", func(ctx context.Context, q querier) error {
		a, err = attachment(ctx, q, user, id)
		return err
	})
	return a, err
}

func attachment(ctx context.Context, q querier, user, id string) (Attachment, error) {
	a, err := scanAttachment(q.QueryRowContext(ctx, "SELECT "+attachmentColumns+" FROM attachments WHERE id = ? AND user_id = ?", id, user))
	return a, found(err)
}

// CreateAttachment stores what is known of a file that is in its place. The
// same id with the same content is the same upload again; with another one it
// is refused with ErrNotFound, since its file lies under another key.
func (s *Store) CreateAttachment(ctx context.Context, user string, a Attachment) error {
	return s.write(ctx, "create attachment", func(ctx context.Context, q querier) error {
		if _, err := item(ctx, q, user, a.Item); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, `INSERT INTO attachments (id, user_id, item_id, name, folded, type, size, sha256, width, height, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.ID, user, a.Item, a.Name, fold(a.Name), a.Type, a.Size, a.SHA256, a.Width, a.Height, millis(time.Now()))
		if s.dialect.duplicate(err) {
			there, err := attachment(ctx, q, user, a.ID)
			if err == nil && (there.Item != a.Item || there.SHA256 != a.SHA256) {
				return ErrNotFound
			}
			return err
		}
		return err
	})
}

// DeleteAttachment removes what is known of a file, and returns it.
func (s *Store) DeleteAttachment(ctx context.Context, user, id string) (a Attachment, err error) {
	err = s.write(ctx, "delete attachment", func(ctx context.Context, q querier) error {
		if a, err = attachment(ctx, q, user, id); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, "DELETE FROM attachments WHERE id = ? AND user_id = ?", id, user)
		return err
	})
	return a, err
}

// KnownKeys are those of some keys that belong to an attachment.
func (s *Store) KnownKeys(ctx context.Context, keys []string) (known map[string]bool, err error) {
	known = map[string]bool{}
	if len(keys) == 0 {
		return known, nil
	}
	var ids []any
	for _, key := range keys {
		if len(key) >= 36 {
			ids = append(ids, key[:36])
		}
	}
	if len(ids) == 0 {
		return known, nil
	}
	err = s.read(ctx, "known keys", func(ctx context.Context, q querier) error {
		rows, err := attachments(ctx, q, "id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
		for _, a := range rows {
			known[a.Key()] = true
		}
		return err
	})
	return known, err
}
