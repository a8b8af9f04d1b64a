package placement

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// A spread app has one instance on every eligible node, named after the node. Nothing of it ever moves: an instance begins where a
// node becomes eligible and stops where one no longer is, without a replacement.

// everywhere places an instance on each node that can take one and has none. Only an app that runs nowhere is Pending.
func (p *planner) everywhere(a *projections.App) {
	if a.Removed || a.SpecRev == 0 {
		return
	}
	field := p.survey(a, "")
	var (
		refused []events.Rejection
		later   time.Time
		some    = len(a.Instances) > 0 || len(a.Open) > 0
	)
	for i := range field.nodes {
		x := field.nodes[i] // judged anew where an instance that was just placed changes it
		later = earliest(later, x.until)
		id := spec.InstanceOn(a.Name, x.node.ID)
		if len(x.refused) > 0 || p.busy(a, id) {
			refused = append(refused, x.refused...)
			continue
		}
		m := events.Move{App: a.Name, Instance: id, SpecRev: a.SpecRev, To: x.node.ID, ToInc: x.node.Inc, Trigger: events.TriggerAutomatic}
		whyThere(a, x.node, &m)
		some = true // held or not, there is a place
		if p.decide(a, m, x.score, nil) {
			field.taken(x.node.ID)
		}
	}
	if !later.IsZero() || slices.ContainsFunc(refused, func(r events.Rejection) bool { return r.Code == events.RuleName || slices.Contains(roomRules, r.Code) }) {
		p.watch(a, forAnything)
	}
	p.plan.Wake = earliest(p.plan.Wake, later)
	if !some {
		p.pend(a, events.Move{Instance: a.Name}, 1, refused, time.Time{}, false)
	}
}

// whyThere fills in reason, class and cause of an instance that begins on a node: what made the node eligible last.
func whyThere(a *projections.App, n *projections.Node, m *events.Move) {
	m.Class = events.ClassForced
	if end, ended := a.Ended[m.Instance]; ended {
		m.Reason, m.Class, m.Cause, m.Correlation, m.Why = end.Reason, events.ClassRecovery, end.By.ID, end.By.Correlation, "was there before"
		return
	}
	newest := a.Ruled
	m.Reason = events.ReasonSpecUpdate
	if a.Placed > 0 {
		m.Reason = events.ReasonConstraintUpdate
	}
	for _, by := range []struct {
		cause  projections.Cause
		reason string
		why    string
	}{
		{n.Joined, events.ReasonNodeJoin, n.ID + " joined"},
		{n.Factual, events.ReasonSpecUpdate, "the program on " + n.ID + " registers it"},
		{n.Labelled, events.ReasonLabelChange, "labels of " + n.ID + " changed"},
		{n.Scheduled, events.ReasonScale, n.ID + " takes instances again"},
	} {
		if by.cause.Seq > newest.Seq {
			newest, m.Reason, m.Why = by.cause, by.reason, by.why
		}
	}
	m.Cause, m.Correlation = newest.ID, newest.Correlation
}

// leave stops an instance of a spread app that may not stay where it is, or restarts one that its node gave up.
func (p *planner) leave(a *projections.App, in *projections.Instance, n *projections.Node, m events.Move, broken []events.Rejection) {
	if in.State != "failed" || len(broken) > 0 || len(orders(p.v, n)) > 0 {
		if len(broken) > 0 && a.Spec.OnInvalid == spec.OnInvalidKeep && len(orders(p.v, n)) == 0 {
			if best, of := p.target(a, in.Node); best == nil && len(a.Instances) == 1 {
				p.pend(a, m, 1, append(broken, of.rejections()...), of.later(), true)
				if in.State != "failed" {
					return // it is the last one, and nowhere else is there a place
				}
			}
		}
		p.decide(a, m, 0, nil)
		return
	}
	p.watch(a, forAnything)
	if until, _, rests := resting(a, n.ID, p.now); rests {
		p.plan.Wake = earliest(p.plan.Wake, until)
		return
	}
	if len(p.rejectInPlace(a, n)) == 0 {
		m.To, m.ToInc = n.ID, n.Inc
		p.decide(a, m, score(p.u, p.loads, a, n), nil)
	}
}

// namesake returns the app that has an instance of the name that one of a spread app would have on the node; the app that is named
// later in the alphabet yields. Names have dashes, so that a-b on c and a on b-c would be one name.
func namesake(v *projections.Cluster, a *projections.App, n *projections.Node) string {
	id := spec.InstanceOn(a.Name, n.ID)
	for i := range len(id) {
		if id[i] != '-' || id[:i] == a.Name {
			continue
		}
		o, rest := v.Apps[id[:i]], id[i+1:]
		if o == nil || !o.Exists() {
			continue
		}
		if o.Spec.Mode == spec.Spread && o.Name < a.Name && v.Nodes[rest] != nil || o.Spec.Mode != spec.Spread && spec.IsSlot(rest) {
			return o.Name
		}
	}
	return ""
}

func namesakes(v *projections.Cluster, a *projections.App, n *projections.Node) []events.Rejection {
	if a.Spec.Mode != spec.Spread {
		return nil
	}
	if other := namesake(v, a, n); other != "" {
		return []events.Rejection{{Node: n.ID, Code: events.RuleName, Detail: fmt.Sprintf("its instance there would have the name of one of %s: %s", other, spec.InstanceOn(a.Name, n.ID))}}
	}
	return nil
}
