package flow

import (
	"math"
	"slices"
)

// Solution is an assignment that keeps as many instances at home as the bounds on the nodes allow.
type Solution struct {
	On       [][]int32 // by app: nodes with one of its movable instances, ascending
	Load     []int32   // by node, fixed instances included
	Moves    int       // instances that are placed and not at home
	Unplaced []int32   // by app
	Feasible bool      // every node is within its bounds
	Proof    Proof
}

// Proof is the potentials of the second stage: the least number of moves follows from them alone.
type Proof struct {
	Node, App []int64 // in moves × Unit
	Unit      int64
}

// keeper is the second stage. Only free pairs of app and node take part: those of equal level.
type keeper struct {
	in     *Input
	lo, hi []int32 // by node: free instances
	rank   []int32 // by node: number of its level; −1: takes no part
	arank  []int32 // by app
	need   []int32 // by app: free instances to be placed
	best   []int64 // by app: its greatest preference
	unit   int64   // what a move costs; preferences and prices are less than one of them altogether

	on    [][]int32 // by node: apps with a free instance there
	lost  [][]int32 // by app: homes without their instance
	home  [][]int32 // by app: free homes, ascending
	have  []int32   // by app: placed
	load  []int32   // by node: instances
	out   []int32   // by node: flow to the sink
	spare int64     // of the sink: flow that came in and is not wanted, or is missing

	pi    []int64 // nodes, apps, sink
	cells [][]*cell
	cellF [][]*cell // by app: cells it may use
	s     search
}

// cell is the nodes of one level and one group, in the order that a search wants them.
type cell struct {
	group int32
	nodes []int32
	next  []int32 // by index: next alive
}

// Keep finds the assignment of least moves among those with the least Σ L²/weight.
func (l *Levels) Keep() *Solution {
	in, x := l.assigned.in, l.assigned
	k := &keeper{in: in, lo: make([]int32, len(in.Nodes)), hi: make([]int32, len(in.Nodes)), need: make([]int32, len(in.Apps))}
	k.rank, k.arank = l.ranks()
	base := make([]int32, len(in.Nodes)) // what stays there in every optimum
	for n := range in.Nodes {
		base[n] = in.Nodes[n].Fixed
		for _, a := range x.apps[n] {
			if k.arank[a] == k.rank[n] {
				k.need[a]++
			} else {
				base[n]++
			}
		}
	}
	for n := range in.Nodes {
		lo, hi := l.bounds(int32(n))
		k.lo[n], k.hi[n] = lo-base[n], max(hi-base[n], 0) // below zero: what stays has a price too
	}
	k.build()
	ok := k.solve()
	s := k.solution(base, func(a, n int32) bool { return k.arank[a] > k.rank[n] && x.has(a, n) }, x)
	s.Unplaced, s.Feasible = l.Unplaced, ok
	return s
}

// Within finds the assignment of least moves with node loads within bounds, fixed instances included. Feasible is false when there is none;
// then what was found comes as near as the chains go.
func Within(in *Input, lo, hi []int32) *Solution {
	k := &keeper{in: in, lo: make([]int32, len(in.Nodes)), hi: make([]int32, len(in.Nodes)), need: make([]int32, len(in.Apps)),
		rank: make([]int32, len(in.Nodes)), arank: make([]int32, len(in.Apps))}
	base := make([]int32, len(in.Nodes))
	for n := range in.Nodes {
		base[n] = in.Nodes[n].Fixed
		k.lo[n], k.hi[n] = lo[n]-base[n], max(min(hi[n], in.Nodes[n].Max)-base[n], 0)
	}
	for a := range in.Apps {
		k.need[a] = in.Apps[a].Units
	}
	k.build()
	ok := k.solve()
	s := k.solution(base, nil, nil)
	s.Unplaced, s.Feasible = make([]int32, len(in.Apps)), ok
	for a := range in.Apps {
		s.Unplaced[a] = k.need[a] - k.have[a]
	}
	return s
}

// ranks numbers the levels, equal ones alike, in ascending order.
func (l *Levels) ranks() (node, app []int32) {
	all := slices.Concat(l.node, l.app)
	slices.SortFunc(all, func(x, y level) int {
		switch {
		case x.less(y):
			return -1
		case y.less(x):
			return 1
		}
		return 0
	})
	all = slices.CompactFunc(all, level.same)
	rank := func(of []level) []int32 {
		out := make([]int32, len(of))
		for i, v := range of {
			at, _ := slices.BinarySearchFunc(all, v, func(x, y level) int {
				switch {
				case x.less(y):
					return -1
				case y.less(x):
					return 1
				}
				return 0
			})
			out[i] = int32(at)
		}
		return out
	}
	return rank(l.node), rank(l.app)
}

// bounds returns the loads that a node has in the optima: one or two.
func (l *Levels) bounds(n int32) (lo, hi int32) {
	nd, q, load := &l.assigned.in.Nodes[n], l.node[n], l.assigned.load[n]
	if q.same(never) {
		return load, load // it is full, and would have to be fuller
	}
	for lo = load; lo > 0 && !(level{2*int64(lo-1) + 1, nd.Weight}).less(q); lo-- {
	}
	for hi = load; hi < nd.Max && !q.less(level{2*int64(hi+1) - 1, nd.Weight}); hi++ {
	}
	return lo, hi
}

func (k *keeper) build() {
	in := k.in
	nodes, apps := len(in.Nodes), len(in.Apps)
	k.on, k.load, k.out = make([][]int32, nodes), make([]int32, nodes), make([]int32, nodes)
	k.lost, k.home, k.have = make([][]int32, apps), make([][]int32, apps), make([]int32, apps)
	k.pi = make([]int64, nodes+apps+1)
	k.unit, k.best = 1, make([]int64, apps)
	var ties int64
	for a := range in.Apps {
		app := &in.Apps[a]
		if app.Points != nil {
			k.best[a] = int64(slices.Max(app.Points))
		}
		ties += int64(app.Units) * (app.Price*25 + spread(app.Points))
	}
	if differ(in.Apps) {
		k.unit = ties + 1
	}
	total := int64(0)
	for a := range in.Apps {
		for _, n := range in.Apps[a].Home {
			if k.arank[a] != k.rank[n] {
				continue
			}
			k.home[a] = append(k.home[a], n)
			k.on[n] = append(k.on[n], int32(a))
			k.load[n]++
			k.have[a]++
			k.pi[nodes+a] = min(k.pi[nodes+a], -k.cost(int32(a), n)) // taking it away is not below nothing
		}
		total += int64(k.need[a])
	}
	k.spare = -total
	for n := range in.Nodes {
		k.out[n] = min(max(k.load[n], k.lo[n]), k.hi[n])
		k.spare += int64(k.out[n])
	}
	k.buildCells()
	k.s.init(nodes + apps + 1)
}

func (k *keeper) buildCells() {
	type key struct{ rank, group int32 }
	byKey := map[key]*cell{}
	most := int32(0)
	for n := range k.in.Nodes {
		most = max(most, k.rank[n])
	}
	k.cells = make([][]*cell, most+1)
	for n := range k.in.Nodes {
		at := key{k.rank[n], k.in.Nodes[n].Group}
		c := byKey[at]
		if c == nil {
			c = &cell{group: at.group}
			byKey[at] = c
			k.cells[at.rank] = append(k.cells[at.rank], c)
		}
		c.nodes = append(c.nodes, int32(n))
	}
	k.cellF = make([][]*cell, len(k.in.Apps))
	for a := range k.in.Apps {
		if r := k.arank[a]; int(r) < len(k.cells) && k.need[a]+int32(len(k.home[a])) > 0 {
			for _, c := range k.cells[r] {
				if k.in.Apps[a].allows(c.group) {
					k.cellF[a] = append(k.cellF[a], c)
				}
			}
		}
	}
}

// differ says whether ties between equally many moves are worth breaking.
func differ(apps []App) bool {
	for i := range apps {
		if apps[i].Price != apps[0].Price || apps[i].Points != nil {
			return true
		}
	}
	return false
}

func spread(points []int32) int64 {
	if len(points) == 0 {
		return 0
	}
	return int64(slices.Max(points) - slices.Min(points))
}

// cost is what an instance of the app costs on the node: nothing at home, a move elsewhere; and what breaks ties.
func (k *keeper) cost(a, n int32) int64 {
	app := &k.in.Apps[a]
	c := int64(0)
	if k.unit > 1 && app.Points != nil {
		c = k.best[a] - int64(app.Points[k.in.Nodes[n].Group])
	}
	if !contains(k.home[a], n) {
		c += k.unit
		if k.unit > 1 {
			c += app.Price * 25
		}
	}
	return c
}

// away is cost of a node that is not home, by group.
func (k *keeper) away(a, group int32) int64 {
	app := &k.in.Apps[a]
	if k.unit == 1 {
		return 1
	}
	c := k.unit + app.Price*25
	if app.Points != nil {
		c += k.best[a] - int64(app.Points[group])
	}
	return c
}

func (k *keeper) has(a, n int32) bool {
	for _, o := range k.on[n] {
		if o == a {
			return true
		}
	}
	return false
}

func (k *keeper) holds(a, n int32) bool {
	return k.has(a, n) || len(k.in.Apps[a].Blocked) > 0 && contains(k.in.Apps[a].Blocked, n)
}

func (k *keeper) put(a, n int32) {
	k.on[n] = append(k.on[n], a)
	k.load[n]++
	k.have[a]++
	if contains(k.home[a], n) {
		k.lost[a] = without(k.lost[a], n)
	}
}

func (k *keeper) take(a, n int32) {
	k.on[n] = without(k.on[n], a)
	k.load[n]--
	k.have[a]--
	if contains(k.home[a], n) {
		k.lost[a] = append(k.lost[a], n)
	}
}

func without(list []int32, v int32) []int32 {
	i := slices.Index(list, v)
	list[i] = list[len(list)-1]
	return list[:len(list)-1]
}

// excess is what a vertex has too much of: positive has to go, negative has to come.
func (k *keeper) excess(v int32) int64 {
	nodes := int32(len(k.in.Nodes))
	switch {
	case v < nodes:
		return int64(k.load[v] - k.out[v])
	case v < nodes+int32(len(k.in.Apps)):
		return int64(k.need[v-nodes] - k.have[v-nodes])
	}
	return k.spare
}

func (k *keeper) solution(base []int32, stays func(a, n int32) bool, x *assignment) *Solution {
	in := k.in
	s := &Solution{On: make([][]int32, len(in.Apps)), Load: make([]int32, len(in.Nodes)), Proof: Proof{Unit: k.unit, Node: k.pi[:len(in.Nodes)], App: k.pi[len(in.Nodes) : len(in.Nodes)+len(in.Apps)]}}
	sink := k.pi[len(k.pi)-1]
	for v := range k.pi { // relative to the sink
		k.pi[v] -= sink
	}
	for n := range in.Nodes {
		s.Load[n] = base[n] + k.load[n]
		for _, a := range k.on[n] {
			s.On[a] = append(s.On[a], int32(n))
		}
		if x != nil {
			for _, a := range x.apps[n] {
				if stays(a, int32(n)) {
					s.On[a] = append(s.On[a], int32(n))
				}
			}
		}
	}
	for a := range s.On {
		slices.Sort(s.On[a])
		s.Moves += len(s.On[a])
		for _, n := range s.On[a] {
			if contains(in.Apps[a].Home, n) {
				s.Moves--
			}
		}
	}
	return s
}

const far = int64(math.MaxInt64 / 4)
