package agent

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// Pauses of a worker.
const (
	workerRetry   = time.Second // after something that should have worked
	workerPatient = 15 * time.Second
	resumeLongest = 30 * time.Second
	workerLinger  = time.Minute // after the app's last instance or move here has ended
)

// errSuperseded ends what was under way for an order that is not open any more.
var errSuperseded = errors.New("the order is not open any more")

// worker does what one app asks of this node, one thing after the other.
type worker struct {
	a      *agent
	app    string
	log    *zap.Logger
	ctx    context.Context // of run
	signal chan struct{}   // something it may depend on has changed; has room for one

	mu     sync.Mutex
	view   *assignment
	acting acting
	wake   uint64 // sequence of the newest event that it was woken up for
	// current says that the fold had caught up once: what comes now is new.
	current bool
	alarm   *alarm // that the app's hook is to be called for

	// The rest belongs to the goroutine of run.
	asked     uint64 // connection for which the end of the app's events was asked, from 1
	target    uint64 // that end
	told      map[uint64]bool
	retries   map[string]retry // by instance
	removed   map[string]bool  // instances that were removed by this agent: what of them is here stays
	refreshed bool
	occupied  bool          // the app had something here when that was last looked at
	vacant    time.Duration // on CLOCK_BOOTTIME: since when it has nothing
	why       string        // why nothing is done, as logged last
}

type acting struct {
	inc    string
	seq    uint64
	cancel context.CancelCauseFunc
}

// retry is when something is tried again, on CLOCK_BOOTTIME, and how long the wait was.
type retry struct{ at, wait time.Duration }

func newWorker(a *agent, app string) *worker {
	return &worker{a: a, app: app, log: a.cfg.Log.With(zap.String("app", app)), signal: make(chan struct{}, 1),
		view: newAssignment(a.cfg.Cluster, a.cfg.Node, app), told: map[uint64]bool{}, retries: map[string]retry{}, removed: map[string]bool{}}
}

// wakeUp keeps the worker until it has folded an event that concerns this node, which has it look: before that, there is nothing new.
func (w *worker) wakeUp(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake = max(w.wake, seq)
}

// nudge has the worker look again. It never blocks.
func (w *worker) nudge() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// run works until ctx ends or the app does not concern this node any more.
func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	w.ctx = ctx
	var following sync.WaitGroup
	following.Go(func() { w.follow(ctx) })
	defer following.Wait()
	defer cancel()
	for ctx.Err() == nil {
		wait, more := w.turn(ctx)
		if !more {
			return
		}
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.signal:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// follow folds the events of the app and of the node's membership. What else is stored of the node is for the planner, and would
// come to every worker: where hundreds run, each change of a label would be read hundreds of times.
func (w *worker) follow(ctx context.Context) {
	filters := []string{w.a.subjects.Aggregate(events.App(w.app)), w.a.subjects.Membership(w.a.cfg.Node)}
	for {
		w.mu.Lock()
		from := w.view.state.Seq + 1
		w.mu.Unlock()
		err := w.a.events.Follow(ctx, from, filters, func(m events.Message) error {
			w.fold(m)
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		w.log.Warn("events not followed, trying again", zap.Error(err))
		if !sleep(ctx, workerRetry) {
			return
		}
	}
}

func (w *worker) fold(m events.Message) {
	w.mu.Lock()
	w.view.apply(m)
	if w.acting.cancel != nil && !w.view.open(w.acting.inc, w.acting.seq) {
		w.acting.cancel(errSuperseded)
	}
	w.hold()
	judged := w.current && w.view.judged(m)
	if _, is := m.Event.Data.(*events.PlacementInvalid); is && w.current && m.Err == nil {
		w.alarmed()
	}
	w.mu.Unlock()
	w.a.sawSeq(m.Event.Seq)
	if judged {
		w.a.kick() // what the next lease says counts only when it has seen this
	}
	w.nudge()
}

// turn does one thing. It returns how long to wait for a change, 0 for not at all, and false when the worker is done for good.
func (w *worker) turn(ctx context.Context) (wait time.Duration, more bool) {
	if c := w.a.connections.Load(); w.asked != c {
		target, err := w.a.lastSeqOf(ctx, events.App(w.app))
		if err != nil {
			w.idle("the end of its events is not known", zap.Error(err))
			return workerRetry, true
		}
		w.asked, w.target = c, target
		clear(w.told) // the acknowledgement may have been lost with the connection, and a report more does no harm
	}
	s := w.a.present()
	m, ok := w.a.auth.mandate()
	if !ok || s.inc != m.inc {
		w.idle("the node has no right to act")
		return workerPatient, true
	}
	d, ok := w.decide(m, s)
	if !ok {
		return workerRetry, true
	}
	w.why = ""
	if !w.refreshed {
		w.refreshed = true
		w.refresh(ctx, m)
	}
	var err error
	switch d.kind {
	case deedNone:
		wait := w.untilRetry()
		switch left := w.lingers(m); {
		case left == 0 && w.retire(m):
			return 0, false
		case left > 0:
			wait = min(wait, left)
		}
		return wait, true
	case deedPerform:
		err = w.perform(ctx, m, d.order)
	case deedReport:
		err = w.report(ctx, m, d.order, d.report)
	case deedRemove:
		err := w.remove(ctx, m, d)
		w.removed[d.instance] = err == nil
		w.later(d.instance, err)
	case deedResume:
		w.later(d.instance, w.resume(ctx, m, d))
	case deedStand:
		w.later(d.instance, w.stand(ctx, m, d))
	case deedEnd:
		w.log.Warn("epoch ended: its instance does not run any more", zap.String("instance", d.instance), zap.Uint64("epoch", d.epoch))
		err = errors.Join(w.a.vips.drop(d.instance), w.a.ended.Add(api.FencedEpoch{App: w.app, Instance: d.instance, Epoch: d.epoch}))
		w.a.kick()
	}
	if err != nil && m.ok() && ctx.Err() == nil {
		w.log.Error("not done, trying again", zap.String("deed", string(d.kind)), zap.String("instance", d.instance), zap.Error(err))
		return workerRetry, true
	}
	return 0, true
}

// decide returns what is next, once the fold is as new as the log was when the connection came up, and past the node's own
// joining.
func (w *worker) decide(m mandate, s session) (deed, bool) {
	statuses := w.statuses()
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.view
	switch why := v.quarantined(); {
	case why != "":
		w.idle("quarantined: " + why)
		return deed{}, false
	case v.state.Seq < w.target || !v.ready(m.inc, s.joined):
		return deed{}, false
	}
	if !w.current {
		w.current = true
		w.alarmed()
	}
	w.hold()
	w.sound(w.ctx)
	if err := w.remember(m.inc); err != nil {
		w.idle("what the log says cannot be written down", zap.Error(err))
		return deed{}, false
	}
	return v.next(m.inc, known{
		statuses: statuses, result: w.a.journal.Get, told: func(seq uint64) bool { return w.told[seq] }, ended: w.a.ended.Has,
		follows: w.a.data.follows,
		defers: func(id string) bool {
			r, tried := w.retries[id]
			return tried && w.a.cfg.Clock.Boot() < r.at
		},
		remains: w.remains,
	}), true
}

// remains says whether data of an instance are here that this agent has not removed.
func (w *worker) remains(id string) bool {
	keeper, can := able[DataKeeper](w.a.cfg.Driver)
	if !can || w.removed[id] {
		return false
	}
	_, err := os.Lstat(keeper.DataDir(id))
	return err == nil
}

// remember writes down what must be known before the events have been read again. w.mu is held.
func (w *worker) remember(inc string) error {
	v := w.view
	if app := v.state.Apps[w.app]; app != nil && app.Epoch > w.a.epochs.Highest(w.app) && !v.persists(inc, app.Epoch) && !planted.EpochNotWritten {
		if err := w.a.persist(w.app, app.Epoch); err != nil {
			return err
		}
	}
	if to := v.isolation(); to != "" {
		if err := w.a.hosted.Isolate(w.app, to, v.isolationImplied()); err != nil {
			return err
		}
	}
	if app := v.state.Apps[w.app]; app != nil && len(app.Lost) > 0 {
		if err := w.a.lost.Told(app.Lost); err != nil {
			return err
		}
	}
	return w.a.ended.Drop(func(f api.FencedEpoch) bool { return f.App == w.app && v.over(inc, f) })
}

// idle logs why nothing is done, once.
func (w *worker) idle(why string, fields ...zap.Field) {
	if w.why != why {
		w.log.Info("idle: "+why, fields...)
	}
	w.why = why
}

// lingers returns how long the worker is still kept for an app that has nothing here: often it comes back, a rollout or a drain
// later, and then its events need not be read again, nor the disk waited for.
func (w *worker) lingers(m mandate) time.Duration {
	w.mu.Lock()
	concerns := w.view.concerns(m.inc)
	w.mu.Unlock()
	before := w.occupied
	if w.occupied = concerns || len(w.statuses()) > 0; w.occupied {
		return workerLinger
	}
	now := w.a.cfg.Clock.Boot()
	if before {
		w.vacant = now
	}
	return max(0, w.vacant+workerLinger-now)
}

// retire ends the worker when there is nothing here of the app, as far as it was woken up for.
func (w *worker) retire(m mandate) bool {
	if len(w.statuses()) > 0 {
		return false
	}
	return w.a.retire(w, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.view.concerns(m.inc) && w.view.state.Seq >= w.wake
	})
}

// statuses returns what the driver has of the app.
func (w *worker) statuses() []Status {
	return slices.DeleteFunc(w.a.cfg.Driver.List(), func(s Status) bool { return s.App != w.app })
}

// later notes whether something is to be tried again, and when.
func (w *worker) later(id string, err error) {
	w.a.data.waits(id, err)
	if err == nil {
		delete(w.retries, id)
		return
	}
	w.a.kick()
	wait := min(max(2*w.retries[id].wait, workerRetry), resumeLongest)
	w.retries[id] = retry{at: w.a.cfg.Clock.Boot() + wait, wait: wait}
	w.log.Warn("trying again later", zap.String("instance", id), zap.Duration("in", wait), zap.Error(err))
}

func (w *worker) untilRetry() time.Duration {
	wait := workerPatient
	if len(w.retries) == 0 {
		return wait
	}
	now := w.a.cfg.Clock.Boot()
	for _, r := range w.retries {
		if r.at > now {
			wait = min(wait, r.at-now)
		}
	}
	return wait
}

// sleep waits for d; it returns false when ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
