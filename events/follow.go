package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is one stored message as Follow delivers it: an event, or why it is none.
type Message struct {
	Event Event
	Err   *MalformedError // non-nil: Event is not valid, but for Seq and Stored
	Raw   []byte          // as stored; valid only during the call
}

// Waits between attempts to subscribe again.
const (
	resumeFirst = 100 * time.Millisecond
	resumeMost  = 5 * time.Second
)

// Follow calls fn with every stored message from sequence from on that a filter matches (no filter: all), in order and without a
// gap, and then with each new one. Once subscribed it resumes by itself after lost connections, and looks each time whether it is
// still the same stream. It returns when ctx ends (with its error), when fn does (with its error), when the stream is another
// (ErrIncarnation), or when the stream or the connection is gone for good.
func (l *Log) Follow(ctx context.Context, from uint64, filters []string, fn func(Message) error) error {
	f := follower{Log: l, filters: filters, fn: fn, seq: max(from, 1) - 1}
	for wait := resumeFirst; ; wait = min(2*wait, resumeMost) {
		before := f.seq
		resume, err := f.run(ctx)
		switch {
		case !resume:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case f.seq > before:
			wait = resumeFirst
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// follower is one call of Follow.
type follower struct {
	*Log
	filters    []string
	fn         func(Message) error
	seq        uint64 // of the last message delivered; before the first one, what the caller says it has
	hash       string // of the last message delivered; "" before the first one
	subscribed bool   // it has once been
}

// run subscribes behind seq and delivers until something ends it. resume says that another subscription may go on. The context of
// the subscription's reads is the only thing that stops them: stopping it from outside would wait for whatever it is doing.
func (f *follower) run(ctx context.Context) (resume bool, err error) {
	fail := func(err error) (bool, error) {
		return f.subscribed && !forGood(err), fmt.Errorf("follow the log from %d: %w", f.seq+1, err)
	}
	if err := f.voided(); err != nil {
		return fail(err)
	}
	cons, err := f.js.OrderedConsumer(ctx, f.EventsStream(), jetstream.OrderedConsumerConfig{
		FilterSubjects: f.filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: f.seq + 1,
		MaxResetAttempts: 1, // without heed of ctx; more are made here
	})
	if err != nil {
		return fail(err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return fail(err)
	}
	defer it.Stop()
	f.subscribed = true
	wait, want := probeEvery, uint64(0)
	for subscription := ""; ; {
		due, cancel := context.WithTimeout(ctx, wait)
		subscription, err = f.deliver(ctx, due, it, subscription)
		probe := due.Err() != nil && ctx.Err() == nil && errors.Is(err, due.Err())
		cancel()
		var own *ownError
		switch {
		case errors.As(err, &own):
			return false, own.error
		case !probe:
			return fail(err)
		case f.seq < want:
			return fail(fmt.Errorf("%w: sequence %d is stored", errLost, want))
		}
		if err := f.holds(ctx, f.seq, ""); err != nil {
			return fail(err)
		}
		if wait, want = probeEvery, f.stored(ctx); want > f.seq {
			wait = underWay
		}
	}
}

// errLost: what is stored has not come. The library notices that by the next message only, and perhaps there is none for long. On a
// connection that lasts, messages are lost where servers lose the route between them.
var errLost = errors.New("messages were lost on their way")

// underWay is how long a message may take.
const underWay = 2 * time.Second

// stored returns the sequence of the last message for the follower, 0 when nobody says.
func (f *follower) stored(ctx context.Context) (last uint64) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if p := f.probed.Load(); len(f.filters) == 0 && p != nil { // just asked by holds, or by another reader
		last = p.last
	}
	for _, filter := range f.filters {
		if m, err := f.stream.GetLastMsgForSubject(ctx, filter); err == nil {
			last = max(last, m.Sequence)
		}
	}
	return last
}

func forGood(err error) bool {
	return errors.Is(err, ErrIncarnation) || errors.Is(err, jetstream.ErrStreamNotFound) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, jetstream.ErrConnectionClosed)
}

// ownError is fn's.
type ownError struct{ error }

// deliver hands messages on until due ends. It returns the name of the subscription at that moment: the library subscribes anew
// under another name when it has lost messages or the connection.
func (f *follower) deliver(ctx, due context.Context, it jetstream.MessagesContext, subscription string) (string, error) {
	until := jetstream.NextContext(due)
	for {
		m, err := it.Next(until)
		if err != nil {
			return subscription, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return subscription, err
		}
		if meta.Consumer != subscription {
			if err := f.holds(ctx, f.seq, f.hash); err != nil {
				return subscription, err
			}
			subscription = meta.Consumer
		}
		msg := Message{Raw: m.Data()}
		msg.Err = f.decoder.decode(&msg.Event, m.Subject(), meta.Sequence.Stream, meta.Timestamp, m.Data())
		f.seq, f.hash = meta.Sequence.Stream, msg.Event.Hash
		if msg.Err != nil {
			f.hash = hashOf(m.Data())
			msg.Event.Seq, msg.Event.Stored = meta.Sequence.Stream, meta.Timestamp
		}
		if err := f.fn(msg); err != nil {
			return subscription, &ownError{err}
		}
		if err := ctx.Err(); err != nil {
			return subscription, err
		}
	}
}
