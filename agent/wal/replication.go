package wal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// promoteTime is how long Lead waits for an epoch to begin, where Promote has not begun it.
const promoteTime = 10 * time.Second

// Replication carries logs. It implements agent.Replication.
//
// All that an app has ever acknowledged is in one stream, in one order, and every node's copy is what was applied of it. A position is that of
// the newest record, with the epoch that had begun there; the beginning of an epoch is a record itself. What was acknowledged is shipped, so
// that a sync, a last flush and a recovery only say where the log is, and nothing that is here can be missing elsewhere. The checksum is the life of
// the stream: two ends at one position of one life have the same records.
type Replication struct {
	open func(ctx context.Context, app string) (*Log, error)

	mu   sync.Mutex
	logs map[string]*Log // by app
}

var _ agent.Replication = (*Replication)(nil)

// NewReplication returns the replication of the logs that open returns, which is called for an app until it succeeds once.
func NewReplication(open func(ctx context.Context, app string) (*Log, error)) *Replication {
	return &Replication{open: open, logs: map[string]*Log{}}
}

// log returns this node's end of an app's log, opened if need be.
func (r *Replication) log(ctx context.Context, d agent.Data) (*Log, error) {
	r.mu.Lock()
	l := r.logs[d.App.Name]
	r.mu.Unlock()
	if l != nil {
		return l, nil
	}
	l, err := r.open(ctx, d.App.Name)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs[d.App.Name] = l
	return l, nil
}

// Kind implements agent.Replication.
func (r *Replication) Kind() string { return "log" }

// Check implements agent.Replication. A log that is not there yet is made.
func (r *Replication) Check(ctx context.Context, d agent.Data) error {
	l, err := r.log(ctx, d)
	if err != nil {
		return err
	}
	if _, err := l.last(ctx); err != nil {
		return err
	}
	return l.View(func() {})
}

// Promote implements agent.Replication: what stands in the log behind everything else is that the epoch has begun.
func (r *Replication) Promote(ctx context.Context, d agent.Data, epoch uint64) error {
	l, err := r.log(ctx, d)
	if err != nil {
		return err
	}
	return l.Begin(ctx, epoch)
}

// Lead implements agent.Replication.
func (r *Replication) Lead(ctx context.Context, d agent.Data, epoch uint64) (agent.Leading, error) {
	ctx, cancel := context.WithTimeout(ctx, promoteTime)
	defer cancel()
	l, err := r.log(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := l.Begin(ctx, epoch); err != nil {
		return nil, err
	}
	return &leading{copied: hold(l, epoch)}, nil
}

// Follow implements agent.Replication.
func (r *Replication) Follow(ctx context.Context, d agent.Data, epoch uint64) (agent.Following, error) {
	l, err := r.log(ctx, d)
	if err != nil {
		return nil, err
	}
	return &following{hold(l, epoch)}, nil
}

// Recover implements agent.Replication. What was acknowledged is all there, unless the log is not the one that the newest active wrote to: then it
// does not have the beginning of its epoch.
func (r *Replication) Recover(ctx context.Context, d agent.Data, terms []agent.Term) (agent.Recovered, error) {
	l, err := r.log(ctx, d)
	if err != nil {
		return agent.Recovered{}, err
	}
	if err := l.CatchUp(ctx); err != nil {
		return agent.Recovered{}, err
	}
	var found agent.Recovered
	if found.Position = l.position(); found.Position != (events.Position{}) {
		found.Checksum = l.Life()
	}
	for _, t := range terms {
		if t.Activated {
			found.Complete = found.Position.Epoch >= t.Epoch
			return found, nil
		}
	}
	found.Complete = true
	return found, nil
}

// Local implements agent.Replication.
func (r *Replication) Local(d agent.Data) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.logs[d.App.Name]; l != nil {
		return l.position().Epoch, nil
	}
	return 0, nil
}

// Prove implements agent.Replication.
func (r *Replication) Prove(ctx context.Context, d agent.Data, epoch uint64) error {
	l, err := r.log(ctx, d)
	if err != nil {
		return err
	}
	return l.prove(ctx, epoch)
}

// Salvage implements agent.Replication: nobody has anything that is not in the log.
func (r *Replication) Salvage(context.Context, agent.Data, []agent.Term) (agent.Salvaged, error) {
	return agent.Salvaged{}, nil
}

// Forget implements agent.Replication. The records of earlier epochs are what the state is made of: they go with a snapshot, when there are
// enough of them.
func (r *Replication) Forget(ctx context.Context, d agent.Data, keep uint64) (int, error) {
	l, err := r.log(ctx, d)
	if err != nil {
		return 0, err
	}
	_, err = l.newest(ctx, keep)
	return 0, err
}

// position is how far the state is.
func (l *Log) position() events.Position {
	epoch, seq := l.Applied()
	return events.Position{Epoch: epoch, Seq: seq}
}

// newest returns the sequence of the newest record that is stored, and an error where the epoch has not begun by then.
func (l *Log) newest(ctx context.Context, epoch uint64) (uint64, error) {
	m, err := l.stream.GetLastMsgForSubject(ctx, l.subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, fmt.Errorf("log %s has no records: epoch %d has not begun", l.name, epoch)
	case err != nil:
		return 0, fmt.Errorf("newest record of log %s: %w", l.name, err)
	}
	r, err := decode(m.Sequence, m.Header, m.Data)
	if err == nil && r.epoch < epoch {
		err = fmt.Errorf("log %s ends with record %d of epoch %d: epoch %d has not begun", l.name, r.seq, r.epoch, epoch)
	}
	return r.seq, err
}

// copied is one end of a log under an epoch.
type copied struct {
	log   *Log
	epoch uint64
	since Progress // when it began
	let   func()
}

func hold(l *Log, epoch uint64) copied {
	return copied{l, epoch, l.Progress(), l.Hold()}
}

// status is how far the end is; bytes are those that the side counts.
func (c copied) status(bytes func(Progress) uint64) agent.Replicated {
	p := c.log.Progress()
	r := agent.Replicated{Position: events.Position{Epoch: p.Epoch, Seq: p.Seq}, Lag: p.Lag, Bytes: bytes(p) - bytes(c.since), Resyncs: p.Resyncs - c.since.Resyncs}
	if p.Epoch < c.epoch { // it has nothing of that epoch yet
		r.Position = events.Position{Epoch: c.epoch}
	}
	if err := c.log.fault(); err != nil {
		r.Err = err.Error()
	}
	return r
}

// Close implements agent.Leading and agent.Following.
func (c copied) Close() error {
	c.let()
	return nil
}

// leading implements agent.Leading.
type leading struct{ copied }

// Sync implements agent.Leading: what was acknowledged is stored.
func (l *leading) Sync(context.Context) (events.Position, error) {
	p := l.log.position()
	if p.Epoch != l.epoch {
		return p, fmt.Errorf("log %s: %w: epoch %d is led here, and the log is at %s", l.log.name, ErrFenced, l.epoch, p)
	}
	return p, l.log.View(func() {})
}

// Flush implements agent.Leading.
func (l *leading) Flush(ctx context.Context) (events.Position, string, error) {
	seq, err := l.log.End(ctx, l.epoch)
	if err != nil {
		return events.Position{}, "", err
	}
	return events.Position{Epoch: l.epoch, Seq: seq}, l.log.Life(), nil
}

// Status implements agent.Leading.
func (l *leading) Status() agent.Replicated {
	return l.status(func(p Progress) uint64 { return p.Stored })
}

// following implements agent.Following.
type following struct{ copied }

// CatchUp implements agent.Following.
func (f *following) CatchUp(ctx context.Context, p events.Position) (events.Position, error) {
	if _, err := f.log.last(ctx); err != nil { // of the life that the state is made of
		return f.log.position(), err
	}
	return f.to(ctx, p)
}

func (f *following) to(ctx context.Context, p events.Position) (events.Position, error) {
	if p.Epoch != f.epoch {
		return f.log.position(), fmt.Errorf("log %s is followed for epoch %d, not to %s", f.log.name, f.epoch, p)
	}
	err := f.log.reach(ctx, p.Seq)
	at := f.log.position()
	if err == nil && !at.Reached(p) {
		err = fmt.Errorf("log %s is at %s: %s is not in its way", f.log.name, at, p)
	}
	return at, err
}

// Apply implements agent.Following.
func (f *following) Apply(ctx context.Context, p events.Position, checksum string) error {
	defer f.let()
	if checksum != f.log.Life() {
		return fmt.Errorf("log %s: its checksum is %s, and what was left has %s: it is another log", f.log.name, f.log.Life(), checksum)
	}
	at, err := f.to(ctx, p)
	if err == nil && at != p {
		err = fmt.Errorf("log %s has gone on: it is at %s", f.log.name, at)
	}
	return err
}

// Status implements agent.Following.
func (f *following) Status() agent.Replicated {
	return f.status(func(p Progress) uint64 { return p.Followed })
}
