package planner_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

// What goes with another app is where that is, moves with it in one admission, and comes back with it after a loss.
func TestWithApp(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": "disk=ssd", "n3": "disk=ssd"}, func(t *testing.T, w *world) {
		db, sidecar := singleton("db"), singleton("sidecar", "disk=ssd")
		sidecar.WithApp = []string{"db"}
		w.apply(sidecar)
		w.Until(t, "sidecar waits", func(v *projections.Cluster) bool { return v.Apps["sidecar"] != nil && v.Apps["sidecar"].Pending != nil })
		w.apply(db)
		w.runs("db")
		if w.on("db")[0] == "n1" { // it was free to choose before anything was known of who goes with it; a drain takes it to where both can be
			t.Fatal("db was placed where sidecar cannot be")
		}
		w.runs("sidecar")
		together := func(what string, not string) {
			t.Helper()
			w.Until(t, what, func(v *projections.Cluster) bool {
				a, b := v.Apps["db"].Instances["db-0"], v.Apps["sidecar"].Instances["sidecar-0"]
				return a != nil && b != nil && len(v.Apps["db"].Open)+len(v.Apps["sidecar"].Open) == 0 && a.Node == b.Node && a.Node != not
			})
		}
		together("they run together", "n1")

		at := w.on("db")[0]
		other := map[string]string{"n2": "n3", "n3": "n2"}[at]
		rep := st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, api.PreviewRequest{Move: &api.MoveRequest{App: "sidecar", To: other}})
		if len(rep.Moves) != 2 || rep.Moves[0].App != "sidecar" || rep.Moves[1].App != "db" || rep.Moves[1].To != other {
			t.Errorf("preview of a move: %+v", rep.Moves)
		}
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "sidecar", To: other})
		together("moved by hand", at)
		if p := last[events.PlanAdmitted](w); len(p.Moves) != 2 || p.Moves[0].App != "sidecar" || p.Moves[0].Cause != p.Moves[1].Cause {
			t.Errorf("admitted: %+v", p.Moves)
		}
		refused(w, api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: "n1"}, api.CodeRefused, "sidecar-0: label disk=ssd missing")

		w.ack(api.NodeDrain, api.DrainRequest{Meta: w.Meta(), Nodes: []string{other}})
		together("drained", other)
		if p := last[events.PlanAdmitted](w); len(p.Moves) != 2 || p.Moves[0].Reason != events.ReasonDrain || p.Moves[1].Reason != events.ReasonDrain || p.Moves[1].Order == "" {
			t.Errorf("admitted: %+v", p.Moves)
		}
		w.Until(t, "the drain has ended", func(v *projections.Cluster) bool { return v.Nodes[other].Drain == nil })
		w.put(events.Node(other), &events.NodeUncordoned{Node: other})
		w.put(events.Node(at), &events.NodeLost{Node: at, Inc: at + "/1", Reason: events.LostYielded})
		together("recovered", at)

		// db would go with sidecar, and sidecar goes with db.
		db.WithApp = []string{"sidecar"}
		refused(w, api.AppApply, api.ApplyRequest{Meta: w.Meta(), Spec: db}, api.CodeInvalid, "with_app: db goes with sidecar goes with db")
	})
}

// A pool lies over a label as evenly as its rule says, and does again when labels change.
func TestSpreadOver(t *testing.T) {
	nodes := map[string]string{}
	for i := range 6 {
		nodes[fmt.Sprintf("n%d", i)] = "zone=" + string(rune('a'+i%3))
	}
	run(t, nodes, func(t *testing.T, w *world) {
		web := pool("web", 4)
		web.SpreadOver = []spec.SpreadOver{{Label: "zone", MaxSkew: 1}}
		w.place(web)
		lies := func() (out []int) {
			count := map[string]int{}
			w.Replica.View(func(v *projections.Cluster) {
				for _, in := range v.Apps["web"].Instances {
					count[v.Nodes[in.Node].Labels["zone"]]++
				}
			})
			for _, c := range count {
				out = append(out, c)
			}
			slices.Sort(out)
			return out
		}
		same(t, "placed", fmt.Sprint(lies()), "[1 1 2]")
		for _, node := range w.on("web")[:2] {
			w.label(node, "zone=d")
			w.Until(t, "it settles", func(v *projections.Cluster) bool { return len(v.Apps["web"].Open) == 0 })
		}
		w.runs("web")
		got := lies()
		if len(got) == 0 || got[len(got)-1] > 2 {
			t.Errorf("after labels changed: %v", got)
		}
	})
}
