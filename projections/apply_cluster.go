package projections

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

func (c *Cluster) applyCluster(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		for _, mv := range d.Moves {
			c.admit(e, d, mv)
		}
	case *events.PolicyUpdated:
		c.Policy, c.PolicyHash, c.PolicyBy, c.PolicyDecl = d.Policy.WithDefaults(), d.Hash, causeOf(e), d.Declared
		if d.Declared == "" {
			c.PolicySet = causeOf(e)
		}
	case *events.MovesFrozen:
		c.Frozen[d.Source] = cmp.Or(d.Why, "no reason given") // it stands in sentences
	case *events.MovesUnfrozen:
		delete(c.Frozen, d.Source)
	case *events.EvacuationStarted:
		sel, err := spec.ParseSelector(d.Selector)
		if err != nil {
			c.Quarantined[e.Aggregate] = "evacuation with a selector that does not parse: " + err.Error()
			return
		}
		ev := &Evacuation{Order: d.Order, Selector: sel, Text: d.Selector, Started: causeOf(e), State: stateOpen}
		if d.Timeout > 0 {
			ev.Deadline = e.Stored.Add(d.Timeout.D())
		}
		c.Evacuations[d.Order] = ev
	case *events.EvacuationCompleted:
		if ev := c.Evacuations[d.Order]; ev != nil {
			c.evacuated(ev, stateCompleted)
			ev.Left = d.Left
			if d.TimedOut {
				ev.State = stateFailed
			}
		}
	case *events.EvacuationCancelled:
		if ev := c.Evacuations[d.Order]; ev != nil {
			c.evacuated(ev, stateCancelled)
			ev.Ended = causeOf(e)
		}
	case *events.RebalanceTriggered:
		r := &Rebalance{RebalanceTriggered: *d, Started: causeOf(e), Admitted: map[string]string{}, Outcomes: map[string]string{}}
		c.Rebalances[d.Order] = r
		if len(d.Moves) == 0 {
			c.rebalanced(r)
		}
	case *events.RebalanceCompleted:
		if r := c.Rebalances[d.Order]; r != nil {
			c.rebalanced(r)
			r.Stopped, r.Ended = d.Stopped, causeOf(e)
		}
	}
}

func (c *Cluster) evacuated(ev *Evacuation, state string) {
	if ev.State == stateOpen {
		forget(c.Evacuations, &c.over.evacuations, ev.Order)
	}
	ev.State = state
}

func (c *Cluster) rebalanced(r *Rebalance) {
	if !r.Completed {
		forget(c.Rebalances, &c.over.rebalances, r.Order)
	}
	r.Completed = true
}

func (c *Cluster) admit(e *events.Event, p *events.PlanAdmitted, mv events.Move) {
	m := &Migration{Move: mv, Plan: p.Plan, Admitted: causeOf(e), Status: MigrationPlanned, Kind: mv.Kind(), Orderer: mv.Order}
	a := c.app(mv.App)
	if was := a.Proposals[mv.Instance]; was != nil && was.Migration == mv.Migration {
		m.History, m.Forgotten, m.Approval, m.Expires = was.History, was.Forgotten, was.Approval, was.Expires
		delete(a.Proposals, mv.Instance)
	} else if was != nil {
		c.drop(a, was, e, "superseded", "another move of it was admitted: "+mv.Migration)
	}
	m.note(e, "", "", "")
	c.Migrations[mv.Migration] = m
	a.Open[mv.Migration] = m
	if Counts(mv) {
		a.LastMove = e.Stored
		c.Admitted = append(c.Admitted, e.Stored)
		if len(c.Admitted) > 2*spec.MaxRate {
			c.Admitted = append([]time.Time(nil), c.Admitted[len(c.Admitted)-spec.MaxRate:]...)
		}
	}
	if r := c.Rebalances[mv.Order]; r != nil {
		r.Admitted[mv.Instance] = mv.Migration
		delete(r.Outcomes, mv.Instance)
	}
}

// note adds an event to a migration's history. Of a long one the first event and the latest are kept: a move may be held over and over
// before its first step, and what it does then is what is asked for.
func (m *Migration) note(e *events.Event, step, node, detail string) {
	if len(m.History) == keepHistory {
		m.History = slices.Delete(m.History, 1, 2)
		m.Forgotten++
	}
	if m.History == nil {
		m.History = make([]Happening, 0, mostHappen)
	}
	m.History = append(m.History, Happening{Seq: e.Seq, At: e.Stored, Event: e.Type, Step: step, Node: node, Detail: detail})
}
