package auditor

import (
	"reflect"
	"slices"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// routine are the types that an audit does not ask for: how a move goes step by step, health, what a node is, and that it waits.
var routine = []events.Type{
	"app.hook.answered", "node.facts.updated", "placement.instance.failed", "placement.instance.healthy", "placement.instance.stopped", "placement.instance.unhealthy",
	"placement.leadership.activated", "placement.leadership.granted", "placement.leadership.released", "placement.migration.held", "placement.plan.admitted",
	"placement.step.completed", "placement.step.failed", "placement.step.requested", "placement.step.timed_out",
}

// A new type is in an audit, or it is said here that it is not.
func TestEachTypeIsAuditedOrRoutine(t *testing.T) {
	for _, r := range events.Registry() {
		if audited[r.Type] == slices.Contains(routine, r.Type) {
			t.Errorf("%s: audited %t, routine %t", r.Type, audited[r.Type], !audited[r.Type])
		}
	}
	for typ := range audited {
		if !registered[typ] {
			t.Errorf("%s is audited, and no such type", typ)
		}
	}
}

// What is said of a migration, or of one that is proposed, concerns both of its nodes.
func TestEntriesConcernBothEnds(t *testing.T) {
	seen := 0
	for _, r := range events.Registry() {
		data := r.New()
		ref := reflect.ValueOf(data).Elem().FieldByName("Ref")
		if !ref.IsValid() {
			continue
		}
		seen++
		ref.Set(reflect.ValueOf(events.Ref{FromNode: "node-1", ToNode: "node-2"}))
		e := newEntry(events.Message{Event: events.Event{Type: r.Type, Data: data}, Raw: []byte("{}")})
		for _, node := range []string{"node-1", "node-2"} {
			if !e.concerns(filter{node: node}) {
				t.Errorf("%s does not concern %s", r.Type, node)
			}
		}
	}
	if seen == 0 {
		t.Error("no type has a Ref")
	}
}
