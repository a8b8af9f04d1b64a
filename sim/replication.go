package sim

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

const (
	shipEvery = time.Second           // a leader, by itself
	lookAgain = 50 * time.Millisecond // where something is waited for
)

// replication is agent.Replication for the databases of simulated programs. It is asynchronous, as Litestream is: what was not
// shipped when a machine dies is on its disk and nowhere else. It knows of each database which epoch its node led to the end, as the
// real one does by a file beside it.
type replication struct {
	s    *Store
	node string
	up   func() bool // the store can be reached
}

// Kind implements agent.Replication.
func (r replication) Kind() string { return "sqlite" }

// Check implements agent.Replication.
func (r replication) Check(context.Context, agent.Data) error {
	if !r.up() {
		return fmt.Errorf("the store cannot be reached from %s", r.node)
	}
	return nil
}

// reach waits until the store can be reached and f returns true; f is called with the lock held.
func (r replication) reach(ctx context.Context, f func() bool) error {
	for {
		if r.up() {
			r.s.mu.Lock()
			ok := f()
			r.s.mu.Unlock()
			if ok {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("store of %s: %w", r.node, ctx.Err())
		case <-time.After(lookAgain):
		}
	}
}

// Promote implements agent.Replication.
func (r replication) Promote(_ context.Context, d agent.Data, epoch uint64) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	db := r.s.on(r.node, d.Instance)
	db.led, db.at = epoch, events.Position{}
	return nil
}

// Lead implements agent.Replication.
func (r replication) Lead(ctx context.Context, d agent.Data, epoch uint64) (agent.Leading, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	db := r.s.on(r.node, d.Instance)
	db.led, db.at = epoch, events.Position{}
	ctx, cancel := context.WithCancel(ctx)
	l := &leading{replication: r, app: d.App.Name, db: db, epoch: epoch, cancel: cancel}
	go l.run(ctx)
	return l, nil
}

// Follow implements agent.Replication.
func (r replication) Follow(_ context.Context, d agent.Data, epoch uint64) (agent.Following, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	db := r.s.on(r.node, d.Instance)
	if db.led > 0 || db.at.Epoch != epoch {
		db.replace(nil, events.Position{Epoch: epoch})
	}
	return &following{replication: r, app: d.App.Name, db: db, epoch: epoch}, nil
}

// Recover implements agent.Replication.
func (r replication) Recover(ctx context.Context, d agent.Data, terms []agent.Term) (got agent.Recovered, err error) {
	err = r.reach(ctx, func() bool {
		got = r.recover(d, terms)
		return true
	})
	return got, err
}

func (r replication) recover(d agent.Data, terms []agent.Term) agent.Recovered {
	db, complete := r.s.on(r.node, d.Instance), true
	for _, t := range terms {
		shipped := r.s.app(d.App.Name).shipped[t.Epoch]
		if t.Here && db.led == t.Epoch {
			at := events.Position{Epoch: t.Epoch, Seq: uint64(len(shipped))}
			if len(shipped) == 0 && len(db.rows) > 0 || len(shipped) > 0 && len(shipped[len(shipped)-1].rows) != len(db.rows) {
				at.Seq++
			}
			return agent.Recovered{Position: at, Checksum: sum(db.rows), Complete: complete}
		}
		if len(shipped) > 0 {
			newest, at := shipped[len(shipped)-1], events.Position{Epoch: t.Epoch, Seq: uint64(len(shipped))}
			db.replace(newest.rows, at)
			if complete && (!t.Activated || t.Final == at) {
				return agent.Recovered{Position: at, Checksum: sum(newest.rows), Complete: true}
			}
			return agent.Recovered{Position: at, Checksum: sum(newest.rows), Shipped: newest.stored}
		}
		if t.Activated && t.Final != (events.Position{Epoch: t.Epoch}) {
			complete = false
		}
	}
	db.replace(nil, events.Position{})
	return agent.Recovered{Complete: complete}
}

// Local implements agent.Replication.
func (r replication) Local(d agent.Data) (uint64, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	db := r.s.on(r.node, d.Instance)
	return max(db.led, db.at.Epoch), nil
}

// Prove implements agent.Replication.
func (r replication) Prove(ctx context.Context, d agent.Data, epoch uint64) (err error) {
	return joined(r.reach(ctx, func() bool {
		if len(r.s.app(d.App.Name).shipped[epoch]) == 0 {
			err = fmt.Errorf("nothing of epoch %d of %s is stored", epoch, d.App.Name)
		}
		return true
	}), &err)
}

// Salvage implements agent.Replication.
func (r replication) Salvage(_ context.Context, d agent.Data, terms []agent.Term) (agent.Salvaged, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	db := r.s.on(r.node, d.Instance)
	var next *agent.Term // that was activated first after the one that was led here
	for _, t := range terms {
		switch {
		case t.Here && t.Epoch == db.led && db.led > 0:
			if next == nil || next.FromSum == sum(db.rows) {
				return agent.Salvaged{}, nil
			}
			shipped := r.s.app(d.App.Name).shipped[t.Epoch]
			found := events.Position{Epoch: t.Epoch, Seq: uint64(len(shipped)) + 1}
			s := agent.Salvaged{Epoch: t.Epoch, From: next.From, Found: found, Bytes: int64(len(db.rows)), Path: fmt.Sprintf("aside-e%d", t.Epoch)}
			db.replace(nil, events.Position{})
			return s, nil
		case t.Activated:
			next = &t
		}
	}
	return agent.Salvaged{}, nil
}

// Forget implements agent.Replication.
func (r replication) Forget(ctx context.Context, d agent.Data, keep uint64) (n int, err error) {
	err = joined(r.reach(ctx, func() bool {
		all := r.s.app(d.App.Name).shipped
		if len(all[keep]) == 0 {
			err = fmt.Errorf("nothing of epoch %d of %s is stored", keep, d.App.Name)
			return true
		}
		maps.DeleteFunc(all, func(epoch uint64, shipped []shipment) bool {
			if epoch < keep {
				n += len(shipped)
			}
			return epoch < keep
		})
		return true
	}), &err)
	return n, err
}

// joined returns the first of two errors.
func joined(first error, second *error) error {
	if first != nil {
		return first
	}
	return *second
}

// leading implements agent.Leading.
type leading struct {
	replication
	app    string
	db     *database
	epoch  uint64
	cancel context.CancelFunc

	once  sync.Once
	final string // checksum where the epoch ended; "" before it did; guarded by the store's lock
	end   events.Position
}

func (l *leading) run(ctx context.Context) {
	for tick := time.NewTicker(shipEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			if l.up() {
				l.s.mu.Lock()
				if l.final == "" && ctx.Err() == nil {
					l.s.ship(l.db, l.app, l.epoch)
				}
				l.s.mu.Unlock()
			}
		}
	}
}

// Sync implements agent.Leading.
func (l *leading) Sync(ctx context.Context) (at events.Position, err error) {
	err = l.reach(ctx, func() bool {
		at = l.s.ship(l.db, l.app, l.epoch)
		return true
	})
	return at, err
}

// Flush implements agent.Leading.
func (l *leading) Flush(ctx context.Context) (events.Position, string, error) {
	err := l.reach(ctx, func() bool {
		if l.final == "" {
			l.end = l.s.ship(l.db, l.app, l.epoch)
			l.final = sum(l.db.rows)
		}
		return true
	})
	return l.end, l.final, err
}

// Status implements agent.Leading.
func (l *leading) Status() agent.Replicated {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return agent.Replicated{Position: events.Position{Epoch: l.epoch, Seq: uint64(len(l.s.app(l.app).shipped[l.epoch]))}}
}

// Close implements agent.Leading.
func (l *leading) Close() error {
	l.once.Do(l.cancel)
	return nil
}

// following implements agent.Following.
type following struct {
	replication
	app   string
	db    *database
	epoch uint64
}

// CatchUp implements agent.Following.
func (f *following) CatchUp(ctx context.Context, p events.Position) (events.Position, error) {
	if p.Epoch != f.epoch {
		return f.Status().Position, fmt.Errorf("copy of epoch %d is asked for %s", f.epoch, p)
	}
	err := f.reach(ctx, func() bool {
		at := events.Position{Epoch: f.epoch, Seq: uint64(len(f.s.app(f.app).shipped[f.epoch]))}
		rows, _ := f.s.shippedAt(f.app, at)
		f.db.replace(rows, at)
		return at.Reached(p)
	})
	return f.Status().Position, err
}

// Apply implements agent.Following.
func (f *following) Apply(ctx context.Context, p events.Position, checksum string) error {
	var wrong error
	err := f.reach(ctx, func() bool {
		rows, there := f.s.shippedAt(f.app, p)
		if !there || p.Epoch != f.epoch {
			return false
		}
		if got := sum(rows); got != checksum {
			wrong = fmt.Errorf("checksum at %s is %q, not %q", p, got, checksum)
			return true
		}
		f.db.replace(rows, p)
		return true
	})
	return joined(err, &wrong)
}

// Status implements agent.Following.
func (f *following) Status() agent.Replicated {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return agent.Replicated{Position: f.db.at}
}

// Close implements agent.Following.
func (f *following) Close() error { return nil }
