package projections_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// history writes events as a log would hold them and folds each.
type history struct {
	c    *projections.Cluster
	all  []events.Message
	time time.Time
}

func newHistory() *history {
	return &history{c: projections.NewCluster("test"), time: time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC)}
}

// add folds one event, a second after the one before.
func (h *history) add(t *testing.T, a events.Aggregate, data any) events.Event {
	t.Helper()
	typ, err := events.TypeOf(data)
	if err != nil {
		t.Fatal(err)
	}
	h.time = h.time.Add(time.Second)
	head := h.c.Head(a)
	e := events.Event{
		ID: fmt.Sprintf("e%d", h.c.Seq+1), Type: typ, V: 1, Rev: head.Rev + 1, Prev: head.Hash, Hash: fmt.Sprintf("h%d", h.c.Seq+1), Actor: "cli:ana",
		Aggregate: a, Seq: h.c.Seq + 1, Stored: h.time, TS: h.time, Data: data, Correlation: "cmd:c1",
	}
	m := events.Message{Event: e}
	h.all = append(h.all, m)
	h.c.Apply(m)
	if why := h.c.Quarantined[a]; why != "" {
		t.Fatal(why)
	}
	return e
}

func (h *history) join(t *testing.T, nodes ...string) {
	t.Helper()
	for i, n := range nodes {
		h.add(t, events.Node(n), &events.NodeJoined{Node: n, Inc: "inc-" + n, Machine: "machine-" + n, TTL: spec.Duration(30 * time.Second),
			Facts: events.Facts{Address: fmt.Sprintf("10.0.0.%d", i+1), Version: "1.2.3", CPU: 4000, Memory: 8 << 30, Drivers: []string{"process"}}})
	}
}

func next(step events.Step, node string) *events.Next {
	return &events.Next{Step: step, Node: node, Inc: "inc-" + node, Timeout: spec.Duration(time.Minute)}
}

func (h *history) move(id, app, instance, from, to string, reason string) events.Move {
	m := events.Move{Migration: id, App: app, Instance: instance, SpecRev: 1, From: from, To: to, Reason: reason, Trigger: events.TriggerManual,
		Class: events.ClassForced, Cause: "e1", Correlation: "cmd:c1"}
	if from != "" {
		m.FromInc = "inc-" + from
	}
	if to != "" {
		m.ToInc = "inc-" + to
	}
	return m
}

func (h *history) start(t *testing.T, mv events.Move, n *events.Next) {
	t.Helper()
	h.add(t, events.Cluster("test"), &events.PlanAdmitted{Plan: "p-" + mv.Migration, Moves: []events.Move{mv}})
	h.add(t, events.App(mv.App), &events.MigrationStarted{Ref: mv.Ref(), Kind: mv.Kind(), SpecRev: 1, Generation: 1, FromInc: mv.FromInc, ToInc: mv.ToInc, Next: n})
}

// serve ends a singleton's switch-over onto a node from the grant on.
func (h *history) serve(t *testing.T, mv events.Move, epoch uint64) {
	t.Helper()
	h.add(t, events.App(mv.App), &events.LeadershipActivated{Ref: mv.Ref(), Epoch: epoch, Node: mv.To, Inc: mv.ToInc, Next: next(events.StepActivate, mv.To)})
	h.add(t, events.App(mv.App), &events.MigrationCompleted{Ref: mv.Ref(), DurationMS: 3000, Step: events.StepActivate, Result: &events.Result{Ports: map[string]int{"http": 4242}}})
}

// golden compares sections with testdata, in the order they are added.
type golden struct{ bytes.Buffer }

func (g *golden) show(t *testing.T, title string, v any) {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.Multiline(true))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(g, "== %s\n%s\n", title, b)
}

func (g *golden) compare(t *testing.T, file string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, g.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), g.String()); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

func singletonApp(h *history, t *testing.T) {
	t.Helper()
	h.add(t, events.App("convex"), &events.AppApplied{Spec: spec.App{Name: "convex", Mode: spec.Singleton, OnIsolation: spec.OnIsolationStop}, SpecRev: 1, Generation: 1})
}

func TestSingletonViews(t *testing.T) {
	var g golden
	h := newHistory()
	h.join(t, "node-1", "node-2")
	h.add(t, events.Node("node-2"), &events.NodeLabelsUpdated{Node: "node-2", Before: map[string]string{}, After: map[string]string{"role": "compute"}})
	g.show(t, "an empty node", projections.NodeDetail(h.c, h.c.Nodes["node-2"], api.Load{CPU: 0.25, Memory: 0.5}))
	singletonApp(h, t)
	app := h.c.Apps["convex"]
	g.show(t, "declared, nowhere yet", projections.AppDetail(h.c, app))

	place := h.move("m-1", "convex", "convex-0", "", "node-1", events.ReasonScale)
	h.start(t, place, next(events.StepPrepare, "node-1"))
	g.show(t, "being placed", projections.AppDetail(h.c, app))
	h.add(t, events.App("convex"), &events.LeadershipGranted{Ref: place.Ref(), Epoch: 1, Node: "node-1", Inc: "inc-node-1", Next: next(events.StepPersist, "node-1")})
	h.serve(t, place, 1)
	g.show(t, "running", projections.AppDetail(h.c, app))

	mv := h.move("m-2", "convex", "convex-0", "node-1", "node-2", events.ReasonLabelChange)
	h.start(t, mv, next(events.StepPrepare, "node-2"))
	g.show(t, "target being prepared", projections.AppDetail(h.c, app))
	h.add(t, events.App("convex"), &events.StepCompleted{Ref: mv.Ref(), Step: events.StepPrepare, Node: "node-2", Result: &events.Result{Ports: map[string]int{"http": 5151}}, Next: next(events.StepStepDown, "node-1")})
	g.show(t, "target ready, source steps down", projections.AppDetail(h.c, app))
	g.show(t, "target node meanwhile", projections.NodeDetail(h.c, h.c.Nodes["node-2"], api.Load{}))
	g.show(t, "running migration", projections.MigrationView(h.c, h.c.Migrations["m-2"]))
	h.add(t, events.App("convex"), &events.LeadershipGranted{Ref: mv.Ref(), Epoch: 2, Node: "node-2", Inc: "inc-node-2", Next: next(events.StepPersist, "node-2")})
	g.show(t, "granted", projections.AppDetail(h.c, app))
	h.serve(t, mv, 2)
	g.show(t, "moved", projections.AppView(h.c, app))
	g.show(t, "ended migration", projections.MigrationDetail(h.c, h.c.Migrations["m-2"]))

	h.add(t, events.App("convex"), &events.PlacementInvalid{Instance: "convex-0", Missing: 1, Code: "no_eligible_node", Reason: "no node has role=storage",
		Rejections: []events.Rejection{{Node: "node-1", Code: events.RuleLabel, Detail: "label role=storage missing"}}, Nodes: 2})
	g.show(t, "pending while it serves", projections.AppDetail(h.c, app))
	h.add(t, events.Node("node-2"), &events.NodeCordoned{Node: "node-2"})
	h.add(t, events.Node("node-1"), &events.DrainStarted{Node: "node-1", Order: "d-1"})
	g.show(t, "node list", projections.NodeViews(h.c, map[string]api.Load{"node-1": {CPU: 1}}))
	g.compare(t, "testdata/views_singleton.golden")
}

func TestPoolViews(t *testing.T) {
	var g golden
	h := newHistory()
	h.join(t, "node-1", "node-2", "node-3")
	two := 2
	h.add(t, events.App("web"), &events.AppApplied{Spec: spec.App{Name: "web", Mode: spec.Replicas, Replicas: &two}, SpecRev: 1, Generation: 1})
	app := h.c.Apps["web"]
	for i, n := range []string{"node-1", "node-2"} {
		p := h.move(fmt.Sprint("m-", i), "web", fmt.Sprint("web-", i), "", n, events.ReasonScale)
		h.start(t, p, next(events.StepStart, n))
		if i == 0 {
			g.show(t, "first member starts", projections.AppDetail(h.c, app))
		}
		h.add(t, events.App("web"), &events.MigrationCompleted{Ref: p.Ref(), Step: events.StepStart})
	}
	mv := h.move("m-9", "web", "web-0", "node-1", "node-3", events.ReasonDrain)
	h.start(t, mv, next(events.StepStart, "node-3"))
	g.show(t, "the new member starts", projections.AppDetail(h.c, app))
	h.add(t, events.App("web"), &events.StepCompleted{Ref: mv.Ref(), Step: events.StepStart, Node: "node-3", Next: next(events.StepStop, "node-1")})
	g.show(t, "the old member stops", projections.AppDetail(h.c, app))
	h.add(t, events.App("web"), &events.MigrationFailed{Ref: mv.Ref(), Code: "step_timed_out", Detail: "stop on node-1: no report within its time", Left: events.LeftAtTarget, BadNode: "node-1"})
	g.show(t, "failed after its commit", projections.MigrationView(h.c, h.c.Migrations["m-9"]))
	h.add(t, events.App("web"), &events.InstanceFailed{Instance: "web-1", Node: "node-2", Detail: "exit status 1, 3 times within 1m"})
	g.show(t, "one failed", projections.AppDetail(h.c, app))
	h.add(t, events.App("web"), &events.AppRemoved{})
	g.show(t, "removed, still there", projections.AppView(h.c, app))
	g.compare(t, "testdata/views_pool.golden")
}

// Lists are [] and maps {}: a client in another language must not meet null.
func TestViewsHaveNoNull(t *testing.T) {
	c := projections.NewCluster("test")
	for _, v := range []any{
		projections.NodeViews(c, nil), projections.NodeDetail(c, &projections.Node{}, api.Load{}), projections.AppDetail(c, &projections.App{}),
		projections.InstanceViews(c, &projections.App{Instances: map[string]*projections.Instance{"a-0": {ID: "a-0"}}}),
		projections.MigrationDetail(c, &projections.Migration{Started: projections.Cause{Seq: 1}}),
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("null")) {
			t.Errorf("%T has null: %s", v, b)
		}
	}
}

func TestMetricsReplay(t *testing.T) {
	h := newHistory()
	h.join(t, "node-1", "node-2")
	singletonApp(h, t)
	mv := h.move("m-1", "convex", "convex-0", "", "node-1", events.ReasonScale)
	h.start(t, mv, next(events.StepPrepare, "node-1"))
	h.add(t, events.App("convex"), &events.LeadershipGranted{Ref: mv.Ref(), Epoch: 1, Node: "node-1", Inc: "inc-node-1", Next: next(events.StepPersist, "node-1")})
	h.serve(t, mv, 1)
	back := h.move("m-2", "convex", "convex-0", "node-1", "node-2", events.ReasonManual)
	h.start(t, back, next(events.StepPrepare, "node-2"))
	h.add(t, events.App("convex"), &events.MigrationFailed{Ref: back.Ref(), Code: "cancelled", Left: events.LeftAtSource})
	h.add(t, events.Cluster("test"), &events.RebalanceTriggered{Order: "r-1", Reason: events.ReasonManual})
	h.add(t, events.Request(events.Planner), &events.RequestRefused{Request: "app.move", Code: "refused"})

	again := projections.NewCluster("test")
	for _, m := range h.all {
		again.Apply(m)
	}
	if d := cmp.Diff(h.c.Metrics, again.Metrics); d != "" {
		t.Errorf("a replay counts differently (-first +second):\n%s", d)
	}
	m := again.Metrics
	want := map[projections.MigrationKey]int{
		{App: "convex", Reason: "scale", Status: "completed"}:  1,
		{App: "convex", Reason: "manual", Status: "cancelled"}: 1,
	}
	if d := cmp.Diff(want, m.Migrations); d != "" {
		t.Errorf("migrations (-want +got):\n%s", d)
	}
	if h := m.Durations["convex"]; h == nil || h.Total != 1 || h.Sum != 3 {
		t.Errorf("durations: %+v, want one of 3 s", h)
	}
	if m.Rebalances["manual"] != 1 || m.Refused["refused"] != 1 || m.Events["node.membership.joined"] != 2 {
		t.Errorf("counters: %+v", m)
	}
}

// A stored event that does not continue its aggregate is found, whatever else is right with it, and only its aggregate suffers.
func TestHashChainBreak(t *testing.T) {
	h := newHistory()
	h.join(t, "node-1", "node-2")
	forged := h.all[0].Event
	forged.Seq, forged.Rev, forged.Prev = 3, 2, "sha256:of something else"
	forged.Data = &events.NodeCordoned{Node: "node-1"}
	forged.Type = "node.scheduling.cordoned"
	h.c.Apply(events.Message{Event: forged})
	if h.c.Quarantined[events.Node("node-1")] == "" {
		t.Error("a broken chain was not noticed")
	}
	if h.c.Nodes["node-1"].Cordoned {
		t.Error("an event outside the chain took effect")
	}
	h.add(t, events.Node("node-2"), &events.NodeCordoned{Node: "node-2"})
	if !h.c.Nodes["node-2"].Cordoned || len(h.c.Quarantined) != 1 {
		t.Errorf("another aggregate suffered: %v", h.c.Quarantined)
	}
}
