package engine

import (
	"slices"

	"github.com/go-cluster/go-cluster/placement/model"
)

const none = model.None

// board is where every unit is in the plan being made, and where it was. A node is judged on both together where the plan is to be
// order-free: then no subset of its moves, in no order, breaks a rule.
type board struct {
	p      *model.Problem
	app    []int32   // unit → app: kept apart, for lists of units are walked often and units are large
	at     []int32   // unit → node in the plan; none: nowhere
	home   []int32   // unit → node at the start
	locked []bool    // unit → it does not move in this plan
	units  [][]int32 // node → units there in the plan, moves in flight to it included
	ghosts [][]int32 // node → units that were there at the start, or fly from there, and are not in units
	used   []int64   // node × dimension: of units
	ghost  []int64   // node × dimension: of ghosts
	weight []int32   // node → units that count in balance
	dims   int
	lies   [][][]int32 // app → spread rule → domain → units
	hosts  []bool      // app → some app has to be with it
	shelf  *shelf
}

func newBoard(p *model.Problem) *board {
	b := &board{p: p, app: make([]int32, len(p.Units)), at: make([]int32, len(p.Units)), home: make([]int32, len(p.Units)), locked: make([]bool, len(p.Units)), units: make([][]int32, len(p.Nodes)),
		ghosts: make([][]int32, len(p.Nodes)), weight: make([]int32, len(p.Nodes)), dims: len(p.Dims), lies: make([][][]int32, len(p.Apps)), hosts: make([]bool, len(p.Apps))}
	b.used, b.ghost = make([]int64, len(p.Nodes)*b.dims), make([]int64, len(p.Nodes)*b.dims)
	for a := range p.Apps {
		for _, s := range p.Apps[a].Spread {
			b.lies[a] = append(b.lies[a], make([]int32, s.Count))
		}
		for _, o := range p.Apps[a].With {
			if o != none {
				b.hosts[o] = true
			}
		}
	}
	count := make([]int32, len(p.Nodes))
	for u := range p.Units {
		if n := p.Units[u].At(); n != none {
			count[n]++
		}
	}
	pool := make([]int32, len(p.Units)+2*len(p.Nodes))
	for n, c := range count {
		b.units[n] = pool[: 0 : c+2]
		pool = pool[c+2:]
	}
	for i := range p.Units {
		u := int32(i)
		unit := &p.Units[i]
		b.app[u], b.at[u], b.home[u] = unit.App, none, unit.Node
		if unit.New {
			continue
		}
		if unit.Moving {
			b.home[u], b.locked[u] = unit.To, true
			for _, n := range []int32{unit.Source, unit.Node} {
				if n != none && n != unit.To && !slices.Contains(b.ghosts[n], u) {
					b.haunt(u, n)
				}
			}
		}
		if n := unit.At(); n != none {
			b.put(u, n)
		}
	}
	return b
}

// put places a unit that is nowhere.
func (b *board) put(u, n int32) {
	if b.shelf != nil {
		b.shelf.take(n)
		defer b.shelf.put(n)
	}
	b.at[u] = n
	b.units[n] = append(b.units[n], u)
	b.weight[n]++
	unit := &b.p.Units[u]
	for d, v := range unit.Demand {
		b.used[int(n)*b.dims+d] += v
	}
	for i := range b.p.Apps[unit.App].Spread {
		if v := b.p.LiesIn(&b.p.Apps[unit.App].Spread[i], n); v != none {
			b.lies[unit.App][i][v]++
		}
	}
	if b.home[u] == n && !unit.Moving {
		b.exorcise(u, n)
	}
}

// lift takes a unit off its node; where it was at the start it stays as a ghost.
func (b *board) lift(u int32) {
	n := b.at[u]
	if b.shelf != nil {
		b.shelf.take(n)
		defer b.shelf.put(n)
	}
	b.at[u] = none
	b.units[n] = without(b.units[n], u)
	b.weight[n]--
	unit := &b.p.Units[u]
	for d, v := range unit.Demand {
		b.used[int(n)*b.dims+d] -= v
	}
	for i := range b.p.Apps[unit.App].Spread {
		if v := b.p.LiesIn(&b.p.Apps[unit.App].Spread[i], n); v != none {
			b.lies[unit.App][i][v]--
		}
	}
	if b.home[u] == n {
		b.haunt(u, n)
	}
}

func (b *board) move(u, n int32) { b.lift(u); b.put(u, n) }

func (b *board) haunt(u, n int32) {
	b.ghosts[n] = append(b.ghosts[n], u)
	for d, v := range b.p.Units[u].Demand {
		b.ghost[int(n)*b.dims+d] += v
	}
}

func (b *board) exorcise(u, n int32) {
	if i := slices.Index(b.ghosts[n], u); i >= 0 {
		b.ghosts[n] = slices.Delete(b.ghosts[n], i, i+1)
		for d, v := range b.p.Units[u].Demand {
			b.ghost[int(n)*b.dims+d] -= v
		}
	}
}

func without(list []int32, v int32) []int32 {
	i := slices.Index(list, v)
	list[i] = list[len(list)-1]
	return list[:len(list)-1]
}

// How strictly a place is judged.
const (
	orderFree = true  // with everything that was there at the start too
	atTheEnd  = false // with what is there once all moves have ended
)

// fits says whether the unit may be put on the node.
func (b *board) fits(u, n int32, free bool) bool {
	unit := &b.p.Units[u]
	return b.p.Eligible(unit.App, n) && b.bears(u, n, free)
}

// bears is fits without the rules that concern the node alone: for where a unit is already, too.
func (b *board) bears(u, n int32, free bool) bool {
	unit := &b.p.Units[u]
	a := &b.p.Apps[unit.App]
	at := int(n) * b.dims
	own := b.at[u] == n
	for d, v := range unit.Demand {
		used := b.used[at+d]
		if own {
			used -= v
		}
		if free {
			used += b.ghost[at+d]
			if b.home[u] == n && !own {
				used -= v
			}
		}
		if v > 0 && used+v > b.p.Nodes[n].Cap[d] {
			return false
		}
	}
	for _, o := range b.units[n] {
		if o != u && !b.together(unit.App, b.app[o]) {
			return false
		}
	}
	for _, o := range b.ghosts[n] {
		if o != u && (free || b.p.Units[o].Moving) && !b.together(unit.App, b.app[o]) {
			return false
		}
	}
	for _, o := range a.With {
		if o == none || !b.hasApp(o, n) {
			return false
		}
	}
	for i := range a.Spread {
		if !b.spreads(unit.App, i, n, b.at[u]) {
			return false
		}
	}
	return true
}

// together says whether instances of two apps may share a node.
func (b *board) together(x, y int32) bool {
	if x == y {
		return false
	}
	away := b.p.Apps[x].Away
	if len(away) == 0 {
		return true
	}
	_, found := slices.BinarySearch(away, y)
	return !found
}

func (b *board) hasApp(a, n int32) bool {
	for _, u := range b.units[n] {
		if b.app[u] == a {
			return true
		}
	}
	return false
}

// spreads says whether one unit more of the app on the node, and one less where it comes from, keeps the skew of a spread rule.
func (b *board) spreads(a int32, rule int, n, from int32) bool {
	s := &b.p.Apps[a].Spread[rule]
	to := s.Domain[n]
	if to == none {
		return false
	}
	was := b.p.LiesIn(s, from)
	counts := b.lies[a][rule]
	least := int32(1) << 30
	for v := range s.Count {
		if !s.Takes[v] && counts[v] == 0 {
			continue
		}
		c := counts[v]
		if int32(v) == was {
			c--
		}
		if int32(v) == to {
			c++
		}
		least = min(least, c)
	}
	here := counts[to] + 1
	if was == to {
		here--
	}
	return here-least <= int32(s.Skew)
}

// followers returns the units on the unit's node that have to go where it goes, the unit first.
func (b *board) followers(u int32) []int32 {
	group := []int32{u}
	n := b.at[u]
	if n == none || !b.hosts[b.p.Units[u].App] {
		return group
	}
	for i := 0; i < len(group); i++ {
		for _, o := range b.units[n] {
			if !slices.Contains(group, o) && slices.Contains(b.p.Apps[b.p.Units[o].App].With, b.p.Units[group[i]].App) {
				group = append(group, o)
			}
		}
	}
	return group
}

// moved says whether the unit's place in the plan is another than at the start.
func (b *board) moved(u int32) bool { return b.at[u] != b.home[u] }
