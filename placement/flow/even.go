package flow

import "container/heap"

// Levels is an optimal dual of the even assignment: the price of one instance at each node and of each app. An instance of an app
// is on every allowed node with a lower level, on none with a higher one; on equal ones it is free.
type Levels struct {
	node, app []level
	assigned  *assignment
	Unplaced  []int32 // by app: instances that no node can take
}

// Even finds loads with the least Σ L²/weight after as many instances as possible have a place.
func Even(in *Input) *Levels {
	x := newAssignment(in)
	e := &evener{in: in, x: x, s: newShelves(x), node: make([]level, len(in.Nodes)), app: make([]level, len(in.Apps)), shut: make([]bool, len(in.Apps)),
		next: make([]int32, len(in.Nodes)), stamp: make([]int32, len(in.Nodes)), viaApp: make([]int32, len(in.Nodes)), viaNode: make([]int32, len(in.Apps)),
		seenApp: make([]int32, len(in.Apps)), index: make([]int32, len(in.Nodes))}
	for _, members := range e.s.members {
		for i, n := range members {
			e.index[n] = int32(i)
		}
	}
	out := &Levels{node: e.node, app: e.app, assigned: x, Unplaced: make([]int32, len(in.Apps))}
	for a := range in.Apps {
		missing := in.Apps[a].Units - int32(len(in.Apps[a].Home))
		for ; missing > 0 && !e.shut[a] && e.augment(-1, int32(a), never); missing-- {
		}
		out.Unplaced[a] = missing
	}
	e.drain()
	for a := range e.app { // apps that nothing led to: they have no movable instance
		if !e.shut[a] {
			e.app[a] = level{-1, 1}
		}
	}
	return out
}

type evener struct {
	in        *Input
	x         *assignment
	s         *shelves
	node, app []level
	shut      []bool // app → closed
	queue     byGain

	// of one search
	start   int32 // node it began at, −1 for an app
	round   int32
	next    []int32 // node → index in its atom of the next node that may be unvisited
	stamp   []int32 // node → round in which next is meant
	index   []int32 // node → its index among the members of its atom
	viaApp  []int32 // node → app whose instance would come here
	viaNode []int32 // app → node whose instance would leave, −1 for one without a place
	seenApp []int32 // app → round
	order   []int32 // apps to scan
	reached []int32 // nodes visited
}

type entry struct {
	gain level
	node int32
}

type byGain []entry

func (q byGain) Len() int { return len(q) }
func (q byGain) Less(i, j int) bool {
	if q[j].gain.less(q[i].gain) {
		return true
	}
	return q[i].gain.same(q[j].gain) && q[i].node < q[j].node
}
func (q byGain) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *byGain) Push(v any)   { *q = append(*q, v.(entry)) }
func (q *byGain) Pop() any {
	old := *q
	v := old[len(old)-1]
	*q = old[:len(old)-1]
	return v
}

// drain takes instances off the fullest node for as long as one can go somewhere emptier.
func (e *evener) drain() {
	e.queue = make(byGain, 0, len(e.in.Nodes))
	for n := range e.in.Nodes {
		if !e.s.closed[n] {
			e.queue = append(e.queue, entry{e.x.gain(int32(n)), int32(n)})
		}
	}
	heap.Init(&e.queue)
	for len(e.queue) > 0 {
		top := e.queue[0]
		if e.s.closed[top.node] {
			heap.Pop(&e.queue)
			continue
		}
		if now := e.x.gain(top.node); !now.same(top.gain) {
			e.queue[0].gain = now
			heap.Fix(&e.queue, 0)
			continue
		}
		if !e.augment(top.node, -1, top.gain) {
			heap.Pop(&e.queue)
		}
	}
}

// augment moves one instance along a chain from a node, or from an app with one that has no place, to a node whose cost is below
// limit. If there is no chain it closes everything that was reached, at that level, and returns false.
func (e *evener) augment(from, app int32, limit level) bool {
	e.round++
	e.start = from
	e.order, e.reached = e.order[:0], e.reached[:0]
	if from >= 0 {
		if to, a := e.direct(from, limit); to >= 0 {
			e.s.remove(a, from)
			e.s.add(a, to)
			e.push(to)
			return true
		}
		e.visit(from)
		e.scan(from)
	} else {
		e.seenApp[app], e.viaNode[app] = e.round, -1
		e.order = append(e.order, app)
	}
	for i := 0; i < len(e.order); i++ {
		a := e.order[i]
		if to := e.s.emptiest(a, limit); to >= 0 && to != from {
			e.shift(to, a)
			return true
		}
		for _, atom := range e.s.classes[e.s.class[a]] {
			members := e.s.members[atom]
			for j := e.skip(members, 0); j < len(members); j = e.skip(members, j+1) {
				n := members[j]
				if e.s.closed[n] || e.x.holds(a, n) {
					continue
				}
				e.visit(n)
				e.viaApp[n] = a
				e.scan(n)
			}
		}
	}
	for _, n := range e.reached {
		e.node[n] = limit
		e.s.close(n)
	}
	for _, a := range e.order {
		e.app[a], e.shut[a] = limit, true
	}
	return false
}

// direct returns the emptiest node that an instance on from can go to, if that is worth it.
func (e *evener) direct(from int32, limit level) (to, app int32) {
	to, app = -1, -1
	for _, a := range e.x.apps[from] {
		if e.shut[a] {
			continue
		}
		if n := e.s.emptiest(a, limit); n >= 0 && n != from {
			to, app, limit = n, a, e.x.cost(n)
		}
	}
	return to, app
}

// scan puts the apps of a node on the list of those whose instance may leave it.
func (e *evener) scan(n int32) {
	for _, a := range e.x.apps[n] {
		if e.seenApp[a] != e.round && !e.shut[a] {
			e.seenApp[a], e.viaNode[a] = e.round, n
			e.order = append(e.order, a)
		}
	}
}

// visit marks a node, so that skip goes past it.
func (e *evener) visit(n int32) {
	e.reached = append(e.reached, n)
	e.stamp[n], e.next[n] = e.round, e.index[n]+1
}

// skip returns the first index from j whose node is unvisited in this round; paths are shortened on the way.
func (e *evener) skip(members []int32, j int) int {
	start := j
	for j < len(members) && e.stamp[members[j]] == e.round {
		j = int(e.next[members[j]])
	}
	for start < len(members) && start < j && e.stamp[members[start]] == e.round {
		start, e.next[members[start]] = int(e.next[members[start]]), int32(j)
	}
	return j
}

// shift carries a found chain out: the app's instance goes to the node, and so on back to where the search began.
func (e *evener) shift(to, app int32) {
	for {
		from := e.viaNode[app]
		if from < 0 { // it had no place
			e.s.add(app, to)
			e.push(to)
			return
		}
		e.s.remove(app, from)
		e.s.add(app, to)
		e.push(to)
		e.push(from)
		if from == e.start {
			return
		}
		to, app = from, e.viaApp[from]
	}
}

func (e *evener) push(n int32) {
	if e.queue != nil {
		heap.Push(&e.queue, entry{e.x.gain(n), n})
	}
}

// Node returns the level of a node as a fraction. A denominator of 0 is a node that is full and that more should go to.
func (l *Levels) Node(n int32) (num, den int64) { return l.node[n].num, l.node[n].den }

// App returns the level of an app as a fraction.
func (l *Levels) App(a int32) (num, den int64) { return l.app[a].num, l.app[a].den }
