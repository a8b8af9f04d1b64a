package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// BeatRecord is a heartbeat as stored.
type BeatRecord struct {
	Beat   api.Beat
	Stored time.Time
}

// LeaseUpdate is one write: of a lease, or of a heartbeat when Beat is set.
type LeaseUpdate struct {
	Node   string
	Record LeaseRecord
	Beat   *BeatRecord
}

// Follow calls fn with the newest lease of each node and from then on with each write that it sees, in the order they were
// stored, one at a time. Writes that a newer one replaces meanwhile may be skipped, and after a lost subscription known ones come
// again: a sequence already seen is to be ignored. Heartbeats come only when they were stored after the call began, because an
// old one says nothing about now. What cannot be read is counted and skipped.
//
// It returns when ctx ends, or when the connection is closed or the stream is gone.
func (l *Leases) Follow(ctx context.Context, fn func(LeaseUpdate)) error {
	stream, err := l.bind(ctx)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("follow stream %s: %w", l.subjects.LeasesStream(), err)
	}
	past := info.State.LastSeq
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := l.follow(ctx, past, func(u LeaseUpdate) {
			wait = 50 * time.Millisecond
			fn(u)
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed), errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("follow stream %s: %w", l.subjects.LeasesStream(), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (l *Leases) follow(ctx context.Context, past uint64, fn func(LeaseUpdate)) error {
	// The consumer orders itself: on a gap or a reconnect it starts again behind the last message that it gave us.
	cons, err := l.js.OrderedConsumer(ctx, l.subjects.LeasesStream(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{l.subjects.Leases(), l.subjects.Beats()},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
		// More attempts are made by Follow: those of the library pay no heed to ctx, and who stops while NATS is away would never end.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return err
	}
	iter, err := cons.Messages()
	if err != nil {
		return err
	}
	defer iter.Stop()
	for {
		m, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		u, err := l.decode(m)
		if err != nil {
			l.malformed.Add(1)
			continue
		}
		if u.Beat != nil && u.Record.Seq <= past {
			continue
		}
		fn(u)
	}
}

func (l *Leases) decode(m jetstream.Msg) (LeaseUpdate, error) {
	meta, err := m.Metadata()
	if err != nil {
		return LeaseUpdate{}, err
	}
	u := LeaseUpdate{Record: LeaseRecord{Seq: meta.Sequence.Stream, Stored: meta.Timestamp}}
	t := strings.Split(m.Subject(), ".")
	switch {
	case len(t) == 4 && m.Subject() == l.subjects.Lease(t[3]):
		u.Node = t[3]
		u.Record.Lease, err = decodeLease(u.Node, m.Data())
		return u, err
	case len(t) == 5 && m.Subject() == l.subjects.Beat(t[3], t[4]):
		u.Beat = &BeatRecord{Stored: meta.Timestamp}
		if err := events.CheckJSON(m.Data(), 1<<10, api.MaxDepth); err != nil {
			return u, err
		}
		if err := json.Unmarshal(m.Data(), &u.Beat.Beat); err != nil {
			return u, err
		}
		if u.Beat.Beat != (api.Beat{Service: t[3], Replica: t[4]}) {
			return u, fmt.Errorf("heartbeat on %s is of %s %s", m.Subject(), u.Beat.Beat.Service, u.Beat.Beat.Replica)
		}
		return u, nil
	}
	return u, fmt.Errorf("subject %s: neither a lease nor a heartbeat", m.Subject())
}
