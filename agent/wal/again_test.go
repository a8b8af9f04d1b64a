package wal

import (
	"context"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// Who applies what was left and has begun its own epoch since finds more than that. It is known by the epoch that the data are of, which is how an
// agent tells an order that it has carried out before from a log that has gone on without it.
func TestAppliedBefore(t *testing.T) {
	inBubble(t, func(w *world) {
		source, _ := w.open(100)
		w.must(source.Begin(w.ctx, 1))
		w.append(source, 1, "one")
		target, _ := w.open(100)
		r := NewReplication(func(context.Context, string) (*Log, error) { return target, nil })
		end, err := source.End(w.ctx, 1)
		w.must(err)
		left := events.Position{Epoch: 1, Seq: end}
		apply := func() error {
			f, err := r.Follow(w.ctx, agent.Data{}, 1)
			w.must(err)
			return f.Apply(w.ctx, left, target.Life())
		}
		w.must(apply())
		w.must(apply()) // the order came again
		w.must(r.Promote(w.ctx, agent.Data{}, 2))
		if of, err := r.Local(agent.Data{}); apply() == nil || err != nil || of != 2 {
			t.Errorf("after it has begun epoch 2 it is of epoch %d, %v", of, err)
		}
		target.Wait()
		target.drop()
	})
}
