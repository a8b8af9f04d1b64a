package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

func singleton(name string, require ...string) spec.App {
	return spec.App{Name: name, Mode: spec.Singleton, Require: require, Process: &spec.Process{Command: []string{"/bin/app"}}}
}

func pool(name string, replicas int, require ...string) spec.App {
	return spec.App{Name: name, Mode: spec.Replicas, Replicas: &replicas, Require: require, Process: &spec.Process{Command: []string{"/bin/app"}}}
}

func plain(ids ...string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, id := range ids {
		out[id] = nil
	}
	return out
}

func compute(ids ...string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, id := range ids {
		out[id] = map[string]string{"role": "compute"}
	}
	return out
}

// alone checks that no app was ever active twice at a time, by the programs' own journal.
func alone(t testing.TB, c *Cluster) {
	t.Helper()
	for _, o := range c.Programs.Overlaps() {
		t.Error(o)
	}
}

// find returns the first event of a type behind a sequence.
func find(t *testing.T, log []events.Event, typ events.Type, after uint64) events.Event {
	t.Helper()
	for _, e := range log {
		if e.Type == typ && e.Seq > after {
			return e
		}
	}
	t.Fatalf("no %s after %d", typ, after)
	return events.Event{}
}

// "If current placement no longer satisfies constraints, app is gracefully migrated" – and the log says why, link by link.
func TestLabelChangeMovesSingleton(t *testing.T) {
	Run(t, compute("n1", "n2"), func(c *Cluster) {
		c.Apply(singleton("scheduler", "role=compute"))
		from := c.On("scheduler")[0]
		rep := c.Label(from, map[string]string{"role": "storage"})
		c.Until("the scheduler runs elsewhere", time.Minute, func(v *projections.Cluster) bool {
			return Runs(v, "scheduler") && v.Apps["scheduler"].SortedInstances()[0].Node != from
		})
		log := c.Log()
		labels := find(t, log, "node.labels.updated", rep.Seq-1)
		admitted := find(t, log, "placement.plan.admitted", labels.Seq)
		started := find(t, log, "placement.migration.started", admitted.Seq)
		completed := find(t, log, "placement.migration.completed", started.Seq)
		if admitted.Cause != labels.ID || started.Cause != admitted.ID {
			t.Errorf("causes: labels %s ← admitted %s ← started %s", labels.ID, admitted.Cause, started.Cause)
		}
		for _, e := range []events.Event{admitted, started, completed} {
			if e.Correlation != labels.Correlation {
				t.Errorf("%s: correlation %s, want %s", e.Type, e.Correlation, labels.Correlation)
			}
		}
		if d := started.Data.(*events.MigrationStarted); d.Reason != events.ReasonLabelChange || d.Trigger != events.TriggerAutomatic || d.FromNode != from {
			t.Errorf("started: %+v", d)
		}
		stored := 0
		for _, e := range log {
			if e.Seq >= labels.Seq && e.Seq <= completed.Seq {
				stored++
			}
		}
		if reports := 4; stored+reports > 13 {
			t.Errorf("the move stored %d events and %d reports, want at most 13 messages\n%s", stored, reports, c.Story())
		}
		alone(t, c)
	})
}

// "If no nodes satisfy constraints, app enters `Pending` state with appropriate alerts" – and comes back by itself.
func TestNowhereToGo(t *testing.T) {
	Run(t, map[string]map[string]string{"n1": {"role": "compute"}, "n2": {"role": "web"}}, func(c *Cluster) {
		c.Apply(singleton("db", "role=compute"))
		c.Label("n1", map[string]string{"role": "storage"})
		c.Until("db is Pending and stopped", time.Minute, func(v *projections.Cluster) bool {
			a := v.Apps["db"]
			return a.Pending != nil && len(a.Instances) == 0 && len(a.Open) == 0
		})
		detail, err := Ask[api.AppDetail](c, api.AppShow, api.AppRequest{App: "db"})
		if err != nil || detail.State != api.AppPending || len(detail.Pending) != 2 {
			t.Fatalf("%+v %v", detail, err)
		}
		c.Label("n2", map[string]string{"role": "compute"})
		c.Until("db runs on n2", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") })
		if on := c.On("db"); on[0] != "n2" {
			t.Errorf("on %v", on)
		}
		alone(t, c)
	})
}

// A drain of two nodes moves everything to the third and nothing to each other.
func TestDrainOfTwoNodes(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		for _, a := range []string{"a", "b", "d"} {
			c.Apply(singleton(a))
		}
		mark := c.Log()
		for _, n := range []string{"n1", "n2"} {
			if _, err := Ask[api.Ack](c, api.NodeCordon, api.NodeRequest{Meta: c.Meta(), Node: n}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Ask[api.DrainReply](c, api.NodeDrain, api.DrainRequest{Meta: c.Meta(), Nodes: []string{"n1", "n2"}}); err != nil {
			t.Fatal(err)
		}
		c.Until("both drains are complete", time.Minute, func(v *projections.Cluster) bool {
			return v.Nodes["n1"].Drain == nil && v.Nodes["n2"].Drain == nil
		})
		for _, e := range c.Log()[len(mark):] {
			if d, ok := e.Data.(*events.MigrationStarted); ok && d.ToNode != "n3" {
				t.Errorf("%s moved to %s", d.Instance, d.ToNode)
			}
		}
		for _, a := range []string{"a", "b", "d"} {
			if on := c.On(a); on[0] != "n3" {
				t.Errorf("%s is on %v", a, on)
			}
		}
		alone(t, c)
	})
}

// A drain whose time is up leaves what did not move where it is, serving.
func TestDrainTimesOut(t *testing.T) {
	Run(t, plain("n1", "n2"), func(c *Cluster) {
		c.Apply(singleton("slow"))
		from := c.On("slow")[0]
		c.Programs.Behave(func(node, instance string) Behaviour { return Behaviour{StopTakes: 20 * time.Second} })
		rep, err := Ask[api.DrainReply](c, api.NodeDrain, api.DrainRequest{Meta: c.Meta(), Nodes: []string{from}, Timeout: spec.Duration(time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		c.Until("the drain has failed", time.Minute, func(v *projections.Cluster) bool { return v.Drains[rep.Orders[from]].State == api.OrderFailed })
		c.Programs.Behave(nil)
		c.Until("slow runs", 2*time.Minute, func(v *projections.Cluster) bool { return Runs(v, "slow") })
		alone(t, c)
	})
}

// A crashed node's apps are taken over once its lease is certainly over, and not before.
func TestCrashedNodeIsTakenOver(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		c.Apply(singleton("db"))
		c.Apply(pool("web", 2))
		from := c.On("db")[0]
		c.Crash(from)
		crashed := time.Now()
		c.Until("db runs again", 2*time.Minute, func(v *projections.Cluster) bool {
			return Runs(v, "db") && v.Apps["db"].SortedInstances()[0].Node != from
		})
		took := time.Since(crashed)
		if most := TTL*11/10 + 10*time.Second; took > most || took < TTL-5*time.Second {
			t.Errorf("taken over after %s, want within %s and not before the lease is over", took, most)
		}
		c.Until("web is whole", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "web") })
		alone(t, c)
		// The machine comes back: it joins anew and takes work again.
		c.RestartAgent(from)
		c.Until("it is ready again", 2*time.Minute, func(v *projections.Cluster) bool { return v.Nodes[from].Status == projections.StatusReady })
		c.For(time.Minute)
		alone(t, c)
	})
}

// A node that is cut off fences itself before anybody else takes over, and joins anew when it is back.
func TestCutOffNodeFencesItself(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		c.Apply(singleton("db"))
		from := c.On("db")[0]
		c.Link(from).Cut()
		c.Until("db runs elsewhere", 2*time.Minute, func(v *projections.Cluster) bool {
			return Runs(v, "db") && v.Apps["db"].SortedInstances()[0].Node != from
		})
		alone(t, c)
		c.Link(from).Heal()
		c.Until("the node is ready again", 2*time.Minute, func(v *projections.Cluster) bool { return v.Nodes[from].Status == projections.StatusReady })
		c.For(2 * time.Minute)
		alone(t, c)
		if !slices.ContainsFunc(c.Programs.Journal(), func(s Span) bool { return s.Node == from && s.To != 0 }) {
			t.Error("the old one never ended")
		}
	})
}

// When everybody is silent at once, nobody is declared lost.
func TestMassSilence(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		c.Apply(pool("web", 3))
		for _, n := range []string{"n1", "n2", "n3"} {
			c.Link(n).Cut()
		}
		c.Until("moves are frozen for safety", 2*time.Minute, func(v *projections.Cluster) bool { return v.Frozen[events.FreezeSafety] != "" })
		c.For(3 * time.Minute)
		for _, n := range []string{"n1", "n2", "n3"} {
			c.Link(n).Heal()
		}
		c.Until("it clears", 2*time.Minute, func(v *projections.Cluster) bool { return len(v.Frozen) == 0 })
		c.For(time.Minute)
		for _, e := range c.Log() {
			if e.Type == "node.membership.lost" {
				t.Errorf("%s was declared lost", e.Node)
			}
		}
		c.Until("web is whole", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "web") })
	})
}

// A target that cannot start the app: the source serves on, under a higher epoch if its gap was open.
func TestTargetFails(t *testing.T) {
	Run(t, plain("n1", "n2"), func(c *Cluster) {
		c.Apply(singleton("db"))
		from := c.On("db")[0]
		c.Programs.Behave(func(node, instance string) Behaviour {
			if node != from {
				return Behaviour{Fails: "exit status 3"}
			}
			return Behaviour{}
		})
		rep, err := Ask[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: "db", From: from})
		if err != nil {
			t.Fatal(err)
		}
		c.Until("the migration has ended", 5*time.Minute, func(v *projections.Cluster) bool { return v.Migrations[rep.Order].Ended() })
		c.Until("db runs", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") })
		if on := c.On("db"); on[0] != from {
			t.Errorf("on %v, want %s\n%s", on, from, c.Story())
		}
		c.View(func(v *projections.Cluster) {
			m := v.Migrations[rep.Order]
			if m.Status != projections.MigrationFailed || !strings.Contains(m.Detail, "exit status 3") {
				t.Errorf("%s: %s", m.Status, m.Detail)
			}
		})
		alone(t, c)
	})
}

// Any process may die at any moment: the migration goes on where it was when it is back.
func TestEverybodyDiesDuringAMove(t *testing.T) {
	for _, victim := range []string{"services", "source", "target"} {
		for _, at := range []events.Type{"placement.plan.admitted", "placement.migration.started", "placement.step.completed",
			"placement.leadership.granted", "placement.leadership.activated"} {
			t.Run(victim+" at "+string(at), func(t *testing.T) {
				Run(t, plain("n1", "n2"), func(c *Cluster) {
					c.Apply(singleton("db"))
					from := c.On("db")[0]
					to := "n1"
					if from == "n1" {
						to = "n2"
					}
					c.Programs.Behave(func(string, string) Behaviour {
						return Behaviour{StartTakes: 300 * time.Millisecond, StopTakes: 300 * time.Millisecond}
					})
					rep, err := Ask[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: "db", From: from, To: to})
					if err != nil {
						t.Fatal(err)
					}
					c.Until(string(at), time.Minute, func(v *projections.Cluster) bool {
						return slices.ContainsFunc(v.Migrations[rep.Order].History, func(h projections.Happening) bool { return h.Event == at })
					})
					switch victim {
					case "services":
						c.KillServices("s1")
						c.For(2 * time.Second)
						c.StartServices("s2")
					case "source":
						c.KillAgent(from)
						c.For(2 * time.Second)
						c.RestartAgent(from)
					case "target":
						c.KillAgent(to)
						c.For(2 * time.Second)
						c.RestartAgent(to)
					}
					c.Until("the migration has ended", 5*time.Minute, func(v *projections.Cluster) bool {
						m := v.Migrations[rep.Order]
						return m != nil && m.Ended()
					})
					c.Until("db runs", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") })
					alone(t, c)
				})
			})
		}
	}
}

// Several replicas of every service decide each thing once.
func TestReplicasOfServices(t *testing.T) {
	Run(t, compute("n1", "n2", "n3"), func(c *Cluster) {
		c.StartServices("s2")
		c.StartServices("s3")
		for _, a := range []string{"a", "b", "d"} {
			c.Apply(singleton(a, "role=compute"))
		}
		c.Label("n1", map[string]string{"role": "web"})
		c.Label("n2", map[string]string{"role": "web"})
		for _, a := range []string{"a", "b", "d"} {
			c.Until(a+" is on n3", time.Minute, func(v *projections.Cluster) bool { return Runs(v, a) && v.Apps[a].SortedInstances()[0].Node == "n3" })
		}
		open := map[string]int{}
		for _, e := range c.Log() {
			switch d := e.Data.(type) {
			case *events.MigrationStarted:
				if open[e.App]++; open[e.App] > 1 {
					t.Errorf("%s: two migrations at once", e.App)
				}
			case *events.MigrationCompleted:
				open[e.App]--
				_ = d
			case *events.MigrationFailed:
				open[e.App]--
			}
		}
		alone(t, c)
	})
}

// "Manual trigger via API/CLI": evens out with no more moves than needed, and then has nothing to do.
func TestRebalance(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		for _, n := range []string{"n2", "n3"} {
			if _, err := Ask[api.Ack](c, api.NodeCordon, api.NodeRequest{Meta: c.Meta(), Node: n}); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range []string{"a", "b", "d", "e", "f", "g"} {
			c.Apply(singleton(a))
		}
		for _, n := range []string{"n2", "n3"} {
			if _, err := Ask[api.Ack](c, api.NodeUncordon, api.NodeRequest{Meta: c.Meta(), Node: n}); err != nil {
				t.Fatal(err)
			}
		}
		rep, err := Ask[api.RebalanceReply](c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), All: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Moves) != 4 {
			t.Errorf("%d moves proposed, 4 are needed", len(rep.Moves))
		}
		c.Until("the rebalance has completed", time.Minute, func(v *projections.Cluster) bool {
			return v.Rebalances[rep.Order] != nil && v.Rebalances[rep.Order].Completed
		})
		c.View(func(v *projections.Cluster) {
			for _, n := range v.SortedNodes() {
				if on := len(v.On(n.ID)); on != 2 {
					t.Errorf("%s has %d instances", n.ID, on)
				}
			}
		})
		again, err := Ask[api.RebalanceReply](c, api.AppRebalance, api.RebalanceRequest{Meta: c.Meta(), All: true})
		if err != nil || len(again.Moves) != 0 {
			t.Errorf("again: %+v %v", again, err)
		}
		alone(t, c)
	})
}

// A node gives an app up: it goes elsewhere.
func TestFailedInstanceMoves(t *testing.T) {
	Run(t, plain("n1", "n2"), func(c *Cluster) {
		c.Apply(singleton("db"))
		from := c.On("db")[0]
		c.Programs.GiveUp(from, "db-0", "exit status 1, restarts used up")
		c.Until("db runs elsewhere", time.Minute, func(v *projections.Cluster) bool {
			return Runs(v, "db") && v.Apps["db"].SortedInstances()[0].Node != from
		})
		alone(t, c)
	})
}
