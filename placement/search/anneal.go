package search

import (
	"cmp"
	"math"
	"slices"
)

var logs = func() (t [1 << 12]float64) {
	for i := range t {
		t[i] = -math.Log((float64(i) + 0.5) / float64(len(t)))
	}
	return t
}()

// annealer runs one worker's annealing.
type annealer struct {
	*state
	free []int32 // items that may move, by size
	rank []int32 // place in free
	temp float64
}

func newAnnealer(s *state) *annealer {
	a := &annealer{state: s, rank: make([]int32, len(s.at))}
	total := make([]float64, s.R)
	for n := range s.N {
		for r := range s.R {
			total[r] += float64(max(1, s.soft[n*s.R+r]))
		}
	}
	size := make([]float64, len(s.at))
	for i := range s.at {
		for r, d := range s.demands(int32(i)) {
			size[i] += float64(d) / total[r]
		}
		if !s.p.Items[i].Pinned {
			a.free = append(a.free, int32(i))
		}
	}
	slices.SortFunc(a.free, func(x, y int32) int { return cmp.Or(cmp.Compare(size[y], size[x]), cmp.Compare(x, y)) })
	for i, it := range a.free {
		a.rank[it] = int32(i)
	}
	return a
}

// pick draws an item: any, or one of a node that costs much.
func (a *annealer) pick() int32 {
	r := a.rng.next()
	if r&3 != 0 {
		return a.free[a.rng.n(len(a.free))]
	}
	n := a.costly(3)
	on := a.on[n]
	if len(on) == 0 {
		return a.free[a.rng.n(len(a.free))]
	}
	if it := on[a.rng.n(len(on))]; !a.pinned[it] {
		return it
	}
	return a.free[a.rng.n(len(a.free))]
}

// costly draws a node, the costliest of some.
func (a *annealer) costly(k int) int {
	n := a.rng.n(a.N)
	for range k {
		if m := a.rng.n(a.N); a.nodeCost[m] > a.nodeCost[n] {
			n = m
		}
	}
	return n
}

// big draws an item, a large one more often than others.
func (a *annealer) big() int32 {
	x := float64(a.rng.next()>>11) / (1 << 53)
	return a.free[int(x*x*x*float64(len(a.free)))]
}

// turn tries one kind of move from one item, and returns how many moves it looked at.
func (a *annealer) turn() int {
	r := a.rng.next()
	bound := int64(a.temp * logs[r>>52])
	switch k := int(r & 1023); {
	case k < ejects:
		it := a.big()
		if r>>10&1 == 0 {
			if on := a.on[a.costly(3)]; len(on) > 0 {
				it = on[a.rng.n(len(on))]
				for range 3 {
					if o := on[a.rng.n(len(on))]; a.rank[o] < a.rank[it] {
						it = o
					}
				}
			}
		}
		if !a.pinned[it] {
			a.eject(it, int32(a.rng.n(a.N)), bound)
		}
		return a.tries * a.sample / 4
	case k < 500:
		n, _ := a.shifts(a.pick(), a.rng.n(a.N), min(a.N, 128), bound)
		return n
	default:
		n, _ := a.swaps(a.pick(), int32(a.rng.n(a.N)), 128, bound)
		return n
	}
}
