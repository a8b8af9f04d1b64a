package wal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// prove reads all that a state would be made of, without making one: the newest snapshot where the first records are gone, and every
// record behind it, up to the newest, which is of the epoch or a later one.
func (l *Log) prove(ctx context.Context, epoch uint64) error {
	fail := func(err error) error { return fmt.Errorf("prove log %s: %w", l.name, err) }
	last, err := l.newest(ctx, epoch)
	if err != nil {
		return fail(err)
	}
	if _, err := l.last(ctx); err != nil {
		return fail(err)
	}
	from := uint64(1)
	if first := l.first(); first > 1 {
		if from, err = l.proveSnapshot(ctx); err != nil {
			return fail(err)
		}
		if from++; first > from {
			return fail(fmt.Errorf("%w: the newest snapshot ends with %d, and the records begin with %d", errGap, from-1, first))
		}
	}
	if from > last {
		return nil
	}
	cons, err := l.js.OrderedConsumer(ctx, l.name, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, MaxResetAttempts: 1})
	if err != nil {
		return fail(err)
	}
	it, err := cons.Messages()
	if err != nil {
		return fail(err)
	}
	defer it.Stop()
	for at := from; at <= last; at++ {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fail(fmt.Errorf("record %d: %w", at, err))
		}
		meta, err := m.Metadata()
		if err == nil {
			_, err = decode(meta.Sequence.Stream, m.Headers(), m.Data())
		}
		switch {
		case err != nil:
			return fail(err)
		case meta.Sequence.Stream > at && l.snapshotted(ctx, meta.Sequence.Stream): // let go meanwhile, with a newer snapshot
			at = meta.Sequence.Stream
		case meta.Sequence.Stream != at:
			return fail(fmt.Errorf("%w: %d follows %d", errGap, meta.Sequence.Stream, at-1))
		}
	}
	return nil
}

// proveSnapshot reads the newest snapshot and returns the record that it ends with.
func (l *Log) proveSnapshot(ctx context.Context) (uint64, error) {
	s, _, _, err := l.read(ctx)
	if err == nil && s.seq == 0 {
		err = errors.New("the first records are gone, and there is no snapshot")
	}
	return s.seq, err
}

// snapshotted says whether a snapshot has all that was before a record.
func (l *Log) snapshotted(ctx context.Context, seq uint64) bool {
	to, err := l.proveSnapshot(ctx)
	return err == nil && to+1 >= seq
}
