package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

func migration(id, instance, from, to, status string) api.MigrationView {
	return api.MigrationView{ID: id, App: "web", Instance: instance, FromNode: from, ToNode: to, Status: status, DurationMS: 410, Detail: "why " + id}
}

func drainReply(state string, left []string, stuck []api.PendingView, migrations ...api.MigrationView) api.OrderReply {
	return api.OrderReply{Order: "o1", Kind: "drain", State: state, Left: left, Stuck: stuck, Migrations: migrations}
}

func nowhere(instance string) api.PendingView {
	return api.PendingView{App: "web", Instance: instance, Reason: "no eligible node"}
}

// awaits is a move that an operator has to approve of.
func awaits(id, instance string) api.MigrationView {
	v := migration(id, instance, "a", "b", api.MigrationPlanned)
	v.Awaits = "approval"
	return v
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind string
		rep  api.OrderReply
		over bool
		code int
		line string
	}{
		{"nothing done yet", "drain", drainReply(api.OrderOpen, []string{"web-0"}, nil), false, 0, ""},
		{"under way", "drain", drainReply(api.OrderOpen, []string{"web-0"}, nil, migration("m1", "web-0", "a", "b", api.MigrationRunning)), false, 0, ""},
		{"done", "drain", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationCompleted)),
			true, exitDone, "drained a: 1 instance moved"},
		{"done at the second try", "drain", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationFailed),
			migration("m2", "web-0", "a", "c", api.MigrationCompleted)), true, exitDone, "drained a: 1 instance moved"},
		{"time is up", "drain", drainReply(api.OrderFailed, []string{"web-1"}, nil, migration("m1", "web-0", "a", "b", api.MigrationCompleted)),
			true, exitTimeUp, "drain a: time is up after 1 move; left where they are: web-1\n  a stays cordoned: go-cluster node uncordon a"},
		{"only stuck ones left", "drain", drainReply(api.OrderOpen, []string{"web-1"}, []api.PendingView{nowhere("web-1")},
			migration("m1", "web-0", "a", "b", api.MigrationCompleted)), true, exitPending, "drain a: 1 instance has nowhere to go: web-1"},
		{"stuck, but another moves", "drain", drainReply(api.OrderOpen, []string{"web-0", "web-1"}, []api.PendingView{nowhere("web-1")},
			migration("m1", "web-0", "a", "b", api.MigrationRunning)), false, 0, ""},
		{"stuck, but another waits", "drain", drainReply(api.OrderOpen, []string{"web-0", "web-1"}, []api.PendingView{nowhere("web-1")}), false, 0, ""},
		{"held is not stuck", "drain", drainReply(api.OrderOpen, []string{"web-1"}, []api.PendingView{nowhere("web-1")},
			migration("m1", "web-1", "a", "b", api.MigrationHeld)), false, 0, ""},
		{"cancelled", "drain", drainReply(api.OrderCancelled, []string{"web-1"}, nil), true, exitFailedMoves, "drain a was cancelled after 0 moves"},
		{"a failed try keeps a drain going", "drain", drainReply(api.OrderOpen, []string{"web-0"}, nil, migration("m1", "web-0", "a", "b", api.MigrationFailed)),
			false, 0, ""},
		{"waits for an approval", "apply", drainReply(api.OrderOpen, []string{"web"}, nil, awaits("m1", "web-0")), true, exitApproval,
			"apply a waits for an operator's approval\n  web-0 a → b: go-cluster migration approve m1"},
		{"something else is under way", "apply", drainReply(api.OrderOpen, []string{"web"}, nil, awaits("m1", "web-0"), migration("m2", "web-1", "a", "b", api.MigrationRunning)),
			false, 0, ""},
		{"one waits for an approval, another has nowhere to go", "drain", drainReply(api.OrderOpen, []string{"web-0", "web-1"}, []api.PendingView{nowhere("web-1")}, awaits("m1", "web-0")),
			true, exitApproval, "drain a waits for an operator's approval\n  web-0 a → b: go-cluster migration approve m1"},
		{"one waits for an approval, another is to move", "drain", drainReply(api.OrderOpen, []string{"web-0", "web-1"}, nil, awaits("m1", "web-0")), false, 0, ""},
		{"moved", "move", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationCompleted)),
			true, exitDone, "moved web a → b in 0.41s"},
		{"move failed", "move", drainReply(api.OrderFailed, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationFailed)),
			true, exitFailedMoves, "move web a → b failed: why m1"},
		{"move cancelled", "move", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationCancelled)),
			true, exitFailedMoves, "move web a → b cancelled: why m1"},
		{"rebalance with a failure", "rebalance", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationCompleted),
			migration("m2", "web-1", "a", "c", api.MigrationFailed)), true, exitFailedMoves, "rebalance a ended: 1 moved, 1 not\n  web-1 a → c failed: why m2"},
		{"an app that does not come up", "apply", drainReply(api.OrderOpen, []string{"web-0"}, nil, migration("m1", "web-0", "", "b", api.MigrationFailed)),
			true, exitFailedMoves, "a does not come up; it is tried again, with growing pauses\n  web-0 → b failed: why m1"},
		{"an app that is tried again", "apply", drainReply(api.OrderOpen, []string{"web-0"}, nil, migration("m1", "web-0", "", "b", api.MigrationFailed),
			migration("m2", "web-0", "", "c", api.MigrationPlanned)), false, 0, ""},
		{"cancelled in time", "cancel", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationFailed)),
			true, exitDone, "cancelled migration a"},
		{"cancelled too late", "cancel", drainReply(api.OrderCompleted, nil, nil, migration("m1", "web-0", "a", "b", api.MigrationCompleted)),
			true, exitRefused, "migration m1 was past its commit and completed: web-0 runs on b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &watched{id: "o1", kind: tc.kind, name: "a"}
			p := newProgress(w)
			if p.over() {
				t.Fatal("over before anything is known")
			}
			p.status(w, tc.rep)
			if p.over() != tc.over {
				t.Fatalf("over = %v, want %v", p.over(), tc.over)
			}
			if !tc.over {
				return
			}
			if v := w.verdict(); v.code != tc.code || v.line != tc.line {
				t.Errorf("verdict %d %q, want %d %q", v.code, v.line, tc.code, tc.line)
			}
		})
	}
}

func TestSeveralOrdersEndTogether(t *testing.T) {
	a, b := &watched{id: "o1", kind: "drain", name: "a"}, &watched{id: "o2", kind: "drain", name: "b"}
	p := newProgress(a, b)
	p.status(a, drainReply(api.OrderCompleted, nil, nil))
	if p.over() {
		t.Fatal("over while the second order is not known")
	}
	p.status(b, drainReply(api.OrderOpen, []string{"web-0"}, nil))
	if p.over() {
		t.Fatal("over while the second order is open")
	}
	p.status(b, drainReply(api.OrderCompleted, nil, nil))
	if !p.over() {
		t.Fatal("not over though both orders have ended")
	}
}

func stored(t *testing.T, kind, data string) eventLine {
	t.Helper()
	at := events.Type(kind)
	e, err := parseEventLine(api.RawLine(`{"seq":1,"ts":"2024-01-15T10:30:00Z","category":"` + at.Category() + `","action":"` + at.Action() + `","app":"web","data":` + data + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEachChangeIsToldOnce(t *testing.T) {
	w := &watched{id: "o1", kind: "drain", name: "a"}
	p := newProgress(w)
	ref := `"migration":"m1","instance":"web-0","from_node":"a","to_node":"b"`
	steps := []struct{ kind, data, want string }{
		{"placement.migration.started", `{"migration":"m9","instance":"other-0","from_node":"a","to_node":"b","order":"o9"}`, ""},
		{"placement.plan.admitted", `{"moves":[{"migration":"m1","app":"web","order":"o1"},{"migration":"m9","app":"other"}]}`, ""},
		{"placement.migration.started", `{` + ref + `,"order":"o1","next":{"step":"prepare","node":"b","inc":"i","timeout":"1m"}}`, "started, preparing on b"},
		{"placement.step.completed", `{` + ref + `,"step":"prepare","node":"b"}`, "prepared on b"},
		{"placement.step.completed", `{` + ref + `,"step":"step_down","node":"a"}`, "stepped down on a"},
		{"placement.leadership.granted", `{` + ref + `,"epoch":7,"node":"b"}`, "epoch 7 granted to b"},
		{"placement.step.failed", `{` + ref + `,"step":"step_down","node":"a","detail":"no such process"}`, "step-down failed on a: no such process"},
		{"placement.step.timed_out", `{` + ref + `,"step":"activate","node":"b"}`, "activate timed out on b"},
		{"placement.leadership.granted", `{` + ref + `,"epoch":8,"node":"a","undo":true}`, "rolling back: epoch 8 granted to a"},
		{"placement.migration.failed", `{` + ref + `,"code":"step_failed","detail":"exec: not found","left":"source","duration_ms":410}`,
			"failed: exec: not found (stays on a)"},
		{"placement.instance.healthy", `{"instance":"web-0","node":"b"}`, ""},
	}
	for _, s := range steps {
		changes := p.event(stored(t, s.kind, s.data))
		got := ""
		if len(changes) == 1 {
			got = changes[0].text
			if changes[0].subject != "web-0" || changes[0].route != "a → b" {
				t.Errorf("%s is about %+v", s.kind, changes[0])
			}
		}
		if got != s.want || len(changes) > 1 {
			t.Errorf("%s: %+v, want %q", s.kind, changes, s.want)
		}
	}
	if again := p.status(w, drainReply(api.OrderOpen, []string{"web-0"}, nil, migration("m1", "web-0", "a", "b", api.MigrationFailed))); len(again) != 0 {
		t.Errorf("told again by the order's state: %+v", again)
	}
	late := p.status(w, drainReply(api.OrderOpen, nil, nil, migration("m2", "web-0", "a", "c", api.MigrationCompleted)))
	if len(late) != 1 || late[0].text != "completed in 0.41s" {
		t.Errorf("a state that no event told: %+v", late)
	}
	if again := p.event(stored(t, "placement.migration.completed", `{"migration":"m2","instance":"web-0","from_node":"a","to_node":"c","duration_ms":410}`)); len(again) != 0 {
		t.Errorf("told again by its event: %+v", again)
	}
}

// What was left when the time was up is named with why it was there still, which is not known any more then.
func TestTimeIsUpSaysWhy(t *testing.T) {
	w := &watched{id: "d-1", kind: "drain", name: "a"}
	p := newProgress(w)
	open := drainReply(api.OrderOpen, []string{"web-0", "web-1"}, nil)
	open.Stays = []api.StayView{{ID: "web-0", App: "web", Node: "a", Why: "its move a → b is next"},
		{ID: "web-1", App: "web", Node: "a", Why: "it has nowhere to go: no eligible node"}}
	p.status(w, open)
	p.status(w, drainReply(api.OrderFailed, []string{"web-1"}, nil))
	want := "drain a: time is up after 0 moves; left where they are: web-1\n  web-1: it has nowhere to go: no eligible node\n" +
		"  a stays cordoned: go-cluster node uncordon a"
	if got := w.verdict().line; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A move that was under way when it was asked for the last time may have ended with the time.
func TestTimeIsUpTellsWhatBecameOfMoves(t *testing.T) {
	w := &watched{id: "d-1", kind: "drain", name: "a"}
	p := newProgress(w)
	open := drainReply(api.OrderOpen, []string{"web-0", "web-1", "web-2"}, nil, migration("m1", "web-0", "a", "b", api.MigrationRunning), migration("m2", "web-1", "a", "b", api.MigrationRunning))
	open.Stays = []api.StayView{{ID: "web-0", App: "web", Node: "a", Why: "its move a → b is under way (m1: start on b)"},
		{ID: "web-1", App: "web", Node: "a", Why: "its move a → b is under way (m2: start on b)"},
		{ID: "web-2", App: "web", Node: "a", Why: "m9 of other-0 is under way first"}}
	p.status(w, open)
	p.status(w, drainReply(api.OrderFailed, []string{"web-0", "web-1", "web-2"}, nil, migration("m1", "web-0", "a", "b", api.MigrationCancelled), migration("m2", "web-1", "a", "b", api.MigrationRunning)))
	want := "drain a: time is up after 0 moves; left where they are: web-0, web-1, web-2\n  web-0: the move of web-0 a → b cancelled: why m1\n" +
		"  web-1: its move a → b is under way (m2: start on b)\n  a stays cordoned: go-cluster node uncordon a"
	if got := w.verdict().line; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFew(t *testing.T) {
	w := &watched{kind: "drain", name: "a"}
	for _, tc := range []struct {
		what []string
		want string
	}{
		{nil, "none"}, {[]string{"x"}, "x"}, {[]string{"x", "y"}, "\n  x\n  y"},
		{slices.Repeat([]string{"x"}, 12), strings.Repeat("\n  x", 10) + "\n  and 2 more: go-cluster node show a"},
	} {
		if got := w.few(tc.what); got != tc.want {
			t.Errorf("%d: %q, want %q", len(tc.what), got, tc.want)
		}
	}
}
