//go:build linux

package litestream

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent"
)

// stale is a JetStream whose next lists of objects are answered by a server that does not have the newest one yet.
type stale struct {
	jetstream.JetStream
	lists *atomic.Int32
}

func (b stale) ObjectStore(ctx context.Context, bucket string) (jetstream.ObjectStore, error) {
	s, err := b.JetStream.ObjectStore(ctx, bucket)
	return staleStore{s, b.lists}, err
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

// Any server that keeps the store may answer what there is, one that has just come back as well. A takeover goes on with everything that was
// acknowledged all the same: it asks once more.
func TestRecoverFromAStaleServer(t *testing.T) {
	l := newLab(t)
	_, _, at, _ := l.taken(t, 3, 0)
	var lists atomic.Int32
	lists.Store(2)
	l.options = func(o *Options) { o.JS = stale{l.js, &lists} }
	r, d := l.Machine(t, "three")
	got, err := r.Recover(limit(t), d, []agent.Term{{Epoch: 1, Activated: true}})
	if err != nil || got.Position != at {
		t.Errorf("recovered %+v, %v; want %s", got, err, at)
	}
	if lists.Load() >= 0 {
		t.Errorf("%d lists of a server that is behind are left", lists.Load())
	}
}
