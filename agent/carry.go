package agent

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// prepareData has a copy follow the active of a move to here, or makes sure that there could be one. Nothing that an instance left
// here is looked at: where somebody else has been active since, it is worth nothing.
func (w *worker) prepareData(ctx context.Context, o order) error {
	app := o.run.App
	if !app.Replicated() {
		return nil
	}
	kind, data, err := w.a.data.dataOf(app, o.instance)
	if err != nil {
		return err
	}
	if end := w.a.data.end(o.instance); end.follow == nil && !end.leads() {
		if err := w.a.data.put(o.instance, nil); err != nil {
			return err
		}
		if err := w.a.salvage(ctx, app, o.instance, o.terms); err != nil {
			return err
		}
	}
	if o.from != "" && o.from != o.to {
		_, err := w.a.data.follow(app, o.instance, o.leader.Epoch)
		return err
	}
	if err := kind.Check(ctx, data); err != nil {
		return &stepError{codeData, fmt.Sprintf("data of %s: %v", o.instance, err)}
	}
	return nil
}

// stepSync ships what the active has written so far, while it goes on. One that was killed here has left what is to be shipped.
func (w *worker) stepSync(ctx context.Context, m mandate, o order) (events.Result, error) {
	if err := w.a.vips.alone(o.instance); err != nil { // before anything is held back, or ends: the source serves on
		return events.Result{}, err
	}
	if !w.a.data.ledHere(o.instance, o.leader.Epoch) {
		return events.Result{}, &stepError{codeData, fmt.Sprintf("data of %s under epoch %d are not shipped from here", o.instance, o.leader.Epoch)}
	}
	e, err := w.a.data.resumed(o.run.App, o.instance, o.leader.Epoch)
	if err != nil {
		return events.Result{}, err
	}
	if e.final != nil {
		return events.Result{Position: e.final.position.String(), Stored: o.sync}, nil
	}
	if o.sync && !w.holdsBack(o) { // first: what was acknowledged before is shipped with the rest
		return events.Result{}, &stepError{codeUnsupported, fmt.Sprintf("the commits of %s cannot be held back until they are stored", o.instance)}
	}
	p, err := e.lead.Sync(ctx)
	if err != nil {
		return events.Result{}, &stepError{codeData, fmt.Sprintf("data of %s not shipped: %v", o.instance, err)}
	}
	return events.Result{Position: p.String(), Stored: o.sync}, nil
}

// stepCatchUp waits until the copy has what was shipped.
func (w *worker) stepCatchUp(ctx context.Context, m mandate, o order) (events.Result, error) {
	f, p, err := w.copyOf(o)
	if err != nil {
		return events.Result{}, err
	}
	try, cancel := within(ctx, o)
	defer cancel()
	at, err := f.CatchUp(try, p)
	if err != nil {
		return events.Result{}, &stepError{codeData, fmt.Sprintf("copy of the data of %s is at %s, and %s was shipped: %v", o.instance, f.Status().Position, p, err)}
	}
	return events.Result{Position: at.String()}, nil
}

// stepApply makes the copy exactly what the active left.
func (w *worker) stepApply(ctx context.Context, m mandate, o order) (events.Result, error) {
	f, p, err := w.copyOf(o)
	if err != nil {
		return events.Result{}, err
	}
	if planted.CopyBehind {
		at := f.Status().Position
		return events.Result{Position: at.String(), Checksum: "behind"}, f.Close()
	}
	try, cancel := within(ctx, o)
	defer cancel()
	if err := f.Apply(try, p, o.checksum); err != nil {
		return events.Result{}, &stepError{codeData, fmt.Sprintf("copy of the data of %s is not what was left at %s: %v", o.instance, p, err)}
	}
	return events.Result{Position: o.position, Checksum: o.checksum}, w.a.data.put(o.instance, nil)
}

// appliesFirst has a copy become what was left, where the order to persist says what that is: then nobody had it applied before the grant. Done before,
// the epoch has begun since, and there is more.
func (w *worker) appliesFirst(ctx context.Context, m mandate, o order) error {
	if o.position == "" {
		return nil
	}
	_, err := w.stepApply(ctx, m, o)
	if err == nil {
		return nil
	}
	kind, data, unknown := w.a.data.dataOf(o.run.App, o.instance)
	if unknown != nil {
		return err
	}
	if of, unknown := kind.Local(data); unknown != nil || of != o.epoch {
		return err
	}
	return nil
}

// stepRecover makes the local data the newest that are known, with nobody there to ask.
func (w *worker) stepRecover(ctx context.Context, m mandate, o order) (events.Result, error) {
	kind, data, err := w.a.data.dataOf(o.run.App, o.instance)
	if err != nil {
		return events.Result{}, err
	}
	if err := w.a.data.put(o.instance, nil); err != nil {
		return events.Result{}, err
	}
	if err := w.a.salvage(ctx, o.run.App, o.instance, o.terms); err != nil {
		return events.Result{}, err
	}
	terms := w.a.termsHere(o.terms)
	r, err := kind.Recover(ctx, data, terms)
	if err != nil {
		return events.Result{}, &stepError{codeData, fmt.Sprintf("data of %s not recovered: %v", o.instance, err)}
	}
	return events.Result{Position: r.Position.String(), Checksum: r.Checksum, Incomplete: !r.Complete && len(terms) > 0 && !planted.LossUntold, Shipped: r.Shipped, Unsure: r.Unsure}, nil
}

// leaves says where the data of an active end that has ended here. Those of an app that was removed nobody goes on with: where they cannot be shipped
// it ends without them, and not never. They stay here, unless they are to be deleted.
func (w *worker) leaves(ctx context.Context, o order) (events.Result, error) {
	if !o.ran.Replicated() || o.leader.Epoch == 0 || o.leader.Node != w.a.cfg.Node {
		return events.Result{}, nil
	}
	try, cancel := within(ctx, o)
	defer cancel()
	e, err := w.a.data.ending(try, o.ran, o.instance, o.leader.Epoch)
	if err != nil && o.removed && ctx.Err() == nil {
		w.log.Warn("the app was removed, and the rest of its data is not stored", zap.String("instance", o.instance), zap.Error(err))
		return events.Result{Incomplete: true}, nil
	}
	return events.Result{Position: e.position.String(), Checksum: e.checksum}, err
}

// copyOf returns the copy that an order is about, and where it has to get.
func (w *worker) copyOf(o order) (Following, events.Position, error) {
	p, err := events.ParsePosition(o.position)
	if err != nil {
		return nil, p, &stepError{codeData, err.Error()}
	}
	f, err := w.a.data.follow(o.run.App, o.instance, p.Epoch)
	return f, p, err
}

// within ends a little before an order's time is up, so that its report says why.
func within(ctx context.Context, o order) (context.Context, context.CancelFunc) {
	if o.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.patience())
}
