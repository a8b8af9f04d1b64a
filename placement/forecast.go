package placement

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/projections"
)

// Forecast is how a plan goes, and how good it is.
type Forecast struct {
	Wave          []map[string]int // by round: instance → wave, from 1; those that a guardrail holds have none
	Waves         int
	Bound         snapshot.Bound
	Before, After snapshot.Metrics
}

// Gap is how many more moves there are than the bound has, relative to it.
func (f Forecast) Gap(moves int) float64 {
	return float64(moves-f.Bound.MinMoves) / float64(max(1, f.Bound.MinMoves))
}

// Foretell forecasts a plan, and the rounds after it, for the state what, which is now with a change made to it. Moves that only wait for
// their turn are part of a plan; asked is how many of the moves somebody asks for by name, so that nothing else calls for them.
func Foretell(now, what *projections.Cluster, rounds []Plan, asked int, at time.Time) Forecast {
	f := Forecast{Before: Imbalance(now)}
	var moves []events.Move
	most := max(what.Policy.Migration.MaxConcurrent, 1)
	for i, plan := range rounds {
		first, waits, wave := f.Waves+1, 0, map[string]int{}
		for _, d := range plan.Moves {
			wave[d.Instance], f.Waves = first, first
			moves = append(moves, d.Move)
		}
		for _, h := range plan.Held {
			if OnlyTurn(h.Holds) {
				f.Waves = first + 1 + waits/most
				wave[h.Instance] = f.Waves
				waits++
			} else if i > 0 {
				continue // it is for a later day
			}
			moves = append(moves, h.Move)
		}
		f.Wave = append(f.Wave, wave)
	}
	s := live(what, at)
	f.After = measureAfter(s, moves)
	f.Bound = leastMoves(s, moves, asked)
	return f
}

// OnlyTurn says whether a move waits for nothing but that others end.
func OnlyTurn(holds []events.Hold) bool {
	return len(holds) > 0 && !slices.ContainsFunc(holds, func(h events.Hold) bool { return h.Rule != events.HoldConcurrent })
}

// leastMoves is the least number of moves that mends what these mend: what the engine, which plans on its own, finds unavoidable on the
// same state, besides what no state shows – a standby, an instance of an older definition, or a move that somebody asks for.
func leastMoves(s *snapshot.State, moves []events.Move, asked int) snapshot.Bound {
	quiet := *s
	policy := *s.Policy
	policy.AutoRebalance.Enabled = false
	quiet.Policy = &policy
	p, err := model.Compile(&quiet)
	if err != nil {
		return snapshot.Bound{}
	}
	least := engine.Compute(p, engine.Request{}).Bound.MinMoves + asked
	for _, m := range moves {
		if m.Standby() || m.Class == events.ClassRepair && !makesRoom(m) || m.From != "" && m.From == m.To {
			least++
		}
	}
	least = min(least, len(moves))
	return snapshot.Bound{MinMoves: least, Exact: least == len(moves)}
}

// measureAfter says how even a state is once some moves have ended.
func measureAfter(s *snapshot.State, moves []events.Move) snapshot.Metrics {
	to := make(map[string]events.Move, len(moves))
	for _, m := range moves {
		if !m.Standby() {
			to[m.Instance] = m
		}
	}
	end := *s
	end.Instances = make([]snapshot.Instance, 0, len(s.Instances))
	for _, in := range s.Instances {
		if m, moves := to[in.ID]; moves {
			in.Node = m.To
			delete(to, in.ID)
			if m.To == "" {
				continue
			}
		}
		end.Instances = append(end.Instances, in)
	}
	for _, id := range sortedKeys(to) { // those that start
		if m := to[id]; m.To != "" {
			end.Instances = append(end.Instances, snapshot.Instance{ID: id, App: m.App, Node: m.To})
		}
	}
	p, err := model.Compile(&end)
	if err != nil {
		return snapshot.Metrics{}
	}
	return engine.Measure(p)
}
