package invariants

import (
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// apart is how far the clock of whoever admits may be from the stored time of the admission.
const apart = 3 * time.Second

// proposal is a move that waits for an operator, and what was said.
type proposal struct {
	events.Move
	expires  time.Time
	approval string // event; "" while there is none
}

// bound is whom a move's guardrails bind.
type bound int

const (
	free      bound = iota // recovery, what was forced, and the end of what nobody wants
	asked                  // a definition that somebody applied: only the budgets of its app
	manual                 // a person wants this move, or the node empty
	automatic              // follows from rules
)

func boundOf(m events.Move) bound {
	applied := m.Reason == events.ReasonSpecUpdate || m.Reason == events.ReasonScale
	switch {
	case m.Standby() && m.Kind() == events.KindStop: // nobody misses it who is served
		return free
	case m.Standby():
		return asked
	case m.Class == events.ClassRecovery || m.Forced || m.Kind() == events.KindStop && applied:
		return free
	case m.Kind() == events.KindPlace || m.Class == events.ClassRepair && m.Reason != events.ReasonRebalance || applied:
		return asked
	case m.Trigger == events.TriggerManual:
		return manual
	}
	return automatic
}

// counts says whether a move counts for the cooldown of its app and for the rate, whomever they bind.
func counts(m events.Move) bool {
	if m.Standby() {
		return false
	}
	switch m.Kind() {
	case events.KindMove:
		return true
	case events.KindPlace:
		return m.Class == events.ClassRecovery
	case events.KindStop:
		return m.Reason != events.ReasonScale && m.Reason != events.ReasonSpecUpdate
	}
	return false
}

// guarded holds an admitted move against the policy, which stands on the same aggregate, and against the budgets of its app; before
// are the moves of the same plan that come before it.
func (c *Checker) guarded(e *events.Event, m events.Move, before []events.Move) {
	b := boundOf(m)
	if b >= asked {
		c.budgets(m, before)
	}
	if b >= asked {
		c.crowded(m, before)
	}
	if b >= manual {
		c.paced(e, m, before)
	}
	if b == automatic && !open(c.now.policy.Migration.MaintenanceWindows, e.Stored) {
		c.broke(Budgets, "%s moves by itself outside of every maintenance window", m.Instance)
	}
	if b == automatic && c.now.policy.Migration.RequireApproval {
		c.approved(e, m)
	}
	delete(c.proposals, m.Migration)
}

// budgets holds a move that takes a serving instance away against what its app can do without.
func (c *Checker) budgets(m events.Move, before []events.Move) {
	a := c.then.app(m.App)
	if !a.disrupts(m) {
		return
	}
	serving := 0
	for _, in := range a.instances {
		if in.healthy {
			serving++
		}
	}
	for _, o := range c.then.open(m.App) {
		if a.disrupts(o.Move) {
			serving--
		}
	}
	for _, o := range before {
		if o.App == m.App && a.disrupts(o) {
			serving--
		}
	}
	desired := a.desired()
	if a.spec.Mode == spec.Spread {
		desired = len(a.instances)
	}
	if most := a.spec.MaxUnavail; most > 0 && desired-serving+1 > most {
		c.broke(Budgets, "%s leaves %s, %d of %d instances serve and stay, and at most %d may be missing", m.Instance, m.From, serving, desired, most)
	}
	startsFirst := a.spec.Mode == spec.Replicas && m.Kind() == events.KindMove
	if least := a.spec.Migration.MinHealthy; least > 0 && !startsFirst && serving-1 < least {
		c.broke(Budgets, "%s leaves %s, %d instances serve and stay, and %d have to", m.Instance, m.From, serving, least)
	}
}

// disrupts says whether a move takes away an instance that serves.
func (a *app) disrupts(m events.Move) bool {
	in := a.instances[m.Instance]
	return m.From != "" && in != nil && in.node == m.From && in.healthy
}

// paced holds a move against the policy's cooldown and rate.
func (c *Checker) paced(e *events.Event, m events.Move, before []events.Move) {
	p := c.now.policy.Migration
	if !counts(m) {
		return
	}
	last := c.moved[m.App]
	together := slices.ContainsFunc(before, func(o events.Move) bool { return o.App == m.App && counts(o) })
	if cool := p.CooldownPeriod.D(); cool > 0 && (together || !last.IsZero() && e.Stored.Sub(last) < cool-apart) {
		c.broke(Budgets, "%s moves, %s moved at %s, and the cooldown is %s", m.Instance, m.App, last.UTC().Format(time.RFC3339), cool)
	}
	if r := p.RateLimit; r.Count > 0 {
		n := 0
		for _, at := range c.rate {
			if e.Stored.Sub(at) < r.Window.D()-apart {
				n++
			}
		}
		for _, o := range before {
			if counts(o) {
				n++
			}
		}
		if n >= r.Count {
			c.broke(Budgets, "%s moves after %d others within %s, and %d may", m.Instance, n, r.Window.D(), r.Count)
		}
	}
}

// approved wants an operator to have said yes to this very move, and his word not to be too old.
func (c *Checker) approved(e *events.Event, m events.Move) {
	p, known := c.proposals[m.Migration]
	switch {
	case !known || p.approval == "":
		c.broke(Approvals, "migration %s of %s is admitted, and nobody approved of it", m.Migration, m.Instance)
	case p.approval != m.Approved:
		c.broke(Approvals, "migration %s of %s names %s as its approval, which is %s", m.Migration, m.Instance, or(m.Approved, "nothing"), p.approval)
	case p.To != m.To || p.ToInc != m.ToInc || p.From != m.From || p.FromInc != m.FromInc || p.SpecRev != m.SpecRev || p.Instance != m.Instance || p.Reason != m.Reason:
		c.broke(Approvals, "migration %s of %s is admitted as %s → %s, approved was %s → %s", m.Migration, m.Instance, m.From, m.To, p.From, p.To)
	case e.Stored.Sub(p.expires) > apart:
		c.broke(Approvals, "migration %s of %s is admitted %s after its approval expired", m.Migration, m.Instance, e.Stored.Sub(p.expires))
	}
}

// crowded holds a move against how many may be under way at once. What goes together is admitted together.
func (c *Checker) crowded(m events.Move, before []events.Move) {
	occupies := func(o events.Move) bool {
		return boundOf(o) >= asked && o.Kind() != events.KindStop && o.Kind() != events.KindPlace
	}
	most := c.now.policy.Migration.MaxConcurrent
	if most == 0 || !occupies(m) {
		return
	}
	n := 0
	for _, o := range c.now.moves {
		n += bit(occupies(o.Move))
	}
	for _, o := range before {
		if len(c.then.app(o.App).spec.WithApp)+len(c.then.app(m.App).spec.WithApp) > 0 {
			return
		}
		n += bit(occupies(o))
	}
	if n >= most {
		c.broke(Budgets, "%s moves beside %d others, and %d may at once", m.Instance, n, most)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// open says whether a time, or one shortly before it, is inside one of the windows. In hours in which clocks change all are.
func open(windows []spec.TimeWindow, at time.Time) bool {
	return len(windows) == 0 || slices.ContainsFunc(windows, func(w spec.TimeWindow) bool { return inside(w, at) || inside(w, at.Add(-apart)) })
}

func inside(w spec.TimeWindow, at time.Time) bool {
	loc, err := time.LoadLocation(w.Timezone)
	if err != nil {
		return true
	}
	local := at.In(loc)
	const near = 3 * time.Hour
	if before, after := offset(local.Add(-near)), offset(local.Add(near)); before != after {
		return true
	}
	on := func(t time.Time) bool {
		return len(w.Days) == 0 || slices.Contains(w.Days, strings.ToLower(t.Weekday().String()[:3]))
	}
	switch clock := local.Format("15:04"); { // which compares as times of day do
	case w.Start < w.End:
		return on(local) && w.Start <= clock && clock < w.End
	case clock >= w.Start:
		return on(local)
	default: // since yesterday
		return clock < w.End && on(local.AddDate(0, 0, -1))
	}
}

func offset(t time.Time) int {
	_, seconds := t.Zone()
	return seconds
}

// admittedMoves notes what later admissions are held against.
func (c *Checker) admittedMoves(e *events.Event, moves []events.Move) {
	const most = 10_000
	for _, m := range moves {
		if counts(m) {
			c.moved[m.App] = e.Stored
			c.rate = append(c.rate, e.Stored)
		}
	}
	if len(c.rate) > 2*most {
		c.rate = slices.Clone(c.rate[most:])
	}
}

// proposed notes proposals and what was said to them.
func (c *Checker) proposed(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.MigrationPlanned:
		c.proposals[d.Migration] = proposal{Move: d.Move, expires: d.Expires}
	case *events.MigrationApproved:
		p, known := c.proposals[d.Migration]
		if !known {
			c.broke(Approvals, "migration %s of %s is approved of, and was not proposed", d.Migration, d.Instance)
			return
		}
		p.approval = e.ID
		c.proposals[d.Migration] = p
	case *events.MigrationDenied:
		delete(c.proposals, d.Migration)
	case *events.MigrationExpired:
		delete(c.proposals, d.Migration)
	case *events.MigrationCancelled:
		delete(c.proposals, d.Migration)
	}
}
