//go:build linux

package litestream

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// stale is a JetStream whose next lists of objects, and whose next words of a stream's leader, are those of a server that does not have the
// newest one yet.
type stale struct {
	jetstream.JetStream
	lists, words *atomic.Int32
}

func (b stale) ObjectStore(ctx context.Context, bucket string) (jetstream.ObjectStore, error) {
	s, err := b.JetStream.ObjectStore(ctx, bucket)
	return staleStore{s, b.lists}, err
}

func (b stale) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := b.JetStream.Stream(ctx, name)
	return staleStream{s, b.words}, err
}

// staleStream is a stream whose leader was cut off from the others before the newest object was stored.
type staleStream struct {
	jetstream.Stream
	words *atomic.Int32
}

func (s staleStream) Info(ctx context.Context, o ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	info, err := s.Stream.Info(ctx, o...)
	if err != nil || len(info.State.Subjects) == 0 || s.words.Add(-1) < 0 {
		return info, err
	}
	objects := slices.Sorted(maps.Keys(info.State.Subjects))
	delete(info.State.Subjects, objects[len(objects)-1])
	info.State.LastSeq--
	return info, nil
}

type staleStore struct {
	jetstream.ObjectStore
	lists *atomic.Int32
}

func (s staleStore) Watch(ctx context.Context, o ...jetstream.WatchOpt) (jetstream.ObjectWatcher, error) {
	w, err := s.ObjectStore.Watch(ctx, o...)
	if err != nil || s.lists.Add(-1) < 0 {
		return w, err
	}
	var all []*jetstream.ObjectInfo
	for info := range w.Updates() {
		if info == nil {
			break
		}
		all = append(all, info)
	}
	old := oldList(make(chan *jetstream.ObjectInfo, len(all)))
	for _, info := range all[:len(all)-1] {
		old <- info
	}
	old <- nil
	return old, w.Stop()
}

type oldList chan *jetstream.ObjectInfo

func (l oldList) Updates() <-chan *jetstream.ObjectInfo { return l }
func (l oldList) Stop() error                           { close(l); return nil }

// Any server that keeps the store may answer, one that has just come back as well, and one may believe that it leads that the others do not
// hear any more. A takeover goes on with everything that was acknowledged all the same: it asks once more.
func TestRecoverFromAStaleServer(t *testing.T) {
	for _, c := range []struct {
		name         string
		lists, words int32
	}{
		{"the leader has it", 2, 0},
		{"who was the leader does not", 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			_, _, at, _ := l.taken(t, 3, 0)
			var lists, words atomic.Int32
			lists.Store(c.lists)
			words.Store(c.words)
			l.options = func(o *Options) { o.JS = stale{l.js, &lists, &words} }
			r, d := l.Machine(t, "three")
			got, err := r.Recover(limit(t), d, []agent.Term{{Epoch: 1, Activated: true}})
			if err != nil || got.Position != at || got.Unsure {
				t.Errorf("recovered %+v, %v; want %s", got, err, at)
			}
			if lists.Load() >= 0 || words.Load() >= 0 {
				t.Errorf("%d lists and %d words of a server that is behind are left", lists.Load(), words.Load())
			}
		})
	}
}

// Who led an epoch and whose agent was started anew knows of all that was shipped before, whoever answers first.
func TestLeadGoesOnFromAStaleServer(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.Peace, o.Interval = time.Hour, time.Hour }
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	var at events.Position
	for n := range 3 {
		a.Write(t, n)
		var err error
		if at, err = lead.Sync(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	var lists, words atomic.Int32
	lists.Store(1)
	words.Store(1)
	l.options = func(o *Options) { o.JS, o.Peace, o.Interval = stale{l.js, &lists, &words}, time.Hour, time.Hour }
	r, _ = l.Machine(t, "one")
	lead = l.lead(t, r, d, 1)
	if err := lead.locked(limit(t), lead.open); err != nil {
		t.Fatal(err)
	}
	if newest, _ := lead.client.files.newest(); newest.last != at.Seq {
		t.Errorf("it goes on from %d, and %s is stored", newest.last, at)
	}
}

// A store that has no room takes nothing that could show that who answers has everything. A takeover goes on with what it is told, and does
// not say up to when that is all; who leads waits for room.
func TestRecoverFromAFullStore(t *testing.T) {
	l := newLab(t)
	r, d, at, _ := l.taken(t, 3, 0)
	stream, err := l.js.Stream(t.Context(), "OBJ_"+Bucket(l.subjects, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	cfg.MaxBytes = int64(stream.CachedInfo().State.Bytes)
	if _, err := l.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	r3, d3 := l.Machine(t, "three")
	got, err := r3.Recover(limit(t), d3, []agent.Term{{Epoch: 1, Activated: true}})
	if err != nil || got.Position != at || got.Complete || !got.Unsure {
		t.Errorf("recovered %+v, %v; want %s, and that there may be more", got, err, at)
	}
	lead := l.lead(t, r, d, 1)
	if p, err := lead.Sync(limit(t)); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("it is at %s, %v", p, err)
	}
	cfg.MaxBytes = -1
	if _, err := l.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if p, err := lead.Sync(limit(t)); err != nil || !p.Reached(at) {
		t.Errorf("with room it is at %s, %v; want at least %s", p, err, at)
	}
}
