package engine_test

import (
	"testing"

	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// What others go with is placed where they have room, too, be it the fullest node.
func TestLeadersGoWhereTheirFollowersCan(t *testing.T) {
	app := func(name string, cpu int64, with ...string) snapshot.App {
		return snapshot.App{App: spec.App{Name: name, Mode: spec.Singleton, WithApp: with}, Resources: snapshot.Amounts{"cpu": snapshot.Amount(cpu)}}
	}
	node := func(id string, cpu int64) snapshot.Node {
		return snapshot.Node{ID: id, Capacity: snapshot.Amounts{"cpu": snapshot.Amount(cpu)}}
	}
	s := &snapshot.State{Now: start, Nodes: []snapshot.Node{node("n1", 2), node("n2", 4), node("n3", 2)},
		Apps:      []snapshot.App{app("lead", 1), app("other", 0), app("trail", 2, "lead")},
		Instances: []snapshot.Instance{{ID: "lead-0", App: "lead"}, {ID: "other-0", App: "other", Node: "n2"}, {ID: "trail-0", App: "trail"}}}
	res := compute(t, s, engine.Request{})
	if len(res.Moves) != 2 || res.Moves[0].To != "n2" || res.Moves[1].To != "n2" || len(res.Pending) > 0 {
		t.Errorf("%+v, pending %+v", res.Moves, res.Pending)
	}
	s.Apps[2].Resources = snapshot.Amounts{"cpu": 4}
	if res := compute(t, s, engine.Request{}); len(res.Moves) != 1 || res.Moves[0].To != "n1" || len(res.Pending) != 1 {
		t.Errorf("where none has room: %+v, pending %+v", res.Moves, res.Pending)
	}
}
