package sim

import (
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/projections"
)

// believed holds what every process with services believes against the log. One that has not read all of it is passed over.
func (c *Cluster) believed(last uint64) (out []invariants.Violation) {
	for _, p := range c.replicas {
		p.base.Replica.View(func(v *projections.Cluster) {
			if v.Seq == last {
				out = append(out, c.watch.checker.Believed(beliefs(v))...)
			}
		})
	}
	return out
}

// beliefs are what the fold that services decide on holds true, as far as the laws have an opinion of their own.
func beliefs(v *projections.Cluster) (out []invariants.Belief) {
	for _, n := range v.Nodes {
		out = append(out, invariants.BeliefOfNode(n.ID, n.Status, n.Inc, n.Cordoned, n.Draining(), n.Labels))
	}
	for _, a := range v.Apps {
		if !a.Exists() {
			continue
		}
		out = append(out, invariants.BeliefOfApp(a.Name, a.SpecRev, a.Generation, a.Pending != nil))
		for _, in := range a.Instances {
			out = append(out, invariants.BeliefOfInstance(in.ID, in.Node, in.Inc))
		}
		for _, s := range a.Standbys {
			out = append(out, invariants.BeliefOfStandby(a.Name, s.Node, s.Inc))
		}
		if l := a.Leader; l != nil {
			out = append(out, invariants.BeliefOfLeader(a.Name, l.Epoch, l.Node, l.Inc, l.Activated, l.Ended))
		}
		for id := range a.Open {
			out = append(out, invariants.BeliefOfMove(id))
		}
	}
	for source := range v.Frozen {
		out = append(out, invariants.BeliefOfFreeze(source))
	}
	return out
}
