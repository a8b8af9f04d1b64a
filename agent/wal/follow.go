package wal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

// How a follower waits.
const (
	probeEvery  = 5 * time.Second // without a record before it is asked whether there is one
	resumeFirst = 100 * time.Millisecond
	resumeMost  = 5 * time.Second
	few         = 64                   // records that are fetched one by one where nobody follows
	pushed      = 5 * time.Millisecond // within which a follower should have had a record that is stored
)

// Follow keeps the state close behind the log until ctx ends, which is no error. It resumes by itself after lost connections. An
// error says why the state cannot be used any more, or that the log is another.
func (l *Log) Follow(ctx context.Context) error {
	closed := l.js.Conn().StatusChanged(nats.CLOSED)
	defer l.js.Conn().RemoveStatusListener(closed)
	for wait := resumeFirst; ; wait = min(2*wait, resumeMost) {
		_, before := l.Applied()
		err := l.follow(ctx)
		_, now := l.Applied()
		switch {
		case ctx.Err() != nil:
			return nil
		case l.View(func() {}) != nil || errors.Is(err, ErrAnother) || errors.Is(err, nats.ErrConnectionClosed):
			return fmt.Errorf("follow log %s: %w", l.name, err)
		case now > before:
			wait = resumeFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-closed: // it is told so at once
		case <-time.After(wait):
		}
	}
}

// follow applies what comes until something is wrong.
func (l *Log) follow(ctx context.Context) error {
	last, err := l.last(ctx)
	if err != nil {
		return err
	}
	_, at := l.Applied()
	if first := l.first(); at < last && first > at+1 {
		if err := l.restore(ctx, at); err != nil {
			return err
		}
		_, at = l.Applied()
	}
	l.pending(last - min(at, last))
	cons, err := l.js.OrderedConsumer(ctx, l.name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at + 1, MaxResetAttempts: 1,
	})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		due, cancel := context.WithTimeout(ctx, probeEvery)
		m, err := it.Next(jetstream.NextContext(due))
		quiet := due.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err != nil && !quiet:
			return err
		case err != nil:
			// Messages are lost where a route between servers is, and the library notices by the next one only.
			if last, err = l.last(ctx); err != nil {
				return err
			}
			if _, at := l.Applied(); last > at {
				return fmt.Errorf("%w: the log ends at %d, applied is %d", errGap, last, at)
			}
			continue
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		r, err := decode(meta.Sequence.Stream, m.Headers(), m.Data())
		if err == nil {
			err = l.apply(r)
		}
		if err != nil {
			return err
		}
		l.pending(meta.NumPending)
	}
}

// CatchUp returns once everything that was stored when it was called is applied.
func (l *Log) CatchUp(ctx context.Context) error {
	last, err := l.last(ctx)
	if err != nil {
		return fmt.Errorf("catch up with log %s: %w", l.name, err)
	}
	return l.reach(ctx, last)
}

// reach returns once everything up to a record is applied.
func (l *Log) reach(ctx context.Context, seq uint64) error {
	var release func()
	defer func() {
		if release != nil {
			release()
		}
	}()
	for {
		l.mu.Lock()
		at, moved, broken := l.applied, l.moved, l.broken
		l.mu.Unlock()
		if broken != nil || at >= seq {
			return broken
		}
		fail := func(err error) error {
			return fmt.Errorf("catch up with log %s: at %d of %d: %w", l.name, at, seq, err)
		}
		wait := pushed
		if seq-at > few { // a follower is faster
			wait = resumeFirst
			if release == nil {
				release = l.Hold()
			}
		}
		if l.followed() {
			timer := time.NewTimer(wait)
			select {
			case <-moved:
				timer.Stop()
				continue
			case <-ctx.Done():
				timer.Stop()
				return fail(context.Cause(ctx))
			case <-timer.C:
			}
		}
		if err := l.pull(ctx, at); err != nil {
			return fail(err)
		}
	}
}

// pull applies the record behind the one with sequence at, or the newest snapshot where that record is gone.
func (l *Log) pull(ctx context.Context, at uint64) error {
	r, err := l.at(ctx, at+1)
	if err == nil {
		err = l.apply(r)
	}
	if _, now := l.Applied(); now > at {
		return nil
	}
	if !errors.Is(err, errNothing) {
		return err
	}
	return l.restore(ctx, at)
}

// last asks the stream's leader for the sequence of the newest record, 0 for none.
func (l *Log) last(ctx context.Context) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	info, err := l.stream.Info(try)
	if err != nil {
		return 0, err
	}
	if got := info.Config.Metadata[events.MetaIncarnation]; got != l.life {
		return 0, fmt.Errorf("%w: stream %s was %s, now it is %s", ErrAnother, l.name, l.life, got)
	}
	return info.State.LastSeq, nil
}

// first is that of the oldest record, as of last.
func (l *Log) first() uint64 { return l.stream.CachedInfo().State.FirstSeq }
