package engine_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// spreadOut is a state of singletons: counts[i] of them on node i, and pinned[i] that may be nowhere else.
func spreadOut(counts, pinned []int) *snapshot.State {
	s := &snapshot.State{Now: start}
	for i := range counts {
		node := fmt.Sprintf("n%d", i)
		s.Nodes = append(s.Nodes, snapshot.Node{ID: node})
		for j := range counts[i] + pinned[i] {
			a := snapshot.App{}
			a.Name, a.Mode = fmt.Sprintf("a%d-%d", i, j), spec.Singleton
			if j >= counts[i] {
				a.OnNodes = []string{node}
			}
			s.Apps = append(s.Apps, a)
			s.Instances = append(s.Instances, snapshot.Instance{ID: a.Name + "-0", App: a.Name, Node: node})
		}
	}
	return s
}

func measure(t *testing.T, s *snapshot.State) snapshot.Metrics {
	t.Helper()
	p, err := model.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Measure(p)
}

func TestImbalance(t *testing.T) {
	ten := make([]int, 11)
	for i := range 10 {
		ten[i] = 10
	}
	zero := make([]int, 11)
	for name, c := range map[string]struct {
		counts, pinned []int
		want           snapshot.Metrics
	}{
		"three on two nodes":            {[]int{2, 1}, []int{0, 0}, snapshot.Metrics{Imbalance: 0, Raw: 1.0 / 3, Structural: 1.0 / 3}},
		"all on one of two":             {[]int{3, 0}, []int{0, 0}, snapshot.Metrics{Imbalance: 2.0 / 3, Raw: 1, Structural: 1.0 / 3}},
		"ten pinned, five, one":         {[]int{0, 5, 1}, []int{10, 0, 0}, snapshot.Metrics{Imbalance: 0.375, Raw: 0.875, Structural: 0.875}},
		"a new node beside ten":         {ten, zero, snapshot.Metrics{Imbalance: 0.99, Raw: 0.1, Structural: 0.1}},
		"a hot spot that nothing mends": {[]int{0, 1, 1}, []int{9, 0, 0}, snapshot.Metrics{Imbalance: 0, Raw: 16.0 / 11, Structural: 16.0 / 11}},
		"one node":                      {[]int{5}, []int{0}, snapshot.Metrics{}},
		"nothing runs":                  {[]int{0, 0}, []int{0, 0}, snapshot.Metrics{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := spreadOut(c.counts, c.pinned)
			got := measure(t, s)
			for what, d := range map[string]float64{"imbalance": got.Imbalance - c.want.Imbalance, "raw": got.Raw - c.want.Raw, "structural": got.Structural - c.want.Structural} {
				if math.Abs(d) > 1e-9 {
					t.Errorf("%s: got %+v, want %+v", what, got, c.want)
				}
			}
			plan := compute(t, s, engine.Request{Rebalance: true})
			if (got.Imbalance == 0) != (len(plan.Moves) == 0) || plan.After.Imbalance != 0 {
				t.Errorf("imbalance %f, and a rebalance has %d moves and leaves %f", got.Imbalance, len(plan.Moves), plan.After.Imbalance)
			}
			if got.Imbalance == 0 && got.Raw > 0 && plan.Why == "" {
				t.Error("an empty plan says nothing")
			}
			for i := range s.Nodes { // scaling every weight changes nothing
				s.Nodes[i].Weight = 3000
			}
			if scaled := measure(t, s); math.Abs(scaled.Imbalance-got.Imbalance) > 1e-9 || math.Abs(scaled.Raw-got.Raw) > 1e-9 {
				t.Errorf("all weights times three: %+v", scaled)
			}
		})
	}
}

// What no legal move mends triggers nothing, however often it is looked at.
func TestStructuralImbalanceMovesNothing(t *testing.T) {
	s := spreadOut([]int{0, 3, 3, 2}, []int{12, 0, 0, 0})
	s.Policy = &spec.Policy{AutoRebalance: spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2}}
	for i := range 1000 {
		plan := compute(t, s, engine.Request{})
		if len(plan.Moves) > 0 {
			t.Fatalf("interval %d: %s", i, text(t, plan.Moves))
		}
		s = applied(s, plan.Moves, s.Now.Add(5*60e9))
	}
}

// Where labels are tight, no single move helps, and a chain does.
func TestChainsReachWhatSingleMovesDoNot(t *testing.T) {
	s := &snapshot.State{Now: start, Nodes: []snapshot.Node{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}}
	for i, on := range [][]string{{"n1", "n2"}, {"n1", "n2"}, {"n2", "n3"}} {
		a := snapshot.App{}
		a.Name, a.OnNodes = fmt.Sprintf("a%d", i), on
		s.Apps = append(s.Apps, a)
	}
	s.Instances = []snapshot.Instance{{ID: "a0-0", App: "a0", Node: "n1"}, {ID: "a1-0", App: "a1", Node: "n1"}, {ID: "a2-0", App: "a2", Node: "n2"}}
	plan := compute(t, s, engine.Request{Rebalance: true})
	if len(plan.Moves) != 2 || plan.After.Imbalance != 0 || plan.Bound != (snapshot.Bound{MinMoves: 2, Exact: true}) {
		t.Fatal(text(t, plan.Plan))
	}
}
