package planner_test

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Nothing timed is decided while nobody knows what time it is; everything else is, and what is due is decided as soon as it is known.
func TestNothingTimedWithoutAClock(t *testing.T) {
	quiet(t, map[string]string{"n1": "role=a", "n2": "role=b", "n3": "role=c"}, func(t *testing.T, w *world) {
		w.place(singleton("one", "role=a"), singleton("two", "role=b"), singleton("three", "role=c"))
		ten := spec.Duration(10 * time.Second)
		fails := w.drain(api.DrainRequest{Nodes: []string{"n1"}, Timeout: ten}).Order
		stops := w.drain(api.DrainRequest{Nodes: []string{"n2"}, Timeout: ten, Force: true}).Order
		evacuation := w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "role=c", Timeout: ten}).Order
		w.Pass(10 * time.Minute)
		w.label("n3", "role=c,seen=later") // the fold's own time is behind the deadlines now, and planned on
		w.Pass(time.Minute)
		for _, order := range []string{fails, stops, evacuation} {
			same(t, order, w.status(order).State, api.OrderOpen)
		}
		same(t, "admitted for a drain", w.admittedFor(stops), 0)

		w.Beat(t)
		w.Until(t, "everything that is due is done", func(v *projections.Cluster) bool {
			return v.Drains[fails].State == api.OrderFailed && v.Drains[stops].State == api.OrderCompleted && v.Evacuations[evacuation].State == api.OrderFailed
		})
		same(t, "admitted for a drain", w.admittedFor(stops), 1)
	})
}

func (w *world) admittedFor(order string) (n int) {
	w.Replica.View(func(v *projections.Cluster) {
		for _, m := range v.Migrations {
			if m.Orderer == order {
				n++
			}
		}
	})
	return n
}

// A node where an app has failed is tried again when its back-off is over, and not before.
func TestBackOff(t *testing.T) {
	run(t, map[string]string{"n1": ""}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		before := stored[events.PlanAdmitted](w)
		for range 4 { // 1, 2, 4 and 8 s
			w.put(events.App("db"), &events.InstanceFailed{Instance: "db-0", Node: "n1", Detail: "exit status 1"})
			w.Until(t, "it is tried again", func(v *projections.Cluster) bool {
				return len(v.Apps["db"].Open) == 0 && v.Apps["db"].Instances["db-0"].Healthy
			})
		}
		same(t, "tries", stored[events.PlanAdmitted](w)-before, 4)
		failed := time.Now()
		w.put(events.App("db"), &events.InstanceFailed{Instance: "db-0", Node: "n1", Detail: "exit status 1"})
		w.Until(t, "it is tried again", func(v *projections.Cluster) bool {
			return len(v.Apps["db"].Open) == 0 && v.Apps["db"].Instances["db-0"].Healthy
		})
		if took := time.Since(failed); took < 16*time.Second || took > 18*time.Second {
			t.Errorf("tried again after %s, want 16 s", took)
		}
	})
}
