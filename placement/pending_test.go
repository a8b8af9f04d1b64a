package placement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// What has left is not among the nodes that were looked at, in words and in figures.
func TestPendingCountsNodesThatAreThere(t *testing.T) {
	s := newScene()
	for _, line := range []string{"node n1 zone=a", "node n2 zone=b", "node n3 zone=c", "app db singleton require=role=a", "app calc singleton on_isolation=continue", "run calc-0 n1", "lost n1"} {
		if err := s.do(strings.Fields(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	s.add(events.Node("n3"), &events.NodeLeft{Node: "n3", Inc: "n3/1"})
	plan := Make(s.v, nil, s.now)
	if len(plan.Pending) != 2 {
		t.Fatalf("%+v", plan.Pending)
	}
	for _, p := range plan.Pending {
		if p.Nodes != 2 || p.Code == PendingNoNode && !strings.Contains(p.Reason, fmt.Sprintf("none of %d nodes", p.Nodes)) {
			t.Errorf("%s: %d nodes: %s", p.App, p.Nodes, p.Reason)
		}
	}
}

// What somebody is to add is at least what lacks, and an amount that one can read.
func TestEnough(t *testing.T) {
	for amount, want := range map[string]string{"394746744Ki": "377Gi", "20Gi": "20Gi", "1Ti": "1Ti", "61440Mi": "60Gi", "20971521Ki": "20481Mi", "100": "100", "70000": "69Ki", "9223372036854775807": "9223372036854775807"} {
		var n spec.Bytes
		if err := n.UnmarshalText([]byte(amount)); err != nil {
			t.Fatal(err)
		}
		if got := enough(n); got.String() != want || got < n {
			t.Errorf("%s: %s, want %s", amount, got, want)
		}
	}
}
