package store

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	moderncsqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is in what the two databases differ.
type dialect interface {
	name() string // the folder of its migrations
	goose() goose.Dialect
	duplicate(error) bool // a key was there already
	passing(error) bool   // the same again may succeed
}

type sqlite struct{}

func (sqlite) name() string         { return "sqlite" }
func (sqlite) goose() goose.Dialect { return goose.DialectSQLite3 }

func (sqlite) code(err error) int {
	var e *moderncsqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func (d sqlite) duplicate(err error) bool {
	code := d.code(err)
	return code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || code == sqlite3.SQLITE_CONSTRAINT_UNIQUE
}

func (d sqlite) passing(err error) bool {
	// The lower byte; what is above it tells details.
	code := d.code(err) & 0xff
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
}

type mariadb struct{}

func (mariadb) name() string         { return "mariadb" }
func (mariadb) goose() goose.Dialect { return goose.DialectMySQL }

// passingNumbers are the errors of MariaDB that pass by themselves: refused by
// Galera's certification or by a lock, or by a node that joins, leaves or is
// not the one that writes.
var passingNumbers = []uint16{
	1020, // the row has changed since the transaction's snapshot
	1040, // too many connections
	1047, // WSREP has not yet prepared this node
	1053, // the server shuts down
	1205, // waited too long for a lock
	1213, // deadlock, and what Galera's certification refuses
	1290, // read only
	1317, // the query was interrupted
	1836, // read only
	1927, // the connection was killed
	2006, // the server has gone away
	2013, // the connection was lost
}

func (mariadb) duplicate(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == 1062
}

func (mariadb) passing(err error) bool {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return slices.Contains(passingNumbers, e.Number)
	}
	var n net.Error
	return errors.Is(err, errCutShort) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &n)
}
