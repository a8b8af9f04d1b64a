package projections

import "github.com/go-cluster/go-cluster/events"

// A move with Sync has two ends at which a commit is acknowledged only once it is stored, in its final phase: while the source is about to
// step down, and while the target has not stored its first copy yet. Agents and the fold of what may be lost ask here, so that they agree.

// SourceHolds says whether the source of the move holds commits back: from when it ships what the target is to have, for as long as the move
// may still go on to its step-down.
func (m *Migration) SourceHolds() bool {
	return m.holdsDuring(events.StepSync, events.StepCatchUp, events.StepStepDown)
}

// TargetHolds says whether the target of the move holds commits back: the step that has it begin ends with its first copy stored.
func (m *Migration) TargetHolds() bool { return m.holdsDuring(events.StepActivate) }

func (m *Migration) holdsDuring(steps ...events.Step) bool {
	if !m.Sync || m.Undoing || m.Order == nil {
		return false
	}
	for _, s := range steps {
		if m.Order.Step == s {
			return true
		}
	}
	return false
}

// stored notes that from the end of the source's sync on nothing is acknowledged that is not stored.
func (a *App) stored(m *Migration, r *events.Result) {
	if !m.Sync || r == nil || !r.Stored || a.Leader == nil || a.Leader.Ended || a.Leader.Inc != m.FromInc {
		return
	}
	a.Terms[0].Stored, _ = events.ParsePosition(r.Position)
}

// storedFrom notes that nothing is acknowledged under the epoch of a target that is not stored, from its first moment on.
func (a *App) storedFrom(m *Migration, d *events.LeadershipActivated) {
	if d.Stored && m.TargetHolds() && a.Leader != nil && a.Leader.Epoch == d.Epoch && a.Leader.Inc == m.ToInc {
		a.Terms[0].Stored = events.Position{Epoch: d.Epoch}
	}
}

// AllStored says whether whoever has all that is stored, which is p, has all that was acknowledged under the epoch: of one that was held back from its first
// moment on nothing need be stored, but what it began with is needed.
func (t Term) AllStored(p events.Position) bool {
	whole := t.Stored == events.Position{Epoch: t.Epoch}
	return t.Stored != (events.Position{}) && (p.Reached(t.Stored) || whole && t.From != (events.Position{}) && p.Reached(t.From))
}

// keepStored ends that with the final phase of the move, unless the epoch has ended before: then nothing was acknowledged under it since.
func (a *App) keepStored() {
	if a.Leader == nil || a.Leader.Ended || a.Terms[0].Stored == (events.Position{}) {
		return
	}
	for _, m := range a.Open {
		if m.SourceHolds() && m.FromInc == a.Leader.Inc || m.TargetHolds() && m.ToInc == a.Leader.Inc {
			return
		}
	}
	a.Terms[0].Stored = events.Position{}
}
