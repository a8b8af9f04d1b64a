package migrator

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// draft makes an event of the migration: about node, addressed to whoever acts on it.
func (d *decision) draft(to, node string, data any) (*events.Draft, time.Time) {
	cause := d.m.Admitted.ID
	switch {
	case d.m.Order != nil:
		cause = d.m.Order.EventID
	case d.m.Started.ID != "":
		cause = d.m.Started.ID
	}
	return &events.Draft{Aggregate: events.App(d.m.App), Target: to, App: d.m.App, Node: node, Cause: cause,
		Correlation: d.m.Correlation, Data: data}, time.Time{}
}

// order orders a step on a node.
func (d *decision) order(s step, node, inc string, attempt int, undo bool) *events.Next {
	n := &events.Next{Step: s.Name, Node: node, Inc: inc, Timeout: spec.Duration(s.Timeout(d.a.Spec)), Attempt: attempt, Undo: undo}
	r := d.in.Report
	leaves := r != nil && r.Step == stepDown.Name && !undo && d.a.Spec.Shared() && d.m.Kind == events.KindMove && !planted.LogUntold
	if r != nil && !r.Failed && r.Result != nil && (s.Name == catchUp.Name || s.Name == apply.Name || s.Name == persist.Name && leaves) {
		n.Position, n.Checksum = r.Result.Position, r.Result.Checksum
	}
	return n
}

// next orders a step on its own side.
func (d *decision) next(s step, attempt int, undo bool) *events.Next {
	if s.On == source {
		return d.order(s, d.m.From, d.m.FromInc, attempt, undo)
	}
	return d.order(s, d.m.To, d.m.ToInc, attempt, undo)
}

// again repeats the open order. What is repeated without end is given more time each time, up to ten times its own.
func (d *decision) again(s step, attempt int) *events.Next {
	o := d.m.Order
	n := d.order(s, o.Node, o.Inc, attempt, o.Undo)
	n.Position, n.Checksum = o.Position, o.Checksum
	if s.Insist {
		n.Timeout *= spec.Duration(min(attempt, 10))
	}
	return n
}

func targetOf(n *events.Next) string {
	if n == nil {
		return ""
	}
	return n.Node
}

// since measures by the cluster's clock, or by the newest event where that is later: a migrator that has just started knows no
// time yet. It never says that something took negative time.
func (d *decision) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	now := d.now
	if d.v.Time.After(now) {
		now = d.v.Time
	}
	return max(0, now.Sub(t).Milliseconds())
}

func (d *decision) started(n *events.Next) (*events.Draft, time.Time) {
	m := d.m
	return d.draft(n.Node, "", &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, Plan: m.Plan, SpecRev: m.SpecRev,
		Generation: d.a.Generation, FromInc: m.FromInc, ToInc: m.ToInc, Order: m.Orderer, Class: m.Class, DeleteLocal: m.DeleteLocal, Role: m.Role, Keep: m.Keep, Sync: m.Sync, Next: n})
}

func (d *decision) stepCompleted(r *api.StepReport, n *events.Next) (*events.Draft, time.Time) {
	return d.draft(targetOf(n), r.Node, &events.StepCompleted{Ref: d.m.Ref(), Step: r.Step, Node: r.Node, OrderSeq: r.OrderSeq,
		TookMS: d.since(d.m.Order.At), Result: r.Result, Next: n})
}

func (d *decision) stepFailed(r *api.StepReport, n *events.Next) (*events.Draft, time.Time) {
	code, detail := r.Code, r.Detail
	if code == "" {
		code = "failed"
	}
	if detail == "" {
		detail = "the node gave no reason"
	}
	return d.draft(targetOf(n), r.Node, &events.StepFailed{Ref: d.m.Ref(), Step: r.Step, Node: r.Node, OrderSeq: r.OrderSeq, Code: code,
		Detail: detail, Result: r.Result, Next: n})
}

// fenced ends the open step because the app's holder has ended its epoch by itself.
func (d *decision) fenced(n *events.Next) (*events.Draft, time.Time) {
	l := d.a.Leader
	return d.draft(targetOf(n), l.Node, &events.StepFailed{Ref: d.m.Ref(), Step: d.m.Order.Step, Node: l.Node, OrderSeq: d.m.Order.Seq,
		Code: "fenced", Detail: fmt.Sprintf("%s fenced epoch %d", l.Node, l.Epoch), Result: &events.Result{Released: true}, Next: n})
}

func (d *decision) timedOut(n *events.Next) (*events.Draft, time.Time) {
	o := d.m.Order
	return d.draft(targetOf(n), o.Node, &events.StepTimedOut{Ref: d.m.Ref(), Step: o.Step, Node: o.Node, OrderSeq: o.Seq, Next: n})
}

func (d *decision) requested(why string, n *events.Next) (*events.Draft, time.Time) {
	return d.draft(n.Node, n.Node, &events.StepRequested{Ref: d.m.Ref(), Why: why, Next: n})
}

// grant gives the app to an end of the move under a new epoch. When the epoch before has not ended nothing is granted, and the
// move given up.
func (d *decision) grant(to side, undo bool) (*events.Draft, time.Time) {
	s := persist.with(func(s *step) { s.On = to })
	n := d.next(s, 0, undo)
	if !d.mayGrant(n.Inc) {
		l := d.a.Leader
		return d.stale([]events.Rejection{{Node: l.Node, Code: events.RuleLeader, Detail: fmt.Sprintf("epoch %d has not ended there", l.Epoch)}})
	}
	g := &events.LeadershipGranted{Ref: d.m.Ref(), Epoch: epochAfterAll(d.v, d.a), Node: n.Node, Inc: n.Inc, Undo: undo, Next: n}
	if planted.ReuseEpoch && undo {
		g.Epoch--
	}
	if r := d.in.Report; r != nil && !r.Failed {
		g.OrderSeq, g.Result = r.OrderSeq, r.Result
		if r.Step == recovers.Name {
			g.DataLossPossible, g.LossBoundMS = d.loss(r.Result)
		}
	}
	return d.draft(n.Node, n.Node, g)
}

// loss says whether acknowledged writes may be missing in what was recovered: its node cannot rule it out, or the epoch that wrote
// last is known to have come further. The bound is how long before the end of that epoch the newest thing was shipped that was
// recovered, 0 where that is not known.
func (d *decision) loss(r *events.Result) (possible bool, boundMS int64) {
	if r == nil {
		r = &events.Result{}
	}
	for _, t := range d.a.Terms {
		if !t.Activated {
			continue
		}
		p, _ := events.ParsePosition(r.Position)
		switch behind := t.Final != (events.Position{}) && !p.Reached(t.Final); {
		case behind:
			possible = p.Epoch <= t.Epoch
		case t.AllStored(p) && !r.Unsure:
			return false, 0 // what was acknowledged was stored, and this is all that is
		}
		if r.Incomplete && !t.EndedAt.IsZero() && !r.Shipped.IsZero() {
			boundMS = max(0, t.EndedAt.Sub(r.Shipped).Milliseconds())
		}
		break
	}
	return possible || r.Incomplete, boundMS
}

func (d *decision) activated(r *api.StepReport) (*events.Draft, time.Time) {
	l := d.a.Leader
	if planted.ActivatesTarget {
		l = &projections.Leader{Epoch: l.Epoch, Node: d.m.To, Inc: d.m.ToInc}
	}
	n := d.order(activate, l.Node, l.Inc, 0, d.m.Undoing)
	return d.draft(n.Node, l.Node, &events.LeadershipActivated{Ref: d.m.Ref(), Epoch: l.Epoch, Node: l.Node, Inc: l.Inc, OrderSeq: r.OrderSeq, Next: n, Stored: d.m.Sync && stored(r)})
}

// releasedBy ends the epoch of the app's holder, which has reported that it stepped down.
func (d *decision) releasedBy(r *api.StepReport, why string) (*events.Draft, time.Time) {
	epoch := uint64(0)
	if l := d.a.Leader; l != nil && l.Inc == r.Inc {
		epoch = l.Epoch
	}
	return d.draft("", r.Node, &events.LeadershipReleased{Ref: d.m.Ref(), Epoch: epoch, Node: r.Node, Inc: r.Inc, Why: why, OrderSeq: r.OrderSeq, Result: r.Result})
}

// completed ends the migration well. It wakes the source, so that the agent there cleans up.
func (d *decision) completed(s events.Step, r *events.Result) (*events.Draft, time.Time) {
	at, wake := d.m.To, d.m.From
	if at == "" {
		at = d.m.From
	}
	if wake == "" {
		wake = d.m.To
	}
	return d.draft(wake, at, &events.MigrationCompleted{Ref: d.m.Ref(), DurationMS: d.since(d.m.Started.At), Step: s, Result: r})
}

func (d *decision) stale(rules []events.Rejection) (*events.Draft, time.Time) {
	why := make([]string, 0, len(rules))
	for _, r := range rules {
		why = append(why, r.Node+": "+r.Detail)
	}
	return d.failed("stale", strings.Join(why, "; "), rules, d.left(), d.refusedBy(rules))
}

// refusedBy returns the target when it is the app's own rules that it fails, or that it is full: automatic planning leaves it alone
// for a while, so that a planner that sees it otherwise does not try as fast as it can. What has changed since the plan, and what
// the node was told, it sees as we do.
func (d *decision) refusedBy(rules []events.Rejection) string {
	for _, r := range rules {
		switch r.Code {
		case events.RuleLabel, events.RuleOnNodes, events.RuleAwayFrom, events.RuleCPU, events.RuleMemory, events.RuleOccupied, events.RuleDriver, events.RulePort, events.RuleVIP:
		default:
			return ""
		}
	}
	return d.m.To
}

// failedFor ends the migration for what was noted of it: its cancellation, or the step that failed.
func (d *decision) failedFor(left string) (*events.Draft, time.Time) {
	f, c := d.m.Failure, d.m.Cancel
	if f != nil && (c == nil || d.m.Committed || d.m.Undoing && left == events.LeftNowhere) {
		code, detail := "step_failed", fmt.Sprintf("%s on %s: %s", f.Step, f.Node, f.Detail)
		switch f.Code {
		case "step_timed_out":
			code, detail = f.Code, f.Detail
		case "fenced": // whatever step was under way
			detail = f.Detail
		}
		if f.Step == events.StepMigrationStart { // no node has failed: the app does not want to move
			if f.Code != "step_timed_out" {
				code, detail = f.Code, f.Detail
			}
			return d.failed(code, detail, nil, left, "")
		}
		return d.failed(code, detail, nil, left, d.m.BadNode)
	}
	if c == nil || d.m.Committed {
		return d.failed("stale", d.m.To+" is not ready any more", nil, left, d.m.To)
	}
	if c.Why != events.ReasonNodeLost {
		return d.failed("cancelled", "cancelled: "+c.Why, nil, left, "")
	}
	switch {
	case d.m.To != "" && !alive(d.v, d.m.To, d.m.ToInc):
		return d.failed("node_lost", d.m.To+" was lost", nil, left, d.m.To)
	case d.m.From != "" && !alive(d.v, d.m.From, d.m.FromInc):
		return d.failed("node_lost", d.m.From+" was lost", nil, left, d.m.From)
	}
	return d.failed("node_lost", "a node was lost", nil, left, "")
}

// failed ends the migration otherwise. It wakes the target, or the source of a stop, so that the agent there cleans up.
func (d *decision) failed(code, detail string, rules []events.Rejection, left, bad string) (*events.Draft, time.Time) {
	wake := d.m.To
	if wake == "" {
		wake = d.m.From
	}
	return d.draft(wake, "", &events.MigrationFailed{Ref: d.m.Ref(), Code: code, Detail: detail, Rules: rules, Left: left, BadNode: bad,
		DurationMS: d.since(d.m.Started.At)})
}
