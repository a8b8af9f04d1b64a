package labeler

import (
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// Told returns what a labeler would store for a verdict that is told in the log, nil for one that is not or has been.
func Told(v *projections.Cluster, d Verdict) *events.Draft {
	switch d.Act {
	case ActSuspect:
		return suspected(v, d.Lease.LeaseRecord, d.Waited)
	case ActLose:
		return lost(v, d.Lease.LeaseRecord, events.LostSilent, d.Waited)
	case ActDisplaced:
		return displacedLost(v, d)
	case ActOvertaken:
		if n := v.Nodes[d.Node]; live(n) {
			return rebooted(n, d.Lease.Seq)
		}
	}
	return nil
}
