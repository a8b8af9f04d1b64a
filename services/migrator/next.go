package migrator

import (
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Input is what was heard of a node, at most one thing; the zero Input is nothing.
type Input struct {
	// Report answers the open step of the migration; see judgeReport.
	Report *api.StepReport
	// Fenced says that the holder of the app's newest epoch has ended it by itself.
	Fenced bool
}

// Next decides what happens next to a migration that has not ended: the one event to store, or nil for nothing yet and when to
// ask again (zero: when the fold changes). now is the time of the cluster; while it is not sure nothing is decided for lateness.
// The event is to be stored with the head of the app in v.
func Next(v *projections.Cluster, m *projections.Migration, in Input, now time.Time, sure bool) (*events.Draft, time.Time) {
	return next(v, m, in, now, sure, func(m *projections.Migration) []events.Rejection { return placement.Judge(v, m) })
}

// next is Next with placement.Judge, or what is the same, of v.
func next(v *projections.Cluster, m *projections.Migration, in Input, now time.Time, sure bool, judge judge) (*events.Draft, time.Time) {
	a := v.Apps[m.App]
	if a == nil || m.Ended() {
		return nil, time.Time{}
	}
	d := &decision{v: v, a: a, m: m, judge: judge, in: in, now: now, sure: sure, steps: stepsOf(a, m)}
	if planted.StopBeforeStart && a.Spec.Mode == spec.Replicas && m.Kind == events.KindMove {
		d.steps = []step{stop, start}
	}
	switch {
	case m.Status == projections.MigrationPlanned:
		return d.begin()
	case !d.fits():
		return d.failed("stale", fmt.Sprintf("the app's mode became %s", a.Spec.Mode), nil, d.left(), "")
	case a.Spec.Mode == spec.Singleton && (m.Undoing || m.Committed):
		return d.held()
	case d.committed():
		return d.finish()
	}
	return d.before()
}

// judge lists every rule that keeps a migration from going on.
type judge func(*projections.Migration) []events.Rejection

// decision is one call of Next.
type decision struct {
	v     *projections.Cluster
	a     *projections.App
	m     *projections.Migration
	judge judge
	in    Input
	now   time.Time
	sure  bool
	steps []step
}

// begin opens an admitted move, or ends it if it may no longer start.
func (d *decision) begin() (*events.Draft, time.Time) {
	if d.m.Cancel != nil {
		return d.failedFor(d.left())
	}
	if d.steps == nil {
		return d.failed("stale", fmt.Sprintf("apps of mode %s cannot %s yet", d.a.Spec.Mode, d.m.Kind), nil, d.left(), "")
	}
	if placement.Windowed(d.v, d.m) && !d.sure {
		return nil, d.v.Time // whether a window is open is not known without a clock
	}
	if rules := d.judged(); len(rules) > 0 {
		return d.stale(rules)
	}
	return d.started(d.next(d.steps[0], 0, false))
}

// judged lists every rule that keeps the migration from going on, those of the clock included.
func (d *decision) judged() []events.Rejection {
	rules := d.judge(d.m)
	if d.sure {
		rules = append(rules, placement.Closed(d.v, d.m, d.now)...)
	}
	return rules
}

// before decides while the source can still serve on as if nothing had been tried.
func (d *decision) before() (*events.Draft, time.Time) {
	m := d.m
	switch {
	case m.Kind == events.KindStop && (d.gone() || m.Order == nil && d.a.Spec.Mode == spec.Singleton && !m.Standby() && d.released()):
		return d.completed("", nil)
	case m.Kind == events.KindStop && !alive(d.v, m.From, m.FromInc): // lost, and continuing in isolation: nobody is there to stop it
		return d.failed("node_lost", m.From+" was lost", nil, d.left(), m.From)
	case m.Cancel != nil, m.Order == nil:
		return d.giveUp()
	}
	s := d.steps[find(d.steps, m.Order.Step)]
	switch r := d.in.Report; {
	case d.in.Fenced && !d.holderAsked():
		return d.fenced(nil)
	case r == nil && s.Name == hookStart.Name && d.overrides():
		next, _ := d.following(s)
		return d.late(s, d.next(next, 0, false))
	case r == nil:
		return d.late(s, nil)
	case r.Failed && s.Insist:
		return d.insist(s, r)
	case r.Failed && s.Name == hookStart.Name && d.overrides(): // it was asked, and its word is in the log
		return d.done(s, r)
	case r.Failed:
		return d.stepFailed(r, nil)
	case s.Name == syncing.Name && m.Sync && !stored(r):
		unheld := *r
		unheld.Code, unheld.Detail = "unsupported", "the agent of "+r.Node+" does not hold commits back until they are stored: it is older than --sync"
		return d.stepFailed(&unheld, nil)
	}
	return d.done(s, d.in.Report)
}

func stored(r *api.StepReport) bool { return r.Result != nil && r.Result.Stored }

// overrides says whether a person insists on the move whatever the app's hook says.
func (d *decision) overrides() bool {
	drain := d.v.Drains[d.m.Orderer]
	return d.m.Forced || drain != nil && drain.Force
}

// following returns the step after one, but for those at a source that is gone.
func (d *decision) following(s step) (step, bool) {
	for _, next := range d.steps[find(d.steps, s.Name)+1:] {
		if next.On == source && d.m.Kind == events.KindMove && d.gone() {
			continue
		}
		return next, true
	}
	return step{}, false
}

// hookOver ends a migration whose last step, the hook that is told of it, has ended or has not in time. What it says does not count.
func (d *decision) hookOver(s step, r *api.StepReport) (*events.Draft, time.Time) {
	if r != nil {
		return d.completed(s.Name, r.Result)
	}
	if o := d.m.Order; !d.sure || d.now.Before(o.Deadline) {
		return nil, o.Deadline
	}
	return d.completed(s.Name, &events.Result{Hook: &events.HookResult{Code: events.HookLate, Detail: "no report within its time"}})
}

// done ends a step that was done before the commit, or commits.
func (d *decision) done(s step, r *api.StepReport) (*events.Draft, time.Time) {
	if s.Judge && !(s.Commit && d.gone()) {
		if rules := d.judged(); len(rules) > 0 {
			return d.stale(rules)
		}
	}
	next, more := d.following(s)
	switch {
	case s.Ends == grants:
		if !ready(d.v, d.m.To, d.m.ToInc) {
			return d.giveUp() // a grant to a node that is silent would leave the app without anybody
		}
		return d.grant(target, false)
	case s.Ends == releases:
		return d.releasedBy(r, events.ReleasedStopped)
	case !more:
		return d.completed(s.Name, r.Result)
	}
	return d.stepCompleted(r, d.next(next, 0, false))
}

// held decides for a singleton from the first grant of its migration on, and while a holder is told to end its epoch.
func (d *decision) held() (*events.Draft, time.Time) {
	m, holder := d.m, d.a.Leader
	switch {
	case m.Order == nil:
		return d.unheld()
	case holder == nil || !alive(d.v, holder.Node, holder.Inc):
		return d.lostHolder()
	}
	s := d.open()
	switch r := d.in.Report; {
	case s.Name == hookComplete.Name:
		return d.hookOver(s, r)
	case d.in.Fenced && !d.holderAsked():
		return d.fenced(nil)
	case r == nil:
		return d.late(s, d.order(giveBack, holder.Node, holder.Inc, 0, true))
	case r.Failed && r.Result != nil && r.Result.Released:
		return d.stepFailed(r, nil)
	case r.Failed && s.Insist:
		return d.insist(s, r)
	case r.Failed:
		return d.stepFailed(r, d.order(giveBack, holder.Node, holder.Inc, 0, true))
	case s.Ends == releases && d.restorable():
		return d.grant(source, true)
	case s.Ends == releases && m.Failure == nil:
		return d.releasedBy(r, events.ReleasedStopped)
	case s.Ends == releases:
		return d.releasedBy(r, events.ReleasedFailed)
	case s.Ends == activates:
		return d.activated(r)
	case m.Undoing:
		return d.failedFor(events.LeftAtSource)
	}
	if next, more := d.following(s); more {
		return d.stepCompleted(d.in.Report, d.next(next, 0, false))
	}
	return d.completed(s.Name, d.in.Report.Result)
}

// unheld decides when nobody holds the app's newest epoch any more and the migration cannot reach its end.
func (d *decision) unheld() (*events.Draft, time.Time) {
	switch holder := d.a.Leader; {
	case !d.released() && alive(d.v, holder.Node, holder.Inc):
		return d.requested("its epoch has not ended", d.order(giveBack, holder.Node, holder.Inc, 0, true))
	case !d.released():
		return d.lostHolder()
	case d.restorable():
		return d.grant(source, true)
	}
	return d.failedFor(events.LeftNowhere)
}

// lostHolder ends a migration whose holder's incarnation is over. Where the app continues in isolation the fold keeps the
// instance, and so does the migration's end: nobody may take it over until somebody vouches for the machine.
func (d *decision) lostHolder() (*events.Draft, time.Time) {
	left, node := events.LeftNowhere, d.m.To
	if l := d.a.Leader; l != nil {
		node = l.Node
		if in := d.a.Instances[d.m.Instance]; in != nil && in.Inc == l.Inc {
			if left = events.LeftAtTarget; l.Inc == d.m.FromInc {
				left = events.LeftAtSource
			}
		}
	}
	return d.failed("node_lost", node+" was lost while it held the app", nil, left, node)
}

// finish decides for a pool past its commit.
func (d *decision) finish() (*events.Draft, time.Time) {
	m := d.m
	if !alive(d.v, m.To, m.ToInc) {
		return d.failed("node_lost", m.To+" was lost after the instance had moved there", nil, events.LeftNowhere, m.To)
	}
	cleanup := m.Kind == events.KindMove // what is left is to end the source, which its agent does anyway once it can
	if m.Order == nil || cleanup && m.Order.Node == m.From && !alive(d.v, m.From, m.FromInc) {
		if cleanup {
			return d.completed("", nil)
		}
		return d.failedFor(events.LeftNowhere)
	}
	s := d.open()
	switch r := d.in.Report; {
	case s.Name == hookComplete.Name:
		return d.hookOver(s, r)
	case r == nil:
		return d.late(s, nil)
	case r.Failed:
		return d.stepFailed(r, nil)
	default:
		if next, more := d.following(s); more {
			return d.stepCompleted(r, d.next(next, 0, false))
		}
		return d.completed(s.Name, r.Result)
	}
}

// late repeats or fails the open step when its time is up; then is what follows its failure.
func (d *decision) late(s step, then *events.Next) (*events.Draft, time.Time) {
	o := d.m.Order
	if !d.sure || d.now.Before(o.Deadline) {
		return nil, o.Deadline
	}
	if attempt := max(o.Attempt, 1); s.Insist || attempt < s.Attempts {
		return d.requested("no report within its time", d.again(s, attempt+1))
	}
	return d.timedOut(then)
}

// insist orders a step once more that failed though it has to be done. It holds the report back for a while, longer each time:
// a node that fails at once would otherwise make an event as fast as it can.
func (d *decision) insist(s step, r *api.StepReport) (*events.Draft, time.Time) {
	attempt := max(d.m.Order.Attempt, 1)
	due := d.m.Order.At.Add(min(time.Second<<min(attempt, 5), 30*time.Second))
	if !d.sure || d.now.Before(due) {
		return nil, due
	}
	return d.stepFailed(r, d.again(s, attempt+1))
}

// fits says whether the open step is one of the app's present mode: removed and declared anew, it may have another.
func (d *decision) fits() bool {
	switch o := d.m.Order; {
	case d.steps == nil:
		return false
	case d.m.Undoing:
		return d.a.Spec.Mode == spec.Singleton
	default:
		return o == nil || find(d.steps, o.Step) >= 0
	}
}

// open returns the step that is under way; there is one.
func (d *decision) open() step {
	name := d.m.Order.Step
	switch {
	case d.m.Undoing && name == giveBack.Name:
		return giveBack
	case d.m.Undoing:
		return wayBack[find(wayBack, name)]
	}
	return d.steps[find(d.steps, name)]
}

// committed says whether a pool's migration is past its commit.
func (d *decision) committed() bool {
	if d.m.Committed {
		return true
	}
	name := events.Step("")
	switch {
	case d.m.Order != nil:
		name = d.m.Order.Step
	case d.m.Failure != nil:
		name = d.m.Failure.Step
	}
	return committed(d.steps, find(d.steps, name))
}

// holderAsked says whether the open step is one of the app's holder. Its report says what became of the epoch, and why, where its
// lease only says that it has ended.
func (d *decision) holderAsked() bool {
	l, o := d.a.Leader, d.m.Order
	return l != nil && o != nil && o.Node == l.Node && o.Inc == l.Inc
}

// gone says whether the incarnation that ran the instance at the source is over.
func (d *decision) gone() bool {
	in := d.a.Moved(d.m)
	return d.m.From != "" && (in == nil || in.Inc != d.m.FromInc)
}

// left says where the instance is while the move has had no effect on it.
func (d *decision) left() string {
	if d.m.From == "" || d.gone() {
		return events.LeftNowhere
	}
	return events.LeftAtSource
}

// alive says whether an incarnation of a node may still run something.
func alive(v *projections.Cluster, node, inc string) bool {
	n := v.Nodes[node]
	return n != nil && n.Inc == inc && (n.Status == projections.StatusReady || n.Status == projections.StatusSuspected)
}

// ready says whether an incarnation of a node holds its lease.
func ready(v *projections.Cluster, node, inc string) bool {
	return alive(v, node, inc) && v.Nodes[node].Status == projections.StatusReady
}
