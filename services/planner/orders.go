package planner

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// drainEnds ends a drain when nothing is left on the node, or when its time is up.
func drainEnds(v *projections.Cluster, there presence, n *projections.Node, now time.Time, sure bool) (*events.Draft, time.Time) {
	d := n.Drain
	draft := func(data any) *events.Draft {
		return &events.Draft{Aggregate: events.Node(n.ID), Node: n.ID, Cause: d.Started.ID, Correlation: d.Started.Correlation, Data: data}
	}
	left, open := there.leftOn(n)
	if (len(left) == 0 || planted.DrainEarly) && open == 0 {
		return draft(&events.DrainCompleted{Node: n.ID, Order: d.Order, Moved: d.Moved}), time.Time{}
	}
	switch {
	case d.Deadline.IsZero() || !sure || now.Before(d.Deadline):
		return nil, d.Deadline
	case d.Force: // what is left is stopped, and each end of a stop is an event
		return nil, time.Time{}
	}
	return draft(&events.DrainFailed{Node: n.ID, Order: d.Order, Code: "timeout", Left: idsOf(left)}), time.Time{}
}

// draining lists the nodes that are being drained, ordered by id.
func draining(v *projections.Cluster) (out []*projections.Node) {
	for _, d := range v.Drains {
		if n := v.Nodes[d.Node]; n != nil && n.Drain == d {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(x, y *projections.Node) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// evacuating says whether an evacuation is open.
func evacuating(v *projections.Cluster) bool {
	for _, ev := range v.Evacuations {
		if ev.State == api.OrderOpen {
			return true
		}
	}
	return false
}

// presence is who is where, and what is under way, found in one look at the apps for all orders that are judged together.
type presence struct {
	at     map[string]projections.Occupants // by node
	ends   map[string]int                   // by node: open migrations that touch it
	orders map[string]int                   // by order: its open migrations
}

func presenceOf(v *projections.Cluster) presence {
	p := presence{at: v.ByNode(), ends: map[string]int{}, orders: map[string]int{}}
	for _, a := range v.Apps {
		for _, m := range a.Open {
			p.orders[m.Orderer]++
			if p.ends[m.From]++; m.To != m.From {
				p.ends[m.To]++
			}
		}
	}
	return p
}

// leftOn lists the instances that still are on a node, and counts the open migrations that touch it.
func (p presence) leftOn(n *projections.Node) (left []*projections.Instance, open int) {
	return p.at[n.ID].All(), p.ends[n.ID]
}

// leftBy lists the instances that an evacuation has still to move, and counts its open migrations and all others that touch its nodes: what leaves
// one of them by another's order may come back.
func (p presence) leftBy(v *projections.Cluster, ev *projections.Evacuation) (left []*projections.Instance, open int) {
	open = p.orders[ev.Order]
	for _, n := range v.SortedNodes() {
		if n.Status != projections.StatusLeft && ev.Selector.Matches(n.Labels) {
			left = append(left, p.at[n.ID].All()...)
			open += p.ends[n.ID]
		}
	}
	return left, open
}

func idsOf(ins []*projections.Instance) (ids []string) {
	for _, in := range ins {
		ids = append(ids, in.ID)
	}
	return ids
}

// overrun says whether the time of a forced drain is up on its node, so that what is left there is stopped. Nothing is stopped while it is not
// known who is alive: it might be the last instance there is.
func overrun(v *projections.Cluster, n *projections.Node, now time.Time) bool {
	_, frozen := v.Frozen[events.FreezeSafety]
	d := n.Drain
	return !frozen && d != nil && d.Force && !d.Deadline.IsZero() && !now.Before(d.Deadline) && n.Status == projections.StatusReady
}

// overdue returns moves with stops of what forced drains still have on their nodes when their time is up. What they would only now begin to move is
// stopped, too; what leaves for another reason goes on.
func overdue(v *projections.Cluster, there presence, moves []placement.Decision, now time.Time) []placement.Decision {
	var late []*projections.Node
	for _, n := range draining(v) {
		if overrun(v, n, now) {
			late = append(late, n)
		}
	}
	if len(late) == 0 {
		return moves
	}
	moves = slices.DeleteFunc(slices.Clone(moves), func(m placement.Decision) bool {
		return slices.ContainsFunc(late, func(n *projections.Node) bool { return m.Order == n.Drain.Order })
	})
	planned := map[string]bool{}
	for _, m := range moves {
		planned[m.Instance] = true
	}
	for _, n := range late {
		d := n.Drain
		for _, in := range there.at[n.ID].Instances {
			a := v.Apps[in.App]
			if planned[in.ID] || underWay(a, in) {
				continue
			}
			moves = append(moves, placement.Decision{Move: events.Move{App: in.App, Instance: in.ID, SpecRev: a.SpecRev, From: n.ID, FromInc: in.Inc, Reason: events.ReasonDrain,
				Trigger: events.TriggerManual, Class: events.ClassForced, Forced: true, Order: d.Order, DeleteLocal: d.DeleteLocal,
				Cause: d.Started.ID, Correlation: d.Started.Correlation, Why: "the drain's time is up"}})
		}
	}
	return moves
}

// underWay says whether an open move stands in the way of another of the instance.
func underWay(a *projections.App, in *projections.Instance) bool {
	return slices.ContainsFunc(a.Main(), func(m *projections.Migration) bool {
		return a.Spec.Mode == spec.Singleton || m.Instance == in.ID
	})
}

// evacuationEnds ends the first evacuation that can be ended; wake is the earliest deadline of the others.
func evacuationEnds(v *projections.Cluster, there presence, now time.Time, sure bool) (draft *events.Draft, wake time.Time) {
	for _, order := range sortedKeys(v.Evacuations) {
		ev := v.Evacuations[order]
		if ev.State != api.OrderOpen {
			continue
		}
		left, open := there.leftBy(v, ev)
		timedOut := !ev.Deadline.IsZero() && sure && !now.Before(ev.Deadline)
		if len(left) == 0 && open == 0 || timedOut {
			return &events.Draft{Aggregate: events.Cluster(v.Name), Cause: ev.Started.ID, Correlation: ev.Started.Correlation, Data: &events.EvacuationCompleted{
				Order: order, Moved: ev.Moved, TimedOut: timedOut && (len(left) > 0 || open > 0), Left: idsOf(left)}}, wake
		}
		if !ev.Deadline.IsZero() && (wake.IsZero() || ev.Deadline.Before(wake)) {
			wake = ev.Deadline
		}
	}
	return nil, wake
}
