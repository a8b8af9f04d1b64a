package placement

import (
	"cmp"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
)

// What a point of each kind weighs. One instance more on a node costs as much as 25 points of preference gain.
const (
	scorePreference = 4
	scoreInstance   = 100
	scoreLoad       = 50      // of a fully loaded node
	scoreCompany    = 100_000 // for each app that goes with it and can be there, too
	scoreFailed     = 1_000_000
)

// score says how good a node is for the app among those that can take it; more is better.
func score(u *usage, loads map[string]api.Sight, a *projections.App, n *projections.Node) int64 {
	return int64(-scoreInstance*u.at(n.ID).count) + preferred(a, n) - int64(scoreLoad*laden(loads[n.ID]))
}

// preferred is what an app's preferences say of a node.
func preferred(a *projections.App, n *projections.Node) (s int64) {
	for _, p := range a.Spec.Prefer {
		if prefers(p, n) {
			s += int64(scorePreference * p.Weight)
		}
	}
	return s
}

func laden(s api.Sight) float64 { return max(s.CPU, s.Memory) }

// better orders candidates: complete data first, then those that are not too busy, then those with a standby, then higher scores, and by node id so that equal
// ones are always taken in the same order.
func better(x, y candidate) int {
	if x.complete != y.complete { // elsewhere writes may be missing that nobody shipped
		return bit(y.complete) - bit(x.complete)
	}
	if x.hot != y.hot { // too busy by the policy: only where there is nothing else
		return bit(x.hot) - bit(y.hot)
	}
	if c := betterCopy(x.copied, y.copied, x.alone); c != 0 {
		return c
	}
	if c := cmp.Compare(y.score, x.score); c != 0 {
		return c
	}
	return cmp.Compare(x.node.ID, y.node.ID)
}

type candidate struct {
	node  *projections.Node
	score int64
	hot   bool // its load is above the policy's threshold
	// complete says that its disk has all that was written, though nobody leads the app.
	complete bool
	copied   copied // what a standby there has
	alone    bool   // nobody leads the app
}

// complete says whether a node has all of the app's data without asking anybody: its machine led the newest epoch that anything can
// have been written under, and that is over.
func complete(a *projections.App, n *projections.Node) bool {
	if !a.Spec.Replicated() || a.Spec.Shared() || a.Leader == nil || !a.Leader.Ended {
		return false
	}
	for _, t := range a.Terms {
		if t.Activated {
			return t.Node == n.ID && t.Machine != "" && t.Machine == n.Machine
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
