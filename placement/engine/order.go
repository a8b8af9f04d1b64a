package engine

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// arrange orders the steps: by class, and within balance such that every prefix gains most. Steps that do not fit beside what was
// there at the start wait for those that make room; those that wait for each other in a circle stay at home and are reported.
func (pl *planner) arrange(steps []step) ([]step, []snapshot.Blocked) {
	steps = pl.byGain(steps)
	free := true
	for i := range steps {
		s := &steps[i]
		if s.to != none && !pl.b.bears(s.u, s.to, orderFree) {
			free = false
		}
	}
	if free {
		return steps, nil
	}
	return pl.simulate(steps)
}

// byGain sorts by class; balance by what each move gains when those before it are done.
func (pl *planner) byGain(steps []step) []step {
	slices.SortStableFunc(steps, func(x, y step) int { return cmp.Or(cmp.Compare(rank(x.class), rank(y.class)), cmp.Compare(x.u, y.u)) })
	first := slices.IndexFunc(steps, func(s step) bool { return s.class == events.ClassBalance })
	if first < 0 {
		return steps
	}
	last := first
	for last < len(steps) && steps[last].class == events.ClassBalance {
		last++
	}
	count := slices.Clone(pl.b.weight)
	for _, s := range steps[first:] {
		if s.to != none {
			count[s.to]--
		}
		if s.from != none {
			count[s.from]++
		}
	}
	q := &gains{pl: pl, count: count, steps: slices.Clone(steps[first:last])}
	done := make([]bool, len(q.steps))
	leaving := chain(len(count), len(q.steps), func(i int) int32 { return q.steps[i].from })
	arriving := chain(len(count), len(q.steps), func(i int) int32 { return q.steps[i].to })
	q.list = make([]gain, 0, 2*len(q.steps))
	for i := range q.steps {
		q.list = append(q.list, gain{i, q.of(i)})
	}
	heap.Init(q)
	better := func(i int) {
		if !done[i] {
			heap.Push(q, gain{i, q.of(i)})
		}
	}
	out := steps[:first:first]
	for q.Len() > 0 {
		top := heap.Pop(q).(gain)
		if done[top.step] {
			continue
		}
		if now := q.of(top.step); now != top.gain {
			heap.Push(q, gain{top.step, now})
			continue
		}
		s := q.steps[top.step]
		done[top.step] = true
		out = append(out, s)
		count[s.from]--
		count[s.to]++
		leaving.each(s.to, better) // these gain more now
		arriving.each(s.from, better)
	}
	return append(out, steps[last:]...)
}

// chains are lists of steps by node, in two slices.
type chains struct{ first, next []int32 }

func chain(nodes, steps int, of func(step int) int32) chains {
	c := chains{first: slices.Repeat([]int32{none}, nodes), next: make([]int32, steps)}
	for i := steps - 1; i >= 0; i-- {
		n := of(i)
		c.next[i], c.first[n] = c.first[n], int32(i)
	}
	return c
}

func (c chains) each(n int32, f func(step int)) {
	for i := c.first[n]; i != none; i = c.next[i] {
		f(int(i))
	}
}

type gain struct {
	step int
	gain float64
}

type gains struct {
	pl    *planner
	count []int32
	steps []step
	list  []gain
}

func (q *gains) of(i int) float64 {
	s := &q.steps[i]
	from, to := &q.pl.p.Nodes[s.from], &q.pl.p.Nodes[s.to]
	return (2*float64(q.count[s.from])-1)/float64(from.Weight) - (2*float64(q.count[s.to])+1)/float64(to.Weight)
}
func (q *gains) Len() int { return len(q.list) }
func (q *gains) Less(i, j int) bool {
	if q.list[i].gain != q.list[j].gain {
		return q.list[i].gain > q.list[j].gain
	}
	return q.list[i].step < q.list[j].step
}
func (q *gains) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *gains) Push(v any)    { q.list = append(q.list, v.(gain)) }
func (q *gains) Pop() any {
	v := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return v
}

// simulate carries the steps out on a board of their own, each as soon as it fits, and notes what it had to wait for.
func (pl *planner) simulate(steps []step) (out []step, blocked []snapshot.Blocked) {
	now := newBoard(pl.p)
	left := slices.Clone(steps)
	gone := map[int32][]int32{} // node → units that have left it
	for len(left) > 0 {
		var wait []step
		for _, s := range left {
			if s.to != none && !now.admits(s.u, s.to) {
				wait = append(wait, s)
				continue
			}
			for _, g := range gone[s.to] {
				if s.to != none && pl.conflicts(s.u, g, s.to) {
					s.after = append(s.after, g)
				}
			}
			now.carry(s.u, s.to)
			if s.from != none {
				gone[s.from] = append(gone[s.from], s.u)
			}
			out = append(out, s)
		}
		if len(wait) == len(left) {
			break
		}
		left = wait
	}
	if len(out) == len(steps) {
		return out, nil
	}
	var cycle []string
	stuck := left[:0]
	for _, s := range left {
		if !slices.ContainsFunc(out, func(o step) bool { return o.u == s.u }) {
			stuck = append(stuck, s)
			cycle = append(cycle, pl.p.Units[s.u].ID)
		}
	}
	for _, s := range stuck {
		// Another target does as well, if there is one beside everything else; who belongs together is not taken apart.
		app := pl.p.Units[s.u].App
		if to := pl.b.shelf.target(s.u, orderFree, s.from); to != none && now.admits(s.u, to) && !pl.b.hosts[app] && len(pl.p.Apps[app].With) == 0 {
			pl.b.move(s.u, to)
			now.carry(s.u, to)
			s.to, pl.repaired = to, true
			out = append(out, s)
			continue
		}
		blocked = append(blocked, snapshot.Blocked{Instance: pl.p.Units[s.u].ID, From: pl.name(s.from), To: pl.name(s.to), Cycle: cycle})
	}
	for _, bl := range blocked {
		for _, s := range stuck {
			if pl.p.Units[s.u].ID == bl.Instance {
				pl.b.lift(s.u)
				if s.from != none {
					pl.b.put(s.u, s.from)
				}
			}
		}
	}
	return out, blocked
}

// admits says whether a unit fits beside what is on the node at this moment. A unit that follows another may come before it.
func (b *board) admits(u, n int32) bool {
	unit := &b.p.Units[u]
	for d, v := range unit.Demand {
		used := b.used[int(n)*b.dims+d]
		for _, g := range b.ghosts[n] {
			if b.p.Units[g].Moving {
				used += b.p.Units[g].Demand[d]
			}
		}
		if v > 0 && used+v > b.p.Nodes[n].Cap[d] {
			return false
		}
	}
	for _, o := range b.units[n] {
		if o != u && !b.together(unit.App, b.p.Units[o].App) {
			return false
		}
	}
	return true
}

// carry moves a unit for good: nothing of it stays behind.
func (b *board) carry(u, to int32) {
	if b.at[u] != none {
		n := b.at[u]
		b.lift(u)
		b.exorcise(u, n)
	}
	if to != none {
		b.put(u, to)
	}
}

// conflicts says whether the unit could not come while the other was still on the node.
func (pl *planner) conflicts(u, other, n int32) bool {
	if !pl.b.together(pl.p.Units[u].App, pl.p.Units[other].App) {
		return true
	}
	at := int(n) * pl.b.dims
	for d, v := range pl.p.Units[other].Demand {
		if v > 0 && pl.p.Units[u].Demand[d] > 0 && pl.b.used[at+d]+pl.b.ghost[at+d] > pl.p.Nodes[n].Cap[d] {
			return true
		}
	}
	return false
}

// moving lists the units in flight.
func (pl *planner) moving() []int32 {
	if pl.flying == nil {
		pl.flying = []int32{}
		for u := range pl.p.Units {
			if pl.p.Units[u].Moving {
				pl.flying = append(pl.flying, int32(u))
			}
		}
	}
	return pl.flying
}
