package check

import (
	"cmp"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
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

// excess is how many instances have to leave nodes that hold what breaks a rule together, at least: of each node as many of its
// largest as its excess of some resource takes, or one of each pair of a matching among those that may not share it.
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
		for id := range w.on[n.ID] {
			if m, flies := flying[id]; flies && m.To == n.ID || !flies && w.allowed(w.ins[id].App, n) {
				there = append(there, id)
			}
		}
		slices.Sort(there)
		least := w.pairs(there)
		for _, k := range slices.Sorted(maps.Keys(n.Capacity)) {
			over := -n.Capacity[k]
			var sizes []snapshot.Amount
			for _, id := range there {
				over += w.demand(id)[k]
				if _, flies := flying[id]; !flies {
					sizes = append(sizes, w.demand(id)[k])
				}
			}
			slices.SortFunc(sizes, func(x, y snapshot.Amount) int { return cmp.Compare(y, x) })
			need := 0
			for ; over > 0 && need < len(sizes); need++ {
				over -= sizes[need]
			}
			least = max(least, need)
		}
		sum += least
	}
	return sum
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
