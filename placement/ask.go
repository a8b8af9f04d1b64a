package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Request is a move that somebody asks for.
type Request struct {
	App, From, To string
	Force         bool
	DeleteLocal   bool // the data on the node that is left go after the move
	Sync          bool // in the final phase commits are acknowledged only once they are stored
}

// One plans a single move that somebody asks for; it is refused with every rule that stands against it.
func One(v *projections.Cluster, loads map[string]api.Sight, now time.Time, r Request) (Decision, *api.Error) {
	a := v.Apps[r.App]
	if a == nil || !a.Exists() || a.Removed {
		return Decision{}, api.Refuse(api.CodeNotFound, "move %s: no such app", r.App)
	}
	if a.Spec.Mode == spec.Spread {
		return Decision{}, api.Refuse(api.CodeMode, "move %s: a spread app has an instance on every eligible node, and none moves: change its rules or a node's labels, cordon or drain the node", r.App)
	}
	if why := unheld(a.Spec); r.Sync && why != "" {
		return Decision{}, api.Refuse(api.CodeRefused, "move %s: --sync: %s", r.App, why)
	}
	p := newPlanner(v, loads, now)
	in, err := p.pick(a, r)
	if err != nil {
		return Decision{}, err
	}
	if r.To != "" && v.Nodes[r.To] == nil {
		return Decision{}, api.Refuse(api.CodeNotFound, "move %s: no node %s", r.App, r.To)
	}
	m := events.Move{App: a.Name, Instance: in.ID, SpecRev: a.SpecRev, From: in.Node, FromInc: in.Inc, Reason: events.ReasonManual,
		Trigger: events.TriggerManual, Class: events.ClassForced, Forced: r.Force, DeleteLocal: r.DeleteLocal, Sync: r.Sync}
	if at := v.Nodes[in.Node]; at != nil {
		if lost := outlives(a, in, at); lost != "" {
			return Decision{}, api.Refuse(api.CodeRefused, "move %s: %s", r.App, unconfirmed(in, lost))
		}
	}
	if r.To == in.Node {
		return Decision{Move: m}, nil // already there
	}
	if open := p.lock(a, in.ID); open != nil && !planted.IgnoreLock {
		return Decision{}, api.Refuse(api.CodeRefused, "move %s: migration %s (%s → %s, %s) is open", r.App, open.Migration, or(open.From, "nowhere"), or(open.To, "nowhere"), open.Reason)
	}
	if why, frozen := v.Frozen[events.FreezeSafety]; frozen {
		return Decision{}, api.Refuse(api.CodeRefused, "move %s: moves are frozen (safety: %s)", r.App, why)
	}
	for _, source := range sortedKeys(v.Frozen) {
		if !r.Force && !planted.FreezeIgnored { // said alone: nothing else matters before it is lifted
			return Decision{}, api.Refuse(api.CodeRefused, "move %s: moves are frozen (%s: %s); --force overrides", r.App, source, v.Frozen[source])
		}
	}
	from := v.Nodes[in.Node]
	unit := p.unit(a, from)
	if r.To == "" {
		best, of := p.target(a, in.Node)
		if len(unit) > 1 && (best == nil || p.leads(a, unit)) {
			moves, refused, _, busy := p.together(unit, from, "", m)
			if busy {
				return Decision{}, inTransit(r.App, unit)
			}
			if len(moves) == 0 {
				e := api.Refuse(api.CodeRefused, "move %s from %s: no other node can take it and what goes with it (%s)", r.App, in.Node, names(unit))
				e.Rejections = refused
				return Decision{}, e
			}
			return p.guardedTogether(moves, in.ID)
		}
		if best == nil {
			e := api.Refuse(api.CodeRefused, "move %s from %s: no other node can take it", r.App, in.Node)
			e.Rejections = of.rejections()
			return Decision{}, e
		}
		m.To, m.ToInc = best.node.ID, best.node.Inc
		return p.guarded(a, Decision{Move: m, Score: best.score, Refused: of.refusals()})
	}
	n := v.Nodes[r.To]
	refused := p.demands(a).leaving(in.Node).pushing().reject(v, p.u, n)
	if len(unit) > 1 && (p.leads(a, unit) || onlyWith(refused)) {
		moves, no, _, busy := p.together(unit, from, n.ID, m)
		switch {
		case busy:
			return Decision{}, inTransit(r.App, unit)
		case len(moves) > 0:
			return p.guardedTogether(moves, in.ID)
		}
		refused = no
	}
	if len(refused) > 0 {
		e := api.Refuse(api.CodeRefused, "move %s: %s refused: %s", r.App, n.ID, details(refused))
		e.Rejections = refused
		return Decision{}, e
	}
	m.To, m.ToInc = n.ID, n.Inc
	return p.guarded(a, Decision{Move: m, Score: score(p.u, loads, a, n)})
}

// unheld says why the commits of an app cannot be held back until they are stored, "" where they can.
func unheld(a spec.App) string {
	switch {
	case a.Mode != spec.Singleton:
		return fmt.Sprintf("it is for a singleton whose data move with it, and %s has mode %s: move it without", a.Name, a.Mode)
	case !a.Replicated():
		return fmt.Sprintf("it is for a singleton whose data move with it, and %s has neither sqlite nor a log, so that there is nothing to wait for: move it without", a.Name)
	case a.Process != nil && a.SQLite != "":
		return fmt.Sprintf("%s is a program of its own (process), which acknowledges its commits itself: nobody can hold them back until they are stored. "+
			"Move it without: only a source that is lost in the middle of the move can lose something then; or keep its data in a Go program with package cluster/sqlite or in an Application.Log", a.Name)
	}
	return ""
}

func inTransit(app string, unit []*projections.Instance) *api.Error {
	return api.Refuse(api.CodeRefused, "move %s: something that goes with it is on its way, or refuses to go (%s)", app, names(unit))
}

// guarded judges a move that somebody asks for by the guardrails: what holds it refuses it, and is passed over when it is forced.
// One that only has to wait for its turn is not refused but Queued.
func (p *planner) guarded(a *projections.App, d Decision) (Decision, *api.Error) {
	d.Keep, d.Why = p.keeps(a, d.Move), p.warmed(a, d.Move)
	gentle := d.Move
	gentle.Forced = false
	holds, turn := p.holds(a, gentle)
	switch {
	case len(holds) == 0:
	case d.Forced:
		d.Why = "forced past " + projections.HoldsLine(holds)
	case turn:
		d.Queued = holds
	default:
		e := api.Refuse(api.CodeRefused, "move %s: held by %s; --force overrides", a.Name, projections.HoldsLine(holds))
		for _, h := range holds {
			e.Rejections = append(e.Rejections, events.Rejection{Node: d.To, Code: h.Rule, Detail: projections.HoldsLine([]events.Hold{h})})
		}
		return Decision{}, e
	}
	return d, nil
}

// queued takes up the moves that somebody asked for and that wait for their turn, oldest first.
func (p *planner) queued(apps []*projections.App) {
	var waiting []*projections.Migration
	for _, a := range apps {
		for _, m := range a.Proposals {
			if m.Reason == events.ReasonManual && m.Trigger == events.TriggerManual && m.Class == events.ClassForced {
				waiting = append(waiting, m)
			}
		}
	}
	slices.SortFunc(waiting, func(x, y *projections.Migration) int { return cmp.Compare(x.Admitted.Seq, y.Admitted.Seq) })
	for _, m := range waiting {
		a := p.v.Apps[m.App]
		in, n := a.Instances[m.Instance], p.v.Nodes[m.To]
		if a.Removed || a.SpecRev != m.SpecRev || in == nil || in.Node != m.From || in.Inc != m.FromInc || n == nil || n.Inc != m.ToInc || p.busy(a, m.Instance) ||
			len(p.demands(a).leaving(m.From).reject(p.v, p.u, n)) > 0 {
			continue // it is dropped: nothing plans it any more
		}
		p.decide(a, m.Move, score(p.u, p.loads, a, n), nil)
	}
}

// pick finds the instance that a request means.
func (p *planner) pick(a *projections.App, r Request) (*projections.Instance, *api.Error) {
	ins := a.SortedInstances()
	if r.From == "" {
		switch len(ins) {
		case 0:
			return nil, api.Refuse(api.CodeRefused, "move %s: it runs nowhere", r.App)
		case 1:
			return ins[0], nil
		}
		return nil, api.Refuse(api.CodeInvalid, "move %s: it has %d instances, say which with --from (on %s)", r.App, len(ins), nodesOf(ins))
	}
	if p.v.Nodes[r.From] == nil {
		return nil, api.Refuse(api.CodeNotFound, "move %s: no node %s", r.App, r.From)
	}
	for _, in := range ins {
		if in.Node == r.From {
			return in, nil
		}
	}
	for _, in := range ins { // repeating a move that is done is no error
		if r.To != "" && in.Node == r.To {
			return in, nil
		}
	}
	return nil, api.Refuse(api.CodeRefused, "move %s: no instance on %s (on %s)", r.App, r.From, or(nodesOf(ins), "no node"))
}

func nodesOf(ins []*projections.Instance) string {
	var s []string
	for _, in := range ins {
		s = append(s, in.Node)
	}
	return strings.Join(s, ", ")
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
