package engine

import (
	"github.com/go-cluster/go-cluster/events"
)

// dropNeedless takes back every voluntary move that nothing gets worse without: a search ends where it is told to, and what one move mended another
// may have mended better since. Moves to even out within a band are left to home, and those for a preference have been judged one by one.
func (pl *planner) dropNeedless() {
	for again := true; again; {
		again = false
		for u := range pl.p.Units {
			again = pl.needless(int32(u)) || again
		}
	}
}

// needless takes a unit back where it was if nothing gets worse.
func (pl *planner) needless(u int32) bool {
	b := pl.b
	if !pl.returns(u) {
		return false
	}
	at, home := b.at[u], b.home[u]
	if pl.marginal(at, home) < 0 || pl.points(u, home) < pl.points(u, at) {
		return false
	}
	was := pl.harmAround(u, at, home)
	b.move(u, home)
	if is := pl.harmAround(u, at, home); was.compare(is) < 0 || was.over < is.over {
		b.move(u, at)
		return false
	}
	delete(pl.note, u)
	return true
}

// returns says whether a unit moves of no need, and could stay where it is.
func (pl *planner) returns(u int32) bool {
	home, app := pl.b.home[u], pl.p.Units[u].App
	if home == none || pl.b.at[u] == none || pl.b.at[u] == home || pl.b.locked[u] || pl.p.Units[u].Moving || !pl.p.MayStay(app, home) {
		return false
	}
	n, noted := pl.note[u]
	if noted && n.class != events.ClassBalance {
		return n.class == events.ClassRepair
	}
	return pl.flow == nil || pl.flow.hi == nil
}

func (pl *planner) points(u, n int32) int32 {
	return pl.p.Apps[pl.p.Units[u].App].Points(pl.p.Nodes[n].Group)
}

// harmAround is the harm that a move between two nodes can change: of every node where its app is spread, whose domains are judged as wholes.
func (pl *planner) harmAround(u, x, y int32) (h harm) {
	nodes := []int32{x, y}
	if len(pl.p.Apps[pl.p.Units[u].App].Spread) > 0 {
		nodes = pl.all()
	}
	for _, n := range nodes {
		one := pl.b.harm(n, none)
		h.pairs += one.pairs
		h.over += one.over
	}
	return h
}
