package events

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// What reading one message of the log takes: an event of a move.
func BenchmarkDecode(b *testing.B) {
	ref := Ref{Migration: "m-17-4", Instance: "app-4-0", FromNode: "node-1", ToNode: "node-2", Reason: ReasonLabelChange, Trigger: TriggerAutomatic}
	e := &Event{TS: time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC), Type: "placement.step.completed", V: 1, Rev: 42, App: "app-4", Node: "node-2", Actor: "migrator",
		Cause: "0123456789abcdef0123", Correlation: "0123456789abcdef0123", Prev: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Stream: "0123456789abcdef",
		Aggregate: App("app-4"), Target: "node-2", Data: &StepCompleted{Ref: ref, Step: StepPrepare, Node: "node-2", OrderSeq: 1234, TookMS: 3, Result: &Result{Address: "10.0.0.1", TookMS: 3},
			Next: &Next{Step: StepStepDown, Node: "node-1", Inc: "machine-1.boot.1", Timeout: spec.Duration(time.Minute)}}}
	e.ID = deriveID(e.Aggregate, e.Rev, e.Type, e.Cause, e.Target)
	raw, err := encode(e)
	if err != nil {
		b.Fatal(err)
	}
	s, err := NewSubjects("bench")
	if err != nil {
		b.Fatal(err)
	}
	subject := s.Event(e.Aggregate, e.Type, e.Target)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	d := reader()
	for b.Loop() {
		var e Event
		if err := d.decode(&e, subject, 1, e.TS, raw); err != nil {
			b.Fatal(err)
		}
	}
}
