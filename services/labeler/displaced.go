package labeler

import (
	"context"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
)

// Displacement is an incarnation that the log has as living and whose lease is not its own any more, and since when this labeler
// has known that, on CLOCK_BOOTTIME. With the streams whole it does not happen, since a lease is free only after the loss is in the log. It
// does when the leases were lost, or the log was restored from before.
type Displacement struct {
	Inc   string
	Since time.Duration
}

// displaced says whether the lease of a living incarnation is free or another machine's. The same machine's next incarnation
// needs no wait: see ActOvertaken.
func displaced(n *projections.Node, l api.Lease) bool {
	return live(n) && (l.State == api.LeaseFree || l.Inc != n.Inc && l.Machine != n.Machine)
}

// displacements keeps up with who is displaced, and since when.
func (w *watch) displacements(v *projections.Cluster, s Sight) map[string]Displacement {
	for id, l := range s.Leases {
		switch n := v.Nodes[id]; {
		case !displaced(n, l.Lease):
			delete(w.displaced, id)
		case w.displaced[id].Inc != n.Inc:
			w.displaced[id] = Displacement{Inc: n.Inc, Since: s.Now}
		}
	}
	return w.displaced
}

// displaced waits a displaced incarnation out: its last renewal was stored before the lease was another's, so that it ends at
// its deadline at the latest.
func (j *judge) displaced(n *projections.Node, l services.SeenLease) {
	d := j.s.Displaced[n.ID]
	if d.Inc != n.Inc {
		return // judged without what the labeler remembers
	}
	l.Lease.Inc, l.Lease.Machine = n.Inc, n.Machine
	waited := j.s.Now - d.Since
	if n.Status == projections.StatusReady {
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActUnseated, Node: n.ID, Lease: l, Waited: waited})
	}
	if due := d.Since + takeoverWait(ttlOf(n).D()); j.s.Now > due {
		j.Verdicts = append(j.Verdicts, Verdict{Act: ActDisplaced, Node: n.ID, Lease: l, Waited: waited})
	} else {
		j.due(due)
	}
}

// unseated tells the log what pure makes of a displacement, if it is one. The lease as seen may be older than the fold, as when a
// node has just come back, so it is read again: the incarnation held its lease before it was in the fold that was judged, so a
// lease that is not its own now is not its own any more.
func (s *Service) unseated(ctx context.Context, d Verdict, pure func(v *projections.Cluster, d Verdict) *events.Draft) error {
	inc, machine := d.Lease.Lease.Inc, d.Lease.Lease.Machine
	l, found, err := s.Leases.Get(ctx, d.Node)
	switch {
	case err != nil:
		return err
	case !found, l.Lease.State != api.LeaseFree && (l.Lease.Inc == inc || l.Lease.Machine == machine):
		return nil
	}
	d.Lease.LeaseRecord = l
	d.Lease.Lease.Inc, d.Lease.Lease.Machine = inc, machine
	return s.append(ctx, func(v *projections.Cluster) *events.Draft { return pure(v, d) })
}

func displacedSuspected(v *projections.Cluster, d Verdict) *events.Draft {
	return suspected(v, d.Lease.LeaseRecord, d.Waited)
}

// displacedLost ends a displaced incarnation in the log. Whatever else its node's aggregate says meanwhile stands.
func displacedLost(v *projections.Cluster, d Verdict) *events.Draft {
	if n := v.Nodes[d.Node]; !live(n) || n.Inc != d.Lease.Lease.Inc {
		return nil
	}
	return lost(v, d.Lease.LeaseRecord, events.LostSilent, d.Waited)
}
