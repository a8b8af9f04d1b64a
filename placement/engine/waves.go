package engine

import (
	"cmp"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// waves gives each step the first wave that has room: at most max_concurrent at once, of an app at most max_parallel, and none before
// what it waits for, and no more of an app than its disruption budget has left. Recovery has a limit of its own.
func (pl *planner) waves(steps []step) {
	policy := &pl.p.Policy
	limit := max(policy.Migration.MaxConcurrent, 1)
	balance := limit
	if n := policy.AutoRebalance.MaxConcurrent; n > 0 && !pl.r.Rebalance {
		balance = min(balance, n)
	}
	inFlight, perApp := 0, map[int32]int{}
	for _, u := range pl.moving() {
		inFlight++
		perApp[pl.p.Units[u].App]++
	}
	var taken, even []int // by wave: all but recovery; of balance and preference
	at := func(list *[]int, w int) *int {
		for len(*list) <= w {
			*list = append(*list, 0)
		}
		return &(*list)[w]
	}
	*at(&taken, 1) = min(inFlight, limit)
	next := map[int32]int{} // app → wave before which it has no room
	slot := map[int32]int{} // app → moves in that wave
	for a, n := range perApp {
		next[a], slot[a] = 1, n
	}
	waveOf := map[int32]int{}
	spent := pl.budgets()
	for i := range steps { // what is too much ends whenever it likes
		s := &steps[i]
		if b := spent[pl.p.Units[s.u].App]; b != nil && s.from != none && s.to == none && !disrupts(s) && !pl.gone(s.from) {
			b.serve--
		}
	}
	first := 1 // no wave before it has room
	firstEven := 1
	for i := range steps {
		s := &steps[i]
		app := pl.p.Units[s.u].App
		recovery := s.class == events.ClassRecovery
		voluntary := s.class == events.ClassBalance || s.class == events.ClassPreference
		w := max(1, next[app])
		for _, o := range s.after {
			w = max(w, waveOf[o]+1)
		}
		parallel := max(pl.p.Apps[app].Spec.Migration.MaxParallel, 1)
		if pl.p.Apps[app].Mode == spec.Singleton {
			parallel = 1
		}
		if w == next[app] && slot[app] >= parallel {
			w++
		}
		budget := spent[app]
		if budget != nil && disrupts(s) {
			if s.rule, s.spent = budget.exhausted(s); s.spent == "" {
				w = budget.first(s, w)
			}
		}
		if !recovery {
			w = max(w, first)
			if voluntary {
				w = max(w, firstEven)
			}
			for *at(&taken, w) >= limit || voluntary && *at(&even, w) >= balance || budget != nil && s.spent == "" && disrupts(s) && budget.first(s, w) > w {
				w++
			}
			*at(&taken, w)++
			for *at(&taken, first) >= limit {
				first++
			}
			if voluntary {
				*at(&even, w)++
				for *at(&even, firstEven) >= balance || *at(&taken, firstEven) >= limit {
					firstEven++
				}
			}
		}
		if next[app] != w {
			next[app], slot[app] = w, 0
		}
		slot[app]++
		if budget != nil && s.spent == "" {
			budget.count(s, w)
		}
		s.wave, waveOf[s.u] = w, w
	}
	slices.SortStableFunc(steps, func(x, y step) int { return cmp.Compare(x.wave, y.wave) })
}
