package engine

import (
	"slices"

	"github.com/go-cluster/go-cluster/events"
)

// shelf keeps the open nodes by atom – those that no app's rules and no weight tell apart – and in one by how many units they have,
// so that a good place is found without looking at every node.
type shelf struct {
	b      *board
	atom   []int32
	atoms  []atom
	known  map[atomKey]int32
	allows [][]int32
}

type atom struct {
	group  int32
	weight int64
	levels [][]int32
	lowest int32
}

func newShelf(b *board) *shelf {
	s := &shelf{b: b, atom: make([]int32, len(b.p.Nodes)), known: map[atomKey]int32{}, allows: make([][]int32, len(b.p.Apps))}
	for n := range b.p.Nodes {
		s.find(int32(n))
		s.put(int32(n))
	}
	b.shelf = s
	return s
}

type atomKey struct {
	group  int32
	weight int64
}

// find gives a node its atom, a new one if no other node is like it.
func (s *shelf) find(n int32) {
	node := &s.b.p.Nodes[n]
	k := atomKey{node.Group, node.Weight}
	a, ok := s.known[k]
	if !ok {
		a = int32(len(s.atoms))
		s.known[k] = a
		s.atoms = append(s.atoms, atom{group: k.group, weight: k.weight})
		for app, list := range s.allows {
			if list != nil && s.b.p.Apps[app].Allows(k.group) {
				s.allows[app] = append(list, a)
			}
		}
	}
	s.atom[n] = a
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

// choose returns the best node for one more unit of an app, and how many nodes each reason rules out. Nodes that the app's rules do
// not allow are counted by atom and not looked at one by one.
func (s *shelf) choose(app int32) (string, map[string]int) {
	p := s.b.p
	a := &p.Apps[app]
	refused := map[string]int{}
	best, most := none, 0.0
	for i := range s.atoms {
		at := &s.atoms[i]
		if !a.Allows(at.group) {
			for _, level := range at.levels {
				refused["label"] += len(level)
			}
			continue
		}
		looks := 0
	levels:
		for level := at.lowest; int(level) < len(at.levels); level++ {
			for _, n := range at.levels[level] {
				sc := scorePoint*float64(a.Points(at.group)) - scoreUnit*float64(level)*1000/float64(at.weight) - scoreLoad*p.Nodes[n].Load
				switch {
				case s.b.refuses(app, n) != "":
					refused[s.b.refuses(app, n)]++
				case best == none || sc > most:
					best, most = n, sc
				}
				if looks++; looks >= mostLooks || best == n {
					break levels
				}
			}
		}
	}
	if best == none {
		return "", refused
	}
	return p.Nodes[best].ID, refused
}

// refuses names the first rule by which an open node that the app's own rules allow does not take one more unit of it, "" for none.
func (b *board) refuses(app, n int32) string {
	a := &b.p.Apps[app]
	if b.hasApp(app, n) {
		return events.RuleOccupied
	}
	for d, v := range a.Demand {
		if at := int(n)*b.dims + d; v > 0 && b.used[at]+b.ghost[at]+v > b.p.Nodes[n].Cap[d] {
			return b.p.Dims[d]
		}
	}
	if len(a.Away) > 0 {
		for _, o := range b.units[n] {
			if !b.together(app, b.p.Units[o].App) {
				return events.RuleAwayFrom
			}
		}
	}
	for _, o := range a.With {
		if o == none || !b.hasApp(o, n) {
			return events.RuleWith
		}
	}
	for i := range a.Spread {
		if !b.spreads(app, i, n, none) {
			return events.RuleSpread
		}
	}
	return ""
}
