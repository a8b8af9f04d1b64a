package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// pool is an app of some instances, one on each node from n0 on, and as many empty nodes again.
func pool(instances, unavailable, parallel int) *snapshot.State {
	s := &snapshot.State{Now: start}
	a := snapshot.App{App: spec.App{Name: "a", Mode: spec.Replicas, Replicas: &instances, MaxUnavail: unavailable}}
	a.Migration.MaxParallel = parallel
	s.Apps = append(s.Apps, a)
	for i := range 2 * instances {
		s.Nodes = append(s.Nodes, snapshot.Node{ID: fmt.Sprintf("n%d", i)})
	}
	for i := range instances {
		s.Instances = append(s.Instances, snapshot.Instance{ID: fmt.Sprintf("a-%d", i), App: "a", Node: fmt.Sprintf("n%d", i)})
	}
	return s
}

func planned(t *testing.T, s *snapshot.State) *engine.Result {
	t.Helper()
	res := compute(t, s, engine.Request{})
	for _, v := range check.Plan(s, res.Plan) {
		t.Error(v)
	}
	return res
}

func TestDrainsTakeNoMoreThanTheBudget(t *testing.T) {
	s := pool(4, 2, 4)
	for i := range 4 {
		s.Nodes[i].Scheduling = "draining"
	}
	res := planned(t, s)
	if len(res.Moves) != 4 || res.Waves != 2 || len(res.Deferred) > 0 {
		t.Errorf("two at once: %d moves in %d waves, held %v", len(res.Moves), res.Waves, res.Deferred)
	}
	s.Apps[0].MaxUnavail = 0
	if res := planned(t, s); res.Waves != 1 {
		t.Errorf("without a budget it takes %d waves", res.Waves)
	}
}

func TestWhatIsLostComesBackBeforeADrainTakesMore(t *testing.T) {
	s := pool(3, 1, 3)
	s.Nodes[0].Status = "lost"
	s.Nodes[1].Scheduling = "draining"
	res := planned(t, s)
	if len(res.Moves) != 2 || res.Moves[0].Class != events.ClassRecovery || res.Moves[0].Wave != 1 || res.Moves[1].Wave != 2 || len(res.Deferred) > 0 {
		t.Errorf("%+v, held %v", res.Moves, res.Deferred)
	}
}

func TestABudgetThatIsSpentHolds(t *testing.T) {
	s := pool(3, 1, 3)
	s.Instances = s.Instances[:2] // the third has nowhere to be
	s.Apps[0].OnNodes = []string{"n0", "n1", "n4"}
	s.Nodes[0].Scheduling, s.Nodes[1].Scheduling = "cordoned", "draining"
	res := planned(t, s)
	if len(res.Moves) != 1 || len(res.Deferred) != 1 || res.Deferred[0].Rule != events.HoldUnavailable || res.Deferred[0].Detail != "1 of 3 do not serve, at most 1 may" {
		t.Errorf("%+v, held %+v", res.Moves, res.Deferred)
	}
	s.Apps[0].MaxUnavail = 2
	if res := planned(t, s); len(res.Deferred) > 0 {
		t.Errorf("a budget of two holds %+v", res.Deferred)
	}
}

// What is stopped without a replacement leaves so many as have to serve; a move starts the new one first.
func TestMinHealthyHoldsWhatIsStopped(t *testing.T) {
	s := pool(3, 0, 3)
	s.Apps[0].Mode, s.Apps[0].Replicas, s.Apps[0].Migration.MinHealthy = spec.Spread, nil, 2
	for i := range s.Instances {
		s.Instances[i].ID = "a-" + s.Instances[i].Node
	}
	s.Nodes[0].Scheduling, s.Nodes[1].Scheduling = "draining", "draining"
	s.Nodes = s.Nodes[:3]
	res := planned(t, s)
	if len(res.Moves) != 2 || len(res.Deferred) != 1 || res.Deferred[0].Rule != events.HoldMinHealthy || res.Deferred[0].Detail != "2 serve and stay, 2 must" {
		t.Errorf("%+v, held %+v", res.Moves, res.Deferred)
	}
	s.Apps[0].Migration.MinHealthy = 1
	if res := planned(t, s); len(res.Deferred) > 0 {
		t.Errorf("one that has to serve holds %+v", res.Deferred)
	}
	s = pool(4, 0, 4)
	s.Apps[0].Migration.MinHealthy = 4
	s.Nodes[0].Scheduling = "draining"
	if res := planned(t, s); len(res.Moves) != 1 || len(res.Deferred) > 0 {
		t.Errorf("a move is held: %+v, %+v", res.Moves, res.Deferred)
	}
}

func TestBudgetsOfRandomStates(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	disruptive := 0
	for range *cases {
		s := draw(r, shapes["loose"])
		for i := range s.Apps {
			s.Apps[i].MaxUnavail = r.IntN(3)
			if s.Apps[i].Mode != spec.Singleton {
				s.Apps[i].Migration.MinHealthy = r.IntN(3)
			}
			s.Apps[i].Migration.MaxParallel = 1 + r.IntN(3)
		}
		for _, m := range planned(t, s).Moves {
			if m.From != "" && m.To != "" {
				disruptive++
			}
		}
		if t.Failed() {
			t.Fatal(text(t, s))
		}
	}
	if disruptive == 0 {
		t.Error("nothing moved")
	}
}
