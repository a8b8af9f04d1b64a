package planner

import (
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// decided is an event to append and the end of its aggregate that it was decided on.
type decided struct {
	events.Draft
	head events.Head
}

// decide turns a plan and the state of the standing orders into events: at most one on each aggregate, so that each is still
// right when those before it are stored. busy are all apps with open migrations or proposals. wake is when time alone changes the answer.
func decide(v *projections.Cluster, plan placement.Plan, busy []*projections.App, declared *declarations, now time.Time, sure bool) (out []decided, wake time.Time) {
	used := map[events.Aggregate]bool{}
	add := func(d *events.Draft) {
		if d == nil || used[d.Aggregate] {
			return
		}
		if _, bad := v.Quarantined[d.Aggregate]; bad {
			return
		}
		used[d.Aggregate] = true
		out = append(out, decided{*d, v.Head(d.Aggregate)})
	}
	later := func(t time.Time) {
		if !t.IsZero() && (wake.IsZero() || t.Before(wake)) {
			wake = t
		}
	}
	declared.follow(v, add)
	var there presence
	drained := draining(v)
	if len(drained) > 0 || evacuating(v) {
		there = presenceOf(v)
	}
	moves := plan.Moves
	if sure {
		moves = overdue(v, there, moves, now)
	}
	for _, p := range plan.Pending { // first: who is told of it is to see the app as it is, and not as the moves below leave it
		if a := v.Apps[p.App]; a.Pending == nil && !planted.PendingUntold {
			add(pending(v, a, p, now))
		}
	}
	if len(moves) > 0 {
		first := moves[0].Move
		add(admission(v, moves, first.Cause, first.Correlation))
	}
	for _, d := range proposals(v, plan, busy, now, sure) {
		add(d)
	}
	for _, s := range plan.Satisfied {
		a := v.Apps[s.App]
		add(&events.Draft{Aggregate: events.App(s.App), App: s.App, Cause: a.Pending.By.ID, Correlation: a.Pending.By.Correlation, Data: &events.PlacementSatisfied{Node: s.Node}})
	}
	for _, a := range busy {
		for _, m := range a.SortedOpen() {
			add(cancellation(v, a, m, now, sure))
		}
	}
	later(plan.Wake)
	for _, n := range drained {
		d, at := drainEnds(v, there, n, now, sure)
		add(d)
		later(at)
	}
	d, at := evacuationEnds(v, there, now, sure)
	add(d)
	later(at)
	return out, wake
}

// What a stored Pending names at most; the rest can be recomputed from the log.
const (
	maxNodes      = 20
	maxRejections = 64 << 10 // bytes, and one node more
)

func pending(v *projections.Cluster, a *projections.App, p placement.Pending, now time.Time) *events.Draft {
	by := a.Applied
	if a.Ruled.Seq > by.Seq {
		by = a.Ruled
	}
	for _, e := range a.Ended {
		if e.By.Seq > by.Seq {
			by = e.By
		}
	}
	cause, correlation := by.ID, by.Correlation
	if p.Cause != "" {
		cause, correlation = p.Cause, p.Correlation
	}
	return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Cause: cause, Correlation: correlation, Data: &events.PlacementInvalid{
		Instance: p.Instance, Missing: p.Missing, Code: p.Code, Reason: p.Reason, Rejections: firstNodes(p.Refused), Nodes: p.Nodes,
		Relax: placement.Relax(v, nil, now, p)}}
}

// firstNodes keeps every rejection of the first nodes.
func firstNodes(refused []events.Rejection) []events.Rejection {
	nodes, bytes, last := 0, 0, ""
	for i, r := range refused {
		if r.Node != last {
			if nodes == maxNodes || bytes > maxRejections {
				return refused[:i]
			}
			nodes, last = nodes+1, r.Node
		}
		bytes += len(r.Detail)
	}
	return refused
}

// cancellation asks the migrator to give up what can no longer end well, or is no longer wanted.
func cancellation(v *projections.Cluster, a *projections.App, m *projections.Migration, now time.Time, sure bool) *events.Draft {
	if m.Cancel != nil || m.Committed || m.Undoing {
		return nil
	}
	cancel := func(by projections.Cause, why string) *events.Draft {
		return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Cause: by.ID, Correlation: m.Correlation, Data: &events.CancelRequested{Ref: m.Ref(), Why: why}}
	}
	for _, end := range []struct{ node, inc string }{{m.From, m.FromInc}, {m.To, m.ToInc}} {
		if n := v.Nodes[end.node]; n != nil && end.inc != "" && (n.Inc != end.inc || n.Status == projections.StatusLost || n.Status == projections.StatusLeft) {
			return cancel(m.Admitted, "node_lost")
		}
	}
	if a.Removed && m.Kind != events.KindStop {
		return cancel(a.Applied, "app_removed")
	}
	if d := v.Drains[m.Orderer]; d != nil && (d.State == api.OrderFailed || d.State == api.OrderCancelled) {
		return cancel(d.Started, "drain_"+d.State)
	}
	// Where the source may have stepped down already, going forward leaves its node as soon as going back to be stopped there.
	if n := v.Nodes[m.From]; sure && n != nil && m.Kind == events.KindMove && !m.GapOpened && overrun(v, n, now) && n.Drain.Order == m.Orderer {
		return cancel(n.Drain.Started, "drain_timeout")
	}
	if ev := v.Evacuations[m.Orderer]; ev != nil && ev.State == api.OrderFailed {
		return cancel(ev.Started, "evacuation_timeout")
	}
	if ev := v.Evacuations[m.Orderer]; ev != nil && ev.State == api.OrderCancelled {
		return cancel(ev.Ended, "evacuation_cancelled")
	}
	if r := v.Rebalances[m.Orderer]; r != nil && r.Stopped {
		return cancel(r.Ended, "rebalance_stopped")
	}
	if m.Status == projections.MigrationRunning && a.SpecRev != m.SpecRev && m.To != "" && len(placement.Judge(v, m)) > 0 {
		return cancel(a.Applied, "spec_changed")
	}
	// Of a move that has no way back as if nothing had been tried, going forward costs the app no more than going back.
	if m.Status == projections.MigrationRunning && m.Kind != events.KindInPlace && !m.GapOpened {
		if broken := placement.Moot(v, m); len(broken) > 0 {
			return cancel(placement.MootBy(v, m, broken), "target_ineligible")
		}
	}
	return nil
}
