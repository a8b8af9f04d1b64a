package planner

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// decided is an event to append and the end of its aggregate that it was decided on.
type decided struct {
	events.Draft
	head events.Head
}

// decide turns a plan and the state of the standing orders into events: at most one on each aggregate, so that each is still
// right when those before it are stored. wake is when time alone changes the answer.
func decide(v *projections.Cluster, plan placement.Plan, now time.Time, sure bool) (out []decided, wake time.Time) {
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
	moves := plan.Moves
	if sure {
		moves = append(moves, overdue(v, now)...)
	}
	if len(moves) > 0 {
		first := moves[0].Move
		add(admission(v, moves, first.Cause, first.Correlation))
	}
	for _, p := range plan.Pending {
		if a := v.Apps[p.App]; a.Pending == nil {
			add(pending(a, p))
		}
	}
	for _, s := range plan.Satisfied {
		a := v.Apps[s.App]
		add(&events.Draft{Aggregate: events.App(s.App), App: s.App, Cause: a.Pending.By.ID, Correlation: a.Pending.By.Correlation, Data: &events.PlacementSatisfied{Node: s.Node}})
	}
	for _, a := range v.SortedApps() {
		for _, m := range a.SortedOpen() {
			add(cancellation(v, a, m))
		}
	}
	later(plan.Wake)
	for _, n := range v.SortedNodes() {
		if n.Draining() {
			d, at := drainEnds(v, n, now, sure)
			add(d)
			later(at)
		}
	}
	d, at := evacuationEnds(v, now, sure)
	add(d)
	later(at)
	return out, wake
}

// maxMoves is how many moves one admission carries at most: it keeps the event well below the largest message. The rest is
// admitted by the next pass.
const maxMoves = 400

// admission gives the moves their ids and makes the one event that takes their places.
func admission(v *projections.Cluster, moves []placement.Decision, cause, correlation string) *events.Draft {
	agg := events.Cluster(v.Name)
	plan := "p-" + events.Derive(fmt.Sprint(v.Head(agg).Rev+1), cause)
	data := &events.PlanAdmitted{Plan: plan, StateSeq: v.Seq, PolicyHash: v.PolicyHash, Planner: placement.Version, Scores: map[string]int64{}}
	explained := map[string]bool{}
	for _, d := range moves[:min(len(moves), maxMoves)] {
		m := d.Move
		m.Migration = "m-" + events.Derive(plan, m.Instance)[:12]
		data.Moves = append(data.Moves, m)
		if m.To != "" {
			data.Scores[m.Migration] = d.Score
		}
		if !explained[m.App] {
			explained[m.App] = true
			data.Refused = append(data.Refused, grouped(m.App, d.Refused)...)
		}
	}
	return &events.Draft{Aggregate: agg, App: onlyApp(data.Moves), Cause: cause, Correlation: correlation, Data: data}
}

func onlyApp(moves []events.Move) string {
	for _, m := range moves {
		if m.App != moves[0].App {
			return ""
		}
	}
	return moves[0].App
}

// grouped counts refused nodes by rule, with at most 20 examples of each.
func grouped(app string, refused []events.Rejection) []events.RefusedNodes {
	var out []events.RefusedNodes
	at := map[string]int{}
	for _, r := range refused {
		i, seen := at[r.Code]
		if !seen {
			i = len(out)
			at[r.Code] = i
			out = append(out, events.RefusedNodes{App: app, Code: r.Code, Detail: r.Detail})
		}
		out[i].Count++
		if len(out[i].Examples) < 20 {
			out[i].Examples = append(out[i].Examples, r.Node)
		}
	}
	return out
}

// maxRejections is how many nodes a stored Pending names; the rest can be recomputed from the log.
const maxRejections = 20

func pending(a *projections.App, p placement.Pending) *events.Draft {
	by := a.Applied
	if a.Ruled.Seq > by.Seq {
		by = a.Ruled
	}
	for _, e := range a.Ended {
		if e.By.Seq > by.Seq {
			by = e.By
		}
	}
	return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Cause: by.ID, Correlation: by.Correlation, Data: &events.PlacementInvalid{
		Instance: p.Instance, Missing: p.Missing, Code: p.Code, Reason: p.Reason, Rejections: firstNodes(p.Refused), Nodes: p.Nodes}}
}

func firstNodes(refused []events.Rejection) []events.Rejection {
	seen := map[string]bool{}
	for i, r := range refused {
		if seen[r.Node] = true; len(seen) > maxRejections {
			return refused[:i]
		}
	}
	return refused
}

// cancellation asks the migrator to give up what can no longer end well, or is no longer wanted.
func cancellation(v *projections.Cluster, a *projections.App, m *projections.Migration) *events.Draft {
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
	if d := v.Drains[m.Orderer]; d != nil && (d.State == "failed" || d.State == "cancelled") {
		return cancel(d.Started, "drain_"+d.State)
	}
	if ev := v.Evacuations[m.Orderer]; ev != nil && ev.State == "failed" {
		return cancel(ev.Started, "evacuation_timeout")
	}
	if m.Status == projections.MigrationRunning && a.SpecRev != m.SpecRev && m.To != "" && len(placement.Judge(v, m)) > 0 {
		return cancel(a.Applied, "spec_changed")
	}
	return nil
}

// drainEnds ends a drain when nothing is left on the node, or when its time is up.
func drainEnds(v *projections.Cluster, n *projections.Node, now time.Time, sure bool) (*events.Draft, time.Time) {
	d := n.Drain
	draft := func(data any) *events.Draft {
		return &events.Draft{Aggregate: events.Node(n.ID), Node: n.ID, Cause: d.Started.ID, Correlation: d.Started.Correlation, Data: data}
	}
	left, open := leftOn(v, n)
	if len(left) == 0 && open == 0 {
		return draft(&events.DrainCompleted{Node: n.ID, Order: d.Order, Moved: movedBy(v, d.Order)}), time.Time{}
	}
	if d.Deadline.IsZero() || d.Force {
		return nil, d.Deadline
	}
	if !sure || now.Before(d.Deadline) {
		return nil, d.Deadline
	}
	return draft(&events.DrainFailed{Node: n.ID, Order: d.Order, Code: "timeout", Left: left}), time.Time{}
}

// leftOn lists the instances that still are on a node, and counts the open migrations that touch it.
func leftOn(v *projections.Cluster, n *projections.Node) (left []string, open int) {
	for _, in := range v.On(n.ID) {
		left = append(left, in.ID)
	}
	for _, a := range v.Apps {
		for _, m := range a.Open {
			if m.From == n.ID || m.To == n.ID {
				open++
			}
		}
	}
	return left, open
}

func movedBy(v *projections.Cluster, order string) int {
	moved := 0
	for _, m := range v.Migrations {
		if m.Orderer == order && m.Status == projections.MigrationCompleted {
			moved++
		}
	}
	return moved
}

// overdue stops what a forced drain still has on its node at the timeout.
func overdue(v *projections.Cluster, now time.Time) []placement.Decision {
	var out []placement.Decision
	for _, n := range v.SortedNodes() {
		d := n.Drain
		if d == nil || !d.Force || d.Deadline.IsZero() || now.Before(d.Deadline) {
			continue
		}
		for _, in := range v.On(n.ID) {
			a := v.Apps[in.App]
			if len(a.Open) > 0 {
				continue
			}
			out = append(out, placement.Decision{Move: events.Move{App: in.App, Instance: in.ID, SpecRev: a.SpecRev, From: n.ID, FromInc: in.Inc, Reason: events.ReasonDrain,
				Trigger: events.TriggerManual, Class: events.ClassForced, Forced: true, Order: d.Order, DeleteLocal: d.DeleteLocal,
				Cause: d.Started.ID, Correlation: d.Started.Correlation, Why: "the drain's time is up"}})
		}
	}
	return out
}

// evacuationEnds ends the first evacuation that can be ended; wake is the earliest deadline of the others.
func evacuationEnds(v *projections.Cluster, now time.Time, sure bool) (draft *events.Draft, wake time.Time) {
	for _, order := range sortedKeys(v.Evacuations) {
		ev := v.Evacuations[order]
		if ev.State != "open" {
			continue
		}
		left, open := leftBy(v, ev)
		timedOut := !ev.Deadline.IsZero() && sure && !now.Before(ev.Deadline)
		if len(left) == 0 && open == 0 || timedOut {
			return &events.Draft{Aggregate: events.Cluster(v.Name), Cause: ev.Started.ID, Correlation: ev.Started.Correlation, Data: &events.EvacuationCompleted{
				Order: order, Moved: movedBy(v, order), TimedOut: timedOut && (len(left) > 0 || open > 0), Left: left}}, wake
		}
		if !ev.Deadline.IsZero() && (wake.IsZero() || ev.Deadline.Before(wake)) {
			wake = ev.Deadline
		}
	}
	return nil, wake
}

func leftBy(v *projections.Cluster, ev *projections.Evacuation) (left []string, open int) {
	for _, n := range v.SortedNodes() {
		if n.Status != projections.StatusLeft && ev.Selector.Matches(n.Labels) {
			for _, in := range v.On(n.ID) {
				left = append(left, in.ID)
			}
		}
	}
	for _, a := range v.Apps {
		for _, m := range a.Open {
			if m.Orderer == ev.Order {
				open++
			}
		}
	}
	return left, open
}

// sameJSON says whether two values travel alike.
func sameJSON(x, y any) bool {
	a, errA := json.Marshal(x, json.Deterministic(true))
	b, errB := json.Marshal(y, json.Deterministic(true))
	return errA == nil && errB == nil && string(a) == string(b)
}
