package planner

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// maxAdmission is how many bytes of moves and of reasons one admission carries at most, unless a single move has more: well below
// what an event may have. What does not fit is admitted by the next pass, which plans it anew.
const maxAdmission = 500 << 10

// admission gives the moves their ids and makes the one event that takes their places.
func admission(v *projections.Cluster, moves []placement.Decision, cause, correlation string) *events.Draft {
	agg := events.Cluster(v.Name)
	plan := "p-" + events.Derive(fmt.Sprint(v.Head(agg).Rev+1), cause)
	data := &events.PlanAdmitted{Plan: plan, StateSeq: v.Seq, PolicyHash: v.PolicyHash, Planner: placement.Version, Scores: map[string]int64{}}
	explained := map[string]bool{}
	size := 0
	for _, d := range moves {
		m := d.Move
		if m.Migration == "" { // a proposal keeps its own
			m.Migration = "m-" + events.Derive(plan, m.Instance)[:12]
		}
		var refused []events.RefusedNodes
		if !explained[m.App] {
			refused = grouped(m.App, d.Refused)
		}
		if size += encoded(m) + encoded(refused) + 64; size > maxAdmission && len(data.Moves) > 0 { // 64: its score
			break
		}
		data.Moves, data.Refused = append(data.Moves, m), append(data.Refused, refused...)
		explained[m.App] = true
		if m.To != "" {
			data.Scores[m.Migration] = d.Score
		}
	}
	return &events.Draft{Aggregate: agg, App: onlyApp(data.Moves), Cause: cause, Correlation: correlation, Data: data}
}

// encoded is how many bytes a part of an event takes on the wire.
func encoded(part any) int {
	b, _ := json.Marshal(part) // what does not encode is refused whole by the log
	return len(b)
}

func onlyApp(moves []events.Move) string {
	for _, m := range moves {
		if m.App != moves[0].App {
			return ""
		}
	}
	return moves[0].App
}

// grouped is what is stored of refusals: how many nodes fail each rule, and which are the first of them.
func grouped(app string, refused placement.Refusals) (out []events.RefusedNodes) {
	for _, f := range refused {
		o := events.RefusedNodes{App: app, Code: f.Code, Detail: f.First[0].Detail, Count: f.Nodes}
		for _, r := range f.First {
			if len(o.Examples) == 0 || o.Examples[len(o.Examples)-1] != r.Node {
				o.Examples = append(o.Examples, r.Node)
			}
		}
		out = append(out, o)
	}
	return out
}
