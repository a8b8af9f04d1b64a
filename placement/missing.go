package placement

import (
	"fmt"
	"strconv"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// missing places what should run and does not: lost, failed, never started, or asked for in addition.
func (p *planner) missing(a *projections.App) {
	if a.Spec.Mode == spec.Spread {
		p.everywhere(a)
		return
	}
	slots := missingSlots(a)
	if len(slots) == 0 || a.Spec.Mode == spec.Singleton && a.Leader != nil && !a.Leader.Ended {
		return // nothing to place, or its last holder has not ended: the migrator or the labeler will end it
	}
	field := p.field(a, "")
	for i, id := range slots {
		best := field.best(nil)
		if best == nil && p.awaits(a) {
			p.watch(a, forAnything)
			return // what it goes with is on its way
		}
		m := events.Move{App: a.Name, Instance: id, SpecRev: a.SpecRev, Trigger: events.TriggerAutomatic}
		p.whyWanted(a, &m)
		if best == nil {
			switch p.makeRoom(a, m) {
			case roomMade:
				field = p.field(a, "")
				best = field.best(nil)
			case roomComing:
				p.watch(a, forAnything)
				return
			}
		}
		if best == nil {
			p.pend(a, m, len(slots)-i, field.rejections(), field.later(), false)
			return
		}
		m.To, m.ToInc = best.node.ID, best.node.Inc
		p.whyNow(a, best.node, &m)
		if !p.decide(a, m, best.score, field) {
			return
		}
		field.taken(best.node.ID)
	}
}

// whyWanted fills in reason, class and cause of a placement.
func (p *planner) whyWanted(a *projections.App, m *events.Move) {
	set := func(reason string, class events.Class, by projections.Cause, why string) {
		m.Reason, m.Class, m.Cause, m.Correlation, m.Why = reason, class, by.ID, by.Correlation, why
	}
	switch end, ended := a.Ended[m.Instance]; {
	case ended:
		set(end.Reason, events.ClassRecovery, end.By, fmt.Sprintf("was on %s", end.Node))
	case a.Placed > 0 && a.ScaledFrom > 0:
		set(events.ReasonScale, events.ClassForced, a.Applied, "")
	default:
		set(events.ReasonSpecUpdate, events.ClassForced, a.Applied, "")
	}
}

// whyNow puts what made room after a time of waiting in the place of the cause: it is the true one.
func (p *planner) whyNow(a *projections.App, to *projections.Node, m *events.Move) {
	set := func(reason string, by projections.Cause, why string) {
		m.Reason, m.Cause, m.Correlation, m.Why = reason, by.ID, by.Correlation, why
	}
	if pd := a.Pending; pd != nil {
		switch {
		case to.Labelled.Seq > pd.By.Seq && to.Labelled.Seq >= to.Joined.Seq && to.Labelled.Seq >= a.Ruled.Seq:
			set(events.ReasonLabelChange, to.Labelled, "labels of "+to.ID+" made it eligible")
		case to.Joined.Seq > pd.By.Seq && to.Joined.Seq >= a.Ruled.Seq:
			set(events.ReasonNodeJoin, to.Joined, to.ID+" joined")
		case a.Ruled.Seq > pd.By.Seq:
			set(events.ReasonConstraintUpdate, a.Ruled, "the rules changed")
		}
	}
}

// missingSlots lists the instances that should exist and neither do nor are on their way, lowest slot first.
func missingSlots(a *projections.App) []string {
	if a.Spec.Mode != spec.Spread && len(a.Instances) >= a.Desired() {
		return nil
	}
	if a.Spec.Mode == spec.Spread { // how many there should be follows from the nodes
		if len(a.Instances)+len(a.Open) > 0 || a.Removed {
			return nil
		}
		return []string{a.Name}
	}
	var coming map[string]bool
	for _, m := range a.Open {
		if !m.Standby() && a.Instances[m.Instance] == nil {
			if coming == nil {
				coming = map[string]bool{}
			}
			coming[m.Instance] = true
		}
	}
	want := a.Desired() - len(a.Instances) - len(coming)
	var out []string
	id := append([]byte(a.Name), '-')
	name := len(id)
	for slot := 0; want > 0; slot++ {
		id = strconv.AppendInt(id[:name], int64(slot), 10)
		if a.Instances[string(id)] == nil && !coming[string(id)] {
			out = append(out, spec.InstanceID(a.Name, slot))
			want--
		}
	}
	return out
}
