package main

import (
	"cmp"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// appFacts is what the control plane says of an app that is watched itself. The parts come from several questions, so the order
// matters in which they are asked: app, before, planned, after.
type appFacts struct {
	gone          bool // it exists no more
	app           api.AppDetail
	before, after []api.MigrationView
	planned       []api.PlannedMove // of any app
	held          []api.HeldMove    // of any app
}

// settled reports that at one moment, that of the plan, nothing was under way for the app and nothing left to do. A migration
// that is open at that moment is open before or new after, so that comparing the two lists is enough.
func (f appFacts) settled() bool {
	if slices.ContainsFunc(f.before, openMigration) || len(f.before) != len(f.after) {
		return false
	}
	return !slices.ContainsFunc(f.planned, func(m api.PlannedMove) bool { return m.App == f.app.Name && needed(m.Class) })
}

// needed tells moves that the declaration asks for from those that are only nicer.
func needed(c events.Class) bool { return c != events.ClassBalance && c != events.ClassPreference }

// appAsOrder is the state of an app in the words of an order. A removal is complete once the app is gone, anything else once the
// app is as declared: an instance whose replacement has failed, be it under an earlier command, runs on as it was declared before, while the
// planner rests before the next attempt and has nothing to do. Only migrations that p has heard of since the command count; older ones belong to older commands.
func (p *progress) appAsOrder(kind string, f appFacts) api.OrderReply {
	rep := api.OrderReply{Kind: kind, State: api.OrderOpen, Migrations: []api.MigrationView{}, Left: []string{}, Stuck: []api.PendingView{}}
	for _, v := range f.after {
		if m := p.migrations[v.ID]; openMigration(v) || m != nil && (v.Status == api.MigrationCompleted || outright(cmp.Or(m.code, v.Code))) {
			rep.Migrations = append(rep.Migrations, v)
		}
	}
	failed := slices.ContainsFunc(latest(rep.Migrations), func(v api.MigrationView) bool { return v.Status == api.MigrationFailed })
	running := (f.app.State == api.AppRunning || f.app.State == api.AppStopped) && f.app.Running >= f.app.Desired
	switch {
	case f.gone, kind != "remove" && running && !failed && len(f.app.Older) == 0 && f.settled():
		rep.State = api.OrderCompleted
	case f.app.State == api.AppPending:
		rep.Left = append(rep.Left, f.app.Name)
		rep.Stuck = append(rep.Stuck, api.PendingView{App: f.app.Name, Instance: f.app.Name, Reason: f.app.Why, Rejections: f.app.Pending, Relax: f.app.Relax})
	default:
		rep.Left = append(rep.Left, f.app.Name)
		if kind != "remove" {
			rep.Stays = f.older()
		}
	}
	return rep
}

// older says of each instance that waits for its replacement why.
func (f appFacts) older() (stays []api.StayView) {
	for _, id := range f.app.Older {
		st := api.StayView{ID: id, App: f.app.Name, Why: "it is to be replaced"}
		if i := slices.IndexFunc(f.app.Instances, func(v api.InstanceView) bool { return v.ID == id }); i >= 0 {
			st.Node = f.app.Instances[i].Node
		}
		for _, v := range latest(f.after) {
			if v.Instance == id && v.Status == api.MigrationFailed {
				st.Why = join("it is to be replaced; the next try comes after a pause, since the last one failed", v.Detail)
			}
		}
		for _, h := range f.held {
			if h.Instance == id && len(h.Holds) > 0 {
				st.Why = "it is to be replaced, which is held: " + holdLine(h.Holds[0])
			}
		}
		stays = append(stays, st)
	}
	return stays
}

// outright tells a failure of the app or its node from a migration that was given up because something newer took its place.
func outright(code string) bool {
	return code != "" && code != "stale" && code != "cancelled" && code != "node_lost"
}

// appState asks for an app's state after sequence minSeq.
func (w *watcher) appState(o *watched, minSeq uint64) (api.OrderReply, error) {
	var (
		f   appFacts
		err error
	)
	if f.app, err = w.app(o.name, minSeq); api.CodeOf(err) == api.CodeNotFound && o.kind == "remove" {
		f.gone, err = true, nil
	}
	if err != nil {
		return api.OrderReply{}, err
	}
	list := api.ListRequest{Meta: w.question(minSeq), App: o.name}
	if f.before, err = call[api.ListRequest, []api.MigrationView](w.client, api.MigrationList, list); err != nil {
		return api.OrderReply{}, err
	}
	f.after = f.before
	if o.kind != "remove" {
		plan, err := w.plan(api.PreviewRequest{Apply: &api.ApplyRequest{Meta: w.question(0), Spec: f.app.Spec}}, minSeq)
		if err != nil {
			return api.OrderReply{}, err
		}
		f.planned, f.held = plan.Moves, plan.Held
		if f.after, err = call[api.ListRequest, []api.MigrationView](w.client, api.MigrationList, list); err != nil {
			return api.OrderReply{}, err
		}
	}
	return w.p.appAsOrder(o.kind, f), nil
}
