package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// under calls f with a context that ends with the worker, with the mandate, and when the order is not open any more.
func (w *worker) under(ctx context.Context, m mandate, o order, f func(context.Context) error) error {
	ctx, cancel := m.during(ctx)
	defer cancel(nil)
	w.mu.Lock()
	if !w.view.open(m.inc, o.seq) {
		w.mu.Unlock()
		return errSuperseded
	}
	w.acting = acting{inc: m.inc, seq: o.seq, cancel: cancel}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.acting = acting{}
		w.mu.Unlock()
	}()
	err := f(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx) // whatever it brought about is not the result of an open order under a mandate
	}
	return err
}

// perform does the step of an order and writes the result into the journal. A step that was cut short has no result.
func (w *worker) perform(ctx context.Context, m mandate, o order) error {
	log := w.log.With(zap.String("step", string(o.step)), zap.String("instance", o.instance), zap.String("migration", o.migration), zap.Uint64("order_seq", o.seq))
	start := w.a.cfg.Clock.Boot()
	err := w.under(ctx, m, o, func(ctx context.Context) error {
		log.Info("step begins")
		r := api.StepReport{OrderSeq: o.seq, Migration: o.migration, App: w.app, Instance: o.named, Step: o.step, Node: w.a.cfg.Node, Inc: m.inc}
		result, err := w.step(ctx, m, o)
		if ctx.Err() != nil || errors.Is(err, errNoMandate) {
			return err
		}
		result.TookMS = (w.a.cfg.Clock.Boot() - start).Milliseconds()
		r.Result = &result
		log.Info("step ends", zap.Duration("took", w.a.cfg.Clock.Boot()-start))
		if err != nil {
			r.Failed, r.Code, r.Detail = true, codeStepFailed, shorten(err.Error())
			var f *stepError
			if errors.As(err, &f) {
				r.Code = f.code
			}
			log.Warn("step failed", zap.String("code", r.Code), zap.Error(err))
		}
		return w.a.journal.Append(r)
	})
	if errors.Is(err, errSuperseded) || errors.Is(err, errNoMandate) {
		log.Info("step cut short", zap.Error(err))
		return nil
	}
	return err
}

// report says what the journal has on an order.
func (w *worker) report(ctx context.Context, m mandate, o order, r api.StepReport) error {
	err := w.under(ctx, m, o, func(ctx context.Context) error {
		if !m.ok() {
			return errNoMandate
		}
		return transport.PublishReport(ctx, w.a.js, w.a.subjects, r)
	})
	switch {
	case err == nil:
		w.told[o.seq] = true
	case errors.Is(err, errSuperseded) || errors.Is(err, errNoMandate):
		return nil
	}
	return err
}

// remove stops an instance that has no place here and forgets it.
func (w *worker) remove(ctx context.Context, m mandate, d deed) error {
	ctx, cancel := m.during(ctx)
	defer cancel(nil)
	return w.with(ctx, m, d.instance, func(ctx context.Context) error {
		w.log.Info("instance has no place here any more", zap.String("instance", d.instance), zap.Bool("delete_data", d.deleteData))
		if _, err := w.a.cfg.Driver.Stop(ctx, d.instance); err != nil {
			return err
		}
		if d.deleteData {
			if err := w.a.data.spare(ctx, d.run.App, d.instance, d.epoch); err != nil {
				return err
			}
		}
		if err := w.leaveBehind(ctx, d.instance); err != nil {
			return err
		}
		return w.a.cfg.Driver.Remove(d.instance, d.deleteData)
	})
}

// leaveBehind looks at the data of an instance that leaves for good.
func (w *worker) leaveBehind(ctx context.Context, id string) error {
	w.mu.Lock()
	var (
		run   Instance
		terms []projections.Term
	)
	if app := w.view.state.Apps[w.app]; app != nil {
		run, _ = w.view.instance(id, app.SpecRev, app.Generation)
		terms = slices.Clone(app.Terms)
	}
	w.mu.Unlock()
	if !run.App.Replicated() {
		return nil
	}
	if err := w.a.data.put(id, nil); err != nil {
		return err
	}
	return w.a.salvage(ctx, run.App, id, terms)
}

// resume starts a pool member again that the log has running here.
func (w *worker) resume(ctx context.Context, m mandate, d deed) error {
	ctx, cancel := m.during(ctx)
	defer cancel(nil)
	return w.with(ctx, m, d.instance, func(ctx context.Context) error {
		w.log.Info("instance resumed", zap.String("instance", d.instance))
		_, err := w.a.cfg.Driver.Start(ctx, w.equip(d.run))
		return err
	})
}

// running returns what the log has running here among the statuses, as it was started.
func (w *worker) running(inc string, statuses []Status) []Instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Instance
	app := w.view.state.Apps[w.app]
	for _, st := range statuses {
		if !lives(st.State) || !w.view.runs(app, inc, st.ID) || w.view.moving(app, st.ID) {
			continue
		}
		in := app.Instances[st.ID]
		if run, missing := w.view.instance(st.ID, in.SpecRev, in.Generation); !missing {
			run.Role, run.Epoch = st.Role, st.Epoch
			out = append(out, w.equip(run))
		}
	}
	return out
}

// refresh gives the driver back what it does not keep on disk, for what an earlier agent left running: the password in the URL.
func (w *worker) refresh(ctx context.Context, m mandate) {
	ctx, cancel := m.during(ctx)
	defer cancel(nil)
	if !strings.Contains(w.a.cfg.NATSURL, "@") {
		return
	}
	for _, run := range w.running(m.inc, w.statuses()) {
		err := w.with(ctx, m, run.ID, func(ctx context.Context) error {
			_, err := w.a.cfg.Driver.Prepare(ctx, run)
			return err
		})
		if err != nil {
			w.log.Warn("NATS URL of a running instance not refreshed", zap.String("instance", run.ID), zap.Error(err))
		}
	}
}

// equip adds the node's own particulars to what is to run.
func (w *worker) equip(in Instance) Instance {
	in.Address, in.NATSURL = w.a.cfg.Address, w.a.cfg.NATSURL
	return in
}

// awaitHealthy returns when the instance has been running and healthy for the whole time given, and an error when it gave up or
// did not get there within the other (0: no limit).
func (w *worker) awaitHealthy(ctx context.Context, id string, whole, within time.Duration) (Status, error) {
	begun := w.a.cfg.Clock.Boot()
	var (
		healthy bool
		began   time.Duration
		mark    Status
	)
	for {
		st, ok := w.a.cfg.Driver.Status(id)
		now := w.a.cfg.Clock.Boot()
		wait := workerPatient
		switch {
		case !ok:
			return st, &stepError{codeNotRunning, "instance " + id + " is not known to the driver any more"}
		case st.State == StateFailed:
			return st, &stepError{codeUnhealthy, "instance " + id + " failed: " + st.Detail}
		case !lives(st.State) || st.State == StateStopping:
			return st, &stepError{codeNotRunning, "instance " + id + " is " + string(st.State) + ": " + st.Detail}
		case st.State != StateRunning || !st.Healthy:
			healthy = false
		case !healthy || !st.Since.Equal(mark.Since) || st.Restarts != mark.Restarts: // it may have been ill for a moment nobody saw
			healthy, began, mark = true, now, st
		}
		if healthy {
			left := began + whole - now
			if left <= 0 {
				return st, nil
			}
			wait = min(wait, left)
		}
		if within > 0 {
			left := begun + within - now
			if left <= 0 {
				return st, &stepError{codeUnhealthy, fmt.Sprintf("instance %s is not healthy after %s: %s", id, within, cmp.Or(st.Detail, "it is "+string(st.State)))}
			}
			wait = min(wait, left)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return st, context.Cause(ctx)
		case <-w.signal:
		case <-timer.C:
		}
		timer.Stop()
	}
}
