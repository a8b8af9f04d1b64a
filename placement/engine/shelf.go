package engine

import "slices"

// shelf keeps the open nodes by atom – those that no app's rules and no weight tell apart – and in one by how many units they have,
// so that a good place is found without looking at every node.
type shelf struct {
	b      *board
	atom   []int32
	atoms  []atom
	allows [][]int32
}

type atom struct {
	group  int32
	weight int64
	levels [][]int32
	lowest int32
}

func newShelf(b *board) *shelf {
	s := &shelf{b: b, atom: make([]int32, len(b.p.Nodes)), allows: make([][]int32, len(b.p.Apps))}
	type key struct {
		group  int32
		weight int64
	}
	known := map[key]int32{}
	for n := range b.p.Nodes {
		node := &b.p.Nodes[n]
		k := key{node.Group, node.Weight}
		a, ok := known[k]
		if !ok {
			a = int32(len(s.atoms))
			known[k] = a
			s.atoms = append(s.atoms, atom{group: k.group, weight: k.weight})
		}
		s.atom[n] = a
		s.put(int32(n))
	}
	b.shelf = s
	return s
}

// put shelves a node. Levels are in the order of the nodes' numbers, so that what is found first does not depend on what happened before.
func (s *shelf) put(n int32) {
	if !s.b.p.Nodes[n].Open {
		return
	}
	a, level := &s.atoms[s.atom[n]], s.b.weight[n]
	for int(level) >= len(a.levels) {
		a.levels = append(a.levels, nil)
	}
	i, _ := slices.BinarySearch(a.levels[level], n)
	a.levels[level] = slices.Insert(a.levels[level], i, n)
	a.lowest = min(a.lowest, level)
}

func (s *shelf) take(n int32) {
	a, level := &s.atoms[s.atom[n]], s.b.weight[n]
	if int(level) >= len(a.levels) {
		return
	}
	if i, ok := slices.BinarySearch(a.levels[level], n); ok {
		a.levels[level] = slices.Delete(a.levels[level], i, i+1)
	}
}

// What a point of each kind weighs: one unit more on a node of weight 1 costs as much as 25 points of preference gain.
const (
	scorePoint = 4
	scoreUnit  = 100
	scoreLoad  = 50
)

const mostLooks = 64 // at equally full nodes of an atom: the load of a node breaks ties among so many

// target returns the best node that takes the unit, but except, or none. limit is what the score has to exceed.
func (s *shelf) target(u int32, free bool, except int32) int32 {
	p := s.b.p
	app := p.Units[u].App
	a := &p.Apps[app]
	if s.allows[app] == nil {
		s.allows[app] = []int32{}
		for i := range s.atoms {
			if a.Allows(s.atoms[i].group) {
				s.allows[app] = append(s.allows[app], int32(i))
			}
		}
	}
	threshold := p.Policy.Migration.LoadThreshold
	best, most, calm := none, 0.0, false
	for _, i := range s.allows[app] {
		at := &s.atoms[i]
		for int(at.lowest) < len(at.levels) && len(at.levels[at.lowest]) == 0 {
			at.lowest++
		}
		looks := 0
	levels:
		for level := at.lowest; int(level) < len(at.levels); level++ {
			ideal := scorePoint*float64(a.Points(at.group)) - scoreUnit*float64(level)*1000/float64(at.weight)
			if best != none && calm && ideal < most {
				break
			}
			for _, n := range at.levels[level] {
				if n == except || !s.b.fits(u, n, free) {
					continue
				}
				nd := &p.Nodes[n]
				sc, quiet := ideal-scoreLoad*nd.Load, threshold == 0 || nd.Load <= threshold
				if best == none || quiet && !calm || quiet == calm && (sc > most || sc == most && n < best) {
					best, most, calm = n, sc, quiet
				}
				if looks++; looks >= mostLooks {
					break levels
				}
			}
		}
	}
	return best
}
