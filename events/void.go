package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrIncarnation says that the stream was re-created or restored: what was folded from it is void. A Log that has found so stays
// void; it neither reads nor appends any more, and a new one is to be opened for a new fold.
var ErrIncarnation = errors.New("the event stream has another incarnation")

// A reader resumes at a sequence, and a sequence alone does not say of which life of the stream it is: a stream that was deleted
// and made again, or restored from an older copy, has other events there, or will have. So a reader looks after each new
// subscription, and from time to time.
const (
	probeEvery = 30 * time.Second
	probeFresh = 25 * time.Second // answers are shared by all readers of a Log for this long
)

// ending is where the stream ended when it was last asked.
type ending struct {
	at   time.Time
	last uint64
}

// voided returns why the Log is void, or nil.
func (l *Log) voided() error {
	if why := l.void.Load(); why != nil {
		return *why
	}
	return nil
}

// revoke makes the Log void for good. The first reason stays.
func (l *Log) revoke(format string, args ...any) error {
	err := fmt.Errorf("%w: %s", ErrIncarnation, fmt.Sprintf(format, args...))
	l.void.CompareAndSwap(nil, &err)
	return l.voided()
}

// holds checks that the stream still has what a reader has read from it: its end is not before seq and, when hash is not "", the
// message at seq is the one with that hash. Only a stream that is another makes it fail; one that cannot be asked does not.
func (l *Log) holds(ctx context.Context, seq uint64, hash string) error {
	if p := l.probed.Load(); hash == "" && p != nil && p.last >= seq && time.Since(p.at) < probeFresh {
		return l.voided()
	}
	for try := 1; ; try++ {
		last, err := l.LastSeq(ctx)
		if err != nil || last >= seq {
			break
		}
		if try == 3 {
			return l.revoke("it ends at %d, but %d was read from it: it was restored from an older copy", last, seq)
		}
		select { // a leader just elected may still be short of its own end
		case <-ctx.Done():
			return l.voided()
		case <-time.After(time.Second):
		}
	}
	if hash == "" || seq == 0 || l.voided() != nil {
		return l.voided()
	}
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := l.stream.GetMsg(try, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return l.revoke("the event at sequence %d was read from it and is gone", seq)
	case err == nil && hashOf(m.Data) != hash:
		return l.revoke("the event at sequence %d is not the one that was read: it was restored from another copy", seq)
	}
	return l.voided()
}
