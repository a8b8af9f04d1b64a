package search

import (
	"errors"
	"fmt"
	"math"
)

// None is the node of an item that is nowhere.
const None = -1

// A Problem is what is to be placed, on what, at which cost. A run does not change it, and several may share it; its functions are
// called from all workers and must be pure.
type Problem struct {
	Resources int
	Transient []bool  // by resource: a moved item holds it on its home, too; nil: none is
	Weight    []int64 // by resource: the cost of one unit above Soft; nil: none
	Nodes     []Node
	Groups    []Group
	Items     []Item

	// Unplaced is the cost of an item that is nowhere.
	Unplaced int64
	// Place is the cost of an item on a node: prices of moves, preferences. Nil: none.
	Place func(item, node int) int64
	// NodeCost is what a node costs with a usage, beyond Weight. It must not keep the slice. Nil: none.
	NodeCost func(node int, used []int64) int64
	// Rules makes the rules that need a memory of their own, once for each worker. Nil: none.
	Rules func() []Rule
}

// A Node takes items up to Cap in each resource; what is above Soft costs. Items of groups that spread count its Domain.
type Node struct {
	Cap, Soft []int64
	Domain    int
}

// A Group is the items that are copies of each other.
type Group struct {
	PerNode int    // most items on one node; 0: any number
	Domains int    // least number of distinct domains that its items use
	Allowed []bool // by node; nil: all
	Away    []int  // groups that share no node with this one; must be symmetric
}

// An Item demands of the node that it is on. Home is where it runs now, or None; Start is where the search starts with it, or None if
// that is for the search to find.
type Item struct {
	Group, Home, Start int
	Demand             []int64
	Pinned             bool // never moved
}

// A Rule allows and prices moves that depend on where other items are. From or to may be None. Moves are asked about one by one, each
// in the state that the former left.
type Rule interface {
	// Delta is what the move adds to the cost, and whether it is allowed.
	Delta(item, from, to int) (int64, bool)
	// Move tells that the move was made, or taken back.
	Move(item, from, to int)
}

func (p *Problem) validate() error {
	r, n := p.Resources, len(p.Nodes)
	switch {
	case r < 0 || n == 0:
		return errors.New("search: a problem needs nodes")
	case len(p.Transient) != 0 && len(p.Transient) != r, len(p.Weight) != 0 && len(p.Weight) != r:
		return errors.New("search: transient and weight need one value for each resource")
	case n > math.MaxInt32 || len(p.Items) > math.MaxInt32:
		return errors.New("search: too many nodes or items")
	}
	for i, m := range p.Nodes {
		if len(m.Cap) != r || len(m.Soft) != r || m.Domain < 0 {
			return fmt.Errorf("search: node %d: needs %d capacities, as many soft ones, and a domain", i, r)
		}
	}
	for i, g := range p.Groups {
		if g.Allowed != nil && len(g.Allowed) != n {
			return fmt.Errorf("search: group %d: %d nodes allowed or not of %d", i, len(g.Allowed), n)
		}
		for _, a := range g.Away {
			if a < 0 || a >= len(p.Groups) || a == i {
				return fmt.Errorf("search: group %d: away from group %d", i, a)
			}
		}
	}
	for i, it := range p.Items {
		switch {
		case len(it.Demand) != r:
			return fmt.Errorf("search: item %d: %d demands of %d", i, len(it.Demand), r)
		case it.Group < 0 || it.Group >= len(p.Groups):
			return fmt.Errorf("search: item %d: no group %d", i, it.Group)
		case it.Home < None || it.Home >= n || it.Start < None || it.Start >= n:
			return fmt.Errorf("search: item %d: home %d, start %d", i, it.Home, it.Start)
		}
		for _, d := range it.Demand {
			if d < 0 {
				return fmt.Errorf("search: item %d: demands %d", i, d)
			}
		}
	}
	return nil
}
