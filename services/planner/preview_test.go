package planner_test

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

// A preview says what would move, and changes nothing: neither in the log nor in the fold that plans for real.
func TestPreview(t *testing.T) {
	run(t, map[string]string{"n1": "role=a,zone=x", "n2": "role=a,zone=y", "n3": "role=b"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"), pool("web", 2, "role=a"))
		w.put(events.Node("n3"), &events.NodeCordoned{Node: "n3"})
		w.apply(singleton("waits", "role=b"))
		w.Until(t, "waits is Pending", func(v *projections.Cluster) bool { return v.Apps["waits"].Pending != nil })
		from := w.on("db")[0]
		to := map[string]string{"n1": "n2", "n2": "n1"}[from]
		at := w.Replica.Seq()
		type want struct {
			moves   string // instance from>to reason, of each
			pending string // apps that newly are
		}
		check := func(what string, req api.PreviewRequest, want want) {
			t.Helper()
			rep := st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, req)
			moves, pending := "", ""
			for _, m := range rep.Moves {
				moves += m.Instance + " " + m.From + ">" + m.To + " " + m.Reason + ";"
			}
			for _, p := range rep.NewlyPending {
				pending += p + ";"
			}
			if moves != want.moves || pending != want.pending || rep.Seq != at {
				t.Errorf("%s at %d: moves %q, newly pending %q; want %q, %q at %d", what, rep.Seq, moves, pending, want.moves, want.pending, at)
			}
		}
		web := map[string]string{w.on("web")[0]: "web-0", w.on("web")[1]: "web-1"}[from]
		check("label", api.PreviewRequest{Label: &api.LabelRequest{Node: from, Set: map[string]string{"role": "c"}}},
			want{"db-0 " + from + ">" + to + " label_change;" + web + " " + from + "> label_change;", "web;"})
		check("label that changes nothing", api.PreviewRequest{Label: &api.LabelRequest{Node: from, Remove: []string{"zone"}}}, want{})
		check("drain", api.PreviewRequest{Drain: &api.DrainRequest{Nodes: []string{from}}}, want{"db-0 " + from + ">" + to + " drain;", "web;"})
		check("drain of both", api.PreviewRequest{Drain: &api.DrainRequest{Nodes: []string{"n1", "n2"}}}, want{"", "db;web;"})
		check("evacuate", api.PreviewRequest{Evacuate: &api.EvacuateRequest{Selector: "zone in (x, y)"}}, want{"", "db;web;"})
		check("uncordon", api.PreviewRequest{Uncordon: &api.NodeRequest{Node: "n3"}}, want{"waits-0 >n3 spec_update;", ""})
		check("move", api.PreviewRequest{Move: &api.MoveRequest{App: "db"}}, want{"db-0 " + from + ">" + to + " manual;", ""})
		check("move to where it is", api.PreviewRequest{Move: &api.MoveRequest{App: "db", To: from}}, want{})
		check("apply of what is", api.PreviewRequest{Apply: &api.ApplyRequest{Spec: singleton("db", "role=a")}}, want{})
		check("apply of a new app", api.PreviewRequest{Apply: &api.ApplyRequest{Spec: pool("new", 3, "role=a")}}, want{"new-0 >" + to + " spec_update;new-1 >" + from + " spec_update;", "new;"})
		check("apply of other rules", api.PreviewRequest{Apply: &api.ApplyRequest{Spec: singleton("db", "role=none")}}, want{"db-0 " + from + "> constraint_update;", "db;"})
		scaled := pool("web", 1, "role=a")
		check("apply of a smaller pool", api.PreviewRequest{Apply: &api.ApplyRequest{Spec: scaled}}, want{"web-1 " + w.on("web")[1] + "> scale;", ""})

		bad := func(req api.PreviewRequest, code api.Code, says string) {
			t.Helper()
			refused(w, api.PlanPreview, req, code, says)
		}
		bad(api.PreviewRequest{}, api.CodeInvalid, "say one thing to preview, not 0")
		bad(api.PreviewRequest{Uncordon: &api.NodeRequest{Node: "n3"}, Drain: &api.DrainRequest{Nodes: []string{"n1"}}}, api.CodeInvalid, "not 2")
		bad(api.PreviewRequest{Label: &api.LabelRequest{Node: "n9"}}, api.CodeNotFound, "no node n9")
		bad(api.PreviewRequest{Label: &api.LabelRequest{Node: "n1", Set: map[string]string{"a b": "c"}}}, api.CodeInvalid, "label key")
		bad(api.PreviewRequest{Drain: &api.DrainRequest{Nodes: []string{"n9"}}}, api.CodeNotFound, "no node n9")
		bad(api.PreviewRequest{Uncordon: &api.NodeRequest{Node: "n9"}}, api.CodeNotFound, "no node n9")
		bad(api.PreviewRequest{Evacuate: &api.EvacuateRequest{Selector: "=,"}}, api.CodeInvalid, "evacuate")
		bad(api.PreviewRequest{Move: &api.MoveRequest{App: "db", To: "n3"}}, api.CodeRefused, "n3 refused")
		bad(api.PreviewRequest{Apply: &api.ApplyRequest{Spec: spec.App{Name: "x", Mode: spec.Singleton}}}, api.CodeInvalid, "process.command")
		bad(api.PreviewRequest{Apply: &api.ApplyRequest{Spec: pool("db", 1)}}, api.CodeRefused, "mode: cannot change")

		end, err := w.Events.LastSeq(t.Context())
		if err != nil || end != at {
			t.Errorf("the log ends at %d, %v; want %d", end, err, at)
		}
		w.Replica.View(func(v *projections.Cluster) {
			if n := v.Nodes[from]; n.Drain != nil || n.Cordoned || n.Labels["role"] != "a" || v.Apps["new"] != nil || len(v.Evacuations) > 0 || v.Apps["db"].SpecRev != 1 {
				t.Errorf("a preview has changed the fold: %+v", n)
			}
		})
		// What comes true is what was said.
		w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "zone in (x, y)"})
		w.Until(t, "db and web are Pending", func(v *projections.Cluster) bool {
			return v.Apps["db"].Pending != nil && v.Apps["web"].Pending != nil
		})
	})
}

// What is moving is no reason to say nothing of it: a change that takes the target away is judged as one of a node that has the app.
func TestPreviewOfWhatMoves(t *testing.T) {
	run(t, map[string]string{"n1": "disk=ssd", "n2": "disk=ssd"}, func(t *testing.T, w *world) {
		w.place(singleton("slow", "disk=ssd"))
		w.hold(true)
		w.label(w.on("slow")[0], "zone=a")
		m := w.open("slow")
		ask := func(remove ...string) api.PreviewReply {
			t.Helper()
			return st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, api.PreviewRequest{Label: &api.LabelRequest{Node: m.To, Remove: remove}})
		}
		if rep := ask("disk"); len(rep.NewlyPending) != 1 || rep.NewlyPending[0] != "slow" || len(rep.Moves) != 1 || rep.Moves[0].To != "" {
			t.Errorf("without its target's label: %+v", rep)
		}
		if rep := ask("zone"); len(rep.NewlyPending)+len(rep.Moves) > 0 {
			t.Errorf("without a label that nothing rests on: %+v", rep)
		}
		w.Replica.View(func(v *projections.Cluster) {
			if v.Apps["slow"].Open[m.Migration] == nil {
				t.Error("a preview has ended the move in the fold")
			}
		})
	})
}
