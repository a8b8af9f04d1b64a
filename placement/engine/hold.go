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

// hold says which moves the guardrails of the policy hold, and until when, as docs/guardrails.md has it: recovery, first placements and
// the end of what is too much wait for none of them, what a person asks for – a drain, a rebalance – waits for no window and no approval.
// Moves are judged in order: each takes its place in the rate limit, and starts the cooldown of its app.
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
		tooMany := s.to == none && (s.reason == events.ReasonScale || s.reason == events.ReasonSpecUpdate)
		if s.class == events.ClassRecovery || s.from == none || tooMany {
			continue
		}
		automatic := s.reason != events.ReasonDrain && !(pl.r.Rebalance && s.class == events.ClassBalance)
		start := now // when it can begin at the earliest
		held := func(rule string, until time.Time, format string, args ...any) {
			out.Deferred = append(out.Deferred, snapshot.Deferral{Instance: unit.ID, Rule: rule, Detail: fmt.Sprintf(format, args...), Until: until})
			if until.After(start) {
				start = until
			}
		}
		if c := policy.CooldownPeriod.D(); c > 0 && !lastOf[unit.App].IsZero() {
			if until := lastOf[unit.App].Add(c); until.After(now) {
				word := "moved"
				if lastOf[unit.App].After(now) || lastOf[unit.App].Equal(now) { // by this plan
					word = "moves"
				}
				held("cooldown", until, "%s %s at %s, cooldown %s", m.App, word, lastOf[unit.App].UTC().Format(time.RFC3339), c)
			}
		}
		if s.spent != "" {
			held(s.rule, time.Time{}, "%s", s.spent)
		}
		window := func() {
			if automatic {
				if until := spec.NextOpen(policy.MaintenanceWindows, start); !until.Equal(start) {
					held("window", until, "outside every maintenance window")
				}
			}
		}
		window()
		if policy.RateLimit.Count > 0 {
			w := policy.RateLimit.Window.D()
			if at := admitted(recent, policy.RateLimit.Count, w, start); at.After(start) {
				held("rate", at, "%d moves in %s are allowed", policy.RateLimit.Count, w)
				window() // its turn may come when every window is closed; it waits for the next, where it takes nobody's turn: fewer move meanwhile
			}
			recent = append(recent, start)
			slices.SortFunc(recent, time.Time.Compare)
		}
		if automatic && policy.RequireApproval {
			held("approval", time.Time{}, "waits for an operator")
		}
		if t := policy.LoadThreshold; t > 0 && s.to != none {
			if load := pl.p.Nodes[s.to].Load; load > t {
				held("load", time.Time{}, "%s has a load of %.2f, above %.2f", m.To, load, t)
			}
		}
		lastOf[unit.App] = start
		if start.After(now) {
			m.NotBefore = start
		}
	}
	slices.SortStableFunc(out.Deferred, func(x, y snapshot.Deferral) int { return cmp.Compare(x.Instance, y.Instance) })
}

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
