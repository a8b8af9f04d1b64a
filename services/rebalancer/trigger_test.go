package rebalancer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func setPolicy(t *testing.T, c *st.Cluster, auto spec.AutoRebalancePolicy) events.Event {
	t.Helper()
	p := spec.Policy{AutoRebalance: auto}
	return c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.PolicyUpdated{Policy: p, Hash: events.HashPolicy(p)}})
}

func cordon(t *testing.T, c *st.Cluster, node string) {
	t.Helper()
	c.Append(t, events.Draft{Aggregate: events.Node(node), Data: &events.NodeCordoned{Node: node}})
}

func uncordon(t *testing.T, c *st.Cluster, node string) {
	t.Helper()
	c.Append(t, events.Draft{Aggregate: events.Node(node), Data: &events.NodeUncordoned{Node: node}})
}

// last returns the newest rebalance.
func last(t *testing.T, c *st.Cluster) (r projections.Rebalance) {
	t.Helper()
	c.Replica.View(func(v *projections.Cluster) {
		for _, o := range v.Rebalances {
			if o.Started.Seq > r.Started.Seq {
				r = *o
			}
		}
	})
	return r
}

// obey carries out what the newest rebalance proposes, as planner and migrator would.
func obey(t *testing.T, c *st.Cluster) {
	t.Helper()
	r := last(t, c)
	for i, mv := range r.Moves {
		moved(t, c, events.Move{Migration: fmt.Sprint("m-", r.Order, i), App: mv.App, Instance: mv.Instance, SpecRev: 1, From: mv.From, FromInc: "inc-" + mv.From,
			To: mv.To, ToInc: "inc-" + mv.To, Reason: events.ReasonRebalance, Trigger: r.Trigger, Class: events.ClassBalance, Order: r.Order})
	}
	c.Until(t, "completed", func(v *projections.Cluster) bool { return v.Rebalances[r.Order].Completed })
}

// "Interval: 5 * time.Minute, Threshold: 0.2 // Trigger if imbalance > 20%"
func TestInterval(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		c.Start(t, rebalancer.New(c.Another(t, "r2")).Run) // two judge the same ticks
		join(t, c, "node-1", "node-2")
		place(t, c, "node-1", 20)
		cordon(t, c, "node-2")
		c.Pass(time.Minute)
		set := setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2, Interval: spec.Duration(5 * time.Minute)})
		c.Pass(11 * time.Minute) // two ticks and both joins are judged while there is nowhere to go
		if n := count(c, triggered); n != 0 {
			t.Fatalf("%d rebalances without a second node", n)
		}
		uncordon(t, c, "node-2")
		began := time.Now()
		c.Until(t, "a rebalance", func(v *projections.Cluster) bool { return v.Metrics.Events[triggered] == 1 })
		r := last(t, c)
		if at := r.Started.At; at.Sub(at.Truncate(5*time.Minute)) > 2*time.Second || time.Since(began) < time.Second {
			t.Errorf("triggered at %s, want a multiple of 5 min", at)
		}
		// Hysteresis: above the threshold it acts, and it aims at half of it.
		if r.Reason != events.ReasonInterval || r.Trigger != events.TriggerAutomatic || len(r.Moves) != 9 || r.After > 0.101 || r.Before != 1 {
			t.Errorf("%s, %s, %d moves, imbalance %.2f → %.2f", r.Reason, r.Trigger, len(r.Moves), r.Before, r.After)
		}
		var cause string
		c.Replica.View(func(v *projections.Cluster) { cause = v.PolicyBy.ID })
		if cause != set.ID || r.Why != "imbalance 1.00 is above the threshold of 0.20" {
			t.Errorf("cause %s, want %s; %s", cause, set.ID, r.Why)
		}
		obey(t, c)
		c.Pass(60 * time.Minute)
		if n := count(c, triggered); n != 1 {
			t.Errorf("%d rebalances after convergence", n-1)
		}
	})
}

// "Node leaves cluster (redistribute its apps)": first what is missing, then what is uneven.
func TestLoss(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1", "node-2", "node-3")
		for i, node := range []string{"node-1", "node-1", "node-2", "node-2", "node-3", "node-3"} {
			placeApp(t, c, fmt.Sprint("app-", i), node)
		}
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2, Interval: spec.Duration(300 * time.Hour)}) // now, when it is even: a join is judged on what is there then
		c.Pass(time.Minute)
		lost := c.Append(t, events.Draft{Aggregate: events.Node("node-3"), Data: &events.NodeLost{Node: "node-3", Inc: "inc-node-3", Reason: events.LostSilent}})
		c.Pass(10 * time.Minute)
		if n := count(c, triggered); n != 0 {
			t.Fatal("balanced before what was lost was brought back")
		}
		for i := range 2 { // both to the same node, for some reason
			app := fmt.Sprint("app-", 4+i)
			moved(t, c, events.Move{Migration: "again-" + app, App: app, Instance: app + "-0", SpecRev: 1, To: "node-1", ToInc: "inc-node-1", Reason: events.ReasonNodeLost, Class: events.ClassRecovery})
		}
		c.Until(t, "a rebalance", func(v *projections.Cluster) bool { return v.Metrics.Events[triggered] == 1 })
		if r := last(t, c); r.Reason != events.ReasonNodeLost || len(r.Moves) != 1 || r.Moves[0].From != "node-1" || r.StateSeq < lost.Seq {
			t.Errorf("%+v", r.RebalanceTriggered)
		}
		obey(t, c)
		c.Pass(time.Hour)
		if n := count(c, triggered); n != 1 {
			t.Errorf("%d rebalances for one loss", n)
		}
	})
}

// "Significant load imbalance detected": without an interval, whatever makes the cluster uneven is judged at once.
func TestThreshold(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1", "node-2")
		cordon(t, c, "node-2")
		place(t, c, "node-1", 4)
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2})
		c.Pass(time.Minute)
		began := time.Now()
		uncordon(t, c, "node-2")
		c.Until(t, "a rebalance", func(v *projections.Cluster) bool { return v.Metrics.Events[triggered] == 1 })
		if r := last(t, c); r.Reason != events.ReasonImbalance || len(r.Moves) != 2 || time.Since(began) > time.Second {
			t.Errorf("%s after %s: %+v", r.Reason, time.Since(began), r.Moves)
		}
		// What it proposes is held, say: it is not proposed again.
		c.Pass(10 * time.Minute)
		c.Append(t, events.Draft{Aggregate: events.Node("node-2"), Data: &events.NodeLabelsUpdated{Node: "node-2", After: map[string]string{"a": "b"}}})
		c.Pass(10 * time.Minute)
		if n := count(c, triggered); n != 1 {
			t.Errorf("%d rebalances, the first is open", n)
		}
		obey(t, c)
		c.Pass(time.Hour)
		if n := count(c, triggered); n != 1 {
			t.Errorf("%d rebalances after convergence", n-1)
		}
	})
}

// What is excluded is not proposed, and the event says what the others are.
func TestExcludedApps(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1")
		place(t, c, "node-1", 4)
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2, ExcludeApps: []string{"app-0", "app-1", "app-2"}})
		join(t, c, "node-2")
		c.Until(t, "a rebalance", func(v *projections.Cluster) bool { return v.Metrics.Events[triggered] == 1 })
		if r := last(t, c); len(r.Moves) != 1 || r.Moves[0].App != "app-3" || fmt.Sprint(r.RebalanceTriggered.Apps) != "[app-3]" {
			t.Errorf("%+v", r.RebalanceTriggered)
		}
		obey(t, c)
		c.Pass(time.Hour)
		if n := count(c, triggered); n != 1 {
			t.Errorf("%d rebalances, nothing that may move is left", n)
		}
		if s := st.Must[api.RebalanceStatus](t, c, api.RebalanceShow, api.ListRequest{Meta: c.Meta()}); !strings.Contains(s.Why, "no move that the rules allow") {
			t.Errorf("why nothing: %s (%.2f)", s.Why, s.Imbalance)
		}
	})
}

// A thousand intervals of an imbalance that no legal move mends: nothing moves, and it is said why.
func TestStructuralImbalanceTriggersNothing(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1", "node-2", "node-3")
		for i := range 6 {
			placeApp(t, c, fmt.Sprint("app-", i), "node-1", "node-1")
		}
		placeApp(t, c, "free", "node-2")
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2, Interval: spec.Duration(2 * time.Second)})
		c.Pass(1000 * 2 * time.Second)
		if n := count(c, triggered); n != 0 {
			t.Errorf("%d rebalances: %+v", n, last(t, c).Moves)
		}
		s := st.Must[api.RebalanceStatus](t, c, api.RebalanceShow, api.ListRequest{Meta: c.Meta()})
		if s.Imbalance != 0 || s.Structural < 1 || s.Raw < 1 || !s.Automatic || !strings.Contains(s.Why, "no move that the rules allow") || s.Next.IsZero() || s.Last != nil {
			t.Errorf("%+v", s)
		}
	})
}

// Nothing is proposed while moves are frozen; the end of the freeze is enough to go on.
func TestFrozenMovesAreNotProposed(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1")
		place(t, c, "node-1", 4)
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2})
		c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesFrozen{Source: events.FreezeOperator, Why: "audit"}})
		join(t, c, "node-2")
		c.Pass(time.Hour)
		s := st.Must[api.RebalanceStatus](t, c, api.RebalanceShow, api.ListRequest{Meta: c.Meta()})
		if n := count(c, triggered); n != 0 || s.Why != "it waits: moves are frozen (operator: audit)" {
			t.Errorf("%d rebalances; %s", n, s.Why)
		}
		c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesUnfrozen{Source: events.FreezeOperator}})
		c.Until(t, "a rebalance", func(v *projections.Cluster) bool { return v.Metrics.Events[triggered] == 1 })
	})
}

// A rebalance that was lost on its way to the log is not said again as it was: the node that was to take something may be closed by then.
func TestTriggersStayFresh(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		b, away := c.AnotherAway(t, "r2", ".triggered")
		c.Start(t, rebalancer.New(b).Run)
		c.Beat(t)
		join(t, c, "node-1")
		place(t, c, "node-1", 4)
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2})
		away.On.Store(true)
		join(t, c, "node-2")
		for end := time.Now().Add(time.Minute); away.Lost.Load() == 0; c.Pass(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing was proposed")
			}
		}
		cordon(t, c, "node-2")
		c.Pass(time.Second)
		away.On.Store(false)
		c.Pass(10 * time.Minute)
		if n := count(c, triggered); n != 0 {
			t.Errorf("moves to a node that is cordoned by now: %+v", last(t, c).Moves)
		}
	})
}

// A rebalance can be stopped, by a person or by the policy that no longer wants it, and says who did.
func TestStop(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster) {
		c.Beat(t)
		join(t, c, "node-1", "node-2")
		place(t, c, "node-1", 4)
		one := st.Must[api.RebalanceReply](t, c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), All: true})
		two := st.Must[api.RebalanceReply](t, c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), App: "app-0"})
		if s := st.Must[api.RebalanceStatus](t, c, api.RebalanceShow, api.ListRequest{Meta: c.Meta()}); len(s.Open) == 0 || s.Open[0].Order != one.Order || len(s.Open[0].Waiting) != 2 {
			t.Errorf("%+v", s)
		}
		if _, err := st.Call[api.Ack](c, api.RebalanceStop, api.StopRequest{Meta: c.Meta(), Order: "r-none"}); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("stop of nothing: %v", err)
		}
		stop := api.StopRequest{Meta: c.Meta()}
		if ack := st.Must[api.Ack](t, c, api.RebalanceStop, stop); !ack.Changed {
			t.Errorf("%+v", ack)
		}
		c.Replica.View(func(v *projections.Cluster) {
			for _, order := range []string{one.Order, two.Order} {
				if r := v.Rebalances[order]; !r.Completed || len(r.Moves) > 0 && (!r.Stopped || r.State() != api.OrderCancelled || !strings.HasPrefix(r.Ended.Actor, "cli:")) {
					t.Errorf("%s: %+v", order, r)
				}
			}
		})
		if ack := st.Must[api.Ack](t, c, api.RebalanceStop, api.StopRequest{Meta: c.Meta()}); ack.Changed {
			t.Errorf("none is open: %+v", ack)
		}
		three := st.Must[api.RebalanceReply](t, c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), All: true})
		st.Must[api.Ack](t, c, api.RebalanceStop, stop) // it arrives again
		c.Replica.View(func(v *projections.Cluster) {
			if r := v.Rebalances[three.Order]; len(r.Moves) == 0 || r.Completed {
				t.Errorf("triggered after it was called off: %+v", r)
			}
		})
		st.Must[api.Ack](t, c, api.RebalanceStop, api.StopRequest{Meta: c.Meta()})

		join(t, c, "node-3") // first: the policy alone would have the imbalance seen, and the join after that
		setPolicy(t, c, spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2})
		c.Until(t, "a rebalance", func(v *projections.Cluster) bool { return v.Metrics.Rebalances[events.ReasonNodeJoin] == 1 })
		setPolicy(t, c, spec.AutoRebalancePolicy{Threshold: 0.2})
		order := last(t, c).Order
		c.Until(t, "its end", func(v *projections.Cluster) bool { return v.Rebalances[order].Stopped })
	})
}
