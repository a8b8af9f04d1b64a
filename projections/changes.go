package projections

import "github.com/go-cluster/go-cluster/events"

// Change is an app or a node that an event may have changed; without either, anything may be otherwise.
type Change struct {
	Seq       uint64
	App, Node string
}

// keepChanges is for how many changes somebody may be behind and still look at those alone.
const keepChanges = 1 << 14

// Changes lists what events after a sequence may have changed, in order and more than once; ok is false when that is not known any more.
func (c *Cluster) Changes(since uint64) (out []Change, ok bool) {
	if since < c.forgotten {
		return nil, false
	}
	at := len(c.changes)
	for at > 0 && c.changes[at-1].Seq > since {
		at--
	}
	return c.changes[at:], true
}

func (c *Cluster) changed(x Change) {
	x.Seq = c.Seq
	if c.changes = append(c.changes, x); len(c.changes) > 2*keepChanges {
		c.forgotten = c.changes[keepChanges-1].Seq
		c.changes = append([]Change(nil), c.changes[keepChanges:]...)
	}
}

// noteChange keeps what an event changed besides what is noted where nodes take apps with them.
func (c *Cluster) noteChange(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		for _, m := range d.Moves {
			c.changed(Change{App: m.App})
		}
	case *events.RebalanceTriggered, *events.RebalanceCompleted, *events.RequestRefused, *events.InvariantViolated:
	default:
		switch e.Aggregate.Kind {
		case events.KindApp:
			c.changed(Change{App: e.Aggregate.ID})
		case events.KindNode:
			c.changed(Change{Node: e.Aggregate.ID})
		default:
			c.changed(Change{})
		}
	}
}
