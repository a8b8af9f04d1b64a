package engine

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/flow"
)

// balance evens out. With half 0 it makes Σ count²/weight as small as can be, units that need a place included; otherwise it comes
// within half × mean of the evenest, with the fewest moves. Counting alone gives the exact answer; where the board refuses it – for
// neighbours or resources – a search goes as far as it can, and the count is its bound.
func (pl *planner) balance(start, free []int32, half float64) {
	c := pl.input(true)
	levels := flow.Even(c.in)
	best := levels.Keep()
	pl.flow = &outcome{counting: c, best: best, levels: levels}
	if half > 0 {
		lo, hi := pl.band(c, best.Load, half)
		pl.flow = &outcome{counting: c, best: flow.Within(c.in, lo, hi), lo: lo, hi: hi}
	}
	before := slices.Clone(pl.b.at)
	left := pl.apply()
	for _, u := range left { // who may stay, stays
		if n := pl.b.home[u]; n != none && pl.p.MayStay(pl.p.Units[u].App, n) {
			pl.b.put(u, n)
		}
	}
	if pl.sound() {
		pl.flow.exact = true
		pl.whyBalance(before)
		rest := slices.DeleteFunc(slices.Clone(free), func(u int32) bool { return pl.b.at[u] != none })
		pl.place(rest) // those that take no part in counting, and those that it found no place for
		if half == 0 && len(left) == 0 {
			moved := slices.Clone(pl.b.at)
			pl.repair()
			pl.flow.exact = slices.Equal(moved, pl.b.at)
		}
		return
	}
	// Counting alone does not do. From where it ended, what does not fit is put elsewhere; in a small cluster the way from where
	// everything is now is tried too, and the better one taken.
	note, pending := maps.Clone(pl.note), slices.Clone(pl.pending)
	pl.mend()
	pl.finish(start, free, half)
	is := pl.potential()
	harms := !pl.clean()
	if len(pl.p.Units) <= smallProblem || harms {
		one, moved := *pl, pl.countMoved()
		at := slices.Clone(pl.b.at)
		pl.note, pl.pending = note, pending
		pl.restore(before)
		pl.finish(start, free, half)
		if now := pl.potential(); !harms && (is.less(now) || !now.less(is) && moved < pl.countMoved()) {
			pl.note, pl.pending, pl.repaired = one.note, one.pending, one.repaired
			pl.restore(at)
		}
	}
	pl.whyBalance(before)
}

// clean says whether every unit that moved may be where it is.
func (pl *planner) clean() bool {
	for u := range pl.p.Units {
		if n := pl.b.at[u]; n != none && pl.b.moved(int32(u)) && !pl.p.Units[u].Moving && !pl.b.bears(int32(u), n, atTheEnd) {
			return false
		}
	}
	return true
}

const smallProblem = 3000 // units

// finish places what has no place, repairs, and searches for a more even assignment.
func (pl *planner) finish(start, free []int32, half float64) {
	if half == 0 {
		pl.place(slices.DeleteFunc(slices.Clone(free), func(u int32) bool { return pl.b.at[u] != none }))
		pl.repair()
		pl.refine(start)
	}
	pl.level()
}

func (pl *planner) countMoved() (count int) {
	for u := range pl.p.Units {
		count += bit(pl.b.at[u] != none && pl.b.moved(int32(u)))
	}
	return count
}

// mend takes off each node that cannot hold all that counting sent it what helps most, to the emptiest node that takes it, or home.
func (pl *planner) mend() {
	b := pl.b
	for _, n := range pl.flow.nodes {
		for h := b.harm(n, none); !h.none(); h = b.harm(n, none) {
			worst, left := none, h
			for _, u := range b.units[n] {
				if b.moved(u) && !b.locked[u] {
					if without := b.harm(n, u); without.compare(left) < 0 {
						worst, left = u, without
					}
				}
			}
			if worst == none {
				break
			}
			home := b.home[worst]
			b.lift(worst)
			to := b.shelf.target(worst, orderFree, n)
			if to == none {
				to = b.shelf.target(worst, atTheEnd, n)
			}
			if to == none && home != none && home != n && pl.p.MayStay(pl.p.Units[worst].App, home) {
				to = home
			}
			if to == none {
				b.put(worst, n) // repair may make room
				break
			}
			b.put(worst, to)
		}
	}
}

// band returns the loads within half × mean of some others.
func (pl *planner) band(c *counting, reachable []int32, half float64) (lo, hi []int32) {
	useful := pl.useful()
	var load, weight float64
	for i, n := range c.nodes {
		if useful[pl.p.Nodes[n].Group] {
			load += float64(reachable[i])
			weight += float64(pl.p.Nodes[n].Weight)
		}
	}
	lo, hi = make([]int32, len(c.nodes)), make([]int32, len(c.nodes))
	for i, n := range c.nodes {
		slack := 0.0
		if weight > 0 {
			slack = half * load / weight * float64(pl.p.Nodes[n].Weight)
		}
		lo[i] = max(0, int32(math.Ceil(float64(reachable[i])-slack-1e-9)))
		hi[i] = int32(math.Floor(float64(reachable[i]) + slack + 1e-9))
	}
	return lo, hi
}

// apply puts the units where the counting problem wants them and returns those without a place.
func (pl *planner) apply() (left []int32) {
	b, o := pl.b, pl.flow
	for a, units := range o.part {
		var to []int32
		for _, i := range o.best.On[a] {
			to = append(to, o.nodes[i])
		}
		var leave []int32
		for _, u := range units {
			// Whoever is at home and wanted there stays.
			if i, ok := slices.BinarySearch(to, b.at[u]); ok && b.at[u] != none && b.at[u] == b.home[u] {
				to = slices.Delete(to, i, i+1)
			} else {
				leave = append(leave, u)
			}
		}
		for _, u := range leave {
			if b.at[u] != none {
				b.lift(u)
			}
		}
		for i, u := range leave {
			if i < len(to) {
				b.put(u, to[i])
			} else {
				left = append(left, u)
			}
		}
	}
	return left
}

// sound says whether every unit that takes part in the counting problem may be where it is.
func (pl *planner) sound() bool {
	for a, units := range pl.flow.part {
		if pl.b.dims == 0 && len(pl.p.Apps[a].Away)+len(pl.p.Apps[a].Spread) == 0 && pl.flow.best.Unplaced[a] == 0 {
			continue // counting knows all that concerns it
		}
		for _, u := range units {
			if n := pl.b.at[u]; n != none && !pl.b.harm(n, none).none() {
				return false
			}
		}
	}
	return pl.clean()
}

func (pl *planner) restore(at []int32) {
	for u, n := range at {
		if pl.b.at[u] != n && pl.b.at[u] != none {
			pl.b.lift(int32(u))
		}
	}
	for u, n := range at {
		if pl.b.at[u] != n {
			pl.b.put(int32(u), n)
		}
	}
}

// whyBalance notes the moves that balance made; sayBalance finds the words when it is known where they end.
func (pl *planner) whyBalance(before []int32) {
	for u, n := range before {
		v := int32(u)
		if n == none || pl.b.at[v] == none || pl.b.at[v] == n || !pl.b.moved(v) || pl.b.home[v] == none {
			continue
		}
		if _, has := pl.note[v]; !has {
			pl.note[v] = note{events.ClassBalance, events.ReasonRebalance, ""}
		}
	}
}

// sayBalance says what moves of balance even out: how many instances are where they leave and where they go.
func (pl *planner) sayBalance(steps []step) {
	count := make([]int32, len(pl.p.Nodes))
	for _, n := range pl.b.home {
		if n != none {
			count[n]++
		}
	}
	for i := range steps {
		if s := &steps[i]; s.class == events.ClassBalance && s.from != none && s.to != none {
			s.text = fmt.Sprintf("%s has %d instances, %s has %d", pl.p.Nodes[s.from].ID, count[s.from], pl.p.Nodes[s.to].ID, count[s.to])
		}
	}
}

// marginal compares what one unit less on a node saves with what one more on another costs: Σ count²/weight falls when it is positive.
func (pl *planner) marginal(from, to int32) int64 {
	return (2*int64(pl.b.weight[from])-1)*pl.p.Nodes[to].Weight - (2*int64(pl.b.weight[to])+1)*pl.p.Nodes[from].Weight
}

// home takes back every unit whose return leaves the cluster as even as it is.
func (pl *planner) home() {
	b := pl.b
	for again := true; again; {
		again = false
		for u := range pl.p.Units {
			v, home := int32(u), b.home[u]
			if _, other := pl.note[v]; other || home == none || b.locked[v] || b.at[v] == none || b.at[v] == home {
				continue
			}
			from := b.at[v]
			ok := pl.marginal(from, home) >= 0
			if pl.flow.hi != nil {
				i, _ := slices.BinarySearch(pl.flow.nodes, home)
				j, _ := slices.BinarySearch(pl.flow.nodes, from)
				ok = b.weight[home]+1 <= pl.flow.hi[i] && b.weight[from]-1 >= pl.flow.lo[j]
			}
			if ok && b.fits(v, home, atTheEnd) {
				b.move(v, home)
				again = true
			}
		}
	}
}

// prefer moves units to where they would rather be: only where the gain is worth more than the move, and evenness does not suffer: a node stays
// within what is even as whole instances go, or within half the threshold of it. More, and the next balance would take it back.
func (pl *planner) prefer() {
	p, b := pl.p, pl.b
	slack := p.Policy.AutoRebalance.Threshold / 2
	c := pl.input(true)
	var load, weight float64
	for _, n := range c.nodes {
		load += float64(b.weight[n])
		weight += float64(p.Nodes[n].Weight)
	}
	if weight == 0 {
		return
	}
	fair := func(n int32) float64 { return load / weight * float64(p.Nodes[n].Weight) }
	for a, units := range c.part {
		app := &p.Apps[a]
		if app.Pref == nil {
			continue
		}
		for _, u := range units {
			n := b.at[u]
			if n == none || b.moved(u) || pl.resting(u) || float64(b.weight[n]-1) < min(math.Floor(fair(n)+1e-9), math.Ceil(fair(n)*(1-slack))) {
				continue
			}
			to := none
			for _, m := range c.nodes {
				gain := app.Points(p.Nodes[m].Group) - app.Points(p.Nodes[n].Group)
				if gain <= 25*app.MoveCost || to != none && app.Points(p.Nodes[m].Group) <= app.Points(p.Nodes[to].Group) {
					continue
				}
				if float64(b.weight[m]+1) <= max(math.Ceil(fair(m)-1e-9), math.Floor(fair(m)*(1+slack))) && b.fits(u, m, orderFree) {
					to = m
				}
			}
			if to != none {
				gain := app.Points(p.Nodes[to].Group) - app.Points(p.Nodes[n].Group)
				b.move(u, to)
				pl.note[u] = note{events.ClassPreference, events.ReasonRebalance, fmt.Sprintf("gains %d points of preference for a move cost of %d", gain, app.MoveCost)}
			}
		}
	}
}
