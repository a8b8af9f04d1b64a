package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// hold says which moves the guardrails of the policy hold, and until when. Recovery waits for none of them; what a person asks for
// waits for no window and no approval.
func (pl *planner) hold(out *snapshot.Plan, steps []step) {
	policy := &pl.p.Policy.Migration
	now := pl.p.Now
	lastOf := make([]time.Time, len(pl.p.Apps)) // by app: its last move
	var recent []time.Time
	for i := range pl.p.Units {
		u := &pl.p.Units[i]
		if u.MovedAt.After(lastOf[u.App]) {
			lastOf[u.App] = u.MovedAt
		}
		if w := policy.RateLimit.Window.D(); policy.RateLimit.Count > 0 && !u.MovedAt.IsZero() && u.MovedAt.Add(w).After(now) {
			recent = append(recent, u.MovedAt)
		}
	}
	slices.SortFunc(recent, time.Time.Compare)
	for i := range steps {
		s, m := &steps[i], &out.Moves[i]
		unit := &pl.p.Units[s.u]
		if s.class == events.ClassRecovery || s.from == none && unit.Node == none && s.to != none && !pl.everRan(s.u) {
			continue // what is missing is not made to wait
		}
		automatic := s.reason != events.ReasonDrain && !(pl.r.Rebalance && s.class == events.ClassBalance)
		held := func(rule string, until time.Time, format string, args ...any) {
			out.Deferred = append(out.Deferred, snapshot.Deferral{Instance: unit.ID, Rule: rule, Detail: fmt.Sprintf(format, args...), Until: until})
			if until.After(m.NotBefore) {
				m.NotBefore = until
			}
		}
		if c := policy.CooldownPeriod.D(); c > 0 && !lastOf[unit.App].IsZero() {
			if until := lastOf[unit.App].Add(c); until.After(now) {
				held("cooldown", until, "%s moved at %s, cooldown %s", m.App, lastOf[unit.App].UTC().Format(time.RFC3339), c)
			}
		}
		if automatic {
			if until := spec.NextOpen(policy.MaintenanceWindows, now); !until.Equal(now) {
				held("window", until, "outside every maintenance window")
			}
			if policy.RequireApproval {
				held("approval", time.Time{}, "waits for an operator")
			}
		}
		if t := policy.LoadThreshold; t > 0 && s.to != none {
			if load := pl.p.Nodes[s.to].Load; load > t {
				held("load", time.Time{}, "%s has a load of %.2f, above %.2f", m.To, load, t)
			}
		}
		if policy.RateLimit.Count > 0 && automatic {
			w := policy.RateLimit.Window.D()
			start := now
			if m.NotBefore.After(now) {
				start = m.NotBefore
			}
			if at := admitted(recent, policy.RateLimit.Count, w, start); at.After(start) {
				held("rate", at, "%d moves in %s are allowed", policy.RateLimit.Count, w)
				start = at
			}
			recent = append(recent, start)
			slices.SortFunc(recent, time.Time.Compare)
		}
	}
	slices.SortStableFunc(out.Deferred, func(x, y snapshot.Deferral) int { return cmp.Compare(x.Instance, y.Instance) })
}

// everRan says whether another instance of the unit's app is somewhere: then this one is more of it, and no first start.
func (pl *planner) everRan(u int32) bool { return !pl.p.Units[u].New && pl.p.Units[u].Node != none }

// admitted returns the first time from start at which fewer than count of the sorted times lie in the window before it.
func admitted(times []time.Time, count int, window time.Duration, start time.Time) time.Time {
	at := start
	for {
		in, oldest := 0, time.Time{}
		for _, t := range times {
			if !t.After(at) && t.Add(window).After(at) || t.After(at) && at.Add(window).After(t) {
				if in == 0 {
					oldest = t
				}
				in++
			}
		}
		if in < count {
			return at
		}
		at = oldest.Add(window)
		if !at.After(start) {
			return start
		}
		start = at
	}
}
