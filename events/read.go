package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoEvent says that the log has no such event.
var ErrNoEvent = errors.New("no such event in the log")

// At reads the event that is stored at a sequence, from the stream's leader.
func (l *Log) At(ctx context.Context, seq uint64) (Event, error) {
	if err := l.voided(); err != nil {
		return Event{}, err
	}
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := l.stream.GetMsg(try, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return Event{}, fmt.Errorf("%w: sequence %d", ErrNoEvent, seq)
	case err != nil:
		return Event{}, fmt.Errorf("read the event at sequence %d: %w", seq, err)
	}
	return Decode(m.Subject, m.Sequence, m.Time, m.Data)
}

// findFirst is how many events Find looks at first. What led to an event is most often one of the few before it.
const findFirst = 256

// Find looks for the event with an id among those before a sequence, the newest first: in windows that double, so that its work
// follows how far back the event is. The log has no index of ids.
func (l *Log) Find(ctx context.Context, id string, before uint64) (found Event, err error) {
	enough := errors.New("enough")
	for end, width := before, uint64(findFirst); end > 1; width *= 2 {
		start := uint64(1)
		if end > width {
			start = end - width
		}
		err := l.Follow(ctx, start, nil, func(m Message) error {
			switch {
			case m.Event.Seq >= end:
				return enough
			case m.Err == nil && m.Event.ID == id:
				found = m.Event
				return enough
			case m.Event.Seq == end-1:
				return enough
			}
			return nil
		})
		switch {
		case !errors.Is(err, enough):
			return Event{}, err
		case found.Seq > 0:
			return found, nil
		}
		end = start
	}
	return Event{}, fmt.Errorf("%w: %s before sequence %d", ErrNoEvent, id, before)
}
