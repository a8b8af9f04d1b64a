package placement

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Live plans again and again on one fold, and looks each time only at what may be otherwise than the last time: at apps that changed, that are on
// nodes that changed or tied to such apps, and at those of which it last had something to say. It plans what Make does, but that apps
// which only wait for their turn to be placed or moved are left out until there is a turn: of these, it finds then whether they still have a
// place.
type Live struct {
	Ledger
	sights map[string]api.Sight
	wants  map[string]demands
	index  *index
	bonds  map[string]bond            // by app
	follow map[string][]string        // app → apps whose with_app names it, ordered
	tied   map[string]map[string]bool // app → apps whose rules name it

	restless set // looked at in each pass
	nodeward set // looked at when a node changes
	busy     set // with open migrations or proposals
	placing  turns
	moving   turns
}

type set map[string]bool

func (s set) put(name string, in bool) {
	if in {
		s[name] = true
	} else {
		delete(s, name)
	}
}

// bond is what an app's rules say of others.
type bond struct {
	rev   uint64 // of its spec
	ties  []string
	leads []string // apps that it goes with
}

// firstLooks is for how many apps one pass finds out whether they have a place, besides those that it has room for: the fold stands still
// meanwhile. The next pass goes on.
const firstLooks = 100

// Hear takes over what a node says of itself.
func (l *Live) Hear(node string, s api.Sight) {
	if l.sights == nil {
		l.sights = map[string]api.Sight{}
	}
	l.sights[node] = s
	if l.index != nil {
		l.index.hear(node, s)
	}
}

// Plan plans on the fold as of now, and on what was heard of nodes.
func (l *Live) Plan(v *projections.Cluster, now time.Time) Plan {
	look := l.follows(v)
	if len(look)+len(l.restless)+len(l.busy)+len(l.placing.known)+len(l.moving.known) == 0 && !proposed(v) {
		return Plan{} // nothing that could be otherwise than the last time, when there was nothing to say
	}
	if _, frozen := v.Frozen[events.FreezeSafety]; frozen {
		maps.Copy(l.restless, look)
		return Plan{} // nothing moves while it is not known who is alive
	}
	if look == nil {
		look = set{}
	}
	maps.Copy(look, l.restless)
	maps.Copy(look, l.busy)
	l.company(look)
	var open []*projections.App
	for name := range l.busy {
		if a := v.Apps[name]; len(a.Open) > 0 {
			open = append(open, a)
		}
	}
	p := (&planner{v: v, u: l.u, nodes: l.nodes, wants: l.wants, follow: l.follow, apps: l.apps, index: l.index, tied: l.tied}).begin(l.sights, now, open)
	l.index.lent = 0
	l.u.trail = &[]stride{}
	more := l.missing(p, look)
	more = l.forced(p, look) || more
	plan := p.others(l.sorted(look))
	l.u.back()
	for _, d := range p.plan.Moves {
		delete(l.u.heads, d.App)
		delete(l.u.sent, d.App)
	}
	for name := range look {
		w, noted := p.watched[name]
		l.restless.put(name, noted && w == forAnything)
		l.nodeward.put(name, noted && w == forNodes || l.faces(v.Apps[name]))
	}
	if more {
		plan.Wake = now
	}
	return plan
}

// proposed says whether moves of a rebalance are still to be carried out.
func proposed(v *projections.Cluster) bool {
	for _, r := range v.Rebalances {
		if !r.Completed {
			return true
		}
	}
	return false
}

// Busy lists the apps with open migrations or proposals, ordered by name.
func (l *Live) Busy() (out []*projections.App) { return l.sorted(l.busy) }

func (l *Live) sorted(names set) []*projections.App {
	out := make([]*projections.App, 0, len(names))
	for name := range names {
		if a := l.v.Apps[name]; a != nil && a.Exists() {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(x, y *projections.App) int { return cmp.Compare(x.Name, y.Name) })
	return out
}

// faces says whether what the app says of a place depends on all nodes.
func (l *Live) faces(a *projections.App) bool {
	return a != nil && (a.Spec.Mode == spec.Spread || len(a.Spec.SpreadOver) > 0)
}

// stage is a part of a pass in which apps wait for their turn.
type stage struct {
	turns *turns
	what  watch
	full  func() bool
	waits func(a *projections.App) bool // there is something to do that may wait, and nothing else to say
	stays bool                          // an app that changes otherwise than by its spec stays in line
	plan  func(a *projections.App)
}

// run has apps planned in order, and of those in line as many as there is room for; these become apps to look at. late are apps that come after
// the line. It returns whether there are some that nobody has looked at.
func (s stage) run(p *planner, look set, apps []*projections.App, late func(a *projections.App) bool) (more bool) {
	t, looks := s.turns, firstLooks
	one := func(a *projections.App) {
		known, in := t.known[a.Name]
		if s.full() && s.waits(a) {
			switch {
			case in && known && s.stays:
				t.join(a.Name, true)
				return
			case looks == 0:
				t.join(a.Name, false)
				return
			}
			looks--
		}
		t.leave(a.Name)
		s.plan(a)
		if w, noted := p.watched[a.Name]; noted && w == s.what {
			if s.waits(a) {
				t.join(a.Name, true)
			} else {
				p.watch(a, forAnything)
			}
		}
	}
	line := t.take()
	var stay []string
	next := func(before *projections.App) {
		for len(line) > 0 && (before == nil || line[0] < before.Name) {
			if s.full() && (t.unknown == 0 || looks == 0) {
				return // it stays so for this pass
			}
			name := line[0]
			line = line[1:]
			switch known, in := t.known[name]; {
			case in && !look[name] && known && s.full():
				stay = append(stay, name)
			case in && !look[name]:
				delete(t.listed, name)
				look[name] = true
				one(p.v.Apps[name])
			default: // it left, or is looked at anyway
				delete(t.listed, name)
				if in {
					t.join(name, known)
				}
			}
		}
	}
	for _, a := range apps {
		if late(a) {
			next(nil)
		} else {
			next(a)
		}
		one(a)
	}
	next(nil)
	if t.line = line; len(stay) > 0 {
		t.line = append(stay, line...)
	}
	return more || t.unknown > 0
}

// missing places what is missing, in the order in which Make does.
func (l *Live) missing(p *planner, look set) (more bool) {
	s := stage{turns: &l.placing, what: forTurn, stays: true, plan: p.missing,
		full:  func() bool { return p.g.placesFull(p.v.Policy) },
		waits: func(a *projections.App) bool { return l.mayWait(a) && len(missingSlots(a)) > 0 }}
	return s.run(p, look, p.leadersFirst(l.sorted(look)), func(a *projections.App) bool {
		return slices.ContainsFunc(a.Spec.WithApp, func(name string) bool { return p.v.Apps[name] != nil })
	})
}

// forced moves what may not stay.
func (l *Live) forced(p *planner, look set) (more bool) {
	s := stage{turns: &l.moving, what: forMove, plan: p.forced,
		full: func() bool { return p.g.movesFull(p.v.Policy) },
		waits: func(a *projections.App) bool {
			return l.mayWait(a) && p.mayNotStay(a)
		}}
	return s.run(p, look, l.sorted(look), func(*projections.App) bool { return false })
}

// mayWait says whether nothing of what a plan says of the app matters while it waits: nobody is tied to it, and nothing has been told of it.
func (l *Live) mayWait(a *projections.App) bool {
	return !l.faces(a) && a.Pending == nil && len(a.Proposals) == 0 && len(l.bonds[a.Name].ties)+len(l.tied[a.Name]) == 0
}

// follows takes over what changed since the last time, and returns the apps to look at for that.
func (l *Live) follows(v *projections.Cluster) set {
	apps, nodes, anew := l.Ledger.follow(v)
	if anew {
		*l = Live{Ledger: l.Ledger, sights: l.sights, wants: map[string]demands{}, bonds: map[string]bond{}, follow: map[string][]string{}, tied: map[string]map[string]bool{},
			restless: set{}, nodeward: set{}, busy: set{}, placing: newTurns(), moving: newTurns()}
	}
	if anew || l.index.crumbled() {
		l.index = newIndex(v, l.u, l.nodes, l.sights)
	}
	if len(apps)+len(nodes) == 0 {
		return nil
	}
	look := set{}
	for _, name := range apps {
		look[name] = true
		l.app(v.Apps[name])
	}
	for _, id := range nodes {
		l.index.changed(v.Nodes[id])
		for name := range l.u.at(id).apps {
			look[name] = true
		}
	}
	if len(nodes) > 0 {
		for name := range l.nodeward {
			delete(l.wants, name) // which values of a label count depends on nodes
			look[name] = true
		}
	}
	l.company(look)
	for _, name := range slices.Collect(maps.Keys(look)) {
		for _, o := range l.bonds[name].ties {
			look.put(o, v.Apps[o] != nil || look[o])
		}
		maps.Copy(look, l.tied[name])
	}
	return look
}

// company adds to the apps to look at those that go with them, near or far: one may lose its place by what is decided of another in the same pass.
func (l *Live) company(look set) {
	if len(l.follow) == 0 {
		return
	}
	todo := slices.Collect(maps.Keys(look))
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, o := range slices.Concat(l.bonds[name].leads, l.follow[name]) {
			if l.v.Apps[o] != nil && !look[o] {
				look[o] = true
				todo = append(todo, o)
			}
		}
	}
}

// app takes over an app that changed.
func (l *Live) app(a *projections.App) {
	l.busy.put(a.Name, len(a.Open)+len(a.Proposals) > 0 || len(a.Standbys) > 0 || a.WantedStandbys() > 0)
	was, known := l.bonds[a.Name]
	if known && was.rev == a.Applied.Seq {
		return
	}
	delete(l.wants, a.Name)
	l.placing.leave(a.Name)
	for _, name := range was.ties {
		delete(l.tied[name], a.Name)
	}
	for _, name := range was.leads {
		if l.follow[name] = without(l.follow[name], a.Name); len(l.follow[name]) == 0 {
			delete(l.follow, name)
		}
	}
	b := bond{rev: a.Applied.Seq, ties: ties(a)}
	if a.Exists() && !a.Removed {
		b.leads = a.Spec.WithApp
	}
	for _, name := range b.ties {
		if l.tied[name] == nil {
			l.tied[name] = map[string]bool{}
		}
		l.tied[name][a.Name] = true
	}
	for _, name := range b.leads {
		l.follow[name] = slices.Compact(slices.Sorted(slices.Values(append(l.follow[name], a.Name))))
	}
	l.bonds[a.Name] = b
}
