package engine

import (
	"slices"

	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/search"
)

// local states the board, or a part of it, in the terms of placement/search, and carries out what that finds. Units are items, apps
// are groups; what has to be looked at together – conflicts that are there already, spread over a label – are rules with a memory, and
// what a node costs is how badly it breaks rules and how uneven it is.
type local struct {
	pl    *planner
	aim   aim
	nodes []int32 // node of the search → of the problem
	index []int32 // and back; none: it takes no part
	units []int32 // item → unit; none: what only holds room
	price prices
}

// aim is what a search is for besides rules that are kept: evenness, or none with even false; with bands, that loads lie within
// them. A search that is free makes plans whose moves can be carried out in every order.
type aim struct {
	even   bool
	lo, hi []int32 // by node of the problem; nil: the least Σ count²/weight
	free   bool
}

// prices are what a search weighs against each other. Each is more than all that a move can do to those after it.
type prices struct {
	unplaced, harm, even, move int64
}

const (
	mostPrice   = 100 // of a move, and points of preference: beyond, ties are not told apart
	region      = 256 // nodes that repair looks at together
	leastSteps  = 4_000
	stepsByItem = 400
	mostSteps   = 1_000_000
)

// improve searches from where the board is for one that is better; each try takes another way and more time. It says whether anything
// changed.
func (pl *planner) improve(a aim, nodes []int32, try int) bool {
	pl.sought = true
	l := &local{pl: pl, aim: a, nodes: nodes, index: slices.Repeat([]int32{none}, len(pl.p.Nodes))}
	for i, n := range nodes {
		l.index[n] = int32(i)
	}
	p := l.problem()
	if len(p.Items) == 0 {
		return false
	}
	steps := min(mostSteps, (leastSteps+stepsByItem*len(p.Items))<<try)
	heat := float64(warm)
	if len(p.Items) > smallProblem {
		heat = cool
	}
	r, err := search.Run(p, search.Options{Seed: uint64(try), Steps: int64(steps), Heat: heat})
	if err != nil {
		panic(err) // the problem above is not one
	}
	return l.take(r.At)
}

// How warm a search begins, in usual costs of a move: a large problem has no time to cool down from more than what saves moves.
const (
	warm = 2
	cool = 0.005
)

func (l *local) problem() *search.Problem {
	pl, b := l.pl, l.pl.b
	p := &search.Problem{Resources: b.dims + 1}
	if l.aim.free {
		p.Transient = slices.Repeat([]bool{true}, b.dims+1)
		p.Transient[b.dims] = false
	}
	most := int32(0)
	for _, n := range l.nodes {
		node := search.Node{Cap: append(slices.Clone(pl.p.Nodes[n].Cap), int64(model.Unlimited)), Soft: make([]int64, b.dims+1)}
		p.Nodes = append(p.Nodes, node)
		most = max(most, b.weight[n])
	}
	groups := slices.Repeat([]int32{none}, len(pl.p.Apps))
	allowed := map[*uint64][]bool{} // apps with the same rules share their sets
	group := func(app int32) int {
		if groups[app] == none {
			a := &pl.p.Apps[app]
			set := allowed[&a.Allowed[0]]
			if set == nil {
				set = make([]bool, len(l.nodes))
				for i, n := range l.nodes {
					set[i] = pl.p.Eligible(app, n)
				}
				allowed[&a.Allowed[0]] = set
			}
			groups[app] = int32(len(p.Groups))
			p.Groups = append(p.Groups, search.Group{PerNode: 1, Allowed: set})
		}
		return int(groups[app])
	}
	at := func(n int32) int {
		if n == none || l.index[n] == none {
			return search.None
		}
		return int(l.index[n])
	}
	item := func(u, n int32, counts int64) *search.Item {
		unit := &pl.p.Units[u]
		p.Items = append(p.Items, search.Item{Group: group(unit.App), Home: at(n), Start: at(n), Demand: append(slices.Clone(unit.Demand), counts)})
		return &p.Items[len(p.Items)-1]
	}
	for i := range pl.p.Units {
		u := int32(i)
		unit := &pl.p.Units[u]
		now, home := at(b.at[u]), at(b.home[u])
		switch {
		case unit.Moving:
			if now != search.None {
				l.units = append(l.units, u)
				item(u, b.at[u], 1).Pinned = true
			}
			from := []int32{unit.Source, unit.Node}
			for _, n := range slices.Compact(from) { // it takes room where it comes from
				if n != b.at[u] && at(n) != search.None {
					l.units = append(l.units, none)
					item(u, n, 0).Pinned = true
				}
			}
		case pl.stops[u], b.at[u] == none && (pl.stuck[u] || len(pl.p.Apps[unit.App].With) > 0 || pl.p.Apps[unit.App].Fixed):
			if l.aim.free && home != search.None { // it is there until it has gone
				l.units = append(l.units, none)
				item(u, b.home[u], 0).Pinned = true
			}
		case b.at[u] != none && now == search.None: // it is elsewhere, and stays there
		default:
			l.units = append(l.units, u)
			it := item(u, b.home[u], 1)
			it.Start = now
			it.Pinned = now != search.None && !l.movable(u)
		}
	}
	for app, g := range groups {
		if g == none {
			continue
		}
		for _, o := range pl.p.Apps[app].Away {
			if groups[o] != none {
				p.Groups[g].Away = append(p.Groups[g].Away, int(groups[o]))
			}
		}
	}
	l.prices(len(p.Items), most)
	p.Unplaced, p.NodeCost, p.Place = l.price.unplaced, l.nodeCost, l.place
	p.Rules = func() []search.Rule { return l.rules(p, groups) }
	return p
}

// movable says whether the search may move a unit that has a place.
func (l *local) movable(u int32) bool {
	pl := l.pl
	app := pl.p.Units[u].App
	if pl.b.locked[u] || pl.b.hosts[app] || len(pl.p.Apps[app].With) > 0 {
		return false
	}
	if n := pl.b.home[u]; n == none || pl.b.at[u] != n {
		return true // it moves anyway
	}
	return !l.aim.even || pl.scope[app] && !pl.resting(u)
}

func (l *local) prices(items int, most int32) {
	x := &l.price
	x.move = min(1<<20, int64(items+1)*(mostPrice*64+2*mostPrice+1))
	x.even = 64 * x.move
	x.harm = 4 * x.even * int64(min(most+8, 4096))
	x.unplaced = 8 * x.harm
}

// place is the price of a unit on a node: nothing where it is, a move elsewhere, cheaper ones and preferred nodes first.
func (l *local) place(item, node int) int64 {
	u, n := l.units[item], l.nodes[node]
	if u == none || l.pl.b.home[u] == n {
		return 0
	}
	a := &l.pl.p.Apps[l.pl.p.Units[u].App]
	c := int64(mostPrice - min(mostPrice, max(-mostPrice, a.Points(l.pl.p.Nodes[n].Group))))
	if t := l.pl.p.Policy.Migration.LoadThreshold; t > 0 && l.pl.p.Nodes[n].Load > t {
		c += l.price.move / 2
	}
	if l.pl.b.home[u] == none || l.pl.p.Units[u].Node == none {
		return c // it has to start somewhere
	}
	return c + l.price.move + 64*int64(min(mostPrice, a.MoveCost))
}

// nodeCost is how badly a node is overdrawn, in shares of it, and how full it is.
func (l *local) nodeCost(node int, used []int64) (c int64) {
	n := l.nodes[node]
	nd := &l.pl.p.Nodes[n]
	over := 0.0
	for d, most := range nd.Cap {
		if u := used[d]; u > most {
			over += float64(u-most) / float64(max(most, 1))
		}
	}
	if over > 0 && !nd.Leave && nd.Status == "ready" {
		c += l.price.harm + int64(float64(l.price.harm)*min(over, 1000))
	}
	if count := used[len(used)-1]; l.aim.even && nd.Open {
		if l.aim.hi == nil {
			c += l.price.even * 1000 / nd.Weight * count * count
		} else {
			c += l.price.even * max(0, count-int64(l.aim.hi[n]), int64(l.aim.lo[n])-count)
		}
	}
	return c
}

// rules are what has a memory: conflicts, and spread over a label.
func (l *local) rules(p *search.Problem, groups []int32) (out []search.Rule) {
	pairs := &conflicts{p: p, price: l.price.harm}
	if l.aim.free {
		pairs.free = make([]map[int]int, len(p.Nodes))
		for _, it := range p.Items {
			if it.Home != search.None {
				if pairs.free[it.Home] == nil {
					pairs.free[it.Home] = map[int]int{}
				}
				pairs.free[it.Home][it.Group]++
			}
		}
	}
	pairs.count = make([][]int32, len(p.Groups))
	size := make([]int, len(p.Groups))
	for _, it := range p.Items {
		size[it.Group]++
	}
	for g := range p.Groups {
		if size[g] > 1 || len(p.Groups[g].Away) > 0 {
			pairs.count[g] = make([]int32, len(p.Nodes))
			pairs.any = true
		}
	}
	if pairs.any {
		out = append(out, pairs)
	}
	even := &domains{l: l, p: p, app: make([]int32, len(p.Groups)), lies: make([][][]int32, len(p.Groups))}
	any := false
	for app, g := range groups {
		if g == none {
			continue
		}
		even.app[g] = int32(app)
		a := &l.pl.p.Apps[app]
		for range a.Spread {
			any = true
		}
		if len(a.Spread) == 0 {
			continue
		}
		for r := range a.Spread {
			counts := slices.Clone(l.pl.b.lies[app][r])
			for i, u := range l.units { // the search puts these there itself
				if u == none || l.pl.p.Units[u].App != int32(app) || p.Items[i].Start == search.None {
					continue
				}
				if v := l.pl.p.LiesIn(&a.Spread[r], l.nodes[p.Items[i].Start]); v != none {
					counts[v]--
				}
			}
			even.lies[g] = append(even.lies[g], counts)
		}
	}
	if any {
		out = append(out, even)
	}
	return append(out, &evictions{l})
}

// evictions make sure that nothing that runs is left without a place: nothing is worth that.
type evictions struct{ l *local }

func (e *evictions) Delta(item, from, to int) (int64, bool) {
	if (from == search.None) == (to == search.None) || !e.l.stays(item) {
		return 0, true
	}
	if to == search.None {
		return e.l.price.unplaced, true
	}
	return -e.l.price.unplaced, true
}

func (e *evictions) Move(int, int, int) {}

// stays says whether an item runs where it may.
func (l *local) stays(item int) bool {
	u := l.units[item]
	if u == none {
		return true
	}
	n := l.pl.p.Units[u].Node
	return n != none && l.pl.p.MayStay(l.pl.p.Units[u].App, n)
}

// conflicts prices pairs that may not share a node and do, and in a free plan keeps units from where such a neighbour was at the start.
type conflicts struct {
	p     *search.Problem
	price int64
	any   bool
	count [][]int32     // by group: items by node
	free  []map[int]int // by node: items at home there by group; nil: not free
}

func (c *conflicts) pairs(group, node int, own int32) (n int64) {
	if c.count[group] == nil {
		return 0
	}
	n = int64(c.count[group][node] - own)
	for _, o := range c.p.Groups[group].Away {
		if c.count[o] != nil {
			n += int64(c.count[o][node])
		}
	}
	return n
}

func (c *conflicts) Delta(item, from, to int) (int64, bool) {
	it := &c.p.Items[item]
	if c.free != nil && to != search.None && to != it.Home {
		if home := c.free[to]; home != nil {
			if home[it.Group] > 0 {
				return 0, false
			}
			for _, o := range c.p.Groups[it.Group].Away {
				if home[o] > 0 {
					return 0, false
				}
			}
		}
	}
	var d int64
	if from != search.None {
		d -= c.pairs(it.Group, from, 1)
	}
	if to != search.None {
		d += c.pairs(it.Group, to, 0)
	}
	return d * c.price, true
}

func (c *conflicts) Move(item, from, to int) {
	count := c.count[c.p.Items[item].Group]
	if count == nil {
		return
	}
	if from != search.None {
		count[from]--
	}
	if to != search.None {
		count[to]++
	}
}

// domains keeps and prices the skew of apps that spread over a label.
type domains struct {
	l    *local
	p    *search.Problem
	app  []int32     // by group
	lies [][][]int32 // by group: by spread rule: units by domain
}

// excess is how many units of the app are where they are too many.
func excess(s *model.Spread, counts []int32, from, to int32) (sum, here int32) {
	least := int32(1) << 30
	at := func(v int32) int32 {
		c := counts[v]
		if v == from {
			c--
		}
		if v == to {
			c++
		}
		return c
	}
	for v := range int32(s.Count) {
		if s.Takes[v] || at(v) > 0 {
			least = min(least, at(v))
		}
	}
	for v := range int32(s.Count) {
		more := max(0, at(v)-least-int32(s.Skew))
		sum += more
		if v == to {
			here = more
		}
	}
	return sum, here
}

func (d *domains) Delta(item, from, to int) (sum int64, ok bool) {
	g := d.p.Items[item].Group
	if d.lies[g] == nil || d.l.units[item] == none { // what only holds room counts nowhere
		return 0, true
	}
	a := &d.l.pl.p.Apps[d.app[g]]
	for r := range a.Spread {
		s := &a.Spread[r]
		was, is := none, none
		if from != search.None {
			was = d.l.pl.p.LiesIn(s, d.l.nodes[from])
		}
		if to != search.None {
			n := d.l.nodes[to]
			if s.Domain[n] == none && to != d.p.Items[item].Home {
				return 0, false
			}
			is = d.l.pl.p.LiesIn(s, n)
		}
		if was == is {
			continue
		}
		before, _ := excess(s, d.lies[g][r], none, none)
		after, here := excess(s, d.lies[g][r], was, is)
		if here > 0 || after > before { // nor does what leaves a domain make the others too full
			return 0, false
		}
		sum += int64(after-before) * d.l.price.harm
	}
	return sum, true
}

func (d *domains) Move(item, from, to int) {
	g := d.p.Items[item].Group
	if d.lies[g] == nil || d.l.units[item] == none {
		return
	}
	a := &d.l.pl.p.Apps[d.app[g]]
	for r := range a.Spread {
		if from != search.None {
			if v := d.l.pl.p.LiesIn(&a.Spread[r], d.l.nodes[from]); v != none {
				d.lies[g][r][v]--
			}
		}
		if to != search.None {
			if v := d.l.pl.p.LiesIn(&a.Spread[r], d.l.nodes[to]); v != none {
				d.lies[g][r][v]++
			}
		}
	}
}

// take carries the result out on the board and says whether anything changed.
func (l *local) take(at []int) (changed bool) {
	b := l.pl.b
	to := func(i int) int32 {
		if at[i] == search.None {
			return none
		}
		return l.nodes[at[i]]
	}
	for i, u := range l.units {
		if u != none && b.at[u] != to(i) {
			changed = true
			if b.at[u] != none {
				b.lift(u)
			}
		}
	}
	for i, u := range l.units {
		if u != none && b.at[u] != to(i) {
			b.put(u, to(i))
		}
	}
	return changed
}

// around lists the nodes that a repair looks at: all of a small cluster; of a large one those that are amiss, those that its plan
// touches so far, and of the others those that have most room.
func (pl *planner) around(bad []int32) []int32 {
	if len(pl.p.Nodes) <= region {
		return pl.all()
	}
	in := make([]bool, len(pl.p.Nodes))
	var nodes []int32
	add := func(n int32) {
		if n != none && !in[n] {
			in[n] = true
			nodes = append(nodes, n)
		}
	}
	for _, n := range bad {
		add(n)
	}
	for u := range pl.note {
		if pl.b.at[u] != pl.b.home[u] {
			add(pl.b.home[u])
			add(pl.b.at[u])
		}
	}
	rest := pl.all()
	room := func(n int32) float64 {
		if !pl.p.Nodes[n].Open {
			return -1
		}
		least := 1.0
		for d, c := range pl.p.Nodes[n].Cap {
			if c != model.Unlimited {
				least = min(least, float64(c-pl.b.used[int(n)*pl.b.dims+d])/float64(max(c, 1)))
			}
		}
		return least
	}
	byRoom := make([]float64, len(rest))
	for _, n := range rest {
		byRoom[n] = room(n)
	}
	slices.SortStableFunc(rest, func(x, y int32) int {
		switch {
		case byRoom[x] > byRoom[y]:
			return -1
		case byRoom[x] < byRoom[y]:
			return 1
		}
		return 0
	})
	for _, n := range rest[:min(len(rest), region)] {
		add(n)
	}
	slices.Sort(nodes)
	return nodes
}
