package planner

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// stays says of each instance that an order has still to move why it is where it is.
func stays(v *projections.Cluster, plan placement.Plan, left []*projections.Instance, now time.Time) (out []api.StayView) {
	for _, in := range left {
		out = append(out, api.StayView{ID: in.ID, App: in.App, Node: in.Node, Why: stay(v, plan, in, now)})
	}
	return out
}

// stay returns the first reason that holds.
func stay(v *projections.Cluster, plan placement.Plan, in *projections.Instance, now time.Time) string {
	a := v.Apps[in.App]
	for _, m := range a.SortedOpen() {
		if m.Instance == in.ID && m.From == in.Node {
			return fmt.Sprintf("its %s is under way (%s: %s)", ends(m.Move), m.Migration, at(m))
		}
	}
	if why, frozen := v.Frozen[events.FreezeSafety]; frozen {
		return fmt.Sprintf("moves are frozen (%s: %s)", events.FreezeSafety, why)
	}
	for _, d := range plan.Moves {
		if d.Instance == in.ID {
			return fmt.Sprintf("its %s is next", ends(d.Move))
		}
	}
	for _, h := range plan.Held {
		if h.Instance == in.ID {
			return fmt.Sprintf("its %s is held: %s", ends(h.Move), projections.HoldsLine(h.Holds))
		}
	}
	if veto, is := a.Vetoes[in.ID]; is && veto.Until.After(now) {
		return fmt.Sprintf("its last move ended where it is, the next try is at %s: %s", veto.Until.UTC().Format(time.RFC3339), veto.Detail)
	}
	if p := stuck(v, plan, in.ID); p != nil {
		return "it has nowhere to go: " + p.Reason
	}
	if n := v.Nodes[in.Node]; n != nil && n.Status != projections.StatusReady {
		return fmt.Sprintf("%s is %s", n.ID, n.Status)
	}
	if others := a.SortedOpen(); len(others) > 0 {
		return fmt.Sprintf("%s of %s is under way first", others[0].Migration, others[0].Instance)
	}
	if with := together(v, a); with != "" {
		return fmt.Sprintf("it goes together with %s, which is not ready to go", with)
	}
	return "nothing is planned for it yet"
}

// at says how far a migration is.
func at(m *projections.Migration) string {
	if m.Order == nil {
		return m.Status
	}
	return fmt.Sprintf("%s on %s", m.Order.Step, m.Order.Node)
}

// together names an app that an app goes with, or that goes with it, and is on the move or may not be moved; "" for none.
func together(v *projections.Cluster, a *projections.App) string {
	for _, other := range v.SortedApps() {
		if slices.Contains(a.Spec.WithApp, other.Name) || slices.Contains(other.Spec.WithApp, a.Name) {
			if len(other.Open) > 0 || len(other.Vetoes) > 0 {
				return other.Name
			}
		}
	}
	return ""
}
