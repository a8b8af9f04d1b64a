package invariants

import (
	"fmt"

	"github.com/go-cluster/go-cluster/events"
)

// effects are the steps of one migration that were done, and under which epoch.
type effects map[effect]uint64

type effect struct {
	step  events.Step
	node  string
	epoch uint64
}

// migration holds an event of a migration against what came before it.
func (c *Checker) migration(e *events.Event) {
	ref, next, ok := about(e.Data)
	if !ok {
		return
	}
	if ref.Migration == "" { // an epoch that ended outside of any
		if d, is := e.Data.(*events.LeadershipReleased); is {
			c.release(e, d)
		} else {
			c.broke(Endings, "%s names no migration", e.Type)
		}
		return
	}
	if at, over := c.ended[ref.Migration]; over {
		c.broke(Endings, "%s of migration %s, which ended at %d", e.Type, ref.Migration, at)
		return
	}
	m := c.now.moves[ref.Migration]
	switch {
	case m == nil:
		c.broke(Endings, "%s of migration %s, which was never admitted", e.Type, ref.Migration)
		return
	case m.Ref() != ref || e.App != m.App:
		c.broke(Steps, "%s says %+v of %s, admitted was %+v of %s", e.Type, ref, e.App, m.Ref(), m.App)
	}
	if next != nil && e.Target != next.Node {
		c.broke(Steps, "%s orders %s on %s and is addressed to %s", e.Type, next.Step, next.Node, or(e.Target, "nobody"))
	}
	if m.Standby() {
		c.standby(e, m)
	}
	switch d := e.Data.(type) {
	case *events.MigrationStarted:
		c.start(e, m, d)
		return
	case *events.MigrationFailed, *events.CancelRequested:
		return
	}
	if !m.started {
		c.broke(Steps, "%s of migration %s, which has not started", e.Type, m.Migration)
		return
	}
	c.step(e, m, next)
	c.pool(e, m, next)
}

func (c *Checker) start(e *events.Event, m *move, d *events.MigrationStarted) {
	a := c.now.app(m.App)
	if m.started {
		c.broke(Steps, "migration %s starts twice", m.Migration)
		return
	}
	for _, o := range c.now.open(m.App) {
		if o.started && o.Standby() == m.Standby() && (a.singleton() || o.Instance == m.Instance) {
			c.broke(Locks, "migration %s of %s starts while %s is open", m.Migration, m.Instance, o.Migration)
		}
	}
	if d.Kind != m.Kind() || d.Plan != m.plan || d.SpecRev != m.SpecRev || d.FromInc != m.FromInc || d.ToInc != m.ToInc || d.Role != m.Role || d.Keep != m.Keep {
		c.broke(Steps, "migration %s starts as another than was admitted: %+v", m.Migration, *d)
	}
	l, ok := m.first(a)
	if !ok {
		c.broke(Steps, "migration %s: %s of mode %s has no steps", m.Migration, m.Kind(), a.spec.Mode)
		return
	}
	c.wants(m, d.Next, l, false)
	c.pool(e, m, d.Next)
}

// wants holds an order against the step that is due.
func (c *Checker) wants(m *move, n *events.Next, l leg, undo bool) {
	node, inc := m.end(l.source)
	if n == nil {
		c.broke(Steps, "migration %s: no step is ordered, %s on %s is due", m.Migration, l.step, node)
	} else if n.Step != l.step || n.Node != node || n.Inc != inc || n.Undo != undo {
		c.broke(Steps, "migration %s: %s on %s (%s, undo %t) is ordered, %s on %s (%s, undo %t) is due", m.Migration, n.Step, n.Node, n.Inc, n.Undo, l.step, node, inc, undo)
	}
}

// step holds an event that ends or orders steps against the route of its migration.
func (c *Checker) step(e *events.Event, m *move, next *events.Next) {
	a := c.now.app(m.App)
	legs := m.legs(a)
	if m.undoing {
		legs = back
	}
	if m.leaves(a, e) {
		legs = shared
	}
	switch d := e.Data.(type) {
	case *events.StepCompleted:
		if i := c.answers(m, e, legs, d.Step, d.Node, d.OrderSeq, completed); i >= 0 {
			i++
			// Where the source is gone nothing is left to be done there. Its loss is an event of the node: whoever decides about the app
			// may not know of it yet, and no append tells.
			for i < len(legs) && legs[i].source && m.Kind() == events.KindMove && c.sourceGone(m) && (next == nil || next.Step != legs[i].step) {
				i++
			}
			if i < len(legs) {
				c.wants(m, next, legs[i], m.undoing)
			} else {
				c.broke(Steps, "migration %s: %s is its last step and does not end it", m.Migration, d.Step)
			}
		}
	case *events.StepFailed:
		fenced := d.Code == "fenced" && a.leader != nil && d.Node == a.leader.node // whatever step was open, the holder is gone
		c.open(m, e, d.Step, d.Node, d.OrderSeq, fenced)
		c.again(m, next)
	case *events.StepTimedOut:
		c.open(m, e, d.Step, d.Node, d.OrderSeq, false)
		if next != nil && d.Step == events.StepMigrationStart { // a person insisted
			c.wants(m, next, legs[1], false)
		} else {
			c.again(m, next)
		}
	case *events.StepRequested:
		c.again(m, next)
		if next == nil {
			c.broke(Steps, "migration %s: a step is requested, and none is named", m.Migration)
		}
	case *events.LeadershipGranted:
		c.grant(e, m, d)
		c.wants(m, next, leg{step: events.StepPersist, source: d.Undo}, d.Undo)
		switch {
		case !d.Undo && m.order != nil:
			c.answers(m, e, legs, m.order.Step, m.order.Node, d.OrderSeq, granted)
		case !d.Undo:
			c.broke(Steps, "migration %s: %s is granted %s and no step was open", m.Migration, d.Node, m.App)
		case d.OrderSeq > 0:
			c.opened(m, e, d.OrderSeq)
		}
	case *events.LeadershipActivated:
		c.activation(m, d)
		c.answers(m, e, legs, events.StepPersist, d.Node, d.OrderSeq, activated)
		c.wants(m, next, leg{step: events.StepActivate, source: m.undoing}, m.undoing)
	case *events.LeadershipReleased:
		c.release(e, d)
		if d.OrderSeq > 0 {
			c.open(m, e, events.StepStepDown, d.Node, d.OrderSeq, false)
			c.effective(m, events.StepStepDown, d.Node, e.Seq)
		}
	case *events.MigrationCompleted:
		c.complete(m, e, legs, d)
	}
}

// complete holds the good end of a migration against its last step. Without one there is nothing left to do at the source.
func (c *Checker) complete(m *move, e *events.Event, legs []leg, d *events.MigrationCompleted) {
	switch {
	case m.undoing:
		c.broke(Steps, "migration %s completes on its way back", m.Migration)
	case d.Step != "" && m.order != nil:
		node := m.order.Node
		if i := c.answers(m, e, legs, d.Step, node, m.order.seq, last); i < 0 && m.Kind() == events.KindMove && d.Step == events.StepStart {
			c.broke(Steps, "migration %s completes with its target, and the source was not stopped", m.Migration)
		}
	case d.Step != "":
		c.broke(Steps, "migration %s completes by %s, and no step was open", m.Migration, d.Step)
	case m.Kind() != events.KindStop && !(m.Kind() == events.KindMove && m.target):
		c.broke(Steps, "migration %s completes without its last step", m.Migration)
	}
}

// answers wants the open order to be the step named, and the step to be one that ends this way. It returns the step's position, or
// -1 when it breaks the law.
func (c *Checker) answers(m *move, e *events.Event, legs []leg, s events.Step, node string, orderSeq uint64, end ending) int {
	if !c.open(m, e, s, node, orderSeq, false) {
		return -1
	}
	i := find(legs, s)
	gone := end == last && i >= 0 && legs[i].end == completed && m.Kind() == events.KindMove && c.sourceGone(m)
	if i < 0 || legs[i].end != end && !gone {
		c.broke(Steps, "migration %s: %s does not end %s", m.Migration, e.Type, s)
		return -1
	}
	c.effective(m, s, node, e.Seq)
	return i
}

// sourceGone says whether the incarnation at the source no longer runs the instance: then nothing has to be stopped there.
func (c *Checker) sourceGone(m *move) bool {
	in := c.now.app(m.App).instances[m.Instance]
	return in == nil || in.inc != m.FromInc
}

// open wants the migration's open order to be this one.
func (c *Checker) open(m *move, e *events.Event, s events.Step, node string, orderSeq uint64, anywhere bool) bool {
	o := m.order
	if o == nil || o.seq != orderSeq || o.Step != s || o.Node != node && !anywhere {
		c.broke(Steps, "migration %s: %s ends %s on %s, ordered at %d; open is %s", m.Migration, e.Type, s, node, orderSeq, said(o))
		return false
	}
	return true
}

// opened wants the open order to have this sequence, whatever it is.
func (c *Checker) opened(m *move, e *events.Event, orderSeq uint64) {
	if m.order == nil || m.order.seq != orderSeq {
		c.broke(Steps, "migration %s: %s answers order %d; open is %s", m.Migration, e.Type, orderSeq, said(m.order))
	}
}

func said(o *order) string {
	if o == nil {
		return "none"
	}
	return fmt.Sprintf("%s on %s, ordered at %d", o.Step, o.Node, o.seq)
}

// effective notes that a step was done. The same node may do it again only under another epoch.
func (c *Checker) effective(m *move, s events.Step, node string, seq uint64) {
	k := effect{step: s, node: node}
	if l := c.now.app(m.App).leader; l != nil {
		k.epoch = l.epoch
	}
	if c.done[m.Migration] == nil {
		c.done[m.Migration] = effects{}
	}
	if at, twice := c.done[m.Migration][k]; twice {
		c.broke(Steps, "migration %s: %s on %s was done at %d already", m.Migration, s, node, at)
	}
	c.done[m.Migration][k] = seq
}

// again wants what follows a step that was not done to be the same step once more, or that the holder gives its epoch back.
func (c *Checker) again(m *move, next *events.Next) {
	if next == nil {
		return
	}
	if o := m.order; o != nil && next.Step == o.Step && next.Node == o.Node && next.Inc == o.Inc && next.Attempt > 1 {
		return
	}
	l := c.now.app(m.App).leader
	if l != nil && next.Step == events.StepStepDown && next.Undo && next.Node == l.node && next.Inc == l.inc {
		return
	}
	c.broke(Steps, "migration %s: %s on %s is ordered after %s: neither a repetition nor a way back", m.Migration, next.Step, next.Node, said(m.order))
}

// pool holds the order to stop a source against the members that serve.
func (c *Checker) pool(e *events.Event, m *move, next *events.Next) {
	a := c.now.app(m.App)
	if a.singleton() || m.Kind() != events.KindMove || next == nil || next.Step != events.StepStop {
		return
	}
	d, is := e.Data.(*events.StepCompleted)
	if m.target || is && d.Step == events.StepStart {
		return // its target has been healthy: it takes the place
	}
	serving := 0
	for _, in := range a.instances {
		if in.healthy {
			serving++
		}
	}
	if in := a.instances[m.Instance]; in != nil && in.healthy && serving-1 < min(a.desired(), serving) {
		c.broke(Pools, "migration %s stops %s on %s before it is healthy on %s: %d of %d members are left", m.Migration, m.Instance, m.From, m.To, serving-1, a.desired())
	}
}

// remember keeps what later events are held against.
func (c *Checker) remember(e *events.Event) {
	c.term(e)
	c.lostStay(e)
	ref, next, ok := about(e.Data)
	if !ok {
		return
	}
	switch e.Data.(type) {
	case *events.MigrationCompleted, *events.MigrationFailed:
		c.ended[ref.Migration] = e.Seq
		delete(c.done, ref.Migration)
	}
	c.orderedStay(e, ref, next)
}
