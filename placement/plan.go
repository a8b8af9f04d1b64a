package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Version names the rules of this planner in what it decides.
const Version = "1"

// Plan is what should change now. Carrying all of it out and planning again gives an empty plan, or what this one made room for.
type Plan struct {
	Moves     []Decision
	Held      []Held
	Pending   []Pending   // apps with an instance that has nowhere to go, ordered by name
	Satisfied []Satisfied // apps that are Pending in the fold and no longer are
	Wake      time.Time   // when time alone makes the plan another; zero: never
}

// Decision is one move and what it rests on. Its Migration is empty: ids are given at admission.
type Decision struct {
	events.Move
	Score   int64         // of the target
	Refused Refusals      // every failing rule of the nodes that were not eligible; of one that is held nobody asks for them
	Queued  []events.Hold // of a move that somebody asks for: why it has to wait for its turn
	Along   []Decision    // of a move that somebody asks for: what goes with it
}

// Satisfied says that an app is no longer Pending.
type Satisfied struct{ App, Node string }

type planner struct {
	v        *projections.Cluster
	u        *usage
	loads    map[string]api.Sight
	now      time.Time
	plan     Plan
	pending  map[string]*Pending
	placed   map[string]string         // app → node that a decision of this plan sends an instance to
	deciding map[string]bool           // instance ids decided on in this plan
	perApp   map[string]int            // moves open or decided, per app
	freed    map[string]spec.Resources // node → what standbys hold there that are about to end
	nodes    []*projections.Node
	wants    map[string]demands // by app
	g        *guard
	follow   map[string][]string // app → apps whose with_app names it, ordered
	open     []*projections.App  // those with open migrations
	rooms    int                 // instances that were looked at to make room
	cramped  map[string]bool     // apps that some node would take but for what else is there
	watched  map[string]watch    // by app

	rows map[string]*row // by app

	index *index                     // of a plan that follows the log; nil: every app is judged by itself
	tied  map[string]map[string]bool // then: app → apps whose rules name it
	apps  map[string]*counted        // then: where they count
}

// Make plans on the fold as of now, which is the cluster's time.
func Make(v *projections.Cluster, loads map[string]api.Sight, now time.Time) Plan {
	p := newPlanner(v, loads, now)
	if _, frozen := v.Frozen[events.FreezeSafety]; frozen {
		return p.plan // nothing moves while it is not known who is alive
	}
	apps := v.SortedApps()
	for _, a := range p.leadersFirst(apps) {
		p.missing(a)
	}
	for _, a := range apps {
		p.forced(a)
	}
	return p.others(apps)
}

// others plans for some apps what is neither missing nor forced to move.
func (p *planner) others(apps []*projections.App) Plan {
	for _, a := range apps {
		p.surplus(a)
	}
	p.queued(apps)
	p.proposals()
	for _, a := range apps {
		p.roll(a)
	}
	for _, a := range apps {
		p.standbys(a)
	}
	return p.finish(apps)
}

func newPlanner(v *projections.Cluster, loads map[string]api.Sight, now time.Time) *planner {
	var open []*projections.App
	for _, a := range v.Apps {
		if len(a.Open) > 0 {
			open = append(open, a)
		}
	}
	p := &planner{v: v, u: newUsage(v, ""), nodes: v.SortedNodes(), wants: map[string]demands{}, follow: followers(v), rows: map[string]*row{}}
	return p.begin(loads, now, open)
}

// begin makes what belongs to one pass.
func (p *planner) begin(loads map[string]api.Sight, now time.Time, open []*projections.App) *planner {
	p.loads, p.now, p.open, p.g = loads, now, open, newGuard(open)
	p.pending, p.placed, p.deciding, p.perApp = map[string]*Pending{}, map[string]string{}, map[string]bool{}, map[string]int{}
	p.freed, p.cramped, p.watched = map[string]spec.Resources{}, map[string]bool{}, map[string]watch{}
	for _, a := range open {
		for _, m := range a.Open {
			if p.perApp[a.Name] += bit(!m.Standby()); m.Standby() && m.To == "" {
				p.gives(a, m.From)
			}
		}
	}
	return p
}

func (p *planner) demands(a *projections.App) demands {
	d, ok := p.wants[a.Name]
	if !ok {
		d = demandsOf(a)
		p.wants[a.Name] = d
	}
	return d
}

// target looks for the best node that can take an instance of the app; the field says why the others were passed over.
func (p *planner) target(a *projections.App, except string) (best *candidate, of field) {
	of = p.field(a, except)
	return of.best(nil), of
}

// targetOf is target for an instance that has a node; a proposal keeps its target while that can take it, so that what was approved
// is what is planned.
func (p *planner) targetOf(a *projections.App, in *projections.Instance) (best *candidate, of field) {
	best, of = p.target(a, in.Node)
	if pr := a.Proposals[in.ID]; best != nil && pr != nil && pr.From == in.Node && pr.To != best.node.ID {
		if x := of.at(pr.To); x != nil && len(x.refused) == 0 && (!x.hot || best.hot) {
			best = &x.candidate
		}
	}
	return best, of
}

// forced moves what may not stay where it is: a hard rule broke, an order stands, or the node gave it up.
func (p *planner) forced(a *projections.App) {
	if a.Removed {
		return
	}
	row, stays := p.row(a), p.stayers(a)
	for i, in := range row.in {
		if stays(i) {
			continue
		}
		n := p.v.Nodes[in.Node]
		if n == nil {
			p.watch(a, forAnything)
		}
		if n == nil || p.busy(a, in.ID) {
			continue
		}
		if lost := outlives(a, in, n); lost != "" {
			p.watch(a, forAnything)
			p.pending[a.Name] = &Pending{App: a.Name, Instance: in.ID, Missing: 1, Code: PendingConfirmation, Nodes: countNodes(p.v),
				Reason:  unconfirmed(in, lost),
				Refused: []events.Rejection{{Node: n.ID, Code: events.RuleNotReady, Detail: "lost, and " + a.Name + " continues in isolation"}}}
			continue
		}
		if n.Status != projections.StatusReady {
			continue // suspected: wait until it is known
		}
		broken, class := p.demands(a).rules(n), events.ClassForced
		var beside []events.Rejection // what is there and should not be
		m := events.Move{App: a.Name, Instance: in.ID, SpecRev: a.SpecRev, From: in.Node, FromInc: in.Inc, Trigger: events.TriggerAutomatic, Class: class}
		switch {
		case len(broken) > 0:
			m.Why = details(broken)
			reason, by := brokenBy(a, n, broken)
			m.Reason, m.Cause, m.Correlation = reason, by.ID, by.Correlation
		case p.ordered(n, &m):
		case in.State == "failed":
			m.Reason, m.Cause, m.Correlation, m.Class = events.ReasonInstanceFailed, in.Health.ID, in.Health.Correlation, events.ClassRecovery
			m.Why = in.Detail
		case len(neighbours(p.v, a, p.u.at(n.ID))) > 0 && p.yields(a, n):
			m.Reason, m.Cause, m.Correlation = events.ReasonConstraintUpdate, a.Ruled.ID, a.Ruled.Correlation
			beside = neighbours(p.v, a, p.u.at(n.ID))
			m.Why = details(beside)
		case len(p.demands(a).alone(p.v, p.u, n)) > 0:
			if p.awaits(a) {
				p.watch(a, forAnything)
				continue
			}
			broken = p.demands(a).alone(p.v, p.u, n)
			by := p.ledBy(a)
			m.Reason, m.Cause, m.Correlation, m.Why = events.ReasonConstraintUpdate, by.ID, by.Correlation, details(broken)
		case p.crowded(a, n, &m):
			if best, of := p.targetOf(a, in); best != nil && !p.vetoed(a, in.ID, m.Cause) && len(p.unit(a, n)) < 2 {
				m.To, m.ToInc = best.node.ID, best.node.Inc
				p.decide(a, m, best.score, of)
			}
			p.watch(a, forAnything)
			continue // where there is no better place it serves on
		default:
			continue
		}
		if p.vetoed(a, in.ID, m.Cause) {
			continue
		}
		if a.Spec.Mode == spec.Spread {
			p.leave(a, in, n, m, broken)
			continue
		}
		best, of := p.targetOf(a, in)
		var (
			refused []events.Rejection
			later   time.Time
		)
		unit := p.unit(a, n)
		if len(unit) > 1 && (best == nil || p.leads(a, unit)) {
			var (
				moves []Decision
				busy  bool
			)
			moves, refused, later, busy = p.together(unit, n, "", m)
			if p.decideTogether(moves); busy || len(moves) > 0 {
				p.watch(a, forAnything)
				continue
			}
		} else if best != nil {
			if len(broken) > 0 { // a person wants the node empty, too: what holds moves that only follow from rules does not hold this one
				if p.ordered(n, &m) && p.vetoed(a, in.ID, m.Cause) {
					continue
				}
			}
			m.To, m.ToInc = best.node.ID, best.node.Inc
			p.decide(a, m, best.score, of)
			continue
		} else {
			refused, later = of.rejections(), of.later()
		}
		stranded := in.State == "failed" && len(broken) > 0 && !n.Draining() // it does not run, and may not be started where it is
		if in.State == "failed" && len(broken) == 0 && !n.Draining() {
			// Nowhere else: the same node again once its back-off is over.
			until, _, rests := resting(a, n.ID, p.now)
			if no := p.rejectInPlace(a, n); len(no) > 0 {
				stranded, refused = true, append(no, refused...)
			} else if !rests {
				m.To, m.ToInc = n.ID, n.Inc
				p.decide(a, m, score(p.u, p.loads, a, n), listed(refused))
				continue
			} else {
				later = earliest(later, until)
				refused = append(refused, events.Rejection{Node: n.ID, Code: events.RuleFailed,
					Detail: fmt.Sprintf("failed there, tried again at %s: %s", until.UTC().Format(time.RFC3339), in.Detail)})
			}
		}
		room := p.makeRoom(a, m)
		switch room {
		case roomMade:
			if best, of := p.targetOf(a, in); best != nil {
				m.To, m.ToInc = best.node.ID, best.node.Inc
				p.decide(a, m, best.score, of)
				continue
			}
		case roomComing: // it serves on until then
			p.watch(a, forAnything)
			continue
		}
		own := slices.Concat(broken, orders(p.v, n), beside)
		p.pend(a, m, 1, append(own, refused...), later, true)
		invalid := len(broken) > 0 && a.Spec.OnInvalid != spec.OnInvalidKeep
		if (invalid || stranded) && later.IsZero() && room == roomNone && !onlyBusy(refused) {
			// Nowhere to go: it is stopped, gracefully, its data kept. What is stranded would only keep from others the place that it
			// cannot use itself, and to keep what does not run is no service.
			p.decide(a, m, 0, listed(refused))
		}
	}
}

// outlives says which lost machine may still run an instance that continues in isolation, "" for none. Another machine may be the
// node by now: it knows nothing of the instance.
func outlives(a *projections.App, in *projections.Instance, n *projections.Node) string {
	switch {
	case !a.ContinuesInIsolation():
		return ""
	case n.Inc != in.Inc:
		return "the machine that was " + n.ID + " before"
	case n.Status == projections.StatusLost:
		return n.ID
	}
	return ""
}

func unconfirmed(in *projections.Instance, lost string) string {
	return fmt.Sprintf("%s may still run on %s, which is lost: confirm that the machine is off with `go-cluster node lost %s --confirm`", in.ID, lost, in.Node)
}

// ordered makes a move that of the order that empties the node, if there is one.
func (p *planner) ordered(n *projections.Node, m *events.Move) bool {
	if d := n.Drain; d != nil {
		m.Reason, m.Cause, m.Correlation, m.Order, m.Trigger, m.DeleteLocal = events.ReasonDrain, d.Started.ID, d.Started.Correlation, d.Order, events.TriggerManual, d.DeleteLocal
		m.Why = n.ID + " is draining"
		return true
	}
	ev := evacuated(p.v, n)
	if ev != nil {
		m.Reason, m.Cause, m.Correlation, m.Order, m.Trigger = events.ReasonEvacuate, ev.Started.ID, ev.Started.Correlation, ev.Order, events.TriggerManual
		m.Why = n.ID + " is being evacuated (" + ev.Text + ")"
	}
	return ev != nil
}

// yields decides which of two apps that keep away from each other leaves: the one whose rules changed last, then the greater name.
func (p *planner) yields(a *projections.App, n *projections.Node) bool {
	on := p.u.at(n.ID)
	for _, r := range sortedKeys(on.apps) {
		o := p.v.Apps[r]
		if o == nil || on.serving(r) == 0 || o == a || (!slices.Contains(a.Spec.AwayFromApp, r) && !slices.Contains(o.Spec.AwayFromApp, a.Name)) {
			continue
		}
		if a.Ruled.Seq < o.Ruled.Seq || a.Ruled.Seq == o.Ruled.Seq && a.Name < o.Name {
			return false
		}
	}
	return true
}

func evacuated(v *projections.Cluster, n *projections.Node) *projections.Evacuation {
	for _, ev := range openEvacuations(v) {
		if ev.Selector.Matches(n.Labels) {
			return ev
		}
	}
	return nil
}

// surplus stops what is too much: of a removed app everything, of a pool that shrank the worst placed first.
func (p *planner) surplus(a *projections.App) {
	if a.Spec.Mode == spec.Spread && !a.Removed {
		return // each node has one, or none
	}
	extra := len(a.Instances) - a.Desired()
	if extra <= 0 {
		return
	}
	ins := a.SortedInstances()
	slices.SortStableFunc(ins, func(x, y *projections.Instance) int { // the first ones go
		if d := p.badness(a, y) - p.badness(a, x); d != 0 {
			return d
		}
		return projections.CompareInstances(y.ID, x.ID)
	})
	for _, in := range ins[:extra] {
		if p.busy(a, in.ID) {
			continue
		}
		n := p.v.Nodes[in.Node]
		if n == nil || n.Status != projections.StatusReady || n.Inc != in.Inc {
			continue
		}
		reason := events.ReasonScale
		if a.Removed {
			reason = events.ReasonSpecUpdate
		}
		p.decide(a, events.Move{App: a.Name, Instance: in.ID, SpecRev: a.SpecRev, From: in.Node, FromInc: in.Inc, Reason: reason, Trigger: events.TriggerAutomatic,
			Class: events.ClassForced, Cause: a.Applied.ID, Correlation: a.Applied.Correlation, DeleteLocal: a.Removed && a.DeleteLocal}, 0, nil)
	}
}

func (p *planner) badness(a *projections.App, in *projections.Instance) int {
	n := p.v.Nodes[in.Node]
	switch {
	case n == nil || len(p.demands(a).rules(n)) > 0:
		return 3
	case n.Cordoned || in.State == "failed":
		return 2
	case !in.Healthy:
		return 1
	}
	return 0
}

// roll replaces instances of an older generation, at most max_parallel of the app at once. One that serves is touched only while
// nothing of the new generation fails: a definition that does not run takes no more than those down.
func (p *planner) roll(a *projections.App) {
	if a.Removed || !p.row(a).older {
		return
	}
	var old []*projections.Instance
	for _, in := range p.row(a).in {
		if in.Generation != a.Generation {
			old = append(old, in)
		}
	}
	slices.SortStableFunc(old, func(x, y *projections.Instance) int { // those that do not serve have nothing to lose
		return cmp.Compare(bit(serves(x)), bit(serves(y)))
	})
	for _, in := range old {
		if p.busy(a, in.ID) || in.State != "running" && in.State != "failed" && in.State != "starting" {
			continue
		}
		if p.perApp[a.Name] >= max(a.Spec.Migration.MaxParallel, 1) {
			return
		}
		if serves(in) && p.newOnesFail(a) {
			return
		}
		n := p.v.Nodes[in.Node]
		if n == nil || n.Status != projections.StatusReady || n.Inc != in.Inc {
			continue
		}
		m := events.Move{App: a.Name, Instance: in.ID, SpecRev: a.SpecRev, From: in.Node, FromInc: in.Inc, Reason: events.ReasonSpecUpdate, Trigger: events.TriggerAutomatic,
			Class: events.ClassRepair, Cause: a.Restarted.ID, Correlation: a.Restarted.Correlation, Why: "follows the changed definition"}
		if a.Restarted.Seq != a.Applied.Seq {
			m.Reason, m.Trigger, m.Why = events.ReasonManual, events.TriggerManual, "restart requested"
		}
		if p.vetoed(a, in.ID, m.Cause) {
			continue
		}
		var refused []events.Rejection
		if a.Spec.Mode != spec.Spread && len(p.unit(a, n)) < 2 { // what goes together stays together
			best, of := p.target(a, in.Node)
			if best != nil {
				m.To, m.ToInc = best.node.ID, best.node.Inc
				p.decide(a, m, best.score, of)
				continue
			}
			refused = of.rejections()
		}
		if until, _, yes := resting(a, in.Node, p.now); yes {
			p.watch(a, forAnything)
			p.plan.Wake = earliest(p.plan.Wake, until)
			continue
		}
		if no := p.rejectInPlace(a, n); len(no) > 0 {
			p.pend(a, m, 1, append(no, refused...), time.Time{}, true)
			continue
		}
		m.To, m.ToInc = n.ID, n.Inc // nowhere else to go: stop and start where it is
		p.decide(a, m, 0, listed(refused))
	}
}

func serves(in *projections.Instance) bool { return in.State == "running" && in.Healthy }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// newOnesFail says whether something of the app's newest generation does not run as it should: an instance that has arrived and is
// not well, or a node where it failed and that still rests. Failures of earlier generations are forgotten when a new one begins.
func (p *planner) newOnesFail(a *projections.App) bool {
	for _, in := range a.Instances {
		if in.Generation == a.Generation && !serves(in) && p.lock(a, in.ID) == nil {
			return true
		}
	}
	fails := false
	for node := range a.Backoff {
		if until, _, rests := resting(a, node, p.now); rests {
			p.watch(a, forAnything)
			p.plan.Wake, fails = earliest(p.plan.Wake, until), true
		}
	}
	return fails
}

// rejectInPlace lists every rule by which an instance of the app that is on the node cannot be restarted there.
func (p *planner) rejectInPlace(a *projections.App, n *projections.Node) []events.Rejection {
	on := p.u.at(n.ID)
	p.u.remove(a, on)
	defer p.u.add(a, on)
	return p.demands(a).leaving(n.ID).rejectInPlace(p.v, p.u, n)
}

// lock returns the open migration that stands in the way of another of the same object.
func (p *planner) lock(a *projections.App, instance string) *projections.Migration {
	for _, m := range a.Main() {
		if a.Spec.Mode == spec.Singleton || m.Instance == instance {
			return m
		}
	}
	return nil
}

func (p *planner) busy(a *projections.App, instance string) bool {
	return p.deciding[instance] || p.lock(a, instance) != nil || a.Spec.Mode == spec.Singleton && p.perApp[a.Name] > 0
}

// vetoed says whether a hook has refused to let the instance move for this cause, and is not to be asked again yet.
func (p *planner) vetoed(a *projections.App, instance, cause string) bool {
	v, is := a.Vetoes[instance]
	if !is || v.Cause != cause || !v.Until.After(p.now) {
		return false
	}
	p.watch(a, forAnything)
	p.plan.Wake = earliest(p.plan.Wake, v.Until)
	return true
}

// decide takes a move into the plan, or says that guardrails hold it.
func (p *planner) decide(a *projections.App, m events.Move, points int64, passed reasons) bool {
	if pr := a.Proposals[m.Instance]; pr != nil && SameMove(pr.Move, m) {
		m.Migration, m.Approved = pr.Migration, pr.Approval.ID
	}
	d := Decision{Move: m, Score: points}
	if holds, turn := p.holds(a, m); len(holds) > 0 {
		p.hold(a, d, holds, turn)
		return false
	}
	if passed != nil {
		d.Refused = passed.refusals()
	}
	p.take(a, d)
	return true
}

func (p *planner) hold(a *projections.App, d Decision, holds []events.Hold, turn bool) {
	p.deciding[d.Instance] = true
	switch soon := turn && OnlyTurn(holds) && !d.Standby() && a.Spec.Mode != spec.Spread; {
	case soon && d.From == "":
		p.watch(a, forTurn)
	case soon && d.Kind() == events.KindMove && d.Class == events.ClassForced && d.Reason != events.ReasonManual:
		p.watch(a, forMove)
	default:
		p.watch(a, forAnything)
	}
	p.plan.Held = append(p.plan.Held, Held{d, holds, turn})
	for _, h := range holds {
		p.plan.Wake = earliest(p.plan.Wake, h.Until)
	}
	if pr := a.Proposals[d.Instance]; pr != nil && p.v.Policy.Migration.RequireApproval {
		p.plan.Wake = earliest(p.plan.Wake, pr.Expires)
	}
}

func (p *planner) take(a *projections.App, d Decision) {
	d.Keep, d.Why = p.keeps(a, d.Move), p.warmed(a, d.Move)
	p.deciding[d.Instance] = true
	p.watch(a, forAnything)
	p.g.decide(a, d.Move)
	p.plan.Moves = append(p.plan.Moves, d)
	p.u.admit(a, d.Move)
	if d.Standby() {
		return
	}
	p.perApp[a.Name]++
	if d.To != "" {
		p.placed[a.Name] = d.To
	}
}

func (p *planner) finish(apps []*projections.App) Plan {
	for _, a := range apps {
		pd := p.pending[a.Name]
		if a.Pending != nil && pd == nil {
			p.watch(a, forAnything)
		}
		if pd != nil {
			p.plan.Pending = append(p.plan.Pending, *pd)
		} else if a.Pending != nil && len(missingSlots(a)) == 0 && !p.stays(a) {
			// What this plan places is not admitted yet, and may never be: the plan after it says that it is satisfied.
			p.plan.Satisfied = append(p.plan.Satisfied, Satisfied{App: a.Name, Node: placeOf(a)})
		}
	}
	return p.plan
}

// stays says whether an instance of the app is, or is on its way to, where it should not be and no move takes it elsewhere: it is being
// restarted there, or stopped for want of a place, or nothing may move now; or the rules changed behind the admission.
func (p *planner) stays(a *projections.App) bool {
	for _, m := range a.Main() {
		if m.Kind == events.KindStop { // its instance may be gone already, with its node
			return true
		}
		if n := p.v.Nodes[m.To]; n == nil || len(p.demands(a).rules(n)) > 0 {
			return true
		}
	}
	for _, in := range a.Instances {
		n := p.v.Nodes[in.Node]
		if n == nil || len(p.demands(a).rules(n)) == 0 && len(orders(p.v, n)) == 0 {
			continue
		}
		if to := p.headedFor(a, in.ID); to == "" || to == in.Node {
			return true
		}
	}
	return false
}

// headedFor returns where an open or decided move takes an instance, "" for nowhere and for no move.
func (p *planner) headedFor(a *projections.App, instance string) string {
	for _, d := range p.plan.Moves {
		if d.Instance == instance {
			return d.To
		}
	}
	for _, m := range a.SortedOpen() {
		if m.Instance == instance {
			return m.To
		}
	}
	return ""
}

// placeOf names the node that the app's newest move goes to, or its first instance is on.
func placeOf(a *projections.App) string {
	node, newest := "", uint64(0)
	for _, in := range a.SortedInstances() {
		node = or(node, in.Node)
	}
	for _, m := range a.Main() {
		if m.To != "" && m.Admitted.Seq > newest {
			node, newest = m.To, m.Admitted.Seq
		}
	}
	return node
}

func details(rs []events.Rejection) string {
	var s []string
	for _, r := range rs {
		s = append(s, r.Detail)
	}
	return strings.Join(s, "; ")
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
