package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Acknowledger is a driver whose actives can be kept from acknowledging what they have committed.
type Acknowledger interface {
	// AcknowledgeAfter has each commit under the epoch that is made after its return be acknowledged only once stored has returned nil, which is
	// called after the commit; nil has them acknowledged at once again. The epoch may still have to begin, and the instance to become known: a program
	// that is started anew knows of none. It does not block.
	AcknowledgeAfter(id string, epoch uint64, stored func(context.Context) error)
}

// holdRetry is how long after a failure it is tried again to store what somebody waits for.
const holdRetry = 100 * time.Millisecond

// hold keeps the commits of one epoch from being acknowledged before they are stored. Those that wait at one time are stored at once. When it
// ends, they are let go as if it had never been: what is acknowledged from then on is what a takeover may miss.
type hold struct {
	epoch uint64
	ship  func(context.Context) error // stores what was written before the call
	log   *zap.Logger
	ctx   context.Context // ends with it
	end   context.CancelFunc

	mu   sync.Mutex
	next *round             // that has not begun; nil while nobody waits for it
	stop context.CancelFunc // of the round under way; nil for none
}

// round is one shipping, for all who had committed before it began.
type round struct {
	done chan struct{}
	err  error
}

func newHold(epoch uint64, ship func(context.Context) error, log *zap.Logger) *hold {
	h := &hold{epoch: epoch, ship: ship, log: log}
	h.ctx, h.end = context.WithCancel(context.Background()) // an agent that ends lets nothing go
	return h
}

// wait returns nil once what was committed before the call may be acknowledged, and why that is not known when ctx ends before.
func (h *hold) wait(ctx context.Context) error {
	for {
		r := h.join()
		select {
		case <-r.done:
			if r.err == nil {
				return nil
			}
		case <-h.ctx.Done():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// join returns the next round to begin.
func (h *hold) join() *round {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		h.next = &round{done: make(chan struct{})}
		if h.stop == nil {
			h.stop = func() {}
			go h.run()
		}
	}
	return h.next
}

// run does one round after the other while anybody waits.
func (h *hold) run() {
	for told := false; ; {
		ctx, cancel := context.WithCancel(h.ctx)
		h.mu.Lock()
		r := h.next
		h.next, h.stop = nil, cancel
		if r == nil {
			h.stop = nil
		}
		h.mu.Unlock()
		if r == nil {
			cancel()
			return
		}
		r.err = h.ship(ctx)
		cancel()
		if r.err != nil && !told && h.ctx.Err() == nil {
			told = true
			h.log.Warn("commits are not acknowledged: they cannot be stored", zap.Error(r.err))
		}
		if r.err != nil && !sleep(h.ctx, holdRetry) {
			r.err = nil // it is over
		}
		close(r.done)
	}
}

// interrupt ends the round under way: what it ships with is closed.
func (h *hold) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil {
		h.stop()
	}
}

var errNotShipped = errors.New("its data are not shipped from here")

// hold has the commits of an active be acknowledged only once they are stored, or no longer so. Calls for one instance come one after the other.
func (r *replicas) hold(id string, epoch uint64, on bool) {
	r.mu.Lock()
	h := r.holds[id]
	r.mu.Unlock()
	if h == nil && !on || h != nil && on && h.epoch == epoch {
		return
	}
	acks, can := able[Acknowledger](r.Driver)
	if !can {
		return
	}
	if h != nil {
		acks.AcknowledgeAfter(id, h.epoch, nil)
		h.end()
		h = nil
	}
	if on {
		ship := func(ctx context.Context) error {
			e := r.end(id)
			if e.epoch != epoch || e.lead == nil {
				return errNotShipped
			}
			_, err := e.lead.Sync(ctx)
			return err
		}
		h = newHold(epoch, ship, r.log.With(zap.String("instance", id), zap.Uint64("epoch", epoch)))
		acks.AcknowledgeAfter(id, epoch, h.wait)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h == nil {
		delete(r.holds, id)
	} else {
		r.holds[id] = h
	}
}

// holding says whether the commits under an epoch are acknowledged only once they are stored.
func (r *replicas) holding(id string, epoch uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holds[id]
	return h != nil && h.epoch == epoch
}

// holds says whether the commits of what is active here are to be acknowledged only once they are stored, and under which epoch that is.
func (a *assignment) holds(inc string) (epoch uint64, on bool) {
	app := a.state.Apps[a.app]
	if app == nil || app.Leader == nil || app.Leader.Ended || app.Leader.Inc != inc {
		return 0, false
	}
	for _, m := range app.Open {
		here := m.SourceHolds() && m.From == a.node && m.FromInc == inc || m.TargetHolds() && m.To == a.node && m.ToInc == inc
		if here && a.specs[m.SpecRev].SQLite != "" { // of a log nothing is ever acknowledged that is not stored
			return app.Leader.Epoch, true
		}
	}
	return 0, false
}

// hold does what the log says of that now: it is asked with every change, so that it ends with the move however that ends. w.mu is held.
func (w *worker) hold() {
	m, ok := w.a.auth.mandate()
	if !w.current || !ok {
		return
	}
	epoch, on := w.view.holds(m.inc)
	w.a.data.hold(w.view.standbyName(), epoch, on)
}

// holdsBack says whether nothing is acknowledged by the active of an order's move that is not stored, from now on.
func (w *worker) holdsBack(o order) bool {
	if o.run.App.Log {
		return true
	}
	w.mu.Lock()
	w.hold()
	w.mu.Unlock()
	return w.a.data.holding(o.instance, o.leader.Epoch)
}

// storesBefore returns an error while the source of a move with Sync cannot store what was written: before it has stepped down.
func (w *worker) storesBefore(ctx context.Context, o order) error {
	if !o.sync || !w.a.data.holding(o.instance, o.leader.Epoch) {
		return nil
	}
	try, cancel := within(ctx, o)
	defer cancel()
	if e := w.a.data.end(o.instance); e.leads() {
		if _, err := e.lead.Sync(try); err != nil {
			return &stepError{codeData, "it has not stepped down: data of " + o.instance + " cannot be stored: " + err.Error()}
		}
	}
	return nil
}

// storesFirst waits until the target of a move with Sync has stored its first copy, until which its commits are held back, or there is no time for
// that any more: it serves then, as after any other move. It returns whether it has.
func (w *worker) storesFirst(ctx context.Context, o order) bool {
	if !o.sync || o.run.App.Log {
		return o.sync
	}
	e := w.a.data.end(o.instance)
	if !w.holdsBack(o) || !e.leads() {
		return false
	}
	for {
		_, err := e.lead.Sync(ctx)
		if err == nil {
			return true
		}
		if !sleep(ctx, holdRetry) {
			w.log.Warn("commits are acknowledged before a first copy of the data is stored", zap.String("instance", o.instance), zap.Error(err))
			return false
		}
	}
}
