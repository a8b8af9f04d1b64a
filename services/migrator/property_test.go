package migrator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// witness watches the log alone, without the fold that the migrator decides on, and knows what nodes really said.
type witness struct {
	t      *rapid.T
	epoch  uint64
	holder string // incarnation
	ended  bool
	isolat bool                        // the app continues in isolation
	said   map[uint64][]api.StepReport // what the ordered node itself reported, by order
	orders map[uint64]events.Next
	fenced map[uint64]bool // epochs that their holders have listed as ended
	over   map[string]int  // terminal events by migration
	seen   int
}

func (o *witness) heard(seq uint64, ok func(api.StepReport) bool) bool {
	return slices.ContainsFunc(o.said[seq], ok)
}

// watch checks every event since the last call.
func (o *witness) watch(w *world) {
	for ; o.seen < len(w.stored); o.seen++ {
		e := w.stored[o.seen]
		ref, next := refOf(e.Data)
		if ref.Migration != "" && o.over[ref.Migration] > 0 {
			if _, late := e.Data.(*events.CancelRequested); !late {
				o.t.Fatalf("%s after the end of migration %s", line(e), ref.Migration)
			}
		}
		if next != nil {
			if e.Target != next.Node {
				o.t.Fatalf("%s is addressed to %q", line(e), e.Target)
			}
			o.orders[e.Seq] = *next
		}
		switch d := e.Data.(type) {
		case *events.NodeLost:
			if d.Inc == o.holder && (!o.isolat || d.Reason != events.LostSilent || d.Confirmed) {
				o.ended = true
			}
		case *events.LeadershipGranted:
			if d.Epoch <= o.epoch {
				o.t.Fatalf("epoch %d granted after %d", d.Epoch, o.epoch)
			}
			steppedDown := o.orders[d.OrderSeq].Step == events.StepStepDown && o.orders[d.OrderSeq].Inc == o.holder &&
				o.heard(d.OrderSeq, func(r api.StepReport) bool { return !r.Failed && r.Inc == o.holder })
			if o.holder != "" && o.holder != d.Inc && !o.ended && !steppedDown {
				o.t.Fatalf("epoch %d granted to %s while %s holds %d", d.Epoch, d.Inc, o.holder, o.epoch)
			}
			o.epoch, o.holder, o.ended = d.Epoch, d.Inc, false
		case *events.LeadershipReleased:
			if d.Epoch == o.epoch {
				if !o.fenced[d.Epoch] && !o.heard(d.OrderSeq, func(r api.StepReport) bool { return !r.Failed && r.Inc == o.holder }) {
					o.t.Fatalf("epoch %d released without a word of %s", d.Epoch, o.holder)
				}
				o.ended = true
			}
		case *events.StepFailed:
			if d.Result != nil && d.Result.Released && !o.fenced[o.epoch] &&
				!o.heard(d.OrderSeq, func(r api.StepReport) bool { return r.Failed && r.Result != nil && r.Result.Released }) {
				o.t.Fatalf("%s: nobody said that it released", line(e))
			}
			if d.Result != nil && d.Result.Released && (o.fenced[o.epoch] || o.orders[d.OrderSeq].Inc == o.holder) {
				o.ended = true
			}
		case *events.MigrationCompleted, *events.MigrationFailed:
			o.over[ref.Migration]++
		}
	}
}

func refOf(data any) (events.Ref, *events.Next) {
	switch d := data.(type) {
	case *events.MigrationStarted:
		return d.Ref, d.Next
	case *events.StepRequested:
		return d.Ref, d.Next
	case *events.StepCompleted:
		return d.Ref, d.Next
	case *events.StepFailed:
		return d.Ref, d.Next
	case *events.StepTimedOut:
		return d.Ref, d.Next
	case *events.LeadershipGranted:
		return d.Ref, d.Next
	case *events.LeadershipActivated:
		return d.Ref, d.Next
	case *events.LeadershipReleased:
		return d.Ref, nil
	case *events.MigrationCompleted:
		return d.Ref, nil
	case *events.MigrationFailed:
		return d.Ref, nil
	case *events.CancelRequested:
		return d.Ref, nil
	}
	return events.Ref{}, nil
}

// TestFaults throws everything at migrations that nodes, networks and operators can do, and then lets them be.
func TestFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes := []string{"a", "b", "c"}
		for _, n := range nodes {
			w.join(n, map[string]string{"role": "storage"})
		}
		isolation := rapid.SampledFrom([]string{spec.OnIsolationStop, spec.OnIsolationContinue}).Draw(t, "isolation")
		mode := rapid.SampledFrom([]spec.Mode{spec.Singleton, spec.Singleton, spec.Replicas}).Draw(t, "mode")
		w.declare(spec.App{Name: "app", Mode: mode, OnIsolation: isolation, Require: []string{"role=storage"}})
		o := &witness{t: t, isolat: mode == spec.Singleton && isolation == spec.OnIsolationContinue, said: map[uint64][]api.StepReport{},
			orders: map[uint64]events.Next{}, fenced: map[uint64]bool{}, over: map[string]int{}}
		say := func(r api.StepReport, from string) {
			if n, ok := o.orders[r.OrderSeq]; ok && n.Node == from && n.Inc == r.Inc && n.Step == r.Step && r.Node == from {
				o.said[r.OrderSeq] = append(o.said[r.OrderSeq], r)
			}
			w.report(r, from)
		}
		admitted := 0
		var sent []api.StepReport
		for range rapid.IntRange(5, 60).Draw(t, "acts") {
			node := rapid.SampledFrom(nodes).Draw(t, "node")
			n := w.v.Nodes[node]
			switch rapid.SampledFrom([]string{"admit", "admit", "done", "done", "done", "done", "failed", "released", "wrong", "replay", "late", "pass",
				"suspected", "lost", "back", "cancel", "fence", "cordon", "uncordon", "label", "freeze", "unfreeze", "apply", "remove"}).Draw(t, "act") {
			case "admit":
				admitted++
				m := admission(t, w, node, admitted)
				w.admit(m.Migration, m.Instance, m.From, m.To, events.ReasonManual)
			case "done", "failed", "released":
				if _, order := w.order(); order == nil {
					break
				}
				r := w.answer()
				switch rapid.IntRange(0, 4).Draw(t, "outcome") {
				case 0:
					r.Failed, r.Detail, r.Result = true, "it failed", nil
				case 1:
					r.Failed, r.Detail, r.Result = true, "it failed", &events.Result{Released: true}
				}
				sent = append(sent, r)
				if rapid.Bool().Draw(t, "arrives") && n.Status == projections.StatusReady {
					say(r, r.Node)
				}
			case "wrong":
				if _, order := w.order(); order == nil {
					break
				}
				r, from := w.answer(), ""
				switch rapid.IntRange(0, 4).Draw(t, "what") {
				case 0:
					r.Inc = "another"
				case 1:
					r.Node = node
				case 2:
					r.OrderSeq = rapid.Uint64Range(1, w.v.Seq+1).Draw(t, "seq")
				case 3:
					r.Step = rapid.SampledFrom([]events.Step{events.StepStepDown, events.StepActivate, events.StepPersist}).Draw(t, "step")
				case 4:
					from = node
				}
				if from == "" {
					from = r.Node
				}
				say(r, from)
			case "replay":
				if len(sent) > 0 {
					r := rapid.SampledFrom(sent).Draw(t, "report")
					say(r, r.Node)
				}
			case "late":
				if _, order := w.order(); order != nil && order.Deadline.After(w.now) {
					w.now = order.Deadline
				}
			case "pass":
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
			case "suspected":
				if n.Status == projections.StatusReady {
					w.nodeEvent(node, &events.NodeSuspected{Node: node, Inc: n.Inc})
				}
			case "lost":
				if n.Status != projections.StatusLost || rapid.Bool().Draw(t, "confirm") {
					reason := rapid.SampledFrom([]string{events.LostSilent, events.LostRebooted, events.LostYielded}).Draw(t, "reason")
					w.lose(node, reason, n.Status == projections.StatusLost)
				}
			case "back":
				if n.Status == projections.StatusLost {
					w.join(node, nil)
				}
			case "cancel":
				for _, m := range w.v.Apps["app"].SortedOpen() {
					w.put(events.Draft{Aggregate: events.App("app"), Data: &events.CancelRequested{Ref: m.Ref(),
						Why: rapid.SampledFrom([]string{"operator", "node_lost", "app_removed"}).Draw(t, "why")}})
				}
			case "fence":
				if l := w.v.Apps["app"].Leader; l != nil && w.v.Nodes[l.Node].Inc == l.Inc && w.v.Nodes[l.Node].Status != projections.StatusLost {
					o.fenced[l.Epoch] = true
					w.leases[l.Node] = services.SeenLease{LeaseRecord: transport.LeaseRecord{Lease: api.Lease{State: api.LeaseHeld, Node: l.Node, Inc: l.Inc,
						Fenced: []api.FencedEpoch{{App: "app", Instance: "app-0", Epoch: l.Epoch}}}}}
				}
			case "cordon":
				w.nodeEvent(node, &events.NodeCordoned{Node: node})
			case "uncordon":
				w.nodeEvent(node, &events.NodeUncordoned{Node: node})
			case "label":
				role := rapid.SampledFrom([]string{"storage", "compute"}).Draw(t, "role")
				w.nodeEvent(node, &events.NodeLabelsUpdated{Node: node, After: map[string]string{"role": role}})
			case "freeze":
				w.put(events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesFrozen{Source: events.FreezeSafety}})
			case "unfreeze":
				w.put(events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesUnfrozen{Source: events.FreezeSafety}})
			case "apply":
				w.declare(spec.App{Name: "app", Mode: mode, OnIsolation: isolation, Require: []string{"role=storage"}})
			case "remove":
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
					w.put(events.Draft{Aggregate: events.App("app"), Data: &events.AppRemoved{}})
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "settle") > 0 { // else the migrator is away for a moment
				w.settle()
			}
			o.watch(w)
		}
		calm(t, w, o, say)
		if len(w.v.Apps["app"].Open) > 0 {
			t.Fatalf("migrations are open though nothing is wrong any more: %v", w.v.Apps["app"].SortedOpen()[0])
		}
		for id := range w.v.Migrations {
			if o.over[id] != 1 {
				t.Fatalf("migration %s ended %d times", id, o.over[id])
			}
		}
		if _, wake := w.settle(); !wake.IsZero() {
			t.Fatalf("it waits for %s without an open migration", wake)
		}
	})
}

// calm ends the faults: silent nodes are known to be lost, living ones do what they are told.
func calm(t *rapid.T, w *world, o *witness, say func(api.StepReport, string)) {
	for id, n := range w.v.Nodes {
		if n.Status == projections.StatusSuspected {
			w.lose(id, events.LostSilent, false)
		}
	}
	for range 60 {
		w.settle()
		o.watch(w)
		_, order := w.order()
		switch {
		case order == nil:
			return
		case alive(w.v, order.Node, order.Inc):
			r := w.answer()
			say(r, r.Node)
		case order.Deadline.After(w.now):
			w.now = order.Deadline
		}
	}
	t.Fatalf("it does not come to an end; the latest: %s", line(w.stored[len(w.stored)-1]))
}

// admission draws a move that a planner could have admitted a moment ago.
func admission(t *rapid.T, w *world, node string, i int) events.Move {
	m := events.Move{Migration: fmt.Sprintf("m%d", i), App: "app", Instance: "app-0", To: node}
	if in := w.v.Apps["app"].Instances["app-0"]; in != nil {
		m.From = in.Node
		if rapid.IntRange(0, 4).Draw(t, "stop") == 0 {
			m.To = ""
		}
	}
	return m
}

// TestMessages counts what a move stores and sends, from the label that forces it to its end.
func TestMessages(t *testing.T) {
	for mode, most := range map[spec.Mode]int{spec.Singleton: 11, spec.Replicas: 7} {
		w := newWorld(t)
		w.join("a", map[string]string{"role": "storage"})
		w.join("b", map[string]string{"role": "storage"})
		w.declare(spec.App{Name: "app", Mode: mode, Require: []string{"role=storage"}})
		w.run("app-0", "a")
		w.messages = 0
		w.nodeEvent("a", &events.NodeLabelsUpdated{Node: "a", After: map[string]string{"role": "compute"}})
		m := w.admit("m1", "app-0", "a", "b", events.ReasonLabelChange)
		for w.settle(); !m.Ended(); w.settle() {
			if _, why := w.report(w.answer(), m.Order.Node); why != "" {
				t.Fatal(why)
			}
		}
		if m.Status != projections.MigrationCompleted || w.messages > most {
			t.Errorf("%s: %s with %d messages, want completed with at most %d", mode, m.Status, w.messages, most)
		}
		for _, e := range w.stored {
			if typ, _ := events.TypeOf(e.Data); writer(typ) == events.Migrator && (e.Cause == "" || e.Correlation == "" || e.Aggregate != events.App("app")) {
				t.Errorf("%s has cause %q, correlation %q, aggregate %s", line(e), e.Cause, e.Correlation, e.Aggregate)
			}
		}
	}
}
