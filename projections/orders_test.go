package projections_test

import (
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// Orders are given for years: of those that have ended the latest are remembered, and every one that has not.
func TestOrdersThatEndedAreForgotten(t *testing.T) {
	b, c := newBook(), projections.NewCluster("test")
	cluster, node := events.Cluster("test"), events.Node("n1")
	put := func(a events.Aggregate, data any) { c.Apply(b.write(t, a, "", data)) }
	put(node, &events.NodeJoined{Node: "n1", Inc: "i1", Machine: "m"})
	put(cluster, &events.EvacuationStarted{Order: "e-open", Selector: "zone=a"})
	put(cluster, &events.RebalanceTriggered{Order: "r-open", Moves: []events.Proposal{{}}})
	const most, count = 1000, 1100
	for i := range count {
		e, r, d := fmt.Sprintf("e-%d", i), fmt.Sprintf("r-%d", i), fmt.Sprintf("d-%d", i)
		put(cluster, &events.EvacuationStarted{Order: e, Selector: "zone=b"})
		put(cluster, &events.EvacuationCancelled{Order: e})
		put(cluster, &events.EvacuationCompleted{Order: e}) // once more: it has ended all the same
		put(cluster, &events.RebalanceTriggered{Order: r, Moves: make([]events.Proposal, i%2)})
		put(cluster, &events.RebalanceCompleted{Order: r})
		put(node, &events.DrainStarted{Node: "n1", Order: d})
		put(node, &events.DrainCompleted{Node: "n1", Order: d})
	}
	put(node, &events.DrainStarted{Node: "n1", Order: "d-open"})
	if e, r, d := len(c.Evacuations), len(c.Rebalances), len(c.Drains); e != most+1 || r != most+1 || d != most+1 {
		t.Errorf("%d evacuations, %d rebalances, %d drains are remembered, want %d of each and one that is open", e, r, d, most)
	}
	last := fmt.Sprint("-", count-1)
	if c.Evacuations["e-open"] == nil || c.Rebalances["r-open"] == nil || c.Drains["d-open"] == nil ||
		c.Evacuations["e"+last] == nil || c.Rebalances["r"+last] == nil || c.Drains["d"+last] == nil {
		t.Error("one that is open, or has just ended, is forgotten")
	}
}

// What an order has moved is known when more has moved since than is remembered of each migration.
func TestOrdersCountWhatIsForgotten(t *testing.T) {
	const count = 2100
	b, c := newBook(), projections.NewCluster("test")
	cluster := events.Cluster("test")
	put := func(a events.Aggregate, data any) { c.Apply(b.write(t, a, "", data)) }
	put(cluster, &events.EvacuationStarted{Order: "e", Selector: "zone=a"})
	put(events.Node("n1"), &events.DrainStarted{Node: "n1", Order: "d"})
	proposed := make([]events.Proposal, count)
	for i := range proposed {
		proposed[i] = events.Proposal{App: fmt.Sprint("app-", i), Instance: fmt.Sprintf("app-%d-0", i), From: "n1", To: "n2"}
	}
	put(cluster, &events.RebalanceTriggered{Order: "r", Moves: proposed})
	for _, order := range []string{"e", "d", "r"} {
		for i, p := range proposed {
			mv := events.Move{Migration: fmt.Sprint("m-", order, i), App: p.App, Instance: p.Instance, From: p.From, To: p.To, Order: order}
			put(cluster, &events.PlanAdmitted{Moves: []events.Move{mv}})
			if i == 0 {
				put(events.App(p.App), &events.MigrationFailed{Ref: mv.Ref(), Left: events.LeftAtSource})
				continue
			}
			put(events.App(p.App), &events.MigrationCompleted{Ref: mv.Ref()})
		}
	}
	if v := projections.RebalanceView(c.Rebalances["r"]); v.Moved != count-1 || v.Failed != 1 {
		t.Errorf("rebalance: %d moved, %d failed", v.Moved, v.Failed)
	}
	if e, d := c.Evacuations["e"].Moved, c.Drains["d"].Moved; e != count-1 || d != count-1 {
		t.Errorf("the evacuation has moved %d, the drain %d", e, d)
	}
}

// A move may be held a hundred times before its first step: its history is of the first event and of the latest.
func TestALongHistoryHasItsEnd(t *testing.T) {
	b, c := newBook(), projections.NewCluster("test")
	mv := events.Move{Migration: "m-1", App: "db", Instance: "db-0", From: "n1", To: "n2"}
	put := func(a events.Aggregate, data any) events.Message {
		m := b.write(t, a, "", data)
		c.Apply(m)
		return m
	}
	var first uint64
	for range 100 {
		if m := put(events.App("db"), &events.MigrationHeld{Ref: mv.Ref(), Move: mv}); first == 0 {
			first = m.Event.Seq
		}
	}
	put(events.Cluster("test"), &events.PlanAdmitted{Moves: []events.Move{mv}})
	put(events.App("db"), &events.MigrationStarted{Ref: mv.Ref(), Next: &events.Next{Step: events.StepPrepare, Node: "n2"}})
	put(events.App("db"), &events.StepCompleted{Ref: mv.Ref(), Step: events.StepPrepare, Node: "n2"})
	d := projections.MigrationDetail(c, c.Migrations["m-1"])
	if last := d.Steps[len(d.Steps)-1]; last.Step != string(events.StepPrepare) || d.Steps[0].Seq != first || len(d.Steps)+d.Forgotten != 103 {
		t.Errorf("it ends with %+v, begins at %d, has %d events and forgot %d", last, d.Steps[0].Seq, len(d.Steps), d.Forgotten)
	}
}
