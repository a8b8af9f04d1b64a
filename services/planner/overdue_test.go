package planner

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
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
	moving, apps := v.SortedApps()[0].Name+"-0", v.SortedApps()
	move := func(order string) []placement.Decision {
		return []placement.Decision{{Move: events.Move{Instance: moving, From: n.ID, To: "elsewhere", Order: order}}}
	}
	stops := func(moves []placement.Decision) (out []string) {
		for _, m := range moves {
			if m.To == "" {
				out = append(out, m.Instance)
			}
		}
		return out
	}

	if got := overdue(v, presenceOf(v), move("d-1"), deadline.Add(-1)); len(got) != 1 || len(stops(got)) > 0 {
		t.Errorf("before its time: %+v", got)
	}
	if got := overdue(v, presenceOf(v), move(""), deadline); len(got) != 2 || len(stops(got)) != 1 || stops(got)[0] == moving {
		t.Errorf("besides what moves for another reason: %+v", got)
	}
	if got := overdue(v, presenceOf(v), move("d-1"), deadline); len(got) != 2 || len(stops(got)) != 2 {
		t.Errorf("with what it would only now begin to move: %+v", got)
	}
	// Of a pool, what another instance does spares none; of a singleton there is one of each.
	a := apps[0]
	a.Open = map[string]*projections.Migration{"m-1": {Move: events.Move{Migration: "m-1", App: a.Name, Instance: a.Name + "-1", To: "elsewhere"}}}
	for mode, want := range map[spec.Mode]int{spec.Replicas: 2, spec.Singleton: 1} {
		a.Spec.Mode = mode
		if got := stops(overdue(v, presenceOf(v), nil, deadline)); len(got) != want {
			t.Errorf("%s of which something moves: %v are stopped, want %d", mode, got, want)
		}
	}
	a.Open = nil
	if d, wake := drainEnds(v, presenceOf(v), n, deadline.Add(-time.Second), true); d != nil || !wake.Equal(deadline) {
		t.Errorf("before its time: %+v, wake at %s", d, wake)
	}
	if d, wake := drainEnds(v, presenceOf(v), n, deadline, true); d != nil || !wake.IsZero() {
		t.Errorf("when its time is up: %+v, wake at %s", d, wake)
	}
	v.Frozen[events.FreezeSafety] = "half is silent"
	if got := overdue(v, presenceOf(v), move("d-1"), deadline); len(got) != 1 || len(stops(got)) > 0 {
		t.Errorf("while it is not known who is alive: %+v", got)
	}
}
