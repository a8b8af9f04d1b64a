package flow

import (
	"cmp"
	"slices"
)

// search is the scratch space of shortest paths and blocking flows.
type search struct {
	dist  []int64
	done  []bool
	level []int32
	dead  []bool
	arc   []int32 // vertex → index of the next thing to try
	cellA []int32 // app → index of the cell being tried
	at    []int32 // app → index in that cell; −1 before its range
	heap  []event
	queue []int32
}

func (s *search) init(vertices int) {
	s.dist, s.done, s.level, s.dead = make([]int64, vertices), make([]bool, vertices), make([]int32, vertices), make([]bool, vertices)
	s.arc, s.cellA, s.at = make([]int32, vertices), make([]int32, vertices), make([]int32, vertices)
}

// event is a vertex reached at a distance, or the next node of a cell that an app reaches.
type event struct {
	dist   int64
	vertex int32 // to be settled; of a cell: the app's number
	cell   int32 // index in cellF, −1 for a vertex
	index  int32 // in the cell
}

func (s *search) push(e event) {
	s.heap = append(s.heap, e)
	i := len(s.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if s.heap[up].dist <= e.dist {
			break
		}
		s.heap[i] = s.heap[up]
		i = up
	}
	s.heap[i] = e
}

func (s *search) pop() event {
	top, last := s.heap[0], s.heap[len(s.heap)-1]
	s.heap = s.heap[:len(s.heap)-1]
	n := len(s.heap)
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && s.heap[c+1].dist < s.heap[c].dist {
			c++
		}
		if s.heap[c].dist >= last.dist {
			break
		}
		s.heap[i] = s.heap[c]
		i = c
	}
	s.heap[i] = last
	return top
}

// solve sends every excess to where something is missing, along paths of least cost. It returns false when some cannot get there.
func (k *keeper) solve() bool {
	for {
		want := false
		for v := range k.s.dist {
			want = want || k.excess(int32(v)) > 0
		}
		if !want {
			return true
		}
		if !k.shortest() {
			return false
		}
		for k.layers() {
			k.block()
		}
	}
}

// shortest finds the distance to the nearest vertex that misses something and raises the potentials by it.
func (k *keeper) shortest() bool {
	s, nodes, apps := &k.s, int32(len(k.in.Nodes)), int32(len(k.in.Apps))
	for _, cells := range k.cells {
		for _, c := range cells {
			slices.SortFunc(c.nodes, func(x, y int32) int { return cmp.Or(cmp.Compare(k.pi[y], k.pi[x]), cmp.Compare(x, y)) })
			c.reset()
		}
	}
	place := k.places()
	s.heap = s.heap[:0]
	for v := range s.dist {
		s.dist[v], s.done[v] = far, false
		if k.excess(int32(v)) > 0 {
			s.dist[v] = 0
			s.push(event{0, int32(v), -1, 0})
		}
	}
	relax := func(v int32, d int64) {
		if d < s.dist[v] {
			s.dist[v] = d
			s.push(event{d, v, -1, 0})
		}
	}
	reach := far
	for len(s.heap) > 0 {
		e := s.pop()
		if e.cell >= 0 { // the next node of a cell
			a := e.vertex
			c := k.cellF[a][e.cell]
			i := c.alive(e.index)
			if int(i) < len(c.nodes) {
				n := c.nodes[i]
				d := s.dist[nodes+a] + k.away(a, c.group) + k.pi[nodes+a] - k.pi[n]
				if d > e.dist { // it was skipped ahead: not its turn yet
					s.push(event{d, a, e.cell, i})
					continue
				}
				if !k.holds(a, n) { // events come in order: no later one reaches it sooner
					relax(n, d)
					c.kill(i)
				}
				if int(i)+1 < len(c.nodes) {
					m := c.nodes[i+1]
					s.push(event{s.dist[nodes+a] + k.away(a, c.group) + k.pi[nodes+a] - k.pi[m], a, e.cell, i + 1})
				}
			}
			continue
		}
		v := e.vertex
		if s.done[v] || e.dist > s.dist[v] {
			continue
		}
		s.done[v] = true
		if k.excess(v) < 0 {
			reach = e.dist
			break
		}
		d := e.dist
		switch {
		case v < nodes:
			k.cells[k.rank[v]][place.cell[v]].kill(place.index[v])
			for _, a := range k.on[v] {
				relax(nodes+a, d-k.cost(a, v)+k.pi[v]-k.pi[nodes+a])
			}
			if k.out[v] < k.hi[v] {
				relax(nodes+apps, d+k.pi[v]-k.pi[nodes+apps])
			}
		case v < nodes+apps:
			a := v - nodes
			for _, n := range k.lost[a] {
				relax(n, d+k.cost(a, n)+k.pi[v]-k.pi[n])
			}
			for ci, c := range k.cellF[a] {
				if i := c.alive(0); int(i) < len(c.nodes) {
					s.push(event{d + k.away(a, c.group) + k.pi[v] - k.pi[c.nodes[i]], a, int32(ci), i})
				}
			}
		default:
			for n := range nodes {
				if k.out[n] > k.lo[n] {
					relax(n, d+k.pi[v]-k.pi[n])
				}
			}
		}
	}
	if reach == far {
		return false
	}
	for v := range s.dist {
		if s.done[v] {
			k.pi[v] += min(s.dist[v], reach)
		} else {
			k.pi[v] += reach
		}
	}
	return true
}

// places says in which cell of its level, and where in it, each node is.
type places struct{ cell, index []int32 }

func (k *keeper) places() places {
	p := places{make([]int32, len(k.in.Nodes)), make([]int32, len(k.in.Nodes))}
	for _, cells := range k.cells {
		for ci, c := range cells {
			for i, n := range c.nodes {
				p.cell[n], p.index[n] = int32(ci), int32(i)
			}
		}
	}
	return p
}

func (c *cell) reset() {
	if len(c.next) != len(c.nodes)+1 {
		c.next = make([]int32, len(c.nodes)+1)
	}
	for i := range c.next {
		c.next[i] = int32(i)
	}
}

// alive returns the first index from i that was not killed.
func (c *cell) alive(i int32) int32 {
	for c.next[i] != i {
		c.next[i] = c.next[c.next[i]]
		i = c.next[i]
	}
	return i
}

func (c *cell) kill(i int32) { c.next[i] = i + 1 }

// layers numbers the vertices by how many arcs of least cost they are from an excess. It returns false when none leads to where
// something is missing.
func (k *keeper) layers() bool {
	s, nodes, apps := &k.s, int32(len(k.in.Nodes)), int32(len(k.in.Apps))
	for _, cells := range k.cells {
		for _, c := range cells {
			slices.SortFunc(c.nodes, func(x, y int32) int { return cmp.Or(cmp.Compare(k.pi[y], k.pi[x]), cmp.Compare(x, y)) })
			c.reset()
		}
	}
	place := k.places()
	s.queue = s.queue[:0]
	for v := range s.level {
		s.level[v], s.dead[v], s.arc[v] = -1, false, 0
		if k.excess(int32(v)) > 0 {
			s.level[v] = 0
			s.queue = append(s.queue, int32(v))
		}
	}
	found := false
	visit := func(v, level int32) {
		if s.level[v] < 0 {
			s.level[v] = level
			s.queue = append(s.queue, v)
			if v < nodes {
				k.cells[k.rank[v]][place.cell[v]].kill(place.index[v])
			}
			found = found || k.excess(v) < 0
		}
	}
	for _, v := range s.queue {
		if v < nodes {
			k.cells[k.rank[v]][place.cell[v]].kill(place.index[v])
		}
	}
	for i := 0; i < len(s.queue); i++ {
		v := s.queue[i]
		l := s.level[v] + 1
		switch {
		case v < nodes:
			for _, a := range k.on[v] {
				if k.pi[nodes+a] == k.pi[v]-k.cost(a, v) {
					visit(nodes+a, l)
				}
			}
			if k.out[v] < k.hi[v] && k.pi[nodes+apps] == k.pi[v] {
				visit(nodes+apps, l)
			}
		case v < nodes+apps:
			a := v - nodes
			for _, n := range k.lost[a] {
				if k.pi[n] == k.pi[v]+k.cost(a, n) {
					visit(n, l)
				}
			}
			for _, c := range k.cellF[a] {
				want := k.pi[v] + k.away(a, c.group)
				first, _ := slices.BinarySearchFunc(c.nodes, want, func(n int32, w int64) int { return cmp.Compare(w, k.pi[n]) })
				for j := c.alive(int32(first)); int(j) < len(c.nodes) && k.pi[c.nodes[j]] == want; j = c.alive(j + 1) {
					if !k.holds(a, c.nodes[j]) {
						visit(c.nodes[j], l)
					}
				}
			}
		default:
			for n := range nodes {
				if k.out[n] > k.lo[n] && k.pi[n] == k.pi[v] {
					visit(n, l)
				}
			}
		}
	}
	return found
}
