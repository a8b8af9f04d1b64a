package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
	natsserver "github.com/go-cluster/go-cluster/transport/embedded"
)

func TestMain(m *testing.M) {
	natsserver.RegisterBubble()
	os.Exit(m.Run())
}

// lines is a state that remembers every record, in order.
type lines struct{ all []string }

func (s *lines) Apply(_ uint64, record []byte) error {
	if string(record) == "poison" {
		return errors.New("it is poisoned")
	}
	s.all = append(s.all, string(record))
	return nil
}

func (s *lines) Snapshot(w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(s.all, "\n"))
	return err
}

func (s *lines) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.all = nil
	if len(b) > 0 {
		s.all = strings.Split(string(b), "\n")
	}
	return err
}

// world is a real JetStream in virtual time.
type world struct {
	*testing.T
	ctx context.Context
	srv *natsserver.Server
}

func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv, err := natsserver.Start(natsserver.Options{StoreDir: filepath.Join(dir, "nats")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			synctest.Wait() // nobody asks it anything any more: who does may wait for a lock that it holds asleep, and time stand still
			srv.Shutdown()
		})
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{T: t, ctx: ctx, srv: srv}
		s, _ := events.NewSubjects("prod")
		if err := transport.Bootstrap(ctx, w.js(), s, transport.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		f(w)
		cancel()
		synctest.Wait()
	})
}

func (w *world) js() jetstream.JetStream {
	w.Helper()
	js, err := jetstream.New(w.nc())
	w.must(err)
	return js
}

func (w *world) nc() *nats.Conn {
	w.Helper()
	nc, err := transport.Connect(transport.ConnectOptions{Name: "test", InProcess: w.srv})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(nc.Close)
	return nc
}

// open is one node's end, which nobody follows yet.
func (w *world) open(every int) (*Log, *lines) {
	w.Helper()
	s := &lines{}
	l, err := Open(w.ctx, Config{NC: w.nc(), Cluster: "prod", App: "ledger", State: s, SnapshotEvery: every})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(l.Wait)
	return l, s
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) append(l *Log, epoch uint64, records ...string) {
	w.Helper()
	for _, r := range records {
		if _, err := l.Append(w.ctx, epoch, []byte(r)); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) has(l *Log, s *lines, want ...string) {
	w.Helper()
	w.must(l.CatchUp(w.ctx))
	w.must(l.View(func() {
		if !slices.Equal(s.all, want) {
			w.Errorf("got %q, want %q", s.all, want)
		}
	}))
}

// What an active has stored is there for the next one, and whoever was active before stores nothing any more.
func TestOneWriter(t *testing.T) {
	inBubble(t, func(w *world) {
		a, as := w.open(-1)
		b, bs := w.open(-1)
		if _, err := a.Append(w.ctx, 1, []byte("early")); !errors.Is(err, ErrFenced) {
			t.Errorf("an epoch that has not begun: %v", err)
		}
		w.must(a.Begin(w.ctx, 1))
		w.append(a, 1, "one", "two")
		w.must(b.Begin(w.ctx, 2))
		w.has(b, bs, "one", "two")
		if _, err := a.Append(w.ctx, 1, []byte("late")); !errors.Is(err, ErrFenced) {
			t.Errorf("after epoch 2 has begun: %v", err)
		}
		if err := a.Begin(w.ctx, 1); !errors.Is(err, ErrFenced) {
			t.Errorf("epoch 1 begins after epoch 2: %v", err)
		}
		w.append(b, 2, "three")
		w.must(b.Begin(w.ctx, 2)) // again
		w.append(b, 2, "four")
		w.has(a, as, "one", "two", "three", "four")
		if epoch, seq := a.Applied(); epoch != 2 || seq != 6 {
			t.Errorf("applied %d of epoch %d", seq, epoch)
		}
	})
}

// A standby has what was stored a moment ago, without asking.
func TestFollow(t *testing.T) {
	inBubble(t, func(w *world) {
		a, _ := w.open(-1)
		b, bs := w.open(-1)
		go func() { _ = b.Follow(w.ctx) }()
		w.must(a.Begin(w.ctx, 1))
		w.append(a, 1, "one", "two")
		synctest.Wait()
		w.must(b.View(func() {
			if !slices.Equal(bs.all, []string{"one", "two"}) {
				t.Errorf("the standby has %q", bs.all)
			}
		}))
	})
}

// The log shrinks to a snapshot and what came after it. Whoever was away for longer than that begins with the snapshot, and a
// snapshot that comes late takes nothing away.
func TestSnapshot(t *testing.T) {
	inBubble(t, func(w *world) {
		js := w.js()
		a, _ := w.open(4)
		slow, slows := w.open(-1)
		old, _ := w.open(-1)
		w.must(a.Begin(w.ctx, 1))
		w.append(a, 1, "1", "2")
		w.must(old.CatchUp(w.ctx))
		w.must(slow.CatchUp(w.ctx))
		w.append(a, 1, "3", "4")
		a.Wait()
		w.append(a, 1, "5", "6")
		info, err := a.stream.Info(w.ctx)
		w.must(err)
		if info.State.FirstSeq != 5 || info.State.LastSeq != 7 {
			t.Errorf("the stream has %d to %d, want 5 to 7", info.State.FirstSeq, info.State.LastSeq)
		}
		w.has(slow, slows, "1", "2", "3", "4", "5", "6")
		w.must(old.Snapshot(w.ctx)) // ends with record 3, which is gone
		late, lates := w.open(-1)
		w.must(late.Begin(w.ctx, 2))
		w.append(late, 2, "7")
		w.has(late, lates, "1", "2", "3", "4", "5", "6", "7")
		w.must(late.Snapshot(w.ctx))
		snaps, err := js.Stream(w.ctx, "GC_prod_SNAP_ledger")
		w.must(err)
		if n := snaps.CachedInfo().State.Msgs; n != 2 { // a part, and the end
			t.Errorf("%d messages of snapshots are left, want 2", n)
		}
		follower, follows := w.open(-1)
		go func() { _ = follower.Follow(w.ctx) }()
		w.has(follower, follows, "1", "2", "3", "4", "5", "6", "7")
	})
}

// A follower whose records went with a snapshot while it was away begins anew from that, by itself.
func TestFollowerThatWasAway(t *testing.T) {
	inBubble(t, func(w *world) {
		a, _ := w.open(-1)
		b, bs := w.open(-1)
		w.must(a.Begin(w.ctx, 1))
		w.append(a, 1, "1", "2", "3")
		w.must(a.Snapshot(w.ctx))
		w.append(a, 1, "4")
		go func() { _ = b.Follow(w.ctx) }()
		synctest.Wait()
		w.must(b.View(func() {
			if !slices.Equal(bs.all, []string{"1", "2", "3", "4"}) {
				t.Errorf("the follower has %q", bs.all)
			}
		}))
	})
}

func TestBroken(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world, js jetstream.JetStream, a *Log) error
		want  string
	}{
		"a record that the state refuses": {func(w *world, _ jetstream.JetStream, a *Log) error {
			_, err := a.Append(w.ctx, 1, []byte("poison"))
			return err
		}, "apply record 3: it is poisoned"},
		"somebody else's message": {func(w *world, js jetstream.JetStream, a *Log) error {
			if _, err := js.Publish(w.ctx, "gc.prod.wal.ledger", []byte("hello")); err != nil {
				return err
			}
			return a.CatchUp(w.ctx)
		}, "message 3 is no record"},
		"the log is deleted and made again": {func(w *world, js jetstream.JetStream, a *Log) error {
			if err := js.DeleteStream(w.ctx, "GC_prod_WAL_ledger"); err != nil {
				return err
			}
			w.open(-1)
			_, err := a.Append(w.ctx, 1, []byte("two"))
			return err
		}, "the log is another one"},
		"a record that is too large": {func(w *world, _ jetstream.JetStream, a *Log) error {
			_, err := a.Append(w.ctx, 1, bytes.Repeat([]byte("x"), 2<<20))
			return err
		}, "maximum payload exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				js := w.js()
				a, _ := w.open(-1)
				w.must(a.Begin(w.ctx, 1))
				w.append(a, 1, "one")
				if err := c.spoil(w, js, a); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			})
		})
	}
}

// lossy is a way to JetStream that loses requests and answers as it is told.
type lossy struct {
	jetstream.JetStream
	loses func() (request, answer bool)
}

func (l lossy) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	request, answer := l.loses()
	if request {
		return nil, nats.ErrTimeout
	}
	ack, err := l.JetStream.PublishMsg(ctx, m, o...)
	if answer {
		return nil, nats.ErrTimeout
	}
	return ack, err
}

// Requests and answers are lost, writers give up in the middle, and epochs follow each other: what was acknowledged is there, once
// and in order; what was refused is not; what is unknown is there once at most.
func TestNothingIsLost(t *testing.T) {
	inBubble(t, func(w *world) {
		var ncs []*nats.Conn
		for range 3 {
			ncs = append(ncs, w.nc())
		}
		run := 0
		rapid.Check(t, func(t *rapid.T) {
			run++
			app := fmt.Sprintf("ledger-%d", run)
			fate := map[string]string{} // of each record
			var acked []string
			open := func(i int) (*Log, *lines) {
				s := &lines{}
				l, err := Open(w.ctx, Config{NC: ncs[i], Cluster: "prod", App: app, State: s, SnapshotEvery: -1})
				if err != nil {
					t.Fatal(err)
				}
				l.js = lossy{l.js, func() (bool, bool) {
					return rapid.IntRange(0, 5).Draw(t, "request") == 0, rapid.IntRange(0, 5).Draw(t, "answer") == 0
				}}
				return l, s
			}
			logs := make([]*Log, 3)
			epochs := make([]uint64, 3)
			for i := range logs {
				logs[i], _ = open(i)
			}
			epoch := uint64(0)
			for n := range rapid.IntRange(5, 25).Draw(t, "acts") {
				i := rapid.IntRange(0, 2).Draw(t, "node")
				ctx, cancel := context.WithTimeout(w.ctx, time.Duration(rapid.SampledFrom([]int{3, 3000}).Draw(t, "patience"))*time.Millisecond)
				switch rapid.SampledFrom([]string{"begin", "append", "append", "append", "snapshot", "restart"}).Draw(t, "act") {
				case "begin":
					epoch++
					if err := logs[i].Begin(ctx, epoch); err == nil {
						epochs[i] = epoch
					}
				case "append":
					r := fmt.Sprintf("r%d", n)
					switch _, err := logs[i].Append(ctx, epochs[i], []byte(r)); {
					case err == nil:
						fate[r] = "acknowledged"
						acked = append(acked, r)
					case errors.Is(err, ErrUnknown):
						fate[r] = "unknown"
					default:
						fate[r] = "refused"
					}
				case "snapshot":
					_ = logs[i].Snapshot(ctx) // which may fail anywhere
				case "restart":
					logs[i], _ = open(i)
					epochs[i] = 0
				}
				cancel()
			}
			l, s := open(0)
			if err := l.Begin(w.ctx, epoch+1); err != nil {
				t.Fatal(err)
			}
			var got []string
			seen := map[string]bool{}
			for _, r := range s.all {
				if seen[r] {
					t.Fatalf("%s is there twice: %q", r, s.all)
				}
				seen[r] = true
				switch fate[r] {
				case "refused":
					t.Fatalf("%s was refused and is there", r)
				case "acknowledged":
					got = append(got, r)
				}
			}
			if !slices.Equal(got, acked) {
				t.Fatalf("acknowledged were %q, there are %q", acked, got)
			}
		})
	})
}
