package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Whoever waits at one time shares one shipping, which began after the last of them had come.
func TestHoldShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ships := 0
		h := newHold(1, func(context.Context) error { ships++; sleep(t.Context(), time.Second); return nil }, zap.NewNop())
		defer h.end()
		began := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				sleep(t.Context(), time.Duration(i)*100*time.Millisecond) // the first ships, the others come meanwhile
				if err := h.wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); ships != 2 || took != 2*time.Second {
			t.Errorf("%d shippings in %s, want 2 in 2s", ships, took)
		}
	})
}

// What fails is tried again. Whose context ends is told so; when the hold ends all are let go.
func TestHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var whole atomic.Bool // the last try may be made while the waiter's time ends
		h := newHold(1, func(ctx context.Context) error {
			if !whole.Load() {
				return errors.New("the store is full")
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}, zap.NewNop())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := h.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing was stored, and it says %v", err)
		}
		whole.Store(true)
		let := make(chan error, 1)
		go func() { let <- h.wait(t.Context()) }()
		synctest.Wait()
		h.interrupt() // what it shipped with is closed: it goes on with what comes then
		synctest.Wait()
		select {
		case err := <-let:
			t.Fatalf("nothing was stored, and it was let go: %v", err)
		default:
		}
		h.end()
		if err := <-let; err != nil {
			t.Error(err)
		}
	})
}

// What a node holds back is read off the log, event by event, and ends with the move, however that ends.
func TestHoldIsOfTheLog(t *testing.T) {
	kept := spec.App{Name: "app", Mode: spec.Singleton, SQLite: "$GC_DATA_DIR/app.db"}.WithDefaults()
	out, in := ref("m2", "here", "there"), ref("m3", "there", "here")
	begun := func(r events.Ref, sync bool, with spec.App) *tape {
		h := settled(spec.Singleton)
		h.event(&events.AppApplied{Spec: with, SpecRev: 2, Generation: 1})
		m := &events.MigrationStarted{Ref: r, Kind: events.KindMove, SpecRev: 2, Generation: 1, FromInc: "i1", ToInc: "j1", Sync: sync, Next: there(events.StepPrepare)}
		if r == in {
			h.event(&events.LeadershipGranted{Ref: out, Epoch: 2, Node: "there", Inc: "j1", Next: there(events.StepPersist)})
			m.FromInc, m.ToInc, m.Next = "j1", "i1", here(events.StepPrepare)
		}
		h.event(m)
		return h
	}
	done := func(r events.Ref, s events.Step, next *events.Next) any {
		return &events.StepCompleted{Ref: r, Step: s, Next: next}
	}
	undo := here(events.StepPersist)
	undo.Undo = true
	toSync, toCatchUp, toStepDown := done(out, events.StepPrepare, here(events.StepSync)), done(out, events.StepSync, there(events.StepCatchUp)), done(out, events.StepCatchUp, here(events.StepStepDown))
	type then struct {
		event any
		on    bool
	}
	for name, c := range map[string]struct {
		tape *tape
		then []then
	}{
		"a source, to its step-down": {begun(out, true, kept), []then{{toSync, true}, {toCatchUp, true}, {toStepDown, true}, {done(out, events.StepStepDown, there(events.StepApply)), false}}},
		"a source that is to catch up once more": {begun(out, true, kept), []then{{toSync, true}, {toCatchUp, true},
			{&events.StepRequested{Ref: out, Next: there(events.StepCatchUp)}, true}, {&events.StepFailed{Ref: out, Step: events.StepCatchUp}, false}}},
		"a move that is given up": {begun(out, true, kept), []then{{toSync, true}, {toCatchUp, true}, {&events.MigrationFailed{Ref: out, Left: events.LeftAtSource}, false}}},
		"a step-down that is late": {begun(out, true, kept), []then{{toSync, true}, {toCatchUp, true}, {toStepDown, true},
			{&events.StepTimedOut{Ref: out, Step: events.StepStepDown, Next: undo}, false}}},
		"a move that is called off during its step-down": {begun(out, true, kept), []then{{toSync, true}, {toCatchUp, true}, {toStepDown, true},
			{&events.LeadershipGranted{Ref: out, Epoch: 2, Node: "here", Inc: "i1", Undo: true, Next: undo}, false}}},
		"an epoch that is over here": {begun(out, true, kept), []then{{toSync, true}, {&events.LeadershipReleased{Ref: out, Epoch: 1, Node: "here", Inc: "i1"}, false}}},
		"a move without":             {begun(out, false, kept), []then{{toSync, false}, {toCatchUp, false}, {toStepDown, false}}},
		"a log":                      {begun(out, true, spec.App{Name: "app", Mode: spec.Singleton, Log: true}.WithDefaults()), []then{{toSync, false}, {toCatchUp, false}}},
		"a target, while it begins": {begun(in, true, kept), []then{{done(in, events.StepPrepare, there(events.StepSync)), false},
			{&events.LeadershipGranted{Ref: in, Epoch: 3, Node: "here", Inc: "i1", Next: here(events.StepPersist)}, false},
			{&events.LeadershipActivated{Ref: in, Epoch: 3, Node: "here", Inc: "i1", Next: here(events.StepActivate)}, true},
			{&events.MigrationCompleted{Ref: in, Step: events.StepActivate}, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, on := c.tape.holds("i1"); on {
				t.Error("before the final phase")
			}
			for i, step := range c.then {
				c.tape.event(step.event)
				if epoch, on := c.tape.holds("i1"); on != step.on || on && epoch != c.tape.state.Apps["app"].Leader.Epoch {
					t.Errorf("after event %d, %T: %t under epoch %d", i, step.event, on, epoch)
				}
				if _, on := c.tape.holds("i2"); on {
					t.Errorf("after event %d: for another incarnation", i)
				}
			}
		})
	}
}

// exits is a driver of programs that acknowledge by themselves, of which the one here has just exited and is started again soon.
type exits struct{ Driver }

func (exits) Status(string) (Status, bool) {
	return Status{State: StateStopped, Role: api.RoleActive}, true
}

// Nobody says of a program that acknowledges by itself that it is held back, not even while it does not run.
func TestWhoCannotBeHeldBack(t *testing.T) {
	h := settled(spec.Singleton)
	h.event(&events.AppApplied{Spec: spec.App{Name: "app", Mode: spec.Singleton, SQLite: "$GC_DATA_DIR/app.db"}.WithDefaults(), SpecRev: 2, Generation: 1})
	h.event(&events.MigrationStarted{Ref: ref("m2", "here", "there"), Kind: events.KindMove, SpecRev: 2, Generation: 1, FromInc: "i1", ToInc: "j1", Sync: true, Next: here(events.StepSync)})
	auth := newAuthority(func() time.Duration { return 0 }, 0)
	auth.extend("i1", time.Hour)
	r := &replicas{Driver: exits{}, log: zap.NewNop(), holds: map[string]*hold{}, ends: map[string]*replica{}}
	w := &worker{a: &agent{cfg: Config{Driver: r}, auth: auth, data: r}, view: h.assignment, current: true}
	epoch, on := w.view.holds("i1")
	if !on {
		t.Fatal("nothing is to be held back")
	}
	if w.holdsBack(order{instance: "app-0", sync: true, leader: projections.Leader{Epoch: epoch}}) {
		t.Error("it is said to be")
	}
}
