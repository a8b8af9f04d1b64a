package engine

import (
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// Live keeps a compiled cluster between plans and looks only at what changed. Its plans are those of Compute for the same state, without
// the metrics, which need everything to be looked at. It owns the problem that it is given, and is not safe for concurrent use.
type Live struct {
	p       *model.Problem
	b       *board
	scope   []bool
	dirty   []int32 // nodes that changed since the last plan
	waiting []int32 // units without a place
	flying  []int32 // units in flight
	totals  []int64
	last    *snapshot.Plan
	idle    snapshot.Plan
	stale   bool // only Compute can tell
}

// NewLive returns a Live of a problem in which nothing is pending or in the wrong place yet, or Plan finds it.
func NewLive(p *model.Problem) *Live {
	l := &Live{p: p, b: newBoard(p), scope: make([]bool, len(p.Apps)), idle: snapshot.Plan{OrderFree: true, Bound: snapshot.Bound{Exact: true}}}
	newShelf(l.b)
	for u := range p.Units {
		l.b.locked[u] = l.b.locked[u] || p.Apps[p.Units[u].App].Fixed
		if l.b.at[u] == none && !p.Units[u].Moving {
			l.waiting = append(l.waiting, int32(u))
		}
	}
	pl := &planner{p: p}
	l.flying = pl.moving()
	for n := range p.Nodes {
		l.dirty = append(l.dirty, int32(n))
	}
	return l
}

// Relabel gives a node other labels.
func (l *Live) Relabel(node string, labels map[string]string) {
	n, ok := l.p.NodeIndex(node)
	if !ok {
		return
	}
	l.b.shelf.take(n)
	if !l.p.Relabel(n, labels) {
		l.stale = true
	}
	l.b.shelf.find(n)
	l.b.shelf.put(n)
	l.touch(n)
}

// SetState says whether a node is there and takes instances, as in snapshot.Node.
func (l *Live) SetState(node, status, scheduling string) {
	n, ok := l.p.NodeIndex(node)
	if !ok {
		return
	}
	l.b.shelf.take(n)
	l.p.SetState(n, status, scheduling)
	l.b.shelf.put(n)
	l.touch(n)
}

// Join adds an empty node.
func (l *Live) Join(node string, labels map[string]string) {
	n, ok := l.p.Join(node, labels)
	if !ok {
		l.stale = true
		return
	}
	l.b.units, l.b.ghosts, l.b.weight = append(l.b.units, nil), append(l.b.ghosts, nil), append(l.b.weight, 0)
	for range l.b.dims {
		l.b.used, l.b.ghost = append(l.b.used, 0), append(l.b.ghost, 0)
	}
	l.b.shelf.atom = append(l.b.shelf.atom, 0)
	l.b.shelf.find(n)
	l.b.shelf.put(n)
	l.touch(n)
}

func (l *Live) touch(n int32) {
	if !slices.Contains(l.dirty, n) {
		l.dirty = append(l.dirty, n)
	}
}

// Ended says that the moves of a plan have ended.
func (l *Live) Ended(p *snapshot.Plan, of map[string]int32) {
	for i := range p.Moves {
		m := &p.Moves[i]
		u, ok := of[m.Instance]
		if !ok {
			continue
		}
		to, _ := l.p.NodeIndex(m.To)
		if m.To == "" {
			to = none
		}
		l.b.carry(u, to)
		l.b.home[u], l.p.Units[u].Node = to, to
		if to != none {
			l.b.exorcise(u, to)
			l.p.Units[u].New = false
			l.waiting = slices.DeleteFunc(l.waiting, func(w int32) bool { return w == u })
		}
	}
	l.last = nil
}

// Units numbers the instances for Ended.
func (l *Live) Units() map[string]int32 {
	out := make(map[string]int32, len(l.p.Units))
	for u := range l.p.Units {
		out[l.p.Units[u].ID] = int32(u)
	}
	return out
}

// Plan returns what has to change now. It is false when only Compute can tell: the caller compiles and computes anew. The plan is valid
// until the next one.
func (l *Live) Plan() (*snapshot.Plan, bool) {
	if l.stale {
		return nil, false
	}
	if len(l.dirty) == 0 && len(l.waiting) == 0 {
		return &l.idle, true
	}
	if len(l.dirty) == 0 && l.last != nil {
		return l.last, true
	}
	pl := &planner{p: l.p, b: l.b, stops: map[int32]bool{}, note: map[int32]note{}, scope: l.scope, flying: l.flying, totals: l.totals}
	free := slices.Clone(l.waiting)
	for _, n := range l.dirty {
		for _, u := range slices.Clone(l.b.units[n]) {
			was := l.b.at[u]
			if pl.mark(u); l.b.at[u] != was && !pl.stops[u] {
				free = append(free, u)
			}
		}
	}
	slices.Sort(free)
	pl.place(slices.Clone(free))
	pl.repairAt(slices.Clone(l.dirty))
	touched := slices.Clone(free)
	for u := range pl.note {
		touched = append(touched, u)
	}
	slices.Sort(touched)
	touched = slices.Compact(touched)
	var steps []step
	for _, u := range touched {
		unit := &l.p.Units[u]
		to, why := l.b.at[u], pl.note[u]
		if to == unit.Node || to == none && !pl.stops[u] && !pl.gracefullyStopped(u) {
			continue
		}
		if why.class == "" {
			why = pl.whyNew(u)
		}
		steps = append(steps, step{u: u, from: unit.Node, to: to, note: why})
	}
	steps, blocked := pl.arrange(steps)
	if auto := l.p.Policy.AutoRebalance; auto.Enabled && !pl.surelyEven(auto.Threshold) {
		l.revert(touched)
		return nil, false
	}
	if pl.repaired || len(blocked) > 0 { // a search goes on until it finds nothing more: that is Compute's to do
		l.revert(touched)
		return nil, false
	}
	pl.waves(steps)
	out := pl.write(steps)
	out.Pending = pl.explain()
	forced := 0
	for i := range steps {
		if c := steps[i].class; c == events.ClassForced || c == events.ClassRecovery {
			forced++
		}
	}
	out.Bound = snapshot.Bound{MinMoves: forced, Exact: forced == len(steps)}
	l.revert(touched)
	l.dirty, l.last = l.dirty[:0], out
	for i := range steps { // until they have ended, their nodes are looked at again
		if n := steps[i].from; n != none {
			l.touch(n)
		}
	}
	for _, u := range pl.pending {
		if n := l.b.home[u]; n != none {
			l.touch(n)
		}
	}
	return out, true
}

// surelyEven says whether the imbalance is within a threshold without looking for the evenest assignment: its levels lie between the
// least and the greatest there are, so no node is further from it than those are from each other.
func (pl *planner) surelyEven(threshold float64) bool {
	useful := pl.useful()
	var load, weight, least, most float64
	nodes := 0
	for i := range pl.b.shelf.atoms {
		at := &pl.b.shelf.atoms[i]
		for level, list := range at.levels {
			if len(list) == 0 || !useful[at.group] {
				continue
			}
			rho := float64(level) / float64(at.weight)
			if nodes == 0 || rho < least {
				least = rho
			}
			most = max(most, rho)
			nodes += len(list)
			load += float64(level * len(list))
			weight += float64(at.weight) * float64(len(list))
		}
	}
	return nodes < 2 || load == 0 || most-least <= threshold*load/weight
}

// revert puts the units back where they are.
func (l *Live) revert(units []int32) {
	for _, u := range units {
		if l.b.at[u] != none && l.b.at[u] != l.b.home[u] {
			l.b.lift(u)
		}
	}
	for _, u := range units {
		if n := l.b.home[u]; n != none && l.b.at[u] == none {
			l.b.put(u, n)
		}
	}
}

// Choose returns the node that a further instance of an app would go to, and by how many nodes each rule stands in its way.
func (l *Live) Choose(app string) (node string, refused map[string]int) {
	a, ok := l.p.AppIndex(app)
	if !ok {
		return "", nil
	}
	return l.b.shelf.choose(a)
}
