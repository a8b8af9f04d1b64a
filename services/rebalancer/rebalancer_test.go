package rebalancer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func run(t *testing.T, f func(t *testing.T, c *st.Cluster)) {
	t.Helper()
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		c.Start(t, rebalancer.New(c.Base).Run)
		f(t, c)
	})
}

func join(t *testing.T, c *st.Cluster, nodes ...string) {
	t.Helper()
	for _, n := range nodes {
		c.Append(t, events.Draft{Aggregate: events.Node(n), Node: n, Actor: events.Labeler, Data: &events.NodeJoined{Node: n, Inc: "inc-" + n, Machine: "m-" + n,
			Facts: events.Facts{Address: n, CPU: 64000, Memory: 64 << 30, Drivers: []string{"process"}}}})
	}
}

func moved(t *testing.T, c *st.Cluster, m events.Move) {
	t.Helper()
	c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.PlanAdmitted{Plan: "p-" + m.Migration, Moves: []events.Move{m}}})
	c.Append(t, events.Draft{Aggregate: events.App(m.App), Data: &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind(), SpecRev: 1, FromInc: m.FromInc, ToInc: m.ToInc}})
	c.Append(t, events.Draft{Aggregate: events.App(m.App), Data: &events.MigrationCompleted{Ref: m.Ref()}})
}

// place runs singletons app-0, app-1 … on a node.
func place(t *testing.T, c *st.Cluster, node string, count int) {
	t.Helper()
	for i := range count {
		placeApp(t, c, fmt.Sprint("app-", i), node)
	}
}

// placeApp runs a singleton on a node; it may only be on some, if any are named.
func placeApp(t *testing.T, c *st.Cluster, app, node string, only ...string) {
	t.Helper()
	s := spec.App{Name: app, Mode: spec.Singleton, OnNodes: only, Process: &spec.Process{Command: []string{"/bin/true"}}}.WithDefaults()
	c.Append(t, events.Draft{Aggregate: events.App(app), App: app, Data: &events.AppApplied{Spec: s, SpecRev: 1, Generation: 1}})
	moved(t, c, events.Move{Migration: "m-" + app, App: app, Instance: app + "-0", SpecRev: 1, To: node, ToInc: "inc-" + node, Reason: events.ReasonScale})
}

func count(c *st.Cluster, typ events.Type) (n int) {
	c.Replica.View(func(v *projections.Cluster) { n = v.Metrics.Events[typ] })
	return n
}

const (
	triggered events.Type = "placement.rebalance.triggered"
	completed events.Type = "placement.rebalance.completed"
)

func TestRebalanceOnRequest(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		join(t, c, "node-1", "node-2")
		place(t, c, "node-1", 4)
		dry := st.Must[api.RebalanceReply](t, c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), All: true, DryRun: true})
		if len(dry.Moves) != 2 || dry.After >= dry.Before || count(c, triggered) != 0 {
			t.Fatalf("dry run: %+v, stored %d", dry, count(c, triggered))
		}
		req := api.RebalanceRequest{Meta: c.Meta(), All: true}
		first := st.Must[api.RebalanceReply](t, c, api.AppRebalance, req)
		if d := cmp.Diff(dry.Moves, first.Moves); d != "" || !first.Changed || first.Order == "" {
			t.Errorf("%+v, a dry run said otherwise: %s", first.Ack, d)
		}
		if d := cmp.Diff(first, st.Must[api.RebalanceReply](t, c, api.AppRebalance, req)); d != "" {
			t.Errorf("the same command again (-first +second):\n%s", d)
		}
		if count(c, triggered) != 1 {
			t.Errorf("stored %d times", count(c, triggered))
		}

		// One proposal is carried out; the other's instance is restarted elsewhere for another reason.
		a, b := first.Moves[0], first.Moves[1]
		moved(t, c, events.Move{Migration: "m-a", App: a.App, Instance: a.Instance, SpecRev: 1, From: a.From, FromInc: "inc-" + a.From, To: a.To, ToInc: "inc-" + a.To,
			Reason: events.ReasonRebalance, Order: first.Order})
		if count(c, completed) != 0 {
			t.Error("completed with a proposal that can still be carried out")
		}
		moved(t, c, events.Move{Migration: "m-b", App: b.App, Instance: b.Instance, SpecRev: 1, From: b.From, FromInc: "inc-" + b.From, To: b.To, ToInc: "inc-" + b.To,
			Reason: events.ReasonManual})
		c.Until(t, "completed", func(v *projections.Cluster) bool { return v.Rebalances[first.Order].Completed })
		even := st.Must[api.RebalanceReply](t, c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), All: true})
		if len(even.Moves) != 0 || even.Moves == nil || !even.Changed {
			t.Errorf("even already, but a request leaves an event: %+v", even)
		}
	})
}

func TestRebalanceRefusals(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		for want, req := range map[api.Code]api.RebalanceRequest{api.CodeNotFound: {App: "nobody"}, api.CodeInvalid: {}} {
			req.Meta = c.Meta()
			if _, err := st.Call[api.RebalanceReply](c, api.AppRebalance, req); api.CodeOf(err) != want {
				t.Errorf("%+v: %v", req, err)
			}
		}
	})
}

func TestAutomaticRebalance(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1")
		place(t, c, "node-1", 4)
		join(t, c, "node-2")
		c.Pass(time.Minute)
		if count(c, triggered) != 0 {
			t.Fatal("automatic without a policy")
		}
		policy := spec.Policy{AutoRebalance: spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2, Interval: spec.Duration(300 * time.Hour)}}
		c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.PolicyUpdated{Policy: policy, Hash: events.HashPolicy(policy)}})
		c.Until(t, "triggered", func(v *projections.Cluster) bool { return len(v.Rebalances) == 1 })
		c.Replica.View(func(v *projections.Cluster) {
			for _, r := range v.Rebalances {
				if r.Reason != events.ReasonNodeJoin || r.Trigger != events.TriggerAutomatic || len(r.Moves) != 2 || r.Started.Actor != events.Rebalancer {
					t.Errorf("rebalance %+v", r)
				}
			}
		})
		// The target goes: what was proposed lapses.
		c.Append(t, events.Draft{Aggregate: events.Node("node-2"), Data: &events.NodeCordoned{Node: "node-2"}})
		c.Until(t, "completed", func(v *projections.Cluster) bool { return v.Metrics.Events[completed] == 1 })
		c.Append(t, events.Draft{Aggregate: events.Node("node-2"), Data: &events.NodeUncordoned{Node: "node-2"}})
		c.Pass(10 * time.Minute)
		if n := count(c, triggered); n != 1 {
			t.Errorf("one join, %d rebalances", n)
		}
		// A second node with nothing to gain from it triggers none; the next real one does, after the cooldown.
		policy.AutoRebalance.CooldownPeriod = spec.Duration(30 * time.Minute)
		c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.PolicyUpdated{Policy: policy, Hash: events.HashPolicy(policy)}})
		began := time.Now()
		join(t, c, "node-3")
		c.Until(t, "triggered again", func(v *projections.Cluster) bool { return v.Metrics.Events[triggered] == 2 })
		if waited := time.Since(began); waited < 15*time.Minute || waited > 25*time.Minute {
			t.Errorf("triggered after %s, the cooldown has 30 min and 10 had gone by", waited)
		}
	})
}
