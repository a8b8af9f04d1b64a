package labeler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

func (s *Service) carryOut(ctx context.Context, d Verdict) error {
	switch d.Act {
	case ActClose:
		return s.close(ctx, d)
	case ActSuspect:
		return s.append(ctx, func(v *projections.Cluster) *events.Draft {
			return suspected(v, d.Lease.LeaseRecord, d.Waited)
		})
	case ActLose:
		return s.lose(ctx, d, events.LostSilent)
	case ActYielded:
		d.Waited = 0
		return s.lose(ctx, d, events.LostYielded)
	case ActFree:
		return s.free(ctx, d.Lease.LeaseRecord)
	case ActOvertaken:
		return s.overtaken(ctx, d.Node)
	case ActUnseated:
		return s.unseated(ctx, d, displacedSuspected)
	case ActDisplaced:
		return s.unseated(ctx, d, displacedLost)
	case ActFreeze:
		return s.append(ctx, func(v *projections.Cluster) *events.Draft {
			if _, frozen := v.Frozen[events.FreezeSafety]; frozen {
				return nil
			}
			return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.MovesFrozen{Source: events.FreezeSafety, Why: d.Why}}
		})
	case ActUnfreeze:
		return s.append(ctx, func(v *projections.Cluster) *events.Draft {
			if _, frozen := v.Frozen[events.FreezeSafety]; !frozen {
				return nil
			}
			return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.MovesUnfrozen{Source: events.FreezeSafety, Why: d.Why}}
		})
	}
	return fmt.Errorf("verdict %s on %s: unknown", d.Act, d.Node)
}

func (s *Service) append(ctx context.Context, pure func(v *projections.Cluster) *events.Draft) error {
	_, err := s.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) { return pure(v), nil })
	return err
}

// close writes closed over the very renewal that was judged, and tells the log. A node that renewed meanwhile wins.
func (s *Service) close(ctx context.Context, d Verdict) error {
	closed := d.Lease.Lease
	closed.State = api.LeaseClosed
	seq, err := s.put(ctx, closed, d.Lease.Seq)
	switch {
	case errors.Is(err, transport.ErrLeaseMoved):
		return nil
	case err != nil:
		return err
	}
	s.Log.Warn("lease closed", zap.String("node", d.Node), zap.String("inc", closed.Inc), zap.Duration("silent", d.Waited))
	if d.Lease.Seq > 0 { // a renewal that was never seen may be younger than any that was
		s.watch.closings[d.Node] = Closing{Seq: seq, Since: d.Lease.FirstSeen}
	}
	return s.append(ctx, func(v *projections.Cluster) *events.Draft {
		return suspected(v, transport.LeaseRecord{Lease: closed, Seq: seq}, d.Waited)
	})
}

// lose ends an incarnation in the log, and then lets the node be taken again.
func (s *Service) lose(ctx context.Context, d Verdict, reason string) error {
	l := d.Lease.LeaseRecord
	if err := s.append(ctx, func(v *projections.Cluster) *events.Draft { return lost(v, l, reason, d.Waited) }); err != nil {
		return err
	}
	return s.free(ctx, l)
}

// free writes free over closed or yielded. n stays, since the next incarnation counts on from it.
func (s *Service) free(ctx context.Context, l transport.LeaseRecord) error {
	_, err := s.put(ctx, api.Lease{State: api.LeaseFree, Node: l.Lease.Node, Inc: l.Lease.Inc, Machine: l.Lease.Machine, Boot: l.Lease.Boot,
		N: l.Lease.N, TTL: l.Lease.TTL, Host: l.Lease.Host}, l.Seq)
	if errors.Is(err, transport.ErrLeaseMoved) {
		return nil // another labeler was faster
	}
	delete(s.watch.closings, l.Lease.Node)
	return err
}

// overtaken ends an incarnation whose own machine holds the lease anew, after a reboot. The lease as seen may be older than the
// fold, so it is read again, after the head that the event is appended to: then the holder came after the fold's.
func (s *Service) overtaken(ctx context.Context, node string) error {
	var (
		head events.Head
		inc  string
		ours bool
	)
	s.Replica.View(func(v *projections.Cluster) {
		head = v.Head(events.Node(node))
		if n := v.Nodes[node]; live(n) {
			inc, ours = n.Inc, v.Quarantined[events.Node(node)] == ""
		}
	})
	if !ours {
		return nil
	}
	l, found, err := s.Leases.Get(ctx, node)
	if err != nil || !found || l.Lease.Inc == inc || l.Lease.State == api.LeaseFree {
		return err
	}
	var d *events.Draft
	s.Replica.View(func(v *projections.Cluster) {
		if n := v.Nodes[node]; v.Head(events.Node(node)) == head && n.Machine == l.Lease.Machine {
			d = rebooted(n, l.Seq)
		}
	})
	if d == nil {
		return nil
	}
	_, err = s.Append(ctx, *d, head)
	return err
}

func (s *Service) put(ctx context.Context, l api.Lease, expect uint64) (uint64, error) {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.Leases.Put(try, l, expect)
}

// suspected tells the log that a lease is closed, once per incarnation.
func suspected(v *projections.Cluster, l transport.LeaseRecord, silent time.Duration) *events.Draft {
	n := v.Nodes[l.Lease.Node]
	if n == nil || n.Inc != l.Lease.Inc || n.Status != projections.StatusReady {
		return nil
	}
	return &events.Draft{Aggregate: events.Node(n.ID), Node: n.ID, Data: &events.NodeSuspected{
		Node: n.ID, Inc: n.Inc, LeaseSeq: l.Seq, Silent: spec.Duration(silent.Round(time.Millisecond)),
	}}
}

// lost ends an incarnation in the log, once, also one that never joined: a declaration under way must not find an aggregate
// that nothing was appended to.
func lost(v *projections.Cluster, l transport.LeaseRecord, reason string, waited time.Duration) *events.Draft {
	n := v.Nodes[l.Lease.Node]
	if over(n, l.Lease.Inc) {
		return nil
	}
	d := &events.Draft{Aggregate: events.Node(l.Lease.Node), Node: l.Lease.Node, Data: &events.NodeLost{
		Node: l.Lease.Node, Inc: l.Lease.Inc, Reason: reason, LeaseSeq: l.Seq, Waited: spec.Duration(waited.Round(time.Millisecond)),
	}}
	if n != nil && n.Inc == l.Lease.Inc && n.Status == projections.StatusSuspected {
		d.Cause, d.Correlation = n.Suspected.ID, n.Suspected.Correlation
		if d.Correlation == "" {
			d.Correlation = n.Suspected.ID
		}
	}
	return d
}

// rebooted ends the node's incarnation because its own machine has begun another.
func rebooted(n *projections.Node, leaseSeq uint64) *events.Draft {
	return &events.Draft{Aggregate: events.Node(n.ID), Node: n.ID, Data: &events.NodeLost{
		Node: n.ID, Inc: n.Inc, Reason: events.LostRebooted, LeaseSeq: leaseSeq,
	}}
}

func ttlOf(n *projections.Node) spec.Duration {
	if n == nil || n.TTL <= 0 {
		return spec.Duration(ttlUnsaid)
	}
	return spec.Duration(n.TTL)
}
