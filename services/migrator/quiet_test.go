package migrator

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// An app that there was nothing to say of is looked at again when anything that observe looks at has changed, and only then.
func TestQuiet(t *testing.T) {
	lease := func(seq uint64) services.SeenLease {
		return services.SeenLease{LeaseRecord: transport.LeaseRecord{Seq: seq}}
	}
	for name, c := range map[string]struct {
		change func(v *projections.Cluster, a *projections.App, leases map[string]services.SeenLease)
		still  bool
	}{
		"nothing": {func(*projections.Cluster, *projections.App, map[string]services.SeenLease) {}, true},
		"the lease of a node that it has nothing on": {func(_ *projections.Cluster, _ *projections.App, leases map[string]services.SeenLease) {
			leases["n3"] = lease(9)
		}, true},
		"an event of another app": {func(v *projections.Cluster, _ *projections.App, _ map[string]services.SeenLease) {
			v.Heads[events.App("b")] = events.Head{Seq: 50}
		}, true},
		"the lease of its instance's node": {func(_ *projections.Cluster, _ *projections.App, leases map[string]services.SeenLease) {
			leases["n1"] = lease(9)
		}, false},
		"the lease of its leader's node": {func(_ *projections.Cluster, _ *projections.App, leases map[string]services.SeenLease) {
			leases["n2"] = lease(9)
		}, false},
		"an event of its own": {func(v *projections.Cluster, _ *projections.App, _ map[string]services.SeenLease) {
			v.Heads[events.App("a")] = events.Head{Seq: 50}
		}, false},
		"data that a node tells of on which it has nothing": {func(_ *projections.Cluster, _ *projections.App, leases map[string]services.SeenLease) {
			l := lease(9)
			l.Lease.Lost = []api.LostData{{App: "a"}}
			leases["n3"] = l
		}, false},
		"a loss": {func(v *projections.Cluster, _ *projections.App, _ map[string]services.SeenLease) {
			v.Nodes["n3"].Gone.Seq = 50
		}, false},
		"a join": {func(v *projections.Cluster, _ *projections.App, _ map[string]services.SeenLease) {
			v.Nodes["n3"].Joined.Seq = 50
		}, false},
		"a migration of it": {func(_ *projections.Cluster, a *projections.App, _ map[string]services.SeenLease) {
			a.Open["m"] = &projections.Migration{}
		}, false},
	} {
		v := projections.NewCluster("test")
		for _, n := range []string{"n1", "n2", "n3"} {
			v.Nodes[n] = &projections.Node{ID: n}
		}
		a := &projections.App{Name: "a", Leader: &projections.Leader{Node: "n2"}, Open: map[string]*projections.Migration{},
			Instances: map[string]*projections.Instance{"a-0": {ID: "a-0", Node: "n1"}}}
		v.Apps["a"], v.Heads[events.App("a")] = a, events.Head{Seq: 20}
		leases, q := map[string]services.SeenLease{"n1": lease(5), "n2": lease(7)}, quiet{}
		if q.still(v, a, leases, sightOf(v, leases)) {
			t.Errorf("%s: still before it was ever looked at", name)
		}
		q.note(v, a, sightOf(v, leases))
		c.change(v, a, leases)
		if got := q.still(v, a, leases, sightOf(v, leases)); got != c.still {
			t.Errorf("%s: still is %t", name, got)
		}
	}
}
