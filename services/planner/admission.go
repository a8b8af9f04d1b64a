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

// grouped counts refused nodes by rule, with at most 20 examples of each.
func grouped(app string, refused []events.Rejection) []events.RefusedNodes {
	var out []events.RefusedNodes
	at := map[string]int{}
	for _, r := range refused {
		i, seen := at[r.Code]
		if !seen {
			i = len(out)
			at[r.Code] = i
			out = append(out, events.RefusedNodes{App: app, Code: r.Code, Detail: r.Detail})
		}
		out[i].Count++
		if len(out[i].Examples) < 20 {
			out[i].Examples = append(out[i].Examples, r.Node)
		}
	}
	return out
}
