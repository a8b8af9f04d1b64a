package projections

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/go-cluster/go-cluster/spec"
)

// fleet has as many apps as asked for, one after the other on the nodes, every third with a standby on the next node.
func fleet(nodes, apps int) *Cluster {
	c := NewCluster("test")
	id := func(i int) string { return fmt.Sprint("node-", i%nodes) }
	for i := range nodes {
		c.Nodes[id(i)] = &Node{ID: id(i), Status: StatusReady}
	}
	for i := range apps {
		a := c.app(fmt.Sprint("app-", i))
		a.Spec, a.SpecRev = spec.App{Name: a.Name, Mode: spec.Singleton}, 1
		a.Instances[a.Name+"-0"] = &Instance{ID: a.Name + "-0", App: a.Name, Node: id(i)}
		if i%3 == 0 {
			a.Standbys[a.Name+"-1"] = &Instance{ID: a.Name + "-1", App: a.Name, Node: id(i + 1)}
		}
	}
	return c
}

// Who is on all nodes is who is on each of them.
func TestByNodeIsOnForAllNodes(t *testing.T) {
	c := fleet(5, 23)
	all := c.ByNode()
	for id := range c.Nodes {
		want := Occupants{c.On(id), c.StandbysOn(id)}
		if d := cmp.Diff(want, all[id], cmpopts.IgnoreUnexported(Instance{})); d != "" || len(want.Instances) == 0 || len(want.Standbys) == 0 {
			t.Errorf("%s (-On +ByNode):\n%s", id, d)
		}
	}
}

// The fold stands still meanwhile, so a list of nodes may not cost a look at every app for each of them.
func BenchmarkNodeViews(b *testing.B) {
	c := fleet(1000, 10_000)
	for b.Loop() {
		NodeViews(c, nil)
	}
}
