package placement

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Pending says why an app has nowhere to go.
type Pending struct {
	App      string
	Instance string // the first such
	Missing  int
	Code     string
	Reason   string
	Refused  []events.Rejection
	Nodes    int  // nodes looked at
	Serving  bool // it still runs where it should not be

	Cause, Correlation string // of the move that it would have from where it may not stay; "" where nothing has to move
}

// Codes of Pending.
const (
	PendingNoNode       = "no_eligible_node"
	PendingSurplus      = "surplus"
	PendingConfirmation = "needs_confirmation"
)

// pend says that a move, of which nothing is known but what it moves and why, has nowhere to go.
func (p *planner) pend(a *projections.App, m events.Move, missing int, refused []events.Rejection, later time.Time, serving bool) {
	if a.Pending != nil && later.IsZero() && !p.cramped[a.Name] && len(a.Backoff) == 0 && len(a.Vetoes) == 0 && len(a.Spec.SpreadOver) == 0 && a.Spec.Mode != spec.Spread {
		p.watch(a, forNodes)
	} else {
		p.watch(a, forAnything)
	}
	p.plan.Wake = earliest(p.plan.Wake, later)
	if was := p.pending[a.Name]; was != nil {
		was.Missing += missing
		return
	}
	pd := &Pending{App: a.Name, Instance: m.Instance, Missing: missing, Code: PendingNoNode, Refused: refused, Nodes: countNodes(p.v), Serving: serving}
	if serving {
		pd.Cause, pd.Correlation = m.Cause, m.Correlation
	}
	switch {
	case pd.Nodes == 0:
		pd.Reason = "there are no nodes"
	case allOccupied(refused):
		pd.Code = PendingSurplus
		pd.Reason = fmt.Sprintf("%d more wanted than there are eligible nodes", missing)
	default:
		pd.Reason = fmt.Sprintf("none of %d nodes can take %s: %s", pd.Nodes, m.Instance, summary(refused))
	}
	p.pending[a.Name] = pd
}

// countNodes counts the nodes that are looked at: those that have left are not.
func countNodes(v *projections.Cluster) int {
	count := 0
	for _, n := range v.Nodes {
		if n.Status != projections.StatusLeft {
			count++
		}
	}
	return count
}

// onlyBusy says whether a node would do but for what changes by itself: moves under way free it or a silent node comes back.
func onlyBusy(refused []events.Rejection) bool {
	byNode := map[string]bool{}
	for _, r := range refused {
		wait := r.Code == events.RuleNotReady && strings.HasSuffix(r.Detail, projections.StatusSuspected)
		if was, seen := byNode[r.Node]; seen {
			wait = wait && was
		}
		byNode[r.Node] = wait
	}
	for _, waits := range byNode {
		if waits {
			return true
		}
	}
	return false
}

// allOccupied says whether every node that the rules allow has an instance already.
func allOccupied(refused []events.Rejection) bool {
	only := map[string]bool{}
	for _, r := range refused {
		if _, seen := only[r.Node]; !seen {
			only[r.Node] = true
		}
		only[r.Node] = only[r.Node] && r.Code == events.RuleOccupied
	}
	for _, yes := range only {
		if yes {
			return true
		}
	}
	return false
}

// summary counts the nodes by rule: "2 label, 1 cordoned".
func summary(refused []events.Rejection) string {
	nodes := map[string]map[string]bool{}
	for _, r := range refused {
		if nodes[r.Code] == nil {
			nodes[r.Code] = map[string]bool{}
		}
		nodes[r.Code][r.Node] = true
	}
	var parts []string
	for _, code := range sortedKeys(nodes) {
		parts = append(parts, fmt.Sprintf("%d %s", len(nodes[code]), code))
	}
	return strings.Join(parts, ", ")
}
