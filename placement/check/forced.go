package check

import (
	"cmp"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// forced counts the moves of some kind that no plan could leave out: of instances that may not stay, that are missing, or too many.
func (w *world) forced(p *snapshot.Plan, of func(*snapshot.Move) bool) (count int) {
	for i := range p.Moves {
		if m := &p.Moves[i]; (m.Class == events.ClassForced || m.Class == events.ClassRecovery) && of(m) {
			count++
		}
	}
	return count
}

// excess is how many instances have to leave nodes that hold what breaks a rule together, at least: of each node the fewest without
// which nothing there is overdrawn and no two are left that may not share it.
func (w *world) excess() (sum int) {
	flying := map[string]snapshot.InFlight{}
	for _, m := range w.s.InFlight {
		flying[m.Instance] = m
	}
	for i := range w.s.Nodes {
		n := &w.s.Nodes[i]
		if leaves(n) || n.Status == "suspected" {
			continue
		}
		var there []string
		stays := map[string]bool{} // what no plan moves
		for id := range w.on[n.ID] {
			if m, flies := flying[id]; flies && m.To == n.ID || !flies && w.allowed(w.ins[id].App, n) {
				there = append(there, id)
				stays[id] = flies || w.apps[w.ins[id].App].Mode == spec.Spread
			}
		}
		slices.Sort(there)
		sum += w.leavers(n, there, stays)
	}
	return sum
}

// mostLooks bounds the search for one number of leavers of one node; beyond, the number stands.
const mostLooks = 200_000

// leavers is the least number of those there that have to go. It begins with what single rules ask for, and goes through all sets of
// that many, then of one more, until one does.
func (w *world) leavers(n *snapshot.Node, there []string, stays map[string]bool) int {
	least := w.pairs(there)
	names := slices.Sorted(maps.Keys(n.Capacity))
	over := make([]snapshot.Amount, len(names))
	for i, k := range names {
		over[i] = -n.Capacity[k]
		var sizes []snapshot.Amount
		for _, id := range there {
			over[i] += w.demand(id)[k]
			if !stays[id] {
				sizes = append(sizes, w.demand(id)[k])
			}
		}
		slices.SortFunc(sizes, func(x, y snapshot.Amount) int { return cmp.Compare(y, x) })
		need := 0
		for rest := over[i]; rest > 0 && need < len(sizes); need++ {
			rest -= sizes[need]
		}
		least = max(least, need)
	}
	clash := func(x, y string) bool {
		a, b := w.ins[x].App, w.ins[y].App
		return a == b || w.away[a][b]
	}
	may := slices.DeleteFunc(slices.Clone(there), func(id string) bool { return stays[id] })
	if least == 0 || len(may) <= least {
		return least
	}
	for i, id := range there { // what clashes with one that stays decides nothing: only whole mendings count
		for _, o := range there[i+1:] {
			if stays[id] && stays[o] && clash(id, o) {
				return least
			}
		}
	}
	weight := func(id string) (sum float64) {
		for i, k := range names {
			if over[i] > 0 {
				sum += float64(w.demand(id)[k]) / float64(over[i])
			}
		}
		return sum
	}
	slices.SortStableFunc(may, func(x, y string) int { return cmp.Compare(weight(y), weight(x)) })
	for ; least < len(may); least++ {
		looks := mostLooks
		kept := slices.DeleteFunc(slices.Clone(there), func(id string) bool { return !stays[id] })
		var try func(i, k int, rest []snapshot.Amount) bool
		try = func(i, k int, rest []snapshot.Amount) bool {
			if looks--; looks < 0 {
				return false
			}
			if k == 0 || i == len(may) {
				for _, r := range rest {
					if r > 0 {
						return false
					}
				}
				for _, id := range may[i:] {
					if slices.ContainsFunc(kept, func(o string) bool { return clash(id, o) }) {
						return false
					}
				}
				for j, id := range may[i:] {
					for _, o := range may[i+j+1:] {
						if clash(id, o) {
							return false
						}
					}
				}
				return true
			}
			for d, name := range names { // not even the largest that are left do
				if rest[d] <= 0 {
					continue
				}
				var sizes []snapshot.Amount
				for _, id := range may[i:] {
					sizes = append(sizes, w.demand(id)[name])
				}
				slices.SortFunc(sizes, func(x, y snapshot.Amount) int { return cmp.Compare(y, x) })
				sum := snapshot.Amount(0)
				for _, s := range sizes[:min(k, len(sizes))] {
					sum += s
				}
				if sum < rest[d] {
					return false
				}
			}
			id := may[i]
			without := slices.Clone(rest)
			for d, name := range names {
				without[d] -= w.demand(id)[name]
			}
			if try(i+1, k-1, without) {
				return true
			}
			if slices.ContainsFunc(kept, func(o string) bool { return clash(id, o) }) {
				return false
			}
			kept = append(kept, id)
			ok := try(i+1, k, rest)
			kept = kept[:len(kept)-1]
			return ok
		}
		if try(0, least, over) || looks < 0 {
			break
		}
	}
	return least
}

// pairs is the size of a matching among the instances that may not share a node: one of each pair has to leave.
func (w *world) pairs(there []string) (count int) {
	used := map[string]bool{}
	best := 0
	for range 2 { // from both ends: greedy matchings depend on the order
		clear(used)
		count = 0
		for i, x := range there {
			for _, y := range there[i+1:] {
				a, b := w.ins[x].App, w.ins[y].App
				if !used[x] && !used[y] && (a == b || w.away[a][b]) {
					used[x], used[y] = true, true
					count++
				}
			}
		}
		best = max(best, count)
		slices.Reverse(there)
	}
	return best
}
