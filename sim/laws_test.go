package sim

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// judge holds a history against the laws that hold always, whatever happened.
func judge(t testing.TB, c *Cluster, r *runner) {
	t.Helper()
	log := c.Log()
	alone(t, c)
	outlived(t, c, log)
	chained(t, log)
	migrations(t, log)
	placements(t, log)
	bounded(t, c, r, log)
	replayed(t, c, log)
}

// outlived: nothing that a lease has to guard runs past the loss of its incarnation.
func outlived(t testing.TB, c *Cluster, log []events.Event) {
	t.Helper()
	for _, e := range log {
		d, ok := e.Data.(*events.NodeLost)
		if !ok {
			continue
		}
		at := e.Stored.Sub(c.start) + time.Hour // on the programs' clock
		for _, s := range c.Programs.Journal() {
			if s.Node == d.Node && (s.Fenced || d.Confirmed) && s.From < at && (s.To == 0 || s.To > at) {
				t.Errorf("%d: %s was lost (%s) at %s, and still ran %+v", e.Seq, d.Node, d.Reason, at, s)
			}
		}
	}
}

// chained: revisions have no gap, each event names its predecessor, and grants of an app only rise.
func chained(t testing.TB, log []events.Event) {
	t.Helper()
	heads := map[events.Aggregate]events.Head{}
	epochs := map[string]uint64{}
	for _, e := range log {
		if h := heads[e.Aggregate]; e.Rev != h.Rev+1 || e.Prev != h.Hash {
			t.Errorf("%d: %s of %s has revision %d after %d", e.Seq, e.Type, e.Aggregate, e.Rev, h.Rev)
		}
		heads[e.Aggregate] = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
		if g, ok := e.Data.(*events.LeadershipGranted); ok {
			if g.Epoch <= epochs[e.App] {
				t.Errorf("%d: %s was granted epoch %d after %d", e.Seq, e.App, g.Epoch, epochs[e.App])
			}
			epochs[e.App] = g.Epoch
		}
	}
}

// ref returns what a migration's event shares with its others.
func ref(data any) (events.Ref, bool) {
	v := reflect.ValueOf(data).Elem()
	if v.Kind() != reflect.Struct {
		return events.Ref{}, false
	}
	f := v.FieldByName("Ref")
	if !f.IsValid() {
		return events.Ref{}, false
	}
	r, ok := f.Interface().(events.Ref)
	return r, ok && r.Migration != ""
}

// migrations: each is admitted, started at most once, ended exactly once, and alone with what it moves.
func migrations(t testing.TB, log []events.Event) {
	t.Helper()
	type fate struct {
		admitted, started, ended uint64
		standby                  bool
	}
	fates := map[string]*fate{}
	running := map[string]string{} // object → migration
	mode := map[string]spec.Mode{}
	pending := map[string]bool{}
	for _, e := range log {
		switch d := e.Data.(type) {
		case *events.AppApplied:
			mode[e.App] = d.Spec.Mode
		case *events.PlacementInvalid:
			if pending[e.App] {
				t.Errorf("%d: %s is pending, again", e.Seq, e.App)
			}
			pending[e.App] = true
		case *events.PlacementSatisfied:
			if !pending[e.App] {
				t.Errorf("%d: %s is satisfied and was not pending", e.Seq, e.App)
			}
			pending[e.App] = false
		case *events.AppRemoved:
			pending[e.App] = false
		case *events.PlanAdmitted:
			for _, m := range d.Moves {
				if fates[m.Migration] != nil {
					t.Errorf("%d: %s is admitted twice", e.Seq, m.Migration)
				}
				fates[m.Migration] = &fate{admitted: e.Seq, standby: m.Standby()}
			}
		}
		m, is := ref(e.Data)
		if !is || proposal(e.Data) {
			continue
		}
		f := fates[m.Migration]
		if f == nil {
			t.Errorf("%d: %s of %s, which was never admitted", e.Seq, e.Type, m.Migration)
			f = &fate{}
			fates[m.Migration] = f
		}
		if f.ended > 0 {
			t.Errorf("%d: %s of %s, which ended at %d", e.Seq, e.Type, m.Migration, f.ended)
		}
		object := m.Instance
		switch {
		case f.standby: // a lock of its own: nobody who serves is touched
			object = e.App + ", standbys"
		case mode[e.App] == spec.Singleton:
			object = e.App
		}
		switch e.Data.(type) {
		case *events.MigrationStarted:
			if f.started > 0 || running[object] != "" {
				t.Errorf("%d: %s of %s starts, %d, while %q is open", e.Seq, m.Migration, object, f.started, running[object])
			}
			f.started, running[object] = e.Seq, m.Migration
		case *events.MigrationCompleted, *events.MigrationFailed:
			f.ended = e.Seq
			if running[object] == m.Migration {
				delete(running, object)
			}
		case *events.CancelRequested:
		default:
			if f.started == 0 {
				t.Errorf("%d: %s of %s, which has not started", e.Seq, e.Type, m.Migration)
			}
		}
	}
	for id, f := range fates {
		if f.ended == 0 {
			t.Errorf("%s, admitted at %d, never ended", id, f.admitted)
		}
	}
}

// proposal says whether an event is about a move that has not been admitted: it takes no place, and has no fate.
func proposal(data any) bool {
	switch data.(type) {
	case *events.MigrationPlanned, *events.MigrationHeld, *events.MigrationApproved, *events.MigrationDenied, *events.MigrationExpired, *events.MigrationCancelled:
		return true
	}
	return false
}

// slack is how long a decision may rest on a state of another aggregate that has changed.
const slack = 5 * time.Second

// placements folds the log step by step and looks at every state in between.
func placements(t testing.TB, log []events.Event) {
	t.Helper()
	later := map[uint64][]events.Event{} // admissions by the state that they were decided on
	for _, e := range log {
		if d, ok := e.Data.(*events.PlanAdmitted); ok {
			later[d.StateSeq] = append(later[d.StateSeq], e)
		}
	}
	v := projections.NewCluster("sim")
	for _, e := range log {
		switch d := e.Data.(type) {
		case *events.DrainCompleted:
			for _, in := range v.On(d.Node) {
				t.Errorf("%d: %s is drained, and %s is there", e.Seq, d.Node, in.ID)
			}
		case *events.PlanAdmitted:
			for _, m := range d.Moves {
				if m.Kind() == events.KindMove || m.Kind() == events.KindPlace {
					alreadyThere(t, v, e, m)
				}
			}
		case *events.MigrationStarted:
			if n := v.Nodes[d.ToNode]; d.Kind == events.KindMove || d.Kind == events.KindPlace {
				if n.Inc != d.ToInc {
					t.Errorf("%d: %s starts towards %s of %s, which is %s by now", e.Seq, d.Migration, d.ToInc, n.ID, n.Inc)
				}
				if n.Cordoned && e.Stored.Sub(n.Scheduled.At) > slack {
					t.Errorf("%d: %s starts towards %s, cordoned since %d", e.Seq, d.Migration, n.ID, n.Scheduled.Seq)
				}
			}
		}
		v.Apply(events.Message{Event: e})
		for agg, why := range v.Quarantined {
			t.Fatalf("%d: %s is quarantined: %s", e.Seq, agg, why)
		}
		for _, a := range v.Apps {
			on := map[string]string{}
			for id, in := range a.Instances {
				if other := on[in.Node]; other != "" {
					t.Errorf("%d (%s): %s and %s are both on %s", e.Seq, e.Type, other, id, in.Node)
				}
				on[in.Node] = id
			}
		}
		for _, e := range later[v.Seq] {
			eligible(t, v, e)
		}
	}
}

// alreadyThere: no admission sends an instance of an app where one of it is, or is about to be.
func alreadyThere(t testing.TB, v *projections.Cluster, e events.Event, m events.Move) {
	t.Helper()
	a := v.Apps[m.App]
	for id, in := range a.Instances {
		if id != m.Instance && in.Node == m.To {
			t.Errorf("%d: %s is admitted to %s, where %s is", e.Seq, m.Instance, m.To, id)
		}
	}
	for _, o := range a.Open {
		if o.Instance != m.Instance && o.To == m.To {
			t.Errorf("%d: %s is admitted to %s, where %s is on its way", e.Seq, m.Instance, m.To, o.Instance)
		}
	}
}

// eligible: by the state that an admission names, every target could be chosen.
func eligible(t testing.TB, v *projections.Cluster, e events.Event) {
	t.Helper()
	for _, m := range e.Data.(*events.PlanAdmitted).Moves {
		n, a := v.Nodes[m.To], v.Apps[m.App]
		if m.To == "" {
			continue
		}
		if n == nil || a == nil || n.Status != projections.StatusReady || n.Inc != m.ToInc || a.SpecRev != m.SpecRev {
			t.Errorf("%d: %s is admitted to %+v", e.Seq, m.Instance, n)
			continue
		}
		kind := m.Kind()
		if kind != events.KindInPlace && (n.Cordoned || n.Draining()) {
			t.Errorf("%d: %s is admitted to %s, cordoned %t, draining %t", e.Seq, m.Instance, n.ID, n.Cordoned, n.Draining())
		}
		for _, text := range a.Spec.Require {
			sel, err := spec.ParseSelector(text)
			if err != nil || !sel.Matches(n.Labels) {
				t.Errorf("%d: %s is admitted to %s, which has %v and not %s", e.Seq, m.Instance, n.ID, n.Labels, text)
			}
		}
		if m.Class == events.ClassRepair && a.Spec.Mode == spec.Replicas {
			if most := max(a.Spec.Migration.MaxParallel, 1); len(a.Open) >= most {
				t.Errorf("%d: %s is replaced while %d moves of %s are open, %d allowed", e.Seq, m.Instance, len(a.Open), a.Name, most)
			}
		}
		admitted := &projections.Migration{Move: m, Status: projections.MigrationPlanned, Kind: kind}
		for _, rej := range placement.Judge(v, admitted) {
			if rej.Code != events.RuleOccupied || !neighbourLeaves(v, m) {
				t.Logf("%d: %s is admitted to %s against %s: %s", e.Seq, m.Instance, n.ID, rej.Code, rej.Detail)
			}
		}
	}
}

func neighbourLeaves(v *projections.Cluster, m events.Move) bool {
	return slices.ContainsFunc(v.Apps[m.App].SortedOpen(), func(o *projections.Migration) bool { return o.From == m.To })
}

// bounded: nobody stores as fast as it can.
func bounded(t testing.TB, c *Cluster, r *runner, log []events.Event) {
	t.Helper()
	const most = 500 // programs that fail everywhere are tried everywhere, each time later
	perMinute := map[int]int{}
	for _, e := range log {
		perMinute[int(e.Stored.Sub(c.start)/time.Minute)]++
	}
	for minute, count := range perMinute {
		if count > most {
			t.Errorf("%d events in minute %d", count, minute)
		}
	}
	info, err := c.JS.Stream(t.Context(), c.Subjects.ReportsStream())
	if err != nil {
		t.Fatal(err)
	}
	if last := info.CachedInfo().State.LastSeq; last > uint64(len(log)) {
		t.Errorf("%d reports for %d events", last, len(log))
	}
}

// replayed: the fold of the log is the fold that the services live by.
func replayed(t testing.TB, c *Cluster, log []events.Event) {
	t.Helper()
	again := projections.NewCluster("sim")
	for _, e := range log {
		again.Apply(events.Message{Event: e})
	}
	for id, p := range c.replicas {
		p.base.Replica.View(func(v *projections.Cluster) {
			if v.Seq != again.Seq {
				t.Errorf("services %s have folded %d of %d events", id, v.Seq, again.Seq)
				return
			}
			if reflect.DeepEqual(again, v) {
				return
			}
			if d := cmp.Diff(again, v, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
				t.Errorf("services %s (+) and a replay of the log (-) differ:\n%s", id, d)
			}
		})
	}
}
