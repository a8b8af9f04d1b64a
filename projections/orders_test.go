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
