package placement

import (
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/spec"
)

// The planner of the cluster and the plan on a file read selectors alike, those with an absent key included: != and notin match one,
// as in Kubernetes.
func TestSelectorsAgreeWithTheFile(t *testing.T) {
	labels := []map[string]string{nil, {"zone": "a"}, {"zone": "b"}, {"zone": ""}, {"n": "3"}, {"n": "x", "zone": "a"}}
	for text, want := range map[string]string{ // by the labels above
		"zone=a": "-+---+", "zone==a": "-+---+", "zone!=a": "+-+++-", "zone in (a,b)": "-++--+", "zone notin (a,b)": "+--++-", "zone": "-+++-+", "!zone": "+---+-",
		"n>2": "----+-", "n<3": "------", "zone!=a,n": "----+-", "zone=": "---+--",
	} {
		for i, ls := range labels {
			s := newScene()
			s.add(events.Node("n1"), &events.NodeJoined{Node: "n1", Inc: "n1/1", Machine: "m", Facts: events.Facts{Address: "n1", Drivers: []string{"process"}, CPU: 1000, Memory: 1 << 30}})
			s.add(events.Node("n1"), &events.NodeLabelsUpdated{Node: "n1", After: ls})
			s.add(events.App("a"), &events.AppApplied{Spec: spec.App{Name: "a", Mode: spec.Singleton, Require: []string{text}, Process: &spec.Process{Command: []string{"x"}}}.WithDefaults(), SpecRev: 1, Generation: 1})
			takes := want[i] == '+'
			if live := len(Make(s.v, nil, s.now).Pending) == 0; live != takes {
				t.Errorf("%s on %v: the cluster says %v", text, ls, live)
			}
			p, err := model.Compile(State(s.v, nil, s.now))
			if err != nil {
				t.Fatal(err)
			}
			if file := len(engine.Compute(p, engine.Request{}).Pending) == 0; file != takes {
				t.Errorf("%s on %v: the file says %v", text, ls, file)
			}
		}
	}
}
