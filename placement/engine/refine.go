package engine

import (
	"github.com/go-cluster/go-cluster/events"
)

// tries is how often repair searches anew while something is amiss or without a place.
const tries = 2

// small is how many nodes may be searched again only to save a move. Where only rules are broken, which everything that has a place breaks by
// itself, longer searches follow: they mend more, and with fewer moves.
const (
	small     = 64
	moreTries = 4
)

// refine goes on from what placing and repairing one by one ended with, unless that is known to be the best: nothing is amiss or
// without a place, and no move could have been left out.
func (pl *planner) refine(start []int32) {
	if pl.whole() && pl.mended() <= pl.repairs {
		return
	}
	nodes, was := pl.around(pl.amiss), pl.places()
	changed := false
	for try := range tries {
		changed = pl.improve(aim{free: true}, nodes, try) || changed
		if !pl.whole() {
			changed = pl.daring(aim{}, nodes, try) || changed
		}
		if pl.whole() && (pl.mended() <= pl.repairs || try > 0 || len(nodes) > small) {
			break
		}
	}
	if len(nodes) <= small && len(pl.p.Units) <= smallProblem && pl.plain() {
		for try := tries; try < tries+moreTries && !(pl.whole() && pl.mended() <= pl.repairs); try++ {
			changed = pl.improve(aim{free: true}, nodes, try) || changed
			if !pl.whole() {
				changed = pl.daring(aim{}, nodes, try) || changed
			}
		}
	}
	if changed {
		pl.repaired = true
		pl.whyRefined(start, was)
	}
}

// plain says whether everything has a place, and no app has rules on where others or its other instances are, but to keep away.
func (pl *planner) plain() bool {
	for a := range pl.p.Apps {
		if len(pl.p.Apps[a].With)+len(pl.p.Apps[a].Spread) > 0 {
			return false
		}
	}
	for u, n := range pl.b.at {
		if n == none && !pl.stops[int32(u)] {
			return false
		}
	}
	return true
}

// daring searches for what can be had only if moves wait for each other. What would have them wait in a circle is not taken.
func (pl *planner) daring(a aim, nodes []int32, try int) bool {
	was, before := pl.places(), pl.potential()
	if !pl.improve(a, nodes, try) {
		return false
	}
	if is := pl.potential(); is.less(before) {
		now := pl.places()
		_, blocked := pl.arrange(pl.steps())
		pl.restore(now)
		if len(blocked) == 0 {
			return true
		}
	}
	pl.restore(was)
	return false
}

func (pl *planner) places() []int32 { return append([]int32(nil), pl.b.at...) }

// whole says whether nothing is amiss and everything that could move has a place.
func (pl *planner) whole() bool {
	for _, u := range pl.pending {
		if pl.b.at[u] == none && !pl.p.Apps[pl.p.Units[u].App].Fixed && !pl.crowded(pl.p.Units[u].App) {
			return false
		}
	}
	return len(pl.bad(pl.all())) == 0
}

// crowded says whether every node that takes the app has an instance of it: then no other's leaving makes room for one more.
func (pl *planner) crowded(app int32) bool {
	for n := range pl.p.Nodes {
		if pl.p.Eligible(app, int32(n)) && !pl.b.hasApp(app, int32(n)) {
			return false
		}
	}
	return true
}

// mended counts the moves that nothing but repair asks for.
func (pl *planner) mended() (count int) {
	for _, n := range pl.note {
		count += bit(n.class == events.ClassRepair)
	}
	return count
}

// whyRefined explains what a search moved, and forgets why what it left in place should have moved.
func (pl *planner) whyRefined(start, was []int32) {
	now := pl.places()
	pl.restore(start)
	comes := map[int32]int32{} // node → a unit that comes to it
	for u, n := range now {
		if n != none && n != pl.b.home[u] {
			if _, has := comes[n]; !has {
				comes[n] = int32(u)
			}
		}
	}
	for i, n := range now {
		u, home := int32(i), pl.b.home[i]
		if n == home {
			if had, ok := pl.note[u]; ok && (had.class == events.ClassRepair || had.class == events.ClassBalance) {
				delete(pl.note, u)
			}
			continue
		}
		if _, has := pl.note[u]; has || n == was[u] || was[u] != home || n == none || home == none || pl.p.Units[u].Moving {
			continue
		}
		if is := pl.b.harm(home, none); pl.b.at[u] == home && pl.b.harm(home, u).compare(is) < 0 {
			pl.note[u] = pl.whyRepair(u, home)
			continue
		}
		why := note{events.ClassRepair, events.ReasonRebalance, "makes room on " + pl.p.Nodes[home].ID}
		if o, ok := comes[home]; ok {
			why.text += " for " + pl.p.Units[o].ID
		}
		pl.note[u] = why
	}
	pl.restore(now)
	pl.stillWaiting()
}

// stillWaiting lists anew what has no place: a search may give one to another than greed did.
func (pl *planner) stillWaiting() {
	pl.pending = nil
	for i := range pl.p.Units {
		if u := int32(i); pl.b.at[u] == none && !pl.stops[u] && !pl.p.Units[u].Moving && !pl.stuck[u] {
			pl.pending = append(pl.pending, u)
		}
	}
}

// level evens out under every rule, from where counting or mending ended.
func (pl *planner) level() {
	a := aim{even: true, free: true}
	if o := pl.flow; o.hi != nil {
		a.lo, a.hi = make([]int32, len(pl.p.Nodes)), make([]int32, len(pl.p.Nodes))
		for i, n := range o.nodes {
			a.lo[n], a.hi[n] = o.lo[i], o.hi[i]
		}
	}
	pl.improve(a, pl.all(), 0)
	if !pl.isLevel() && len(pl.p.Units) <= smallProblem {
		a.free = false
		pl.daring(a, pl.all(), 0)
	}
	pl.stillWaiting()
	pl.home()
}

// isLevel says whether the board is as even as counting alone could make it.
func (pl *planner) isLevel() bool {
	o := pl.flow
	for i, n := range o.nodes {
		if o.hi != nil && (pl.b.weight[n] > o.hi[i] || pl.b.weight[n] < o.lo[i]) {
			return false
		}
	}
	if o.hi != nil {
		return true
	}
	var is, best float64
	for i, n := range o.nodes {
		w := float64(pl.p.Nodes[n].Weight)
		is += float64(pl.b.weight[n]) * float64(pl.b.weight[n]) / w
		best += float64(o.best.Load[i]) * float64(o.best.Load[i]) / w
	}
	return is <= best+1e-9
}
