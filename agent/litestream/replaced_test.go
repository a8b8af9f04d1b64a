//go:build linux

package litestream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// A program puts another database in the place of its own while it runs, as one does that migrates into a new file and renames it. That one is shipped
// from then on, and a takeover goes on with it, and a copy too.
func TestDatabaseThatIsReplaced(t *testing.T) {
	for _, shipping := range []bool{false, true} {
		t.Run(fmt.Sprintf("while it is shipped %t", shipping), func(t *testing.T) {
			l := newLab(t)
			var put atomic.Pointer[func()]
			l.options = func(o *Options) { o.JS, o.Peace, o.Interval = putting{l.js, &put}, time.Hour, time.Hour }
			c := l.pair(t, 50)
			d := c.lead.d
			other := d
			other.Path = d.Path + ".new"
			b := l.Open(t, other)
			for n := range 20 {
				b.Write(t, 1000+n)
			}
			b.Close(t)
			replace := func() {
				c.app.Close(t)
				takesPlace(t, other.Path, d.Path)
				b = l.Open(t, d)
				b.Write(t, 2000)
			}
			if shipping {
				c.app.Write(t, 50)
				once := sync.OnceFunc(replace)
				put.Store(&once)
				if p, err := c.lead.Sync(limit(t)); err == nil || !strings.Contains(err.Error(), "was replaced") {
					t.Errorf("it is at %s, %v", p, err)
				}
			} else {
				replace()
			}
			if _, err := c.lead.Sync(limit(t)); err != nil {
				t.Fatal(err)
			}
			b.Write(t, 2001)
			at, err := c.lead.Sync(limit(t))
			if err != nil {
				t.Fatal(err)
			}
			want := b.Numbers(t)
			has := func(d agent.Data) {
				t.Helper()
				a := l.Open(t, d)
				defer a.Close(t)
				if have := a.Numbers(t); !slices.Equal(have, want) {
					t.Errorf("it has %v, and what was written is %v", have, want)
				}
			}
			r3, d3 := l.Machine(t, "three")
			if got, err := r3.Recover(limit(t), d3, []agent.Term{{Epoch: 1, Activated: true}}); err != nil || got.Position != at {
				t.Fatalf("recovered %+v, %v; want %s", got, err, at)
			}
			has(d3)
			b.Close(t)
			end, sum, err := c.lead.Flush(limit(t))
			if err != nil {
				t.Fatal(err)
			}
			if !shipping { // one that has what was taken back is found out
				if err := c.copy.Apply(limit(t), end, sum); err != nil {
					t.Fatal(err)
				}
				has(c.d2)
			}
			if err := c.lead.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was shipped in the moment of that is of both. It is taken back, also where that fails at first, and by the next agent where this one has ended
// before.
func TestWhatIsOfTwoDatabasesIsTakenBack(t *testing.T) {
	for _, anew := range []bool{false, true} {
		t.Run(fmt.Sprintf("by another agent %t", anew), func(t *testing.T) {
			l := newLab(t)
			var fails atomic.Int32
			l.options = func(o *Options) { o.JS, o.Peace, o.Interval = keeping{l.js, &fails}, time.Hour, time.Hour }
			c := l.pair(t, 50)
			d, lead := c.lead.d, c.lead
			other := d
			other.Path = d.Path + ".new"
			b := l.Open(t, other)
			for n := range 20 {
				b.Write(t, 1000+n)
			}
			b.Close(t)
			c.app.Write(t, 50)
			if err := lead.locked(limit(t), lead.open); err != nil {
				t.Fatal(err)
			}
			c.app.Close(t)
			takesPlace(t, other.Path, d.Path)
			b = l.Open(t, d)
			defer b.Close(t)
			b.Write(t, 2000)
			fails.Store(1)
			if err := lead.locked(limit(t), lead.ship); err == nil || fails.Load() > 0 {
				t.Fatalf("it is shipped: %v", err)
			}
			if anew {
				if err := lead.Close(); err != nil {
					t.Fatal(err)
				}
				r, _ := l.Machine(t, "one")
				lead = l.lead(t, r, d, 1)
			}
			b.Write(t, 2001)
			at, err := lead.Sync(limit(t))
			if err != nil {
				t.Fatal(err)
			}
			l.recovers(t, at, b.Numbers(t))
		})
	}
}

// A database that is not in its place for a moment, while it is shipped, is shipped on without a gap.
func TestDatabaseThatIsAwayForAMoment(t *testing.T) {
	l := newLab(t)
	var put atomic.Pointer[func()]
	l.options = func(o *Options) { o.JS, o.Peace, o.Interval = putting{l.js, &put}, time.Hour, time.Hour }
	c := l.pair(t, 50)
	path := c.lead.d.Path
	c.app.Write(t, 50)
	goes := sync.OnceFunc(func() {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Error(err)
		}
	})
	put.Store(&goes)
	if p, err := c.lead.Sync(limit(t)); err == nil {
		t.Errorf("it is at %s", p)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	c.app.Write(t, 51)
	at, err := c.lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	l.recovers(t, at, c.app.Numbers(t))
}

// A database that was there and is not any more is never taken for one that nothing was written to: it is said that it is gone, by the next agent too and of one
// that came with the epoch, until it is back.
func TestDatabaseThatIsGone(t *testing.T) {
	gone := func(t *testing.T, lead agent.Leading) {
		t.Helper()
		if p, err := lead.Sync(limit(t)); !errors.Is(err, errVanished) {
			t.Errorf("it is at %s, %v", p, err)
		}
	}
	ends := func(t *testing.T, lead agent.Leading, back func()) {
		t.Helper()
		if p, _, err := lead.Flush(limit(t)); !errors.Is(err, errVanished) {
			t.Fatalf("it ended at %s, %v", p, err)
		}
		back()
		if p, _, err := lead.Flush(limit(t)); err != nil || p.Seq == 0 {
			t.Fatalf("it ended at %s, %v", p, err)
		}
		if err := lead.Close(); err != nil {
			t.Error(err)
		}
	}
	l := newLab(t)
	c := l.pair(t, 20)
	d, want := c.lead.d, c.app.Numbers(t)
	c.app.Close(t)
	goes(t, d.Path, d.Path+".away")
	gone(t, c.lead)
	if err := c.lead.Close(); err != nil {
		t.Fatal(err)
	}
	r, _ := l.Machine(t, "one")
	lead := l.lead(t, r, d, 1)
	gone(t, lead)
	ends(t, lead, func() { goes(t, d.Path+".away", d.Path) })

	end, sum, err := l.lead(t, r, d, 1).Flush(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.copy.Apply(limit(t), end, sum); err != nil {
		t.Fatal(err)
	}
	if err := c.copy.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.r2.Promote(limit(t), c.d2, 2); err != nil {
		t.Fatal(err)
	}
	goes(t, c.d2.Path, c.d2.Path+".away")
	next := l.lead(t, c.r2, c.d2, 2)
	gone(t, next)
	if err := os.WriteFile(c.d2.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone(t, next)
	ends(t, next, func() { goes(t, c.d2.Path+".away", c.d2.Path) })
	a := l.Open(t, c.d2)
	defer a.Close(t)
	if have := a.Numbers(t); !slices.Equal(have, want) {
		t.Errorf("it has %v, and what was written is %v", have, want)
	}
}

// goes renames a database and its log.
func goes(t *testing.T, from, to string) {
	t.Helper()
	for _, tail := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(from+tail, to+tail); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// recovers has another machine take over at a position, with what was written.
func (l *lab) recovers(t *testing.T, at events.Position, want []int) {
	t.Helper()
	r, d := l.Machine(t, "three")
	if got, err := r.Recover(limit(t), d, []agent.Term{{Epoch: 1, Activated: true}}); err != nil || got.Position != at {
		t.Fatalf("recovered %+v, %v; want %s", got, err, at)
	}
	a := l.Open(t, d)
	defer a.Close(t)
	if have := a.Numbers(t); !slices.Equal(have, want) {
		t.Errorf("it has %v, and what was written is %v", have, want)
	}
}

// keeping is a JetStream that does not delete anything some times.
type keeping struct {
	jetstream.JetStream
	times *atomic.Int32
}

func (k keeping) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := k.JetStream.Stream(ctx, name)
	return keepingStream{s, k.times}, err
}

type keepingStream struct {
	jetstream.Stream
	times *atomic.Int32
}

func (s keepingStream) Purge(ctx context.Context, o ...jetstream.StreamPurgeOpt) error {
	if s.times.Add(-1) >= 0 {
		return errors.New("nothing is deleted")
	}
	return s.Stream.Purge(ctx, o...)
}

// putting is a JetStream that calls a function before an object is stored.
type putting struct {
	jetstream.JetStream
	before *atomic.Pointer[func()]
}

func (p putting) ObjectStore(ctx context.Context, bucket string) (jetstream.ObjectStore, error) {
	s, err := p.JetStream.ObjectStore(ctx, bucket)
	return puttingStore{s, p.before}, err
}

func (p putting) CreateObjectStore(ctx context.Context, c jetstream.ObjectStoreConfig) (jetstream.ObjectStore, error) {
	s, err := p.JetStream.CreateObjectStore(ctx, c)
	return puttingStore{s, p.before}, err
}

type puttingStore struct {
	jetstream.ObjectStore
	before *atomic.Pointer[func()]
}

func (s puttingStore) Put(ctx context.Context, o jetstream.ObjectMeta, r io.Reader) (*jetstream.ObjectInfo, error) {
	if f := s.before.Load(); f != nil {
		(*f)()
	}
	return s.ObjectStore.Put(ctx, o, r)
}

// takesPlace puts a database in the place of another one, of whose log nothing is left.
func takesPlace(t *testing.T, of, path string) {
	t.Helper()
	for _, tail := range []string{"-wal", "-shm"} {
		_ = os.Remove(path + tail)
	}
	if err := os.Rename(of, path); err != nil {
		t.Error(err)
	}
}
