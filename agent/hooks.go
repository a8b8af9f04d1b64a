package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// Hooker is a driver that can call the hooks of apps. Hook returns nil when the hook said yes, and a *HookError otherwise. It keeps
// to HookCall.Timeout whatever the hook does, and may be called again with the same call.
type Hooker interface {
	Hook(ctx context.Context, in Instance, call HookCall) error
}

// HookCall is one call of a hook.
type HookCall struct {
	Name     string // spec.Hook…
	From, To string // nodes; "" for none
	Reason   string // of the move, or why the placement is invalid
	Timeout  time.Duration
}

// HookError is why a hook did not say yes.
type HookError struct {
	Code       string // events.Hook…
	Detail     string
	RetryAfter time.Duration // 0: it did not say
}

// Error implements error.
func (e *HookError) Error() string { return e.Detail }

// hookResult makes what travels of the end of a hook; nil for a yes.
func hookResult(err error) *events.HookResult {
	if err == nil {
		return nil
	}
	r := &events.HookResult{Code: events.HookBroken, Detail: shorten(err.Error())}
	var h *HookError
	if errors.As(err, &h) {
		r.Code, r.RetryAfter = h.Code, spec.Duration(h.RetryAfter)
	}
	return r
}

// call calls a hook of an app, if its spec has it.
func (w *worker) call(ctx context.Context, in Instance, call HookCall) error {
	ref, has := in.App.Hooks[call.Name]
	if !has {
		return nil
	}
	hooker, can := able[Hooker](w.a.cfg.Driver)
	if !can {
		return &HookError{Code: events.HookBroken, Detail: "this agent cannot call hooks"}
	}
	call.Timeout = ref.Timeout.D()
	return hooker.Hook(ctx, w.equip(in), call)
}

// stepHook asks the app, or tells it. It does not wait for the instance's turn: a hook is to see the instance as it is.
func (w *worker) stepHook(ctx context.Context, _ mandate, o order) (events.Result, error) {
	if err := specKnown(o); err != nil {
		return events.Result{}, err
	}
	name := spec.HookMigrationStart
	if o.step == events.StepMigrationComplete {
		name = spec.HookMigrationComplete
	}
	err := w.call(ctx, o.run, HookCall{Name: name, From: o.from, To: o.to, Reason: o.reason})
	if err == nil {
		return events.Result{}, nil
	}
	r := hookResult(err)
	return events.Result{Hook: r}, &stepError{r.Code, r.Detail}
}

// alarm is an episode of Pending that a hook here is to be told of.
type alarm struct {
	event  string // id
	reason string
	run    Instance
}

// alarmed returns the app's present episode of Pending, if its hook is to be called here: where the app runs, and where it runs
// nowhere on every node that registers it, or that ran it last.
func (a *assignment) alarmed(registered bool) (alarm, bool) {
	app := a.state.Apps[a.app]
	if app == nil || app.Pending == nil {
		return alarm{}, false
	}
	s, known := a.specs[app.SpecRev]
	if _, has := s.Hooks[spec.HookPlacementInvalid]; !has || !known {
		return alarm{}, false
	}
	al := alarm{event: app.Pending.By.ID, reason: app.Pending.Reason}
	al.run, _ = a.instance(app.Pending.Instance, app.SpecRev, app.Generation)
	for _, id := range slices.Sorted(maps.Keys(app.Instances)) {
		if app.Instances[id].Node == a.node {
			al.run.ID = id
			return al, true
		}
	}
	if len(app.Instances) > 0 {
		return alarm{}, false
	}
	return al, registered || slices.ContainsFunc(slices.Collect(maps.Values(app.Ended)), func(e projections.Ending) bool { return e.Node == a.node })
}

// alarmed notes an episode that has just begun, or that a worker finds. Where the app runs is looked at then: it may be stopped next.
// w.mu is held.
func (w *worker) alarmed() {
	if al, is := w.view.alarmed(w.a.registers(w.app)); is {
		w.alarm = &al
	}
}

// sound has the app's hook called for an episode, beside everything else. w.mu is held.
func (w *worker) sound(ctx context.Context) {
	if w.alarm == nil {
		return
	}
	al := *w.alarm
	w.alarm = nil
	w.a.working.Go(func() {
		began := w.a.cfg.Clock.Boot()
		err := w.call(ctx, al.run, HookCall{Name: spec.HookPlacementInvalid, Reason: al.reason})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.log.Warn("hook", zap.String("hook", spec.HookPlacementInvalid), zap.Error(err))
		}
		w.answered(ctx, al, hookResult(err), w.a.cfg.Clock.Boot()-began)
	})
}

// answered tells the control plane how a hook ended, for as long as it takes.
func (w *worker) answered(ctx context.Context, al alarm, r *events.HookResult, took time.Duration) {
	inc, _ := w.a.auth.incarnation()
	req := api.HookRequest{App: w.app, Hook: spec.HookPlacementInvalid, Node: w.a.cfg.Node, Inc: inc, About: al.event, Result: r, TookMS: took.Milliseconds()}
	for {
		req.Meta = transport.NewMeta("agent:"+w.a.cfg.Node, w.a.cfg.Clock.Now(), declareTimeout)
		req.Meta.ID = fmt.Sprintf("hook-%s-%s", al.event, w.a.cfg.Node)
		try, cancel := context.WithTimeout(ctx, declareTimeout)
		_, err := transport.Call[api.HookRequest, api.Ack](try, w.a.cfg.NC, w.a.subjects, api.AppHook, req)
		cancel()
		code := api.CodeOf(err)
		if err == nil || code != api.CodeUnavailable && code != api.CodeTimeout && code != api.CodeExpired || !sleep(ctx, workerRetry) {
			return
		}
	}
}

// registers says whether the program of this agent has the code of an app.
func (a *agent) registers(app string) bool { return a.cfg.Facts.Registers(app) }
