package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/events"
)

// harm is how badly a node breaks the rules that concern what is there together: pairs that may not share it, units without the app
// they need, units too many in their domain, and by how much each resource is overdrawn, in shares of the node.
type harm struct {
	pairs int
	over  float64
}

func (h harm) none() bool { return h.pairs == 0 && h.over == 0 }

func (h harm) compare(o harm) int {
	return cmp.Or(cmp.Compare(h.pairs, o.pairs), cmp.Compare(h.over, o.over))
}

// harm judges a node as it would be without one unit (none: as it is).
func (b *board) harm(n, without int32) (h harm) {
	units := b.units[n]
	for d, c := range b.p.Nodes[n].Cap {
		used := b.used[int(n)*b.dims+d]
		if without != none {
			used -= b.p.Units[without].Demand[d]
		}
		if used > c {
			h.over += float64(used-c) / float64(max(c, 1))
		}
	}
	crowd := b.crowd(n)
	for i, x := range units {
		if x == without {
			continue
		}
		app := b.app[x]
		a := &b.p.Apps[app]
		if len(a.Away) > 0 || crowd {
			for _, y := range units[i+1:] {
				if y != without && !b.together(app, b.app[y]) {
					h.pairs++
				}
			}
		}
		for _, o := range a.With {
			if o == none || !b.hasApp(o, n) {
				h.pairs++
			}
		}
		for r := range a.Spread {
			if !b.skewed(app, r, n, without) {
				continue
			}
			h.pairs++
		}
	}
	return h
}

// crowd says whether two units of one app are on the node.
func (b *board) crowd(n int32) bool {
	units := b.units[n]
	for i, x := range units {
		app := b.app[x]
		for _, y := range units[i+1:] {
			if app == b.app[y] {
				return true
			}
		}
	}
	return false
}

// skewed says whether the domain of the node has more units of the app than its rule lets it have.
func (b *board) skewed(app int32, rule int, n, without int32) bool {
	s := &b.p.Apps[app].Spread[rule]
	v := b.p.LiesIn(s, n)
	if v == none {
		return !b.p.Nodes[n].Leave
	}
	counts := b.lies[app][rule]
	least := int32(1) << 30
	for o := range s.Count {
		if s.Takes[o] || counts[o] > 0 {
			least = min(least, counts[o])
		}
	}
	here := counts[v]
	if without != none && b.p.Units[without].App == app && b.at[without] == n {
		here--
		least = min(least, here)
	}
	return here-least > int32(s.Skew)
}

// repair mends what is there and breaks a rule together, with as few moves as it finds.
func (pl *planner) repair() {
	pl.repairAt(pl.all())
}

// all lists every node.
func (pl *planner) all() []int32 {
	all := make([]int32, len(pl.p.Nodes))
	for n := range all {
		all[n] = int32(n)
	}
	return all
}

// bad lists those of some nodes that hold what breaks a rule together.
func (pl *planner) bad(nodes []int32) (bad []int32) {
	for _, n := range nodes {
		nd := &pl.p.Nodes[n]
		if !nd.Leave && nd.Status == "ready" && !pl.b.harm(n, none).none() {
			bad = append(bad, n)
		}
	}
	return bad
}

// repairAt is repair where only some nodes can be amiss.
func (pl *planner) repairAt(nodes []int32) {
	b := pl.b
	bad := pl.bad(nodes)
	if len(bad) == 0 {
		return
	}
	pl.repaired = true
	// A node that is worse off chooses first; what it cannot mend is tried once more when the others are done.
	slices.SortStableFunc(bad, func(x, y int32) int { return b.harm(y, none).compare(b.harm(x, none)) })
	for range 2 {
		for _, n := range bad {
			for !b.harm(n, none).none() && pl.relieve(n) {
			}
		}
	}
	pl.sendHome()
}

// relieve takes one unit off a node that breaks a rule: the one whose leaving helps most, and of those the smallest.
func (pl *planner) relieve(n int32) bool {
	b := pl.b
	now := b.harm(n, none)
	type leaver struct {
		u    int32
		left harm
		size float64
	}
	var all []leaver
	for _, u := range b.units[n] {
		if b.locked[u] || len(b.followers(u)) > 1 {
			continue
		}
		if left := b.harm(n, u); left.compare(now) < 0 {
			all = append(all, leaver{u, left, pl.size(u)})
		}
	}
	slices.SortStableFunc(all, func(x, y leaver) int {
		return cmp.Or(cmp.Compare(bit(!b.moved(y.u)), bit(!b.moved(x.u)))*-1, x.left.compare(y.left), cmp.Compare(x.size, y.size),
			cmp.Compare(pl.p.Apps[pl.p.Units[x.u].App].MoveCost, pl.p.Apps[pl.p.Units[y.u].App].MoveCost), cmp.Compare(y.u, x.u))
	})
	for _, free := range []bool{orderFree, atTheEnd} {
		for _, l := range all {
			why := pl.whyRepair(l.u, n)
			if to := pl.closest(l.u, free, n); to != none {
				pl.note[l.u] = why
				b.move(l.u, to)
				return true
			}
		}
	}
	for _, l := range all { // another makes room for it; to change places is no way: neither could go first
		why := pl.whyRepair(l.u, n)
		b.lift(l.u)
		if pl.displace(l.u) {
			pl.note[l.u] = why
			return true
		}
		b.put(l.u, n)
	}
	return false
}

// closest returns the node that takes the unit and has the least room left in what it demands, so that large ones keep theirs;
// without demands the emptiest.
func (pl *planner) closest(u int32, free bool, except int32) int32 {
	if pl.size(u) == 0 {
		return pl.b.shelf.target(u, free, except)
	}
	best, least := none, 0.0
	for n := range pl.p.Nodes {
		if int32(n) == except || !pl.b.fits(u, int32(n), free) {
			continue
		}
		room := 0.0
		for d, v := range pl.p.Units[u].Demand {
			if c := pl.p.Nodes[n].Cap[d]; v > 0 && c < 1<<62 {
				room = max(room, float64(c-pl.b.used[n*pl.b.dims+d]-v)/float64(max(c, 1)))
			}
		}
		if best == none || room < least {
			best, least = int32(n), room
		}
	}
	return best
}

// whyRepair says what is wrong with a unit where it is.
func (pl *planner) whyRepair(u, n int32) note {
	if had, ok := pl.note[u]; ok {
		return had
	}
	b, node := pl.b, &pl.p.Nodes[n]
	var why []string
	for d, c := range node.Cap {
		if used := b.used[int(n)*b.dims+d]; used > c && pl.p.Units[u].Demand[d] > 0 {
			why = append(why, fmt.Sprintf("%s has %s of %s %s taken", node.ID, amount(used), amount(c), pl.p.Dims[d]))
		}
	}
	app := pl.p.Units[u].App
	for _, o := range b.units[n] {
		switch other := pl.p.Units[o].App; {
		case o == u:
		case other == app:
			why = append(why, "another instance of "+pl.p.Apps[app].Name+" is on "+node.ID)
		case !b.together(app, other):
			why = append(why, pl.p.Apps[app].Name+" and "+pl.p.Apps[other].Name+" keep away from each other")
		}
	}
	for _, o := range pl.p.Apps[app].With {
		if o == none || !b.hasApp(o, n) {
			name := "an app that does not exist"
			if o != none {
				name = pl.p.Apps[o].Name
			}
			why = append(why, name+" is not on "+node.ID)
		}
	}
	for r, s := range pl.p.Apps[app].Spread {
		if b.skewed(app, r, n, none) {
			why = append(why, fmt.Sprintf("too many on one %s for a skew of %d", s.Label, s.Skew))
		}
	}
	return note{events.ClassRepair, events.ReasonConstraintUpdate, strings.Join(why, "; ")}
}

// sendHome takes back what need not have moved: later moves may have made room.
func (pl *planner) sendHome() {
	b := pl.b
	for again := true; again; {
		again = false
		for u := range pl.p.Units {
			v, home := int32(u), b.home[u]
			if n, ok := pl.note[v]; !ok || n.class != events.ClassRepair || home == none || b.at[v] == none || b.at[v] == home {
				continue
			}
			from := b.at[v]
			b.move(v, home)
			if b.harm(home, none).none() && b.harm(from, none).none() && b.bears(v, home, atTheEnd) {
				delete(pl.note, v)
				again = true
			} else {
				b.move(v, from)
			}
		}
	}
}

// repairBound is the least number of units that have to leave the nodes that break a rule. Each node is a problem of its own: the fewest
// of its units without which no resource is overdrawn and no pair is left that may not share it.
func (pl *planner) repairBound(bad []int32) (sum int) {
	for _, n := range bad {
		least, movable := pl.sizeBound(n), 0
		for _, u := range pl.b.units[n] {
			movable += bit(!pl.b.locked[u])
		}
		for ; least < movable; least++ {
			if l := (&leavers{pl: pl, n: n, budget: mostLeavers}); l.fewer(least) || l.budget <= 0 {
				break
			}
		}
		sum += least
	}
	return sum
}

// mostLeavers bounds the choices looked at for one number of leavers of one node; beyond, the number stands as a bound.
const mostLeavers = 5_000

// leavers is the search for units whose leaving mends a node.
type leavers struct {
	pl     *planner
	n      int32
	gone   []int32
	kept   []int32 // decided to stay
	budget int
}

// fewer says whether k more leavers can do. It branches on something that is broken: one of a pair, or of those that demand what is
// overdrawn, has to go.
func (l *leavers) fewer(k int) bool {
	if l.budget--; l.budget < 0 {
		return false
	}
	b := l.pl.b
	there := slices.DeleteFunc(slices.Clone(b.units[l.n]), func(u int32) bool { return l.pl.stuck[u] || slices.Contains(l.gone, u) })
	var choice []int32
	for i, x := range there {
		for _, y := range there[i+1:] {
			if choice == nil && !b.together(l.pl.p.Units[x].App, l.pl.p.Units[y].App) {
				choice = []int32{x, y}
			}
		}
	}
	for d, c := range l.pl.p.Nodes[l.n].Cap {
		excess := -c
		for _, u := range there {
			excess += l.pl.p.Units[u].Demand[d]
		}
		if excess <= 0 {
			continue
		}
		may := slices.DeleteFunc(slices.Clone(there), func(u int32) bool {
			return b.locked[u] || l.pl.p.Units[u].Demand[d] == 0 || slices.Contains(l.kept, u)
		})
		slices.SortFunc(may, func(x, y int32) int {
			return cmp.Or(cmp.Compare(l.pl.p.Units[y].Demand[d], l.pl.p.Units[x].Demand[d]), cmp.Compare(x, y))
		})
		rest := excess
		for _, u := range may[:min(k, len(may))] {
			rest -= l.pl.p.Units[u].Demand[d]
		}
		if rest > 0 && len(may) > k { // not even the largest do; where all together do not, leaving mends nothing
			return false
		}
		if choice == nil {
			choice = may
		}
	}
	if choice == nil {
		return true
	}
	if k == 0 {
		return false
	}
	kept := len(l.kept)
	defer func() { l.kept = l.kept[:kept] }()
	possible := false
	for _, u := range choice {
		if b.locked[u] || slices.Contains(l.kept, u) {
			continue
		}
		possible = true
		l.gone = append(l.gone, u)
		ok := l.fewer(k - 1)
		l.gone = l.gone[:len(l.gone)-1]
		if ok {
			return true
		}
		l.kept = append(l.kept, u) // all with it gone has been tried
	}
	return !possible && kept == 0 // nobody may leave: what is broken stays so
}

// sizeBound is what is easily known of the number of leavers: of each resource as many of the largest as its excess takes, or a matching
// of the conflicts.
func (pl *planner) sizeBound(n int32) int {
	least := pl.conflictBound(n)
	for d, c := range pl.p.Nodes[n].Cap {
		excess := pl.b.used[int(n)*pl.b.dims+d] - c
		for _, u := range pl.b.units[n] {
			if pl.stuck[u] {
				excess -= pl.p.Units[u].Demand[d]
			}
		}
		if excess <= 0 {
			continue
		}
		var sizes []int64
		for _, u := range pl.b.units[n] {
			if !pl.b.locked[u] {
				sizes = append(sizes, pl.p.Units[u].Demand[d])
			}
		}
		slices.SortFunc(sizes, func(x, y int64) int { return cmp.Compare(y, x) })
		k := 0
		for ; excess > 0 && k < len(sizes); k++ {
			excess -= sizes[k]
		}
		least = max(least, k)
	}
	return least
}

// conflictBound is a matching among the units of a node that may not share it: one of each pair has to leave.
func (pl *planner) conflictBound(n int32) (pairs int) {
	b := pl.b
	units := slices.DeleteFunc(slices.Clone(b.units[n]), func(u int32) bool { return pl.stuck[u] }) // what should not be there is no reason for others to leave
	matched := make([]bool, len(units))
	for i, x := range units {
		for j := i + 1; j < len(units) && !matched[i]; j++ {
			if !matched[j] && !b.together(pl.p.Units[x].App, pl.p.Units[units[j]].App) {
				matched[i], matched[j] = true, true
				pairs++
			}
		}
	}
	return pairs
}

func amount(v int64) string {
	if v%1000 == 0 {
		return fmt.Sprint(v / 1000)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%03d", v/1000, v%1000), "0")
}
