package placement

import (
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// While a unit is on its way, each of its moves is judged as if the others were there already; when one is given up, the others are no
// longer right.
func TestJudgeOfAUnit(t *testing.T) {
	s := newScene()
	for _, line := range [][]string{{"node", "n1"}, {"node", "n2"}, {"app", "db", "singleton"}, {"app", "sidecar", "singleton", "with=db"}, {"run", "db-0", "n1"}, {"run", "sidecar-0", "n1"}, {"drain", "n1"}} {
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	plan := Make(s.v, nil, s.now)
	if len(plan.Moves) != 2 {
		t.Fatalf("%+v", plan)
	}
	var moves []events.Move
	for i, d := range plan.Moves {
		m := d.Move
		m.Migration = fmt.Sprintf("m%d", i)
		moves = append(moves, m)
	}
	s.add(events.Cluster("test"), &events.PlanAdmitted{Plan: "p", Moves: moves})
	check := func(when string, want ...string) {
		t.Helper()
		judges := Judges(s.v)
		for _, app := range []string{"db", "sidecar"} {
			for _, m := range s.v.Apps[app].SortedOpen() {
				for _, got := range [][]events.Rejection{Judge(s.v, m), judges(m)} {
					if fmt.Sprint(codes(got)) != fmt.Sprint(want) {
						t.Errorf("%s: %s is refused by %v, want %v", when, m.Instance, got, want)
					}
				}
			}
		}
	}
	check("both admitted")
	db := moves[0]
	s.add(events.App("db"), &events.MigrationStarted{Ref: db.Ref(), Kind: db.Kind(), SpecRev: 1, Generation: 1, FromInc: db.FromInc, ToInc: db.ToInc})
	check("one under way")
	s.add(events.App("db"), &events.MigrationFailed{Ref: db.Ref(), Code: "step_failed", Left: events.LeftAtSource})
	check("one given up", events.RuleWith)
}

func codes(rs []events.Rejection) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, r.Code)
	}
	return out
}
