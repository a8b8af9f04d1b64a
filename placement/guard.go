package placement

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Held is a move that the plan wants and guardrails hold, with every one that does.
type Held struct {
	Decision
	Holds []events.Hold
	// Passing says that nothing is to be stored of it: it waits for no more than its turn, or was denied.
	Passing bool
}

// bound is whom a move's guardrails bind; see docs/guardrails.md.
type bound int

const (
	free      bound = iota // the end of what nobody wants any more
	recovered              // brings back what is missing: nothing holds it but a safety freeze and its own limit
	asked                  // a definition that somebody applied: first placements, restarts, scaling
	manual                 // a person wants this very move, or the node empty
	automatic              // follows from rules
)

func boundOf(m events.Move) bound {
	switch {
	case m.Standby() && m.Kind() == events.KindStop: // nobody misses it who is served
		return free
	case m.Standby():
		return asked
	case m.Class == events.ClassRecovery:
		return recovered
	case m.Kind() == events.KindStop && (m.Reason == events.ReasonScale || m.Reason == events.ReasonSpecUpdate):
		return free
	case m.Kind() == events.KindPlace || m.Class == events.ClassRepair && !makesRoom(m) || m.Reason == events.ReasonSpecUpdate || m.Reason == events.ReasonScale:
		return asked
	case m.Trigger == events.TriggerManual:
		return manual
	}
	return automatic
}

// recoveryFactor is how many times max_concurrent may be under way of what brings instances back or places them first: these have a
// limit of their own, so that they never wait for moves.
const recoveryFactor = 10

// loadAgain is when a move that waits for a target's load is judged again: loads travel in leases and wake nobody.
const loadAgain = 15 * time.Second

// guard counts what guardrails limit: what the fold has under way, and what the plan has decided so far.
type guard struct {
	moves, places, balance int            // under way
	decided                int            // moves that this plan decided and that count for the rate
	waiting                int            // moves that wait for the rate
	moved                  map[string]int // by app: decided moves that count for its cooldown
	cooling                map[string]int // by app: moves that wait for its cooldown
	taken                  map[string]int // by app: serving instances that moves under way and decided take
}

func newGuard(open []*projections.App) *guard {
	g := &guard{moved: map[string]int{}, cooling: map[string]int{}, taken: map[string]int{}}
	for _, a := range open {
		for _, m := range a.Open {
			g.count(a, m.Move)
		}
	}
	return g
}

// count adds a move that is under way or decided.
func (g *guard) count(a *projections.App, m events.Move) {
	switch b := boundOf(m); {
	case b == free || m.Kind() == events.KindStop:
	case b == recovered || m.Kind() == events.KindPlace:
		g.places++
	default:
		g.moves++
		if m.Class == events.ClassBalance && m.Trigger == events.TriggerAutomatic {
			g.balance++
		}
	}
	if disrupts(a, m) {
		g.taken[a.Name]++
	}
}

// decide adds a move of this plan.
func (g *guard) decide(a *projections.App, m events.Move) {
	g.count(a, m)
	if projections.Counts(m) {
		g.decided++
		g.moved[a.Name]++
	}
}

// disrupts says whether a move takes an instance away that serves.
func disrupts(a *projections.App, m events.Move) bool {
	in := a.Instances[m.Instance]
	return m.From != "" && in != nil && in.Node == m.From && serves(in)
}

// holds lists every guardrail that holds a move now, none when it may be admitted. turn says that nothing is to be told of it yet: it
// waits for no more than what is under way or decided before it, or an operator has said no.
func (p *planner) holds(a *projections.App, m events.Move) (out []events.Hold, turn bool) {
	b, soft, denied := boundOf(m), 0, false
	if b == free {
		return nil, false
	}
	policy := p.v.Policy.Migration
	hold := func(rule string, until time.Time, format string, args ...any) {
		out = append(out, events.Hold{Rule: rule, Until: until, Detail: fmt.Sprintf(format, args...)})
	}
	var event time.Time // no time ends it: something has to happen
	for _, source := range sortedKeys(p.v.Frozen) {
		if (source == events.FreezeSafety || b != recovered) && !m.Forced && !(planted.FreezeIgnored && b == manual) {
			hold(events.HoldFrozen, event, "moves are frozen (%s: %s)", source, p.v.Frozen[source])
		}
	}
	if why := p.g.crowded(p.v.Policy, m, b); why != "" {
		soft++
		hold(events.HoldConcurrent, event, "%s", why)
	}
	if b == recovered || m.Forced {
		return out, soft == len(out)
	}
	out = append(out, p.budget(a, m)...)
	if b == asked {
		return out, soft == len(out)
	}
	if cool := policy.CooldownPeriod.D(); cool > 0 && projections.Counts(m) {
		switch until := a.LastMove.Add(cool); {
		case p.g.moved[a.Name] > 0:
			soft++
			hold(events.HoldCooldown, p.now.Add(cool), "%s moves now, cooldown %s", a.Name, cool)
		case !a.LastMove.IsZero() && until.After(p.now):
			hold(events.HoldCooldown, until.Add(cool*time.Duration(p.g.cooling[a.Name])), "%s moved at %s, cooldown %s", a.Name, a.LastMove.UTC().Format(time.RFC3339), cool)
			p.g.cooling[a.Name]++
		}
	}
	if r := policy.RateLimit; r.Count > 0 && projections.Counts(m) {
		recent := p.recent(r.Window.D())
		if in := len(recent) + p.g.decided; in >= r.Count {
			if len(recent) < r.Count {
				soft++
			}
			hold(events.HoldRate, p.slot(recent, r), "%d moves within %s, %d are allowed", in, r.Window.D(), r.Count)
			p.g.waiting++
		}
	}
	if t := policy.LoadThreshold; t > 0 && m.To != "" && m.To != m.From {
		if l := p.loads[m.To]; max(l.CPU, l.Memory) > t {
			hold(events.HoldLoad, event, "%s has a load of %.2f, above %.2f", m.To, max(l.CPU, l.Memory), t)
			p.plan.Wake = earliest(p.plan.Wake, p.now.Add(loadAgain))
		}
	}
	if b == automatic {
		if until := spec.NextOpen(policy.MaintenanceWindows, p.now); !until.Equal(p.now) && !planted.WindowIgnored {
			hold(events.HoldWindow, until, "outside of every maintenance window")
		}
		if policy.RequireApproval && !p.approved(a, m) && !planted.ApprovalUnasked {
			detail := "waits for an operator: go-cluster migration approve"
			if denied = a.Denied[m.Instance] == m.Cause && m.Cause != ""; denied {
				detail = "an operator denied it"
			}
			hold(events.HoldApproval, event, "%s", detail)
		}
	}
	return out, soft == len(out) || denied
}

// placesFull says whether no more may be placed before others are.
func (g *guard) placesFull(policy spec.Policy) bool {
	most := policy.Migration.MaxConcurrent
	return most > 0 && g.places >= most*recoveryFactor
}

// movesFull says whether no more may move before others have.
func (g *guard) movesFull(policy spec.Policy) bool {
	most := policy.Migration.MaxConcurrent
	return most > 0 && g.moves >= most && !planted.TooMany
}

// crowded says which limit of moves under way leaves no room for one more, or "".
func (g *guard) crowded(policy spec.Policy, m events.Move, b bound) string {
	most := policy.Migration.MaxConcurrent
	switch {
	case most == 0 || m.Forced:
	case b == recovered || m.Kind() == events.KindPlace:
		if g.placesFull(policy) {
			return fmt.Sprintf("%d placements are under way, %d are allowed", g.places, most*recoveryFactor)
		}
	case m.Kind() == events.KindStop:
	case g.movesFull(policy):
		return fmt.Sprintf("%d moves are under way, %d are allowed", g.moves, most)
	}
	if most := policy.AutoRebalance.MaxConcurrent; most > 0 && m.Class == events.ClassBalance && m.Trigger == events.TriggerAutomatic && g.balance >= most {
		return fmt.Sprintf("%d moves that balance are under way, %d are allowed", g.balance, most)
	}
	return ""
}

// budget lists the disruption budgets of the app that a move would break: they are shared by whatever moves it.
func (p *planner) budget(a *projections.App, m events.Move) (out []events.Hold) {
	if !disrupts(a, m) || planted.BudgetIgnored {
		return nil
	}
	serving := p.row(a).serving - p.g.taken[a.Name]
	desired := a.Desired()
	if a.Spec.Mode == spec.Spread {
		desired = len(a.Instances)
	}
	if most := a.Spec.MaxUnavail; most > 0 && desired-serving+1 > most {
		out = append(out, events.Hold{Rule: events.HoldUnavailable, Detail: fmt.Sprintf("%d of %d do not serve or move, at most %d may", max(desired-serving, 0), desired, most)})
	}
	startsFirst := a.Spec.Mode == spec.Replicas && m.Kind() == events.KindMove
	if least := a.Spec.Migration.MinHealthy; least > 0 && !startsFirst && serving-1 < least {
		out = append(out, events.Hold{Rule: events.HoldMinHealthy, Detail: fmt.Sprintf("%d serve and stay, %d must", serving, least)})
	}
	return out
}

// recent lists the admissions that count for a window that ends now, oldest first.
func (p *planner) recent(window time.Duration) []time.Time {
	all := p.v.Admitted
	from, _ := slices.BinarySearchFunc(all, p.now.Add(-window), func(t, start time.Time) int {
		if t.After(start) {
			return 1
		}
		return -1
	})
	return all[from:]
}

// slot is when the next one of those that wait for the rate may be admitted.
func (p *planner) slot(recent []time.Time, r spec.Rate) time.Time {
	frees := append(slices.Clone(recent), slices.Repeat([]time.Time{p.now}, p.g.decided)...)
	frees = frees[max(len(frees)-r.Count, 0):]
	k := p.g.waiting
	return frees[k%len(frees)].Add(r.Window.D() * time.Duration(1+k/len(frees)))
}

// approved says whether an operator has approved of this very move, and the approval still holds.
func (p *planner) approved(a *projections.App, m events.Move) bool {
	pr := a.Proposals[m.Instance]
	return pr != nil && SameMove(pr.Move, m) && pr.Approval.Seq > 0 && p.now.Before(pr.Expires)
}

// SameMove says whether what was proposed is what is planned: an approval is for one way of one definition.
func SameMove(x, y events.Move) bool {
	return x.Instance == y.Instance && x.From == y.From && x.FromInc == y.FromInc && x.To == y.To && x.ToInc == y.ToInc && x.SpecRev == y.SpecRev &&
		x.Reason == y.Reason && x.Trigger == y.Trigger && x.Order == y.Order
}

// Closed lists what the policy has against an admitted move that it had not when it was admitted: its window closed, or it lacks an
// approval. The migrator asks before it starts and before the gap. now is the time of the cluster.
func Closed(v *projections.Cluster, m *projections.Migration, now time.Time) (out []events.Rejection) {
	if boundOf(m.Move) != automatic || m.Forced || planted.WindowIgnored {
		return nil
	}
	policy := v.Policy.Migration
	if until := spec.NextOpen(policy.MaintenanceWindows, now); !until.Equal(now) {
		out = append(out, events.Rejection{Node: m.To, Code: events.RuleWindow, Detail: "outside of every maintenance window until " + until.UTC().Format(time.RFC3339)})
	}
	return out
}

// Windowed says whether maintenance windows bind an admitted move: then nothing is decided of it while the time is not known.
func Windowed(v *projections.Cluster, m *projections.Migration) bool {
	return len(v.Policy.Migration.MaintenanceWindows) > 0 && boundOf(m.Move) == automatic && !m.Forced
}

// unapproved lists why an admitted move that has not started lacks the approval that the policy wants now.
func unapproved(v *projections.Cluster, m *projections.Migration) (out []events.Rejection) {
	if m.Status != projections.MigrationPlanned || boundOf(m.Move) != automatic || m.Forced {
		return nil
	}
	switch {
	case m.DeniedBy != "":
		out = append(out, events.Rejection{Node: m.To, Code: events.RuleApproval, Detail: "denied by " + m.DeniedBy})
	case v.Policy.Migration.RequireApproval && m.Approved == "" && !planted.ApprovalUnasked:
		out = append(out, events.Rejection{Node: m.To, Code: events.RuleApproval, Detail: "the policy wants an approval"})
	}
	return out
}
