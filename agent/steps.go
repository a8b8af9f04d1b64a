package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// Codes of failed steps.
const (
	codeStepFailed  = "failed"      // the driver's word
	codeUnsupported = "unsupported" // this agent does not know the step
	codeUnhealthy   = "unhealthy"   // started, and gave up before it was healthy
	codeNotRunning  = "not_running" // ended meanwhile
	codeStaleEpoch  = "stale_epoch" // a higher epoch was seen, or this one has ended
	codeUnknownSpec = "unknown_spec"
	codeVIP         = "vip"          // the address cannot be carried on this node
	codeVIPConflict = "vip_conflict" // somebody else has the address
	codeData        = "data"         // the data cannot be carried
)

// stepError is a failed step with a code of its own.
type stepError struct{ code, detail string }

// Error implements error.
func (e *stepError) Error() string { return e.detail }

// steps is what a node can do. A step may be done again after a crash in its middle, so each is idempotent.
var steps = map[events.Step]func(*worker, context.Context, mandate, order) (events.Result, error){
	events.StepPrepare:  (*worker).stepPrepare,
	events.StepStart:    (*worker).stepStart,
	events.StepStepDown: (*worker).stepDown,
	events.StepPersist:  (*worker).stepPersist,
	events.StepActivate: (*worker).stepActivate,
	events.StepSync:     (*worker).stepSync,
	events.StepCatchUp:  (*worker).stepCatchUp,
	events.StepApply:    (*worker).stepApply,
	events.StepRecover:  (*worker).stepRecover,
	events.StepStop:     (*worker).stepStop,

	events.StepMigrationStart:    (*worker).stepHook,
	events.StepMigrationComplete: (*worker).stepHook,
}

func (w *worker) step(ctx context.Context, m mandate, o order) (events.Result, error) {
	do := steps[o.step]
	if do == nil {
		return events.Result{}, &stepError{codeUnsupported, fmt.Sprintf("this agent (version %s) does not know the step %s", w.a.cfg.Version, o.step)}
	}
	if !m.ok() {
		return events.Result{}, errNoMandate
	}
	return do(w, ctx, m, o)
}

// with calls f when it is the instance's turn, if the mandate still holds then.
func (w *worker) with(ctx context.Context, m mandate, id string, f func(context.Context) error) error {
	return w.a.hands.do(ctx, id, func(ctx context.Context) error {
		if !m.ok() {
			return errNoMandate
		}
		return f(ctx)
	})
}

func (w *worker) place(st Status) events.Result {
	return events.Result{Ports: st.Ports, Address: w.a.cfg.Address}
}

// specKnown refuses an order whose spec this node has never seen.
func specKnown(o order) error {
	if o.specMissing {
		return &stepError{codeUnknownSpec, "the spec that the order is pinned to is not known"}
	}
	return nil
}

// stepPrepare makes a standby ready.
func (w *worker) stepPrepare(ctx context.Context, m mandate, o order) (events.Result, error) {
	if err := specKnown(o); err != nil {
		return events.Result{}, err
	}
	if !o.standby { // the active has it meanwhile
		if err := w.a.vips.free(o.instance, o.run.App.VIP, o.vip); err != nil {
			return events.Result{}, err
		}
	}
	in := w.equip(o.run)
	in.Role = api.RoleStandby
	var st Status
	err := w.with(ctx, m, o.instance, func(ctx context.Context) (err error) {
		if planted.PrepareStarts {
			_, _ = w.a.cfg.Driver.Start(ctx, in)
		}
		if st, err = w.a.cfg.Driver.Prepare(ctx, in); err == nil {
			err = w.prepareData(ctx, o)
		}
		return err
	})
	return w.place(st), err
}

// stepStart starts a pool member and waits until it has been healthy for as long as the app wants.
func (w *worker) stepStart(ctx context.Context, m mandate, o order) (events.Result, error) {
	if err := specKnown(o); err != nil {
		return events.Result{}, err
	}
	in := w.equip(o.run)
	if err := w.launch(ctx, m, in); err != nil {
		return events.Result{}, err
	}
	st, err := w.awaitHealthy(ctx, in.ID, in.App.Migration.MinHealthyTime.D(), o.patience())
	return w.place(st), err
}

// launch starts an instance; one that runs as something else is stopped first.
func (w *worker) launch(ctx context.Context, m mandate, in Instance) error {
	return w.with(ctx, m, in.ID, func(ctx context.Context) error {
		st, ok := w.a.cfg.Driver.Status(in.ID)
		if ok && lives(st.State) && (st.State == StateStopping || st.Role != in.Role || st.Epoch != in.Epoch || st.Generation != in.Generation) {
			if _, err := w.a.cfg.Driver.Stop(ctx, in.ID); err != nil {
				return err
			}
			if !m.ok() {
				return errNoMandate
			}
		}
		_, err := w.a.cfg.Driver.Start(ctx, in)
		return err
	})
}

// stepStop ends the instance and keeps its data: as the last act of a source, or as its stepping down.
func (w *worker) stepStop(ctx context.Context, m mandate, o order) (events.Result, error) {
	if planted.StepDownLies && o.step == events.StepStepDown {
		return events.Result{}, nil
	}
	return w.ends(ctx, m, o, w.a.cfg.Driver.Stop)
}

// ends has an instance end as an active, and says where its data end.
func (w *worker) ends(ctx context.Context, m mandate, o order, end func(context.Context, string) (Status, error)) (r events.Result, err error) {
	err = w.with(ctx, m, o.instance, func(ctx context.Context) error {
		if _, err := end(ctx, o.instance); err != nil {
			return err
		}
		r, err = w.leaves(ctx, o)
		return err
	})
	return r, err
}

// stepDown has the active write nothing any more, and keeps it ready where the driver can.
func (w *worker) stepDown(ctx context.Context, m mandate, o order) (events.Result, error) {
	if o.to == w.a.cfg.Node { // nothing is prepared where it is restarted in place, and what it cannot have it must not end for
		if err := w.a.vips.free(o.instance, o.run.App.VIP, o.vip); err != nil {
			return events.Result{}, err
		}
	}
	if err := w.storesBefore(ctx, o); err != nil {
		return events.Result{}, err
	}
	demoter, can := able[Demoter](w.a.cfg.Driver)
	if !can {
		return w.stepStop(ctx, m, o)
	}
	return w.ends(ctx, m, o, demoter.Demote)
}

// stepPersist writes the granted epoch down, and with that refuses every lower one for ever.
func (w *worker) stepPersist(ctx context.Context, m mandate, o order) (events.Result, error) {
	if planted.EpochNotWritten && w.a.epochs.Highest(w.app) > 0 {
		return events.Result{}, nil
	}
	if planted.EarlyStart {
		in := w.equip(o.run)
		in.Role, in.Epoch = api.RoleActive, o.epoch
		_ = w.launch(ctx, m, in)
	}
	if err := w.appliesFirst(ctx, m, o); err != nil {
		return events.Result{}, err
	}
	if err := w.settles(ctx, o); err != nil {
		if w.a.epochs.Highest(w.app) > o.epoch {
			return events.Result{}, &stepError{codeStaleEpoch, err.Error()}
		}
		return events.Result{}, err
	}
	return events.Result{Stored: o.sync}, nil
}

// settles has the epoch on the disk, and with it that the data here are its: what is written once is waited for once.
func (w *worker) settles(ctx context.Context, o order) error {
	promoted := make(chan error, 1)
	if o.run.App.Replicated() && w.a.epochs.Highest(w.app) <= o.epoch {
		go func() {
			_, _, err := w.a.data.promote(ctx, o.run.App, o.instance, o.epoch)
			promoted <- err
		}()
	} else {
		promoted <- nil
	}
	return errors.Join(w.a.persist(w.app, o.epoch), <-promoted)
}

// stepActivate starts the instance as the active of its epoch and waits until it is healthy. When it fails, the epoch has ended on
// this node and nothing runs under it: that is what lets the migrator grant the next.
func (w *worker) stepActivate(ctx context.Context, m mandate, o order) (events.Result, error) {
	patient, cancel := within(ctx, o)
	defer cancel()
	st, err := w.activate(ctx, m, o)
	if err == nil {
		r := w.place(st)
		r.Stored = w.storesFirst(patient, o)
		return r, nil
	}
	if ctx.Err() != nil || errors.Is(err, errNoMandate) { // no verdict on the app; whoever ended the context ends what runs, or lets it
		return events.Result{}, err
	}
	if kill := w.a.hands.kill(o.instance); kill != nil {
		return events.Result{}, fmt.Errorf("%w; and it could not be killed: %w", err, kill)
	}
	if add := w.a.ended.Add(api.FencedEpoch{App: w.app, Instance: o.instance, Epoch: o.epoch}); add != nil {
		return events.Result{}, fmt.Errorf("%w; %w", err, add)
	}
	return events.Result{Released: true}, err
}

func (w *worker) activate(ctx context.Context, m mandate, o order) (Status, error) {
	if planted.EpochNotWritten {
		o.epoch = w.a.epochs.Highest(w.app)
	}
	l := o.leader
	stale := func(why string) (Status, error) {
		return Status{}, &stepError{codeStaleEpoch, fmt.Sprintf("activate %s under epoch %d: %s", o.instance, o.epoch, why)}
	}
	switch high := w.a.epochs.Highest(w.app); {
	case o.specMissing:
		return Status{}, specKnown(o)
	case l.Node != w.a.cfg.Node || l.Inc != m.inc || !l.Activated || l.Ended:
		return stale("it is not this node's, or over")
	case high != o.epoch:
		return stale(fmt.Sprintf("the highest epoch written down here is %d", high))
	case w.a.ended.Has(o.instance, o.epoch):
		return stale("this node has ended it")
	}
	if o.sync && !w.holdsBack(o) { // its word is given
		return Status{}, &stepError{codeUnsupported, fmt.Sprintf("the commits of %s cannot be held back until they are stored", o.instance)}
	}
	in := w.equip(o.run)
	in.Role, in.Epoch = api.RoleActive, o.epoch
	if err := w.launch(ctx, m, in); err != nil {
		return Status{}, err
	}
	return w.awaitHealthy(ctx, in.ID, 0, o.patience())
}
