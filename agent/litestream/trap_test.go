//go:build linux

package litestream

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/superfly/ltx"
	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
)

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (l *lab) lead(t *testing.T, r agent.Replication, d agent.Data, epoch uint64) *leading {
	t.Helper()
	got, err := r.Lead(t.Context(), d, epoch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = got.Close() })
	return got.(*leading)
}

func (l *lab) follow(t *testing.T, r agent.Replication, d agent.Data, epoch uint64) *following {
	t.Helper()
	got, err := r.Follow(t.Context(), d, epoch)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = got.Close() })
	return got.(*following)
}

// epoch leads an epoch to its end, in which the numbers from first to end, and not that, are written, each shipped by itself.
func (l *lab) epoch(t *testing.T, r agent.Replication, d agent.Data, epoch uint64, first, end int) {
	t.Helper()
	a := l.Open(t, d)
	lead := l.lead(t, r, d, epoch)
	for n := first; n < end; n++ {
		a.Write(t, n)
		if _, err := lead.Sync(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
	a.Close(t)
	if _, _, err := lead.Flush(limit(t)); err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) move(t *testing.T, from agent.Leading, to agent.Following) {
	t.Helper()
	p, sum, err := from.Flush(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Apply(limit(t), p, sum); err != nil {
		t.Fatal(err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNoDatabaseIsRefused(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	if err := r.Check(limit(t), d); err != nil {
		t.Errorf("what is not there yet: %v", err)
	}
	for _, c := range []struct {
		name    string
		content func(path string) error
		want    string
	}{
		{"text", func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("not a database\n"), 100), 0o600) }, "not a SQLite database"},
		{"short", func(p string) error { return os.WriteFile(p, []byte("x"), 0o600) }, "not a SQLite database"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "not a SQLite database"},
		{"link", func(p string) error { return os.Symlink("/etc/passwd", p) }, "not a SQLite database"},
		{"rollback journal", func(p string) error {
			db, err := sql.Open("sqlite", p)
			if err != nil {
				return err
			}
			_, err = db.Exec("CREATE TABLE a (b)")
			return errors.Join(err, db.Close())
		}, "not in WAL mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, d := l.Machine(t, strings.ReplaceAll(c.name, " ", "-"))
			if err := c.content(d.Path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(d.Path)
			lead := l.lead(t, r, d, 1)
			err := r.Check(limit(t), d)
			_, err2 := lead.Sync(limit(t))
			_, _, err3 := lead.Flush(limit(t))
			for what, err := range map[string]error{"check": err, "sync": err2, "flush": err3} {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), d.Path) {
					t.Errorf("%s: %v; want the path, and %s", what, err, c.want)
				}
			}
			if after, _ := os.ReadFile(d.Path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

// A database that the app turns to WAL later is shipped from then on.
func TestWALModeMayComeLater(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	db, err := sql.Open("sqlite", d.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE numbers (id INTEGER PRIMARY KEY, n INTEGER, filler BLOB); INSERT INTO numbers (n) VALUES (0)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	lead := l.lead(t, r, d, 1)
	if _, err := lead.Sync(limit(t)); !errors.Is(err, errNotWAL) {
		t.Fatalf("sync: %v", err)
	}
	a := l.Open(t, d)
	a.Write(t, 1)
	a.Close(t)
	r2, d2 := l.Machine(t, "two")
	l.move(t, lead, l.follow(t, r2, d2, 1))
	if got := l.Open(t, d2).Numbers(t); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

func TestFullStore(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.MaxBytes = 3 << 20 }
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 0)
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	}
	a.(*writer).exec(t, "INSERT INTO numbers (n, filler) VALUES (1, randomblob(4000000))")
	_, err := lead.Sync(limit(t))
	if err == nil || !strings.Contains(err.Error(), "maximum bytes exceeded") || !strings.Contains(err.Error(), "GC_test_DATA_ledger") {
		t.Fatalf("sync into a full store: %v", err)
	}
	if err := r.Check(limit(t), d); err != nil && !strings.Contains(err.Error(), "is full") {
		t.Error(err)
	}
	a.Write(t, 2) // the app does not notice
	stream, err := l.js.Stream(limit(t), "OBJ_GC_test_DATA_ledger")
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = 64 << 20
	if _, err := l.js.UpdateStream(limit(t), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Fatalf("sync once there is room: %v", err)
	}
	a.Close(t)
	r2, d2 := l.Machine(t, "two")
	l.move(t, lead, l.follow(t, r2, d2, 1))
	if got := l.Open(t, d2).Numbers(t); len(got) != 3 {
		t.Errorf("there are %v, want 3", got)
	}
}

func TestFullStoreIsSeenBefore(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.MaxBytes = 512 << 10 }
	r, d := l.Machine(t, "one")
	if _, err := r.(*Replication).openStore(limit(t), "ledger"); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(limit(t), d); err == nil || !strings.Contains(err.Error(), "object store GC_test_DATA_ledger is full") {
		t.Errorf("check: %v", err)
	}
}

func TestUnreachableStore(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 0)
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	}
	l.js.Conn().Close()
	a.Write(t, 1)
	if err := r.Check(limit(t), d); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("check: %v", err)
	}
	if _, err := lead.Sync(limit(t)); err == nil {
		t.Error("shipped without a connection")
	}
}

// A copy on a disk that is full says so at once, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.(*writer).exec(t, "INSERT INTO numbers (n, filler) VALUES (0, randomblob(3000000))")
	p, err := lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	r2, d2 := l.Machine(t, "two")
	small := filepath.Dir(d2.Path)
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	if err := r2.Check(limit(t), d2); err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("check: %v", err)
	}
	f := l.follow(t, r2, d2, 1)
	if _, err := f.CatchUp(limit(t), p); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("catch up: %v", err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	a.Close(t)
	end, sum, err := lead.Flush(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	for f.Apply(limit(t), end, sum) != nil { // it says that it is full until it has tried again
		if t.Context().Err() != nil {
			t.Fatal("the copy does not go on")
		}
		if f = l.follow(t, r2, d2, 1); f.Status().Err == "" {
			continue
		}
	}
}

// A copy that was away for so long that the steps it needs are gone begins anew, by itself, and says so.
func TestResyncAfterSteps(t *testing.T) {
	l := newLab(t)
	c := l.pair(t, 1)
	if err := c.copy.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 6; n++ {
		c.app.Write(t, n)
		if _, err := c.lead.Sync(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
	err := c.lead.locked(limit(t), func(ctx context.Context) error {
		if _, err := c.lead.db.Snapshot(ctx); err != nil {
			return err
		}
		for _, x := range c.lead.client.files.level(0, 0) {
			if err := c.lead.client.DeleteLTXFiles(ctx, []*ltx.FileInfo{info(x.span, x.size, x.stored)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.copy = l.follow(t, c.r2, c.d2, 1)
	c.app.Write(t, 6)
	c.app.Close(t)
	l.move(t, c.lead, c.copy)
	if n := c.copy.Status().Resyncs; n != 1 {
		t.Errorf("begun anew %d times, want 1", n)
	}
	if got := l.Open(t, c.d2).Numbers(t); len(got) != 7 {
		t.Errorf("there are %v", got)
	}
}

// A watch that says nothing more does not stop a copy: who waits for a position asks the store.
func TestSilentWatch(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	r2, d2 := l.Machine(t, "two")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 0)
	f := l.follow(t, r2, d2, 1)
	if p, err := lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	} else if _, err := f.CatchUp(limit(t), p); err != nil {
		t.Fatal(err)
	}
	consumers := l.consumers(t)
	if len(consumers) == 0 {
		t.Fatal("the copy watches nothing")
	}
	stream, err := l.js.Stream(limit(t), "OBJ_GC_test_DATA_ledger")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range consumers {
		if err := stream.DeleteConsumer(limit(t), name); err != nil {
			t.Fatal(err)
		}
	}
	a.Write(t, 1)
	a.Close(t)
	p, sum, err := lead.Flush(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), watchCheck-time.Second) // before anybody notices that the watch is dead
	defer cancel()
	if err := f.Apply(soon, p, sum); err != nil {
		t.Fatal(err)
	}
	if got := l.Open(t, d2).Numbers(t); len(got) != 2 {
		t.Errorf("there are %v", got)
	}
}

func (l *lab) consumers(t *testing.T) (names []string) {
	t.Helper()
	stream, err := l.js.Stream(limit(t), "OBJ_GC_test_DATA_ledger")
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(limit(t)).Name() {
		names = append(names, name)
	}
	return names
}

// What a leader of an earlier time kept of Litestream's is not shipped as if it were of a new epoch.
func TestPromotedAgain(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	l.epoch(t, r, d, 1, 0, 5)
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 3)
	a.Write(t, 5)
	p, err := lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.Seq > 2 {
		t.Errorf("epoch 3 begins at %s", p)
	}
	a.Close(t)
	r2, d2 := l.Machine(t, "two")
	l.move(t, lead, l.follow(t, r2, d2, 3))
	if got := l.Open(t, d2).Numbers(t); len(got) != 6 {
		t.Errorf("there are %v", got)
	}
}

// Nothing of a log is left beside a database that was handed over: another app that finds it would read it as its own.
func TestNoLogIsLeft(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	r2, d2 := l.Machine(t, "two")
	for _, tail := range []string{"-wal", "-shm"} {
		if err := os.WriteFile(d2.Path+tail, bytes.Repeat([]byte{7}, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 0)
	a.Close(t)
	l.move(t, lead, l.follow(t, r2, d2, 1))
	for _, path := range []string{d.Path, d2.Path} {
		for _, tail := range []string{"-wal", "-shm"} {
			if _, err := os.Lstat(path + tail); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", path+tail, err)
			}
		}
	}
	if got := l.Open(t, d2).Numbers(t); len(got) != 1 {
		t.Errorf("there are %v", got)
	}
}

// What an idle app costs: nothing is stored and nothing listed.
func TestIdleCostsNothing(t *testing.T) {
	l := newLab(t)
	l.pair(t, 1)
	before, sent := l.last(t), l.js.Conn().Stats().OutMsgs
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	<-timer.C
	if after := l.last(t); after != before {
		t.Errorf("%d messages were stored in 3 s without a write", after-before)
	}
	if n := l.js.Conn().Stats().OutMsgs - sent; n > 20 {
		t.Errorf("%d messages were sent in 3 s without a write", n)
	}
}

func (l *lab) last(t *testing.T) uint64 {
	t.Helper()
	stream, err := l.js.Stream(limit(t), "OBJ_GC_test_DATA_ledger")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

// Objects that are deleted leave nothing behind, not even a name.
func TestDeletedLeavesNothing(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	for n := range 3 {
		a.Write(t, n)
		if _, err := lead.Sync(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.locked(limit(t), func(ctx context.Context) error { return lead.client.DeleteAll(ctx) }); err != nil {
		t.Fatal(err)
	}
	stream, err := l.js.Stream(limit(t), "OBJ_GC_test_DATA_ledger")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// The two ends are the same file after whatever SQLite does to pages: growth, deletion, vacuum, big rows, other page sizes.
func TestEndsAreTheSameFile(t *testing.T) {
	for _, page := range []int{512, 4096, 65536} {
		t.Run(fmt.Sprint(page), func(t *testing.T) {
			l := newLab(t)
			r, d := l.Machine(t, "one")
			r2, d2 := l.Machine(t, "two")
			db, err := sql.Open("sqlite", d.Path)
			if err != nil {
				t.Fatal(err)
			}
			db.SetMaxOpenConns(1)
			exec := func(q string) {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
			exec(fmt.Sprintf("PRAGMA busy_timeout=5000; PRAGMA page_size=%d; PRAGMA journal_mode=wal; CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB); CREATE INDEX i ON t (b)", page))
			lead := l.lead(t, r, d, 1)
			f := l.follow(t, r2, d2, 1)
			for i, q := range []string{
				"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 2000) INSERT INTO t (b) SELECT randomblob(200) FROM c",
				"DELETE FROM t WHERE a % 3 = 0",
				"INSERT INTO t (b) VALUES (randomblob(900000))",
				"DELETE FROM t WHERE a < 1000",
				"VACUUM",
				"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 3000) INSERT INTO t (b) SELECT randomblob(x % 700) FROM c",
				"UPDATE t SET b = randomblob(50) WHERE a % 7 = 0",
				"DROP INDEX i",
				"DELETE FROM t",
				"INSERT INTO t (b) VALUES ('end')",
			} {
				exec(q)
				if i%2 == 0 {
					p, err := lead.Sync(limit(t))
					if err != nil {
						t.Fatalf("after %s: %v", q, err)
					}
					if i%4 == 0 {
						if _, err := f.CatchUp(limit(t), p); err != nil {
							t.Fatal(err)
						}
					}
				}
				if i == 5 {
					if err := lead.locked(limit(t), lead.compact); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			p, sum, err := lead.Flush(limit(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Apply(limit(t), p, sum); err != nil {
				t.Fatal(err)
			}
			stream, err := l.js.Stream(t.Context(), "OBJ_"+Bucket(l.subjects, "ledger"))
			if err != nil {
				t.Fatal(err)
			}
			if stored := stream.CachedInfo().State.LastSeq; stored > 200 { // some 10 files, of some chunks each
				t.Errorf("%d messages were stored: one for each page", stored)
			}
			fresh, d3 := l.Machine(t, "three")
			if err := l.follow(t, fresh, d3, 1).Apply(limit(t), p, sum); err != nil {
				t.Fatalf("from the beginning: %v", err)
			}
		})
	}
}

func TestNext(t *testing.T) {
	s := func(level int, first, last uint64) file { return file{span: span{level, first, last}} }
	x := newIndex([]file{s(0, 1, 1), s(0, 2, 2), s(0, 3, 3), s(0, 8, 8), s(1, 1, 2), s(1, 3, 6), s(9, 1, 7)})
	for _, c := range []struct {
		at   uint64
		want span
	}{
		{0, span{9, 1, 7}}, {1, span{0, 2, 2}}, {2, span{1, 3, 6}}, {3, span{1, 3, 6}}, {5, span{1, 3, 6}}, {6, span{9, 1, 7}}, {7, span{0, 8, 8}},
	} {
		if got, ok := x.next(c.at); !ok || got.span != c.want {
			t.Errorf("after %d: %v, want %v", c.at, got.span, c.want)
		}
	}
	if got, ok := x.next(8); ok {
		t.Errorf("after the newest: %v", got.span)
	}
}

func TestNames(t *testing.T) {
	h := history{"INC", 12}
	name := h.object(9, 1, 0xabc)
	if want := "INC/e12/9/0000000000000001-0000000000000abc.ltx"; name != want {
		t.Fatalf("%s, want %s", name, want)
	}
	if f, ok := h.parse(&jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: name}}); !ok || f.span != (span{9, 1, 0xabc}) {
		t.Errorf("%v %t", f.span, ok)
	}
	if got, ok := historyOf(name); !ok || got != h {
		t.Errorf("%v %t", got, ok)
	}
	for _, other := range []string{"INC/e1/9/0000000000000001-0000000000000abc.ltx", "INX/e12/9/0000000000000001-0000000000000abc.ltx", "INC/e12/9/1-2.ltx", "INC/e12/9", ""} {
		if f, ok := h.parse(&jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: other}}); ok {
			t.Errorf("%s is %v of %s", other, f.span, h)
		}
	}
}

// A copy that is not on the disk what was written to it is found out before anybody has to wait for it, and begins anew.
func TestDamagedCopy(t *testing.T) {
	l := newLab(t)
	c := l.pair(t, 5)
	file, err := os.OpenFile(c.d2.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{1, 2, 3}, 5000); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.copy.CatchUp(limit(t), c.at); err != nil {
		t.Fatal(err)
	}
	if n := c.copy.Status().Resyncs; n != 1 {
		t.Errorf("begun anew %d times, want 1", n)
	}
	c.app.Close(t)
	l.move(t, c.lead, c.copy)
	if got := l.Open(t, c.d2).Numbers(t); len(got) != 5 {
		t.Errorf("there are %v", got)
	}
}

// What a leader ships sums up, step by step, to what its file does in the end; a leader that begins in the middle reads the file.
func TestShippedSumsUp(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	for n := range 5 {
		a.Write(t, n)
		if _, err := lead.Sync(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	a.Write(t, 5)
	lead = l.lead(t, r, d, 1) // by the next agent
	a.Write(t, 6)
	a.Close(t)
	p, sum, err := lead.Flush(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	if lead.tidied != nil {
		t.Error("it says that it knows what was shipped before it")
	}
	r2, d2 := l.Machine(t, "two")
	if err := l.follow(t, r2, d2, 1).Apply(limit(t), p, sum); err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	a = l.Open(t, d2)
	lead = l.lead(t, r2, d2, 2)
	a.Write(t, 7)
	a.Close(t)
	if p, sum, err = lead.Flush(limit(t)); err != nil {
		t.Fatal(err)
	}
	if lead.tidied == nil {
		t.Error("it does not know what it has shipped")
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := readMark(d2)
	if err != nil || m.Checksum != sum || !m.Ended || m.Seq != p.Seq {
		t.Errorf("shipped to %s (%s), and what is left is %+v, %v", p, sum, m, err)
	}
}
