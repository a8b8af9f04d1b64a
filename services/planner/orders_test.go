package planner_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func (w *world) drain(r api.DrainRequest) api.DrainReply {
	w.t.Helper()
	r.Meta = w.Meta()
	return st.Must[api.DrainReply](w.t, w.Cluster, api.NodeDrain, r)
}

func (w *world) status(order string) api.OrderReply {
	w.t.Helper()
	return st.Must[api.OrderReply](w.t, w.Cluster, api.OrderStatus, api.OrderRequest{Order: order})
}

// ends waits for a drain to end and returns how.
func (w *world) ends(order string) (d projections.Drain) {
	w.t.Helper()
	w.Until(w.t, "the end of drain "+order, func(v *projections.Cluster) bool {
		d = *v.Drains[order]
		return d.State != api.OrderOpen
	})
	return d
}

func TestDrain(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": "", "n3": ""}, func(t *testing.T, w *world) {
		w.place(singleton("a"), singleton("b"), pool("web", 2))
		rep := w.drain(api.DrainRequest{Nodes: []string{"n1"}})
		order := rep.Orders["n1"]
		if !rep.Changed || order == "" || rep.Order != order {
			t.Fatalf("%+v", rep)
		}
		same(t, "state", w.ends(order).State, api.OrderCompleted)
		w.Replica.View(func(v *projections.Cluster) {
			if n := v.Nodes["n1"]; len(v.On("n1")) > 0 || !n.Cordoned {
				t.Errorf("on n1: %v, cordoned %v", v.On("n1"), n.Cordoned)
			}
		})
		s := w.status(order)
		if s.Kind != "drain" || s.State != api.OrderCompleted || len(s.Left) > 0 || len(s.Migrations) == 0 || len(s.Migrations) != last[events.DrainCompleted](w).Moved {
			t.Errorf("%+v", s)
		}

		bad := func(r api.DrainRequest, code api.Code, says string) *api.Error {
			t.Helper()
			r.Meta = w.Meta()
			return refused(w, api.NodeDrain, r, code, says)
		}
		bad(api.DrainRequest{}, api.CodeInvalid, "no node is named")
		bad(api.DrainRequest{Nodes: []string{"n9"}}, api.CodeNotFound, "no node n9")
		bad(api.DrainRequest{Nodes: []string{"n2"}, Force: true}, api.CodeInvalid, "needs a timeout")
		bad(api.DrainRequest{Nodes: []string{"n2"}, Timeout: -1}, api.CodeInvalid, "timeout")
		if e := bad(api.DrainRequest{Nodes: []string{"n1", "n2"}}, api.CodeRefused, "drain n2: cordon all nodes of one drain first"); e.Seq == 0 {
			t.Error("the refusal is not in the log")
		}
		same(t, "drains", stored[events.DrainStarted](w), 1)
	})
}

func TestDrainOfSeveral(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": "", "n3": ""}, func(t *testing.T, w *world) {
		w.place(singleton("a"), singleton("b"), singleton("d"))
		for _, n := range []string{"n1", "n2"} {
			w.put(events.Node(n), &events.NodeCordoned{Node: n})
		}
		rep := w.drain(api.DrainRequest{Nodes: []string{"n1", "n2"}})
		same(t, "orders", len(rep.Orders), 2)
		for _, order := range rep.Orders {
			same(t, "state", w.ends(order).State, api.OrderCompleted)
		}
		for _, a := range []string{"a", "b", "d"} {
			same(t, a+" is on", w.on(a)[0], "n3")
		}
		same(t, "moves", len(w.status(rep.Orders["n1"]).Migrations)+len(w.status(rep.Orders["n2"]).Migrations), 2)
	})
}

// A drain that waits is joined by its repetition, shows what is stuck and why, and can be called off.
func TestDrainThatWaits(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"), singleton("free"))
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "free", To: "n1"})
		w.runs("free")
		order := w.drain(api.DrainRequest{Nodes: []string{"n1"}, Timeout: spec.Duration(time.Hour)}).Order
		w.Until(t, "free has left", func(v *projections.Cluster) bool { return len(v.On("n1")) == 1 && len(v.Apps["free"].Open) == 0 })

		s := w.status(order)
		if s.State != api.OrderOpen || !slices.Equal(s.Left, []string{"db-0"}) || len(s.Stuck) != 1 {
			t.Fatalf("%+v", s)
		}
		var rules []string
		for _, r := range s.Stuck[0].Rejections {
			rules = append(rules, r.Node+" "+r.Code)
		}
		if s.Stuck[0].Instance != "db-0" || !slices.Contains(rules, "n1 draining") || !slices.Contains(rules, "n2 label") {
			t.Errorf("stuck: %+v", s.Stuck)
		}
		joined := w.drain(api.DrainRequest{Nodes: []string{"n1"}})
		if joined.Changed || joined.Order != order {
			t.Errorf("a repetition got %+v", joined)
		}
		same(t, "the same options", w.drain(api.DrainRequest{Nodes: []string{"n1"}, Timeout: spec.Duration(time.Hour)}).Order, order)
		refused(w, api.NodeDrain, api.DrainRequest{Meta: w.Meta(), Nodes: []string{"n1"}, Timeout: spec.Duration(time.Minute), Force: true}, api.CodeRefused,
			"with other options (order "+order+": timeout 1h0m0s)")

		same(t, "called off", w.ack(api.NodeDrainCancel, api.NodeRequest{Meta: w.Meta(), Node: "n1"}).Changed, true)
		same(t, "called off twice", w.ack(api.NodeDrainCancel, api.NodeRequest{Meta: w.Meta(), Node: "n1"}).Changed, false)
		refused(w, api.NodeDrainCancel, api.NodeRequest{Meta: w.Meta(), Node: "n9"}, api.CodeNotFound, "no node n9")
		same(t, "state", w.status(order).State, api.OrderCancelled)
		w.Replica.View(func(v *projections.Cluster) { same(t, "cordoned", v.Nodes["n1"].Cordoned, true) })
		w.runs("db")
		same(t, "on", w.on("db")[0], "n1")
	})
}

func TestDrainTimesOut(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		from := w.on("db")[0]
		w.hold(true)
		began := time.Now()
		order := w.drain(api.DrainRequest{Nodes: []string{from}, Timeout: spec.Duration(10 * time.Second)}).Order
		m := w.open("db")
		d := w.ends(order)
		if took := time.Since(began); d.State != api.OrderFailed || !slices.Equal(d.Left, []string{"db-0"}) || took < 10*time.Second || took > 12*time.Second {
			t.Errorf("%+v after %s", d, took)
		}
		w.Until(t, "its move is given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "drain_failed"
		})
		w.hold(false)
		w.runs("db")
		same(t, "on", w.on("db")[0], from)
		if s := w.status(order); s.State != api.OrderFailed || !slices.Equal(s.Left, []string{"db-0"}) {
			t.Errorf("%+v", s)
		}
	})
}

func TestForcedDrainStopsTheRest(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"), pool("web", 2))
		order := w.drain(api.DrainRequest{Nodes: []string{"n1"}, Timeout: spec.Duration(10 * time.Second), Force: true, DeleteLocal: true}).Order
		w.Pass(9 * time.Second)
		same(t, "left before the time is up", len(w.status(order).Left), 2)
		same(t, "state", w.ends(order).State, api.OrderCompleted)
		w.Until(t, "db is Pending", func(v *projections.Cluster) bool {
			return v.Apps["db"].Pending != nil && len(v.Apps["db"].Instances) == 0
		})
		for _, m := range last[events.PlanAdmitted](w).Moves {
			if m.Kind() != events.KindStop || !m.Forced || m.Order != order || !m.DeleteLocal {
				t.Errorf("%+v", m)
			}
		}
		same(t, "web is on", strings.Join(w.on("web"), " "), "n2")
	})
}

// What a forced drain has begun to move when its time is up is given up and stopped, as what it has not: it may not take longer than one without
// --force, which gives up at that time.
func TestForcedDrainGivesUpWhatMoves(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		w.place(pool("web", 1))
		from := w.on("web")[0]
		w.hold(true)
		order := w.drain(api.DrainRequest{Nodes: []string{from}, Timeout: spec.Duration(10 * time.Second), Force: true}).Order
		m := w.open("web")
		w.Pass(9 * time.Second)
		w.Replica.View(func(v *projections.Cluster) {
			same(t, "given up before its time", v.Migrations[m.Migration].Cancel != nil, false)
		})
		w.Until(t, "its move is given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "drain_timeout"
		})
		w.hold(false)
		same(t, "state", w.ends(order).State, api.OrderCompleted)
		stops := 0
		w.Replica.View(func(v *projections.Cluster) {
			for _, m := range v.SortedMigrations() {
				if m.Orderer == order && m.Kind == events.KindStop && m.Forced {
					stops++
				}
			}
		})
		same(t, "stops", stops, 1)
		w.runs("web") // it is missing now, and placed anew
		same(t, "on", w.on("web")[0] != from, true)
	})
}

// An instance that may not be taken over is not stopped for ever again on a node that is gone.
func TestForcedDrainOfALostNode(t *testing.T) {
	run(t, map[string]string{"n1": ""}, func(t *testing.T, w *world) {
		a := singleton("db")
		a.OnIsolation = spec.OnIsolationContinue
		w.place(a)
		w.put(events.Node("n1"), &events.NodeLost{Node: "n1", Inc: "n1/1", Reason: events.LostSilent})
		before := stored[events.PlanAdmitted](w)
		order := w.drain(api.DrainRequest{Nodes: []string{"n1"}, Timeout: spec.Duration(time.Second), Force: true}).Order
		w.Pass(time.Minute)
		same(t, "admitted", stored[events.PlanAdmitted](w), before)
		same(t, "state", w.status(order).State, api.OrderOpen)
	})
}

func TestEvacuate(t *testing.T) {
	run(t, map[string]string{"n1": "zone=a", "n2": "zone=a", "n3": "zone=b"}, func(t *testing.T, w *world) {
		w.place(singleton("a"), singleton("b"), singleton("d"))
		refused(w, api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone in ("}, api.CodeInvalid, "evacuate: ")
		refused(w, api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone=a", Timeout: -1}, api.CodeInvalid, "timeout")
		ack := w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone=a"})
		w.Until(t, "the evacuation is over", func(v *projections.Cluster) bool { return v.Evacuations[ack.Order].State == api.OrderCompleted })
		for _, a := range []string{"a", "b", "d"} {
			same(t, a+" is on", w.on(a)[0], "n3")
		}
		s := w.status(ack.Order)
		if s.Kind != "evacuation" || s.State != api.OrderCompleted || len(s.Migrations) != 2 || len(s.Left) > 0 {
			t.Errorf("%+v", s)
		}
		same(t, "moved", last[events.EvacuationCompleted](w).Moved, 2)
	})
}

// An evacuation is called off as a drain is: what is under way is given up, what has left stays, and nothing else leaves.
func TestEvacuationIsCancelled(t *testing.T) {
	run(t, map[string]string{"n1": "zone=a", "n2": "zone=b"}, func(t *testing.T, w *world) {
		w.place(singleton("stays", "zone=a"), singleton("goes"))
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "goes", To: "n1"})
		w.runs("goes")
		w.hold(true)
		order := w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone=a"}).Order
		m := w.open("goes")
		cancel := func(selector string) api.Ack {
			return w.ack(api.AppUnevacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: selector})
		}
		refused(w, api.AppUnevacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone in ("}, api.CodeInvalid, "cancel evacuation: ")
		same(t, "of another selector", cancel("zone=b").Changed, false)
		ack := cancel(" zone = a ")
		same(t, "called off", ack.Changed, true)
		same(t, "order", ack.Order, order)
		same(t, "called off twice", cancel("zone=a").Changed, false)
		same(t, "state", w.status(order).State, api.OrderCancelled)
		w.Until(t, "its move is given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "evacuation_cancelled"
		})
		w.Pass(time.Minute)
		same(t, "on", w.on("stays")[0], "n1")
	})
}

// A cancellation that arrives twice says nothing of an evacuation that was ordered between.
func TestEvacuationIsNotCancelledByARepetition(t *testing.T) {
	run(t, map[string]string{"n1": "zone=a", "n2": "zone=b"}, func(t *testing.T, w *world) {
		w.place(singleton("stays", "zone=a"))
		evacuate := func() string {
			return w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone=a"}).Order
		}
		order := evacuate()
		w.put(events.Cluster("test"), &events.EvacuationStarted{Order: "e-2", Selector: "zone = a"}) // as older versions did
		before := []string{order, "e-2"}
		cancel := api.EvacuateRequest{Meta: w.Meta(), Selector: "zone=a"}
		ack := w.ack(api.AppUnevacuate, cancel)
		for _, order := range before {
			same(t, "state of one ordered before", w.status(order).State, api.OrderCancelled)
		}
		after := evacuate()
		same(t, "the repetition's outcome", w.ack(api.AppUnevacuate, cancel), ack)
		same(t, "state of the one ordered after", w.status(after).State, api.OrderOpen)
	})
}

// Who asks again for what is under way joins in, however the selector is written: one cancellation calls it off, and one timeout holds.
func TestEvacuationIsJoined(t *testing.T) {
	run(t, map[string]string{"n1": "zone=a", "n2": "zone=b"}, func(t *testing.T, w *world) {
		w.place(singleton("stays", "zone=a"))
		ask := func(selector string, timeout time.Duration) api.EvacuateRequest {
			return api.EvacuateRequest{Meta: w.Meta(), Selector: selector, Timeout: spec.Duration(timeout)}
		}
		order := w.ack(api.AppEvacuate, ask("zone=a", time.Hour)).Order
		for _, again := range []api.EvacuateRequest{ask("zone=a", 0), ask(" zone = a ", time.Hour)} {
			ack := w.ack(api.AppEvacuate, again)
			same(t, "changed", ack.Changed, false)
			same(t, "order", ack.Order, order)
		}
		refused(w, api.AppEvacuate, ask("zone=a", time.Minute), api.CodeRefused,
			"evacuate zone=a: it is under way with another timeout (order "+order+": timeout 1h0m0s); cancel that first, or repeat without one to join in")
		same(t, "another selector joins", w.ack(api.AppEvacuate, ask("zone=b", 0)).Changed, true)
		w.ack(api.AppUnevacuate, ask("zone=a", 0))
		same(t, "one that is over is joined", w.ack(api.AppEvacuate, ask("zone=a", 0)).Changed, true)
	})
}

func TestEvacuationTimesOut(t *testing.T) {
	run(t, map[string]string{"n1": "zone=a", "n2": "zone=b"}, func(t *testing.T, w *world) {
		w.place(singleton("stays", "zone=a"), singleton("goes"))
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "goes", To: "n1"})
		w.runs("goes")
		w.hold(true)
		order := w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone=a", Timeout: spec.Duration(10 * time.Second)}).Order
		m := w.open("goes")
		if s := w.status(order); len(s.Left) != 2 || len(s.Stuck) != 1 || s.Stuck[0].Instance != "stays-0" {
			t.Errorf("%+v", s)
		}
		w.Until(t, "the evacuation is over", func(v *projections.Cluster) bool { return v.Evacuations[order].State == api.OrderFailed })
		if d := last[events.EvacuationCompleted](w); !d.TimedOut || !slices.Equal(d.Left, []string{"goes-0", "stays-0"}) {
			t.Errorf("%+v", d)
		}
		w.Until(t, "its move is given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "evacuation_timeout"
		})
		w.hold(false)
		w.runs("goes")
		same(t, "goes is on", w.on("goes")[0], "n1")
		same(t, "stays is on", w.on("stays")[0], "n1")
	})
}

func TestStatusOfOtherOrders(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		refused(w, api.OrderStatus, api.OrderRequest{Order: "d-none"}, api.CodeNotFound, "no such drain, evacuation, rebalance or migration")
		w.place(singleton("db"))
		w.hold(true)
		m := w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"}).Order
		if s := w.status(m); s.Kind != "migration" || s.State != api.OrderOpen || len(s.Migrations) != 1 {
			t.Errorf("%+v", s)
		}
		w.ack(api.MigrationCancel, api.MigrationRequest{Meta: w.Meta(), Migration: m})
		w.hold(false)
		w.runs("db")
		same(t, "state", w.status(m).State, api.OrderCancelled)

		from := w.on("db")[0]
		to := map[string]string{"n1": "n2", "n2": "n1"}[from]
		w.put(events.Cluster("test"), &events.RebalanceTriggered{Order: "r-1", Reason: events.ReasonManual, Trigger: events.TriggerManual,
			Moves: []events.Proposal{{App: "db", Instance: "db-0", From: from, To: to, Why: "evener"}}})
		w.Until(t, "the proposal is carried out", func(v *projections.Cluster) bool {
			return v.Apps["db"].SortedInstances()[0].Node == to && len(v.Apps["db"].Open) == 0
		})
		s := w.status("r-1")
		if s.Kind != "rebalance" || s.State != api.OrderOpen || len(s.Migrations) != 1 || s.Migrations[0].Reason != events.ReasonRebalance {
			t.Errorf("%+v", s)
		}
		w.put(events.Cluster("test"), &events.RebalanceCompleted{Order: "r-1", Moved: 1})
		same(t, "state", w.status("r-1").State, api.OrderCompleted)
	})
}

func TestStable(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a"}, func(t *testing.T, w *world) {
		stable := func() api.StableReply {
			t.Helper()
			return st.Must[api.StableReply](t, w.Cluster, api.NodeStable, api.StableRequest{Node: "n1"})
		}
		refused(w, api.NodeStable, api.StableRequest{Node: "n9"}, api.CodeNotFound, "no node n9")
		w.place(singleton("db", "role=a"))
		if w.on("db")[0] != "n1" {
			w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: "n1"})
			w.runs("db")
		}
		if s := stable(); !s.Stable || len(s.Waiting) > 0 {
			t.Errorf("%+v", s)
		}
		w.hold(true)
		w.label("n1", "role=b")
		m := w.open("db")
		if s := stable(); s.Stable || !slices.Contains(s.Waiting, "migration "+m.Migration+" of db-0 is open") {
			t.Errorf("%+v", s)
		}
		w.hold(false)
		w.runs("db")
		same(t, "stable", stable().Stable, true)
		w.ack(api.MovesFreeze, api.FreezeRequest{Meta: w.Meta(), Why: "test"})
		w.put(events.Node("n1"), &events.NodeSuspected{Node: "n1", Inc: "n1/1"})
		if s := stable(); s.Stable || !slices.Contains(s.Waiting, "n1 is suspected") {
			t.Errorf("%+v", s)
		}
		w.put(events.Node("n1"), &events.NodeLeft{Node: "n1", Inc: "n1/1"})
		refused(w, api.NodeStable, api.StableRequest{Node: "n1"}, api.CodeNotFound, "no node n1")
	})
}
