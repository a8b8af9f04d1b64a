package projections

import (
	"context"
	"errors"
	"fmt"
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
	failed  error         // for good: the fold can no longer be trusted
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
	defer r.mu.Unlock()
	r.view.Apply(m)
	r.wake()
	return nil
}

// wake tells everybody who waits; the caller holds mu.
func (r *Replica) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Seq returns the sequence of the newest event folded.
func (r *Replica) Seq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.Seq
}

// View calls f with the state, which f must neither change nor keep. Nothing is folded meanwhile, so f is to be short.
func (r *Replica) View(f func(*Cluster)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.view)
}

// Changed returns a channel that is closed when the fold next changes. Take it before looking at the state.
func (r *Replica) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Await returns once the fold has reached seq.
func (r *Replica) Await(ctx context.Context, seq uint64) error {
	for {
		r.mu.Lock()
		at, changed, failed := r.view.Seq, r.changed, r.failed
		r.mu.Unlock()
		if failed != nil {
			return failed
		}
		if at >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the fold is at %d and has not reached %d: %w", at, seq, ctx.Err())
		case <-changed:
		}
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
