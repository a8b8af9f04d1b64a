package wal

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// delayed is a connection on which the first record is on its way for so long that the second try is refused before it arrives.
type delayed struct {
	jetstream.JetStream
	late *nats.Msg
	on   []jetstream.PublishOpt // its condition
	lets bool                   // what comes after it passes
}

func (d *delayed) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	switch {
	case d.late == nil:
		d.late, d.on = m, opts
		return nil, nats.ErrTimeout
	case d.lets:
		return d.JetStream.PublishMsg(ctx, m, opts...)
	}
	return nil, &jetstream.APIError{Code: 500, ErrorCode: 10047, Description: "insufficient storage resources available"}
}

// A refusal is about one try. Of a record that was sent before nobody knows whether it arrives.
func TestRefusedAfterAnUnknownTry(t *testing.T) {
	inBubble(t, func(w *world) {
		l, s := w.open(-1)
		w.must(l.Begin(w.ctx, 1))
		js := l.js
		d := &delayed{JetStream: js}
		l.js = d
		_, err := l.Append(w.ctx, 1, []byte("one"))
		_, late := js.PublishMsg(w.ctx, d.late, d.on...)
		w.must(late)
		w.must(l.CatchUp(w.ctx))
		if slices.Contains(s.all, "one") && !errors.Is(err, ErrUnknown) {
			t.Errorf("the record is stored, and its append has said that nothing was: %v", err)
		}
	})
}

// Where an epoch ends it ends, however late something arrives that was sent before.
func TestEndIsTheEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		l, s := w.open(-1)
		w.must(l.Begin(w.ctx, 1))
		w.append(l, 1, "one")
		if seq, err := l.End(w.ctx, 1); err != nil || seq != 2 {
			t.Errorf("nothing is under way: the end is %d, %v, want 2", seq, err)
		}
		js := l.js
		d := &delayed{JetStream: js}
		l.js = d
		if _, err := l.Append(w.ctx, 1, []byte("late")); !errors.Is(err, ErrUnknown) {
			t.Fatalf("a record that is on its way: %v", err)
		}
		d.lets = true
		seq, err := l.End(w.ctx, 1)
		w.must(err)
		if ack, err := js.PublishMsg(w.ctx, d.late, d.on...); err == nil {
			t.Errorf("the end is %d, and the late record is stored as %d", seq, ack.Sequence)
		}
		w.has(l, s, "one")
		if _, at := l.Applied(); at != seq {
			t.Errorf("the end is %d, and the log is at %d", seq, at)
		}
		if _, err := l.End(w.ctx, 2); !errors.Is(err, ErrFenced) {
			t.Errorf("the end of an epoch that has not begun: %v", err)
		}
	})
}
