package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// room is what became of making room for an instance that no node takes.
type room int

const (
	roomNone   room = iota // no single other instance stands in the way
	roomMade               // a node takes it now: what this plan had sent there goes elsewhere
	roomComing             // another instance leaves a node for it, and that takes it then
	roomHeld               // guardrails hold that move
)

// mostRoomTries bounds for how many instances a plan looks for another place so that they make room: in a cluster that is full there
// may be as many as there are.
const mostRoomTries = 200

// roomRules are those that a node fails because of what else is there.
var roomRules = []string{events.RuleCPU, events.RuleMemory, events.RulePort, events.RuleAwayFrom}

// makesRoom says whether a move is one that makes room for another instance.
func makesRoom(m events.Move) bool {
	return m.Class == events.ClassRepair && m.Reason == events.ReasonRebalance
}

// makeRoom has one other instance give way to one that has nowhere to go, where that is all that is missing: one that this plan was
// about to send there, else one that runs there and has another place, the cheapest to move first. m is the move that has no target:
// its instance, cause and where it is now. What goes together, and what failed lately, has nobody moved for it.
func (p *planner) makeRoom(a *projections.App, m events.Move) room {
	if len(a.Backoff) > 0 || p.bound(a) {
		p.cramped[a.Name] = true // who knows
		return roomNone
	}
	d := p.demands(a).leaving(m.From)
	var cramped []*projections.Node
	for _, n := range p.nodes {
		if n.Status == projections.StatusReady && n.ID != m.From && p.lacksRoom(d, n) {
			cramped = append(cramped, n)
		}
	}
	p.cramped[a.Name] = p.cramped[a.Name] || len(cramped) > 0
	for _, n := range cramped {
		if p.empties(d, n) {
			return roomComing
		}
	}
	for _, n := range cramped {
		if p.divert(d, n) {
			return roomMade
		}
	}
	return p.evict(d, m, cramped)
}

// bound says whether an app goes where others do, or others where it does.
func (p *planner) bound(a *projections.App) bool {
	return len(a.Spec.WithApp) > 0 || len(p.follow[a.Name]) > 0
}

// lacksRoom says whether nothing but what else is on the node stands in the way.
func (p *planner) lacksRoom(d demands, n *projections.Node) bool {
	no := d.reject(p.v, p.u, n)
	return len(no) > 0 && !slices.ContainsFunc(no, func(r events.Rejection) bool { return !slices.Contains(roomRules, r.Code) })
}

// empties says whether the node takes the instance once what leaves it to make room has left.
func (p *planner) empties(d demands, n *projections.Node) bool {
	var leaving []*projections.App
	for _, o := range p.open {
		for _, m := range o.Open {
			if m.From == n.ID && m.To != n.ID && makesRoom(m.Move) {
				leaving = append(leaving, o)
			}
		}
	}
	for _, x := range p.plan.Moves {
		if x.From == n.ID && x.To != n.ID && makesRoom(x.Move) {
			leaving = append(leaving, p.v.Apps[x.App])
		}
	}
	if len(leaving) == 0 {
		return false
	}
	on := p.u.at(n.ID)
	for _, o := range leaving {
		p.u.remove(o, on)
		defer p.u.add(o, on)
	}
	return len(d.reject(p.v, p.u, n)) == 0
}

// divert sends elsewhere what this plan had sent to the node, if the node takes the instance then.
func (p *planner) divert(d demands, n *projections.Node) bool {
	for i := range p.plan.Moves {
		x := &p.plan.Moves[i]
		o := p.v.Apps[x.App]
		if x.To != n.ID || x.From == n.ID || x.Trigger != events.TriggerAutomatic || x.Approved != "" || o == d.app || p.bound(o) || o.Spec.Replicated() {
			continue
		}
		to := p.displaced(d, n, o, x.From)
		if to == nil {
			continue
		}
		h := p.u.heading(o)
		h[n.ID]--
		h[to.node.ID]++
		p.u.remove(o, p.u.at(n.ID))
		p.u.add(o, p.u.at(to.node.ID))
		x.To, x.ToInc, x.Score = to.node.ID, to.node.Inc, to.score
		p.placed[o.Name] = to.node.ID
		return true
	}
	return false
}

// displaced returns where an instance of another app would go from a node, or was to go instead of there, if the node takes the
// one in question without it.
func (p *planner) displaced(d demands, n *projections.Node, o *projections.App, from string) *candidate {
	on := p.u.at(n.ID)
	p.u.remove(o, on)
	defer p.u.add(o, on)
	if p.rooms++; p.rooms > mostRoomTries || len(d.reject(p.v, p.u, n)) > 0 {
		return nil
	}
	p.u.add(d.app, on)
	defer p.u.remove(d.app, on)
	return p.field(o, n.ID).best(func(c candidate) bool { return !c.hot && c.node.ID != from })
}

// evict moves the cheapest instance that makes room by leaving, and has another place.
func (p *planner) evict(d demands, m events.Move, cramped []*projections.Node) room {
	type way struct {
		app *projections.App
		in  *projections.Instance
		n   *projections.Node
	}
	var ways []way
	for _, n := range cramped {
		for _, in := range p.standing(n) {
			if o := p.v.Apps[in.App]; o != d.app && p.mayGiveWay(o, in, n, m.Cause) {
				ways = append(ways, way{o, in, n})
			}
		}
	}
	slices.SortStableFunc(ways, func(x, y way) int {
		return cmp.Or(cmp.Compare(x.app.Spec.Migration.MoveCost, y.app.Spec.Migration.MoveCost), cmp.Compare(bit(x.app.Spec.Mode == spec.Singleton), bit(y.app.Spec.Mode == spec.Singleton)))
	})
	for _, w := range ways {
		to := p.displaced(d, w.n, w.app, w.n.ID)
		if to == nil {
			continue
		}
		move := events.Move{App: w.app.Name, Instance: w.in.ID, SpecRev: w.app.SpecRev, From: w.n.ID, FromInc: w.in.Inc, To: to.node.ID, ToInc: to.node.Inc,
			Reason: events.ReasonRebalance, Trigger: events.TriggerAutomatic, Class: events.ClassRepair, Cause: m.Cause, Correlation: m.Correlation,
			Why: fmt.Sprintf("makes room for %s on %s", m.Instance, w.n.ID)}
		if p.decide(w.app, move, to.score, nil) {
			return roomComing
		}
		return roomHeld
	}
	return roomNone
}

// mayGiveWay says whether an instance may be moved for another's sake: one that serves, has no other business and has not just moved.
func (p *planner) mayGiveWay(o *projections.App, in *projections.Instance, n *projections.Node, cause string) bool {
	rest := 2 * max(p.v.Policy.AutoRebalance.CooldownPeriod.D(), p.v.Policy.Migration.CooldownPeriod.D())
	return !o.Removed && o.Spec.Mode != spec.Spread && serves(in) && in.Inc == n.Inc && in.Generation == o.Generation && !p.busy(o, in.ID) && !p.bound(o) &&
		len(o.Instances) <= o.Desired() && len(o.Backoff) == 0 && !(rest > 0 && !in.MovedAt.IsZero() && in.MovedAt.Add(rest).After(p.now)) &&
		(o.Spec.Mode != spec.Replicas || p.perApp[o.Name] < max(o.Spec.Migration.MaxParallel, 1)) && len(p.demands(o).rules(n)) == 0 && !p.vetoed(o, in.ID, cause)
}

// standing lists the instances on a node, by id.
func (p *planner) standing(n *projections.Node) (out []*projections.Instance) {
	for _, name := range sortedKeys(p.u.at(n.ID).apps) {
		for _, in := range p.v.Apps[name].SortedInstances() {
			if in.Node == n.ID {
				out = append(out, in)
			}
		}
	}
	return out
}
