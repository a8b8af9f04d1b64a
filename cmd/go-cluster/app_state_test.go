package main

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

func TestAppAsOrder(t *testing.T) {
	detail := func(state string, running, desired int) api.AppDetail {
		return api.AppDetail{AppView: api.AppView{Name: "web", State: state, Running: running, Desired: desired}, Why: "no eligible node"}
	}
	up := detail(api.AppRunning, 2, 2)
	older := up
	older.Older = []string{"web-1"}
	open := []api.MigrationView{migration("m1", "web-0", "a", "b", api.MigrationPlanned)}
	ended := []api.MigrationView{migration("m1", "web-0", "a", "b", api.MigrationCompleted)}
	failed := []api.MigrationView{migration("m1", "web-0", "a", "b", api.MigrationFailed)}
	for _, tc := range []struct {
		name  string
		kind  string
		facts appFacts
		over  bool
		code  int
	}{
		{"runs", "apply", appFacts{app: up}, true, exitDone},
		{"none wanted", "apply", appFacts{app: detail(api.AppStopped, 0, 0)}, true, exitDone},
		{"not placed yet", "apply", appFacts{app: detail(api.AppDegraded, 0, 2)}, false, 0},
		{"moving", "apply", appFacts{app: detail(api.AppMigrating, 2, 2)}, false, 0},
		{"pending", "apply", appFacts{app: detail(api.AppPending, 1, 2)}, true, exitPending},
		{"pending, but one is under way", "apply", appFacts{app: detail(api.AppPending, 1, 2), before: open, after: open}, false, 0},
		{"runs, to be replaced", "restart", appFacts{app: up, planned: []api.PlannedMove{{App: "web", Class: events.ClassRepair}}}, false, 0},
		{"runs, another is to be replaced", "restart", appFacts{app: up, planned: []api.PlannedMove{{App: "other", Class: events.ClassRepair}}}, true, exitDone},
		{"runs, a nicer node exists", "restart", appFacts{app: up, planned: []api.PlannedMove{{App: "web", Class: events.ClassPreference}}}, true, exitDone},
		{"runs, being replaced", "restart", appFacts{app: up, before: open, after: open}, false, 0},
		{"runs, replacement ended while asking", "restart", appFacts{app: up, before: open, after: ended}, false, 0},
		{"runs, replacement began while asking", "restart", appFacts{app: up, after: open}, false, 0},
		{"runs, replacement came and went while asking", "restart", appFacts{app: up, after: ended}, false, 0},
		{"runs after replacement", "restart", appFacts{app: up, before: ended, after: ended}, true, exitDone},
		{"an old failure", "apply", appFacts{app: detail(api.AppDegraded, 1, 2), before: failed, after: failed}, false, 0},
		{"runs as declared before, while the planner rests", "restart", appFacts{app: older}, false, 0},
		{"being removed", "remove", appFacts{app: up}, false, 0},
		{"removed", "remove", appFacts{gone: true}, true, exitDone},
	} {
		w := &watched{kind: tc.kind, name: "web"}
		p := newProgress(w)
		p.status(w, p.appAsOrder(tc.kind, tc.facts))
		if p.over() != tc.over {
			t.Errorf("%s: over = %v", tc.name, p.over())
		} else if tc.over && w.verdict().code != tc.code {
			t.Errorf("%s: %+v", tc.name, w.verdict())
		}
	}
}

func TestAppFailuresThatCount(t *testing.T) {
	for code, counts := range map[string]bool{"step_failed": true, "step_timed_out": true, "vetoed": true, "stale": false, "cancelled": false, "node_lost": false} {
		w := &watched{kind: "apply", name: "web"}
		p := newProgress(w)
		p.event(stored(t, "placement.migration.failed", `{"migration":"m1","instance":"web-0","to_node":"b","code":"`+code+`","detail":"exec: not found"}`))
		failed := []api.MigrationView{migration("m1", "web-0", "", "b", api.MigrationFailed)}
		p.status(w, p.appAsOrder("apply", appFacts{app: api.AppDetail{AppView: api.AppView{Name: "web", State: api.AppDegraded, Desired: 1}}, before: failed, after: failed}))
		if p.over() != counts {
			t.Errorf("%s: over = %v, want %v", code, p.over(), counts)
		} else if counts && w.verdict().code != exitFailedMoves {
			t.Errorf("%s: %+v", code, w.verdict())
		}
	}
}

// An app that runs on as it was declared before, because its replacement has failed, is not as declared: also while the planner rests.
func TestFailedReplacementIsNotDone(t *testing.T) {
	w := &watched{kind: "apply", name: "web"}
	p := newProgress(w)
	p.event(stored(t, "placement.migration.failed", `{"migration":"m1","instance":"web-0","to_node":"b","code":"step_failed","detail":"address in use"}`))
	failed := []api.MigrationView{migration("m1", "web-0", "a", "b", api.MigrationFailed)}
	up := api.AppDetail{AppView: api.AppView{Name: "web", State: api.AppRunning, Running: 1, Desired: 1}}
	p.status(w, p.appAsOrder("apply", appFacts{app: up, before: failed, after: failed}))
	if !p.over() || w.verdict().code != exitFailedMoves {
		t.Errorf("over = %v: %+v", p.over(), w.verdict())
	}
}

// A failure under an earlier command is none of this one, which waits for the next try and can say for what.
func TestEarlierFailureIsNamed(t *testing.T) {
	failed := []api.MigrationView{migration("m1", "web-0", "a", "b", api.MigrationFailed)}
	app := api.AppDetail{AppView: api.AppView{Name: "web", State: api.AppRunning, Running: 1, Desired: 1}, Older: []string{"web-0"},
		Instances: []api.InstanceView{{ID: "web-0", Node: "a"}}}
	rep := newProgress().appAsOrder("apply", appFacts{app: app, before: failed, after: failed})
	want := api.StayView{ID: "web-0", App: "web", Node: "a", Why: "it is to be replaced; the next try comes after a pause, since the last one failed: why m1"}
	if rep.State != api.OrderOpen || len(rep.Stays) != 1 || rep.Stays[0] != want {
		t.Errorf("%+v", rep)
	}
	held := []api.HeldMove{{PlannedMove: api.PlannedMove{App: "web", Instance: "web-0"}, Holds: []events.Hold{{Rule: "frozen", Detail: "audit"}}}}
	want.Why = "it is to be replaced, which is held: frozen: audit"
	if rep := newProgress().appAsOrder("apply", appFacts{app: app, before: failed, after: failed, held: held}); len(rep.Stays) != 1 || rep.Stays[0] != want {
		t.Errorf("held: %+v", rep)
	}
}
