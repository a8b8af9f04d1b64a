package placement

import (
	"maps"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// Moot lists the rules of its app by which the target of an open move may not have it, whatever else runs there: labels, nodes that are
// named, code. What a node was told of new work is none of these: a cordon ends nothing that is under way.
func Moot(v *projections.Cluster, m *projections.Migration) []events.Rejection {
	a, n := v.Apps[m.App], v.Nodes[m.To]
	if a == nil || n == nil {
		return nil
	}
	return demandsOf(a).rules(n)
}

// MootBy returns what made a move moot.
func MootBy(v *projections.Cluster, m *projections.Migration, broken []events.Rejection) projections.Cause {
	_, by := brokenBy(v.Apps[m.App], v.Nodes[m.To], broken)
	return by
}

// brokenBy says what made a node fail rules of an app: what the program there registers, its labels, or a change of the rules.
func brokenBy(a *projections.App, n *projections.Node, broken []events.Rejection) (reason string, by projections.Cause) {
	switch {
	case broken[0].Code == events.RuleCode:
		return events.ReasonSpecUpdate, n.Factual
	case n.Labelled.Seq > a.Ruled.Seq:
		return events.ReasonLabelChange, n.Labelled
	}
	return events.ReasonConstraintUpdate, a.Ruled
}

// WithoutMoot returns a cluster that is only supposed with the moves ended of which a change takes away the target: they would keep a plan from
// saying what the change does to their apps. was is the cluster without the change; both stay as they are. A move whose source may have
// stepped down goes forward; before that its instance is where it was.
func WithoutMoot(was, supposed *projections.Cluster) *projections.Cluster {
	w := *supposed
	w.Apps = maps.Clone(supposed.Apps)
	x := &alteration{v: &w}
	for name, a := range supposed.Apps {
		for _, m := range a.Main() {
			if len(Moot(supposed, m)) == 0 || len(Moot(was, m)) > 0 {
				continue
			}
			forward := (m.GapOpened || m.Committed) && !m.Undoing
			x.app(name, func(a *projections.App) {
				a.Open, a.Instances = maps.Clone(a.Open), maps.Clone(a.Instances)
				delete(a.Open, m.Migration)
				if m.Kind == events.KindPlace && !forward { // shown there from the start, and not there yet
					delete(a.Instances, m.Instance)
				}
			})
			if forward {
				x.carry([]Decision{{Move: m.Move}})
			}
		}
	}
	return x.v
}
