package planner

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// history is a log that several replicas of a planner append to, each on a fold that may be behind.
type history struct {
	log []events.Message
	now time.Time
}

func (h *history) fold(upTo int) *projections.Cluster {
	v := projections.NewCluster("test")
	for _, m := range h.log[:upTo] {
		v.Apply(m)
	}
	return v
}

// store appends what was decided on a fold, unless its aggregate has gone on since.
func (h *history) store(t *rapid.T, d events.Draft, on *projections.Cluster) bool {
	head, typ := on.Head(d.Aggregate), events.Type("")
	if head != h.fold(len(h.log)).Head(d.Aggregate) {
		return false
	}
	typ, err := events.TypeOf(d.Data)
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(len(h.log) + 1)
	h.log = append(h.log, events.Message{Event: events.Event{ID: fmt.Sprint("e", seq), Type: typ, V: 1, Rev: head.Rev + 1, Prev: head.Hash, Seq: seq, Stored: h.now,
		Hash: fmt.Sprint("h", seq), Aggregate: d.Aggregate, Cause: d.Cause, Correlation: fmt.Sprint("c", seq), Data: d.Data}})
	return true
}

func (h *history) put(t *rapid.T, agg events.Aggregate, data any) {
	h.store(t, events.Draft{Aggregate: agg, Data: data}, h.fold(len(h.log)))
}

// TestGuardedMovesKeepTheirRules: in no order of what people and nodes do, however far the replicas are behind, and though each
// decides with nothing but a fold of the log, is a move admitted outside of the rules that bind it; and what a lost node ran is
// held by none of them.
func TestGuardedMovesKeepTheirRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{now: time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)} // the night after, clocks are put forward in Berlin
		p := spec.Policy{Migration: spec.MigrationPolicy{MaxConcurrent: rapid.IntRange(1, 3).Draw(t, "concurrent")}}
		m := &p.Migration
		on := func(guardrail string) bool { return rapid.IntRange(0, 2).Draw(t, guardrail) == 0 } // few at once: one that is strict hides the others
		if on("cooldown") {
			m.CooldownPeriod = spec.Duration(30 * time.Minute)
		}
		if on("rate") {
			m.RateLimit = spec.Rate{Count: rapid.IntRange(1, 3).Draw(t, "count"), Window: spec.Duration(2 * time.Hour)}
		}
		if on("windows") {
			m.MaintenanceWindows = []spec.TimeWindow{{Start: "23:00", End: "02:30", Timezone: "Europe/Berlin"}}
		}
		m.RequireApproval = on("approval")
		p = p.WithDefaults()
		for i := range 4 {
			id := fmt.Sprint("n", i)
			h.put(t, events.Node(id), &events.NodeJoined{Node: id, Inc: id + "/1", Machine: id, Facts: events.Facts{Address: id, CPU: 8000, Memory: 8 << 30, Drivers: []string{"process"}}})
			h.put(t, events.Node(id), &events.NodeLabelsUpdated{Node: id, After: map[string]string{"role": "a"}})
		}
		h.put(t, events.Cluster("test"), &events.PolicyUpdated{Policy: p, Hash: "p"})
		for i := range 3 {
			a := spec.App{Name: fmt.Sprint("a", i), Mode: spec.Replicas, Replicas: new(2), Require: []string{"role=a"}, Process: &spec.Process{Command: []string{"/bin/true"}}}
			h.put(t, events.App(a.Name), &events.AppApplied{Spec: a.WithDefaults(), SpecRev: 1, Generation: 1})
		}
		for range rapid.IntRange(20, 80).Draw(t, "steps") {
			h.step(t, p)
		}
	})
}

func (h *history) step(t *rapid.T, p spec.Policy) {
	v := h.fold(len(h.log))
	node := fmt.Sprint("n", rapid.IntRange(0, 3).Draw(t, "node"))
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0:
		h.put(t, events.Node(node), &events.NodeLabelsUpdated{Node: node, After: map[string]string{"role": rapid.SampledFrom([]string{"a", "a", "b"}).Draw(t, "role")}})
	case 1:
		if v.Nodes[node].Drain == nil {
			h.put(t, events.Node(node), &events.DrainStarted{Node: node, Order: "d-" + node})
		} else {
			h.put(t, events.Node(node), &events.DrainCancelled{Node: node, Order: "d-" + node})
			h.put(t, events.Node(node), &events.NodeUncordoned{Node: node})
		}
	case 2:
		n := v.Nodes[node]
		if n.Status == projections.StatusLost {
			h.put(t, events.Node(node), &events.NodeJoined{Node: node, Inc: n.Inc + "+", Machine: node, Facts: n.Facts})
		} else {
			h.put(t, events.Node(node), &events.NodeLost{Node: node, Inc: n.Inc, Reason: events.LostSilent})
		}
	case 3, 4:
		h.now = h.now.Add(time.Duration(rapid.IntRange(1, 240).Draw(t, "minutes")) * time.Minute)
	case 5:
		for _, m := range v.SortedMigrations() {
			if m.Status == projections.MigrationHeld && m.Awaits {
				var data any = &events.MigrationApproved{Ref: m.Ref()}
				if rapid.Bool().Draw(t, "deny") {
					data = &events.MigrationDenied{Ref: m.Ref()}
				}
				h.put(t, events.App(m.App), data)
				break
			}
		}
	case 6:
		for _, m := range v.SortedMigrations() {
			if m.Status == projections.MigrationPlanned {
				h.put(t, events.App(m.App), &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: 1, Generation: 1, FromInc: m.FromInc, ToInc: m.ToInc})
				h.put(t, events.App(m.App), &events.MigrationCompleted{Ref: m.Ref()})
			}
		}
	default: // a replica with a fold that is behind, and nothing else
		at := max(len(h.log)-rapid.IntRange(0, 3).Draw(t, "behind"), 0)
		on := h.fold(at)
		all, _ := decide(on, placement.Make(on, nil, h.now), on.SortedApps(), &declarations{}, h.now, true)
		for _, d := range all {
			if h.store(t, d.Draft, on) {
				if plan, is := d.Data.(*events.PlanAdmitted); is {
					h.judge(t, p.Migration, plan, on)
				}
			}
		}
		h.recovers(t)
	}
}

// judge holds the newest admission against the log alone.
func (h *history) judge(t *rapid.T, p spec.MigrationPolicy, plan *events.PlanAdmitted, on *projections.Cluster) {
	open := 0
	for _, a := range on.Apps {
		for _, m := range a.Open {
			if m.Kind == events.KindMove {
				open++
			}
		}
	}
	for i, m := range plan.Moves {
		if m.Class == events.ClassRecovery || m.From == "" {
			continue
		}
		var earlier []events.Move
		var times []time.Time
		for _, e := range h.log[:len(h.log)-1] {
			if d, is := e.Event.Data.(*events.PlanAdmitted); is {
				for _, o := range d.Moves {
					earlier, times = append(earlier, o), append(times, e.Event.Stored)
				}
			}
		}
		for _, o := range plan.Moves[:i] {
			earlier, times = append(earlier, o), append(times, h.now)
		}
		recent := 0
		for j, o := range earlier {
			if o.From == "" && o.Class != events.ClassRecovery {
				continue
			}
			if p.CooldownPeriod > 0 && o.App == m.App && h.now.Sub(times[j]) < p.CooldownPeriod.D() {
				t.Fatalf("%s at %s: another move of %s at %s", m.Instance, h.now, m.App, times[j])
			}
			if h.now.Sub(times[j]) < p.RateLimit.Window.D() {
				recent++
			}
		}
		if p.RateLimit.Count > 0 && recent >= p.RateLimit.Count {
			t.Fatalf("%s at %s: %d moves in the window", m.Instance, h.now, recent)
		}
		if m.To != "" {
			if open++; open > p.MaxConcurrent {
				t.Fatalf("%s: %d under way", m.Instance, open)
			}
		}
		if m.Trigger == events.TriggerManual {
			continue
		}
		if len(p.MaintenanceWindows) > 0 && !spec.NextOpen(p.MaintenanceWindows, h.now).Equal(h.now) {
			t.Fatalf("%s at %s: outside of every window", m.Instance, h.now)
		}
		if p.RequireApproval && !h.approved(m) {
			t.Fatalf("%s %s → %s: not approved", m.Instance, m.From, m.To)
		}
	}
}

// approved says whether the log has a proposal of this very move, and an approval of it that holds.
func (h *history) approved(m events.Move) bool {
	var proposed *events.MigrationPlanned
	good := false
	for _, e := range h.log {
		switch d := e.Event.Data.(type) {
		case *events.MigrationPlanned:
			if d.Migration == m.Migration {
				proposed = d
			}
		case *events.MigrationApproved:
			good = good || d.Migration == m.Migration
		case *events.MigrationDenied:
			if d.Migration == m.Migration {
				return false
			}
		}
	}
	return good && proposed != nil && proposed.Move.To == m.To && proposed.Move.From == m.From && h.now.Before(proposed.Expires)
}

// recovers wants the plan to bring back as much as it would without guardrails.
func (h *history) recovers(t *rapid.T) {
	count := func(v *projections.Cluster) (n int) {
		for _, d := range placement.Make(v, nil, h.now).Moves {
			if d.Class == events.ClassRecovery {
				n++
			}
		}
		return n
	}
	with, without := h.fold(len(h.log)), h.fold(len(h.log))
	without.Policy = spec.Policy{}
	if a, b := count(with), count(without); a != b {
		t.Fatalf("%d instances are brought back, %d without guardrails", a, b)
	}
}
