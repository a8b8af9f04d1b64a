package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// records is the log of an app: all that was ever acknowledged, in one order, and where each epoch began, which is a record of its own.
type records struct {
	rows  []row
	begun uint64
}

// beginning is the life that the record of a beginning has; its number is the epoch.
const beginning = -1

func (l *records) end() events.Position {
	return events.Position{Epoch: l.begun, Seq: uint64(len(l.rows))}
}

// written returns the records up to a position that clients wrote.
func (l *records) written(upTo uint64) (rows []row) {
	for _, r := range l.rows[:upTo] {
		if r.life != beginning {
			rows = append(rows, r)
		}
	}
	return rows
}

// open has an instance that has become active serve what its machine has of the app's log, and returns how many acknowledged writes it does not have.
func (s *Store) open(node, app, instance string) (lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.app(app).log
	return missing(l.written(uint64(len(l.rows))), l.written(s.on(node, instance).at.Seq))
}

// append stores a write under an epoch; it is refused where another has begun.
func (s *Store) append(node, app, instance string, epoch uint64, r row) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.app(app).log
	stored := l.begun == epoch
	if stored {
		l.rows = append(l.rows, r)
	}
	s.on(node, instance).at = l.end() // who is refused has read why
	return stored
}

// logs is agent.Replication for the logs of simulated programs: what is acknowledged is stored, in one order for all, and who writes under an epoch
// that is over is refused.
type logs struct{ replication }

// life is the checksum of all logs: none is ever made anew.
const life = "life"

// Kind implements agent.Replication.
func (logs) Kind() string { return "log" }

// begin makes epoch the one whose records count, and the local copy all that there is.
func (r logs) begin(ctx context.Context, d agent.Data, epoch uint64) error {
	var wrong error
	return joined(r.reach(ctx, func() bool {
		l := &r.s.app(d.App.Name).log
		if l.begun > epoch {
			wrong = fmt.Errorf("begin epoch %d of %s: epoch %d has begun", epoch, d.App.Name, l.begun)
			return true
		}
		if l.begun < epoch {
			l.rows, l.begun = append(l.rows, row{beginning, int(epoch)}), epoch //nolint:gosec // small
		}
		r.s.on(r.node, d.Instance).at = l.end()
		return true
	}), &wrong)
}

// Promote implements agent.Replication.
func (r logs) Promote(ctx context.Context, d agent.Data, epoch uint64) error {
	return r.begin(ctx, d, epoch)
}

// Lead implements agent.Replication.
func (r logs) Lead(ctx context.Context, d agent.Data, epoch uint64) (agent.Leading, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := r.begin(ctx, d, epoch); err != nil {
		return nil, err
	}
	return &logEnd{r, d, epoch}, nil
}

// Follow implements agent.Replication.
func (r logs) Follow(_ context.Context, d agent.Data, epoch uint64) (agent.Following, error) {
	return &logCopy{logEnd{r, d, epoch}}, nil
}

// Recover implements agent.Replication.
func (r logs) Recover(ctx context.Context, d agent.Data, terms []agent.Term) (got agent.Recovered, err error) {
	err = r.reach(ctx, func() bool {
		got = agent.Recovered{Position: r.s.app(d.App.Name).log.end(), Complete: true}
		r.s.on(r.node, d.Instance).at = got.Position
		return true
	})
	if got.Position != (events.Position{}) {
		got.Checksum = life
	}
	for _, t := range terms {
		if t.Activated {
			got.Complete = got.Position.Epoch >= t.Epoch
			break
		}
	}
	return got, err
}

// Local implements agent.Replication.
func (r logs) Local(d agent.Data) (uint64, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.on(r.node, d.Instance).at.Epoch, nil
}

// Prove implements agent.Replication.
func (r logs) Prove(ctx context.Context, d agent.Data, epoch uint64) (err error) {
	return joined(r.reach(ctx, func() bool {
		if l := r.s.app(d.App.Name).log; l.begun < epoch {
			err = fmt.Errorf("the log of %s is at %s: epoch %d has not begun", d.App.Name, l.end(), epoch)
		}
		return true
	}), &err)
}

// Salvage implements agent.Replication: nobody has what is not stored.
func (logs) Salvage(context.Context, agent.Data, []agent.Term) (agent.Salvaged, error) {
	return agent.Salvaged{}, nil
}

// Forget implements agent.Replication: the newest epoch rests on those before it.
func (r logs) Forget(ctx context.Context, d agent.Data, keep uint64) (int, error) {
	return 0, r.Prove(ctx, d, keep)
}

// logEnd implements agent.Leading.
type logEnd struct {
	logs
	d     agent.Data
	epoch uint64
}

// at returns how far the local copy is; the caller holds the lock.
func (e *logEnd) at() events.Position { return e.s.on(e.node, e.d.Instance).at }

// Sync implements agent.Leading.
func (e *logEnd) Sync(context.Context) (events.Position, error) {
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if p := e.at(); p.Epoch != e.epoch {
		return p, fmt.Errorf("epoch %d of %s is led here, and the log is at %s", e.epoch, e.d.App.Name, p)
	}
	return e.at(), nil
}

// Flush implements agent.Leading.
func (e *logEnd) Flush(ctx context.Context) (p events.Position, sum string, err error) {
	err = joined(e.reach(ctx, func() bool {
		if p = e.s.app(e.d.App.Name).log.end(); p.Epoch != e.epoch {
			err = fmt.Errorf("end epoch %d of %s: epoch %d has begun", e.epoch, e.d.App.Name, p.Epoch)
		}
		return true
	}), &err)
	return p, life, err
}

// Status implements agent.Leading and agent.Following: whoever can reach the log follows it.
func (e *logEnd) Status() agent.Replicated {
	up := e.up()
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if up {
		e.s.on(e.node, e.d.Instance).at = e.s.app(e.d.App.Name).log.end()
	}
	p := e.at()
	if p.Epoch < e.epoch { // nothing of that epoch yet
		p = events.Position{Epoch: e.epoch}
	}
	return agent.Replicated{Position: p}
}

// Close implements agent.Leading and agent.Following.
func (e *logEnd) Close() error { return nil }

// logCopy implements agent.Following.
type logCopy struct{ logEnd }

// CatchUp implements agent.Following.
func (f *logCopy) CatchUp(ctx context.Context, p events.Position) (at events.Position, err error) {
	if p.Epoch != f.epoch {
		return f.Status().Position, fmt.Errorf("the log of epoch %d is asked for %s", f.epoch, p)
	}
	err = joined(f.reach(ctx, func() bool {
		at = f.s.app(f.d.App.Name).log.end()
		f.s.on(f.node, f.d.Instance).at = at
		if at.Epoch > p.Epoch {
			err = fmt.Errorf("the log is at %s: %s is not in its way", at, p)
		}
		return err != nil || at.Reached(p)
	}), &err)
	return at, err
}

// Apply implements agent.Following.
func (f *logCopy) Apply(ctx context.Context, p events.Position, checksum string) error {
	if checksum != life {
		return fmt.Errorf("checksum is %q, not %q", life, checksum)
	}
	at, err := f.CatchUp(ctx, p)
	if err == nil && at != p {
		err = fmt.Errorf("the log has gone on: it is at %s, not at %s", at, p)
	}
	return err
}
