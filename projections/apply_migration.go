package projections

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// applyMigration folds what the migrator says of a migration and its effect on the instance it moves.
func (c *Cluster) applyMigration(a *App, e *events.Event) {
	switch d := e.Data.(type) {
	case *events.MigrationStarted:
		if m := a.Open[d.Migration]; m != nil {
			m.Status, m.Started, m.Generation = MigrationRunning, causeOf(e), d.Generation
			m.order(e, d.Next)
			m.note(e, stepOf(d.Next), nodeOf(d.Next), "")
			c.instanceBegins(a, m, e)
		}
	case *events.StepRequested:
		if m := a.Open[d.Migration]; m != nil {
			m.order(e, d.Next)
			m.note(e, stepOf(d.Next), nodeOf(d.Next), d.Why)
		}
	case *events.StepCompleted:
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, string(d.Step), d.Node, hookDetail(d.Result))
			c.stepDone(a, m, d, e)
			m.order(e, d.Next)
		}
	case *events.StepFailed:
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, string(d.Step), d.Node, d.Detail)
			if m.Failure == nil {
				m.Failure, m.BadNode = d, d.Node
			}
			if d.Result != nil && d.Result.Released && a.Leader != nil && a.Leader.Node == d.Node {
				a.endTerm(e.Stored, nil)
			}
			m.order(e, d.Next)
		}
	case *events.StepTimedOut:
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, string(d.Step), d.Node, "no report within its time")
			if m.Failure == nil {
				m.Failure = &events.StepFailed{Ref: d.Ref, Step: d.Step, Node: d.Node, OrderSeq: d.OrderSeq, Code: "step_timed_out",
					Detail: string(d.Step) + " on " + d.Node + ": no report within its time"}
				m.BadNode = d.Node
			}
			m.order(e, d.Next)
		}
	case *events.LeadershipGranted:
		a.Epoch = max(a.Epoch, d.Epoch)
		a.leaves(a.Open[d.Migration], d, e.Stored)
		a.begin(d, e.Seq, e.Stored)
		if n := c.Nodes[d.Node]; n != nil && n.Inc == d.Inc {
			a.Terms[0].Machine = n.Machine
		}
		if m := a.Open[d.Migration]; m != nil {
			back := ""
			if d.Undo {
				back = "back to the source"
			}
			m.note(e, "grant", d.Node, back)
			m.Granted = d.Epoch
			wasCommitted := m.Committed
			m.Committed = m.Committed || !d.Undo
			m.Undoing = d.Undo
			m.order(e, d.Next)
			c.promote(a, m, d.Node, e)
			in := c.place(a, m.Instance, d.Node, d.Inc, e)
			in.Role, in.State, in.Healthy = "active", "starting", false
			switch {
			case !d.Undo:
				m.Was = Definition{in.SpecRev, in.Generation, in.Put}
				in.Generation, in.SpecRev, in.Put = m.Generation, m.SpecRev, m.put(e)
			case wasCommitted:
				in.Generation, in.SpecRev, in.Put = m.Was.Generation, m.Was.SpecRev, m.Was.Put
			}
		}
	case *events.LeadershipActivated:
		a.activate(d.Epoch)
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, "activate", d.Node, "")
			m.order(e, d.Next)
			a.storedFrom(m, d)
		}
	case *events.LeadershipReleased:
		if a.Leader != nil && a.Leader.Epoch == d.Epoch {
			a.endTerm(e.Stored, d.Result)
		}
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, "release", d.Node, d.Why)
			m.order(e, nil)
			return
		}
		for id, in := range a.Instances {
			if in.Inc == d.Inc && in.Role == "active" {
				a.end(id, events.ReasonInstanceFailed, causeOf(e))
			}
		}
	case *events.MigrationCompleted:
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, string(d.Step), "", hookDetail(d.Result))
			delete(a.Vetoes, m.Instance)
			if runs(d.Step) {
				m.Result = orResult(d.Result, m.Result)
			}
			c.instanceArrives(a, m, e)
			c.close(a, m, e, MigrationCompleted, "", "", "")
			m.Told = time.Duration(d.DurationMS) * time.Millisecond
		}
	case *events.MigrationFailed:
		if m := a.Open[d.Migration]; m != nil {
			m.note(e, "", d.BadNode, d.Detail)
			if m.Status == MigrationRunning { // one that never started has not touched its instance, which may be anywhere by now
				c.instanceReturns(a, m, d, e)
			}
			a.veto(m, e.Stored)
			if d.BadNode != "" {
				a.backOff(d.BadNode, e.Stored, d.Detail)
			}
			if d.BadNode != "" && d.BadNode == m.From { // it could not leave, wherever to
				a.Vetoes[m.Instance] = Veto{Until: a.Backoff[d.BadNode].Until, Cause: m.Cause, Detail: d.Detail}
			}
			status := MigrationFailed
			if d.Code == "cancelled" {
				status = MigrationCancelled
			}
			c.close(a, m, e, status, d.Code, d.Detail, d.Left)
			m.Told = time.Duration(d.DurationMS) * time.Millisecond
		}
	case *events.MigrationPlanned:
		m := c.proposed(a, e, d.Move, d.Holds)
		m.Awaits, m.Expires = true, d.Expires
	case *events.MigrationHeld:
		m := c.proposed(a, e, d.Move, d.Holds)
		if m.Awaits && !slices.ContainsFunc(d.Holds, func(h events.Hold) bool { return h.Rule == events.HoldApproval }) { // nobody wants one any more
			m.Awaits, m.Expires = false, time.Time{}
		}
	case *events.MigrationApproved:
		if m := c.proposal(a, d.Ref); m != nil {
			m.Awaits, m.Approval = false, causeOf(e)
			m.note(e, "", "", d.Why)
		}
	case *events.MigrationDenied:
		if m := c.proposal(a, d.Ref); m != nil {
			a.Denied[m.Instance] = m.Cause
			c.drop(a, m, e, "denied", orElse(d.Why, "denied by "+e.Actor))
		} else if m := a.Open[d.Migration]; m != nil { // it was admitted while somebody thought about it
			a.Denied[m.Instance] = m.Cause
			m.DeniedBy = e.Actor
			m.note(e, "", "", d.Why)
		}
	case *events.MigrationExpired:
		if m := c.proposal(a, d.Ref); m != nil {
			c.drop(a, m, e, "expired", "its time for approval was up")
		}
	case *events.MigrationCancelled:
		if m := c.proposal(a, d.Ref); m != nil {
			c.drop(a, m, e, "cancelled", d.Why)
		}
	case *events.CancelRequested:
		if m := a.Open[d.Migration]; m != nil && m.Cancel == nil {
			m.Cancel = d
			m.note(e, "", "", d.Why)
		}
	}
}

func (m *Migration) order(e *events.Event, n *events.Next) {
	if n == nil {
		m.Order = nil
		return
	}
	m.Order = &Order{Next: *n, Seq: e.Seq, At: e.Stored, Deadline: e.Stored.Add(n.Timeout.D()), EventID: e.ID}
	if n.Undo {
		m.Undoing = true
	}
	if n.Step == events.StepStepDown && !n.Undo {
		m.GapOpened = true
	}
}

// instanceBegins shows the instance of a first placement, or of a stop, from the start of its migration on.
func (c *Cluster) instanceBegins(a *App, m *Migration, e *events.Event) {
	if m.Standby() {
		m.beginStandby(a, e)
		return
	}
	switch m.Kind {
	case events.KindPlace:
		in := c.place(a, m.Instance, m.To, m.ToInc, e)
		in.State, in.Generation, in.SpecRev, in.Put = "assigned", m.Generation, m.SpecRev, m.put(e)
	case events.KindStop:
		if in := a.Instances[m.Instance]; in != nil {
			in.State = "stopping"
		}
	}
}

func (c *Cluster) stepDone(a *App, m *Migration, d *events.StepCompleted, e *events.Event) {
	if runs(d.Step) {
		m.Result = orResult(d.Result, m.Result)
	}
	in := a.Instances[m.Instance]
	if m.Standby() {
		return
	}
	switch d.Step {
	case events.StepPrepare:
		if in != nil && m.Kind == events.KindPlace {
			in.State = "ready"
		}
	case events.StepSync:
		a.stored(m, d.Result)
	case events.StepStart:
		m.Committed = true
	case events.StepStepDown: // the copy elsewhere is still to be made what was left
		if a.Leader != nil && a.Leader.Inc == m.FromInc {
			a.endTerm(e.Stored, d.Result)
		}
	case events.StepActivate:
		if in != nil && in.Node == d.Node {
			in.State, in.Healthy = "running", true
			in.reached(c, d.Result)
		}
	}
}

// instanceArrives puts the instance where its completed migration took it.
func (c *Cluster) instanceArrives(a *App, m *Migration, e *events.Event) {
	if m.Standby() {
		m.endStandby(c, a, e, true)
		return
	}
	if m.Kind == events.KindStop {
		delete(a.Instances, m.Instance)
		delete(a.Ended, m.Instance)
		if a.Leader != nil && a.Leader.Inc == m.FromInc {
			a.endTerm(e.Stored, nil)
		}
		return
	}
	c.promote(a, m, m.To, e)
	in := c.place(a, m.Instance, m.To, m.ToInc, e)
	in.State, in.Healthy, in.Detail, in.Generation, in.SpecRev, in.MovedAt = "running", true, "", m.Generation, m.SpecRev, e.Stored
	in.Put = m.put(e)
	in.reached(c, m.Result)
	delete(a.Ended, m.Instance)
	a.Placed++
}

func (m *Migration) put(e *events.Event) Put {
	return Put{Migration: m.Migration, Admitted: m.Admitted, By: causeOf(e)}
}

func (in *Instance) reached(c *Cluster, r *events.Result) {
	if n := c.Nodes[in.Node]; n != nil {
		in.Address = n.Facts.Address
	}
	if r != nil && len(r.Ports) > 0 {
		in.Ports = r.Ports
	}
}

// instanceReturns puts the instance where a failed migration left it.
func (c *Cluster) instanceReturns(a *App, m *Migration, d *events.MigrationFailed, e *events.Event) {
	in := a.Instances[m.Instance]
	if m.Standby() {
		m.endStandby(c, a, e, false)
		return
	}
	switch d.Left {
	case events.LeftNowhere:
		if in != nil {
			reason := events.ReasonInstanceFailed
			if d.Code == "node_lost" {
				reason = events.ReasonNodeLost
			}
			if e0, ok := a.Ended[m.Instance]; ok && m.Kind == events.KindPlace {
				a.Ended[m.Instance] = e0 // a failed placement keeps the first reason for it
				delete(a.Instances, m.Instance)
			} else if m.Kind == events.KindPlace {
				delete(a.Instances, m.Instance)
			} else {
				a.end(m.Instance, reason, causeOf(e))
			}
		}
	case events.LeftAtTarget:
		c.instanceArrives(a, m, e)
	case events.LeftAtSource:
		if in != nil && m.From != "" && m.Kind != events.KindPlace {
			if in.State != "failed" || in.Node != m.From { // what failed there, and could not leave, has the reason for it still
				in.Health = causeOf(e)
			}
			c.beenOn(a, m.From)
			in.Node, in.Inc = m.From, m.FromInc
			if in.State == "stopping" || m.Granted > 0 {
				in.State, in.Healthy = "running", true
			}
		}
	}
}

// place returns the instance, made if need be, on the node.
func (c *Cluster) place(a *App, id, node, inc string, e *events.Event) *Instance {
	c.beenOn(a, node)
	in := a.Instances[id]
	if in == nil {
		in = &Instance{ID: id, App: a.Name}
		a.Instances[id] = in
	}
	if in.Node != node || in.Inc != inc {
		in.Ports, in.Address = nil, ""
	}
	in.Node, in.Inc, in.Since, in.Health = node, inc, e.Stored, causeOf(e)
	if in.Role = "member"; a.Spec.Mode == spec.Singleton {
		in.Role = "active"
	}
	return in
}

func (c *Cluster) close(a *App, m *Migration, e *events.Event, status, code, detail, left string) {
	m.Status, m.Code, m.Detail, m.Left, m.Order = status, code, detail, left, nil
	m.EndedAt, m.Took = e.Stored, e.Stored.Sub(m.Admitted.At)
	if m.Started.Seq > 0 {
		m.Took = e.Stored.Sub(m.Started.At)
	}
	delete(a.Open, m.Migration)
	c.tally(m)
	c.ended = append(c.ended, m.Migration)
	if len(c.ended) > keepEnded {
		delete(c.Migrations, c.ended[0])
		c.ended = c.ended[1:]
	}
}

// tally notes with its order that a migration has ended: of many, the order outlives what is remembered of each.
func (c *Cluster) tally(m *Migration) {
	left := m.Status == MigrationCompleted && m.From != ""
	if d := c.Drains[m.Orderer]; d != nil && left {
		d.Moved++
	}
	if ev := c.Evacuations[m.Orderer]; ev != nil && left {
		ev.Moved++
	}
	if r := c.Rebalances[m.Orderer]; r != nil && r.Admitted[m.Instance] == m.Migration {
		r.Outcomes[m.Instance] = m.Status
	}
}

func hookDetail(r *events.Result) string {
	if r == nil || r.Hook == nil {
		return ""
	}
	return "it does not count that the hook said: " + r.Hook.Detail
}

// runs says whether a step's result describes the instance where it is to run, rather than where it ends.
func runs(s events.Step) bool {
	return s == events.StepPrepare || s == events.StepStart || s == events.StepActivate
}

func orResult(a, b *events.Result) *events.Result {
	if a == nil || (a.Ports == nil && b != nil && b.Ports != nil) {
		return b
	}
	return a
}

func stepOf(n *events.Next) string {
	if n == nil {
		return ""
	}
	return string(n.Step)
}

func nodeOf(n *events.Next) string {
	if n == nil {
		return ""
	}
	return n.Node
}
