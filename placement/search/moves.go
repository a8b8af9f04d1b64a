package search

import "math"

// shifts tries to move item to one of k nodes, from node first on, so that the cost grows by at most bound. It returns how many it
// looked at, and whether it moved.
func (s *state) shifts(item int32, first, k int, bound int64) (int, bool) {
	from := s.at[item]
	d := s.demands(item)
	gain := -s.place(item, from)
	if from != None {
		gain += s.costOf(int(from), nil, d) - s.nodeCost[from]
	}
	if gain > bound && s.p.NodeCost == nil { // no node costs less by taking more
		return 1, false
	}
	home, held := s.home[item], s.demand[int(item)*s.R:int(item)*s.R+s.R]
	for i := range k {
		to := int32(first + i)
		if to >= int32(s.N) {
			to -= int32(s.N)
		}
		if to == from {
			continue
		}
		if to == home {
			held = s.holds(item, to)
			if !s.fits(held, to, nil) {
				held = d
				continue
			}
			held = d
		} else if !s.fits(held, to, nil) {
			continue
		}
		delta := gain + s.costOf(int(to), d, nil) - s.nodeCost[to]
		if delta > bound {
			continue
		}
		if delta += s.place(item, to); delta > bound || !s.allowed(item, to) {
			continue
		}
		extra, ok := s.ruled(item, from, to)
		if !ok || delta+extra > bound {
			continue
		}
		s.move(item, to, extra)
		return i + 1, true
	}
	return k, false
}

// shiftCost is what a shift adds to the cost, but for rules with a memory.
func (s *state) shiftCost(item, to int32) int64 {
	d := s.demands(item)
	from := s.at[item]
	delta := s.place(item, to) - s.place(item, from)
	delta += s.costOf(int(to), d, nil) - s.nodeCost[to]
	if from != None {
		delta += s.costOf(int(from), nil, d) - s.nodeCost[from]
	}
	return delta
}

// swaps tries to exchange item with one of k residents of a node, so that the cost grows by at most bound.
func (s *state) swaps(item, node int32, k int, bound int64) (int, bool) {
	m := s.at[item]
	if m == node || m == None || -s.nodeCost[m]-s.nodeCost[node]-s.place(item, m) > bound {
		return 1, false
	}
	on := s.on[node]
	if len(on) == 0 {
		return 1, false
	}
	k = min(k, len(on))
	start := s.rng.n(len(on))
	d, held, leaves := s.demands(item), s.holds(item, node), s.holds(item, m)
	fee := s.place(item, node) - s.place(item, m)
	for i := range k {
		j := start + i
		if j >= len(on) {
			j -= len(on)
		}
		q := on[j]
		if !s.fits(held, node, s.holds(q, node)) || !s.fits(s.holds(q, m), m, leaves) || s.pinned[q] {
			continue
		}
		dq := s.demands(q)
		delta := fee + s.costOf(int(node), d, dq) - s.nodeCost[node]
		if delta-s.nodeCost[m]-s.place(q, node) > bound {
			continue
		}
		delta += s.place(q, m) - s.place(q, node)
		if delta += s.costOf(int(m), dq, d) - s.nodeCost[m]; delta > bound {
			continue
		}
		if s.exchange(item, q, bound) {
			return i + 1, true
		}
	}
	return k, false
}

// exchange exchanges the nodes of two items that fit if all rules allow it and the cost then grows by at most bound.
func (s *state) exchange(a, b int32, bound int64) bool {
	m, n := s.at[a], s.at[b]
	same := s.group[a] == s.group[b] // then nothing that groups ask for changes, where both nodes take them
	if may := s.p.Groups[s.group[a]].Allowed; same && may != nil {
		same = may[m] && may[n]
	}
	if !same && (!s.allowed(a, n) || !s.allowed(b, m)) {
		return false
	}
	extra, ok := s.ruled(a, m, n)
	if !ok {
		return false
	}
	start := s.begin()
	s.move(a, n, extra)
	extra, ok = s.ruled(b, n, m)
	if !ok || !same && !s.allowed(b, m) {
		s.back(start)
		return false
	}
	s.move(b, m, extra)
	if s.cost-start > bound {
		s.back(start)
		return false
	}
	s.logging = false
	return true
}

// eject puts item on a node that is too full for it and sends others from there elsewhere, until all fits and as long as it pays.
func (s *state) eject(item, to int32, bound int64) bool {
	from := s.at[item]
	if from == to || !s.allowed(item, to) {
		return false
	}
	extra, ok := s.ruled(item, from, to)
	if !ok {
		return false
	}
	start := s.begin()
	s.move(item, to, extra)
	for tries := range 2 * s.tries {
		full := s.over(to)
		if full && tries > s.tries {
			break
		}
		out := s.victim(item, to, full)
		if out == None {
			break
		}
		best := s.refuge(out, to, from, full)
		if best == None {
			continue
		}
		if extra, ok := s.ruled(out, to, best); ok {
			s.move(out, best, extra)
		}
	}
	if s.over(to) || s.cost-start > bound {
		s.back(start)
		return false
	}
	s.logging = false
	return true
}

// victim draws a resident of node other than keep; if the node is too full, one that gives way where it is.
func (s *state) victim(keep, node int32, full bool) int32 {
	on := s.on[node]
	for range 8 {
		v := on[s.rng.n(len(on))]
		if v == keep || s.pinned[v] {
			continue
		}
		if !full {
			return v
		}
		b, h := int(node)*s.R, s.holds(v, node)
		for i := range h {
			if h[i] > 0 && s.room[b+i] < 0 {
				return v
			}
		}
	}
	return None
}

// refuge is the best of some nodes that can take item from its node, the first given and its home among them: one where the cost
// falls, or any if it must leave.
func (s *state) refuge(item, not, first int32, must bool) int32 {
	best, least := int32(None), int64(0)
	if must {
		least = math.MaxInt64
	}
	for i := -2; i < min(s.N, s.sample); i++ {
		var n int32
		switch i {
		case -2:
			n = first
		case -1:
			n = s.home[item]
		default:
			n = int32(s.rng.n(s.N))
		}
		if n == None || n == not || !s.fits(s.holds(item, n), n, nil) {
			continue
		}
		if d := s.shiftCost(item, n); d < least && s.allowed(item, n) {
			best, least = n, d
		}
	}
	return best
}
