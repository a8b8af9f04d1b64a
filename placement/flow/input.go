package flow

import (
	"math"
	"slices"
)

// Input is a counting problem. Its slices are read only.
type Input struct {
	Nodes  []Node
	Apps   []App
	Groups int // of nodes that the rules of no app tell apart
}

// NoLimit is the Max of a node without one.
const NoLimit = int32(math.MaxInt32)

// Node is a node that takes instances.
type Node struct {
	Group  int32
	Weight int64
	Max    int32 // instances it holds at most, fixed ones included
	Fixed  int32 // instances on it that count and do not move
}

// App is an app with the instances that may move.
type App struct {
	Units   int32    // to be placed, those at home included
	Home    []int32  // nodes that have one of them and may keep it, ascending
	Blocked []int32  // nodes that hold an instance of the app that does not move, ascending
	Allowed []uint64 // by group
	Price   int64    // of a move; only breaks ties between equally many moves
	Points  []int32  // preference by group, nil for none; only breaks ties
}

func (a *App) allows(group int32) bool { return a.Allowed[group>>6]&(1<<(group&63)) != 0 }

// level is a marginal of Σ L²/weight: what one instance more or less on a node changes.
type level struct{ num, den int64 }

var never = level{1, 0} // more than any other

func (x level) less(y level) bool { return x.num*y.den < y.num*x.den }
func (x level) same(y level) bool { return x.num*y.den == y.num*x.den }

// An assignment says where the movable instances are. Each app has at most one on a node.
type assignment struct {
	in   *Input
	apps [][]int32 // node → apps with a movable instance there, unordered
	load []int32   // node → instances, fixed ones included
}

func newAssignment(in *Input) *assignment {
	x := &assignment{in: in, apps: make([][]int32, len(in.Nodes)), load: make([]int32, len(in.Nodes))}
	count := make([]int32, len(in.Nodes))
	for i := range in.Apps {
		for _, n := range in.Apps[i].Home {
			count[n]++
		}
	}
	total := 0
	for n, c := range count {
		x.load[n] = in.Nodes[n].Fixed + c
		total += int(c) + 2
	}
	pool := make([]int32, total)
	for n, c := range count {
		x.apps[n] = pool[: 0 : c+2]
		pool = pool[c+2:]
	}
	for i := range in.Apps {
		for _, n := range in.Apps[i].Home {
			x.apps[n] = append(x.apps[n], int32(i))
		}
	}
	return x
}

func (x *assignment) has(app, node int32) bool {
	for _, a := range x.apps[node] {
		if a == app {
			return true
		}
	}
	return false
}

// holds says whether the node has an instance of the app, movable or not.
func (x *assignment) holds(app, node int32) bool {
	return x.has(app, node) || len(x.in.Apps[app].Blocked) > 0 && contains(x.in.Apps[app].Blocked, node)
}

func (x *assignment) add(app, node int32) {
	x.apps[node] = append(x.apps[node], app)
	x.load[node]++
}

func (x *assignment) remove(app, node int32) {
	list := x.apps[node]
	i := slices.Index(list, app)
	list[i] = list[len(list)-1]
	x.apps[node] = list[:len(list)-1]
	x.load[node]--
}

// gain is what taking one instance off the node saves; a node over its limit saves everything.
func (x *assignment) gain(n int32) level {
	nd := &x.in.Nodes[n]
	if x.load[n] > nd.Max {
		return never
	}
	return level{2*int64(x.load[n]) - 1, nd.Weight}
}

// cost is what one instance more costs; a full node takes none.
func (x *assignment) cost(n int32) level {
	nd := &x.in.Nodes[n]
	if x.load[n] >= nd.Max {
		return never
	}
	return level{2*int64(x.load[n]) + 1, nd.Weight}
}

func contains(sorted []int32, v int32) bool { _, ok := slices.BinarySearch(sorted, v); return ok }
