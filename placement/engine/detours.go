package engine

import (
	"slices"

	"github.com/go-cluster/go-cluster/events"
)

// straighten has units that move on from where they came to go where they end at once, as soon as there is room, and not by the way that was found in
// one plan after the other. Only what would wait in a circle still goes by that way, and what was lost or is missing, which waits for nothing. What need
// not move then stays.
func (pl *planner) straighten(steps []step) []step {
	ways := map[int32]*way{}
	var all []*way
	for i := range steps {
		s := &steps[i]
		if w := ways[s.u]; w != nil {
			w.parts = append(w.parts, *s)
			continue
		}
		w := &way{parts: []step{*s}}
		ways[s.u], all = w, append(all, w)
	}
	if len(all) == len(steps) || len(pl.p.Units) > smallProblem {
		return steps
	}
	all = slices.DeleteFunc(all, func(w *way) bool { return w.whole().from == w.whole().to }) // it is back where it was
	for _, w := range all {
		w.kept = w.parts[0].waitsForNothing()
	}
	out, ok := pl.inOrder(all)
	if r := newRoute(pl); !ok && r.all(steps) { // at least in the order in which they were found there is a way
		out, ok = r.out, true
	}
	if !ok {
		return steps
	}
	for _, w := range all { // each may be found to need no detour once others take theirs
		if len(w.parts) == 1 || w.kept {
			continue
		}
		was := w.parts
		w.parts = []step{w.whole()}
		if better, ok := pl.inOrder(all); ok && len(better) < len(out) {
			out = better
		} else {
			w.parts = was
		}
	}
	for again := true; again; { // or with everything else as it is
		again = false
		for i := 0; i < len(out); i++ {
			shorter, ok := detourless(out, i)
			if r := newRoute(pl); ok && r.all(shorter) {
				out, again = r.out, true
			}
		}
	}
	return pl.spare(out)
}

// detourless is steps but one whose unit moves on later, from where it is then.
func detourless(steps []step, i int) (rest []step, ok bool) {
	rest = slices.Delete(slices.Clone(steps), i, i+1)
	on := slices.IndexFunc(rest[i:], func(s step) bool { return s.u == steps[i].u })
	if on < 0 || steps[i].waitsForNothing() {
		return nil, false
	}
	next := (&way{parts: []step{steps[i], rest[i+on]}}).whole()
	if rest[i+on] = next; next.from == next.to {
		rest = slices.Delete(rest, i+on, i+on+1)
	}
	return rest, true
}

// spare drops from steps all of those of units that could as well stay where they are, as long as the others can be carried out without.
func (pl *planner) spare(steps []step) (out []step) {
	out = steps
	for u := range pl.p.Units {
		u, at, had := int32(u), pl.b.at[u], pl.note[int32(u)]
		if !pl.needless(u) {
			continue
		}
		r := newRoute(pl)
		if r.all(slices.DeleteFunc(slices.Clone(out), func(s step) bool { return s.u == u })) {
			out = r.out
			continue
		}
		pl.b.move(u, at)
		if had.class != "" {
			pl.note[u] = had
		}
	}
	return out
}

// waitsForNothing says whether a step brings back what does not serve.
func (s *step) waitsForNothing() bool { return s.class == events.ClassRecovery || s.from == none }

// way is how a unit gets where it ends: in one step, or in parts, as a whole where there is room for it at the end unless they are kept apart.
type way struct {
	parts []step
	kept  bool
}

func (w *way) whole() step {
	s := w.parts[0]
	s.to = w.parts[len(w.parts)-1].to
	return s
}

// inOrder carries ways out, each as soon as it fits: as a whole, and where nothing does, the first part of one.
func (pl *planner) inOrder(all []*way) (out []step, ok bool) {
	r := newRoute(pl)
	left := make([]way, 0, len(all))
	for _, w := range all {
		left = append(left, *w)
	}
	for len(left) > 0 {
		rest, went := left[:0:0], false
		for _, w := range left {
			s := w.parts[0]
			if !w.kept {
				s = w.whole()
			}
			if !r.carry(s) {
				rest = append(rest, w)
				continue
			}
			went = true
			if w.parts = w.parts[1:]; w.kept && len(w.parts) > 0 {
				rest = append(rest, w)
			}
		}
		if !went {
			i := slices.IndexFunc(rest, func(w way) bool { return len(w.parts) > 1 && r.carry(w.parts[0]) })
			if i < 0 {
				return nil, false
			}
			rest[i].parts = rest[i].parts[1:]
		}
		left = rest
	}
	return r.out, true
}

// route is steps carried out one by one on a board of their own.
type route struct {
	pl   *planner
	now  *board
	gone map[int32][]int32 // node → units that have left it
	been map[int32]bool    // unit → a part of its way is done
	out  []step
}

func newRoute(pl *planner) *route {
	return &route{pl: pl, now: newBoard(pl.p), gone: map[int32][]int32{}, been: map[int32]bool{}}
}

func (r *route) all(steps []step) bool {
	for _, s := range steps {
		if !r.carry(s) {
			return false
		}
	}
	return true
}

// carry carries a step out if there is room for it, and notes what it had to wait for: the earlier part of its way, and what left the node and would not
// fit beside it. What only passes through, and what comes after it, waits for all that has left.
func (r *route) carry(s step) bool {
	if s.to != none && !r.now.admits(s.u, s.to) {
		return false
	}
	s.after = nil
	if s.to != none {
		passes := s.to != r.pl.b.at[s.u]
		for _, g := range r.gone[s.to] {
			if passes || s.to != r.pl.b.home[g] || r.pl.conflicts(s.u, g, s.to) {
				s.after = append(s.after, g)
			}
		}
	}
	if r.been[s.u] {
		s.after = append(s.after, s.u)
	}
	slices.Sort(s.after)
	s.after = slices.Compact(s.after)
	if s.from != none {
		r.gone[s.from] = append(r.gone[s.from], s.u)
	}
	r.been[s.u] = true
	r.now.carry(s.u, s.to)
	r.out = append(r.out, s)
	return true
}
