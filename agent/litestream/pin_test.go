//go:build linux

package litestream

import (
	"context"
	"database/sql"
	"os"
	"testing"
)

// logOf tells the logs of a database apart: the salts that SQLite gives one when it is begun.
func logOf(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path + "-wal")
	if err != nil || len(raw) < 32 {
		t.Fatalf("the log of %s: %d bytes, %v", path, len(raw), err)
	}
	return string(raw[16:24])
}

// An app's log that was just copied into the database to its end is begun anew by the next commit, beside a read transaction, too, and what
// was read of it for shipping would be other pages. Beside a pin it is not, whatever the app does.
func TestPinKeepsTheLog(t *testing.T) {
	read := func(t *testing.T, path string) func() {
		db, err := openDB(path)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM numbers").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return func() { _, _ = tx.Rollback(), db.Close() }
	}
	pin := func(t *testing.T, path string) func() {
		p, err := pinned(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := p.release(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		hold func(*testing.T, string) func()
		kept bool
	}{{"a_reader", read, false}, {"a_pin", pin, true}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			_, d := l.Machine(t, "one")
			a := l.Open(t, d)
			defer a.Close(t)
			for n := range 20 {
				a.Write(t, n)
			}
			app, err := openDB(d.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = app.Close() }()
			copyOver := func() (left int) {
				var busy, frames, done int
				if err := app.QueryRow("PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &done); err != nil {
					t.Fatal(err)
				}
				return frames - done
			}
			if left := copyOver(); left != 0 {
				t.Fatalf("%d frames are not copied", left)
			}
			release := c.hold(t, d.Path)
			before := logOf(t, d.Path)
			for n := range 5 {
				a.Write(t, 20+n)
				copyOver()
			}
			if kept := logOf(t, d.Path) == before; kept != c.kept {
				t.Errorf("the log is the same: %v, want %v", kept, c.kept)
			}
			release()
			copyOver()
			a.Write(t, 25)
			if logOf(t, d.Path) == before {
				t.Error("the log is kept, and nobody holds it")
			}
		})
	}
}

// A writer that leaves little between its commits does not keep a pin out, and one that leaves nothing is named.
func TestPinBesideAWriter(t *testing.T) {
	l := newLab(t)
	_, d := l.Machine(t, "one")
	a := l.Open(t, d)
	defer a.Close(t)
	a.Write(t, 0)
	db, err := openDB(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := pinned(t.Context(), d.Path); !busy(err) {
		t.Errorf("beside a transaction that does not end: %v, want SQLite's busy", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := pinned(ended, d.Path); err == nil || busy(err) {
		t.Errorf("for who does not wait any more: %v", err)
	}
	if _, err := c.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	p, err := pinned(t.Context(), d.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.release(); err != nil {
		t.Error(err)
	}
}
