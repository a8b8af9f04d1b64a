package invariants

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// history writes a log, one event a second.
type history struct {
	t     *testing.T
	log   []events.Message
	heads map[events.Aggregate]events.Head
}

var booted = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (h *history) store(agg events.Aggregate, cause string, data any) *events.Event {
	h.t.Helper()
	typ, err := events.TypeOf(data)
	if err != nil {
		h.t.Fatal(err)
	}
	seq, head := uint64(len(h.log)+1), h.heads[agg]
	e := events.Event{ID: fmt.Sprint("e-", seq), Type: typ, V: 1, Rev: head.Rev + 1, Prev: head.Hash, Cause: cause, Data: data, Aggregate: agg, Seq: seq,
		Stored: booted.Add(time.Duration(seq) * time.Second), Hash: fmt.Sprint("h-", seq)}
	if agg.Kind == events.KindApp {
		e.App = agg.ID
	}
	if _, next, ok := about(data); ok && next != nil {
		e.Target = next.Node
	}
	h.heads[agg] = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
	h.log = append(h.log, events.Message{Event: e})
	return &h.log[len(h.log)-1].Event
}

// Where the story of moved has its moments, in sequences, which are seconds, too.
const (
	placing  = 5 // the start on n1 is ordered
	moving   = 8 // the start on n2 is ordered
	stopping = 9 // and it was healthy: the stop on n1
	stopped  = 10
)

// moved is the log of a pool's member that is placed on n1 and then moved to n2.
func moved(t *testing.T) *history {
	h := &history{t: t, heads: map[events.Aggregate]events.Head{}}
	for _, n := range []string{"n1", "n2"} {
		h.store(events.Node(n), "", &events.NodeJoined{Node: n, Inc: n + ".boot.1", Machine: n, TTL: spec.Duration(30 * time.Second),
			Facts: events.Facts{CPU: 8000, Memory: 16 << 30, Drivers: []string{"process"}}})
	}
	one := 1
	web := spec.App{Name: "web", Mode: spec.Replicas, Replicas: &one, Process: &spec.Process{Command: []string{"/bin/app"}}}.WithDefaults()
	h.store(events.App("web"), "cmd:apply", &events.AppApplied{Spec: web, SpecRev: 1, Generation: 1})
	begin := func(cause string, m events.Move) {
		m.App, m.Instance, m.SpecRev, m.Cause = "web", "web-0", 1, cause
		admitted := h.store(events.Cluster("c"), cause, &events.PlanAdmitted{Plan: "p-" + m.Migration, Moves: []events.Move{m}, StateSeq: uint64(len(h.log))})
		h.store(events.App("web"), admitted.ID, &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind(), Plan: "p-" + m.Migration, SpecRev: 1, Generation: 1, FromInc: m.FromInc,
			ToInc: m.ToInc, Class: m.Class, Next: &events.Next{Step: events.StepStart, Node: m.To, Inc: m.ToInc}})
	}
	place := events.Move{Migration: "m-1", To: "n1", ToInc: "n1.boot.1", Reason: events.ReasonSpecUpdate, Trigger: events.TriggerAutomatic, Class: events.ClassRecovery}
	begin("e-3", place)
	place.App, place.Instance = "web", "web-0"
	h.store(events.App("web"), "rep:1", &events.MigrationCompleted{Ref: place.Ref(), Step: events.StepStart})
	move := events.Move{Migration: "m-2", From: "n1", FromInc: "n1.boot.1", To: "n2", ToInc: "n2.boot.1", Reason: events.ReasonManual, Trigger: events.TriggerManual, Class: events.ClassForced}
	begin("cmd:move", move)
	move.App, move.Instance = "web", "web-0"
	h.store(events.App("web"), "rep:2", &events.StepCompleted{Ref: move.Ref(), Step: events.StepStart, Node: "n2", OrderSeq: moving,
		Next: &events.Next{Step: events.StepStop, Node: "n1", Inc: "n1.boot.1"}})
	h.store(events.App("web"), "rep:3", &events.MigrationCompleted{Ref: move.Ref(), Step: events.StepStop})
	return h
}

// life of the member, in seconds; 0: it goes on.
func life(node string, from, to float64) Span {
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return Span{App: "web", Instance: "web-0", Node: node, Role: member, From: at(from), To: at(to), Running: to == 0}
}

// wants holds what a checker has found against the laws that should be broken.
func wants(t *testing.T, found []Violation, laws ...*Invariant) {
	t.Helper()
	var broken []*Invariant
	for _, v := range found {
		broken = append(broken, v.Invariant)
	}
	if !slices.Equal(broken, laws) {
		t.Errorf("found %v", found)
	}
}

// A member's life lies between an order to start it and what its node says of its end.
func TestEffects(t *testing.T) {
	on1, on2 := life("n1", placing+.1, stopping+.5), life("n2", moving+.1, 0)
	for name, c := range map[string]struct {
		more  func(h *history)
		lives []Span
		laws  []*Invariant
	}{
		"as ordered":                    {lives: []Span{on1, on2}},
		"started again by its driver":   {lives: []Span{life("n1", placing+.1, placing+1), life("n1", placing+2, stopping+.5), on2}},
		"before its order":              {lives: []Span{life("n1", placing-.1, stopping+.5), on2}, laws: []*Invariant{Effects}},
		"without an order":              {lives: []Span{on1, on2, life("n3", moving, 0)}, laws: []*Invariant{Effects}},
		"it runs on at the source":      {lives: []Span{life("n1", placing+.1, 600), on2}, laws: []*Invariant{Effects}},
		"it never ends at the source":   {lives: []Span{life("n1", placing+.1, 0), on2}, laws: []*Invariant{Effects}},
		"it begins anew at the source":  {lives: []Span{on1, life("n1", stopped+60, 0), on2}, laws: []*Invariant{Effects}},
		"silent, it runs on":            {more: lose(events.LostSilent), lives: []Span{on1, on2}},
		"its node has stopped it":       {more: lose(events.LostYielded), lives: []Span{on1, life("n2", moving+.1, stopped+.5)}},
		"its node says so, and it runs": {more: lose(events.LostYielded), lives: []Span{on1, on2}, laws: []*Invariant{Effects}},
		"in isolation, until its machine begins anew": {more: func(h *history) {
			lose(events.LostSilent)(h)
			h.store(events.Node("n2"), "lease:2", &events.NodeJoined{Node: "n2", Inc: "n2.boot.2", Machine: "n2"})
		}, lives: []Span{on1, on2}, laws: []*Invariant{Effects}},
		"its node gave it up, and it runs": {more: func(h *history) {
			h.store(events.App("web"), "lease:2", &events.InstanceFailed{Instance: "web-0", Node: "n2"})
		}, lives: []Span{on1, on2}, laws: []*Invariant{Effects}},
	} {
		t.Run(name, func(t *testing.T) {
			h := moved(t)
			if c.more != nil {
				c.more(h)
			}
			wants(t, Check(h.log, c.lives, booted), c.laws...)
		})
	}
}

func lose(reason string) func(*history) {
	return func(h *history) {
		h.store(events.Node("n2"), "lease:1", &events.NodeLost{Node: "n2", Inc: "n2.boot.1", Reason: reason, Waited: spec.Duration(time.Hour)})
	}
}

// A command has an event where it was told, not merely before that.
func TestAcks(t *testing.T) {
	c := New()
	for _, m := range moved(t).log {
		wants(t, c.Event(m))
	}
	wants(t, c.Acked("move", 7))
	for _, seq := range []uint64{1, 6, 8, 1 << 40} {
		wants(t, c.Acked("move", seq), Acks)
	}
	wants(t, c.Acked("another", 7), Acks)
}

// What is told of a damaged event is no breach of its own, nor is what follows from the damaged one.
func TestCausesOfTheDamaged(t *testing.T) {
	h := moved(t)
	bad := h.store(events.Node("n1"), "cmd:cordon", &events.NodeCordoned{Node: "n1"})
	bad.Rev++
	c := New()
	for _, m := range h.log[:len(h.log)-1] {
		wants(t, c.Event(m))
	}
	wants(t, c.Event(h.log[len(h.log)-1]), Revisions)
	told := h.store(events.Audit(events.Auditor), bad.ID, &events.InvariantViolated{Invariant: Revisions.Name, Seq: bad.Seq})
	wants(t, c.Event(events.Message{Event: *told}))
	wants(t, c.Acked("cordon", bad.Seq))
	unknown := h.store(events.Audit(events.Auditor), "e-100", &events.InvariantViolated{Invariant: Revisions.Name, Seq: 100})
	wants(t, c.Event(events.Message{Event: *unknown}), Causes)
}
