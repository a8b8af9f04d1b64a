package placement

import (
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// proposals carries out what open rebalances ask for, where it still fits.
func (p *planner) proposals() {
	for _, order := range sortedKeys(p.v.Rebalances) {
		r := p.v.Rebalances[order]
		if r.Completed {
			continue
		}
		for _, mv := range r.Moves {
			a := p.v.Apps[mv.App]
			if r.Admitted[mv.Instance] != "" || Stale(p.v, mv) || p.busy(a, mv.Instance) || p.vetoed(a, mv.Instance, r.Started.ID) {
				continue
			}
			in, to := a.Instances[mv.Instance], p.v.Nodes[mv.To]
			if len(p.demands(a).leaving(mv.From).reject(p.v, p.u, to)) > 0 {
				continue // another move of the same plan has to end first
			}
			reason := events.ReasonRebalance
			if r.Reason == events.ReasonNodeJoin {
				reason = events.ReasonNodeJoin
			}
			p.decide(a, events.Move{App: a.Name, Instance: in.ID, SpecRev: a.SpecRev, From: in.Node, FromInc: in.Inc, To: to.ID, ToInc: to.Inc,
				Reason: reason, Trigger: r.Trigger, Class: events.ClassBalance, Order: order, Cause: r.Started.ID, Correlation: r.Started.Correlation, Why: mv.Why},
				score(p.u, p.loads, a, to), nil)
		}
	}
}

// Stale says whether a proposal can no longer be carried out: the instance is elsewhere, or its target would refuse it even when
// nothing else were on the way.
func Stale(v *projections.Cluster, mv events.Proposal) bool {
	a := v.Apps[mv.App]
	if a == nil || a.Removed || a.Instances[mv.Instance] == nil || a.Instances[mv.Instance].Node != mv.From {
		return true
	}
	n := v.Nodes[mv.To]
	if n == nil || n.Status != projections.StatusReady || n.Cordoned || len(orders(v, n)) > 0 || len(demandsOf(a).rules(n)) > 0 {
		return true
	}
	for _, in := range a.Instances {
		if in.Node == mv.To {
			return true
		}
	}
	return false
}

// Blocked says whether the target of a proposal refuses it as things stand: it waits for another move to make room.
func Blocked(v *projections.Cluster, mv events.Proposal) bool {
	a, n := v.Apps[mv.App], v.Nodes[mv.To]
	return a == nil || n == nil || len(demandsOf(a).leaving(mv.From).reject(v, hostUsage(v, "", n), n)) > 0
}
