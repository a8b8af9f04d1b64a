package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// Replica keeps one Cluster up to date with the log. It is safe for concurrent use.
type Replica struct {
	log  *events.Log
	lost func(error)

	mu      sync.Mutex
	view    *Cluster
	changed chan struct{} // closed at the next change
	watched bool          // somebody has got changed
	waiting []waiting
	also    []*reader
	failed  error // for good: the fold can no longer be trusted
}

// waiting is somebody who waits for the fold to reach a sequence, and is not woken before.
type waiting struct {
	seq     uint64
	reached chan struct{}
}

// NewReplica returns a replica that knows nothing yet; Run makes it follow. lost is told of each lost subscription.
func NewReplica(log *events.Log, lost func(error)) *Replica {
	return &Replica{log: log, lost: lost, view: NewCluster(log.Cluster()), changed: make(chan struct{})}
}

// Run follows the log until ctx ends. Lost connections are waited out; it returns another error only when the fold is void: the
// stream was re-created, or ends before what was folded.
func (r *Replica) Run(ctx context.Context) error {
	for {
		if err := r.verify(ctx); err != nil {
			r.fail(err)
			return err
		}
		err := r.log.Follow(ctx, r.Seq()+1, nil, r.apply)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// The subscription is gone, with its server or its consumer. What was folded stays; take it up again from there.
		r.lost(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// verify compares the fold with the stream it came from.
func (r *Replica) verify(ctx context.Context) error {
	last, err := r.log.LastSeq(ctx)
	switch {
	case errors.Is(err, events.ErrIncarnation):
		return err
	case err != nil:
		return nil // cannot be asked now; Follow will tell
	case last < r.Seq():
		return fmt.Errorf("the log ends at %d, but %d events were folded: it was restored from an older copy", last, r.Seq())
	}
	return nil
}

func (r *Replica) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
	r.wake()
}

func (r *Replica) apply(m events.Message) error {
	r.mu.Lock()
	r.view.Apply(m)
	r.wake()
	also := r.also
	r.mu.Unlock()
	for _, reader := range also {
		if m.Event.Seq > reader.seq {
			reader.f(m)
		}
	}
	return nil
}

// reader is somebody who reads along with the fold.
type reader struct {
	seq uint64 // what he has
	f   func(events.Message)
}

// Also has f called with each message behind seq once it is folded, in order and without a gap, for as long as Run runs or until end is
// called: a subscription of its own would have everything sent and decoded a second time. It returns false when the fold has gone on
// from seq: what lies between is to be read first. f holds up the fold.
func (r *Replica) Also(seq uint64, f func(events.Message)) (end func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view.Seq > seq {
		return nil, false
	}
	own := &reader{seq, f}
	r.also = append(slices.Clip(r.also), own)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.also = slices.DeleteFunc(slices.Clone(r.also), func(other *reader) bool { return other == own })
	}, true
}

// wake tells those who wait; the caller holds mu.
func (r *Replica) wake() {
	if r.watched {
		close(r.changed)
		r.changed, r.watched = make(chan struct{}), false
	}
	r.waiting = slices.DeleteFunc(r.waiting, func(w waiting) bool {
		due := r.failed != nil || r.view.Seq >= w.seq
		if due {
			close(w.reached)
		}
		return due
	})
}

// Seq returns the sequence of the newest event folded.
func (r *Replica) Seq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.Seq
}

// View calls f with the state, which f must neither change nor keep. Nothing is folded meanwhile, so f is to be short; nor may it ask the
// replica for anything, which would wait for f itself.
func (r *Replica) View(f func(*Cluster)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.view)
}

// Changed returns a channel that is closed when the fold next changes. Take it before looking at the state.
func (r *Replica) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched = true
	return r.changed
}

// Await returns once the fold has reached seq.
func (r *Replica) Await(ctx context.Context, seq uint64) error {
	r.mu.Lock()
	if r.failed != nil || r.view.Seq >= seq {
		defer r.mu.Unlock()
		return r.failed
	}
	w := waiting{seq: seq, reached: make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting = slices.DeleteFunc(r.waiting, func(other waiting) bool { return other == w })
		return fmt.Errorf("the fold is at %d and has not reached %d: %w", r.view.Seq, seq, ctx.Err())
	case <-w.reached:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.failed
	}
}

// CatchUp returns once the fold has everything that was in the log when it was called, and at least atLeast.
func (r *Replica) CatchUp(ctx context.Context, atLeast uint64) error {
	last, err := r.log.LastSeq(ctx)
	if err != nil {
		return err
	}
	return r.Await(ctx, max(last, atLeast))
}
