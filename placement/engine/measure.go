package engine

import (
	"slices"

	"github.com/go-cluster/go-cluster/placement/flow"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// Measure says how even the state is, without planning anything else.
func Measure(p *model.Problem) snapshot.Metrics {
	pl := &planner{p: p, b: newBoard(p), scope: make([]bool, len(p.Apps))}
	pl.findScope()
	pl.lock()
	return pl.imbalance()
}

// metrics returns how even the state is and how even the plan leaves it. Where the plan is the evenest assignment of everything there
// is, both follow from it.
func (pl *planner) metrics(steps []step) (before, after snapshot.Metrics) {
	whole := pl.flow != nil && pl.flow.exact && pl.flow.hi == nil && len(pl.pending) == 0 && len(pl.r.Apps) == 0
	for i := range pl.p.Apps {
		whole = whole && !pl.p.Apps[i].Excluded
	}
	for i := range steps {
		whole = whole && steps[i].from != none && steps[i].to != none && pl.p.Nodes[steps[i].from].Open
	}
	if !whole {
		before = Measure(pl.p)
		if after = before; len(steps) > 0 {
			after = pl.reachable()
		}
		return before, after
	}
	o := pl.flow
	end := pl.loads(o.counting)
	was := slices.Clone(end)
	for i := range steps {
		from, _ := slices.BinarySearch(o.nodes, steps[i].from)
		to, _ := slices.BinarySearch(o.nodes, steps[i].to)
		was[from]++
		was[to]--
	}
	return pl.compare(o.nodes, was, end), pl.compare(o.nodes, end, end)
}

// reachable measures the board as Measure would measure the state after the plan: whatever the request was limited to.
func (pl *planner) reachable() snapshot.Metrics {
	scope, r := pl.scope, pl.r
	defer func() { pl.scope, pl.r = scope, r }()
	pl.scope, pl.r = make([]bool, len(pl.p.Apps)), Request{}
	pl.findScope()
	return pl.imbalance()
}

// imbalance compares the board with the evenest assignment that can be reached from it.
func (pl *planner) imbalance() snapshot.Metrics {
	c := pl.input(false)
	return pl.compare(c.nodes, pl.loads(c), flow.Even(c.in).Keep().Load)
}

// compare computes the metric of loads against those that could be reached, over the nodes that some app may run on.
func (pl *planner) compare(nodes []int32, now, reachable []int32) (m snapshot.Metrics) {
	useful := pl.useful()
	var load, weight, count float64
	for i, n := range nodes {
		if useful[pl.p.Nodes[n].Group] {
			load += float64(now[i])
			weight += float64(pl.p.Nodes[n].Weight)
			count++
		}
	}
	if count < 2 || load == 0 {
		return m
	}
	mean := load / weight
	structural := 0.0
	for i, n := range nodes {
		if !useful[pl.p.Nodes[n].Group] {
			continue
		}
		w := float64(pl.p.Nodes[n].Weight)
		rho, tau := float64(now[i])/w, float64(reachable[i])/w
		m.Raw = max(m.Raw, rho/mean-1)
		structural = max(structural, tau/mean-1)
		m.Imbalance = max(m.Imbalance, (rho-tau)/mean, (tau-rho)/mean)
	}
	m.Structural = structural
	return m
}

// useful says by group whether some app may run there.
func (pl *planner) useful() []bool {
	out := make([]bool, pl.p.Groups)
	for a := range pl.p.Apps {
		for g := range out {
			out[g] = out[g] || pl.p.Apps[a].Allows(int32(g))
		}
	}
	return out
}

// counting is the part of a problem that only counts.
type counting struct {
	in    *flow.Input
	nodes []int32   // of in → of the problem
	part  [][]int32 // app → units that take part
}

// loads returns what is on the nodes of a counting problem now.
func (pl *planner) loads(c *counting) []int32 {
	now := make([]int32, len(c.nodes))
	for i, n := range c.nodes {
		now[i] = pl.b.weight[n]
	}
	return now
}

// input makes the counting problem of the units that may move in balance; all others stay where they are. With fresh, units that are
// nowhere take part too, and home is where a unit was at the start; without, where it is on the board.
func (pl *planner) input(fresh bool) *counting {
	p, b := pl.p, pl.b
	index := make([]int32, len(p.Nodes))
	var nodes []int32
	in := &flow.Input{Groups: p.Groups}
	for n := range p.Nodes {
		index[n] = none
		if p.Nodes[n].Open {
			index[n] = int32(len(nodes))
			nodes = append(nodes, int32(n))
			in.Nodes = append(in.Nodes, flow.Node{Group: p.Nodes[n].Group, Weight: p.Nodes[n].Weight, Max: flow.NoLimit})
		}
	}
	fixed := make([]int64, len(nodes)*b.dims)
	var size []int64 // of each unit that takes part, while they are all equal
	equal := b.dims > 0
	in.Apps = make([]flow.App, len(p.Apps))
	part := make([][]int32, len(p.Apps))
	for a := range p.Apps {
		app := &p.Apps[a]
		fa := &in.Apps[a]
		fa.Allowed, fa.Points, fa.Price = app.Allowed, app.Pref, int64(app.MoveCost)
		single := false // a singleton that moves already does not move again
		for _, u := range app.Units {
			single = single || p.Units[u].Moving && app.Desired == 1
		}
		for _, u := range app.Units {
			n := b.at[u]
			if n == none {
				if fresh && !pl.stops[u] && !pl.stuck[u] && !app.Fixed && !p.Units[u].Moving {
					fa.Units++
					part[a] = append(part[a], u)
					if equal = equal && sameSize(&size, p.Units[u].Demand); !equal {
						size = nil
					}
				}
				continue
			}
			i := index[n]
			if i == none {
				continue
			}
			takes := !b.locked[u] && !(fresh && b.home[u] == n && pl.resting(u)) && pl.scope[a] && !single && !b.hosts[a] && len(app.With) == 0
			if !takes {
				in.Nodes[i].Fixed++
				fa.Blocked = append(fa.Blocked, i)
				for d, v := range p.Units[u].Demand {
					fixed[int(i)*b.dims+d] += v
				}
				continue
			}
			fa.Units++
			part[a] = append(part[a], u)
			if equal = equal && sameSize(&size, p.Units[u].Demand); !equal {
				size = nil
			}
			h := n
			if fresh {
				h = b.home[u]
			}
			if h != none && index[h] != none && app.Allows(p.Nodes[h].Group) {
				fa.Home = append(fa.Home, index[h])
			}
		}
	}
	for n, i := range index {
		if i == none {
			continue
		}
		for _, g := range b.ghosts[n] {
			if p.Units[g].Moving {
				a := p.Units[g].App
				in.Apps[a].Blocked = append(in.Apps[a].Blocked, i)
				for d, v := range p.Units[g].Demand {
					fixed[int(i)*b.dims+d] += v
				}
			}
		}
		if equal && size != nil {
			for d, v := range size {
				if c := p.Nodes[n].Cap[d]; v > 0 && c != model.Unlimited {
					in.Nodes[i].Max = min(in.Nodes[i].Max, in.Nodes[i].Fixed+int32(max(c-fixed[int(i)*b.dims+d], 0)/v))
				}
			}
		}
	}
	for a := range in.Apps {
		fa := &in.Apps[a]
		tidy(&fa.Blocked)
		tidy(&fa.Home)
		fa.Home = exclude(fa.Home, fa.Blocked)
	}
	return &counting{in, nodes, part}
}

// sameSize says whether a demand is the same as those before.
func sameSize(size *[]int64, demand []int64) bool {
	if *size == nil {
		*size = demand
		return true
	}
	for d, v := range demand {
		if (*size)[d] != v {
			return false
		}
	}
	return true
}
