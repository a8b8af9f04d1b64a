package projections_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// story folds a log that it writes, a second between two events.
type story struct {
	*testing.T
	*book
	c    *projections.Cluster
	move events.Move // the migration under way
}

// newStory has three nodes and an app of the mode.
func newStory(t *testing.T, mode spec.Mode, isolation string) *story {
	s := &story{T: t, book: newBook(), c: projections.NewCluster("test")}
	for i, n := range []string{"n1", "n2", "n3"} {
		s.add(events.Node(n), &events.NodeJoined{Node: n, Inc: "inc-" + n, Machine: "k-" + n, TTL: spec.Duration(10 * time.Second),
			Facts: events.Facts{Address: fmt.Sprintf("10.0.0.%d", i+1)}})
	}
	app := spec.App{Name: "db", Mode: mode, OnIsolation: isolation}
	if mode == spec.Replicas {
		app.Replicas = new(2)
	}
	s.on(&events.AppApplied{Spec: app, SpecRev: 1, Generation: 1})
	return s
}

func (s *story) add(a events.Aggregate, data any) {
	s.Helper()
	s.c.Apply(s.write(s, a, "", data))
}

// on appends to the app.
func (s *story) on(data any) { s.Helper(); s.add(events.App("db"), data) }

func (s *story) wait(d time.Duration) { s.now = s.now.Add(d) }

func (s *story) app() *projections.App { return s.c.Apps["db"] }

// order is the ordering of a step on a node.
func order(step events.Step, node string) *events.Next {
	return &events.Next{Step: step, Node: node, Inc: "inc-" + node, Timeout: spec.Duration(time.Minute)}
}

// begin admits and starts a migration of db-0.
func (s *story) begin(id, from, to string, first *events.Next) {
	s.Helper()
	s.move = events.Move{Migration: id, App: "db", Instance: "db-0", SpecRev: 1, From: from, To: to, Reason: events.ReasonManual, Trigger: events.TriggerManual, Class: events.ClassForced}
	if from != "" {
		s.move.FromInc = "inc-" + from
	}
	if to != "" {
		s.move.ToInc = "inc-" + to
	}
	s.add(events.Cluster("test"), &events.PlanAdmitted{Plan: "p-" + id, Moves: []events.Move{s.move}})
	if m := s.c.Migrations[id]; m == nil || m.Status != projections.MigrationPlanned || m.Kind != s.move.Kind() || s.app().Open[id] != m {
		s.Fatalf("%s is admitted: %+v", id, m)
	}
	s.on(&events.MigrationStarted{Ref: s.move.Ref(), Kind: s.move.Kind(), Plan: "p-" + id, SpecRev: 1, Generation: 1, FromInc: s.move.FromInc, ToInc: s.move.ToInc, Next: first})
}

func (s *story) done(step events.Step, node string, r *events.Result, next *events.Next) {
	s.Helper()
	s.on(&events.StepCompleted{Ref: s.move.Ref(), Step: step, Node: node, Result: r, Next: next})
}

func (s *story) grant(epoch uint64, node string, undo bool) {
	s.Helper()
	s.on(&events.LeadershipGranted{Ref: s.move.Ref(), Epoch: epoch, Node: node, Inc: "inc-" + node, Undo: undo, Next: order(events.StepPersist, node)})
}

func (s *story) activated(epoch uint64, node string) {
	s.Helper()
	s.on(&events.LeadershipActivated{Ref: s.move.Ref(), Epoch: epoch, Node: node, Inc: "inc-" + node, Next: order(events.StepActivate, node)})
}

func (s *story) completed(step events.Step, r *events.Result) {
	s.Helper()
	s.on(&events.MigrationCompleted{Ref: s.move.Ref(), Step: step, Result: r})
}

func (s *story) failed(code, left, bad string) {
	s.Helper()
	s.on(&events.MigrationFailed{Ref: s.move.Ref(), Code: code, Detail: code + " on " + bad, Left: left, BadNode: bad})
}

// placed brings db-0 onto a node under epoch 1, or as a member.
func (s *story) placed(node string) {
	s.Helper()
	if s.app().Spec.Mode != spec.Singleton {
		s.begin("m-place", "", node, order(events.StepStart, node))
		s.completed(events.StepStart, &events.Result{Ports: map[string]int{"http": 1000}})
		return
	}
	s.begin("m-place", "", node, order(events.StepPrepare, node))
	s.done(events.StepPrepare, node, nil, nil)
	s.grant(1, node, false)
	s.activated(1, node)
	s.completed(events.StepActivate, &events.Result{Ports: map[string]int{"http": 1000}})
}

// is checks where db-0 stands: "nowhere", or "<node> <role> <state>", with "healthy" behind it when it is.
func (s *story) is(want string) {
	s.Helper()
	got := "nowhere"
	if in := s.app().Instances["db-0"]; in != nil {
		got = fmt.Sprintf("%s %s %s", in.Node, in.Role, in.State)
		if in.Healthy {
			got += " healthy"
		}
		if in.Inc != "inc-"+in.Node {
			s.Errorf("incarnation %s on %s", in.Inc, in.Node)
		}
	}
	if got != want {
		s.Errorf("after event %d: db-0 is %q, want %q", s.seq, got, want)
	}
}

// leads checks the holder of the newest epoch: "<epoch> <node>", then "active" once it may serve and "ended" when it is over.
func (s *story) leads(want string) {
	s.Helper()
	l := s.app().Leader
	got := fmt.Sprintf("%d %s", l.Epoch, l.Node)
	if l.Activated {
		got += " active"
	}
	if l.Ended {
		got += " ended"
	}
	if got != want || s.app().Epoch < l.Epoch {
		s.Errorf("after event %d: leadership %q of epoch %d, want %q", s.seq, got, s.app().Epoch, want)
	}
}

// over checks that the migration has ended so, and that nothing is open.
func (s *story) over(status, code, left string) *projections.Migration {
	s.Helper()
	m := s.c.Migrations[s.move.Migration]
	if m.Status != status || m.Code != code || m.Left != left || !m.Ended() || m.Order != nil || len(s.app().Open) > 0 {
		s.Errorf("%s is %s %s, left %s, order %+v, open %v; want %s %s, left %s", m.Migration, m.Status, m.Code, m.Left, m.Order, s.app().Open, status, code, left)
	}
	if m.Took <= 0 || m.EndedAt != s.now {
		s.Errorf("%s took %s and ended at %s, now is %s", m.Migration, m.Took, m.EndedAt, s.now)
	}
	return m
}

// waits checks the open step.
func (s *story) waits(step events.Step, node string) {
	s.Helper()
	o := s.c.Migrations[s.move.Migration].Order
	if o == nil || o.Step != step || o.Node != node || o.Seq != s.seq || o.Deadline != s.now.Add(time.Minute) {
		s.Errorf("after event %d: open order %+v, want %s on %s", s.seq, o, step, node)
	}
}

func TestPlaceASingleton(t *testing.T) {
	s := newStory(t, spec.Singleton, "")
	s.begin("m1", "", "n1", order(events.StepPrepare, "n1"))
	s.is("n1 active assigned")
	s.waits(events.StepPrepare, "n1")
	s.done(events.StepPrepare, "n1", nil, nil)
	s.is("n1 active ready")
	s.grant(1, "n1", false)
	s.is("n1 active starting")
	s.leads("1 n1")
	s.waits(events.StepPersist, "n1")
	s.activated(1, "n1")
	s.leads("1 n1 active")
	s.waits(events.StepActivate, "n1")
	s.completed(events.StepActivate, &events.Result{Ports: map[string]int{"http": 4242}})
	s.is("n1 active running healthy")
	s.over(projections.MigrationCompleted, "", "")
	if in := s.app().Instances["db-0"]; in.Ports["http"] != 4242 || in.Address != "10.0.0.1" || in.Generation != 1 || in.SpecRev != 1 || in.MovedAt != s.now {
		t.Errorf("%+v", in)
	}
	if s.app().Placed != 1 {
		t.Errorf("placed %d times", s.app().Placed)
	}
}

// That a takeover may have lost something is shown until an epoch follows that has lost nothing more.
func TestLossIsShown(t *testing.T) {
	s := newStory(t, spec.Singleton, "")
	s.placed("n1")
	if v := projections.AppDetail(s.c, s.app()).LossPossible; v != nil {
		t.Errorf("nothing was lost: %+v", v)
	}
	s.on(&events.LeadershipGranted{Ref: s.move.Ref(), Epoch: 2, Node: "n2", Inc: "inc-n2", DataLossPossible: true, LossBoundMS: 400})
	want := api.LossView{Epoch: 2, BoundMS: 400, Seq: s.seq}
	s.activated(2, "n2")
	if v := projections.AppDetail(s.c, s.app()).LossPossible; v == nil || *v != want {
		t.Errorf("shown %+v, want %+v", v, want)
	}
	s.grant(3, "n1", false)
	if v := projections.AppDetail(s.c, s.app()).LossPossible; v != nil {
		t.Errorf("the next epoch has lost nothing: %+v", v)
	}
}

func TestMoveASingleton(t *testing.T) {
	s := newStory(t, spec.Singleton, "")
	s.placed("n1")
	s.begin("m1", "n1", "n2", order(events.StepPrepare, "n2"))
	m := s.c.Migrations["m1"]
	s.is("n1 active running healthy")
	s.done(events.StepPrepare, "n2", nil, order(events.StepStepDown, "n1"))
	s.is("n1 active running healthy")
	if !m.GapOpened || m.Committed {
		t.Errorf("gap opened %v, committed %v", m.GapOpened, m.Committed)
	}
	s.grant(2, "n2", false)
	s.is("n2 active starting")
	s.leads("2 n2")
	if !m.Committed || m.Granted != 2 {
		t.Errorf("committed %v, granted %d", m.Committed, m.Granted)
	}
	if in := s.app().Instances["db-0"]; in.Ports != nil || in.Address != "" {
		t.Errorf("it is still reached at the source: %+v", in)
	}
	s.activated(2, "n2")
	s.done(events.StepActivate, "n2", &events.Result{Ports: map[string]int{"http": 4343}}, order(events.StepStop, "n1"))
	s.is("n2 active running healthy")
	s.completed(events.StepStop, nil)
	s.is("n2 active running healthy")
	s.leads("2 n2 active")
	s.over(projections.MigrationCompleted, "", "")
	if in := s.app().Instances["db-0"]; in.Ports["http"] != 4343 || in.Address != "10.0.0.2" {
		t.Errorf("%+v", in)
	}
}

func TestMoveAMember(t *testing.T) {
	s := newStory(t, spec.Replicas, "")
	s.placed("n1")
	s.is("n1 member running healthy")
	s.begin("m1", "n1", "n2", order(events.StepStart, "n2"))
	s.done(events.StepStart, "n2", &events.Result{Ports: map[string]int{"http": 4343}}, order(events.StepStop, "n1"))
	if !s.c.Migrations["m1"].Committed {
		t.Error("the target serves and the move is not committed")
	}
	s.completed(events.StepStop, nil)
	s.is("n2 member running healthy")
	if in := s.app().Instances["db-0"]; in.Ports["http"] != 4343 {
		t.Errorf("the ports of the target's start are lost: %+v", in)
	}
}

func TestStop(t *testing.T) {
	for mode, serving := range map[spec.Mode]string{spec.Singleton: "n1 active stopping healthy", spec.Replicas: "n1 member stopping healthy"} {
		t.Run(string(mode), func(t *testing.T) {
			s := newStory(t, mode, "")
			s.placed("n1")
			s.begin("m1", "n1", "", order(events.StepStop, "n1"))
			s.is(serving)
			s.completed(events.StepStop, nil)
			s.is("nowhere")
			s.over(projections.MigrationCompleted, "", "")
			if len(s.app().Ended) != 0 {
				t.Errorf("an ordered stop is remembered as a loss: %v", s.app().Ended)
			}
			if mode == spec.Singleton {
				s.leads("1 n1 active ended")
			}
		})
	}
}

func TestFailedMoves(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  spec.Mode
		story func(s *story)
		left  string
		bad   string
		is    string
	}{
		{"singleton, before anything happened", spec.Singleton, func(s *story) {
			s.begin("m1", "n1", "n2", order(events.StepPrepare, "n2"))
		}, events.LeftAtSource, "n2", "n1 active running healthy"},
		{"singleton, undone by a grant to the source", spec.Singleton, func(s *story) {
			s.begin("m1", "n1", "n2", order(events.StepStepDown, "n1"))
			s.grant(2, "n2", false)
			s.on(&events.StepFailed{Ref: s.move.Ref(), Step: events.StepActivate, Node: "n2", Code: "exit", Detail: "exit 1", Result: &events.Result{Released: true}})
			s.leads("2 n2 ended")
			s.grant(3, "n1", true)
			s.is("n1 active starting")
			s.activated(3, "n1")
			s.done(events.StepActivate, "n1", &events.Result{Ports: map[string]int{"http": 5}}, nil)
			s.leads("3 n1 active")
		}, events.LeftAtSource, "n2", "n1 active running healthy"},
		{"singleton, cleaning up did not succeed", spec.Singleton, func(s *story) {
			s.begin("m1", "n1", "n2", order(events.StepStepDown, "n1"))
			s.grant(2, "n2", false)
			s.activated(2, "n2")
			s.done(events.StepActivate, "n2", nil, order(events.StepStop, "n1"))
		}, events.LeftAtTarget, "n1", "n2 active running healthy"},
		{"singleton, both ends failed", spec.Singleton, func(s *story) {
			s.begin("m1", "n1", "n2", order(events.StepStepDown, "n1"))
			s.grant(2, "n2", false)
		}, events.LeftNowhere, "n2", "nowhere"},
		{"member, the target did not start", spec.Replicas, func(s *story) {
			s.begin("m1", "n1", "n2", order(events.StepStart, "n2"))
		}, events.LeftAtSource, "n2", "n1 member running healthy"},
		{"member, the source did not stop", spec.Replicas, func(s *story) {
			s.begin("m1", "n1", "n2", order(events.StepStart, "n2"))
			s.done(events.StepStart, "n2", nil, order(events.StepStop, "n1"))
		}, events.LeftAtTarget, "n1", "n2 member running healthy"},
		{"stop that did not happen", spec.Replicas, func(s *story) {
			s.begin("m1", "n1", "", order(events.StepStop, "n1"))
			s.is("n1 member stopping healthy")
		}, events.LeftAtSource, "n1", "n1 member running healthy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t, c.mode, "")
			s.placed("n1")
			c.story(s)
			s.failed("step_failed", c.left, c.bad)
			s.is(c.is)
			s.over(projections.MigrationFailed, "step_failed", c.left)
			if b := s.app().Backoff[c.bad]; b.Failures != 1 || b.Until != s.now.Add(time.Second) || !strings.Contains(b.Detail, c.bad) {
				t.Errorf("back-off from %s: %+v at %s", c.bad, b, s.now)
			}
			if v, held := s.app().Vetoes["db-0"]; held != (c.bad == "n1") || held && v.Until != s.now.Add(time.Second) {
				t.Errorf("held where it could not leave: %v, %+v; %s failed", held, v, c.bad)
			}
			if ended, is := s.app().Ended["db-0"]; (c.is == "nowhere") != is || is && ended.Reason != events.ReasonInstanceFailed {
				t.Errorf("ended: %+v", s.app().Ended)
			}
		})
	}
}

func TestFailedPlacement(t *testing.T) {
	s := newStory(t, spec.Singleton, "")
	s.begin("m1", "", "n1", order(events.StepPrepare, "n1"))
	s.is("n1 active assigned")
	s.failed("step_timed_out", events.LeftNowhere, "n1")
	s.is("nowhere")
	if len(s.app().Ended) != 0 || s.app().Placed != 0 {
		t.Errorf("what never ran has ended: %+v, placed %d", s.app().Ended, s.app().Placed)
	}
}

// Why an instance is gone outlives the placements that fail to bring it back.
func TestFailedPlacementKeepsTheFirstReason(t *testing.T) {
	s := newStory(t, spec.Replicas, "")
	s.placed("n1")
	s.add(events.Node("n1"), &events.NodeLost{Node: "n1", Inc: "inc-n1", Reason: events.LostSilent})
	for i := range 2 {
		s.begin(fmt.Sprint("m", i), "", "n2", order(events.StepStart, "n2"))
		s.failed("step_failed", events.LeftNowhere, "n2")
	}
	if e := s.app().Ended["db-0"]; e.Reason != events.ReasonNodeLost || e.Node != "n1" {
		t.Errorf("ended %+v, want that n1 was lost", e)
	}
}

func TestCancelled(t *testing.T) {
	s := newStory(t, spec.Replicas, "")
	s.placed("n1")
	s.begin("m1", "n1", "n2", order(events.StepStart, "n2"))
	s.on(&events.CancelRequested{Ref: s.move.Ref(), Why: "operator"})
	s.on(&events.CancelRequested{Ref: s.move.Ref(), Why: "node_lost"})
	if c := s.c.Migrations["m1"].Cancel; c == nil || c.Why != "operator" {
		t.Errorf("cancel %+v, want the first", c)
	}
	s.failed("cancelled", events.LeftAtSource, "")
	s.over(projections.MigrationCancelled, "cancelled", events.LeftAtSource)
	if len(s.app().Backoff) != 0 {
		t.Errorf("nobody failed, and there is a back-off: %v", s.app().Backoff)
	}
}

func TestLostIncarnation(t *testing.T) {
	for _, c := range []struct {
		name      string
		mode      spec.Mode
		isolation string
		lost      []events.NodeLost
		ends      bool
	}{
		{"singleton that stops in isolation", spec.Singleton, spec.OnIsolationStop, []events.NodeLost{{Reason: events.LostSilent}}, true},
		{"singleton by default", spec.Singleton, "", []events.NodeLost{{Reason: events.LostSilent}}, true},
		{"singleton that continues", spec.Singleton, spec.OnIsolationContinue, []events.NodeLost{{Reason: events.LostSilent}}, false},
		{"singleton that continues, confirmed", spec.Singleton, spec.OnIsolationContinue, []events.NodeLost{{Reason: events.LostSilent, Confirmed: true}}, true},
		{"singleton that continues, confirmed later", spec.Singleton, spec.OnIsolationContinue,
			[]events.NodeLost{{Reason: events.LostSilent}, {Reason: events.LostConfirmed, Confirmed: true}}, true},
		{"singleton that continues, rebooted", spec.Singleton, spec.OnIsolationContinue, []events.NodeLost{{Reason: events.LostRebooted}}, true},
		{"singleton that continues, yielded", spec.Singleton, spec.OnIsolationContinue, []events.NodeLost{{Reason: events.LostYielded}}, true},
		{"member that continues", spec.Replicas, spec.OnIsolationContinue, []events.NodeLost{{Reason: events.LostSilent}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t, c.mode, c.isolation)
			s.placed("n1")
			before := s.app().Instances["db-0"].State
			other := events.NodeLost{Node: "n1", Inc: "inc-before", Reason: events.LostSilent, Confirmed: true}
			s.add(events.Node("n1"), &other)
			if s.app().Instances["db-0"] == nil || s.c.Nodes["n1"].Status != projections.StatusReady {
				t.Fatal("the end of another incarnation ends this one")
			}
			for _, lost := range c.lost {
				lost.Node, lost.Inc = "n1", "inc-n1"
				s.add(events.Node("n1"), &lost)
			}
			if got := s.c.Nodes["n1"].Status; got != projections.StatusLost {
				t.Errorf("the node is %s", got)
			}
			in := s.app().Instances["db-0"]
			if (in == nil) != c.ends {
				t.Errorf("instance %+v, it was %s", in, before)
			}
			if c.mode == spec.Singleton && s.app().Leader.Ended != c.ends {
				t.Errorf("leadership ended: %v, want %v", s.app().Leader.Ended, c.ends)
			}
			if e, ok := s.app().Ended["db-0"]; ok != c.ends || ok && (e.Reason != events.ReasonNodeLost || e.Node != "n1") {
				t.Errorf("ended %+v", s.app().Ended)
			}
		})
	}
}

// The next grant exceeds every epoch that any node has seen, whether the app was known when the node said so or not.
func TestEpochsFromJoined(t *testing.T) {
	s := newStory(t, spec.Singleton, "")
	join := func(node, machine string, epochs map[string]uint64) {
		s.add(events.Node(node), &events.NodeJoined{Node: node, Inc: "inc-" + node, Machine: machine, Epochs: epochs})
	}
	join("n1", "k-n1", map[string]uint64{"db": 7, "late": 4})
	if got := s.app().Epoch; got != 7 {
		t.Errorf("epoch %d, want 7", got)
	}
	join("n2", "k-n2", map[string]uint64{"db": 5})
	if got := s.app().Epoch; got != 7 {
		t.Errorf("epoch %d after a smaller one, want 7", got)
	}
	s.placed("n1") // grants 1, which an honest migrator would not: it must not lower what is known
	if got := s.app().Epoch; got != 7 {
		t.Errorf("epoch %d after a grant of 1, want 7", got)
	}
	s.add(events.App("late"), &events.AppApplied{Spec: spec.App{Name: "late", Mode: spec.Singleton}, SpecRev: 1, Generation: 1})
	if got := s.c.Apps["late"].Epoch; got != 4 {
		t.Errorf("the late app has epoch %d, want 4", got)
	}
	join("n1", "k-new", nil) // another machine under the name
	s.add(events.App("later"), &events.AppApplied{Spec: spec.App{Name: "later", Mode: spec.Singleton}, SpecRev: 1, Generation: 1})
	if got, had := s.c.Nodes["n1"].Epochs, s.c.Apps["late"].Epoch; len(got) != 0 || had != 4 {
		t.Errorf("epochs of the old machine: %v, of the app: %d", got, had)
	}
	s.on(&events.AppRemoved{})
	if got := s.app().Epoch; got != 7 {
		t.Errorf("epoch %d after the removal, want 7", got)
	}
}

func TestBackoffGrows(t *testing.T) {
	s := newStory(t, spec.Replicas, "")
	fails := func(wait time.Duration, failures int) {
		t.Helper()
		s.begin(fmt.Sprint("m", s.seq), "", "n2", order(events.StepStart, "n2"))
		s.failed("step_failed", events.LeftNowhere, "n2")
		if b := s.app().Backoff["n2"]; b.Failures != failures || b.Until != s.now.Add(wait) || b.Last != s.now {
			t.Errorf("after failure %d: %+v at %s, want %s", failures, b, s.now, wait)
		}
	}
	for i, want := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600} {
		fails(time.Duration(want)*time.Second, i+1)
	}
	for range 60 { // a count that overflowed would end the back-off
		s.begin(fmt.Sprint("m", s.seq), "", "n2", order(events.StepStart, "n2"))
		s.failed("step_failed", events.LeftNowhere, "n2")
	}
	if b := s.app().Backoff["n2"]; b.Until != s.now.Add(10*time.Minute) {
		t.Errorf("after %d failures: until %s at %s", b.Failures, b.Until, s.now)
	}
	s.wait(31 * time.Minute)
	fails(time.Second, 1) // it was quiet for long enough
	if _, other := s.app().Backoff["n1"]; other {
		t.Error("a node that did not fail has a back-off")
	}
	// A node that gives a running instance up counts as well; another program starts afresh.
	s.placed("n1")
	s.on(&events.InstanceFailed{Instance: "db-0", Node: "n1", Detail: "exit 1"})
	if b := s.app().Backoff["n1"]; b.Failures != 1 || b.Detail != "exit 1" {
		t.Errorf("after a failed instance: %+v", b)
	}
	s.on(&events.AppApplied{Spec: s.app().Spec, SpecRev: 2, Generation: 2})
	if len(s.app().Backoff) != 0 {
		t.Errorf("another generation inherits %v", s.app().Backoff)
	}
}

// What is said of an instance counts only from the node where it is.
func TestHealthFromElsewhere(t *testing.T) {
	s := newStory(t, spec.Replicas, "")
	s.placed("n1")
	s.on(&events.InstanceUnhealthy{Instance: "db-0", Node: "n2", Detail: "late"})
	s.on(&events.InstanceStopped{Instance: "db-0", Node: "n2"})
	s.on(&events.InstanceFailed{Instance: "db-0", Node: "n2"})
	s.is("n1 member running healthy")
	s.on(&events.InstanceUnhealthy{Instance: "db-0", Node: "n1", Detail: "503"})
	s.is("n1 member starting")
	s.on(&events.InstanceHealthy{Instance: "db-0", Node: "n1"})
	s.is("n1 member running healthy")
	s.on(&events.InstanceStopped{Instance: "db-0", Node: "n1", Detail: "gone"})
	s.is("nowhere")
	if e := s.app().Ended["db-0"]; e.Reason != events.ReasonInstanceFailed || e.Node != "n1" {
		t.Errorf("ended %+v", e)
	}
}

// Events of a migration that is over, or was never admitted, change nothing.
func TestStrayMigrationEvents(t *testing.T) {
	s := newStory(t, spec.Replicas, "")
	s.placed("n1")
	stray := func(id string) {
		s.move = events.Move{Migration: id, App: "db", Instance: "db-0", From: "n1", To: "n2"}
		s.on(&events.MigrationStarted{Ref: s.move.Ref(), Next: order(events.StepStop, "n1")})
		s.done(events.StepStart, "n2", nil, order(events.StepStop, "n1"))
		s.completed(events.StepStop, nil)
		s.failed("step_failed", events.LeftNowhere, "n1")
	}
	stray("m-place")
	stray("m-never")
	s.is("n1 member running healthy")
	if len(s.app().Open) > 0 || len(s.app().Backoff) > 0 || s.c.Migrations["m-never"] != nil || s.c.Migrations["m-place"].Status != projections.MigrationCompleted {
		t.Errorf("open %v, back-off %v, migrations %v", s.app().Open, s.app().Backoff, s.c.Migrations)
	}
}

// An undone move leaves the instance what it was: the program of before, not the one that the target was to run.
func TestUndoneMoveKeepsTheGeneration(t *testing.T) {
	s := newStory(t, spec.Singleton, "")
	s.placed("n1")
	s.on(&events.AppApplied{Spec: s.app().Spec, SpecRev: 2, Generation: 2})
	s.begin("m1", "n1", "n2", order(events.StepStepDown, "n1"))
	m := s.c.Migrations["m1"]
	m.SpecRev, m.Generation = 2, 2 // as its admission and start say
	s.grant(2, "n2", false)
	if in := s.app().Instances["db-0"]; in.Generation != 2 || in.SpecRev != 2 || in.Put.Migration != "m1" {
		t.Errorf("granted: generation %d, spec %d, put by %s, want 2, 2 and m1", in.Generation, in.SpecRev, in.Put.Migration)
	}
	s.grant(3, "n1", true)
	s.activated(3, "n1")
	s.failed("step_failed", events.LeftAtSource, "n2")
	if in := s.app().Instances["db-0"]; in.Generation != 1 || in.SpecRev != 1 || in.Put.Migration != "m-place" || in.Put.Admitted.Seq == 0 {
		t.Errorf("back at the source: generation %d, spec %d, put by %+v, want 1, 1 and m-place", in.Generation, in.SpecRev, in.Put)
	}
}
