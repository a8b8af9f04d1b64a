package migrator

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// TestGrantNeedsTheEnd puts a holder into the log that no strategy can lead to: the grant itself still asks whether it has ended.
func TestGrantNeedsTheEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		ended bool
		want  string
	}{
		{"holds it", false, "failed stale, left nowhere rules leadership wakes a: b: epoch 5 has not ended there"},
		{"has ended it", true, "granted e6 a -> persist@a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.join("a", nil)
			w.join("b", nil)
			w.declare(spec.App{Name: "app", Mode: spec.Singleton})
			w.admit("m1", "app-0", "", "a", events.ReasonManual)
			w.settle()
			app := events.App("app")
			w.put(events.Draft{Aggregate: app, Data: &events.LeadershipGranted{Epoch: 5, Node: "b", Inc: w.inc("b")}})
			if c.ended {
				w.put(events.Draft{Aggregate: app, Data: &events.LeadershipReleased{Epoch: 5, Node: "b", Inc: w.inc("b")}})
			}
			e, why := w.report(w.answer(), "a")
			if why != "" || line(*e) != c.want {
				t.Errorf("got %q, want %q", line(*e)+why, c.want)
			}
		})
	}
}

// TestGrantExceedsWhatNodesHaveSeen: epochs survive what the log has forgotten, as after app remove; a node that joins tells the
// highest that it has seen.
func TestGrantExceedsWhatNodesHaveSeen(t *testing.T) {
	w := newWorld(t)
	w.join("a", nil)
	w.incs["b"]++
	w.nodeEvent("b", &events.NodeJoined{Node: "b", Inc: w.inc("b"), Machine: "machine-b", TTL: spec.Duration(10 * time.Second), Epochs: map[string]uint64{"app": 7},
		Facts: events.Facts{Address: "addr-b", CPU: 4000, Memory: 1 << 33, Drivers: []string{"process"}}})
	w.declare(spec.App{Name: "app", Mode: spec.Singleton})
	w.admit("m1", "app-0", "", "a", events.ReasonManual)
	w.settle()
	if e, why := w.report(w.answer(), "a"); why != "" || line(*e) != "granted e8 a -> persist@a" {
		t.Errorf("got %q", line(*e)+why)
	}
}

// TestStrategies holds the tables to what the decisions take for granted.
func TestStrategies(t *testing.T) {
	for r, steps := range strategies {
		for i, s := range steps {
			last := i == len(steps)-1
			switch {
			case s.Timeout == nil:
				t.Errorf("%v: %s has no timeout", r, s.Name)
			case find(steps, s.Name) != i:
				t.Errorf("%v: %s twice: an order names its step only", r, s.Name)
			case s.Ends == grants && (last || steps[i+1].Name != events.StepPersist || !s.Commit):
				t.Errorf("%v: %s grants, and persist does not follow, or it is no commit", r, s.Name)
			case s.Ends == activates && (last || steps[i+1].Name != events.StepActivate):
				t.Errorf("%v: %s activates, and activate does not follow", r, s.Name)
			case s.Ends == releases && !last:
				t.Errorf("%v: %s follows a release", r, steps[i+1].Name)
			case s.Undo == grantBack && s.On != source:
				t.Errorf("%v: %s: only the source is granted back", r, s.Name)
			case s.Insist && s.Attempts > 0:
				t.Errorf("%v: %s insists, and gives up after %d", r, s.Name, s.Attempts)
			}
		}
	}
}
