package invariants

import (
	"maps"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

func (w *world) applyApp(e *events.Event) {
	a := w.app(e.Aggregate.ID)
	at := func(id, node string) *instance {
		if in := a.instances[id]; in != nil && in.node == node {
			return in
		}
		return &instance{}
	}
	switch d := e.Data.(type) {
	case *events.PlacementUpdated:
		a.spec, a.rev = a.spec.WithRules(d.Rules), d.SpecRev
	case *events.AppApplied:
		a.spec, a.rev, a.generation, a.removed = d.Spec, d.SpecRev, d.Generation, false
		if l := a.leader; l != nil && l.ended && d.Spec.Mode != spec.Singleton {
			a.leader = nil // it led what the app was before it was removed
		}
	case *events.AppRemoved:
		a.removed, a.pending = true, false
	case *events.AppRestartRequested:
		a.generation = d.Generation
	case *events.PlacementInvalid:
		a.pending = true
	case *events.PlacementSatisfied:
		a.pending = false
	case *events.InstanceHealthy:
		at(d.Instance, d.Node).healthy = true
	case *events.InstanceUnhealthy:
		at(d.Instance, d.Node).healthy = false
	case *events.InstanceFailed:
		at(d.Instance, d.Node).healthy = false
	case *events.InstanceStopped:
		if in := a.instances[d.Instance]; in != nil && in.node == d.Node {
			delete(a.instances, d.Instance)
		}
	default:
		w.applyMigration(a, e)
	}
}

func (w *world) applyMigration(a *app, e *events.Event) {
	ref, next, ok := about(e.Data)
	if !ok {
		return
	}
	m := w.moves[ref.Migration]
	switch d := e.Data.(type) {
	case *events.LeadershipGranted:
		a.leader = &leader{epoch: d.Epoch, node: d.Node, inc: d.Inc}
	case *events.LeadershipActivated:
		if a.leader != nil && a.leader.epoch == d.Epoch {
			a.leader.activated = true
		}
	case *events.LeadershipReleased:
		if a.leader != nil && a.leader.epoch == d.Epoch {
			a.leader.ended = true
		}
		if m == nil {
			maps.DeleteFunc(a.instances, func(_ string, in *instance) bool { return a.singleton() && in.inc == d.Inc })
		}
	case *events.StepFailed:
		if d.Result != nil && d.Result.Released && a.leader != nil && a.leader.node == d.Node {
			a.leader.ended = true
		}
	}
	if m == nil {
		return
	}
	w.advance(a, m, e)
	switch e.Data.(type) {
	case *events.CancelRequested:
		return // orders nothing, and ends no order
	case *events.MigrationCompleted, *events.MigrationFailed:
		delete(w.moves, m.Migration)
		return
	}
	if m.order = nil; next != nil {
		m.order = &order{*next, e.Seq}
		m.undoing = m.undoing || next.Undo
	}
}

// advance is what an event of an open migration does to it and to its instance.
func (w *world) advance(a *app, m *move, e *events.Event) {
	if m.Standby() {
		w.advanceStandby(a, m, e)
		return
	}
	switch d := e.Data.(type) {
	case *events.MigrationStarted:
		if m.started = true; m.Kind() == events.KindPlace {
			a.put(m.Instance, m.To, m.ToInc, e.Stored, false)
		}
	case *events.StepCompleted:
		if l := a.leader; d.Step == events.StepStepDown && l != nil && l.inc == m.FromInc {
			if l.ended = true; d.Result != nil {
				l.left = *d.Result
			}
		}
		switch in := a.instances[m.Instance]; {
		case d.Step == events.StepStart:
			m.target = true
		case d.Step == events.StepActivate && in != nil && in.node == d.Node:
			in.healthy = true
		}
	case *events.LeadershipGranted:
		m.granted, m.undoing = true, d.Undo
		w.promote(a, m, d.Node, e.Stored)
		a.put(m.Instance, d.Node, d.Inc, e.Stored, false)
	case *events.MigrationCompleted:
		if m.Kind() != events.KindStop {
			w.promote(a, m, m.To, e.Stored)
			a.put(m.Instance, m.To, m.ToInc, e.Stored, true)
			return
		}
		delete(a.instances, m.Instance)
		if a.leader != nil && a.leader.inc == m.FromInc {
			a.leader.ended = true
		}
	case *events.MigrationFailed:
		w.fail(a, m, d.Left, e.Stored)
	}
}

func (w *world) fail(a *app, m *move, left string, at time.Time) {
	if !m.started {
		return // it has touched nothing
	}
	switch in := a.instances[m.Instance]; {
	case left == events.LeftNowhere:
		delete(a.instances, m.Instance)
	case left == events.LeftAtTarget:
		a.put(m.Instance, m.To, m.ToInc, at, true)
	case in != nil && m.From != "":
		a.put(m.Instance, m.From, m.FromInc, at, in.healthy || m.granted)
	}
}

// put has the instance on a node; where it is there already, since stays.
func (a *app) put(id, node, inc string, at time.Time, healthy bool) {
	in := a.instances[id]
	if in == nil || in.node != node || in.inc != inc {
		in = &instance{node: node, inc: inc, since: at}
		a.instances[id] = in
	}
	in.healthy = healthy
}

// about returns which migration an event is about and the step that it orders.
func about(data any) (ref events.Ref, next *events.Next, ok bool) {
	switch d := data.(type) {
	case *events.MigrationStarted:
		return d.Ref, d.Next, true
	case *events.MigrationCompleted:
		return d.Ref, nil, true
	case *events.MigrationFailed:
		return d.Ref, nil, true
	case *events.CancelRequested:
		return d.Ref, nil, true
	case *events.StepRequested:
		return d.Ref, d.Next, true
	case *events.StepCompleted:
		return d.Ref, d.Next, true
	case *events.StepFailed:
		return d.Ref, d.Next, true
	case *events.StepTimedOut:
		return d.Ref, d.Next, true
	case *events.LeadershipGranted:
		return d.Ref, d.Next, true
	case *events.LeadershipActivated:
		return d.Ref, d.Next, true
	case *events.LeadershipReleased:
		return d.Ref, nil, true
	}
	return events.Ref{}, nil, false
}
