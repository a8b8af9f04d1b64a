package migrator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
)

// fataler is what the world needs of *testing.T and *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is a cluster without servers: a real fold, events put into it as the log would, and the migrator's decisions on it.
type world struct {
	t        fataler
	v        *projections.Cluster
	now      time.Time
	sure     bool
	incs     map[string]int
	leases   map[string]services.SeenLease
	last     *api.StepReport
	stored   []events.Event
	messages int         // events and reports
	roles    events.Move // role, keep and sync of the next admission
	written  uint64      // position of a replicated app's data in its epoch
}

func newWorld(t fataler) *world {
	return &world{t: t, v: projections.NewCluster("test"), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), sure: true,
		incs: map[string]int{}, leases: map[string]services.SeenLease{}}
}

// put stores a draft as the next event of its aggregate.
func (w *world) put(d events.Draft) events.Event {
	w.t.Helper()
	typ, err := events.TypeOf(d.Data)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	w.now = w.now.Add(time.Millisecond)
	head, seq := w.v.Head(d.Aggregate), w.v.Seq+1
	e := events.Event{ID: fmt.Sprintf("id-%d", seq), Type: typ, V: 1, App: d.App, Node: d.Node, Rev: head.Rev + 1, Actor: d.Actor, Cause: d.Cause,
		Correlation: d.Correlation, Prev: head.Hash, Data: d.Data, Aggregate: d.Aggregate, Target: d.Target, Seq: seq, Stored: w.now, Hash: fmt.Sprintf("hash-%d", seq)}
	w.v.Apply(events.Message{Event: e})
	if why, bad := w.v.Quarantined[d.Aggregate]; bad {
		w.t.Fatalf("%s: quarantined: %s", d.Aggregate, why)
	}
	w.stored = append(w.stored, e)
	w.messages++
	return e
}

func (w *world) nodeEvent(node string, data any) {
	w.put(events.Draft{Aggregate: events.Node(node), Node: node, Data: data})
}

func (w *world) inc(node string) string { return fmt.Sprintf("%s%d", node, w.incs[node]) }

func (w *world) join(node string, labels map[string]string) {
	w.incs[node]++
	w.nodeEvent(node, &events.NodeJoined{Node: node, Inc: w.inc(node), Machine: "machine-" + node, TTL: spec.Duration(10 * time.Second),
		Facts: events.Facts{Address: "addr-" + node, CPU: 4000, Memory: 1 << 33, Drivers: []string{"process"}}})
	if len(labels) > 0 {
		w.nodeEvent(node, &events.NodeLabelsUpdated{Node: node, After: labels})
	}
}

func (w *world) lose(node, reason string, confirmed bool) {
	if n := w.v.Nodes[node]; n.Status == projections.StatusReady {
		w.nodeEvent(node, &events.NodeSuspected{Node: node, Inc: n.Inc})
	}
	w.nodeEvent(node, &events.NodeLost{Node: node, Inc: w.v.Nodes[node].Inc, Reason: reason, Confirmed: confirmed})
}

func (w *world) declare(a spec.App) {
	a.Process = &spec.Process{Command: []string{"serve"}}
	if a.Mode == spec.Replicas && a.Replicas == nil {
		a.Replicas = new(3)
	}
	rev, gen := uint64(1), uint64(1)
	if old := w.v.Apps[a.Name]; old != nil {
		rev, gen = old.SpecRev+1, max(old.Generation, 1)
	}
	w.put(events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.AppApplied{Spec: a.WithDefaults(), SpecRev: rev, Generation: gen}})
}

func appOf(instance string) string { return instance[:strings.LastIndexByte(instance, '-')] }

// admit stores a plan with one move; "" or "-" is a missing end.
func (w *world) admit(id, instance, from, to string, reason string) *projections.Migration {
	m := events.Move{Migration: id, App: appOf(instance), Instance: instance, From: strings.Trim(from, "-"), To: strings.Trim(to, "-"), Reason: reason,
		Trigger: events.TriggerAutomatic, Class: events.ClassForced, Cause: "cause", Correlation: "first", Role: w.roles.Role, Keep: w.roles.Keep, Sync: w.roles.Sync}
	if a := w.v.Apps[m.App]; a != nil {
		m.SpecRev = a.SpecRev
		if s := a.Standbys[instance]; s != nil && m.Standby() {
			m.FromInc = s.Inc
		}
		if in := a.Instances[instance]; in != nil && in.Node == m.From {
			m.FromInc = in.Inc
		}
	}
	if n := w.v.Nodes[m.To]; n != nil {
		m.ToInc = n.Inc
	}
	w.put(events.Draft{Aggregate: events.Cluster("test"), Data: &events.PlanAdmitted{Plan: "plan-" + id, Moves: []events.Move{m}}})
	return w.v.Migrations[id]
}

// settle stores one decision after the other, as the service's loop would, and returns the events and when to wake.
func (w *world) settle() (out []events.Event, wake time.Time) {
	w.t.Helper()
	for range 100 {
		var d *events.Draft
		wake = time.Time{}
		for _, name := range slices.Sorted(maps.Keys(w.v.Apps)) {
			a := w.v.Apps[name]
			var due time.Time
			if d, due = nextOf(w.v, a, w.now, w.sure, placement.Judges(w.v)); d == nil {
				d = observe(w.v, a, w.leases, w.now, w.sure)
			}
			if d != nil {
				break
			}
			if !due.IsZero() && (wake.IsZero() || due.Before(wake)) {
				wake = due
			}
		}
		if d == nil {
			return out, wake
		}
		out = append(out, w.put(*d))
	}
	w.t.Fatalf("it decides without end; the latest: %s", line(out[len(out)-1]))
	return nil, wake
}

// order returns the open order of the running migration that has one.
func (w *world) order() (*projections.Migration, *projections.Order) {
	for _, m := range w.v.SortedMigrations() {
		if m.Status == projections.MigrationRunning && m.Order != nil {
			return m, m.Order
		}
	}
	return nil, nil
}

// answer makes the report of the open order's node on it.
func (w *world) answer() api.StepReport {
	w.t.Helper()
	m, o := w.order()
	if o == nil {
		w.t.Fatalf("no order is open")
	}
	r := api.StepReport{OrderSeq: o.Seq, Migration: m.Migration, App: m.App, Instance: m.Instance, Step: o.Step, Node: o.Node, Inc: o.Inc}
	if o.Step == events.StepStart || o.Step == events.StepActivate {
		r.Result = &events.Result{Ports: map[string]int{"http": 8000}}
	}
	if a := w.v.Apps[m.App]; a.Spec.Replicated() {
		w.written++
		at := func(p string) *events.Result { return &events.Result{Position: p, Checksum: "sum-" + p} }
		switch o.Step {
		case events.StepSync, events.StepStepDown: // the app has written on meanwhile
			r.Result = at(events.Position{Epoch: a.Leader.Epoch, Seq: w.written}.String())
			r.Result.Stored = m.Sync && o.Step == events.StepSync
		case events.StepCatchUp, events.StepApply:
			r.Result = at(o.Position)
		case events.StepPersist:
			r.Result = &events.Result{Stored: m.Sync}
		}
	}
	return r
}

// report brings a report in as Service.report does, and returns what was stored or, as a line, what else became of it.
func (w *world) report(r api.StepReport, subjectNode string) (*events.Event, string) {
	w.t.Helper()
	w.messages++
	w.last = &r
	m, is, why := judgeReport(w.v, &r, subjectNode)
	switch is {
	case refused:
		return nil, "refused: " + why
	case repeated:
		return nil, "repeated"
	}
	d, wake := Next(w.v, m, Input{Report: &r}, w.now, w.sure)
	if d == nil {
		if wake.IsZero() {
			return nil, "held back"
		}
		return nil, "held back for " + wake.Sub(w.now).Round(time.Second).String()
	}
	e := w.put(*d)
	return &e, ""
}

// run places an instance by a real migration whose every step succeeds.
func (w *world) run(instance, node string) {
	w.t.Helper()
	m := w.admit("placed-"+instance, instance, "", node, events.ReasonManual)
	w.settle()
	for range 5 {
		if m.Ended() {
			break
		}
		if _, why := w.report(w.answer(), m.Order.Node); why != "" {
			w.t.Fatalf("place %s on %s: %s", instance, node, why)
		}
		w.settle()
	}
	if m.Status != projections.MigrationCompleted {
		w.t.Fatalf("place %s on %s: %s %s", instance, node, m.Status, m.Detail)
	}
}

// line prints an event as scenarios show it.
func line(e events.Event) string {
	next := func(n *events.Next) string {
		if n == nil {
			return ""
		}
		s := fmt.Sprintf(" -> %s@%s", n.Step, n.Node)
		if n.Attempt > 0 {
			s += fmt.Sprintf(" #%d", n.Attempt)
		}
		if n.Undo {
			s += " undo"
		}
		if n.Position != "" {
			s += " to " + n.Position
		}
		if n.Node != e.Target {
			s += " addressed to " + e.Target + "!"
		}
		return s
	}
	optional := func(format, s string) string {
		if s == "" {
			return ""
		}
		return fmt.Sprintf(format, s)
	}
	switch d := e.Data.(type) {
	case *events.MigrationStarted:
		return "started" + next(d.Next)
	case *events.StepRequested:
		return "step.requested (" + d.Why + ")" + next(d.Next)
	case *events.StepCompleted:
		return fmt.Sprintf("step.completed %s@%s", d.Step, d.Node) + next(d.Next)
	case *events.StepFailed:
		return fmt.Sprintf("step.failed %s@%s %s: %s", d.Step, d.Node, d.Code, d.Detail) + next(d.Next)
	case *events.StepTimedOut:
		return fmt.Sprintf("step.timed_out %s@%s", d.Step, d.Node) + next(d.Next)
	case *events.LeadershipGranted:
		undo := ""
		if d.Undo {
			undo = " undo"
		}
		if d.DataLossPossible {
			undo += fmt.Sprintf(" (data loss possible, of %s)", time.Duration(d.LossBoundMS)*time.Millisecond)
		}
		return fmt.Sprintf("granted e%d %s%s", d.Epoch, d.Node, undo) + next(d.Next)
	case *events.LeadershipActivated:
		return fmt.Sprintf("activated e%d %s", d.Epoch, d.Node) + next(d.Next)
	case *events.LeadershipReleased:
		return fmt.Sprintf("released e%d %s %s", d.Epoch, d.Node, d.Why)
	case *events.MigrationCompleted:
		return "completed" + optional(" %s", string(d.Step)) + optional(" wakes %s", e.Target)
	case *events.MigrationFailed:
		var rules []string
		for _, r := range d.Rules {
			rules = append(rules, r.Code)
		}
		return fmt.Sprintf("failed %s, left %s", d.Code, d.Left) + optional(" bad %s", d.BadNode) + optional(" rules %s", strings.Join(rules, ",")) +
			optional(" wakes %s", e.Target) + ": " + d.Detail
	case *events.InstanceUnhealthy:
		return fmt.Sprintf("unhealthy %s@%s: %s", d.Instance, d.Node, d.Detail)
	case *events.InstanceHealthy:
		return fmt.Sprintf("healthy %s@%s", d.Instance, d.Node)
	case *events.InstanceFailed:
		return fmt.Sprintf("failed instance %s@%s: %s", d.Instance, d.Node, d.Detail)
	case *events.InstanceStopped:
		return fmt.Sprintf("stopped %s@%s: %s", d.Instance, d.Node, d.Detail)
	}
	return string(e.Type)
}

// state prints where an app's instances are and who holds its epoch.
func (w *world) state(app string) string {
	a := w.v.Apps[app]
	var out []string
	for _, in := range a.SortedInstances() {
		health := "healthy"
		if !in.Healthy {
			health = "unhealthy"
		}
		out = append(out, fmt.Sprintf("%s on %s %s %s", in.ID, in.Node, in.State, health))
	}
	if len(out) == 0 {
		out = []string{app + " nowhere"}
	}
	for _, s := range a.SortedStandbys() {
		out = append(out, fmt.Sprintf("standby %s on %s %s", s.ID, s.Node, s.State))
	}
	if l := a.Leader; l != nil {
		held := "held by"
		if l.Ended {
			held = "ended by"
		}
		out = append(out, fmt.Sprintf("e%d %s %s", l.Epoch, held, l.Inc))
	}
	return strings.Join(out, ", ")
}
