package placement

import (
	"fmt"
	"slices"
	"testing"
)

// A node that runs no processes is no place to balance a process app to, and what stands there already need not leave for it.
func TestBalanceKnowsWhoRunsProcesses(t *testing.T) {
	s := newScene()
	say := func(words ...string) {
		t.Helper()
		if err := s.do(words); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		say("node", id, "cpu=64", "mem=64Gi")
	}
	for i := range 6 {
		say("app", fmt.Sprint("app", i), "singleton")
		say("run", fmt.Sprintf("app%d-0", i), "a")
	}
	s.v.Nodes["c"].Facts.Drivers = nil
	targets := func() (to []string) {
		for _, m := range Balance(s.v, nil).Moves {
			to = append(to, m.To)
		}
		return to
	}
	if to := targets(); !slices.Equal(to, []string{"b", "b", "b"}) {
		t.Errorf("moved to %v, want half of six to b and none to c", to)
	}
	for _, bound := range []string{"app0", "app1"} { // to where they stand, or to where no process runs
		s.v.Apps[bound].Spec.OnNodes = []string{"a", "c"}
	}
	for _, m := range Balance(s.v, nil).Moves {
		if m.To == "c" || m.App == "app0" || m.App == "app1" {
			t.Errorf("%s is moved to %s", m.App, m.To)
		}
	}
	say("app", "new", "singleton")
	s.v.Nodes["a"].Facts.Drivers, s.v.Nodes["c"].Facts.Drivers = nil, []string{"process"} // a cannot any more, and those there can stay
	for _, a := range live(s.v, s.now).Apps {
		if there := len(a.OnNodes) == 0 || slices.Contains(a.OnNodes, "a"); there != (a.Name != "new") {
			t.Errorf("%s may be on %v", a.Name, a.OnNodes)
		}
	}
}
