package engine

import (
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

const mostRounds = 100 // each makes the potential less

// compute makes a plan; one that only tries something out does not look for what else could be tried. Where a search had a say
// it plans on from where that ended until nothing more is found: a plan that has been carried out is followed by none. What only
// counted is exact, and needs none of this.
func compute(p *model.Problem, r Request, trying bool) *Result {
	pl, steps, circles := once(p, r)
	pl.trying = trying
	for range mostRounds {
		if !pl.sought && !pl.searched() && len(circles) == 0 || len(steps) == 0 {
			break
		}
		next, err := model.Compile(pl.after(steps))
		if err != nil {
			panic(err) // it compiled before anything moved
		}
		later, more, _ := once(next, r)
		if len(more) == 0 {
			break
		}
		if both, ok := pl.extend(later); ok {
			steps = both
		} else {
			steps = pl.straighten(append(steps, pl.follow(steps, later, more)...))
		}
		switch {
		case len(circles) > 0: // what was left out and came in again was not counted: only what has to move is a bound
			pl.flow = nil
		case pl.flow != nil:
			pl.flow.exact = false
		}
	}
	circles = slices.DeleteFunc(circles, func(b snapshot.Blocked) bool {
		return slices.ContainsFunc(steps, func(s step) bool { return p.Units[s.u].ID == b.Instance })
	})
	return pl.result(steps, circles)
}

// extend goes on to where a later plan ends, if what both move together can be put in order with every unit moving once.
func (pl *planner) extend(later *planner) (both []step, ok bool) {
	was, notes, pending, stuck, locked := pl.places(), maps.Clone(pl.note), slices.Clone(pl.pending), maps.Clone(pl.stuck), slices.Clone(pl.b.locked)
	pl.adopt(later)
	pl.stayIfAlike()
	pl.dropNeedless()
	goal := pl.places()
	both, blocked := pl.arrange(pl.steps())
	if len(blocked) > 0 || !slices.Equal(pl.b.at, goal) { // or it ends elsewhere, and the later plan would be made again
		pl.restore(was)
		pl.note, pl.pending, pl.stuck, pl.b.locked = notes, pending, stuck, locked
		return nil, false
	}
	return both, true
}

// stayIfAlike lets those stay at home whose place another like them was to take: nothing tells them apart.
func (pl *planner) stayIfAlike() {
	b := pl.b
	for i := range pl.p.Units {
		u, home := int32(i), b.home[i]
		unit := &pl.p.Units[u]
		if home == none || b.at[u] == none || b.at[u] == home || unit.Moving {
			continue
		}
		for _, v := range pl.p.Apps[unit.App].Units {
			if o := &pl.p.Units[v]; b.at[v] != home || v == u || o.Moving || !slices.Equal(o.Demand, unit.Demand) {
				continue
			}
			to := b.at[u]
			b.lift(u)
			b.lift(v)
			b.put(u, home)
			b.put(v, to)
			delete(pl.note, u)
			if _, has := pl.note[v]; !has && b.home[v] != none && b.home[v] != to {
				pl.note[v] = note{events.ClassBalance, events.ReasonRebalance, ""}
			}
			if b.home[v] == to {
				delete(pl.note, v)
			}
			break
		}
	}
}

// follow goes on to where a later plan ends, and returns its steps, each after those of the earlier ones that it needs: that of the same unit, those that
// leave the node where it goes, and where apps are looked at as a whole, those of its app. Some units move on from where they have
// just come to: they had to wait there for others.
func (pl *planner) follow(earlier []step, later *planner, steps []step) []step {
	number := pl.adopt(later)
	out := make([]step, 0, len(steps))
	leaving := map[int32][]int32{} // node → units
	moved := map[int32]bool{}
	ofApp := map[int32][]int32{}
	for _, s := range earlier {
		if s.from != none {
			leaving[s.from] = append(leaving[s.from], s.u)
		}
		moved[s.u] = true
		app := pl.p.Units[s.u].App
		ofApp[app] = append(ofApp[app], s.u)
	}
	for _, s := range steps {
		s.u = number[s.u]
		after := make([]int32, 0, len(s.after)+1)
		for _, o := range s.after {
			after = append(after, number[o])
		}
		if moved[s.u] {
			after = append(after, s.u)
		}
		if s.to != none {
			after = append(after, leaving[s.to]...)
		}
		if a := &pl.p.Apps[pl.p.Units[s.u].App]; len(a.Spread)+len(a.With) > 0 {
			after = append(after, ofApp[pl.p.Units[s.u].App]...)
		}
		slices.Sort(after)
		s.after = slices.Compact(after)
		out = append(out, s)
	}
	return out
}

// after is the state once the steps have ended: what a next plan would be made for, to the letter.
func (pl *planner) after(steps []step) *snapshot.State {
	s := *pl.p.State
	s.Instances = make([]snapshot.Instance, 0, len(s.Instances))
	goes := make(map[string]int32, len(steps))
	for i := range steps {
		goes[pl.p.Units[steps[i].u].ID] = steps[i].to // of several the last
	}
	for u := range pl.p.Units {
		if unit := &pl.p.Units[u]; unit.New {
			if to, moves := goes[unit.ID]; moves && to != none {
				s.Instances = append(s.Instances, snapshot.Instance{ID: unit.ID, App: pl.p.Apps[unit.App].Name, Node: pl.name(to)})
			}
		}
	}
	for _, in := range pl.p.State.Instances {
		if to, moves := goes[in.ID]; moves {
			if in.Node = pl.name(to); to == none {
				continue
			}
		}
		s.Instances = append(s.Instances, in)
	}
	return &s
}

// adopt goes on to where a later plan, made for the state after this one, puts everything, and returns the numbers that its units have
// here.
func (pl *planner) adopt(later *planner) (number []int32) {
	number = make([]int32, len(later.p.Units))
	to := make([]int32, len(pl.p.Units)) // none: it is not there any more
	for u := range to {
		to[u] = none
	}
	why := map[int32]note{}
	known := make(map[string]int32, len(pl.p.Units))
	for u := range pl.p.Units {
		known[pl.p.Units[u].ID] = int32(u)
	}
	for i := range later.p.Units {
		v := int32(i)
		u, ok := known[later.p.Units[v].ID]
		if !ok { // in place of one that this plan stops
			u = pl.unclaimed(later.p.Units[v].App, to)
		}
		if number[v] = u; u == none { // it waits for a place, as that one does
			continue
		}
		if to[u] = later.b.at[v]; later.stuck[v] && pl.b.at[u] == none { // it has found no way there either, and waits for a place
			to[u] = none
		}
		if n, has := later.note[v]; has {
			why[u] = n
		}
	}
	for u, n := range to {
		v := int32(u)
		if n == pl.b.at[v] || pl.p.Units[v].Moving {
			continue
		}
		if pl.stuck[v] { // it has found a way after all, and counts like others
			delete(pl.stuck, v)
			pl.b.locked[v] = false
		}
		if pl.b.at[v] != none {
			pl.b.lift(v)
		}
		if n != none {
			pl.b.put(v, n)
		}
		if w, ok := why[v]; ok && pl.b.home[v] != none {
			if _, had := pl.note[v]; !had {
				pl.note[v] = w
			}
		}
		if n == pl.b.home[v] {
			delete(pl.note, v)
		}
	}
	pl.stillWaiting()
	return number
}

// unclaimed is a unit of an app that is stopped and that nothing else stands for yet.
func (pl *planner) unclaimed(app int32, to []int32) int32 {
	for _, u := range pl.p.Apps[app].Units {
		if pl.b.at[u] == none && !pl.stops[u] && to[u] == none {
			return u
		}
	}
	return none
}
