package placement

import (
	"strings"

	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Even says that nothing which AutoBalance could propose would make the cluster better, where that is plain from what is counted: the last plan
// had nothing to say, no app prefers some nodes to others, and of nodes that apps have in common, be it over other nodes, none has two instances more than
// another. Then Σ count² is as small as it can be. Where it says false there may be something to propose, or not.
func (l *Live) Even() bool {
	if l.index == nil || len(l.restless)+len(l.placing.known)+len(l.moving.known) > 0 || proposed(l.v) {
		return false
	}
	x := l.index
	x.settle()
	shares := newShares(x)
	if shares == nil {
		return false
	}
	seen := map[string]bool{}
	for _, a := range l.v.Apps {
		switch s := &a.Spec; {
		case !a.Exists():
		case a.Pending != nil || len(a.Open)+len(a.Proposals)+len(s.Prefer) > 0 || a.Removed:
			return false
		case s.Mode == spec.Spread || len(s.WithApp)+len(l.follow[a.Name]) > 0: // no rebalance moves it
		default:
			if key := strings.Join(s.Require, "\x00"); !seen[key] {
				seen[key] = true
				shares.by(l.demandsOf(a))
			}
		}
	}
	return shares.even()
}

// demandsOf is what an app asks of a node, as it is kept.
func (l *Live) demandsOf(a *projections.App) demands {
	d, known := l.wants[a.Name]
	if !known {
		d = demandsOf(a)
		l.wants[a.Name] = d
	}
	return d
}

// shares is which classes of open nodes are bound to each other by apps that may use both.
type shares struct {
	x    *index
	open []*class
	to   []int // by place in open: one that it is bound to, at last itself
	used []bool
}

// newShares is nil where what stands on closed nodes, or on nodes that are overdrawn, could call for moves.
func newShares(x *index) *shares {
	s := &shares{x: x}
	for i := range x.seats {
		if seat := &x.seats[i]; seat.class != nil && (seat.free[cpu] < 0 || seat.free[memory] < 0) {
			return nil
		}
	}
	for _, c := range x.classes {
		if len(c.nodes) == 0 {
			continue
		}
		n := x.nodes[c.nodes[0]]
		if n.Status == projections.StatusReady && !n.Cordoned && len(orders(x.v, n)) == 0 {
			s.open, s.to, s.used = append(s.open, c), append(s.to, len(s.to)), append(s.used, false)
			continue
		}
		if c.most() > 0 {
			return nil
		}
	}
	return s
}

func (s *shares) root(i int) int {
	for s.to[i] != i {
		i = s.to[i]
	}
	return i
}

// by binds all classes of which an app's selectors let it use some node; all there are, where classes do not tell that.
func (s *shares) by(d demands) {
	first := -1
	for i, c := range s.open {
		if !s.x.mayUse(d, c) {
			continue
		}
		s.used[i] = true
		if first < 0 {
			first = i
		}
		s.to[s.root(i)] = s.root(first)
	}
}

// mayUse says whether an app's selectors allow a class of nodes, or may allow some of it.
func (x *index) mayUse(d demands, c *class) bool {
	for _, sel := range d.selectors {
		for _, t := range sel.sel.Terms() {
			if !x.reads[t.Key] {
				return true
			}
		}
	}
	for _, sel := range d.selectors {
		if sel.err == nil && !sel.sel.Matches(x.nodes[c.nodes[0]].Labels) {
			return false
		}
	}
	return true
}

// even says whether among no classes that are bound to each other a node has two instances more than another.
func (s *shares) even() bool {
	most, least := map[int]int{}, map[int]int{}
	for i, c := range s.open {
		if !s.used[i] {
			continue
		}
		r := s.root(i)
		if m, known := most[r]; !known || c.most() > m {
			most[r] = c.most()
		}
		if m, known := least[r]; !known || c.least() < m {
			least[r] = c.least()
		}
	}
	for r, m := range most {
		if m-least[r] > 1 {
			return false
		}
	}
	return true
}

// most and least are the most and the fewest instances that a node of a class has.
func (c *class) most() int {
	for level := len(c.levels) - 1; level > 0; level-- {
		if len(c.levels[level]) > 0 {
			return level
		}
	}
	return 0
}

func (c *class) least() int {
	for level := range c.levels {
		if len(c.levels[level]) > 0 {
			return level
		}
	}
	return 0
}
