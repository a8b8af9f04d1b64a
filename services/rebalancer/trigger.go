package rebalancer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// trigger is something that calls for a look at how even the cluster is.
type trigger struct {
	reason string
	cause  projections.Cause
	order  string // of the rebalance that it would make: equal on every replica
	seq    uint64 // of a join or a loss
	tick   time.Time
}

// judged is what has been looked at and found to call for nothing. It is no more than work saved: without it the same is judged again.
type judged struct {
	membership uint64    // up to this join or loss
	tick       time.Time // of the interval
	planned    uint64    // up to this change
	until      time.Time // and until then, when time alone may change the answer; zero: never
}

// done notes that a trigger calls for nothing.
func (j *judged) done(v *projections.Cluster, t trigger, now time.Time) {
	switch t.reason {
	case events.ReasonInterval:
		j.tick = t.tick
	case events.ReasonImbalance:
		j.planned, j.until = v.Planned, placement.Rests(v, now)
	default:
		j.membership = t.seq
	}
}

// due returns what calls for a rebalance now: a join or a loss that no rebalance has seen yet, else the tick of the policy's
// interval, else – where the policy has no interval – any change while it has a threshold. wake is when time alone changes the answer. sure
// says that now is the time of the cluster; without it nothing but joins and losses is judged.
func due(v *projections.Cluster, j judged, now time.Time, sure bool) (t trigger, is bool, wake time.Time) {
	policy := v.Policy.AutoRebalance
	if !policy.Enabled {
		return t, false, wake
	}
	if tick := policy.Interval.D(); sure && tick > 0 {
		wake = now.Truncate(tick).Add(tick)
	}
	t, is = membership(v, j)
	if !is && sure {
		t, is = scheduled(v, j, now)
	}
	if !is {
		if policy.Interval == 0 {
			wake = j.until
		}
		return t, false, wake
	}
	if at := cooled(v); now.Before(at) {
		return t, false, at
	}
	return t, true, wake
}

// cooled is until when the last rebalance holds the next automatic one.
func cooled(v *projections.Cluster) time.Time {
	last, cooldown := newest(v), v.Policy.AutoRebalance.CooldownPeriod.D()
	if last == nil || cooldown == 0 || planted.NoCooldown {
		return time.Time{}
	}
	return last.Started.At.Add(cooldown)
}

// outlook says what an automatic rebalance would do now, or why nothing, and when the next is due if that is known.
func outlook(v *projections.Cluster, loads map[string]api.Sight, now time.Time) (why string, next time.Time) {
	policy := v.Policy.AutoRebalance
	if !policy.Enabled {
		return "automatic rebalancing is off (policy auto_rebalance.enabled)", next
	}
	if tick := policy.Interval.D(); tick > 0 {
		next = now.Truncate(tick).Add(tick)
	}
	if at := cooled(v); at.After(now) {
		return fmt.Sprintf("it waits for the cooldown of %s", policy.CooldownPeriod.D()), at
	}
	if why := before(v, func() placement.Plan { return placement.Make(v, loads, now) }); why != "" {
		return "it waits: " + why, next
	}
	d, why := automatic(v, trigger{}, now)
	if d != nil {
		why = fmt.Sprintf("%s: %d moves would be proposed", why, len(d.Data.(*events.RebalanceTriggered).Moves))
	}
	return why, next
}

// membership returns the newest join or loss, if no rebalance of everything has seen it.
func membership(v *projections.Cluster, j judged) (t trigger, is bool) {
	for _, n := range v.SortedNodes() {
		if n.Status == projections.StatusReady && n.Joined.Seq > t.seq {
			t = trigger{reason: events.ReasonNodeJoin, cause: n.Joined, seq: n.Joined.Seq}
		}
		if (n.Status == projections.StatusLost || n.Status == projections.StatusLeft) && n.Gone.Seq > t.seq {
			t = trigger{reason: events.ReasonNodeLost, cause: n.Gone, seq: n.Gone.Seq}
		}
	}
	if t.seq <= j.membership {
		return t, false
	}
	for _, r := range v.Rebalances {
		if (len(r.RebalanceTriggered.Apps) == 0 || r.Trigger == events.TriggerAutomatic) && t.seq <= seen(r) {
			return t, false
		}
	}
	t.order = Order(t.cause.ID)
	return t, true
}

// seen is the last event that a rebalance rests on.
func seen(r *projections.Rebalance) uint64 {
	if r.StateSeq > 0 {
		return r.StateSeq
	}
	return r.Started.Seq
}

// scheduled returns the interval's tick that has come and was not judged, or the change that may have made the cluster uneven.
func scheduled(v *projections.Cluster, j judged, now time.Time) (t trigger, is bool) {
	policy := v.Policy.AutoRebalance
	if len(open(v)) > 0 { // what it proposes may still be held: it is not proposed twice
		return t, false
	}
	if every := policy.Interval.D(); every > 0 {
		tick := now.Truncate(every)
		t = trigger{reason: events.ReasonInterval, cause: v.PolicyBy, tick: tick, order: Order("interval " + tick.UTC().Format(time.RFC3339Nano))}
		return t, tick.After(j.tick) && !tick.Before(v.PolicyBy.At) && v.Rebalances[t.order] == nil
	}
	if policy.Threshold == 0 || v.Planned <= j.planned && (j.until.IsZero() || now.Before(j.until)) {
		return t, false
	}
	cause := changed(v)
	return trigger{reason: events.ReasonImbalance, cause: cause, order: Order(fmt.Sprint("imbalance ", cause.ID, v.Head(events.Cluster(v.Name)).Rev))}, true
}

// changed returns the newest event that may have made the cluster uneven.
func changed(v *projections.Cluster) projections.Cause {
	last := v.PolicyBy
	newer := func(causes ...projections.Cause) {
		for _, c := range causes {
			if c.Seq > last.Seq {
				last = c
			}
		}
	}
	for _, n := range v.Nodes {
		newer(n.Joined, n.Gone, n.Labelled, n.Scheduled, n.Factual)
	}
	for _, a := range v.Apps {
		newer(a.Applied, a.Ruled)
		for _, e := range a.Ended {
			newer(e.By)
		}
	}
	return last
}

// before says what has to be over before evenness is judged, "" for nothing: first what is missing, then what is uneven. plan is asked last.
func before(v *projections.Cluster, plan func() placement.Plan) string {
	for _, source := range slices.Sorted(maps.Keys(v.Frozen)) {
		return fmt.Sprintf("moves are frozen (%s: %s)", source, v.Frozen[source])
	}
	if moving(v) {
		return "moves are under way"
	}
	for _, d := range plan().Moves {
		if d.Class == events.ClassRecovery || d.Class == events.ClassForced {
			return fmt.Sprintf("%s is to move first (%s)", d.Instance, d.Reason)
		}
	}
	return ""
}

// automatic makes the proposal that a trigger calls for, or nil when it is even enough, and says why.
func automatic(v *projections.Cluster, t trigger, now time.Time) (*events.Draft, string) {
	p := placement.AutoBalance(v, now)
	threshold := v.Policy.AutoRebalance.Threshold
	switch {
	case len(p.Moves) > 0 && p.Before > threshold:
		p.Why = fmt.Sprintf("imbalance %.2f is above the threshold of %.2f", p.Before, threshold)
	case len(p.Moves) > 0:
		p.Why = "preferences are worth more than their moves cost"
	case p.Before > threshold:
		return nil, fmt.Sprintf("imbalance %.2f is above the threshold of %.2f, but what could lessen it is excluded, moved lately or is bound to its host's port", p.Before, threshold)
	default:
		return nil, p.Why
	}
	var apps []string
	if exclude := v.Policy.AutoRebalance.ExcludeApps; len(exclude) > 0 {
		for _, a := range v.SortedApps() {
			if !slices.Contains(exclude, a.Name) {
				apps = append(apps, a.Name)
			}
		}
	}
	d := propose(v, p, t.order, t.reason, events.TriggerAutomatic, apps)
	d.Data.(*events.RebalanceTriggered).Why = p.Why
	d.Cause, d.Correlation = t.cause.ID, t.cause.Correlation
	return d, p.Why
}
