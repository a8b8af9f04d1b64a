package migrator

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// giveUp returns to the source, before the commit. Where the source may have stepped down it serves again only under a new
// epoch: the migration goes on until it does.
func (d *decision) giveUp() (*events.Draft, time.Time) {
	m, a := d.m, d.a
	switch {
	case !d.needsGrant():
		return d.failedFor(d.left())
	case d.gone():
		return d.failedFor(events.LeftNowhere)
	case a.Removed:
		return d.endRemoved()
	case ready(d.v, m.From, m.FromInc):
		return d.grant(source, true)
	case alive(d.v, m.From, m.FromInc):
		return nil, time.Time{} // its lease is closed: what becomes of it is in the log soon
	}
	return d.failedFor(d.left()) // lost, and continuing in isolation: nobody may be granted anything
}

// endRemoved gives a move up whose app was removed meanwhile: it is not started again only to be stopped.
func (d *decision) endRemoved() (*events.Draft, time.Time) {
	m := d.m
	switch r := d.in.Report; {
	case d.released():
		return d.failedFor(events.LeftNowhere)
	case r != nil && !r.Failed && r.Step == events.StepStepDown:
		return d.releasedBy(r, events.ReleasedStopped)
	case alive(d.v, m.From, m.FromInc):
		return d.requested("the app was removed", d.order(giveBack, m.From, m.FromInc, 0, true))
	}
	return d.failedFor(d.left())
}

// needsGrant says whether the source can serve on only under a new epoch.
func (d *decision) needsGrant() bool {
	m := d.m
	if m.From == "" || m.Standby() {
		return false
	}
	if l := d.a.Leader; l != nil && l.Inc == m.FromInc && l.Ended {
		return true
	}
	name := events.Step("")
	switch {
	case m.Order != nil:
		name = m.Order.Step
	case m.Failure != nil:
		name = m.Failure.Step
	}
	for _, s := range d.steps[:find(d.steps, name)+1] {
		if s.Undo == grantBack {
			return true
		}
	}
	return false
}

// released says whether the app's newest epoch has ended, so that the next grant needs no waiting.
func (d *decision) released() bool { return d.a.Leader == nil || d.a.Leader.Ended }

// mayGrant is the rule that keeps two nodes from serving at once: an epoch is granted only when the one before has ended, by
// its holder's own report or by the loss of exactly its incarnation, or to that same incarnation.
func (d *decision) mayGrant(inc string) bool {
	l := d.a.Leader
	if d.released() || l.Inc == inc {
		return true
	}
	r, o := d.in.Report, d.m.Order
	return r != nil && !r.Failed && o != nil && o.Step == events.StepStepDown && o.Inc == l.Inc && r.Inc == l.Inc
}

// restorable says whether the source can be granted the app again after the target has held it: it still runs under the same
// incarnation, its data are all there is, and the app may still be there. That it is cordoned, drained or evacuated does not count: serving where it was
// until another node is found is better than not serving.
func (d *decision) restorable() bool {
	m := d.m
	if m.Kind != events.KindMove || !ready(d.v, m.From, m.FromInc) || d.a.Leader != nil && d.a.Leader.Inc == m.FromInc {
		return false
	}
	if d.a.Spec.Replicated() && !d.a.Spec.Shared() && d.a.Leader != nil && d.a.Leader.Activated { // what was written since is not in the source's copy
		return false
	}
	back := *m
	back.Kind, back.From, back.FromInc, back.To, back.ToInc = events.KindInPlace, m.From, m.FromInc, m.From, m.FromInc
	for _, r := range d.judge(&back) {
		if r.Code != events.RuleFrozen { // a way back is no move
			return false
		}
	}
	return true
}

// epochAfterAll returns an epoch that exceeds every one that was granted or that a node has seen.
func epochAfterAll(v *projections.Cluster, a *projections.App) uint64 {
	e := a.Epoch
	for _, n := range v.Nodes {
		e = max(e, n.Epochs[a.Name])
	}
	return e + 1
}
