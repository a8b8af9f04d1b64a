package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// overloaded is a state in which some nodes hold more than they have: singletons of different sizes, in one or more resources, with
// rules, and with neighbours that some keep away from.
func overloaded(r *rand.Rand, nodes, instances int, dims []string, away bool) *snapshot.State {
	s := &snapshot.State{Now: start}
	for i := range nodes {
		n := snapshot.Node{ID: fmt.Sprintf("n%d", i), Labels: map[string]string{"kind": fmt.Sprint(r.IntN(4))}, Capacity: snapshot.Amounts{}}
		for _, d := range dims {
			n.Capacity[d] = 100_000
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range instances {
		a := snapshot.App{}
		a.Name, a.Mode, a.Resources = fmt.Sprintf("a%d", i), spec.Singleton, snapshot.Amounts{}
		for _, d := range dims {
			a.Resources[d] = snapshot.Amount(1000 * (4 + r.IntN(30)))
		}
		if r.IntN(3) == 0 {
			a.Require = []string{fmt.Sprintf("kind != %d", r.IntN(4))}
		}
		if away && r.IntN(4) == 0 && i > 0 {
			a.AwayFromApp = []string{fmt.Sprintf("a%d", r.IntN(i))}
		}
		for { // anywhere that its rule allows, full or not
			n := &s.Nodes[r.IntN(nodes)]
			if len(a.Require) == 0 || a.Require[0] != "kind != "+n.Labels["kind"] {
				s.Instances = append(s.Instances, snapshot.Instance{ID: a.Name + "-0", App: a.Name, Node: n.ID})
				break
			}
		}
		s.Apps = append(s.Apps, a)
	}
	return s
}

func TestRepairIsNearItsBound(t *testing.T) {
	for _, c := range []struct {
		name  string
		dims  []string
		away  bool
		count int // of instances: 72 fill two thirds, 92 about 85 %
		most  float64
	}{
		{"one resource", []string{"cpu"}, false, 72, 1.05},
		{"three resources and neighbours", []string{"cpu", "memory", "disk"}, true, 72, 1.10},
		{"one resource, tight", []string{"cpu"}, false, 92, 1.05},
		{"three resources and neighbours, tight", []string{"cpu", "memory", "disk"}, true, 92, 1.20},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, 12))
			moves, bound, bad := 0, 0, 0
			for range max(*cases/2, 30) {
				s := overloaded(r, 20, c.count, c.dims, c.away)
				res := compute(t, s, engine.Request{})
				for _, v := range check.Plan(s, res.Plan) {
					t.Fatal(v)
				}
				if err := check.Bound(s, res.Plan, &res.Proof); err != nil {
					t.Fatal(err)
				}
				if again := compute(t, applied(s, res.Moves, s.Now), engine.Request{}); len(again.Moves) > 0 {
					t.Fatalf("carried out, and it moves again:\n%s\n%s", text(t, again.Moves), text(t, s))
				}
				if n := check.Broken(applied(s, res.Moves, s.Now)); n > 0 {
					bad++
				}
				moves, bound = moves+len(res.Moves), bound+res.Bound.MinMoves
			}
			ratio := float64(moves) / float64(bound)
			t.Logf("Σ moves %d / Σ bound %d = %.3f; %d states not mended", moves, bound, ratio, bad)
			if ratio > c.most {
				t.Errorf("Σ moves / Σ bound is %.3f, at most %.2f", ratio, c.most)
			}
		})
	}
}
