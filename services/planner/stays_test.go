package planner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Who waits for a drain is told of each instance why it is where it is, whatever the reason.
func TestDrainSaysWhyEachStays(t *testing.T) {
	run(t, map[string]string{"n1": "role=a,only=here", "n2": "role=b"}, func(t *testing.T, w *world) {
		w.place(singleton("moves", "role=a"), singleton("refuses", "role=a"), singleton("stuck", "only=here"))
		w.label("n2", "role=a")
		why := func(order, id string) string {
			for _, s := range w.status(order).Stays {
				if s.ID == id && s.Node == "n1" {
					return s.Why
				}
			}
			return ""
		}
		says := func(order, id, want string) {
			t.Helper()
			if got := why(order, id); !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", id, got, want)
			}
		}
		w.hold(true)
		w.ack(api.MovesFreeze, api.FreezeRequest{Meta: w.Meta(), Why: "change window"})
		order := w.drain(api.DrainRequest{Nodes: []string{"n1"}}).Order
		says(order, "moves-0", "its move n1 → n2 is held: frozen")
		says(order, "moves-0", "change window")
		w.ack(api.MovesUnfreeze, api.FreezeRequest{Meta: w.Meta()})
		w.open("moves")
		m := w.open("refuses")
		says(order, "moves-0", "its move n1 → n2 is under way")
		says(order, "stuck-0", "it has nowhere to go: ")

		app := events.App("refuses")
		w.put(app, &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: m.SpecRev, FromInc: m.FromInc, ToInc: m.ToInc, Order: m.Orderer})
		w.put(app, &events.StepFailed{Ref: m.Ref(), Step: events.StepMigrationStart, Node: "n1", Code: events.HookVetoed, Detail: "17 requests are under way",
			Result: &events.Result{Hook: &events.HookResult{Code: events.HookVetoed, RetryAfter: spec.Duration(time.Hour)}}})
		w.put(app, &events.MigrationFailed{Ref: m.Ref(), Code: events.HookVetoed, Detail: "17 requests are under way", Left: events.LeftAtSource})
		says(order, "refuses-0", "the next try is at ")
		says(order, "refuses-0", "17 requests are under way")
	})
}
