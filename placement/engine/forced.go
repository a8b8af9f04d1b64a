package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/spec"
)

// surplus stops what is too much: the worst placed first, then the youngest.
func (pl *planner) surplus() {
	for a := range pl.p.Apps {
		app := &pl.p.Apps[a]
		if app.Fixed {
			continue
		}
		extra := len(app.Units) - app.Desired
		if extra <= 0 {
			continue
		}
		units := slices.Clone(app.Units)
		badness := func(u int32) int {
			n := pl.b.at[u]
			switch {
			case pl.p.Units[u].Moving:
				return -1
			case n == none:
				return 3
			case !pl.p.MayStay(int32(a), n):
				return 2
			case !pl.p.Nodes[n].Open:
				return 1
			}
			return 0
		}
		slices.SortStableFunc(units, func(x, y int32) int { return cmp.Or(cmp.Compare(badness(y), badness(x)), cmp.Compare(y, x)) })
		for _, u := range units[:extra] {
			if badness(u) < 0 {
				continue
			}
			pl.stops[u] = true
			if pl.b.at[u] != none {
				pl.note[u] = note{events.ClassForced, events.ReasonScale, fmt.Sprintf("%d of %d are wanted", app.Desired, len(app.Units))}
				pl.b.lift(u)
			}
		}
	}
}

// marked takes off their nodes the units that may not stay: a rule of the node broke, or everything leaves it.
func (pl *planner) marked() {
	for u := range pl.p.Units {
		pl.mark(int32(u))
	}
}

// mark takes a unit off its node if it may not stay there.
func (pl *planner) mark(u int32) {
	unit := &pl.p.Units[u]
	a := &pl.p.Apps[unit.App]
	n := pl.b.at[u]
	if n == none || unit.Moving || pl.stuck[u] || pl.p.Nodes[n].Status == "suspected" || pl.p.MayStay(unit.App, n) {
		return
	}
	pl.note[u] = pl.whyLeave(unit.App, n)
	pl.b.lift(u)
	if a.Fixed {
		pl.stops[u] = true // it has one on every node that takes it: this one has no other place
	}
}

func (pl *planner) whyLeave(app, n int32) note {
	node, a := &pl.p.Nodes[n], &pl.p.Apps[app]
	switch broken := brokenRules(a, node); {
	case node.Status == "lost" || node.Status == "left":
		return note{events.ClassRecovery, events.ReasonNodeLost, "node " + node.ID + " is " + node.Status}
	case len(broken) > 0:
		reason := events.ReasonLabelChange
		if broken[0].Code == events.RuleOnNodes && !slices.Contains(pl.r.Labelled, node.ID) {
			reason = events.ReasonConstraintUpdate
		}
		return note{events.ClassForced, reason, details(broken)}
	}
	return note{events.ClassForced, events.ReasonDrain, node.ID + " is draining"}
}

// brokenRules lists the rules of an app that a node itself fails.
func brokenRules(a *model.App, n *model.Node) (out []events.Rejection) {
	for _, text := range a.Spec.Require {
		sel, err := spec.ParseSelector(text)
		if err != nil {
			out = append(out, events.Rejection{Node: n.ID, Code: events.RuleLabel, Detail: err.Error()})
			continue
		}
		for _, why := range sel.Failures(n.Labels) {
			out = append(out, events.Rejection{Node: n.ID, Code: events.RuleLabel, Detail: why})
		}
	}
	if only := a.Spec.OnNodes; len(only) > 0 && !slices.Contains(only, n.ID) {
		out = append(out, events.Rejection{Node: n.ID, Code: events.RuleOnNodes, Detail: "not one of the nodes allowed (" + someOf(only) + ")"})
	}
	return out
}

func someOf(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func details(rs []events.Rejection) string {
	var s []string
	for _, r := range rs {
		s = append(s, r.Detail)
	}
	return strings.Join(s, "; ")
}

// place finds a node for each unit that is nowhere: first those that have the fewest nodes to go to and the most to bring.
func (pl *planner) place(free []int32) {
	b := pl.b
	open := make([]int, len(pl.p.Apps))
	byGroup := make([]int, pl.p.Groups)
	for n := range pl.p.Nodes {
		if pl.p.Nodes[n].Open {
			byGroup[pl.p.Nodes[n].Group]++
		}
	}
	for a := range pl.p.Apps {
		for g, count := range byGroup {
			if pl.p.Apps[a].Allows(int32(g)) {
				open[a] += count
			}
		}
	}
	slices.SortStableFunc(free, func(x, y int32) int {
		ux, uy := &pl.p.Units[x], &pl.p.Units[y]
		return cmp.Or(cmp.Compare(bit(len(pl.p.Apps[ux.App].With) > 0), bit(len(pl.p.Apps[uy.App].With) > 0)), cmp.Compare(rank(pl.note[x].class), rank(pl.note[y].class)),
			cmp.Compare(open[ux.App], open[uy.App]), cmp.Compare(pl.size(y), pl.size(x)), cmp.Compare(x, y))
	})
	pl.trail = map[int32][]int32{}
	for _, u := range free {
		for _, o := range pl.p.Apps[pl.p.Units[u].App].With {
			pl.trail[o] = append(pl.trail[o], u)
		}
	}
	var left []int32
	for _, u := range free {
		if b.at[u] != none { // it followed another
			continue
		}
		if pl.p.Apps[pl.p.Units[u].App].Fixed {
			if to := pl.p.Units[u].To; to != none && b.fits(u, to, orderFree) {
				b.put(u, to)
			} else {
				pl.pending = append(pl.pending, u)
			}
			continue
		}
		if !pl.settle(u) {
			left = append(left, u)
		}
	}
	for _, u := range left {
		if !pl.settle(u) && !pl.displace(u) {
			pl.pending = append(pl.pending, u)
		}
	}
	slices.Sort(pl.pending)
}

// settle puts a unit, and those that follow it, on the best node that takes them: one where its app has a standby before any other.
func (pl *planner) settle(u int32) bool {
	for _, to := range pl.p.Apps[pl.p.Units[u].App].Standbys {
		if to != pl.p.Units[u].Node && pl.b.fits(u, to, orderFree) {
			pl.b.put(u, to)
			return true
		}
	}
	for _, free := range []bool{orderFree, atTheEnd} {
		if to := pl.b.shelf.target(u, free, pl.p.Units[u].Node); to != none {
			pl.b.put(u, pl.inCompany(u, to, free))
			return true
		}
	}
	return false
}

// inCompany returns, instead of a node that takes a unit, the one that takes most of those that wait to go with it, too.
func (pl *planner) inCompany(u, to int32, free bool) int32 {
	b, trail := pl.b, pl.trail[pl.p.Units[u].App]
	if len(trail) == 0 {
		return to
	}
	take := func(n int32) (count int) {
		b.put(u, n)
		var there []int32
		for _, f := range trail {
			if b.at[f] == none && b.fits(f, n, free) {
				b.put(f, n)
				there = append(there, f)
			}
		}
		for _, f := range there {
			b.lift(f)
		}
		b.lift(u)
		return len(there)
	}
	first, most, threshold := to, take(to), pl.p.Policy.Migration.LoadThreshold
	for n := range pl.p.Nodes {
		n := int32(n)
		if n == first || n == pl.p.Units[u].Node || threshold > 0 && pl.p.Nodes[n].Load > threshold || !b.fits(u, n, free) {
			continue
		}
		if count := take(n); count > most || count == most && to != first && len(b.units[n]) < len(b.units[to]) {
			to, most = n, count
		}
	}
	return to
}

// size is how much a unit takes of what there is, summed over the resources.
func (pl *planner) size(u int32) (sum float64) {
	for d, v := range pl.p.Units[u].Demand {
		if v > 0 {
			sum += float64(v) / float64(max(pl.total(d), 1))
		}
	}
	return sum
}

// total is the capacity of all nodes that limit a resource.
func (pl *planner) total(d int) (sum int64) {
	if pl.totals == nil {
		pl.totals = make([]int64, len(pl.p.Dims))
		for n := range pl.p.Nodes {
			for d, c := range pl.p.Nodes[n].Cap {
				if c != model.Unlimited {
					pl.totals[d] += c
				}
			}
		}
	}
	return pl.totals[d]
}

// displace makes room for a unit: one that may move goes elsewhere.
func (pl *planner) displace(u int32) bool {
	b := pl.b
	tries := 0
	for n := range pl.p.Nodes {
		if !pl.p.Eligible(pl.p.Units[u].App, int32(n)) || int32(n) == pl.p.Units[u].Node || int32(n) == b.home[u] {
			continue
		}
		if tries++; tries > 2000 {
			return false
		}
		for _, v := range slices.Clone(b.units[n]) {
			if b.locked[v] || len(b.followers(v)) > 1 {
				continue
			}
			b.lift(v)
			if b.fits(u, int32(n), atTheEnd) {
				b.put(u, int32(n))
				for _, free := range []bool{orderFree, atTheEnd} {
					if to := b.shelf.target(v, free, int32(n)); to != none {
						b.put(v, to)
						pl.repaired = true
						if _, has := pl.note[v]; !has && b.home[v] != none {
							pl.note[v] = note{events.ClassRepair, events.ReasonRebalance, "makes room for " + pl.p.Units[u].ID + " on " + pl.p.Nodes[n].ID}
						}
						return true
					}
				}
				b.lift(u)
			}
			b.put(v, int32(n))
		}
	}
	return false
}

func rank(c events.Class) int {
	switch c {
	case events.ClassRecovery:
		return 0
	case events.ClassForced, "":
		return 1
	case events.ClassRepair:
		return 2
	case events.ClassBalance:
		return 3
	}
	return 4
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
