package placement

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// glance is the field of an app of a kind: whole classes of nodes are judged at once, and only those by themselves of which the app has
// something to say.
type glance struct {
	p        *planner
	x        *index
	k        *kind
	a        *projections.App
	demands  demands
	except   int32
	apart    marks       // nodes that are judged by themselves, or no targets at all
	alone    []*surveyed // the judged of these, ordered by id
	has      marks       // other nodes that have an instance, or wait for one
	occupied roster      // the same, in no order
}

func (p *planner) glance(k *kind, a *projections.App, except string) *glance {
	x := p.index
	x.settle()
	g := &glance{p: p, x: x, k: k, a: a, demands: p.demands(a).leaving(except), except: x.number(except), apart: x.marks(), has: x.marks()}
	if g.except != nowhere {
		g.apart.set(g.except)
	}
	byItself := func(node string) {
		n := x.number(node)
		if n == nowhere || g.apart.has(n) || x.seats[n].class == nil {
			return
		}
		g.apart.set(n)
		g.alone = append(g.alone, p.judge(g.demands, x.nodes[n]))
	}
	for node := range a.Backoff {
		byItself(node)
	}
	for _, node := range k.named {
		byItself(node)
	}
	slices.SortFunc(g.alone, func(s, o *surveyed) int { return strings.Compare(s.node.ID, o.node.ID) })
	places := p.apps[a.Name].places
	g.occupied = make(roster, 0, len(places))
	for _, place := range places {
		g.occupies(place.on)
	}
	for i := range p.plan.Moves {
		if d := &p.plan.Moves[i]; d.App == a.Name {
			g.occupies(p.u.at(d.To))
		}
	}
	return g
}

// occupies notes a node that may have an instance of the app.
func (g *glance) occupies(on *spot) {
	n := on.seat
	if n != nowhere && !g.has.has(n) && !g.apart.has(n) && g.x.seats[n].class != nil {
		g.has.set(n)
		g.occupied = append(g.occupied, n)
	}
}

func (g *glance) taken(node string) {
	on := g.p.u.at(node)
	if on.seat != nowhere && g.apart.has(on.seat) {
		for i, s := range g.alone {
			if s.node.ID == node {
				g.alone[i] = g.p.judge(g.demands, s.node)
			}
		}
	}
	g.occupies(on)
}

func (g *glance) at(node string) *surveyed {
	n := g.x.number(node)
	if n == nowhere || n == g.except || g.x.seats[n].class == nil {
		return nil
	}
	return g.p.judge(g.demands, g.x.nodes[n])
}

func (g *glance) later() (later time.Time) {
	for _, s := range g.alone {
		later = earliest(later, s.until)
	}
	return later
}

func (g *glance) best(wanted func(candidate) bool) *candidate {
	x := g.x
	var found candidate
	var best *candidate // found, once something is
	var rank int32      // of its node
	try := func(c candidate) {
		if (best == nil || better(c, *best) < 0) && (wanted == nil || wanted(c)) {
			found = c
			best, rank = &found, x.rank[x.number(c.node.ID)]
		}
	}
	for _, s := range g.alone {
		if len(s.refused) == 0 {
			try(s.candidate)
		}
	}
	x.settle()
	need, lonely := needs(g.a.Spec.Resources), leaderless(g.a)
	for _, c := range x.classes {
		if len(c.nodes) == 0 {
			continue
		}
		w := x.says(c, g.k)
		if len(w.refused) > 0 {
			continue
		}
		for c.lowest < len(c.levels)-1 && len(c.levels[c.lowest]) == 0 {
			c.lowest++
		}
	levels:
		for level := c.lowest; level < len(c.levels); level++ {
			ideal, least := w.points-scoreInstance*int64(level), int64(math.MinInt64)
			if best != nil && !best.hot {
				least = best.score
			}
			if ideal < least {
				break // loads only take points away
			}
			for _, n := range c.levels[level] {
				points := ideal - int64(x.busy[n])
				if points < least || points == least && x.rank[n] > rank {
					continue // most end here: nothing else of them is looked at
				}
				s := &x.seats[n]
				if g.apart.has(n) || g.has.has(n) || need[cpu] > 0 && need[cpu] > s.free[cpu] || need[memory] > 0 && need[memory] > s.free[memory] {
					continue
				}
				if try(candidate{node: x.nodes[n], score: points, hot: g.p.hot(s.load), alone: lonely}); best != nil && !best.hot {
					least = best.score
				}
				if len(g.p.loads) == 0 && wanted == nil {
					break levels // the others are fuller, or come later
				}
			}
		}
	}
	return best
}

// refuses adds every rule by which a node that is not judged by itself takes no instance.
func (g *glance) refuses(out []events.Rejection, n int32) []events.Rejection {
	x, node := g.x, g.x.nodes[n]
	for _, r := range x.says(x.seats[n].class, g.k).refused {
		r.Node = node.ID
		out = append(out, r)
	}
	if g.has.has(n) {
		out = append(out, occupied(g.a, node))
	}
	free, res := x.seats[n].free, g.a.Spec.Resources
	if need := res.CPU; need > 0 && int64(need) > free[cpu] {
		out = append(out, noCPU(need, spec.CPU(free[cpu]), node))
	}
	if need := res.Memory; need > 0 && int64(need) > free[memory] {
		out = append(out, noMemory(need, spec.Bytes(free[memory]), node))
	}
	return out
}

func (g *glance) rejections() (refused []events.Rejection) {
	g.x.settle()
	alone := g.alone
	for _, n := range g.x.order {
		switch {
		case g.x.seats[n].class == nil || n == g.except:
		case g.apart.has(n):
			refused = append(refused, alone[0].refused...)
			alone = alone[1:]
		default:
			refused = g.refuses(refused, n)
		}
	}
	return refused
}

// refusals groups what rejections lists without listing it: a class fails a rule as a whole.
func (g *glance) refusals() Refusals {
	x := g.x
	x.settle()
	var groups []*passed
	of := func(code string) *passed {
		for _, o := range groups {
			if o.code == code {
				return o
			}
		}
		o := &passed{code: code}
		groups = append(groups, o)
		return o
	}
	inClass := map[*class]int{} // nodes that are not judged with it
	for _, s := range g.alone {
		n := x.number(s.node.ID)
		inClass[x.seats[n].class]++
		for i, r := range s.refused {
			if i == 0 || s.refused[i-1].Code != r.Code {
				o := of(r.Code)
				o.count, o.alone = o.count+1, append(o.alone, n)
			}
		}
	}
	if g.except != nowhere && x.seats[g.except].class != nil {
		inClass[x.seats[g.except].class]++
	}
	for _, c := range x.classes {
		if len(c.nodes) == 0 {
			continue
		}
		w := x.says(c, g.k)
		for i, r := range w.refused {
			if i == 0 || w.refused[i-1].Code != r.Code {
				of(r.Code).by(c.nodes, len(c.nodes)-inClass[c])
			}
		}
	}
	if len(g.occupied) > 0 {
		of(events.RuleOccupied).by(x.first(g.occupied, mostExamples), len(g.occupied))
	}
	for r, need := range needs(g.a.Spec.Resources) {
		if lack := x.lacking(r, need); len(lack) > 0 {
			count := len(lack)
			for _, s := range g.alone {
				count -= bit(x.seats[x.number(s.node.ID)].free[r] < need)
			}
			if g.except != nowhere {
				count -= bit(x.seats[g.except].class != nil && x.seats[g.except].free[r] < need)
			}
			of([]string{cpu: events.RuleCPU, memory: events.RuleMemory}[r]).by(lack, count)
		}
	}
	type ranked struct {
		Refusal
		node string
		at   int // among what that node says
	}
	var all []ranked
	var said []events.Rejection
	for _, o := range groups {
		if o.count <= 0 {
			continue
		}
		f := ranked{Refusal: Refusal{Code: o.code, Nodes: o.count}}
		first := o.first(g)
		f.First = make([]events.Rejection, 0, len(first))
		for i, n := range first {
			said = g.says(said[:0], n)
			for at, r := range said {
				if r.Code == o.code {
					if f.First = append(f.First, r); i == 0 && f.node == "" {
						f.node, f.at = r.Node, at
					}
				}
			}
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(s, o ranked) int { return cmp.Or(strings.Compare(s.node, o.node), cmp.Compare(s.at, o.at)) })
	var out Refusals
	for _, f := range all {
		out = append(out, f.Refusal)
	}
	return out
}

// says adds what a node says, judged by itself or not.
func (g *glance) says(out []events.Rejection, n int32) []events.Rejection {
	if g.apart.has(n) {
		for _, s := range g.alone {
			if s.node == g.x.nodes[n] {
				return append(out, s.refused...)
			}
		}
	}
	return g.refuses(out, n)
}

// passed is the nodes that fail a rule, as some lists of them.
type passed struct {
	code  string
	count int
	lists []roster // that may have nodes which are judged by themselves: they do not count there
	alone roster   // those that do
}

func (o *passed) by(nodes roster, count int) {
	o.count += count
	o.lists = append(o.lists, nodes)
}

// first returns the first of them by id.
func (o *passed) first(g *glance) (out roster) {
	lists, alone := slices.Clone(o.lists), o.alone
	out = make(roster, 0, mostExamples)
	rank := g.x.rank
	for len(out) < mostExamples {
		from := &alone
		for i := range lists {
			for len(lists[i]) > 0 && g.apart.has(lists[i][0]) {
				lists[i] = lists[i][1:]
			}
			if len(lists[i]) > 0 && (len(*from) == 0 || rank[lists[i][0]] < rank[(*from)[0]]) {
				from = &lists[i]
			}
		}
		if len(*from) == 0 {
			break
		}
		out = append(out, (*from)[0])
		*from = (*from)[1:]
	}
	return out
}
