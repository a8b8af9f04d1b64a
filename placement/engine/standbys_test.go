package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// What becomes of a standby: it holds room that nobody takes who has another place; its own instance goes there first; and what has no other
// place takes the room.
func TestStandbys(t *testing.T) {
	const head = `
apps:
  - {name: db, mode: singleton, resources: {memory: 6Gi}}
  - {name: web, mode: replicas, replicas: %d, resources: {memory: 6Gi}}
instances: [{id: db-0, app: db, node: n1}]
standbys: [{id: db-1, app: db, node: n3, role: standby}]
nodes:
`
	node := func(id, rest string) string {
		return fmt.Sprintf("  - {id: %s, capacity: {memory: 8Gi}%s}\n", id, rest)
	}
	for name, c := range map[string]struct {
		webs  int
		nodes string
		moves []string
		fate  string
	}{
		"it stays":                {0, node("n1", "") + node("n2", "") + node("n3", ""), nil, "stays"},
		"others go elsewhere":     {1, node("n1", "") + node("n2", "") + node("n3", ""), []string{"web-0 → n2"}, "stays"},
		"it gives way":            {2, node("n1", "") + node("n2", "") + node("n3", ""), []string{"web-0 → n2", "web-1 → n3"}, "ends: it gives way"},
		"its instance goes there": {0, node("n1", ", scheduling: draining") + node("n2", "") + node("n3", ""), []string{"db-0 → n3"}, "serves: db-0 goes on there, and none"},
		"its node is drained":     {0, node("n1", "") + node("n2", "") + node("n3", ", scheduling: draining"), nil, "ends: n3 is draining"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			s, err := snapshot.Decode([]byte(fmt.Sprintf(head, c.webs) + c.nodes))
			if err != nil {
				t.Fatal(err)
			}
			p, err := model.Compile(s)
			if err != nil {
				t.Fatal(err)
			}
			plan := engine.Compute(p, engine.Request{})
			var moves []string
			for _, m := range plan.Moves {
				moves = append(moves, m.Instance+" → "+m.To)
			}
			slices.Sort(moves)
			if !slices.Equal(moves, c.moves) {
				t.Errorf("moves %q, want %q", moves, c.moves)
			}
			if len(plan.Standbys) != 1 {
				t.Fatalf("standbys %+v", plan.Standbys)
			}
			if st := plan.Standbys[0]; !strings.HasPrefix(st.Fate+": "+st.Why, c.fate) {
				t.Errorf("%s: %s, want %s", st.Fate, st.Why, c.fate)
			}
		})
	}
}
