package projections

import (
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/spec"
)

// Apply folds one stored message. It is total: every event of a known type is handled or deliberately ignored, an unknown type
// is skipped, and a malformed one quarantines its aggregate.
func (c *Cluster) Apply(m events.Message) {
	e := &m.Event
	c.Seq = e.Seq
	if e.Stored.After(c.Time) {
		c.Time = e.Stored
	}
	if m.Err != nil {
		if at, err := events.ParseEventSubject(m.Err.Subject); err == nil && planted.NoQuarantine {
			head := c.Heads[at.Aggregate]
			head.Seq = e.Seq
			c.Heads[at.Aggregate] = head
		} else if err == nil {
			c.Quarantined[at.Aggregate] = m.Err.Error()
		}
		return
	}
	head := c.Heads[e.Aggregate]
	if e.Rev != head.Rev+1 || e.Prev != head.Hash {
		c.Quarantined[e.Aggregate] = (&events.MalformedError{Seq: e.Seq, Reason: "it does not continue its aggregate: revision or hash of the predecessor is wrong"}).Error()
	}
	c.Heads[e.Aggregate] = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
	if _, bad := c.Quarantined[e.Aggregate]; bad {
		return
	}
	switch e.Aggregate.Kind {
	case events.KindNode:
		c.applyNode(e)
	case events.KindApp:
		c.applyApp(e)
	case events.KindCluster:
		c.applyCluster(e)
	}
	c.noteChange(e)
	switch e.Data.(type) {
	case *events.StepCompleted, *events.StepRequested, *events.LeadershipActivated, *events.RequestRefused, *events.MigrationStarted, *events.InvariantViolated:
	default:
		c.Planned = e.Seq
	}
	c.remember(e)
	c.Metrics.apply(c, e)
}

// remember keeps the outcome of the command that caused e.
func (c *Cluster) remember(e *events.Event) {
	id, ok := strings.CutPrefix(e.Cause, "cmd:")
	if !ok {
		return
	}
	if _, known := c.Commands[id]; known {
		return // the first event of a command is its outcome
	}
	o := Outcome{Seq: e.Seq, Type: e.Type, Order: orderOf(e)}
	o.Refused, _ = e.Data.(*events.RequestRefused)
	c.Commands[id] = o
	c.commands = append(c.commands, id)
	if len(c.commands) > keepCommands {
		delete(c.Commands, c.commands[0])
		c.commands = c.commands[1:]
	}
}

func orderOf(e *events.Event) string {
	switch d := e.Data.(type) {
	case *events.DrainStarted:
		return d.Order
	case *events.EvacuationStarted:
		return d.Order
	case *events.RebalanceTriggered:
		return d.Order
	case *events.RebalanceCompleted:
		return d.Order
	case *events.EvacuationCancelled:
		return d.Order
	case *events.PlanAdmitted:
		if len(d.Moves) > 0 { // of a command: the move that was asked for, and what goes with it
			return d.Moves[0].Migration
		}
	case *events.CancelRequested:
		return d.Migration
	case *events.MigrationHeld:
		return d.Migration
	}
	return ""
}

func (c *Cluster) node(id string) *Node {
	n := c.Nodes[id]
	if n == nil {
		n = &Node{ID: id, Labels: map[string]string{}}
		c.Nodes[id] = n
	}
	return n
}

func (c *Cluster) applyNode(e *events.Event) {
	n := c.node(e.Aggregate.ID)
	switch d := e.Data.(type) {
	case *events.NodeJoined:
		if n.Machine == d.Machine && n.Inc != d.Inc {
			c.restarted(e, n.ID, d.Inc)
		}
		n.Status, n.Inc, n.Machine, n.TTL, n.Epochs = StatusReady, d.Inc, d.Machine, d.TTL.D(), d.Epochs
		c.factsOf(e, n, d.Facts)
		n.Joined = causeOf(e)
		for app, epoch := range d.Epochs {
			if a := c.Apps[app]; a != nil && epoch > a.Epoch {
				a.Epoch = epoch
			}
		}
	case *events.NodeSuspected:
		if n.Inc == d.Inc && n.Status == StatusReady {
			n.Status, n.Suspected = StatusSuspected, causeOf(e)
			if planted.SuspectedIsLost {
				c.loseIncarnation(e, &events.NodeLost{Node: d.Node, Inc: d.Inc})
			}
		}
	case *events.NodeLost:
		n.Gone, n.Over = causeOf(e), d.Inc
		if n.Inc == d.Inc {
			n.Status = StatusLost
		}
		c.loseIncarnation(e, d)
	case *events.NodeLeft:
		n.Status, n.Gone, n.Over = StatusLeft, causeOf(e), n.Inc
		c.finishDrain(n, e, stateCancelled, nil)
	case *events.NodeFactsUpdated:
		c.factsOf(e, n, d.Facts)
	case *events.NodeLabelsUpdated:
		n.Labels, n.Labelled = d.After, causeOf(e)
		if planted.LabelsKept && len(d.After) < len(d.Before) {
			n.Labels = d.Before
		}
		if d.Declared != nil {
			n.Declared = d.Declared
		}
	case *events.NodeCordoned:
		n.Cordoned, n.Scheduled = true, causeOf(e)
	case *events.NodeUncordoned:
		n.Cordoned, n.Scheduled = false, causeOf(e)
	case *events.DrainStarted:
		n.Cordoned, n.Scheduled = true, causeOf(e)
		n.Drain = &Drain{Order: d.Order, Node: n.ID, Timeout: d.Timeout.D(), Force: d.Force, DeleteLocal: d.DeleteLocal, Started: causeOf(e), State: stateOpen}
		if d.Timeout > 0 {
			n.Drain.Deadline = e.Stored.Add(d.Timeout.D())
		}
		c.Drains[d.Order] = n.Drain
	case *events.DrainCompleted:
		c.finishDrain(n, e, stateCompleted, nil)
	case *events.DrainFailed:
		c.finishDrain(n, e, stateFailed, d.Left)
	case *events.DrainCancelled:
		c.finishDrain(n, e, stateCancelled, nil)
	}
}

// factsOf replaces the facts of a node.
func (c *Cluster) factsOf(e *events.Event, n *Node, f events.Facts) {
	if n.Factual.Seq == 0 || !sameNames(n.Facts.Apps, f.Apps) {
		n.Factual = causeOf(e)
	}
	n.Facts = f
	c.declare(e, n, f)
}

// States of a standing order; the same words as on the wire.
const (
	stateOpen      = "open"
	stateCompleted = "completed"
	stateFailed    = "failed"
	stateCancelled = "cancelled"
)

func (c *Cluster) finishDrain(n *Node, e *events.Event, state string, left []string) {
	if n.Drain != nil {
		n.Drain.State, n.Drain.Left = state, left
		forget(c.Drains, &c.over.drains, n.Drain.Order)
		n.Drain, n.Scheduled = nil, causeOf(e)
	}
}

// loseIncarnation ends everything that an incarnation ran. An instance that continues in isolation ends only when somebody
// vouches for the machine, or when the machine itself has shown that nothing runs any more.
func (c *Cluster) loseIncarnation(e *events.Event, d *events.NodeLost) {
	c.eachThatLoses(func(a *App) {
		a.endStandbys(func(s *Instance) bool { return s.Inc == d.Inc }, events.ReasonNodeLost, causeOf(e)) // a silent one serves nobody
		if d.Reason == events.LostSilent && !d.Confirmed && a.ContinuesInIsolation() {
			return
		}
		if a.Leader != nil && a.Leader.Inc == d.Inc {
			a.endTerm(e.Stored, nil)
		}
		for id, in := range c.maybeOn(a, d.Node) {
			if in.Inc == d.Inc {
				a.end(id, events.ReasonNodeLost, causeOf(e))
			}
		}
	})
}

// restarted ends what is left of earlier incarnations of a machine: an agent stops everything before it begins a new one.
func (c *Cluster) restarted(e *events.Event, node, inc string) {
	c.eachThatLoses(func(a *App) {
		a.endStandbys(func(s *Instance) bool { return s.Node == node && s.Inc != inc }, events.ReasonNodeLost, causeOf(e))
		if a.Leader != nil && a.Leader.Node == node && a.Leader.Inc != inc {
			a.endTerm(e.Stored, nil)
		}
		for id, in := range c.maybeOn(a, node) {
			if in.Node == node && in.Inc != inc {
				a.end(id, events.ReasonNodeLost, causeOf(e))
			}
		}
	})
}

// eachThatLoses has an event of a node take from each app what it does, and notes those that lost something.
func (c *Cluster) eachThatLoses(take func(a *App)) {
	left := func(a *App) int {
		count := len(a.Instances) + len(a.Standbys)
		if a.Leader != nil && !a.Leader.Ended {
			count++
		}
		return count
	}
	var lost []string
	for _, a := range c.Apps {
		had := left(a)
		if take(a); left(a) < had {
			lost = append(lost, a.Name)
		}
	}
	slices.Sort(lost)
	for _, name := range lost {
		c.changed(Change{App: name})
	}
}

// ContinuesInIsolation says whether a silent node may still run the app's one active instance.
func (a *App) ContinuesInIsolation() bool {
	return a.Spec.Mode == "singleton" && a.Spec.OnIsolation == "continue"
}

func (a *App) end(id, reason string, by Cause) {
	in := a.Instances[id]
	delete(a.Instances, id)
	if in != nil {
		a.Ended[id] = Ending{Reason: reason, Node: in.Node, By: by}
	}
}

func (c *Cluster) app(name string) *App {
	a := c.Apps[name]
	if a == nil {
		a = &App{Name: name, Instances: map[string]*Instance{}, Standbys: map[string]*Instance{}, Open: map[string]*Migration{}, Ended: map[string]Ending{}, Backoff: map[string]Backoff{}, Vetoes: map[string]Veto{},
			Proposals: map[string]*Migration{}, Denied: map[string]string{}}
		for _, n := range c.Nodes { // an epoch that a node has seen is never granted again, even if the app is new here
			a.Epoch = max(a.Epoch, n.Epochs[name])
		}
		c.Apps[name] = a
	}
	return a
}

func (c *Cluster) applyApp(e *events.Event) {
	a := c.app(e.Aggregate.ID)
	switch d := e.Data.(type) {
	case *events.AppApplied:
		if a.Removed || a.SpecRev == 0 || !SameRules(a.Spec, d.Spec) {
			a.Ruled = causeOf(e)
		}
		if a.SpecRev > 0 && !a.Removed {
			a.ScaledFrom = a.Desired()
		} else {
			a.ScaledFrom, a.Placed = 0, 0
			a.Ended = map[string]Ending{}
		}
		if d.Generation != a.Generation {
			a.Restarted = causeOf(e)
			a.Backoff = map[string]Backoff{} // another program: what failed before says nothing
		}
		a.Spec, a.SpecRev, a.Generation, a.Removed, a.DeleteLocal = d.Spec, d.SpecRev, d.Generation, false, false
		a.Applied, a.Declared = causeOf(e), d.Declared
		if d.Declared == "" {
			a.Changed = causeOf(e)
		}
		if a.Spec.Mode != spec.Singleton && a.Leader != nil && a.Leader.Ended {
			a.Leader = nil // of what it was before it was removed: nobody of a pool serves under an epoch
		}
	case *events.PlacementUpdated:
		a.ScaledFrom = a.Desired()
		a.Spec, a.SpecRev, a.Declared = a.Spec.WithRules(d.Rules), d.SpecRev, ""
		a.Applied, a.Ruled, a.Changed = causeOf(e), causeOf(e), causeOf(e)
	case *events.AppRemoved:
		c.forgetDeclarations(a.Name)
		a.Removed, a.DeleteLocal, a.Applied, a.Pending = true, d.DeleteLocal, causeOf(e), nil
	case *events.AppRestartRequested:
		a.Generation, a.Restarted = d.Generation, causeOf(e)
	case *events.PlacementInvalid:
		a.Pending = &Pending{PlacementInvalid: *d, By: causeOf(e)}
	case *events.PlacementSatisfied:
		a.Pending = nil
	case *events.InstanceUnhealthy:
		if in := a.at(d.Instance, d.Node); in != nil {
			in.Healthy, in.Detail, in.State, in.Since, in.Health = false, d.Detail, "starting", e.Stored, causeOf(e)
		}
	case *events.DataLost:
		a.Lost = append(a.Lost, *d)
		a.Lost = a.Lost[max(0, len(a.Lost)-keepTerms):]
	case *events.InstanceHealthy:
		if in := a.at(d.Instance, d.Node); in != nil {
			in.Healthy, in.Detail, in.State, in.Since, in.Health = true, "", "running", e.Stored, causeOf(e)
		}
	case *events.InstanceFailed:
		if in := a.at(d.Instance, d.Node); in != nil {
			in.Healthy, in.Detail, in.State, in.Since, in.Health = false, d.Detail, "failed", e.Stored, causeOf(e)
			a.backOff(d.Node, e.Stored, d.Detail)
		}
	case *events.InstanceStopped:
		if a.at(d.Instance, d.Node) != nil {
			a.end(d.Instance, events.ReasonInstanceFailed, causeOf(e))
		}
	default:
		c.applyMigration(a, e)
		a.keepStored()
	}
}

func (a *App) at(instance, node string) *Instance {
	if in := a.Instances[instance]; in != nil && in.Node == node {
		return in
	}
	return nil
}

// vetoHold is how long a refusal holds that does not say it.
const vetoHold = time.Minute

// veto notes that a hook has kept an instance where it is.
func (a *App) veto(m *Migration, at time.Time) {
	f := m.Failure
	if f == nil || f.Step != events.StepMigrationStart {
		return
	}
	hold := vetoHold
	if f.Result != nil && f.Result.Hook != nil && f.Result.Hook.RetryAfter > 0 {
		hold = f.Result.Hook.RetryAfter.D()
	}
	a.Vetoes[m.Instance] = Veto{Until: at.Add(hold), Cause: m.Cause, Detail: f.Detail}
}

// Back-off of an app from a node after failures there: 1 s doubling to 10 min; forgotten after half an hour without one. What fails on
// many nodes is the app: failures elsewhere, from the third on, double the wait as those here do, up to backoffElsewhere times, so that a
// program that works nowhere is not tried on each of them as if it were the first. A node where it has not failed is tried at once.
const (
	backoffFirst     = time.Second
	backoffMost      = 10 * time.Minute
	backoffForget    = 30 * time.Minute
	backoffElsewhere = 5
)

// FailedLately returns how often the app has failed on a node, 0 once that is forgotten.
func (a *App) FailedLately(node string, now time.Time) int {
	if b := a.Backoff[node]; now.Sub(b.Last) <= backoffForget {
		return b.Failures
	}
	return 0
}

func (a *App) backOff(node string, at time.Time, detail string) {
	b := a.Backoff[node]
	if at.Sub(b.Last) > backoffForget {
		b.Failures = 0
	}
	total := b.Failures
	for other, o := range a.Backoff {
		if other != node && at.Sub(o.Last) <= backoffForget {
			total += o.Failures
		}
	}
	wait := min(backoffFirst<<min(max(b.Failures, min(total-2, backoffElsewhere)), 10), backoffMost)
	a.Backoff[node] = Backoff{Failures: b.Failures + 1, Until: at.Add(wait), Last: at, Detail: detail}
}
