package rebalancer

import (
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// Order names a rebalance after what asked for it.
func Order(cause string) string { return "r-" + events.Derive("rebalance", cause)[:12] }

// scope returns the apps a request is about, none for all.
func scope(v *projections.Cluster, r api.RebalanceRequest) ([]string, *api.Error) {
	switch {
	case r.All && r.App != "":
		return nil, &api.Error{Code: api.CodeInvalid, Field: "app", Detail: "rebalance: give an app or --all, not both"}
	case r.All:
		return []string{}, nil
	case r.App == "":
		return nil, &api.Error{Code: api.CodeInvalid, Field: "app", Detail: "rebalance: give an app, or --all"}
	}
	if a := v.Apps[r.App]; a == nil || !a.Exists() || a.Removed {
		return nil, api.Refuse(api.CodeNotFound, "rebalance %s: no such app", r.App)
	}
	return []string{r.App}, nil
}

// propose makes the event of a proposal; a request leaves one even when there is nothing to move.
func propose(v *projections.Cluster, p placement.Proposal, order, reason, trigger string, apps []string) *events.Draft {
	moves := p.Moves
	if moves == nil {
		moves = []events.Proposal{}
	}
	if apps == nil {
		apps = []string{}
	}
	return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.RebalanceTriggered{
		Order: order, Reason: reason, Trigger: trigger, Apps: apps, Before: p.Before, After: p.After, Moves: moves, StateSeq: v.Seq,
	}}
}

// finished returns the end of every rebalance that has one: each proposal was admitted and has ended, or can no longer be carried
// out, or a newer rebalance speaks for its app, or it waits for room that nothing under way will make. A proposal that lapsed counts
// neither as moved nor as failed. An automatic one ends, too, when the policy no longer wants any.
func finished(v *projections.Cluster) []*events.Draft {
	var out []*events.Draft
	for _, r := range open(v) {
		if r.Trigger == events.TriggerAutomatic && !v.Policy.AutoRebalance.Enabled {
			d := stopped(v, r, "automatic rebalancing was switched off")
			d.Cause, d.Correlation = v.PolicyBy.ID, r.Started.Correlation
			out = append(out, d)
			continue
		}
		done := events.RebalanceCompleted{Order: r.Order}
		ended := true
		for _, mv := range r.Moves {
			switch status := r.Outcomes[mv.Instance]; {
			case r.Admitted[mv.Instance] == "":
				ended = ended && (placement.Stale(v, mv) || superseded(v, r, mv.App) || !moving(v) && placement.Blocked(v, mv))
			case status == "":
				ended = false
			case status == projections.MigrationCompleted:
				done.Moved++
			default:
				done.Failed++
			}
		}
		if ended {
			out = append(out, &events.Draft{Aggregate: events.Cluster(v.Name), Cause: r.Started.ID, Correlation: r.Started.Correlation, Data: &done})
		}
	}
	return out
}

// stopped ends a rebalance that is called off. What it has admitted and is before its commit, the planner asks the migrator to give up.
func stopped(v *projections.Cluster, r *projections.Rebalance, why string) *events.Draft {
	done := events.RebalanceCompleted{Order: r.Order, Stopped: true, Why: why}
	for _, status := range r.Outcomes {
		if status == projections.MigrationCompleted {
			done.Moved++
		} else {
			done.Failed++
		}
	}
	return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &done}
}

// stops calls off the named rebalance, or the oldest that is open and was triggered before a sequence; nil when there is none to call off.
func stops(v *projections.Cluster, order string, before uint64) *events.Draft {
	for _, r := range open(v) {
		if order == "" && r.Started.Seq < before || r.Order == order {
			return stopped(v, r, "an operator stopped it")
		}
	}
	return nil
}

func superseded(v *projections.Cluster, r *projections.Rebalance, app string) bool {
	for _, newer := range v.Rebalances {
		if newer.Started.Seq > r.Started.Seq && (len(newer.Apps) == 0 || slices.Contains(newer.Apps, app)) {
			return true
		}
	}
	return false
}

// open returns the rebalances under way, oldest first.
func open(v *projections.Cluster) []*projections.Rebalance {
	var out []*projections.Rebalance
	for _, r := range v.Rebalances {
		if !r.Completed {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *projections.Rebalance) int { return int(x.Started.Seq) - int(y.Started.Seq) })
	return out
}

// newest returns the rebalance that was triggered last, nil before the first.
func newest(v *projections.Cluster) *projections.Rebalance {
	var last *projections.Rebalance
	for _, r := range v.Rebalances {
		if last == nil || r.Started.Seq > last.Started.Seq {
			last = r
		}
	}
	return last
}

func moving(v *projections.Cluster) bool {
	for _, a := range v.Apps {
		if len(a.Open) > 0 {
			return true
		}
	}
	return false
}
