package planner_test

import (
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

// A forecast says in how many waves a plan goes, the least number of moves that would do, how even it leaves the cluster, and what it
// rests on; what is due anyway is told apart.
func TestForecast(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a", "n3": "role=b"}, func(t *testing.T, w *world) {
		ask := func(req api.PreviewRequest) api.PreviewReply {
			t.Helper()
			req.Forecast = true
			return st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, req)
		}
		w.put(events.Node("n2"), &events.NodeCordoned{Node: "n2"})
		for i := range 4 {
			w.place(singleton(fmt.Sprint("db-", i), "role=a"))
		}
		w.put(events.Node("n2"), &events.NodeUncordoned{Node: "n2"})
		w.ack(api.PolicySet, api.PolicyRequest{Meta: w.Meta(), Policy: spec.Policy{Migration: spec.MigrationPolicy{MaxConcurrent: 2}}})

		drain := ask(api.PreviewRequest{Drain: &api.DrainRequest{Meta: w.Meta(), Nodes: []string{"n1"}}})
		waves := map[int]int{}
		for _, m := range drain.Moves {
			waves[m.Wave]++
		}
		for _, m := range drain.Held {
			waves[m.Wave]++
		}
		same(t, "waves", fmt.Sprint(drain.Waves, waves), "2 map[1:2 2:2]")
		same(t, "bound", drain.Bound, api.Bound{MinMoves: 4, Exact: true})
		same(t, "gap", drain.Gap, 0)
		if drain.Before.Imbalance == 0 || drain.After.Imbalance != 0 || drain.Do == nil || drain.Do.Drain.ID != "" || drain.Cluster != "test" {
			t.Errorf("%+v", drain)
		}

		even := ask(api.PreviewRequest{Rebalance: &api.RebalanceRequest{All: true}})
		same(t, "a rebalance", fmt.Sprint(len(even.Moves), even.Bound, even.Gap, even.Waves, even.After.Imbalance), "2 {2 true} 0 1 0")
		refused(w, api.PlanPreview, api.PreviewRequest{Rebalance: &api.RebalanceRequest{}}, api.CodeInvalid, "give an app")
		refused(w, api.PlanPreview, api.PreviewRequest{Rebalance: &api.RebalanceRequest{App: "nobody"}}, api.CodeNotFound, "no such app")

		one := ask(api.PreviewRequest{Move: &api.MoveRequest{App: "db-0"}})
		same(t, "a move", fmt.Sprint(len(one.Moves), one.Bound, one.Gap), "1 {1 true} 0")

		label := ask(api.PreviewRequest{Label: &api.LabelRequest{Node: "n1", Set: map[string]string{"role": "z", "new": "x"}}})
		same(t, "rests", fmt.Sprint(label.Rests), "map[label new of n1:(none) label role of n1:a]")
		apps := ask(api.PreviewRequest{Apply: &api.ApplyRequest{Spec: singleton("db-0", "role=a")}, Also: []api.ApplyRequest{{Spec: pool("both", 2, "role=a")}}})
		same(t, "two apps", fmt.Sprint(apps.Rests, len(apps.Moves), apps.Bound), "map[app both:not there app db-0:at revision 1] 2 {2 true}")
	})
}

// A command that rests on a plan is refused when something that plans rest on has happened since, and only then.
func TestOnlyWhilePlanned(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a"}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		seq := st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, api.PreviewRequest{Move: &api.MoveRequest{App: "db"}}).Seq
		meta := w.Meta()
		meta.IfPlanned = seq
		refused(w, api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "nobody"}, api.CodeNotFound, "") // a refusal changes no plan
		same(t, "as planned", w.ack(api.AppMove, api.MoveRequest{Meta: meta, App: "db"}).Changed, true)
		w.runs("db")
		meta = w.Meta()
		meta.IfPlanned = seq
		refused(w, api.AppMove, api.MoveRequest{Meta: meta, App: "db"}, api.CodeConflict, "it rests on a plan as of sequence")
	})
}

// A forecast follows a change to its end: a roll to its last replacement, room that is made to what it is made for. More says where it
// was followed no further.
func TestForecastGoesOn(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a", "n3": "role=a", "n4": "role=b"}, func(t *testing.T, w *world) {
		ask := func(a spec.App) (p api.PreviewReply, told string) {
			t.Helper()
			p = st.Must[api.PreviewReply](t, w.Cluster, api.PlanPreview, api.PreviewRequest{Apply: &api.ApplyRequest{Spec: a}, Forecast: true})
			for _, m := range p.Moves {
				told += fmt.Sprintf("%d %s %s→%s; ", m.Wave, m.Instance, m.From, m.To)
			}
			return p, told
		}
		web := pool("web", 3, "role=a")
		w.place(web)
		web.Process = &spec.Process{Command: []string{"/bin/other"}}
		roll, told := ask(web)
		same(t, "a roll", told, "1 web-0 n1→n1; 2 web-1 n2→n2; 3 web-2 n3→n3; ")
		same(t, "its figures", fmt.Sprint(roll.Waves, roll.Bound, roll.More), "3 {3 true} false")

		small := pool("small", 1)
		small.Resources.CPU, small.OnNodes = 5000, []string{"n1", "n4"}
		w.place(small)
		at := w.on("small")[0]
		big := singleton("big")
		big.Resources.CPU, big.OnNodes = 5000, []string{at}
		_, told = ask(big)
		same(t, "room", told, fmt.Sprintf("1 small-0 %s→%s; 2 big-0 →%s; ", at, map[string]string{"n1": "n4", "n4": "n1"}[at], at))
	})
}
