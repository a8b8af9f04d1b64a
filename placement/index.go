package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// index keeps the nodes of one fold by what apps can tell of them, so that a place is found, and said why not elsewhere, without looking at each.
// Nodes that no rule of an app that was asked for tells apart are a class; within it they lie by how many instances they have. It
// follows what is counted on them.
type index struct {
	v       *projections.Cluster
	u       *usage
	nodes   []*projections.Node // by number, which is the order in which they came
	seats   []seat              // by number
	loads   map[string]api.Sight
	order   roster  // of all
	rank    []int32 // by number: where it is in order
	busy    []int32 // by number: the points that its load takes from it
	classes []*class
	known   map[string]*class
	taken   int             // classes that have nodes
	reads   map[string]bool // labels that rules of some kind read; programs: what nodes register
	short   [2][]*shortage  // by resource
	stirred []int32         // nodes that are to be seated anew
	kinds   map[string]*kind
	surveys int
	pool    []marks // that passes borrow
	lent    int     // of these, to this pass
}

// seat is where a node is in the index.
type seat struct {
	on      *spot
	class   *class // nil: it has left
	level   int
	free    [2]int64 // by resource
	load    float64
	stirred bool
	changed bool // it may be of another class
}

// nowhere is the number of no node.
const nowhere = int32(-1)

// class is nodes that take the same apps, but for what else is there.
type class struct {
	number int
	nodes  roster
	levels []roster // by instances
	lowest int      // no node is on a level below
}

// The resources of which nodes may be short, in the order in which refusals name them.
const (
	cpu = iota
	memory
)

// shortage is the nodes that have less of a resource free than some apps need.
type shortage struct {
	need  int64
	nodes roster
}

// programs stands among the labels that rules read for what the program of a node registers.
const programs = "\x00programs"

// What is kept at most.
const (
	mostVerdicts  = 400_000 // over all kinds and classes
	mostShortages = 64      // of each resource
	fewClasses    = 64      // that are not worth an index anew when nobody is in them any more
)

func newIndex(v *projections.Cluster, u *usage, nodes []*projections.Node, loads map[string]api.Sight) *index {
	x := &index{v: v, u: u, loads: loads, known: map[string]*class{}, reads: map[string]bool{}, kinds: map[string]*kind{}}
	for _, n := range nodes {
		x.add(n)
	}
	u.stirs = func(on *spot) {
		if on.seat != nowhere {
			x.stir(on.seat)
		}
	}
	return x
}

// number is that of a node, or nowhere.
func (x *index) number(node string) int32 { return x.u.at(node).seat }

func (x *index) add(n *projections.Node) {
	at := int32(len(x.nodes))
	on := x.u.at(n.ID)
	on.seat = at
	x.nodes, x.seats, x.busy = append(x.nodes, n), append(x.seats, seat{on: on, changed: true}), append(x.busy, 0)
	x.hear(n.ID, x.loads[n.ID])
	first, _ := slices.BinarySearchFunc(x.order, n.ID, func(o int32, id string) int { return strings.Compare(x.nodes[o].ID, id) })
	x.order, x.rank = slices.Insert(x.order, first, at), append(x.rank, 0)
	for i, o := range x.order[first:] {
		x.rank[o] = int32(first + i)
	}
	x.stir(at)
}

// changed notes that a node is there, or another than it was.
func (x *index) changed(n *projections.Node) {
	at := x.number(n.ID)
	if at == nowhere {
		x.add(n)
		return
	}
	x.seats[at].changed = true
	x.stir(at)
}

// hear takes over what a node says of itself.
func (x *index) hear(node string, s api.Sight) {
	if at := x.number(node); at != nowhere {
		x.seats[at].load, x.busy[at] = laden(s), int32(scoreLoad*laden(s))
	}
}

func (x *index) stir(n int32) {
	if s := &x.seats[n]; !s.stirred {
		s.stirred = true
		x.stirred = append(x.stirred, n)
	}
}

// settle seats anew what may be otherwise.
func (x *index) settle() {
	for _, n := range x.stirred {
		x.seat(n)
	}
	x.stirred = x.stirred[:0]
}

func (x *index) seat(n int32) {
	node, s := x.nodes[n], &x.seats[n]
	was := *s
	if s.changed {
		s.class = x.classOf(node)
	}
	s.level = max(s.on.count, 0)
	s.free = [2]int64{cpu: int64(node.Facts.CPU - s.on.cpu), memory: int64(node.Facts.Memory - s.on.mem)}
	s.stirred, s.changed = false, false
	if was.class != s.class || was.level != s.level {
		if c := was.class; c != nil {
			x.remove(&c.levels[was.level], n)
		}
		if c := s.class; c != nil {
			for s.level >= len(c.levels) {
				c.levels = append(c.levels, nil)
			}
			x.insert(&c.levels[s.level], n)
			c.lowest = min(c.lowest, s.level)
		}
	}
	if was.class != s.class {
		if c := was.class; c != nil {
			x.remove(&c.nodes, n)
			x.taken -= bit(len(c.nodes) == 0)
		}
		if c := s.class; c != nil {
			x.taken += bit(len(c.nodes) == 0)
			x.insert(&c.nodes, n)
		}
	}
	for r := range x.short {
		for _, sh := range x.short[r] {
			switch had, has := was.class != nil && was.free[r] < sh.need, s.class != nil && s.free[r] < sh.need; {
			case had && !has:
				x.remove(&sh.nodes, n)
			case has && !had:
				x.insert(&sh.nodes, n)
			}
		}
	}
}

// classOf returns the class of a node as it is, nil for one that has left.
func (x *index) classOf(n *projections.Node) *class {
	if n.Status == projections.StatusLeft {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %t %t %t", n.Status, n.Cordoned, n.Draining(), runsProcesses(n))
	for _, ev := range openEvacuations(x.v) {
		if ev.Selector.Matches(n.Labels) {
			fmt.Fprintf(&b, " %q", ev.Order)
		}
	}
	var read []string
	for k := range n.Labels {
		if x.reads[k] {
			read = append(read, k)
		}
	}
	slices.Sort(read)
	for _, k := range read {
		fmt.Fprintf(&b, " %q=%q", k, n.Labels[k])
	}
	if x.reads[programs] {
		for i := range n.Facts.Apps {
			fmt.Fprintf(&b, " +%s", n.Facts.Apps[i].Name)
		}
	}
	key := b.String()
	c := x.known[key]
	if c == nil {
		c = &class{number: len(x.classes)}
		x.known[key], x.classes = c, append(x.classes, c)
	}
	return c
}

// learn has classes told apart by some more labels.
func (x *index) learn(labels []string) {
	for _, k := range labels {
		if x.reads[k] {
			continue
		}
		x.reads[k] = true
		for at, n := range x.nodes {
			if _, has := n.Labels[k]; has || k == programs {
				x.seats[at].changed = true
				x.stir(int32(at))
			}
		}
	}
}

// crumbled says whether most classes have lost their nodes: the index is better made anew.
func (x *index) crumbled() bool { return len(x.classes) > fewClasses && 2*x.taken < len(x.classes) }

// lacking lists the nodes that have less of a resource than is needed.
func (x *index) lacking(resource int, need int64) roster {
	if need <= 0 {
		return nil
	}
	for _, sh := range x.short[resource] {
		if sh.need == need {
			return sh.nodes
		}
	}
	sh := &shortage{need: need}
	for _, n := range x.order {
		if s := &x.seats[n]; s.class != nil && s.free[resource] < need {
			sh.nodes = append(sh.nodes, n)
		}
	}
	if len(x.short[resource]) == mostShortages {
		x.short[resource] = nil
	}
	x.short[resource] = append(x.short[resource], sh)
	return sh.nodes
}

// roster is numbers of nodes, ordered by the nodes' ids.
type roster []int32

func (x *index) find(r roster, n int32) (int, bool) {
	return slices.BinarySearchFunc(r, x.rank[n], func(o, rank int32) int { return cmp.Compare(x.rank[o], rank) })
}

// first returns the first of some nodes.
func (x *index) first(nodes []int32, most int) roster {
	ranks := make([]int32, len(nodes))
	for i, n := range nodes {
		ranks[i] = x.rank[n]
	}
	slices.Sort(ranks)
	ranks = ranks[:min(len(ranks), most)]
	for i, rank := range ranks {
		ranks[i] = x.order[rank]
	}
	return ranks
}

func (x *index) insert(r *roster, n int32) {
	at, _ := x.find(*r, n)
	*r = slices.Insert(*r, at, n)
}

func (x *index) remove(r *roster, n int32) {
	if at, in := x.find(*r, n); in {
		*r = slices.Delete(*r, at, at+1)
	}
}

// marks is a set of numbers of nodes.
type marks []uint64

// marks lends an empty set until the pass ends.
func (x *index) marks() marks {
	words := (len(x.nodes) + 63) / 64
	if x.lent == len(x.pool) {
		x.pool = append(x.pool, nil)
	}
	m := &x.pool[x.lent]
	x.lent++
	if len(*m) != words {
		*m = make(marks, words)
	}
	clear(*m)
	return *m
}

func (m marks) set(n int32)      { m[n>>6] |= 1 << (n & 63) }
func (m marks) has(n int32) bool { return m[n>>6]&(1<<(n&63)) != 0 }

// needs is what a kind of app takes of each resource.
func needs(r spec.Resources) [2]int64 { return [2]int64{cpu: int64(r.CPU), memory: int64(r.Memory)} }
