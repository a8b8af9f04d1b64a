package search

import "math/bits"

// state is an assignment with everything that makes the next move cheap to judge. One worker owns it.
type state struct {
	p       *Problem
	R, N    int
	demand  []int64 // item × resource
	steady  []int64 // the same, transient resources zero: what coming home or leaving it changes in room
	room    []int64 // node × resource: what still fits; what moved away counts where it left, for transient resources
	excess  []int64 // node × resource: usage less the soft capacity
	soft    []int64
	weight  []int64
	scratch []int64

	home   []int32
	at     []int32
	pos    []int32   // place of an item in on[at]
	on     [][]int32 // residents by node
	group  []int32
	domain []int32
	pinned []bool

	counts  [][]int32 // by group, nil if nobody asks: items by node
	perNode []int32
	reach   [][]int32 // by group, nil if it does not spread: items by domain
	spread  []int32   // domains in use
	least   []int32

	rules   []Rule
	journal []step
	logging bool

	nodeCost []int64
	cost     int64
	unplaced int
	rng      source
	tries    int // victims of one ejection
	sample   int // nodes looked at for each
}

type step struct{ item, from, to int32 }

func newState(p *Problem, seed uint64) *state {
	r, n, k := p.Resources, len(p.Nodes), len(p.Items)
	s := &state{p: p, R: r, N: n, rng: newSource(seed),
		demand: make([]int64, k*r), steady: make([]int64, k*r), room: make([]int64, n*r), excess: make([]int64, n*r),
		soft: make([]int64, n*r), weight: make([]int64, r), scratch: make([]int64, r),
		home: make([]int32, k), at: make([]int32, k), pos: make([]int32, k), on: make([][]int32, n), group: make([]int32, k), domain: make([]int32, n), pinned: make([]bool, k),
		counts: make([][]int32, len(p.Groups)), perNode: make([]int32, len(p.Groups)), reach: make([][]int32, len(p.Groups)),
		spread: make([]int32, len(p.Groups)), least: make([]int32, len(p.Groups)), nodeCost: make([]int64, n)}
	copy(s.weight, p.Weight)
	domains := 0
	for i, m := range p.Nodes {
		copy(s.room[i*r:], m.Cap)
		for j, c := range m.Soft {
			s.excess[i*r+j] = -c
		}
		copy(s.soft[i*r:], m.Soft)
		s.domain[i] = int32(m.Domain)
		domains = max(domains, m.Domain+1)
	}
	size := make([]int, len(p.Groups))
	for _, it := range p.Items {
		size[it.Group]++
	}
	for g, d := range p.Groups {
		s.perNode[g], s.least[g] = int32(d.PerNode), int32(d.Domains)
		if d.PerNode > 0 && size[g] > d.PerNode || len(d.Away) > 0 {
			s.counts[g] = make([]int32, n)
		}
		if d.Domains > 1 {
			s.reach[g] = make([]int32, domains)
		}
	}
	for i, it := range p.Items {
		s.home[i], s.group[i], s.at[i] = int32(it.Home), int32(it.Group), None
		s.pinned[i] = it.Pinned
		copy(s.demand[i*r:], it.Demand)
		for j, d := range it.Demand {
			if p.Transient == nil || !p.Transient[j] {
				s.steady[i*r+j] = d
			} else if it.Home != None {
				s.room[it.Home*r+j] -= d
			}
		}
		s.cost += p.Unplaced
	}
	s.unplaced = k
	if p.Rules != nil {
		s.rules = p.Rules()
	}
	for i := range s.on {
		s.nodeCost[i] = s.costOf(i, nil, nil)
		s.cost += s.nodeCost[i]
	}
	return s
}

// costOf is the cost of node n with one demand added and another taken away; either may be nil.
func (s *state) costOf(n int, add, sub []int64) int64 {
	var c int64
	b := n * s.R
	e := s.excess[b : b+s.R]
	w := s.weight[:len(e)]
	switch {
	case s.p.NodeCost != nil:
		return s.costAll(n, add, sub)
	case add != nil && sub != nil:
		add, sub = add[:len(e)], sub[:len(e)]
		for i, u := range e {
			c += w[i] * max(0, u+add[i]-sub[i])
		}
	case add != nil:
		add = add[:len(e)]
		for i, u := range e {
			c += w[i] * max(0, u+add[i])
		}
	case sub != nil:
		sub = sub[:len(e)]
		for i, u := range e {
			c += w[i] * max(0, u-sub[i])
		}
	default:
		for i, u := range e {
			c += w[i] * max(0, u)
		}
	}
	return c
}

// costAll is costOf with what the problem adds.
func (s *state) costAll(n int, add, sub []int64) int64 {
	var c int64
	b := n * s.R
	buf := s.scratch
	copy(buf, s.excess[b:b+s.R])
	for i := range add {
		buf[i] += add[i]
	}
	for i := range sub {
		buf[i] -= sub[i]
	}
	for i, u := range buf {
		c += s.weight[i] * max(0, u)
		buf[i] = u + s.soft[b+i]
	}
	return c + s.p.NodeCost(n, buf)
}

func (s *state) demands(item int32) []int64 {
	b := int(item) * s.R
	return s.demand[b : b+s.R : b+s.R]
}

// holds is what an item takes from the room of a node by being on it: at home its transient demands are held anyway.
func (s *state) holds(item, node int32) []int64 {
	b := int(item) * s.R
	if s.home[item] == node {
		return s.steady[b : b+s.R : b+s.R]
	}
	return s.demand[b : b+s.R : b+s.R]
}

// fits says whether what holds d may join node by capacity if what holds out (or nil) leaves it.
func (s *state) fits(d []int64, node int32, out []int64) bool {
	b := int(node) * s.R
	room := s.room[b : b+s.R]
	d = d[:len(room)]
	if out == nil {
		for i, r := range room {
			if d[i] > r && d[i] > 0 {
				return false
			}
		}
		return true
	}
	out = out[:len(room)]
	for i, r := range room {
		if more := d[i] - out[i]; more > r && more > 0 {
			return false
		}
	}
	return true
}

// over says whether node holds more than it can.
func (s *state) over(node int32) bool {
	b := int(node) * s.R
	for _, r := range s.room[b : b+s.R] {
		if r < 0 {
			return true
		}
	}
	return false
}

func (s *state) place(item, node int32) int64 {
	if node == None {
		return s.p.Unplaced
	}
	if s.p.Place == nil {
		return 0
	}
	return s.p.Place(int(item), int(node))
}

// allowed judges everything but capacity, limits and rules with a memory last.
func (s *state) allowed(item, to int32) bool {
	g := s.group[item]
	from := s.at[item]
	if a := s.p.Groups[g].Allowed; a != nil && !a[to] {
		return false
	}
	if c := s.counts[g]; c != nil && s.perNode[g] > 0 && c[to] >= s.perNode[g] {
		return false
	}
	for _, other := range s.p.Groups[g].Away {
		if s.counts[other] != nil && s.counts[other][to] > 0 {
			return false
		}
	}
	if r := s.reach[g]; r != nil && from != None {
		a, b := s.domain[from], s.domain[to]
		if a != b && r[a] == 1 && r[b] > 0 && s.spread[g] <= s.least[g] {
			return false
		}
	}
	return true
}

func (s *state) ruled(item, from, to int32) (int64, bool) {
	var sum int64
	for _, r := range s.rules {
		d, ok := r.Delta(int(item), int(from), int(to))
		if !ok {
			return 0, false
		}
		sum += d
	}
	return sum, true
}

// move moves an item, whatever it breaks, and keeps everything exact; extra is what the rules said that it costs.
func (s *state) move(item, to int32, extra int64) {
	from := s.at[item]
	s.cost += extra + s.place(item, to) - s.place(item, from)
	g := s.group[item]
	if from != None {
		last := len(s.on[from]) - 1
		moved := s.on[from][last]
		s.on[from][s.pos[item]] = moved
		s.pos[moved] = s.pos[item]
		s.on[from] = s.on[from][:last]
		s.account(item, from, -1)
		if c := s.counts[g]; c != nil {
			c[from]--
		}
		if r := s.reach[g]; r != nil {
			if r[s.domain[from]]--; r[s.domain[from]] == 0 {
				s.spread[g]--
			}
		}
	} else {
		s.unplaced--
	}
	s.at[item] = to
	if to != None {
		s.pos[item] = int32(len(s.on[to]))
		s.on[to] = append(s.on[to], item)
		s.account(item, to, 1)
		if c := s.counts[g]; c != nil {
			c[to]++
		}
		if r := s.reach[g]; r != nil {
			if r[s.domain[to]]++; r[s.domain[to]] == 1 {
				s.spread[g]++
			}
		}
	} else {
		s.unplaced++
	}
	for _, r := range s.rules {
		r.Move(int(item), int(from), int(to))
	}
	if s.logging {
		s.journal = append(s.journal, step{item, from, to})
	}
}

func (s *state) account(item, node int32, sign int64) {
	b := int(node) * s.R
	d, h := s.demands(item), s.holds(item, node)
	for i := range d {
		s.excess[b+i] += sign * d[i]
		s.room[b+i] -= sign * h[i]
	}
	c := s.costOf(int(node), nil, nil)
	s.cost += c - s.nodeCost[node]
	s.nodeCost[node] = c
}

// begin and back bracket moves that may be taken back; the cost of before is restored with them.
func (s *state) begin() int64 {
	s.journal, s.logging = s.journal[:0], true
	return s.cost
}

func (s *state) back(cost int64) {
	s.logging = false
	for i := len(s.journal) - 1; i >= 0; i-- {
		s.move(s.journal[i].item, s.journal[i].from, 0)
	}
	s.cost = cost
}

// source is a small generator (splitmix64): the search draws several numbers a step.
type source struct{ x uint64 }

func newSource(seed uint64) source { return source{seed*0x9e3779b97f4a7c15 + 0x1234567} }

func (s *source) next() uint64 {
	s.x += 0x9e3779b97f4a7c15
	z := s.x
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n draws from [0, k).
func (s *source) n(k int) int {
	hi, _ := bits.Mul64(s.next(), uint64(k))
	return int(hi)
}
