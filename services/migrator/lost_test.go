package migrator

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// What a node has set aside is told once, by the node that has it, and only of an epoch that is over.
func TestLostDataIsToldOnce(t *testing.T) {
	lost := events.DataLost{Instance: "db-0", Node: "n1", Epoch: 3, From: "e3:7", Found: "e3:9", Bytes: 4096, Aside: "/data/db.aside-e3"}
	lease := func(node string, of events.DataLost) map[string]services.SeenLease {
		return map[string]services.SeenLease{node: {LeaseRecord: transport.LeaseRecord{Seq: 5, Lease: api.Lease{State: api.LeaseHeld, Node: node, Lost: []api.LostData{{App: "db", Data: of}}}}}}
	}
	a := &projections.App{Name: "db", Epoch: 4}
	d := lostData(a, lease("n1", lost))
	if d == nil || d.Aggregate != events.App("db") || d.Node != "n1" || d.Cause != "lease:n1:5" || *d.Data.(*events.DataLost) != lost {
		t.Fatalf("%+v", d)
	}
	if d := lostData(a, lease("n2", lost)); d != nil {
		t.Errorf("by another node: %+v", d)
	}
	newer := lost
	newer.Epoch = 4
	if d := lostData(a, lease("n1", newer)); d != nil {
		t.Errorf("of the epoch that is: %+v", d)
	}
	if d := lostData(&projections.App{Name: "other", Epoch: 4}, lease("n1", lost)); d != nil {
		t.Errorf("of another app: %+v", d)
	}
	a.Lost = append(a.Lost, lost)
	if d := lostData(a, lease("n1", lost)); d != nil {
		t.Errorf("again: %+v", d)
	}
}
