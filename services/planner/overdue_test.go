package planner

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// A forced drain whose time is up stops what stays, once, and then waits for events: its deadline is not a reason to wake again.
func TestOverdue(t *testing.T) {
	deadline := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	v := crowded(1, 2)
	n := v.SortedNodes()[0]
	n.Drain = &projections.Drain{Order: "d-1", Node: n.ID, Force: true, Deadline: deadline}
	v.Drains["d-1"] = n.Drain
	for _, a := range v.Apps {
		id := a.Name + "-0"
		a.Instances[id] = &projections.Instance{ID: id, App: a.Name, Node: n.ID, Inc: n.Inc, Healthy: true, State: "running"}
	}
	moving := v.SortedApps()[0].Name + "-0"
	plan := placement.Plan{Moves: []placement.Decision{{Move: events.Move{Instance: moving, From: n.ID, To: "elsewhere"}}}}

	if got := overdue(v, presenceOf(v), plan, deadline.Add(-1)); len(got) > 0 {
		t.Errorf("before its time: %+v", got)
	}
	if got := overdue(v, presenceOf(v), plan, deadline); len(got) != 1 || got[0].Instance == moving || got[0].To != "" {
		t.Errorf("besides what moves: %+v", got)
	}
	if d, wake := drainEnds(v, presenceOf(v), n, deadline.Add(-time.Second), true); d != nil || !wake.Equal(deadline) {
		t.Errorf("before its time: %+v, wake at %s", d, wake)
	}
	if d, wake := drainEnds(v, presenceOf(v), n, deadline, true); d != nil || !wake.IsZero() {
		t.Errorf("when its time is up: %+v, wake at %s", d, wake)
	}
	v.Frozen[events.FreezeSafety] = "half is silent"
	if got := overdue(v, presenceOf(v), plan, deadline); len(got) > 0 {
		t.Errorf("while it is not known who is alive: %+v", got)
	}
}
