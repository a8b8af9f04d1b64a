package placement

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// An instance counts once at each node that it is on, leaves or may come to. What is restarted and was ended meanwhile, as by a node that fenced
// its epoch, may come back to where it was: nobody who keeps away from it is placed there before its restart is over.
func TestOnTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		on, from, to string
		want         []string
	}{
		"a move":                              {"n1", "n1", "n2", []string{"n2"}},
		"a move that is at its target":        {"n2", "n1", "n2", []string{"n1"}},
		"a move of what has ended":            {"", "n1", "n2", []string{"n1", "n2"}},
		"a first place":                       {"", "", "n1", []string{"n1"}},
		"an end":                              {"n1", "n1", "", nil},
		"a restart":                           {"n1", "n1", "n1", nil},
		"a restart of what has ended by then": {"", "n1", "n1", []string{"n1"}},
	} {
		a := &projections.App{Name: "db", Instances: map[string]*projections.Instance{}}
		if c.on != "" {
			a.Instances["db-0"] = &projections.Instance{ID: "db-0", Node: c.on}
		}
		m := &projections.Migration{Move: events.Move{App: "db", Instance: "db-0", From: c.from, To: c.to}}
		if diff := cmp.Diff(c.want, onTheWay(a, m)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}
