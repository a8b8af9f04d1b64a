package invariants

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// term is one epoch of an app. The times are those at which the log stored it.
type term struct {
	epoch     uint64
	node, inc string
	stays     bool // it may go on without a lease
	granted   time.Time
	activated time.Time
	ended     time.Time // reported, or its incarnation lost; zero while it may go on
	how       string
	lossy     bool // acknowledged writes of the epoch before may be missing
}

// epsilon is what the takeover wait has on top, and rounding what a stored duration may be short of.
const (
	epsilon  = 500 * time.Millisecond
	rounding = time.Millisecond
)

// waited holds the loss of a silent incarnation against the wait that makes it certain.
func (c *Checker) waited(d *events.NodeLost) {
	n := c.now.node(d.Node)
	if d.Reason != events.LostSilent || n.inc != d.Inc {
		return
	}
	if due := n.ttl + n.ttl/10 + epsilon; d.Waited.D()+rounding < due {
		c.broke(Epochs, "%s (%s) is lost after %s, its lease is certainly over after %s only", d.Node, d.Inc, d.Waited.D(), due)
	}
}

func (c *Checker) joined(e *events.Event, d *events.NodeJoined) {
	if n := c.now.nodes[d.Node]; n != nil && n.inc == d.Inc {
		c.broke(Facts, "incarnation %s of %s joins twice", d.Inc, d.Node)
	}
	for app, epoch := range d.Epochs {
		c.seen[app] = max(c.seen[app], epoch)
	}
}

// grant holds a grant against the epoch before and its holder.
func (c *Checker) grant(e *events.Event, m *move, d *events.LeadershipGranted) {
	if d.Epoch <= c.seen[m.App] {
		c.broke(Epochs, "%s is granted epoch %d of %s, and %d was seen before", d.Node, d.Epoch, m.App, c.seen[m.App])
	}
	c.seen[m.App] = max(c.seen[m.App], d.Epoch)
	if mode := c.now.app(m.App).spec.Mode; mode != spec.Singleton {
		c.broke(Epochs, "%s is granted epoch %d of %s, which is no singleton: its mode is %s", d.Node, d.Epoch, m.App, mode)
	}
	l := c.now.app(m.App).leader
	c.handover(m, l, d)
	if l == nil || l.ended || l.inc == d.Inc {
		return
	}
	// The report of the holder's step-down comes with the grant itself.
	if o := m.order; o != nil && o.seq == d.OrderSeq && o.Step == events.StepStepDown && o.Node == l.node && o.Inc == l.inc {
		return
	}
	c.broke(Epochs, "%s is granted epoch %d of %s, and epoch %d of %s (%s) has not ended", d.Node, d.Epoch, m.App, l.epoch, l.node, l.inc)
}

// handover holds what a planned move's target has applied against what its source left.
func (c *Checker) handover(m *move, l *leader, d *events.LeadershipGranted) {
	if d.Undo || m.Kind() != events.KindMove || !c.now.app(m.App).spec.Replicated() {
		return
	}
	o := m.order
	switch {
	case l != nil && o != nil && o.Step == events.StepStepDown && o.seq == d.OrderSeq && c.now.app(m.App).spec.Shared():
		if d.Result == nil || d.Result.Position == "" || d.Next == nil || d.Next.Position != d.Result.Position || d.Next.Checksum != d.Result.Checksum {
			c.broke(Handovers, "%s is granted epoch %d of %s, and is not told to apply first what epoch %d left", d.Node, d.Epoch, m.App, l.epoch)
		}
	case l == nil || l.left.Position == "":
		c.broke(Handovers, "%s is granted epoch %d of %s, and nobody said where the data of the one before end", d.Node, d.Epoch, m.App)
	case d.Result == nil || d.Result.Position != l.left.Position || d.Result.Checksum != l.left.Checksum:
		got := events.Result{}
		if d.Result != nil {
			got = *d.Result
		}
		c.broke(Handovers, "%s is granted epoch %d of %s with its data at %q (%s), and epoch %d left them at %q (%s)", d.Node, d.Epoch, m.App,
			got.Position, got.Checksum, l.epoch, l.left.Position, l.left.Checksum)
	}
}

func (c *Checker) activation(m *move, d *events.LeadershipActivated) {
	switch l := c.now.app(m.App).leader; {
	case l == nil || d.Epoch > l.epoch:
		c.broke(Activations, "epoch %d of %s is activated and was never granted", d.Epoch, m.App)
	case d.Epoch < l.epoch:
		c.broke(Activations, "epoch %d of %s is activated after %d was granted", d.Epoch, m.App, l.epoch)
	case l.node != d.Node || l.inc != d.Inc:
		c.broke(Activations, "epoch %d of %s is activated by %s (%s), granted it was to %s (%s)", d.Epoch, m.App, d.Node, d.Inc, l.node, l.inc)
	case l.activated:
		c.broke(Activations, "epoch %d of %s is activated twice", d.Epoch, m.App)
	}
}

// release wants an epoch to be given back by its holder. Where nobody held one it is 0.
func (c *Checker) release(e *events.Event, d *events.LeadershipReleased) {
	l := c.now.app(e.App).leader
	if d.Epoch == 0 && (l == nil || l.inc != d.Inc) {
		return
	}
	if l == nil || l.epoch != d.Epoch || l.node != d.Node || l.inc != d.Inc {
		c.broke(Activations, "%s (%s) gives epoch %d of %s back, which it does not hold", d.Node, d.Inc, d.Epoch, e.App)
	}
}

// term notes what journals are held against.
func (c *Checker) term(e *events.Event) {
	terms := c.terms[e.App]
	if d, ok := e.Data.(*events.NodeLost); ok {
		c.lost(e, d)
		return
	}
	if len(terms) > 0 {
		t := terms[len(terms)-1]
		end := func(node string, how string) {
			if t.node == node && t.ended.IsZero() {
				t.ended, t.how = e.Stored, how
			}
		}
		switch d := e.Data.(type) {
		case *events.LeadershipActivated:
			if t.epoch == d.Epoch && t.node == d.Node && t.activated.IsZero() {
				t.activated = e.Stored
			}
		case *events.LeadershipReleased:
			if t.epoch == d.Epoch {
				end(d.Node, "its end was reported")
			}
		case *events.StepCompleted:
			if d.Step == events.StepStepDown {
				end(d.Node, "its step-down was reported")
			}
		case *events.StepFailed:
			if d.Result != nil && d.Result.Released {
				end(d.Node, "its end was reported")
			}
		case *events.LeadershipGranted:
			if m := c.now.moves[d.Migration]; m != nil && m.order != nil && m.order.Step == events.StepStepDown && m.order.seq == d.OrderSeq {
				end(m.order.Node, "its step-down was reported")
			}
		}
	}
	if d, ok := e.Data.(*events.LeadershipGranted); ok {
		c.terms[e.App] = append(terms, &term{epoch: d.Epoch, node: d.Node, inc: d.Inc, stays: c.now.app(e.App).stays(), granted: e.Stored, lossy: d.DataLossPossible})
	}
}

// lost ends the terms of an incarnation.
func (c *Checker) lost(e *events.Event, d *events.NodeLost) {
	for _, terms := range c.terms {
		for _, t := range terms {
			if t.inc == d.Inc && t.ended.IsZero() && (d.Reason != events.LostSilent || d.Confirmed || !t.stays) {
				t.ended, t.how = e.Stored, "its node was lost ("+d.Reason+")"
			}
		}
	}
}
