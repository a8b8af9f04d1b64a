package agent

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// tape makes a well-formed history of one app and one node.
type tape struct {
	*assignment
	seq  uint64
	revs map[events.Aggregate]uint64
}

func newTape(app string) *tape {
	return &tape{assignment: newAssignment("test", "here", app), revs: map[events.Aggregate]uint64{}}
}

func (t *tape) node(data any) uint64  { return t.add(events.Node("here"), data) }
func (t *tape) event(data any) uint64 { return t.add(events.App(t.app), data) }

func (t *tape) add(agg events.Aggregate, data any) uint64 {
	typ, err := events.TypeOf(data)
	if err != nil {
		panic(err)
	}
	t.seq++
	rev := t.revs[agg]
	prev := ""
	if rev > 0 {
		prev = fmt.Sprintf("%s %d", agg, rev)
	}
	t.revs[agg] = rev + 1
	t.apply(events.Message{Event: events.Event{ID: fmt.Sprint(t.seq), Type: typ, V: 1, Rev: rev + 1, Prev: prev, Hash: fmt.Sprintf("%s %d", agg, rev+1),
		Data: data, Aggregate: agg, Seq: t.seq, Stored: time.Unix(int64(t.seq), 0)}})
	return t.seq
}

func here(step events.Step) *events.Next { return &events.Next{Step: step, Node: "here", Inc: "i1"} }
func there(step events.Step) *events.Next {
	return &events.Next{Step: step, Node: "there", Inc: "j1"}
}

func ref(id, from, to string) events.Ref {
	return events.Ref{Migration: id, Instance: "app-0", FromNode: from, ToNode: to, Reason: events.ReasonManual}
}

// settled is a history at whose end the instance runs here.
func settled(mode spec.Mode) *tape {
	t := newTape("app")
	t.node(&events.NodeJoined{Node: "here", Inc: "i1", Machine: "m"})
	a := spec.App{Name: "app", Mode: mode, Process: &spec.Process{Command: []string{"/bin/one"}}}.WithDefaults()
	t.event(&events.AppApplied{Spec: a, SpecRev: 1, Generation: 1})
	r := ref("m1", "", "here")
	start := &events.MigrationStarted{Ref: r, Kind: events.KindPlace, SpecRev: 1, Generation: 1, ToInc: "i1"}
	if mode == spec.Singleton {
		start.Next = here(events.StepPrepare)
		t.event(start)
		t.event(&events.LeadershipGranted{Ref: r, Epoch: 1, Node: "here", Inc: "i1", Next: here(events.StepPersist)})
		t.event(&events.LeadershipActivated{Ref: r, Epoch: 1, Node: "here", Inc: "i1", Next: here(events.StepActivate)})
		t.event(&events.MigrationCompleted{Ref: r, Step: events.StepActivate})
		return t
	}
	start.Next = here(events.StepStart)
	t.event(start)
	t.event(&events.MigrationCompleted{Ref: r, Step: events.StepStart})
	return t
}

func nothing() known {
	return known{result: func(uint64) (api.StepReport, bool) { return api.StepReport{}, false }, told: func(uint64) bool { return false },
		ended: func(string, uint64) bool { return false }, defers: func(string) bool { return false }, follows: func(string) uint64 { return 0 },
		remains: func(string) bool { return false }}
}

func with(st ...Status) known {
	k := nothing()
	k.statuses = st
	return k
}

func TestNext(t *testing.T) {
	active := Status{ID: "app-0", App: "app", State: StateRunning, Role: api.RoleActive, Epoch: 1, Generation: 1}
	member := Status{ID: "app-0", App: "app", State: StateRunning, Role: api.RoleMember, Generation: 1}
	in := func(s Status, state State) Status { s.State = state; return s }
	away := func(deleteLocal bool) *tape {
		h := settled(spec.Singleton)
		r := ref("m2", "here", "there")
		h.event(&events.MigrationStarted{Ref: r, Kind: events.KindMove, SpecRev: 1, Generation: 1, FromInc: "i1", ToInc: "j1", DeleteLocal: deleteLocal, Next: there(events.StepPrepare)})
		h.event(&events.StepCompleted{Ref: r, Step: events.StepPrepare, Node: "there", Next: here(events.StepStepDown)})
		h.event(&events.LeadershipGranted{Ref: r, Epoch: 2, Node: "there", Inc: "j1", Next: there(events.StepPersist)})
		return h
	}
	for name, c := range map[string]struct {
		tape *tape
		k    known
		inc  string
		want deed
	}{
		"pool member runs":                {tape: settled(spec.Replicas), k: with(member)},
		"pool member gone":                {tape: settled(spec.Replicas), k: nothing(), want: deed{kind: deedResume, instance: "app-0"}},
		"pool member stopped":             {tape: settled(spec.Replicas), k: with(in(member, StateStopped)), want: deed{kind: deedResume, instance: "app-0"}},
		"pool member given up":            {tape: settled(spec.Replicas), k: with(in(member, StateFailed))},
		"of another incarnation":          {tape: settled(spec.Replicas), k: with(member), inc: "i2", want: deed{kind: deedRemove, instance: "app-0"}},
		"active runs":                     {tape: settled(spec.Singleton), k: with(active)},
		"active waits for its restart":    {tape: settled(spec.Singleton), k: with(in(active, StateStarting))},
		"active gone":                     {tape: settled(spec.Singleton), k: nothing(), want: deed{kind: deedEnd, instance: "app-0", epoch: 1}},
		"active stopped":                  {tape: settled(spec.Singleton), k: with(in(active, StateStopped)), want: deed{kind: deedEnd, instance: "app-0", epoch: 1}},
		"active given up":                 {tape: settled(spec.Singleton), k: with(in(active, StateFailed))},
		"active moved away, not over yet": {tape: away(false), k: with(in(active, StateStopped))},
		"something nobody placed":         {tape: settled(spec.Replicas), k: with(member, Status{ID: "app-7", App: "app", State: StateRunning}), want: deed{kind: deedRemove, instance: "app-7"}},
	} {
		t.Run(name, func(t *testing.T) {
			inc := c.inc
			if inc == "" {
				inc = "i1"
			}
			got := c.tape.next(inc, c.k)
			got.run = Instance{}
			if got.kind != c.want.kind || got.instance != c.want.instance || got.epoch != c.want.epoch || got.deleteData != c.want.deleteData {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	t.Run("an order is performed, reported, and then not ours", func(t *testing.T) {
		h := settled(spec.Singleton)
		seq := h.event(&events.MigrationStarted{Ref: ref("m2", "here", ""), Kind: events.KindStop, SpecRev: 1, Generation: 1, FromInc: "i1", Next: here(events.StepStepDown)})
		k := with(active)
		if d := h.next("i1", k); d.kind != deedPerform || d.order.seq != seq || d.order.step != events.StepStepDown {
			t.Errorf("%+v", d)
		}
		if d := h.next("i2", k); d.kind == deedPerform {
			t.Errorf("an order for another incarnation: %+v", d)
		}
		k.result = func(s uint64) (api.StepReport, bool) { return api.StepReport{OrderSeq: s}, s == seq }
		if d := h.next("i1", k); d.kind != deedReport || d.report.OrderSeq != seq {
			t.Errorf("%+v", d)
		}
		k.told = func(s uint64) bool { return s == seq }
		if d := h.next("i1", k); d.kind != deedNone {
			t.Errorf("%+v", d)
		}
		again := h.event(&events.StepRequested{Ref: ref("m2", "here", ""), Why: "no report", Next: here(events.StepStepDown)})
		if d := h.next("i1", k); d.kind != deedPerform || d.order.seq != again || h.open("i1", seq) {
			t.Errorf("ordered again: %+v", d)
		}
	})
	for _, deleteLocal := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone for good, delete local %t", deleteLocal), func(t *testing.T) {
			h := away(deleteLocal)
			h.event(&events.MigrationCompleted{Ref: ref("m2", "here", "there"), Step: events.StepActivate})
			if d := h.next("i1", with(in(active, StateStopped))); d.kind != deedRemove || d.deleteData != deleteLocal {
				t.Errorf("%+v", d)
			}
			k := nothing() // of a program that was started anew in between
			k.remains = func(id string) bool { return id == "app-0" }
			if d := h.next("i1", k); deleteLocal != (d.kind == deedRemove && d.deleteData && d.instance == "app-0") {
				t.Errorf("with its data here, and nothing else: %+v", d)
			}
		})
	}
	t.Run("undone: back at the source it runs what it ran", func(t *testing.T) {
		h := settled(spec.Singleton)
		b := spec.App{Name: "app", Mode: spec.Singleton, Process: &spec.Process{Command: []string{"/bin/two"}}}.WithDefaults()
		h.event(&events.AppApplied{Spec: b, SpecRev: 2, Generation: 2})
		r := ref("m2", "here", "there")
		h.event(&events.MigrationStarted{Ref: r, Kind: events.KindMove, SpecRev: 2, Generation: 2, FromInc: "i1", ToInc: "j1", Next: there(events.StepPrepare)})
		h.event(&events.StepCompleted{Ref: r, Step: events.StepPrepare, Node: "there", Next: here(events.StepStepDown)})
		h.event(&events.LeadershipGranted{Ref: r, Epoch: 2, Node: "here", Inc: "i1", Undo: true, Next: here(events.StepPersist)})
		h.event(&events.LeadershipActivated{Ref: r, Epoch: 2, Node: "here", Inc: "i1", Next: here(events.StepActivate)})
		d := h.next("i1", with(in(active, StateStopped)))
		if d.kind != deedPerform || d.order.step != events.StepActivate || d.order.epoch != 2 || !d.order.leader.Activated ||
			d.order.run.Generation != 1 || d.order.run.App.Process.Command[0] != "/bin/one" || !d.order.run.Fenced {
			t.Errorf("%+v", d)
		}
	})
	t.Run("in place it runs what is new", func(t *testing.T) {
		h := settled(spec.Singleton)
		b := spec.App{Name: "app", Mode: spec.Singleton, Process: &spec.Process{Command: []string{"/bin/two"}}}.WithDefaults()
		h.event(&events.AppApplied{Spec: b, SpecRev: 2, Generation: 2})
		r := ref("m2", "here", "here")
		h.event(&events.MigrationStarted{Ref: r, Kind: events.KindInPlace, SpecRev: 2, Generation: 2, FromInc: "i1", ToInc: "i1", Next: here(events.StepStepDown)})
		h.event(&events.LeadershipGranted{Ref: r, Epoch: 2, Node: "here", Inc: "i1", Next: here(events.StepPersist)})
		h.event(&events.LeadershipActivated{Ref: r, Epoch: 2, Node: "here", Inc: "i1", Next: here(events.StepActivate)})
		if d := h.next("i1", with(in(active, StateStopped))); d.kind != deedPerform || d.order.run.Generation != 2 || d.order.run.App.Process.Command[0] != "/bin/two" {
			t.Errorf("%+v", d)
		}
	})
	t.Run("lost", func(t *testing.T) {
		h := settled(spec.Replicas)
		h.node(&events.NodeLost{Node: "here", Inc: "i1", Reason: events.LostYielded})
		if d := h.next("i1", with(member)); d.kind != deedRemove || h.ready("i1", 1) {
			t.Errorf("%+v", d)
		}
	})
	t.Run("an epoch that this node ended", func(t *testing.T) {
		h := settled(spec.Singleton)
		k := nothing()
		k.ended = func(_ string, epoch uint64) bool { return epoch == 1 }
		f := api.FencedEpoch{App: "app", Instance: "app-0", Epoch: 1}
		if d := h.next("i1", k); d.kind != deedNone || h.over("i1", f) {
			t.Errorf("%+v, over: %t", d, h.over("i1", f))
		}
		h.event(&events.LeadershipReleased{Epoch: 1, Node: "here", Inc: "i1", Why: events.ReleasedFenced})
		if !h.over("i1", f) {
			t.Error("the log knows it, and it is still listed")
		}
	})
	t.Run("a gap in the app's events", func(t *testing.T) {
		h := settled(spec.Singleton)
		h.revs[events.App("app")]++
		h.event(&events.InstanceHealthy{Instance: "app-0", Node: "here"})
		if h.quarantined() == "" {
			t.Error("not noticed")
		}
	})
}

// Whatever the history: nothing that the log has here is removed, an active is never started but by an order, and what has an open
// migration here is left to its orders.
func TestNextKeepsItsHandsOff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]spec.Mode{spec.Singleton, spec.Replicas}).Draw(t, "mode")
		h := settled(mode)
		epoch, open := uint64(1), ""
		for i := range rapid.IntRange(0, 12).Draw(t, "events") {
			id := open
			if id == "" {
				id = fmt.Sprintf("r%d", i)
			}
			at := rapid.SampledFrom([]string{"here", "there"}).Draw(t, "at")
			to := rapid.SampledFrom([]string{"here", "there"}).Draw(t, "to")
			inc := map[string]string{"here": "i1", "there": "j1"}
			next := &events.Next{Step: rapid.SampledFrom([]events.Step{events.StepPrepare, events.StepStepDown, events.StepActivate, events.StepStop}).Draw(t, "step"), Node: at, Inc: inc[at]}
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				if open == "" {
					open = id
					h.event(&events.MigrationStarted{Ref: ref(id, at, to), Kind: events.KindMove, SpecRev: 1, Generation: 1, FromInc: inc[at], ToInc: inc[to], Next: next})
				}
			case 1:
				h.event(&events.StepCompleted{Ref: ref(id, at, to), Step: next.Step, Node: at, Next: next})
			case 2:
				epoch++
				h.event(&events.LeadershipGranted{Ref: ref(id, at, to), Epoch: epoch, Node: at, Inc: inc[at], Next: next})
			case 3:
				h.event(&events.LeadershipActivated{Ref: ref(id, at, to), Epoch: epoch, Node: at, Inc: inc[at], Next: next})
			case 4:
				h.event(&events.MigrationCompleted{Ref: ref(id, at, to)})
				open = ""
			case 5:
				h.event(&events.MigrationFailed{Ref: ref(id, at, to), Left: rapid.SampledFrom([]string{events.LeftAtSource, events.LeftAtTarget, events.LeftNowhere}).Draw(t, "left")})
				open = ""
			case 6:
				h.event(&events.LeadershipReleased{Ref: ref(id, at, to), Epoch: epoch, Node: at, Inc: inc[at]})
			}
		}
		k := nothing()
		if rapid.Bool().Draw(t, "has") {
			k = with(Status{ID: "app-0", App: "app", Role: rapid.SampledFrom([]string{api.RoleActive, api.RoleMember, api.RoleStandby}).Draw(t, "role"),
				State: rapid.SampledFrom([]State{StateReady, StateStarting, StateRunning, StateStopped, StateFailed}).Draw(t, "state"), Epoch: rapid.Uint64Range(0, epoch).Draw(t, "epoch")})
		}
		d := h.next("i1", k)
		app := h.state.Apps["app"]
		in := app.Instances["app-0"]
		placed := in != nil && in.Node == "here" && in.Inc == "i1"
		moving := false
		for _, m := range app.Open {
			moving = moving || m.From == "here" || m.To == "here"
		}
		switch d.kind {
		case deedPerform:
			if m := app.Open[d.order.migration]; m == nil || m.Order.Node != "here" || m.Order.Inc != "i1" || m.Order.Seq != d.order.seq {
				t.Fatalf("not an open order for this incarnation: %+v", d)
			}
		case deedRemove:
			if placed || moving {
				t.Fatalf("removes what is placed (%t) or moving (%t) here", placed, moving)
			}
		case deedResume:
			if mode == spec.Singleton || !placed || moving {
				t.Fatalf("resumes a %s, placed %t, moving %t", mode, placed, moving)
			}
		case deedEnd:
			if moving || !placed || app.Leader.Ended || app.Leader.Inc != "i1" {
				t.Fatalf("ends epoch %d: moving %t, placed %t, leader %+v", d.epoch, moving, placed, app.Leader)
			}
		}
	})
}
