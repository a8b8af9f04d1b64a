package invariants

import (
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// stay is one time of a member on a node: from the order to start it there until the node itself has said that it is over. Within it a driver may start
// the program as often as it ends. What nobody reports ends no stay: a member that was given up somewhere runs on until its agent hears
// of it, and one whose node is silent runs on in isolation.
type stay struct {
	at, inc  string // instance@node, and the incarnation that was ordered
	from, to time.Time
}

func (s *stay) over() bool { return !s.to.IsZero() }

// orderedStay begins and ends stays by the orders of migrations and the answers to them.
func (c *Checker) orderedStay(e *events.Event, ref events.Ref, next *events.Next) {
	if m := c.now.moves[ref.Migration]; m != nil && m.order != nil && m.order.Step == events.StepStop && !m.Standby() {
		stopped := false
		switch d := e.Data.(type) {
		case *events.StepCompleted:
			stopped = d.OrderSeq == m.order.seq
		case *events.MigrationCompleted:
			stopped = d.Step == events.StepStop
		}
		if at := ref.Instance + "@" + m.order.Node; stopped {
			c.endStays(m.order.Inc, e.Stored, func(s *stay) bool { return s.at == at })
		}
	}
	if next == nil || next.Step != events.StepStart {
		return
	}
	at := ref.Instance + "@" + next.Node
	if slices.ContainsFunc(c.staying[next.Inc], func(s *stay) bool { return s.at == at }) {
		return
	}
	s := &stay{at: at, inc: next.Inc, from: e.Stored}
	c.stays[at], c.staying[s.inc] = append(c.stays[at], s), append(c.staying[s.inc], s)
}

// lostStay ends what a node no longer runs, by its own word or that of a person: its machine is off, or has stopped everything before it
// began anew.
func (c *Checker) lostStay(e *events.Event) {
	all := func(*stay) bool { return true }
	switch d := e.Data.(type) {
	case *events.NodeLost:
		if d.Reason != events.LostSilent || d.Confirmed {
			c.endStays(d.Inc, e.Stored, all)
		}
	case *events.NodeJoined:
		for _, inc := range sorted(c.staying) {
			if inc != d.Inc && strings.HasPrefix(inc, d.Machine+".") {
				c.endStays(inc, e.Stored, all)
			}
		}
	case *events.InstanceFailed:
		c.endStays(c.now.node(d.Node).inc, e.Stored, func(s *stay) bool { return s.at == d.Instance+"@"+d.Node })
	}
}

func (c *Checker) endStays(inc string, at time.Time, is func(*stay) bool) {
	for _, s := range c.staying[inc] {
		if is(s) {
			s.to = at
		}
	}
	if c.staying[inc] = slices.DeleteFunc(c.staying[inc], (*stay).over); len(c.staying[inc]) == 0 {
		delete(c.staying, inc)
	}
}

// effect wants a member's life to lie in one of its stays.
func (c *Checker) effect(s Span) {
	stays := c.stays[s.Instance+"@"+s.Node]
	switch {
	case len(stays) == 0:
		c.broke(Effects, "%s was never ordered", s)
		return
	case c.booted.IsZero():
		return
	}
	var last *stay // that begins before it does
	for _, st := range stays {
		if s.From < st.from.Sub(c.booted) || s.Inc != "" && s.Inc != st.inc {
			continue
		}
		if last = st; !st.over() || s.end() <= st.to.Sub(c.booted) {
			return
		}
	}
	switch {
	case last == nil:
		c.broke(Effects, "%s begins before %s, when it is ordered first", s, stays[0].from.Sub(c.booted))
	case s.From > last.to.Sub(c.booted):
		c.broke(Effects, "%s begins after %s, when its end is reported, and was not ordered again", s, last.to.Sub(c.booted))
	default:
		c.broke(Effects, "%s runs after %s, when its end is reported", s, last.to.Sub(c.booted))
	}
}
