package planner_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/planner"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

// outcome is what a client is told.
type outcome[Rep any] struct {
	Reply   Rep
	Refusal *api.Error
}

func ask[Rep, Req any](w *world, e api.Endpoint, req Req) (o outcome[Rep]) {
	rep, err := st.Call[Rep](w.Cluster, e, req)
	if err != nil {
		o.Refusal = err.(*api.Error)
		return o
	}
	o.Reply = rep
	return o
}

// once sends one command many times at once to two planners, and again after its expiry: whoever answers, the outcome is one.
func once[Rep, Req any](t *testing.T, w *world, e api.Endpoint, req Req) Rep {
	t.Helper()
	told := make([]outcome[Rep], 16)
	var wg sync.WaitGroup
	for i := range told {
		wg.Go(func() { told[i] = ask[Rep](w, e, req) })
	}
	wg.Wait()
	w.Pass(2 * time.Minute)
	for _, o := range append(told[1:], ask[Rep](w, e, req)) {
		if d := cmp.Diff(told[0], o); d != "" {
			t.Errorf("%s.%s: two outcomes of one command (-first +other):\n%s", e.Noun, e.Verb, d)
		}
	}
	return told[0].Reply
}

func TestCommandIsCarriedOutOnce(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a", "n3": "role=a"}, func(t *testing.T, w *world) {
		w.Start(t, planner.New(w.Another(t, "r2")).Run)

		rep := once[api.ApplyReply](t, w, api.AppApply, api.ApplyRequest{Meta: w.Meta(), Spec: singleton("db", "role=a")})
		if !rep.Changed || rep.SpecRev != 1 || len(rep.Warnings) == 0 {
			t.Errorf("%+v", rep)
		}
		same(t, "applied", stored[events.AppApplied](w), 1)
		w.runs("db")

		admitted, from := stored[events.PlanAdmitted](w), w.on("db")[0]
		ack := once[api.Ack](t, w, api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"})
		if !ack.Changed || ack.Order == "" || stored[events.PlanAdmitted](w) != admitted+1 || w.on("db")[0] == from {
			t.Errorf("%+v, %d admissions, on %v", ack, stored[events.PlanAdmitted](w), w.on("db"))
		}
		same(t, "restarted", once[api.Ack](t, w, api.AppRestart, api.AppRequest{Meta: w.Meta(), App: "db"}).Changed, true)
		same(t, "restarts", stored[events.AppRestartRequested](w), 1)

		once[api.Ack](t, w, api.AppApply, api.ApplyRequest{Meta: w.Meta(), Spec: pool("db", 2)})
		same(t, "refusals", stored[events.RequestRefused](w), 1)

		for _, n := range []string{"n1", "n2"} {
			w.put(events.Node(n), &events.NodeCordoned{Node: n})
		}
		drained := once[api.DrainReply](t, w, api.NodeDrain, api.DrainRequest{Meta: w.Meta(), Nodes: []string{"n1", "n2"}})
		if !drained.Changed || len(drained.Orders) != 2 || stored[events.DrainStarted](w) != 2 {
			t.Errorf("%+v, %d drains", drained, stored[events.DrainStarted](w))
		}
		e := once[api.Ack](t, w, api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "role=none"})
		if !e.Changed || e.Order == "" || stored[events.EvacuationStarted](w) != 1 {
			t.Errorf("%+v, %d evacuations", e, stored[events.EvacuationStarted](w))
		}
	})
}

// A command that nobody has seen before its expiry is refused, and stays refused.
func TestCommandThatComesTooLate(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.Start(t, planner.New(w.Another(t, "r2")).Run)
		req := api.ApplyRequest{Meta: w.Meta(), Spec: singleton("db")}
		w.Pass(2 * time.Minute)
		first := refused(w, api.AppApply, req, api.CodeExpired, "was not carried out")
		for range 8 {
			again := refused(w, api.AppApply, req, api.CodeExpired, "was not carried out")
			same(t, "sequence of the refusal", again.Seq, first.Seq)
		}
		if first.Seq == 0 || stored[events.RequestRefused](w) != 1 || stored[events.AppApplied](w) != 0 {
			t.Errorf("%d refusals", stored[events.RequestRefused](w))
		}
	})
}

// However many planners there are, each decision is stored once.
func TestPlannersThatRace(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a", "n3": "role=b"}, func(t *testing.T, w *world) {
		for _, r := range []string{"r2", "r3"} {
			w.Start(t, planner.New(w.Another(t, r)).Run)
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() { w.apply(singleton(fmt.Sprint("app-", i), "role=a")) })
			wg.Go(func() { w.apply(singleton(fmt.Sprint("no-", i), "role=none")) })
		}
		wg.Wait()
		for i := range 10 {
			w.runs(fmt.Sprint("app-", i))
		}
		w.Until(t, "the others are Pending", func(v *projections.Cluster) bool {
			for i := range 10 {
				if v.Apps[fmt.Sprint("no-", i)].Pending == nil {
					return false
				}
			}
			return true
		})
		st.Must[api.DrainReply](t, w.Cluster, api.NodeDrain, api.DrainRequest{Meta: w.Meta(), Nodes: []string{"n1"}, Timeout: spec.Duration(time.Minute)})
		w.Until(t, "the drain is complete", func(v *projections.Cluster) bool { return v.Nodes["n1"].Drain == nil })
		w.Pass(5 * time.Minute)

		placed, left := 0, 0
		w.Replica.View(func(v *projections.Cluster) {
			for _, m := range v.Migrations {
				switch {
				case m.Kind == events.KindPlace:
					placed++
				case m.From == "n1" && m.Reason == events.ReasonDrain:
					left++
				default:
					t.Errorf("%+v", m.Move)
				}
			}
			for _, n := range []string{"n1", "n2", "n3"} {
				same(t, n, len(v.On(n)), map[string]int{"n2": 10}[n])
			}
		})
		same(t, "placements", placed, 10)
		if left == 0 {
			t.Error("nothing was on n1")
		}
		same(t, "Pending", stored[events.PlacementInvalid](w), 10)
		same(t, "drains completed", stored[events.DrainCompleted](w), 1)
	})
}
