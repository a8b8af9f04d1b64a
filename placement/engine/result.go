package engine

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/flow"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// step is one move of the plan.
type step struct {
	u        int32
	from, to int32 // none: starts, stops
	note
	after []int32 // steps that have to end first
	rule  string  // by which a disruption budget of its app holds it
	spent string  // why the disruption budget of its app holds it; "" if it does not
	wave  int
}

func (pl *planner) result(steps []step, blocked []snapshot.Blocked) *Result {
	before, after := pl.metrics(steps)
	pl.sayBalance(steps)
	pl.waves(steps)
	out := pl.write(steps)
	out.Before, out.Pending = before, pl.explain()
	if len(blocked) > 0 {
		out.Blocked = blocked
	}
	pl.hold(out, steps)
	out.After = after
	proof := pl.bound(out, steps)
	out.Gap = float64(len(out.Moves)-out.Bound.MinMoves) / float64(max(1, out.Bound.MinMoves))
	out.Why = pl.summary(out)
	return &Result{Plan: out, Proof: proof}
}

// write makes the moves of a plan.
func (pl *planner) write(steps []step) *snapshot.Plan {
	out := &snapshot.Plan{OrderFree: true, Moves: make([]snapshot.Move, 0, len(steps)), Pending: []snapshot.Pending{}, Deferred: []snapshot.Deferral{}, Blocked: []snapshot.Blocked{}}
	for i := range steps {
		s := &steps[i]
		m := snapshot.Move{Instance: pl.p.Units[s.u].ID, App: pl.p.Apps[pl.p.Units[s.u].App].Name, From: pl.name(s.from), To: pl.name(s.to),
			Class: s.class, Reason: s.reason, Why: s.text, Wave: s.wave}
		for _, o := range s.after {
			m.After = append(m.After, pl.p.Units[o].ID)
			out.OrderFree = false
		}
		slices.Sort(m.After)
		out.Moves = append(out.Moves, m)
		out.Waves = max(out.Waves, s.wave)
	}
	return out
}

func (pl *planner) name(n int32) string {
	if n == none {
		return ""
	}
	return pl.p.Nodes[n].ID
}

// steps lists what differs between the board and where everything is.
func (pl *planner) steps() (steps []step) {
	for i := range pl.p.Units {
		u, unit := int32(i), &pl.p.Units[i]
		if unit.Moving {
			continue
		}
		to := pl.b.at[u]
		n := pl.note[u]
		switch {
		case to == unit.Node:
			continue
		case to == none && !pl.stops[u] && !pl.gracefullyStopped(u):
			continue
		case n.class == "":
			n = pl.whyNew(u)
		}
		steps = append(steps, step{u: u, from: unit.Node, to: to, note: n})
	}
	return steps
}

// gracefullyStopped says whether a unit that has nowhere to go is stopped: the rules of its app broke, and it does not say to serve on.
func (pl *planner) gracefullyStopped(u int32) bool {
	unit := &pl.p.Units[u]
	if unit.Node == none {
		return false
	}
	a, n := &pl.p.Apps[unit.App], &pl.p.Nodes[unit.Node]
	return n.Status == "ready" && !a.Allows(n.Group) && a.Spec.OnInvalid != spec.OnInvalidKeep
}

func (pl *planner) whyNew(u int32) note {
	a := &pl.p.Apps[pl.p.Units[u].App]
	if pl.p.Units[u].Node != none {
		return note{events.ClassBalance, events.ReasonRebalance, ""}
	}
	for _, o := range a.Units {
		if pl.p.Units[o].Node != none {
			return note{events.ClassForced, events.ReasonScale, "an instance is missing"}
		}
	}
	return note{events.ClassForced, events.ReasonSpecUpdate, "it runs nowhere yet"}
}

// bound fills in the least number of moves, and what proves it.
func (pl *planner) bound(out *snapshot.Plan, steps []step) (proof snapshot.Certificate) {
	inFlow := make([]bool, len(pl.p.Units))
	if pl.flow != nil {
		for _, units := range pl.flow.part {
			for _, u := range units {
				inFlow[u] = true
			}
		}
	}
	forced, elsewhere := 0, 0 // steps that had to be; those of them that counting does not know of
	for i := range steps {
		if s := &steps[i]; s.class == events.ClassForced || s.class == events.ClassRecovery {
			forced++
			if !inFlow[s.u] || s.to == none {
				elsewhere++
			}
		}
	}
	least := forced + pl.repairs
	proof.Forced = least
	if o := pl.flow; o != nil && !pl.chosenCompany() {
		best, levels := o.best, o.levels
		lo, hi := o.lo, o.hi
		if !o.exact || !pl.asCounted() { // as even as the plan is: no node outside what its fullest and emptiest have
			lo, hi = pl.reached()
			for _, u := range pl.pending {
				pl.stops[u] = true
			}
			o.counting = pl.input(true)
			best, levels = flow.Within(o.in, lo, hi), nil
		}
		short, pending := 0, 0
		for a, units := range o.part {
			short += int(best.Unplaced[a])
			for _, u := range units {
				pending += bit(pl.b.at[u] == none)
			}
		}
		if counted := best.Moves + elsewhere; best.Feasible && short == pending && pl.tradeless(best) && counted >= least {
			least = counted
			proof = pl.proof(best, levels, lo, hi)
			proof.Forced = elsewhere
		}
	}
	out.Bound = snapshot.Bound{MinMoves: least, Exact: least == len(out.Moves)}
	if out.Bound.MinMoves > len(out.Moves) { // a move that is blocked was counted
		out.Bound = snapshot.Bound{MinMoves: len(out.Moves), Exact: true}
	}
	return proof
}

// chosenCompany says whether the plan has put a unit on a node for the company there, or whom others go with: the count takes it to be there for good, and
// another plan may choose otherwise.
func (pl *planner) chosenCompany() bool {
	for u := range pl.p.Units {
		unit := &pl.p.Units[u]
		if at := pl.b.at[u]; at != none && at != unit.Node && !unit.Moving && (len(pl.p.Apps[unit.App].With) > 0 || pl.b.hosts[unit.App]) {
			return true
		}
	}
	return false
}

// asCounted says whether the plan is as even as the count found, which what is placed after it may have changed: only then does the count's proof
// say anything of it.
func (pl *planner) asCounted() bool {
	o := pl.flow
	if o.levels == nil {
		return true
	}
	more := new(big.Rat) // Σ count²/weight that the plan has beyond the count
	for i, n := range o.nodes {
		if is, was := int64(pl.b.weight[n]), int64(o.best.Load[i]); is != was {
			more.Add(more, big.NewRat(is*is-was*was, pl.p.Nodes[n].Weight))
		}
	}
	return more.Sign() <= 0
}

// tradeless says whether those without a place could have none whatever else moved: every node that takes them has one of their app.
func (pl *planner) tradeless(best *flow.Solution) bool {
	for a, short := range best.Unplaced {
		if short == 0 {
			continue
		}
		app := &pl.flow.in.Apps[a]
		for n := range pl.flow.in.Nodes {
			_, on := slices.BinarySearch(best.On[a], int32(n))
			_, blocked := slices.BinarySearch(app.Blocked, int32(n))
			if !on && !blocked && pl.p.Apps[a].Allows(pl.flow.in.Nodes[n].Group) {
				return false
			}
		}
	}
	return true
}

// reached returns for each node the loads that are no further from even than what the plan reaches.
func (pl *planner) reached() (lo, hi []int32) {
	o := pl.flow
	fullest, emptiest := none, none
	per := func(n int32) float64 { return float64(pl.b.weight[n]) / float64(pl.p.Nodes[n].Weight) }
	useful := pl.useful()
	for _, n := range o.nodes {
		if !useful[pl.p.Nodes[n].Group] {
			continue
		}
		if fullest == none || per(n) > per(fullest) {
			fullest = n
		}
		if emptiest == none || per(n) < per(emptiest) {
			emptiest = n
		}
	}
	for _, n := range o.nodes {
		if !useful[pl.p.Nodes[n].Group] {
			lo, hi = append(lo, 0), append(hi, pl.b.weight[n])
			continue
		}
		w := pl.p.Nodes[n].Weight
		lo = append(lo, int32((int64(pl.b.weight[emptiest])*w+pl.p.Nodes[emptiest].Weight-1)/pl.p.Nodes[emptiest].Weight))
		hi = append(hi, int32(int64(pl.b.weight[fullest])*w/pl.p.Nodes[fullest].Weight))
	}
	for i, n := range o.nodes { // rounding may not exclude the plan itself
		lo[i], hi[i] = min(lo[i], pl.b.weight[n]), max(hi[i], pl.b.weight[n])
	}
	return lo, hi
}

func (pl *planner) proof(best *flow.Solution, levels *flow.Levels, lo, hi []int32) snapshot.Certificate {
	o := pl.flow
	pr := snapshot.Certificate{Band: levels == nil, Unit: best.Proof.Unit, Node: map[string]int64{}, App: map[string]int64{}, Level: map[string]snapshot.Level{},
		AppOf: map[string]snapshot.Level{}, Lo: map[string]int32{}, Hi: map[string]int32{}, Pinned: map[string]bool{}}
	counted := make([]bool, len(pl.p.Units))
	for _, units := range o.part {
		for _, u := range units {
			counted[u] = true
		}
	}
	for u := range pl.p.Units {
		if !counted[u] && !pl.p.Units[u].Moving {
			pr.Pinned[pl.p.Units[u].ID] = true
		}
	}
	for i, n := range o.nodes {
		id := pl.p.Nodes[n].ID
		pr.Node[id] = best.Proof.Node[i]
		if levels != nil {
			num, den := levels.Node(int32(i))
			pr.Level[id] = snapshot.Level{Num: num, Den: den}
		} else {
			pr.Lo[id], pr.Hi[id] = lo[i], hi[i]
		}
	}
	for a := range pl.p.Apps {
		name := pl.p.Apps[a].Name
		pr.App[name] = best.Proof.App[a]
		if levels != nil {
			num, den := levels.App(int32(a))
			pr.AppOf[name] = snapshot.Level{Num: num, Den: den}
		}
	}
	return pr
}

// summary says in one sentence what the plan does, or why nothing.
func (pl *planner) summary(out *snapshot.Plan) string {
	switch m := out.Before; {
	case len(out.Moves) > 0:
		return fmt.Sprintf("%d moves, at least %d are needed; imbalance %.2f → %.2f", len(out.Moves), out.Bound.MinMoves, m.Imbalance, out.After.Imbalance)
	case len(out.Pending) > 0:
		return fmt.Sprintf("nothing can move: %d instances have nowhere to go", len(out.Pending))
	case m.Imbalance == 0 && m.Raw > 0:
		return fmt.Sprintf("nothing to do: the fullest node is %.0f %% above the mean, and no move that the rules allow makes that less", 100*m.Raw)
	case m.Imbalance == 0:
		return "nothing to do: the cluster is as even as can be"
	case !pl.p.Policy.AutoRebalance.Enabled && !pl.r.Rebalance:
		return fmt.Sprintf("nothing has to move; imbalance %.2f, and automatic rebalancing is off", m.Imbalance)
	}
	return fmt.Sprintf("nothing has to move; imbalance %.2f is within the threshold of %.2f", out.Before.Imbalance, pl.p.Policy.AutoRebalance.Threshold)
}
