package rebalancer

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
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
		Order: order, Reason: reason, Trigger: trigger, Apps: apps, Before: p.Before, After: p.After, Moves: moves,
	}}
}

// joined decides whether a node's joining calls for a rebalance now. after is the join already judged, 0 for none. It returns the
// newest join if it is due, or when to look again.
func joined(v *projections.Cluster, after uint64, now time.Time) (join projections.Cause, due bool, wake time.Time) {
	policy := v.Policy.AutoRebalance
	if !policy.Enabled {
		return join, false, wake
	}
	for _, n := range v.SortedNodes() {
		if n.Status == projections.StatusReady && n.Joined.Seq > join.Seq {
			join = n.Joined
		}
	}
	last := newest(v)
	switch {
	case join.Seq <= after || last != nil && join.Seq < last.Started.Seq:
		return join, false, wake
	case moving(v):
		return join, false, wake // first what is missing, then what is uneven: the end of the last move wakes the loop
	case last != nil && policy.CooldownPeriod > 0 && !planted.NoCooldown:
		if at := last.Started.At.Add(policy.CooldownPeriod.D()); now.Before(at) {
			return join, false, at
		}
	}
	return join, true, wake
}

// automatic makes the proposal that a join calls for, or nil when it is even enough.
func automatic(v *projections.Cluster, join projections.Cause) *events.Draft {
	p := placement.AutoBalance(v)
	if len(p.Moves) == 0 {
		return nil
	}
	var apps []string
	if exclude := v.Policy.AutoRebalance.ExcludeApps; len(exclude) > 0 {
		for _, a := range v.SortedApps() {
			if !slices.Contains(exclude, a.Name) {
				apps = append(apps, a.Name)
			}
		}
	}
	d := propose(v, p, Order(join.ID), events.ReasonNodeJoin, events.TriggerAutomatic, apps)
	d.Cause, d.Correlation = join.ID, join.Correlation
	return d
}

// finished returns the end of every rebalance that has one: each proposal was admitted and has ended, or can no longer be carried
// out, or a newer rebalance speaks for its app, or it waits for room that nothing under way will make. A proposal that lapsed counts neither as moved nor as failed.
func finished(v *projections.Cluster) []*events.Draft {
	var out []*events.Draft
	for _, r := range open(v) {
		done := events.RebalanceCompleted{Order: r.Order}
		ended := true
		for _, mv := range r.Moves {
			id := r.Admitted[mv.Instance]
			m := v.Migrations[id]
			switch {
			case id == "":
				ended = ended && (placement.Stale(v, mv) || superseded(v, r, mv.App) || !moving(v) && placement.Blocked(v, mv))
			case m == nil: // ended so long ago that it is forgotten
			case !m.Ended():
				ended = false
			case m.Status == projections.MigrationCompleted:
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
