package planner_test

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/planner"
	st "github.com/go-cluster/go-cluster/services/servicetest"
)

// lossy is run with a node of role=a and a planner whose plans can be lost on their way.
func lossy(t *testing.T, f func(t *testing.T, w *world, away *st.Away)) {
	t.Helper()
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		w := &world{Cluster: c, t: t, poke: make(chan struct{}, 1)}
		b, away := w.AnotherAway(t, "r2", ".admitted")
		w.Start(t, planner.New(b).Run)
		w.Start(t, w.migrate)
		w.Beat(t)
		w.join("n1", "role=a")
		f(t, w, away)
	})
}

// A plan that was lost on its way to the log is not said again as it was: the node that it chose may be closed by then.
func TestPlansStayFresh(t *testing.T) {
	lossy(t, func(t *testing.T, w *world, away *st.Away) {
		away.On.Store(true)
		w.apply(singleton("db", "role=a"))
		w.Pass(time.Second)
		if away.Lost.Load() == 0 {
			t.Fatal("nobody has planned it")
		}
		w.put(events.Node("n1"), &events.NodeCordoned{Node: "n1"})
		w.Pass(time.Second)
		away.On.Store(false)
		w.Until(t, "it is placed, or said to be pending", func(v *projections.Cluster) bool {
			return v.Apps["db"].Pending != nil || v.Metrics.Events["placement.plan.admitted"] > 0
		})
		if stored[events.PlanAdmitted](w) > 0 {
			t.Errorf("a node that is cordoned by now was chosen: %+v", last[events.PlanAdmitted](w).Moves)
		}
	})
}

// Nor is one forgotten that was due by the time alone: nothing that happens later says that it is.
func TestLostPlansAreMadeAgain(t *testing.T) {
	lossy(t, func(t *testing.T, w *world, away *st.Away) {
		w.hold(true)
		w.apply(singleton("db", "role=a"))
		app, m := events.App("db"), w.open("db")
		w.put(app, &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: m.SpecRev, ToInc: m.ToInc})
		w.put(app, &events.MigrationFailed{Ref: m.Ref(), Code: "step_failed", BadNode: "n1", Left: events.LeftNowhere})
		away.On.Store(true)
		w.Pass(time.Minute)
		if away.Lost.Load() == 0 {
			t.Fatal("nobody has tried again")
		}
		away.On.Store(false)
		w.Pass(time.Minute)
		if got := stored[events.PlanAdmitted](w); got != 2 {
			t.Errorf("admitted %d times, want once more than before it failed", got)
		}
	})
}
