package planner

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

func long(format string, i int) string {
	s := fmt.Sprintf(format, i)
	return s + strings.Repeat("x", 60-len(s))
}

// crowded is a cluster in which each app may run on one node only, and each of the others refuses it by many rules.
func crowded(nodes, apps int) *projections.Cluster {
	v := projections.NewCluster("test")
	for i := range nodes {
		id := long("node-%d-", i)
		v.Nodes[id] = &projections.Node{ID: id, Status: projections.StatusReady, Inc: id + "/1", Labels: map[string]string{"slot": fmt.Sprint(i)},
			Facts: events.Facts{Address: id, CPU: 1 << 30, Memory: 1 << 50, Drivers: []string{"process"}}}
	}
	for i := range apps {
		name := long("app-%d-", i)
		a := spec.App{Name: name, Mode: spec.Singleton, Require: []string{fmt.Sprintf("slot=%d", i%nodes), fmt.Sprintf("slot in (%d)", i%nodes)},
			OnNodes: []string{long("node-%d-", i%nodes)}, Process: &spec.Process{Command: []string{"/bin/app"}}}
		v.Apps[name] = &projections.App{Name: name, Spec: a.WithDefaults(), SpecRev: 1, Generation: 1, Instances: map[string]*projections.Instance{},
			Open: map[string]*projections.Migration{}, Applied: projections.Cause{ID: "e1", Seq: 1, Correlation: "c1"}}
	}
	return v
}

// A plan of any size is admitted in events that the log takes, whole, without a move that is admitted twice.
func TestAdmissionsFit(t *testing.T) {
	v := crowded(60, 300)
	v.Policy.Migration.MaxConcurrent = 1000
	admitted, passes := map[string]bool{}, 0
	for {
		plan := placement.Make(v, nil, time.Time{})
		if len(plan.Moves) == 0 {
			break
		}
		todo, _ := decide(v, plan, v.SortedApps(), &declarations{}, time.Time{}, true)
		d := todo[0]
		b, err := json.Marshal(d.Data)
		if err != nil || len(b) > 512<<10 {
			t.Fatalf("an admission of %d bytes: %v", len(b), err)
		}
		moves := d.Data.(*events.PlanAdmitted).Moves
		for _, m := range moves {
			if admitted[m.Instance] || m.To == "" {
				t.Fatalf("%+v", m)
			}
			admitted[m.Instance] = true
		}
		if len(moves) < len(plan.Moves) && len(b) < 400<<10 {
			t.Errorf("only %d of %d moves in %d bytes", len(moves), len(plan.Moves), len(b))
		}
		typ, err := events.TypeOf(d.Data)
		if err != nil {
			t.Fatal(err)
		}
		passes++
		v.Apply(events.Message{Event: events.Event{ID: fmt.Sprint("e", passes), Type: typ, V: 1, Rev: d.head.Rev + 1, Prev: d.head.Hash, Seq: v.Seq + 1,
			Hash: fmt.Sprint("h", passes), Aggregate: d.Aggregate, Data: d.Data}})
	}
	if len(admitted) != 300 || passes < 2 {
		t.Errorf("%d moves in %d passes", len(admitted), passes)
	}
}

// What a single app has to explain fits too, however many rules it has.
func TestPendingFits(t *testing.T) {
	v := crowded(200, 1)
	for _, a := range v.Apps {
		a.Spec.OnNodes = nil
		for i := range 500 {
			a.Spec.Require = append(a.Spec.Require, fmt.Sprintf("%s=no", long("label-%d-", i)))
		}
	}
	todo, _ := decide(v, placement.Make(v, nil, time.Time{}), v.SortedApps(), &declarations{}, time.Time{}, true)
	if len(todo) != 1 {
		t.Fatalf("%d decisions", len(todo))
	}
	b, err := json.Marshal(todo[0].Data)
	d := todo[0].Data.(*events.PlacementInvalid)
	if err != nil || len(b) > 512<<10 || len(d.Rejections) < 500 || d.Nodes != 200 {
		t.Errorf("%d bytes, %d rejections of %d nodes: %v", len(b), len(d.Rejections), d.Nodes, err)
	}
}

func TestFirstNodes(t *testing.T) {
	var refused []events.Rejection
	for i := range 50 {
		for range 3 {
			refused = append(refused, events.Rejection{Node: fmt.Sprint("n", i), Detail: "no"})
		}
	}
	if got := firstNodes(refused); len(got) != maxNodes*3 {
		t.Errorf("%d rejections, want all three of %d nodes", len(got), maxNodes)
	}
	if got := firstNodes(refused[:6]); len(got) != 6 {
		t.Errorf("%d rejections of 6", len(got))
	}
}
