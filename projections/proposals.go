package projections

import (
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// A proposal is a move that is planned, or held by guardrails, and not admitted. It takes no place and no lock. It is kept with the
// migrations under the id that it will have, so that one history shows both; it is never in Open.

// Counts says whether a move counts for cooldown and rate limit: what leaves a node does, and what is brought back, but neither a
// first placement nor a restart in place, nor the end of what nobody wants any more.
func Counts(m events.Move) bool {
	if m.Standby() { // it takes nobody away who serves
		return false
	}
	switch m.Kind() {
	case events.KindMove:
		return true
	case events.KindPlace:
		return m.Class == events.ClassRecovery
	case events.KindStop:
		return m.Reason != events.ReasonScale && m.Reason != events.ReasonSpecUpdate
	}
	return false
}

// proposed notes what holds a move; another proposal of the same instance is over with it.
func (c *Cluster) proposed(a *App, e *events.Event, mv events.Move, holds []events.Hold) *Migration {
	m := a.Proposals[mv.Instance]
	if m != nil && m.Migration != mv.Migration {
		c.drop(a, m, e, "superseded", "another move of it is proposed: "+mv.Migration)
		m = nil
	}
	if m == nil {
		m = &Migration{Move: mv, Admitted: causeOf(e), Status: MigrationHeld, Kind: mv.Kind(), Orderer: mv.Order}
		a.Proposals[mv.Instance], c.Migrations[mv.Migration] = m, m
	}
	m.Holds = holds
	m.note(e, "", "", HoldsLine(holds))
	return m
}

func (c *Cluster) proposal(a *App, r events.Ref) *Migration {
	if m := a.Proposals[r.Instance]; m != nil && m.Migration == r.Migration {
		return m
	}
	return nil
}

// drop ends a proposal.
func (c *Cluster) drop(a *App, m *Migration, e *events.Event, code, detail string) {
	delete(a.Proposals, m.Instance)
	m.note(e, "", "", detail)
	c.close(a, m, e, MigrationCancelled, code, detail, "")
	m.Took = 0
}

// Until is when the last of some holds ends by time, zero when not all do.
func Until(holds []events.Hold) (until time.Time) {
	for _, h := range holds {
		if h.Until.IsZero() {
			return time.Time{}
		}
		if h.Until.After(until) {
			until = h.Until
		}
	}
	return until
}

// HoldsLine writes holds for people: "cooldown until 10:35: …; window until …".
func HoldsLine(holds []events.Hold) string {
	var parts []string
	for _, h := range holds {
		s := h.Rule
		if !h.Until.IsZero() {
			s += " until " + h.Until.UTC().Format(time.RFC3339)
		}
		parts = append(parts, s+": "+h.Detail)
	}
	return strings.Join(parts, "; ")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
