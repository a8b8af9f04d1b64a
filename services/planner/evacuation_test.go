package planner

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// What leaves a node by somebody else's order may come back as long as that move is open: the evacuation is not complete.
func TestEvacuationWaitsForMovesOfOthers(t *testing.T) {
	zone, err := spec.ParseSelector("zone=a")
	if err != nil {
		t.Fatal(err)
	}
	v := projections.NewCluster("test")
	v.Nodes["n1"] = &projections.Node{ID: "n1", Status: projections.StatusReady, Labels: map[string]string{"zone": "a"}}
	v.Nodes["n2"] = &projections.Node{ID: "n2", Status: projections.StatusReady, Labels: map[string]string{"zone": "b"}}
	v.Evacuations["e"] = &projections.Evacuation{Order: "e", Selector: zone, State: api.OrderOpen}
	m := &projections.Migration{}
	m.Migration, m.From, m.To = "m", "n1", "n2"
	db := &projections.App{Name: "db", Instances: map[string]*projections.Instance{"db-0": {ID: "db-0", App: "db", Node: "n2"}}, Open: map[string]*projections.Migration{"m": m}}
	v.Apps["db"] = db
	if d, _ := evacuationEnds(v, presenceOf(v), time.Time{}, true); d != nil {
		t.Errorf("it is over while %s may bring db-0 back to n1: %+v", m.Migration, d.Data)
	}
	delete(db.Open, "m")
	if d, _ := evacuationEnds(v, presenceOf(v), time.Time{}, true); d == nil {
		t.Error("nothing is left, and it is not over")
	}
}
