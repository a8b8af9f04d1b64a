package projections

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// begin opens an epoch. What its leader begins with is what it has recovered or applied, or what it left itself, being asked to go on.
func (a *App) begin(d *events.LeadershipGranted, seq uint64, at time.Time) {
	t := Term{Epoch: d.Epoch, Node: d.Node, Inc: d.Inc, Granted: seq, Lossy: d.DataLossPossible, BoundMS: d.LossBoundMS}
	if d.Result != nil {
		t.From, _ = events.ParsePosition(d.Result.Position)
		t.FromSum = d.Result.Checksum
	}
	if len(a.Terms) > 0 {
		before := &a.Terms[0]
		if before.EndedAt.IsZero() {
			before.EndedAt = at
		}
		if a.Leader != nil && !a.Leader.Ended { // its own leader is granted this one: until that knows, it acknowledges at once again
			before.Stored = events.Position{}
		}
		switch {
		case d.Result != nil && t.From.Epoch == before.Epoch && before.Final == (events.Position{}) && before.Inc == d.Inc: // restarted in place
			before.Final, before.Checksum = t.From, d.Result.Checksum
		case t.From != (events.Position{}):
		case !before.Activated: // nobody has written since
			t.From, t.FromSum = before.From, before.FromSum
		case before.Node == d.Node:
			t.From, t.FromSum = before.Final, before.Checksum
		}
	}
	a.Terms = slices.Insert(a.Terms, 0, t)
	a.Terms = a.Terms[:min(len(a.Terms), keepTerms)]
	a.Leader = &Leader{Epoch: d.Epoch, Node: d.Node, Inc: d.Inc}
}

// leaves ends the epoch of a source whose report, by which it has stepped down, is in the grant to the target.
func (a *App) leaves(m *Migration, d *events.LeadershipGranted, at time.Time) {
	if m != nil && m.Kind == events.KindMove && !d.Undo && m.Order != nil && m.Order.Step == events.StepStepDown && a.Leader != nil && m.Order.Inc == a.Leader.Inc {
		a.endTerm(at, d.Result)
	}
}

// activate notes that the newest epoch's leader may write.
func (a *App) activate(epoch uint64) {
	if a.Leader == nil || a.Leader.Epoch != epoch {
		return
	}
	a.Leader.Activated = true
	a.Terms[0].Activated = true
}

// endTerm notes that the newest epoch is over, and where its leader says that it left the data.
func (a *App) endTerm(at time.Time, left *events.Result) {
	if a.Leader == nil {
		return
	}
	a.Leader.Ended = true
	t := &a.Terms[0]
	if t.EndedAt.IsZero() {
		t.EndedAt = at
	}
	if left != nil {
		if p, err := events.ParsePosition(left.Position); err == nil && p != (events.Position{}) {
			t.Final, t.Checksum = p, left.Checksum
		}
	}
}
