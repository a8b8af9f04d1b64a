package invariants

import (
	"maps"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// fresh is how young something may be to have been unknown to whoever ended an order: the end of an order stands on another
// aggregate than the instances, so that no compare protects it.
const fresh = 5 * time.Second

// once wants the order to be a new one.
func (c *Checker) once(id string) {
	if at, known := c.orders[id]; known {
		c.broke(Facts, "order %s begins twice, first at %d", id, at)
	}
	c.orders[id] = c.seq
}

func (c *Checker) drain(e *events.Event) {
	id := e.Aggregate.ID
	n := c.now.node(id)
	ends := func(order string) {
		if n.drain != order {
			c.broke(Facts, "drain %s of %s ends, open is %s", order, id, or(n.drain, "none"))
		}
	}
	switch d := e.Data.(type) {
	case *events.DrainStarted:
		if c.once(d.Order); n.drain != "" {
			c.broke(Facts, "a drain of %s begins while %s is open", id, n.drain)
		}
	case *events.DrainFailed:
		ends(d.Order)
	case *events.DrainCancelled:
		ends(d.Order)
	case *events.DrainCompleted:
		ends(d.Order)
		for _, in := range c.now.on(id, func(in *instance) bool { return e.Stored.Sub(in.since) >= fresh }) {
			c.broke(Orders, "the drain of %s is complete, and %s is there", id, in)
		}
		for _, m := range sorted(c.now.moves) {
			if mv := c.now.moves[m]; mv.started && (mv.From == id || mv.To == id) && mv.admitted < c.orders[d.Order] {
				c.broke(Orders, "the drain of %s is complete, and migration %s of %s is open", id, m, mv.Instance)
			}
		}
	}
}

func (c *Checker) evacuation(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.EvacuationStarted:
		c.once(d.Order)
	case *events.EvacuationCancelled:
		if _, open := c.now.evacuations[d.Order]; !open {
			c.broke(Facts, "evacuation %s is cancelled and is not open", d.Order)
		}
	case *events.EvacuationCompleted:
		sel, open := c.now.evacuations[d.Order]
		if !open {
			c.broke(Facts, "evacuation %s ends and is not open", d.Order)
		}
		if !open || d.TimedOut {
			return
		}
		for _, id := range sorted(c.now.nodes) {
			n := c.now.nodes[id]
			if n.status == "left" || !sel.Matches(n.labels) || e.Stored.Sub(n.labelled) < fresh {
				continue
			}
			for _, in := range c.now.on(id, func(in *instance) bool { return e.Stored.Sub(in.since) >= fresh }) {
				c.broke(Orders, "evacuation %s is complete, and %s is on %s", d.Order, in, id)
			}
		}
	}
}

// ordered wants a move that belongs to a standing order to begin where the order stands.
func (c *Checker) ordered(m events.Move) {
	n := c.then.nodes[m.From]
	if m.Standby() && m.From == "" { // it is placed instead of one that leaves
		c.standsIn(m)
		return
	}
	switch m.Reason {
	case events.ReasonDrain:
		if n == nil || n.drain == "" || n.drain != m.Order {
			c.broke(Orders, "%s leaves %s for drain %s, which is not open there", m.Instance, m.From, or(m.Order, "(none)"))
		}
	case events.ReasonEvacuate:
		if sel, open := c.then.evacuations[m.Order]; !open || n == nil || !sel.Matches(n.labels) {
			c.broke(Orders, "%s leaves %s for evacuation %s, which is not open there", m.Instance, m.From, or(m.Order, "(none)"))
		}
	}
}

// standsIn wants a standby that is placed for a standing order to be so while that stands.
func (c *Checker) standsIn(m events.Move) {
	if m.Order == "" {
		return
	}
	_, open := c.then.evacuations[m.Order]
	for _, n := range c.then.nodes {
		open = open || n.drain == m.Order
	}
	if !open {
		c.broke(Orders, "%s is placed for order %s, which is not open", m.Instance, m.Order)
	}
}

// openOrders finds, at rest, orders that nothing keeps open.
func (c *Checker) openOrders() {
	for _, id := range sorted(c.now.nodes) {
		if n := c.now.nodes[id]; n.drain != "" && len(c.now.on(id, nil)) == 0 {
			c.broke(Orders, "drain %s of %s is open, and nothing is there", n.drain, id)
		}
	}
	for _, order := range sorted(c.now.evacuations) {
		left := 0
		for id, n := range c.now.nodes {
			if n.status != "left" && c.now.evacuations[order].Matches(n.labels) {
				left += len(c.now.on(id, nil))
			}
		}
		if left == 0 {
			c.broke(Orders, "evacuation %s is open, and nothing is left to move", order)
		}
	}
	for _, order := range sorted(c.now.rebalances) {
		c.broke(Orders, "rebalance %s is open", order)
	}
}

// labels wants a change to be told as it was: from what the node had to something else.
func (c *Checker) labels(e *events.Event, d *events.NodeLabelsUpdated) {
	if n := c.now.node(e.Aggregate.ID); !maps.Equal(n.labels, d.Before) {
		c.broke(Facts, "labels of %s change from %v, it has %v", d.Node, d.Before, n.labels)
	}
	if maps.Equal(d.Before, d.After) && d.Declared == nil {
		c.broke(Facts, "labels of %s change, and stay %v", d.Node, d.After)
	}
}

func (c *Checker) spec(e *events.Event) {
	a := c.now.app(e.Aggregate.ID)
	switch d := e.Data.(type) {
	case *events.PlacementUpdated:
		if a.removed || a.rev == 0 || d.SpecRev != a.rev+1 {
			c.broke(Facts, "%s gets new rules as revision %d, after %d (removed: %t)", e.App, d.SpecRev, a.rev, a.removed)
		}
	case *events.AppApplied:
		if d.SpecRev != a.rev+1 || d.Generation < a.generation {
			c.broke(Facts, "%s is declared as revision %d, generation %d, after %d, %d", e.App, d.SpecRev, d.Generation, a.rev, a.generation)
		}
	case *events.AppRestartRequested:
		if d.Generation != a.generation+1 {
			c.broke(Facts, "%s is to restart as generation %d after %d", e.App, d.Generation, a.generation)
		}
	case *events.AppRemoved:
		if a.removed || a.rev == 0 {
			c.broke(Facts, "%s is removed, and is not there", e.App)
		}
	}
}

func (c *Checker) freeze(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.MovesFrozen:
		if c.now.frozen[d.Source] {
			c.broke(Facts, "moves are frozen by %s, and were", d.Source)
		}
	case *events.MovesUnfrozen:
		if !c.now.frozen[d.Source] {
			c.broke(Facts, "moves are no longer frozen by %s, and were not", d.Source)
		}
	}
}

// rebalances is what the laws of balance look back on.
type rebalances struct {
	last  time.Time            // stored time of the newest one
	begun map[string]time.Time // open order → stored time
	moved map[string]shift     // instance → its last move for balance
}

type shift struct {
	order, from, to string
	at              time.Time // of the rebalance that asked for it
}

func newRebalances() rebalances {
	return rebalances{begun: map[string]time.Time{}, moved: map[string]shift{}}
}

func (c *Checker) triggered(e *events.Event, d *events.RebalanceTriggered) {
	c.once(d.Order)
	b := &c.balance
	if cooldown := c.now.policy.AutoRebalance.CooldownPeriod.D(); d.Trigger == events.TriggerAutomatic && !b.last.IsZero() && e.Stored.Sub(b.last) < cooldown {
		c.broke(Balance, "rebalance %s comes by itself %s after the one before, the cooldown is %s", d.Order, e.Stored.Sub(b.last), cooldown)
	}
	b.last, b.begun[d.Order] = e.Stored, e.Stored
}

func (c *Checker) rebalanced(d *events.RebalanceCompleted) {
	if !c.now.rebalances[d.Order] {
		c.broke(Facts, "rebalance %s ends and is not open", d.Order)
	}
	delete(c.balance.begun, d.Order)
}

// balanced holds a move that only evens out against the instance's last such move.
func (c *Checker) balanced(e *events.Event, m events.Move) {
	b := &c.balance
	if m.Class != events.ClassBalance {
		delete(b.moved, m.Instance)
		return
	}
	began, open := b.begun[m.Order]
	if !open {
		c.broke(Balance, "%s moves for rebalance %s, which is not open", m.Instance, or(m.Order, "(none)"))
	}
	was, again := b.moved[m.Instance]
	cooldown := c.now.policy.AutoRebalance.CooldownPeriod.D()
	switch {
	case again && was.order == m.Order:
		c.broke(Balance, "rebalance %s moves %s twice", m.Order, m.Instance)
	case again && m.Trigger == events.TriggerAutomatic && was.from == m.To && was.to == m.From && began.Sub(was.at) < cooldown:
		c.broke(Balance, "%s moves back to %s %s after it left, the cooldown is %s", m.Instance, m.To, began.Sub(was.at), cooldown)
	}
	b.moved[m.Instance] = shift{m.Order, m.From, m.To, began}
}
