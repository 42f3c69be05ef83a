// Package store keeps users, sessions, lists, items and what is known of
// attached files in a database: SQLite in one file, or a MariaDB that may be a
// Galera cluster. Both see the same statements; they differ in how they are
// opened, in their migrations and in what their errors mean.
//
// Every write may be made again without harm: new rows come with their id, and
// changes name the version that they change. So a transaction that the
// database refused, or whose end nobody heard of, is simply repeated, and so
// is a form that its person sends again.
package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"github.com/pressly/goose/v3"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"golang.org/x/text/cases"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// What a caller may want to tell apart.
var (
	// ErrNotFound means that there is no such thing, or that it is another
	// user's.
	ErrNotFound = errors.New("not found")
	// ErrNameTaken means that another user has that name.
	ErrNameTaken = errors.New("the name is taken")
	// ErrUnavailable means that the database did not do it within the time for
	// retries. The same again, a little later, may well succeed.
	ErrUnavailable = errors.New("the database is not available")
)

// Conflict says that somebody changed what was to be changed after it was
// read. Nothing has been written.
type Conflict[T any] struct {
	Stored T // as it is now
}

// Error says what happened.
func (c *Conflict[T]) Error() string { return "was changed by somebody else since it was read" }

// retryFor is how long a transaction is repeated. A person waits that long; a
// proxy in front sees no error of it.
const retryFor = 3 * time.Second

//go:embed migrations
var migrations embed.FS

// Store is an open database.
type Store struct {
	db       *sql.DB
	dialect  dialect
	schema   *goose.Provider
	migrated atomic.Bool
	retries  atomic.Int64
}

// OpenSQLite opens the database in a file, which is made where it is missing.
func OpenSQLite(file string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("the folder of the database: %w", err)
	}
	// A commit is on the disk when it says so (synchronous FULL), as MariaDB's
	// is; writers queue up instead of failing when they upgrade from reading.
	dsn := url.URL{Scheme: "file", Path: file, RawQuery: url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(5000)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", file, err)
	}
	db.SetMaxOpenConns(8)
	return open(db, sqlite{})
}

// MariaDB is where a MariaDB is and how to sign in.
type MariaDB struct {
	Address  string // host:port, or the path of a socket
	Name     string
	User     string
	Password string
	CA       string // file of certificates; empty means no TLS
	SyncWait bool   // each read waits for what Galera committed before it
}

// OpenMariaDB prepares connections to a MariaDB. It does not connect yet.
func OpenMariaDB(m MariaDB) (*Store, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = m.User, m.Password, m.Name
	c.Net, c.Addr = "tcp", m.Address
	if strings.HasPrefix(m.Address, "/") {
		c.Net = "unix"
	}
	c.Collation = "utf8mb4_unicode_ci"
	c.Logger = &mysql.NopLogger{} // what it would print is in the errors too
	c.InterpolateParams = true    // one round trip for each statement, not two
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 3*time.Second, 10*time.Second, 10*time.Second
	if m.SyncWait {
		c.Params = map[string]string{"wsrep_sync_wait": "1"}
	}
	if m.CA != "" {
		pem, err := os.ReadFile(m.CA)
		if err != nil {
			return nil, fmt.Errorf("the certificates of the database: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: has no certificate", m.CA)
		}
		host, _, err := net.SplitHostPort(m.Address)
		if err != nil {
			return nil, fmt.Errorf("the address of the database: %w", err)
		}
		c.TLS = &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("the settings of the database: %w", err)
	}
	db := sql.OpenDB(connector)
	// Connections end now and then, so that they follow a Service that points
	// elsewhere and spread again after a fault.
	db.SetConnMaxLifetime(3 * time.Minute)
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	return open(db, mariadb{})
}

func open(db *sql.DB, d dialect) (*Store, error) {
	folder, err := fs.Sub(migrations, "migrations/"+d.name())
	if err != nil {
		return nil, err
	}
	schema, err := goose.NewProvider(d.goose(), db, folder, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the migrations: %w", err), db.Close())
	}
	return &Store{db: db, dialect: d, schema: schema}, nil
}

// Close ends all connections.
func (s *Store) Close() error { return s.db.Close() }

// DB is for statistics.
func (s *Store) DB() *sql.DB { return s.db }

// Retries is how often a transaction was repeated since the start.
func (s *Store) Retries() int64 { return s.retries.Load() }

// Migrate brings the tables to what this version of the application wants, and
// says which migrations ran. One process does it at a time.
func (s *Store) Migrate(ctx context.Context) ([]string, error) {
	results, err := s.schema.Up(ctx)
	var names []string
	for _, r := range results {
		names = append(names, filepath.Base(r.Source.Path))
	}
	if err != nil {
		return names, fmt.Errorf("migrating the database: %w", err)
	}
	return names, nil
}

// Ready says whether the database answers and its tables are as new as the
// application.
func (s *Store) Ready(ctx context.Context) error {
	if !s.migrated.Load() {
		current, target, err := s.schema.GetVersions(ctx)
		if err != nil {
			return fmt.Errorf("the database: %w", err)
		}
		if current < target {
			return fmt.Errorf("the database has version %d of %d; run todo migrate", current, target)
		}
		s.migrated.Store(true)
	}
	var one int
	if err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM users WHERE id = ''").Scan(&one); err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	return nil
}

// NewID is the id of a thing that is yet to be stored. Later ids are greater.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// ValidID says whether text that came from outside can be an id.
func ValidID(text string) bool {
	id, err := uuid.Parse(text)
	return err == nil && id.String() == text
}

// fold is text as searches and names compare it: without case and accents.
func fold(text string) string {
	plain, _, err := transform.String(transform.Chain(norm.NFKD, runes.Remove(runes.In(unicode.Mn)), cases.Fold(), norm.NFKC), text)
	if err != nil {
		return strings.ToLower(text)
	}
	return plain
}

// querier is a database or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// read runs what only reads, and repeats it where the database is away for a
// moment.
func (s *Store) read(ctx context.Context, name string, f func(context.Context, querier) error) error {
	return s.persist(ctx, name, func(ctx context.Context) error { return f(ctx, s.db) })
}

// write runs a transaction, and repeats it where the database refused it.
func (s *Store) write(ctx context.Context, name string, f func(context.Context, querier) error) error {
	return s.persist(ctx, name, func(ctx context.Context) error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := f(ctx, tx); err != nil {
			return errors.Join(err, ignoreDone(tx.Rollback()))
		}
		return tx.Commit()
	})
}

// ignoreDone: a transaction whose connection broke has ended already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// persist repeats f as long as its errors pass by themselves.
func (s *Store) persist(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, span := otel.Tracer("todo/store").Start(ctx, name)
	defer span.End()
	deadline := time.Now().Add(retryFor)
	pause := 10 * time.Millisecond
	for {
		err := f(ctx)
		if err == nil || ctx.Err() != nil || !s.dialect.passing(err) {
			if err != nil && !expected(err) {
				span.SetStatus(codes.Error, err.Error())
			}
			return err
		}
		// Half of the pause is chance, so that two who refused each other do
		// not meet again.
		wait := pause/2 + rand.N(pause/2+1)
		if time.Now().Add(wait).After(deadline) {
			span.SetStatus(codes.Error, err.Error())
			return fmt.Errorf("%w: %s: %w", ErrUnavailable, name, err)
		}
		s.retries.Add(1)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// expected errors are answers, not faults.
func expected(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrNameTaken) ||
		errors.As(err, new(*Conflict[Item])) || errors.As(err, new(*Conflict[List]))
}

// found turns "no rows" into ErrNotFound.
func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

func millis(t time.Time) int64    { return t.UnixMilli() }
func atMillis(ms int64) time.Time { return time.UnixMilli(ms) }
