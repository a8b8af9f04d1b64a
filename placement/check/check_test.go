package check_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// uneven is three apps on one of four nodes; the fourth has another label and little room.
func uneven() *snapshot.State {
	s := &snapshot.State{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	for _, id := range []string{"n1", "n2", "n3"} {
		s.Nodes = append(s.Nodes, snapshot.Node{ID: id, Labels: map[string]string{"role": "x"}, Capacity: snapshot.Amounts{"cpu": 3000}})
	}
	s.Nodes = append(s.Nodes, snapshot.Node{ID: "n4", Labels: map[string]string{"role": "y"}})
	for _, name := range []string{"a", "b", "c"} {
		a := snapshot.App{Resources: snapshot.Amounts{"cpu": 1000}}
		a.Name, a.Mode, a.Require = name, spec.Singleton, []string{"role=x"}
		s.Apps = append(s.Apps, a)
		s.Instances = append(s.Instances, snapshot.Instance{ID: name + "-0", App: name, Node: "n1"})
	}
	s.Apps[2].AwayFromApp = []string{"b"}
	s.Instances[2].Node = "n2"
	s.Apps = append(s.Apps, snapshot.App{App: spec.App{Name: "d", Mode: spec.Singleton, Require: []string{"role=x"}}})
	s.Instances = append(s.Instances, snapshot.Instance{ID: "d-0", App: "d", Node: "n1"})
	return s
}

func plan(t *testing.T, s *snapshot.State) *engine.Result {
	t.Helper()
	p, err := model.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Compute(p, engine.Request{Rebalance: true})
}

// Each thing that can be wrong with a plan is put into a good one, and found.
func TestCheckBites(t *testing.T) {
	move := func(instance, from, to string, class events.Class, wave int) snapshot.Move {
		return snapshot.Move{Instance: instance + "-0", App: instance, From: from, To: to, Class: class, Reason: events.ReasonRebalance, Wave: wave}
	}
	for want, moves := range map[string][]snapshot.Move{
		"labels or on_nodes do not allow":   {move("a", "n1", "n4", events.ClassBalance, 1)},
		"keeps away from":                   {move("b", "n1", "n2", events.ClassBalance, 1)},
		"the plan says of a on n3":          {move("a", "n3", "n2", events.ClassBalance, 1)},
		"moves on from n1, where it is not": {move("a", "n1", "n2", events.ClassBalance, 1), move("a", "n1", "n3", events.ClassBalance, 2)},
		"without waiting for its own move":  {move("a", "n1", "n2", events.ClassBalance, 1), move("a", "n2", "n3", events.ClassBalance, 2)},
		"moves on as forced":                {move("a", "n1", "n2", events.ClassBalance, 1), move("a", "n2", "n3", events.ClassForced, 2)},
		"stays":                             {move("a", "n1", "n1", events.ClassBalance, 1)},
		"without class or reason":           {{Instance: "a-0", App: "a", From: "n1", To: "n3", Wave: 1}},
		"has to leave n1: false":            {move("a", "n1", "n3", events.ClassForced, 1)},
		"after wave 2":                      {move("a", "n1", "n3", events.ClassBalance, 2), move("b", "n1", "n3", events.ClassBalance, 1)},
		"no node n9":                        {move("a", "n1", "n9", events.ClassBalance, 1)},
	} {
		s := uneven()
		found := check.Plan(s, &snapshot.Plan{Moves: moves})
		if !slices.ContainsFunc(found, func(v check.Violation) bool { return strings.Contains(v.String(), want) }) {
			t.Errorf("%q is not found: %v", want, found)
		}
	}
	s := uneven()
	s.Nodes[0].Labels = map[string]string{"role": "y"}
	back := move("a", "", "n3", events.ClassForced, 2)
	back.After = []string{"a-0"}
	for _, v := range check.Plan(s, &snapshot.Plan{Moves: []snapshot.Move{move("a", "n1", "", events.ClassForced, 1), back}}) {
		if v.Instance == "a-0" {
			t.Errorf("it has to leave n1, has no place, and gets one later: %s", v)
		}
	}
	s = uneven()
	s.Nodes[0].Scheduling = "draining"
	if found := check.Plan(s, &snapshot.Plan{}); len(found) != 3 {
		t.Errorf("three have to leave and nothing says so: %v", found)
	}
	if found := check.Plan(uneven(), &snapshot.Plan{Pending: []snapshot.Pending{{App: "a", Instance: "a-1"}}}); len(found) == 0 {
		t.Error("it has somewhere to go")
	}
}

// A move that can be left out is found, and one that is of use is not: for evenness, to make room, or because its place is not free yet.
func TestUselessMovesAreFound(t *testing.T) {
	move := func(instance, from, to string, class events.Class, wave int, after ...string) snapshot.Move {
		return snapshot.Move{Instance: instance + "-0", App: instance, From: from, To: to, Class: class, Reason: events.ReasonRebalance, Wave: wave, After: after}
	}
	full := func() *snapshot.State { // a, b and d fill n1; n3 has room for one
		s := uneven()
		s.Nodes[2].Capacity = snapshot.Amounts{"cpu": 1000}
		s.Instances[2].Node = "n3"
		return s
	}
	small := uneven()
	small.Nodes[0].Weight = 500 // of the others 1, which they do not say
	for name, c := range map[string]struct {
		s     *snapshot.State
		moves []snapshot.Move
		want  string // of the first that is found; "": none
	}{
		"it makes the counts more even": {uneven(), []snapshot.Move{move("a", "n1", "n3", events.ClassBalance, 1)}, ""},
		"and of unequal nodes":          {small, []snapshot.Move{move("a", "n1", "n3", events.ClassBalance, 1)}, ""},
		"it leaves them as they are":    {uneven(), []snapshot.Move{move("a", "n1", "n3", events.ClassBalance, 1), move("c", "n2", "n1", events.ClassBalance, 1)}, "c-0: its move from n2 to n1 can be left out with nothing worse"},
		"it mends nothing":              {uneven(), []snapshot.Move{move("c", "n2", "n3", events.ClassRepair, 1)}, "c-0: its move from n2 to n3 can be left out with nothing worse"},
		"another could not come":        {full(), []snapshot.Move{move("c", "n3", "n2", events.ClassRepair, 1), move("a", "n1", "n3", events.ClassForced, 2, "c-0")}, ""},
		"it could wait where it is":     {full(), []snapshot.Move{move("a", "n1", "n2", events.ClassForced, 1), move("c", "n3", "n2", events.ClassRepair, 1), move("a", "n2", "n3", events.ClassRepair, 2, "a-0", "c-0")}, "a-0: its move from n1 to n2 can be left out: it moves on from there"},
		"and was lost":                  {full(), []snapshot.Move{move("a", "n1", "n2", events.ClassRecovery, 1), move("c", "n3", "n2", events.ClassRepair, 1), move("a", "n2", "n3", events.ClassForced, 2, "a-0", "c-0")}, ""},
		"it comes back":                 {full(), []snapshot.Move{move("d", "n1", "n2", events.ClassForced, 1), move("d", "n2", "n1", events.ClassForced, 2, "d-0")}, "d-0: its move from n1 to n2 can be left out: it moves on from there"},
	} {
		found := check.Useless(c.s, &snapshot.Plan{Moves: c.moves}, true)
		if got := ""; len(found) > 0 {
			got = found[0].String()
			if got != c.want {
				t.Errorf("%s: %v", name, found)
			}
		} else if c.want != got {
			t.Errorf("%s: nothing is found", name)
		}
	}
}

func TestBoundBites(t *testing.T) {
	s := uneven()
	res := plan(t, s)
	if res.Bound.MinMoves < 1 {
		t.Fatal("nothing to prove")
	}
	if err := check.Bound(s, res.Plan, &res.Proof); err != nil {
		t.Fatal(err)
	}
	more := *res.Plan
	more.Bound.MinMoves++
	if check.Bound(s, &more, &res.Proof) == nil {
		t.Error("one more is believed")
	}
	for id := range res.Proof.App {
		worse := res.Proof
		worse.App = map[string]int64{}
		for k, v := range res.Proof.App {
			worse.App[k] = v
		}
		worse.App[id] += 5
		more.Bound.MinMoves = res.Bound.MinMoves + 1
		if check.Bound(s, &more, &worse) == nil {
			t.Errorf("another potential of %s proves more than can be", id)
		}
	}
}
