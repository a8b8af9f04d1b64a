package engine

import (
	"cmp"
	"math"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/flow"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// Request says what is asked for besides what has to be.
type Request struct {
	// Rebalance evens out as far as the rules allow, whatever the threshold: the least Σ count²/weight, then the fewest moves.
	Rebalance bool
	// Apps limits balance to some apps; none means all.
	Apps []string
	// Voluntary leaves what has to be to others: what may not stay, stays, and what has no place gets none.
	Voluntary bool
	// Labelled names nodes whose labels the request changes: moves that follow from them say so.
	Labelled []string
}

// Result is a plan and what proves its bound.
type Result struct {
	*snapshot.Plan
	Proof snapshot.Certificate
}

// planner makes one plan.
type planner struct {
	p        *model.Problem
	r        Request
	b        *board
	scope    []bool         // app → may be moved by balance
	stops    map[int32]bool // units that are stopped
	note     map[int32]note // units that move for a reason of their own
	pending  []int32
	trail    map[int32][]int32 // app → units that wait for a place and go with it
	trying   bool
	stuck    map[int32]bool // unit → it would wait in a circle, so it stays
	repaired bool
	sought   bool    // a search was made, whether it found anything or not
	amiss    []int32 // nodes that hold what breaks a rule together at the start
	repairs  int     // moves that repair needs at least
	flow     *outcome
	totals   []int64 // by dimension
	flying   []int32 // units in flight; nil: not looked for yet
}

// note is why a unit moves.
type note struct {
	class  events.Class
	reason string
	text   string
}

// Compute makes the plan for a problem. What has no other place takes the room that standbys hold, and they end.
func Compute(p *model.Problem, r Request) *Result {
	out := compute(p, r, false)
	if r.Voluntary || len(p.State.Standbys) == 0 {
		return out
	}
	if len(out.Pending) > 0 {
		bare := *p.State
		bare.Standbys = nil
		if without, err := model.Compile(&bare); err == nil {
			if other := compute(without, r, false); len(other.Pending) < len(out.Pending) {
				out = other
			}
		}
	}
	out.Standbys = fates(p, out.Plan)
	return out
}

// once decides and orders the moves. Those that would wait for each other in a circle stay, and what is best without them is decided
// anew.
func once(p *model.Problem, r Request) (*planner, []step, []snapshot.Blocked) {
	stuck := map[int32]bool{}
	var circles []snapshot.Blocked
	for u := range p.Units {
		if n := p.Units[u].Node; r.Voluntary && !p.Units[u].Moving && (n == none || !p.MayStay(p.Units[u].App, n)) {
			stuck[int32(u)] = true
		}
	}
	for {
		pl := decide(p, r, stuck)
		steps, blocked := pl.arrange(pl.steps())
		if len(blocked) == 0 {
			return pl, steps, circles
		}
		circles = append(circles, blocked...)
		for _, b := range blocked {
			for u := range p.Units {
				if p.Units[u].ID == b.Instance {
					stuck[int32(u)] = true
				}
			}
		}
	}
}

// decide puts every unit where it should be.
func decide(p *model.Problem, r Request, stuck map[int32]bool) *planner {
	pl := &planner{p: p, r: r, stuck: stuck, b: newBoard(p), stops: map[int32]bool{}, note: map[int32]note{}, scope: make([]bool, len(p.Apps))}
	pl.findScope()
	pl.lock()
	pl.surplus()
	pl.marked()
	var free []int32 // forced or pending: they need a place
	for u := range p.Units {
		if pl.b.at[u] == none && !pl.stops[int32(u)] && !pl.p.Units[u].Moving && !stuck[int32(u)] {
			free = append(free, int32(u))
		}
	}
	newShelf(pl.b)
	start := slices.Clone(pl.b.at)
	pl.amiss = pl.bad(pl.all())
	pl.repairs = pl.repairBound(pl.amiss)
	if r.Rebalance {
		pl.balance(start, free, 0)
	} else {
		pl.place(free)
		pl.repair()
		pl.refine(start)
		if auto := p.Policy.AutoRebalance; auto.Enabled {
			if now := pl.imbalance(); now.Imbalance > auto.Threshold {
				pl.balance(start, nil, auto.Threshold/2)
			}
			pl.prefer()
		}
	}
	if pl.searched() {
		pl.dropNeedless()
	}
	if pl.searched() && !pl.better(start) { // it went round in circles
		pl.restore(start)
		pl.flow, pl.repaired, pl.pending = nil, false, free
		for u := range pl.note {
			if !pl.b.moved(u) {
				delete(pl.note, u)
			}
		}
	}
	return pl
}

// better says whether the board is better than it was with the units elsewhere.
func (pl *planner) better(start []int32) bool {
	end, is := slices.Clone(pl.b.at), pl.potential()
	pl.restore(start)
	was := pl.potential()
	pl.restore(end)
	return is.less(was)
}

// searched says whether the plan rests on more than counting.
func (pl *planner) searched() bool { return pl.repaired || pl.flow != nil && !pl.flow.exact }

// potential is how bad the board is. What is voluntary makes it less, or does not happen: so plans come to an end.
type potential struct {
	unplaced int
	harm
	even float64
}

func (x potential) less(y potential) bool {
	return cmp.Or(cmp.Compare(x.unplaced, y.unplaced), x.harm.compare(y.harm), cmp.Compare(x.even, y.even)) < 0
}

func (pl *planner) potential() (x potential) {
	for u := range pl.p.Units {
		if pl.b.at[u] == none && !pl.stops[int32(u)] && !pl.p.Units[u].Moving {
			x.unplaced++
		}
	}
	for n := range pl.p.Nodes {
		h := pl.b.harm(int32(n), none)
		x.pairs += h.pairs
		x.over += h.over
		if pl.p.Nodes[n].Open {
			x.even += float64(pl.b.weight[n]) * float64(pl.b.weight[n]) / float64(pl.p.Nodes[n].Weight)
		}
	}
	x.over = math.Round(x.over*1e9) / 1e9
	x.even = math.Round(x.even*1e9) / 1e9
	return x
}

func (pl *planner) findScope() {
	for a := range pl.p.Apps {
		app := &pl.p.Apps[a]
		pl.scope[a] = len(pl.r.Apps) == 0 && (pl.r.Rebalance || !app.Excluded)
	}
	for _, name := range pl.r.Apps {
		if a, ok := pl.p.AppIndex(name); ok {
			pl.scope[a] = true
		}
	}
}

// lock fixes what no plan moves: instances on nodes that nobody has heard of for a while, and where it is not known what becomes of them.
func (pl *planner) lock() {
	for u := range pl.p.Units {
		if n := pl.b.at[u]; n != none && pl.p.Nodes[n].Status == "suspected" {
			pl.b.locked[u] = true
		}
		if a := &pl.p.Apps[pl.p.Units[u].App]; a.Fixed || pl.stuck[int32(u)] {
			pl.b.locked[u] = true
		}
	}
}

// resting says whether a unit moved so lately that nothing voluntary moves it again: within twice the cooldown it does not go back,
// nor on. What a person asks for is not held by it, nor what never was anywhere else.
func (pl *planner) resting(u int32) bool {
	unit := &pl.p.Units[u]
	policy := &pl.p.Policy
	rest := 2 * max(policy.AutoRebalance.CooldownPeriod.D(), policy.Migration.CooldownPeriod.D())
	return !pl.r.Rebalance && rest > 0 && unit.From != none && !unit.MovedAt.IsZero() && unit.MovedAt.Add(rest).After(pl.p.Now)
}

// outcome is what the counting problem said.
type outcome struct {
	*counting
	best   *flow.Solution // of the relaxation that only counts
	levels *flow.Levels   // nil with a band
	lo, hi []int32        // nil without a band
	exact  bool           // the plan is this solution
}
