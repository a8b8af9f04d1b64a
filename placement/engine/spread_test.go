package engine_test

import (
	"testing"

	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// A move under way counts in the zone that it goes to, though it takes room where it comes from: one more goes to another zone, also where
// only the search finds room there.
func TestSpreadCountsMovesWhereTheyGo(t *testing.T) {
	s := &snapshot.State{}
	for _, n := range []string{"a1", "a2", "b1", "b2"} {
		s.Nodes = append(s.Nodes, snapshot.Node{ID: n, Labels: map[string]string{"zone": n[:1]}, Capacity: snapshot.Amounts{"cpu": 4000}})
	}
	s.Nodes[3].Scheduling = "cordoned"
	add := func(name string, cpu snapshot.Amount, nodes ...string) {
		a := snapshot.App{Resources: snapshot.Amounts{"cpu": cpu}}
		count := len(nodes)
		a.Name, a.Mode, a.Replicas = name, spec.Replicas, &count
		if name == "wide" {
			a.SpreadOver = []spec.SpreadOver{{Label: "zone", MaxSkew: 1}}
		}
		s.Apps = append(s.Apps, a)
		for i, n := range nodes {
			s.Instances = append(s.Instances, snapshot.Instance{ID: name + "-" + string(rune('0'+i)), App: name, Node: n})
		}
	}
	add("wide", 1000, "b2", "")
	add("x", 3000, "b1")
	add("y", 500, "b1")
	add("z", 500, "b1")
	s.InFlight = []snapshot.InFlight{{Instance: "wide-0", From: "b2", To: "a1"}}
	res := compute(t, s, engine.Request{})
	for _, v := range check.Plan(s, res.Plan) {
		t.Error(v)
	}
	placed := ""
	for _, m := range res.Moves {
		if m.Instance == "wide-1" {
			placed = m.To
		}
	}
	if placed != "b1" {
		t.Errorf("wide-1 goes to %q: %s", placed, text(t, res.Moves))
	}
}
