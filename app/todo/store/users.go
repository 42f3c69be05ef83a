package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// User is a person who can sign in.
type User struct {
	ID       string
	Name     string
	Password string // its hash
}

// CreateUser stores a new user, with another id where another user has this one.
func (s *Store) CreateUser(ctx context.Context, u User) (User, error) {
	err := s.write(ctx, "create user", func(ctx context.Context, q querier) error {
		there, err := s.userByName(ctx, q, u.Name)
		if err == nil && there == u {
			return nil // a repetition of ourselves: nobody else has this hash
		}
		if err == nil {
			return ErrNameTaken
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		var n int
		if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM users WHERE id = ?", u.ID).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			u.ID = NewID()
		}
		_, err = q.ExecContext(ctx, "INSERT INTO users (id, name, folded, password, created_at) VALUES (?, ?, ?, ?, ?)",
			u.ID, u.Name, fold(u.Name), u.Password, millis(time.Now()))
		if s.dialect.duplicate(err) {
			return ErrNameTaken // in this very moment
		}
		return err
	})
	return u, err
}

// UserByName finds a user, whatever the case of the name.
func (s *Store) UserByName(ctx context.Context, name string) (u User, err error) {
	err = s.read(ctx, "user by name", func(ctx context.Context, q querier) error {
		u, err = s.userByName(ctx, q, name)
		return err
	})
	return u, err
}

func (s *Store) userByName(ctx context.Context, q querier, name string) (u User, err error) {
	err = q.QueryRowContext(ctx, "SELECT id, name, password FROM users WHERE folded = ?", fold(name)).Scan(&u.ID, &u.Name, &u.Password)
	return u, found(err)
}

// SetPassword stores another hash. Sessions other than keep end; nil ends all.
func (s *Store) SetPassword(ctx context.Context, user, hash string, keep []byte) error {
	return s.write(ctx, "set password", func(ctx context.Context, q querier) error {
		if _, err := q.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ?", hash, user); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, "DELETE FROM sessions WHERE user_id = ? AND token <> ?", user, hashed(keep))
		return err
	})
}

// UpgradeHash stores the same password's hash made in today's way.
func (s *Store) UpgradeHash(ctx context.Context, user, from, to string) error {
	return s.write(ctx, "upgrade hash", func(ctx context.Context, q querier) error {
		_, err := q.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ? AND password = ?", to, user, from)
		return err
	})
}

// hashed is what the database has of a session's token: who reads a backup can
// sign in as nobody.
func hashed(token []byte) []byte {
	sum := sha256.Sum256(token)
	return sum[:]
}

// CreateSession signs a user in until a time.
func (s *Store) CreateSession(ctx context.Context, token []byte, user string, until time.Time) error {
	return s.write(ctx, "create session", func(ctx context.Context, q querier) error {
		_, err := q.ExecContext(ctx, "INSERT INTO sessions (token, user_id, expires_at) VALUES (?, ?, ?)", hashed(token), user, millis(until))
		if s.dialect.duplicate(err) {
			return nil // the token is a secret of 256 bits: it was this one
		}
		return err
	})
}

// Session tells who has a token, and until when.
func (s *Store) Session(ctx context.Context, token []byte) (u User, until time.Time, err error) {
	err = s.read(ctx, "session", func(ctx context.Context, q querier) error {
		var ms int64
		err := q.QueryRowContext(ctx, `SELECT u.id, u.name, u.password, s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id
			WHERE s.token = ? AND s.expires_at > ?`, hashed(token), millis(time.Now())).Scan(&u.ID, &u.Name, &u.Password, &ms)
		until = atMillis(ms)
		return found(err)
	})
	return u, until, err
}

// ExtendSession moves the end of a session.
func (s *Store) ExtendSession(ctx context.Context, token []byte, until time.Time) error {
	return s.write(ctx, "extend session", func(ctx context.Context, q querier) error {
		_, err := q.ExecContext(ctx, "UPDATE sessions SET expires_at = ? WHERE token = ?", millis(until), hashed(token))
		return err
	})
}

// DeleteSession signs out.
func (s *Store) DeleteSession(ctx context.Context, token []byte) error {
	return s.write(ctx, "delete session", func(ctx context.Context, q querier) error {
		_, err := q.ExecContext(ctx, "DELETE FROM sessions WHERE token = ?", hashed(token))
		return err
	})
}

// Limit is how many attempts a subject has within a window.
type Limit struct {
	Subject string // whatever is counted, like the address of a client
	Max     int
	Window  time.Duration
	Clears  bool // a success takes the failures before it away
}

// Attempt counts an attempt for every limit, and says whether all of them
// allow it. It is counted before it is made, so that many at once are seen; and
// in the database, so that all processes count together.
func (s *Store) Attempt(ctx context.Context, limits []Limit) (id string, allowed bool, err error) {
	id = NewID()
	now := time.Now()
	err = s.write(ctx, "attempt", func(ctx context.Context, q querier) error {
		allowed = true
		for _, l := range limits {
			if _, err := q.ExecContext(ctx, "INSERT INTO attempts (id, subject, at) VALUES (?, ?, ?)", id, subject(l.Subject), millis(now)); err != nil && !s.dialect.duplicate(err) {
				return err
			}
			var n int
			if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM attempts WHERE subject = ? AND at > ?", subject(l.Subject), millis(now.Add(-l.Window))).Scan(&n); err != nil {
				return err
			}
			allowed = allowed && n <= l.Max
		}
		return nil
	})
	return id, allowed && err == nil, err
}

// Succeeded takes an attempt back that was none to limit.
func (s *Store) Succeeded(ctx context.Context, id string, limits []Limit) error {
	return s.write(ctx, "attempt succeeded", func(ctx context.Context, q querier) error {
		for _, l := range limits {
			if _, err := q.ExecContext(ctx, "DELETE FROM attempts WHERE subject = ? AND (id = ? OR ?)", subject(l.Subject), id, l.Clears); err != nil {
				return err
			}
		}
		return nil
	})
}

// subject has one length, tells nobody whose it is, and is the same however
// somebody writes a name.
func subject(text string) string {
	sum := sha256.Sum256([]byte(fold(text)))
	return hex.EncodeToString(sum[:])
}

// Sweep forgets sessions that ended and attempts that no limit counts.
func (s *Store) Sweep(ctx context.Context, attemptsBefore time.Time) error {
	return s.write(ctx, "sweep", func(ctx context.Context, q querier) error {
		if _, err := q.ExecContext(ctx, "DELETE FROM sessions WHERE expires_at <= ?", millis(time.Now())); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, "DELETE FROM attempts WHERE at <= ?", millis(attemptsBefore))
		return err
	})
}
