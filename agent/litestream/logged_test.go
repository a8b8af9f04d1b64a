//go:build linux

package litestream

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// What a database and its log sum up to is what the database does once the log has been copied into it.
func TestReadLogged(t *testing.T) {
	l := newLab(t)
	_, d := l.Machine(t, "one")
	a := l.Open(t, d).(*writer)
	defer a.Close(t)
	a.db.SetMaxOpenConns(1)
	a.exec(t, "PRAGMA wal_autocheckpoint=0")
	for n := range 200 {
		a.Write(t, n)
	}
	for _, step := range []struct{ name, statement string }{
		{"all in the log", "INSERT INTO numbers (n) VALUES (1)"},
		{"some copied", "PRAGMA wal_checkpoint(PASSIVE)"},
		{"a log begun anew over a longer one", "INSERT INTO numbers (n, filler) VALUES (2, randomblob(9000))"},
		{"pages freed", "DELETE FROM numbers WHERE id % 3 > 0"},
		{"a shorter database", "VACUUM"},
		{"no log", "PRAGMA wal_checkpoint(TRUNCATE)"},
		{"rolled back", "INSERT INTO numbers (n) VALUES (3); BEGIN; INSERT INTO numbers (n, filler) VALUES (4, randomblob(100000)); ROLLBACK"},
	} {
		a.exec(t, step.statement)
		was, err := readLogged(d.Path)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		aside := d.Path + ".folded"
		for _, tail := range []string{"", "-wal"} {
			if b, err := os.ReadFile(d.Path + tail); err == nil {
				if err := os.WriteFile(aside+tail, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := fold(t.Context(), aside); err != nil {
			t.Fatal(err)
		}
		is, err := checksum(aside)
		if err != nil || was.String() != is {
			t.Errorf("%s: %s with its log, %s without, %v", step.name, was, is, err)
		}
		if err := erase(aside); err != nil {
			t.Fatal(err)
		}
	}
}

// turned flips one bit of a database that nobody reads there: a page in the middle that was shipped as it was before.
func turned(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	st, _ := f.Stat()
	at, b := st.Size()/2/4096*4096+2048, make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// filled is a database of some size without a log, that is led and written to.
func filled(t *testing.T, l *lab, size int) (agent.Replication, agent.Data, agent.Leading, *writer) {
	t.Helper()
	r, d := l.Machine(t, "one")
	a := l.Open(t, d).(*writer)
	for range size / 100_000 {
		a.exec(t, "INSERT INTO numbers (n, filler) VALUES (0, randomblob(100000))")
	}
	a.Close(t)
	lead, err := r.Lead(t.Context(), d, 1)
	if err != nil {
		t.Fatal(err)
	}
	a = l.Open(t, d).(*writer)
	a.Write(t, 1)
	if _, err := lead.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, d, lead, a
}

// A small database that is not what was shipped of it is found out before anybody is told that it was, and shipped anew: a copy ends as what
// is here.
func TestDiffersBeforeTheEnd(t *testing.T) {
	l := newLab(t)
	_, d, lead, a := filled(t, l, 400_000)
	other, copied := l.Machine(t, "two")
	f, err := other.Follow(t.Context(), copied, 1)
	if err != nil {
		t.Fatal(err)
	}
	turned(t, d.Path)
	a.Write(t, 2)
	a.Close(t)
	at, sum, err := lead.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	if s := lead.Status(); s.Resyncs != 1 || s.Err != "" {
		t.Errorf("status: %+v", s)
	}
	if err := f.Apply(t.Context(), at, sum); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{d.Path, copied.Path} {
		if is, err := checksum(path); err != nil || is != sum {
			t.Errorf("%s: %s was shipped, %s is there, %v", path, sum, is, err)
		}
	}
}

// A large one is read afterwards: it is set aside, as what the next epoch went on without.
func TestDiffersAfterTheEnd(t *testing.T) {
	l := newLab(t)
	r, d, lead, a := filled(t, l, checkFirst+1_000_000)
	turned(t, d.Path)
	a.Write(t, 2)
	a.Close(t)
	at, sum, err := lead.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	if s := lead.Status(); !strings.Contains(s.Err, "sums up to") {
		t.Errorf("status: %+v", s)
	}
	terms := []agent.Term{{Epoch: 2, Activated: true, From: at, FromSum: sum}, {Epoch: 1, Here: true, Activated: true, Final: at}}
	s, err := r.Salvage(t.Context(), d, terms)
	if err != nil || s.Epoch != 1 || s.Found != (events.Position{Epoch: 1, Seq: at.Seq}) {
		t.Fatalf("%+v, %v", s, err)
	}
	if is, err := checksum(s.Path); err != nil || is == sum {
		t.Errorf("set aside: %s, %v", is, err)
	}
}

// BenchmarkCheck is what the check before the end costs.
func BenchmarkCheck(b *testing.B) {
	for _, mib := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("%dMiB", mib), func(b *testing.B) {
			path := b.TempDir() + "/x.db"
			db, err := openDB(path)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				b.Fatal(err)
			}
			for _, s := range []string{"PRAGMA journal_mode=wal", "CREATE TABLE x (y BLOB)"} {
				if _, err := db.Exec(s); err != nil {
					b.Fatal(err)
				}
			}
			for n := range mib * 10 {
				if _, err := db.Exec("INSERT INTO x VALUES (randomblob(100000))"); err != nil {
					b.Fatal(err)
				}
				if n == mib*5 { // half of it is in the log
					if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
						b.Fatal(err)
					}
				}
			}
			for b.Loop() {
				if _, err := readLogged(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
