package invariants

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Span is one life of a program, from the program's own point of view. Times are CLOCK_BOOTTIME, the same for all spans.
type Span struct {
	App, Instance, Node string
	Inc                 string // of the agent that started it; "" when it is not known
	Role                string // active or member
	Epoch               uint64 // of an active
	From, To            time.Duration
	Running             bool // To is not known yet
	Data                bool // it had a database, and began to write to it
	Lost                int  // acknowledged writes that the lives before left behind and it did not have when it began
}

// end returns when a life ended; one that goes on ends never.
func (s Span) end() time.Duration {
	if s.Running {
		return math.MaxInt64
	}
	return s.To
}

const (
	active = "active"
	member = "member"
)

// BootedAt says at which stored time the journals' clock was zero. Without it journals are not held against the times of the log.
func (c *Checker) BootedAt(t time.Time) { c.booted = t }

// Journal holds all lives of all apps against each other and against the log read so far.
func (c *Checker) Journal(spans []Span) []Violation {
	c.found, c.seq = nil, 0
	byApp := map[string][]Span{}
	for _, s := range spans {
		switch s.Role {
		case active:
			byApp[s.App] = append(byApp[s.App], s)
			c.mandate(s)
		case member:
			c.effect(s)
		default:
			c.broke(Effects, "%s: nothing orders a life as %s", s, or(s.Role, "nothing"))
		}
	}
	for _, app := range sorted(byApp) {
		c.succession(byApp[app])
		c.writes(app, byApp[app])
	}
	return c.found
}

// succession compares the active lives of one app.
func (c *Checker) succession(lives []Span) {
	slices.SortStableFunc(lives, func(x, y Span) int { return cmp.Compare(x.From, y.From) })
	for i, s := range lives[1:] {
		before := slices.MaxFunc(lives[:i+1], func(x, y Span) int { return cmp.Compare(x.Epoch, y.Epoch) })
		switch {
		case s.Epoch < before.Epoch:
			c.broke(Succession, "%s begins after %s", s, before)
		case s.Epoch == before.Epoch && s.Node != before.Node:
			c.broke(Succession, "%s has the epoch of %s", s, before)
		}
		if longest := slices.MaxFunc(lives[:i+1], func(x, y Span) int { return cmp.Compare(x.end(), y.end()) }); s.From < longest.end() {
			c.broke(Alone, "%s begins during %s", s, longest)
		}
	}
}

// writes wants what a life begins without to have been said by a grant since the life before. It is given them in order.
func (c *Checker) writes(name string, lives []Span) {
	var before uint64
	for _, s := range lives {
		if !s.Data {
			continue
		}
		said := slices.ContainsFunc(c.terms[name], func(t *term) bool { return t.epoch > before && t.epoch <= s.Epoch && t.lossy })
		if s.Lost > 0 && !said {
			c.broke(Writes, "%s begins without %d acknowledged writes, and no grant after epoch %d says so", s, s.Lost, before)
		}
		before = s.Epoch
	}
}

// mandate holds an active life against its epoch.
func (c *Checker) mandate(s Span) {
	terms := c.terms[s.App]
	i := slices.IndexFunc(terms, func(t *term) bool { return t.epoch == s.Epoch })
	switch {
	case i < 0:
		c.broke(Mandates, "%s: the epoch was never granted", s)
		return
	case terms[i].node != s.Node || s.Inc != "" && s.Inc != terms[i].inc:
		c.broke(Mandates, "%s: the epoch was granted to %s (%s)", s, terms[i].node, terms[i].inc)
		return
	case terms[i].activated.IsZero():
		c.broke(Mandates, "%s: the epoch was never activated", s)
		return
	case c.booted.IsZero():
		return
	}
	t := terms[i]
	if at := t.activated.Sub(c.booted); s.From < at {
		c.broke(Mandates, "%s begins %s before its epoch is activated", s, at-s.From)
	}
	if t.ended.IsZero() {
		return
	}
	if at := t.ended.Sub(c.booted); s.end() > at {
		c.broke(Mandates, "%s runs after %s, when %s", s, at, t.how)
	}
}

// String returns "db-0 on n1, epoch 3, 1h0m5s to 1h2m".
func (s Span) String() string {
	out := s.Instance + " on " + s.Node
	if s.Role == active {
		out += fmt.Sprintf(", epoch %d", s.Epoch)
	}
	out += ", " + s.From.String() + " to "
	if s.Running {
		return out + "now"
	}
	return out + s.To.String()
}
