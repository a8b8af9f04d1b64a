package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// A standby asks of a node what the app's instance does, for it is to become that, and holds room there: what is taken from others may be
// needed any moment. Yet what has no other place than that room gets it, and the standby gives way. It never moves: where it may not stay another one is placed, and then it ends. Nothing of this touches whoever
// serves, so that no guardrail but a freeze and the number of placements under way holds it.

// What a point of each kind weighs in the choice of a standby's node.
const (
	scoreSameHost = 1_000_000 // the machine that the active or another standby has
	scoreSameArea = 10_000    // the value of a label of spread_over that one of them has
)

// standing is an app's standbys as a plan sees them.
type standing struct {
	stay  []*projections.Instance
	leave []leaving
}

// leaving is a standby that may not stay, and the move that ends it.
type leaving struct {
	standby *projections.Instance
	move    events.Move
}

// standbys decides on the standbys of one app, one thing at a time.
func (p *planner) standbys(a *projections.App) {
	if a.Spec.Mode != spec.Singleton || len(a.Open) > 0 || p.perApp[a.Name] > 0 {
		return // first whoever serves; a standby that is being placed is no more than a step away
	}
	if a.WantedStandbys() == 0 && len(a.Standbys) == 0 {
		return
	}
	st := p.standbysOf(a)
	if len(st.stay) < a.WantedStandbys() && led(a) {
		if of := p.standbyField(a); of.best(nil) != nil {
			best := of.best(nil)
			m := events.Move{App: a.Name, Instance: a.FreeStandby(), SpecRev: a.SpecRev, To: best.node.ID, ToInc: best.node.Inc, Role: events.RoleStandby,
				Trigger: events.TriggerAutomatic, Class: events.ClassRepair, Reason: events.ReasonSpecUpdate, Cause: a.Applied.ID, Correlation: a.Applied.Correlation,
				Why: fmt.Sprintf("standby %d of %d", len(st.stay)+1, a.WantedStandbys())}
			if end, was := a.Ended[m.Instance]; was {
				m.Reason, m.Cause, m.Correlation = end.Reason, end.By.ID, end.By.Correlation
			}
			for _, l := range st.leave { // it stands in for that
				m.Reason, m.Trigger, m.Order, m.Cause, m.Correlation = l.move.Reason, l.move.Trigger, l.move.Order, l.move.Cause, l.move.Correlation
				m.Why += ", instead of " + l.standby.ID + " on " + l.standby.Node
				break
			}
			p.decide(a, m, best.score, of)
			return
		} else if later := of.later(); !later.IsZero() {
			p.plan.Wake = earliest(p.plan.Wake, later)
		}
	}
	if len(st.leave) > 0 {
		p.decide(a, st.leave[0].move, 0, nil)
		return
	}
	if extra := p.worst(a, st.stay); len(st.stay) > a.WantedStandbys() && extra != nil {
		m := p.ending(a, extra)
		m.Reason, m.Why = events.ReasonScale, fmt.Sprintf("%d standbys, %d wanted", len(st.stay), a.WantedStandbys())
		if a.Removed {
			m.Reason, m.Why, m.DeleteLocal = events.ReasonSpecUpdate, "", a.DeleteLocal
		}
		p.decide(a, m, 0, nil)
	}
}

// led says whether there is somebody to follow.
func led(a *projections.App) bool {
	return len(a.Instances) == 1 && a.Leader != nil && a.Leader.Activated && !a.Leader.Ended
}

// standbysOf tells the standbys that may stay from those that may not.
func (p *planner) standbysOf(a *projections.App) (st standing) {
	for _, s := range a.SortedStandbys() {
		n := p.v.Nodes[s.Node]
		if n == nil || n.Status != projections.StatusReady || n.Inc != s.Inc {
			st.stay = append(st.stay, s) // what becomes of a silent node is in the log soon
			continue
		}
		m := p.ending(a, s)
		broken := p.demands(a).rules(n)
		switch {
		case a.Removed:
			st.stay = append(st.stay, s)
			continue
		case len(broken) > 0:
			m.Why = details(broken)
			m.Reason, m.Cause, m.Correlation = events.ReasonConstraintUpdate, a.Ruled.ID, a.Ruled.Correlation
			if n.Labelled.Seq > a.Ruled.Seq {
				m.Reason, m.Cause, m.Correlation = events.ReasonLabelChange, n.Labelled.ID, n.Labelled.Correlation
			}
		case p.ordered(n, &m):
		case p.overfull(a, n) != "":
			m.Reason, m.Why = events.ReasonRebalance, p.overfull(a, n)
			p.gives(a, n.ID)
		case len(neighbours(p.v, a, p.u.at(n.ID))) > 0:
			m.Why = details(neighbours(p.v, a, p.u.at(n.ID)))
			m.Reason, m.Cause, m.Correlation = events.ReasonConstraintUpdate, a.Ruled.ID, a.Ruled.Correlation
		case len(p.demands(a).alone(p.v, p.u, n)) > 0:
			by := p.ledBy(a)
			m.Reason, m.Cause, m.Correlation, m.Why = events.ReasonConstraintUpdate, by.ID, by.Correlation, details(p.demands(a).alone(p.v, p.u, n))
		default:
			st.stay = append(st.stay, s)
			continue
		}
		st.leave = append(st.leave, leaving{s, m})
	}
	return st
}

// overfull says what a node has too little of for all that is there, "" for nothing that a standby of the app could give back.
func (p *planner) overfull(a *projections.App, n *projections.Node) string {
	need, freed, on := a.Spec.Resources, p.freed[n.ID], p.u.at(n.ID)
	switch cpu, memory := on.cpu-freed.CPU, on.mem-freed.Memory; {
	case need.CPU > 0 && cpu > n.Facts.CPU:
		return fmt.Sprintf("gives way: with it %s of %s cpu are taken on %s", cpu, n.Facts.CPU, n.ID)
	case need.Memory > 0 && memory > n.Facts.Memory:
		return fmt.Sprintf("gives way: with it %s of %s memory are taken on %s", memory, n.Facts.Memory, n.ID)
	}
	return ""
}

// gives notes that a standby of the app is about to give its room on a node back.
func (p *planner) gives(a *projections.App, node string) {
	f, r := p.freed[node], a.Spec.Resources
	p.freed[node] = spec.Resources{CPU: f.CPU + r.CPU, Memory: f.Memory + r.Memory}
}

// ending is the move that ends a standby, for no reason yet.
func (p *planner) ending(a *projections.App, s *projections.Instance) events.Move {
	return events.Move{App: a.Name, Instance: s.ID, SpecRev: a.SpecRev, From: s.Node, FromInc: s.Inc, Role: events.RoleStandby, Trigger: events.TriggerAutomatic,
		Class: events.ClassForced, Cause: a.Applied.ID, Correlation: a.Applied.Correlation}
}

// standbyField judges every node as a place for one standby more.
func (p *planner) standbyField(a *projections.App) *survey {
	d := p.demands(a)
	d.standby = true
	s := &survey{p: p, demands: d}
	for _, n := range p.nodes {
		if n.Status == projections.StatusLeft {
			continue
		}
		x := p.judge(d, n)
		x.complete = false
		x.score += p.apart(a, n, nil)
		s.nodes = append(s.nodes, x)
	}
	return s
}

// apart takes points from a node that shares what may fail with the active or with a standby other than one.
func (p *planner) apart(a *projections.App, n *projections.Node, but *projections.Instance) (points int64) {
	near := func(in *projections.Instance) {
		o := p.v.Nodes[in.Node]
		if o == nil || in == but || o == n {
			return
		}
		if o.Facts.Address != "" && o.Facts.Address == n.Facts.Address {
			points -= scoreSameHost
		}
		for _, so := range a.Spec.SpreadOver {
			if v, has := o.Labels[so.Label]; has && v == n.Labels[so.Label] {
				points -= scoreSameArea
			}
		}
	}
	for _, in := range a.SortedInstances() {
		near(in)
	}
	for _, s := range a.SortedStandbys() {
		near(s)
	}
	return points - scoreInstance*int64(len(p.u.at(n.ID).stand))
}

// worst returns the standby to do without: one on a node that takes nothing new, one whose copy is behind, the one that is placed worst.
func (p *planner) worst(a *projections.App, of []*projections.Instance) (worst *projections.Instance) {
	type rank struct {
		unwell, behind int
		points         int64
	}
	rankOf := func(s *projections.Instance) rank {
		n := p.v.Nodes[s.Node]
		if n == nil {
			return rank{unwell: 1}
		}
		return rank{bit(n.Cordoned || n.Status != projections.StatusReady), bit(!p.copyOn(a, n).fresh), score(p.u, p.loads, a, n) + p.apart(a, n, s)}
	}
	var least rank
	for _, s := range of {
		r := rankOf(s)
		if n := p.v.Nodes[s.Node]; n == nil || n.Status != projections.StatusReady || n.Inc != s.Inc {
			continue // nobody is there to end it
		}
		if c := cmp.Or(cmp.Compare(r.unwell, least.unwell), cmp.Compare(r.behind, least.behind), cmp.Compare(least.points, r.points)); worst == nil || c >= 0 {
			worst, least = s, r
		}
	}
	return worst
}

// copied is how far the copy is that a standby's node has.
type copied struct {
	is    bool            // a standby is there that nothing moves
	fresh bool            // it has what it knows of
	at    events.Position // zero where nothing was heard
}

// copyOn says what an app's standby on a node has.
func (p *planner) copyOn(a *projections.App, n *projections.Node) copied {
	s := settled(a, n.ID)
	if s == nil || s.Inc != n.Inc {
		return copied{}
	}
	d, heard := p.loads[n.ID].Data[a.Name]
	at, err := events.ParsePosition(d.Position)
	if err != nil {
		return copied{is: true}
	}
	return copied{is: true, fresh: heard && d.Error == "" && d.LagMS == 0 && at.Epoch == newestWritten(a) || !a.Spec.Replicated(), at: at}
}

// newestWritten is the newest epoch that anything may have been written under.
func newestWritten(a *projections.App) uint64 {
	for _, t := range a.Terms {
		if t.Activated {
			return t.Epoch
		}
	}
	return 0
}

// settled returns the app's standby on a node, unless a migration of a standby has an end there.
func settled(a *projections.App, node string) *projections.Instance {
	if len(a.Standbys) == 0 {
		return nil
	}
	for _, m := range a.Open {
		if m.Standby() && (m.From == node || m.To == node) {
			return nil
		}
	}
	return a.StandbyAt(node)
}

// betterCopy orders nodes by the copies that standbys have there. While somebody leads, one that has everything it knows of is as good as
// another; with nobody there to ask, the newest is what the app goes on with.
func betterCopy(x, y copied, leaderless bool) int {
	if c := cmp.Compare(bit(y.is), bit(x.is)); c != 0 {
		return c
	}
	if leaderless {
		if c := cmp.Or(cmp.Compare(y.at.Epoch, x.at.Epoch), cmp.Compare(y.at.Seq, x.at.Seq)); c != 0 {
			return c
		}
	}
	return cmp.Compare(bit(y.fresh), bit(x.fresh))
}

// keeps says whether the source of a move stays as a standby: the app has such, and the node may have one.
func (p *planner) keeps(a *projections.App, m events.Move) bool {
	n, in := p.v.Nodes[m.From], a.Instances[m.Instance]
	if a.WantedStandbys() == 0 || m.Standby() || m.Kind() != events.KindMove || m.DeleteLocal || n == nil || in == nil || in.State == "failed" {
		return false
	}
	return n.Status == projections.StatusReady && n.Inc == m.FromInc && !n.Cordoned && len(orders(p.v, n)) == 0 && len(p.demands(a).rules(n)) == 0
}

// warmed adds to what is said of a move that its target has a standby.
func (p *planner) warmed(a *projections.App, m events.Move) string {
	n := p.v.Nodes[m.To]
	if m.Standby() || n == nil || m.From == m.To || !p.copyOn(a, n).is {
		return m.Why
	}
	what := "a standby is on " + n.ID
	if c := p.copyOn(a, n); c.at != (events.Position{}) {
		what += fmt.Sprintf(", at %s", c.at)
	}
	if m.Why == "" {
		return what
	}
	return m.Why + "; " + what
}

// Standbys says how many standbys an app is to have and why it has fewer: what every node without one has against it.
func Standbys(v *projections.Cluster, a *projections.App, now time.Time) (why string, refused []events.Rejection) {
	p := newPlanner(v, nil, now)
	st := p.standbysOf(a)
	missing := a.WantedStandbys() - len(st.stay)
	switch {
	case missing <= 0:
		return "", nil
	case !led(a):
		return fmt.Sprintf("%d of %d standbys: there is nobody to follow yet", len(st.stay), a.WantedStandbys()), nil
	}
	of := p.standbyField(a)
	best, later := of.best(nil), of.later()
	refused = of.rejections()
	switch {
	case best != nil:
		return fmt.Sprintf("%d of %d standbys: one is about to be placed on %s", len(st.stay), a.WantedStandbys(), best.node.ID), nil
	case !later.IsZero():
		return fmt.Sprintf("%d of %d standbys: the next is tried at %s", len(st.stay), a.WantedStandbys(), later.UTC().Format(time.RFC3339)), refused
	}
	others := slices.DeleteFunc(slices.Clone(refused), func(r events.Rejection) bool { return r.Code == events.RuleOccupied })
	if len(others) == 0 {
		return fmt.Sprintf("%d of %d standbys: each of %d nodes has one, or the instance", len(st.stay), a.WantedStandbys(), countNodes(v)), refused
	}
	return fmt.Sprintf("%d of %d standbys: no other node can take one: %s", len(st.stay), a.WantedStandbys(), summary(others)), refused
}
