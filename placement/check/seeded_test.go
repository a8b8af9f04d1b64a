package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// ruled is a state with an app for each rule, where everything is in order: three open nodes in two zones, one cordoned, one draining.
func ruled() *snapshot.State {
	s := &snapshot.State{}
	node := func(id, zone, scheduling string) {
		s.Nodes = append(s.Nodes, snapshot.Node{ID: id, Scheduling: scheduling, Labels: map[string]string{"zone": zone, "role": "x"}, Capacity: snapshot.Amounts{"cpu": 10_000}})
	}
	node("n1", "a", "")
	node("n2", "b", "")
	node("n3", "b", "")
	node("shut", "a", "cordoned")
	app := func(name string, mode spec.Mode, change func(*snapshot.App), nodes ...string) {
		a := snapshot.App{Resources: snapshot.Amounts{"cpu": 1000}}
		a.Name, a.Mode = name, mode
		count := len(nodes)
		if mode == spec.Replicas {
			a.Replicas = &count
		}
		if change != nil {
			change(&a)
		}
		s.Apps = append(s.Apps, a)
		for i, n := range nodes {
			s.Instances = append(s.Instances, snapshot.Instance{ID: name + "-" + string(rune('0'+i)), App: name, Node: n})
		}
	}
	app("plain", spec.Singleton, nil, "n1")
	app("big", spec.Singleton, func(a *snapshot.App) { a.Resources["cpu"] = 8000 }, "n3")
	app("pair", spec.Replicas, nil, "n1", "n2")
	app("shy", spec.Singleton, func(a *snapshot.App) { a.AwayFromApp = []string{"plain"} }, "n2")
	app("close", spec.Singleton, func(a *snapshot.App) { a.WithApp = []string{"plain"} }, "n1")
	app("named", spec.Singleton, func(a *snapshot.App) { a.OnNodes = []string{"n1", "n2"} }, "n1")
	app("wide", spec.Replicas, func(a *snapshot.App) { a.SpreadOver = []spec.SpreadOver{{Label: "zone", MaxSkew: 1}} }, "n1", "n2")
	app("flying", spec.Singleton, nil, "n1")
	s.InFlight = []snapshot.InFlight{{Instance: "flying-0", From: "n1", To: "n2"}}
	return s
}

// A plan that breaks one rule, and no other, is caught by that rule; without it the same plan is clean.
func TestEachRuleBrokenOnceIsCaught(t *testing.T) {
	m := func(instance, from, to string, wave int, after ...string) snapshot.Move {
		app, _, _ := strings.Cut(instance, "-")
		return snapshot.Move{Instance: instance, App: app, From: from, To: to, Class: events.ClassBalance, Reason: events.ReasonRebalance, Wave: wave, After: after}
	}
	for name, c := range map[string]struct {
		good, wrong snapshot.Plan
		change      func(*snapshot.State)
		want        string
	}{
		"capacity": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("big-0", "n3", "n2", 1)}}, want: "cpu: "},
		"two of an app on a node": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n2", 1)}}, want: "pair-1 of the same app is there"},
		"neighbours": {good: snapshot.Plan{Moves: []snapshot.Move{m("shy-0", "n2", "n3", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("shy-0", "n2", "n1", 1)}}, want: "plain-0 is there, which it keeps away from"},
		"neighbours, the other way round": {good: snapshot.Plan{Moves: []snapshot.Move{m("named-0", "n1", "n2", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("plain-0", "n1", "n2", 1)}}, want: "shy-0 is there, which it keeps away from"},
		"company": {good: snapshot.Plan{},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("close-0", "n1", "n3", 1)}}, want: "plain is not there"},
		"named nodes": {good: snapshot.Plan{Moves: []snapshot.Move{m("named-0", "n1", "n2", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("named-0", "n1", "n3", 1)}}, want: "labels or on_nodes do not allow"},
		"a cordoned node": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "shut", 1)}}, want: "shut takes nothing"},
		"spread": {good: snapshot.Plan{Moves: []snapshot.Move{m("wide-1", "n2", "n3", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("wide-0", "n1", "n3", 1)}}, want: "zone: from 0 to 2, skew 1"},
		"a move under way": {good: snapshot.Plan{},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("flying-0", "n1", "n3", 1)}}, want: "is in flight"},
		"what does not exist leaves": {good: snapshot.Plan{},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("plain-7", "n1", "n3", 1)}}, want: "does not exist and leaves n1"},
		"an app that does not exist": {good: snapshot.Plan{},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("ghost-0", "", "n3", 1)}}, want: "no app ghost"},
		"too many at once": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1), m("named-0", "n1", "n2", 2)}},
			wrong:  snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1), m("named-0", "n1", "n2", 1)}},
			change: func(s *snapshot.State) { s.Policy = &spec.Policy{Migration: spec.MigrationPolicy{MaxConcurrent: 1}} }, want: "is number 2 of wave 1"},
		"too many of an app at once": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n4", 1), m("pair-1", "n2", "n3", 2)}},
			wrong:  snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n4", 1), m("pair-1", "n2", "n3", 1)}},
			change: func(s *snapshot.State) { s.Nodes = append(s.Nodes, snapshot.Node{ID: "n4"}) }, want: "is number 2 of its app in wave 1"},
		"waits for a later one": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1), m("named-0", "n1", "n2", 2, "pair-0")}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1), m("named-0", "n1", "n2", 1, "pair-0")}}, want: "in wave 1 waits for pair-0 in waves [1]"},
		"not order-free": { // named leaves n1 for n3, and big may come to n1 only then
			good:   snapshot.Plan{Moves: []snapshot.Move{m("named-0", "n1", "n2", 1), m("big-0", "n3", "n1", 2, "named-0")}},
			wrong:  snapshot.Plan{OrderFree: true, Moves: []snapshot.Move{m("named-0", "n1", "n2", 1), m("big-0", "n3", "n1", 2)}},
			change: func(s *snapshot.State) { s.Nodes[0].Capacity["cpu"] = 13_000 }, want: "the plan says that every order does, but on n1: cpu"},
		"a start before there is room": {
			good:   snapshot.Plan{Moves: []snapshot.Move{m("named-0", "n1", "n2", 1), m("big-0", "n3", "n1", 2, "named-0")}},
			wrong:  snapshot.Plan{Moves: []snapshot.Move{m("named-0", "n1", "n2", 1), m("big-0", "n3", "n1", 1)}},
			change: func(s *snapshot.State) { s.Nodes[0].Capacity["cpu"] = 13_000 }, want: "on n1 in wave 1: cpu"},
		"who has to leave stays": {good: snapshot.Plan{Moves: []snapshot.Move{
			{Instance: "big-0", App: "big", From: "n3", To: "n4", Class: events.ClassForced, Reason: events.ReasonDrain, Wave: 1}}},
			wrong: snapshot.Plan{},
			change: func(s *snapshot.State) {
				s.Nodes[2].Scheduling = "draining"
				s.Nodes = append(s.Nodes, snapshot.Node{ID: "n4"})
			}, want: "has to leave n3, and the plan neither"},
		"forced by nothing": {good: snapshot.Plan{Moves: []snapshot.Move{m("pair-0", "n1", "n3", 1)}},
			wrong: snapshot.Plan{Moves: []snapshot.Move{{Instance: "pair-0", App: "pair", From: "n1", To: "n3", Class: events.ClassForced, Reason: events.ReasonDrain, Wave: 1}}},
			want:  "it has to leave n1: false"},
		"pending where there is room": {good: snapshot.Plan{},
			wrong: snapshot.Plan{Pending: []snapshot.Pending{{App: "plain", Instance: "plain-0"}}}, want: "is said to have nowhere to go, and n3 takes it"},
	} {
		t.Run(name, func(t *testing.T) {
			state := func() *snapshot.State {
				s := ruled()
				if c.change != nil {
					c.change(s)
				}
				return s
			}
			for _, v := range check.Plan(state(), &c.good) {
				t.Errorf("nothing is wrong with it: %s", v)
			}
			found := check.Plan(state(), &c.wrong)
			if !slices.ContainsFunc(found, func(v check.Violation) bool { return strings.Contains(v.String(), c.want) }) {
				t.Errorf("%q is not found among %v", c.want, found)
			}
		})
	}
}

// What has to leave an overdrawn node is counted under all its rules at once: where no one instance mends both resources, two have to go.
func TestBoundOfRepairLooksAtAllRules(t *testing.T) {
	s := &snapshot.State{Nodes: []snapshot.Node{{ID: "n1", Capacity: snapshot.Amounts{"cpu": 10_000, "memory": 10_000}}, {ID: "n2"}}}
	for i, size := range [][2]snapshot.Amount{{6000, 0}, {0, 6000}, {5000, 5000}, {4000, 4000}} {
		a := snapshot.App{Resources: snapshot.Amounts{"cpu": size[0], "memory": size[1]}}
		a.Name, a.Mode = string(rune('a'+i)), spec.Singleton
		s.Apps = append(s.Apps, a)
		s.Instances = append(s.Instances, snapshot.Instance{ID: a.Name + "-0", App: a.Name, Node: "n1"})
	}
	for claim, ok := range map[int]bool{1: true, 2: false} { // c alone mends both: 10,000 of each are left
		err := check.Bound(s, &snapshot.Plan{Bound: snapshot.Bound{MinMoves: claim}}, &snapshot.Certificate{})
		if (err == nil) != ok {
			t.Errorf("a bound of %d: %v", claim, err)
		}
	}
	s.Apps[2].Resources = snapshot.Amounts{"cpu": 5000} // now one has to go for each resource
	s.Apps[3].Resources = snapshot.Amounts{"memory": 5000}
	for claim, ok := range map[int]bool{2: true, 3: false} {
		err := check.Bound(s, &snapshot.Plan{Bound: snapshot.Bound{MinMoves: claim}}, &snapshot.Certificate{})
		if (err == nil) != ok {
			t.Errorf("a bound of %d: %v", claim, err)
		}
	}
}
