package placement

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/api"
)

// What classes of nodes say is what each node says: the best place, why not elsewhere, and the first examples of many.
func TestGlanceIsSurvey(t *testing.T) {
	s := settledCluster(t, 300, 3)
	do := func(line []string) {
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		n := fmt.Sprintf("node-%05d", i)
		for every, line := range map[int][]string{7: {"cordon", n}, 11: {"lost", n}, 13: {"label", n, fmt.Sprintf("group=g%d", i%3)}, 17: {"drain", n}} {
			if i%every == 0 {
				do(line)
			}
		}
		s.loads[n] = api.Sight{Load: api.Load{CPU: float64(i*37%100) / 100}}
	}
	for _, line := range [][]string{
		{"app", "small", "replicas=40", "cpu=1"},
		{"app", "wide", "replicas=40", "cpu=64", "require=zone!=z1"},
		{"app", "choosy", "replicas=2", "require=group=g1", "prefer=zone=z2:30,zone=z1:-10", "mem=60Gi"},
		{"app", "named", "replicas=2", "on_nodes=node-00001,node-00031,node-00041,node-00042"},
		{"app", "gone", "replicas=2", "require=group=nowhere"},
		{"run", "wide-0", "node-00021"}, {"run", "wide-1", "node-00003"}, {"run", "small-0", "node-00003"}, {"fail", "small-0", "node-00003"},
		{"policy", "{migration: {load_threshold: 0.5}}"},
	} {
		do(line)
	}
	var l Live
	for node, sight := range s.loads {
		l.Hear(node, sight)
	}
	l.Plan(s.v, s.now)
	p := (&planner{v: s.v, u: l.u, nodes: l.nodes, wants: l.wants, apps: l.apps, index: l.index}).begin(s.loads, s.now, nil)
	for _, a := range s.v.SortedApps() {
		for _, except := range []string{"", "node-00003", "node-00077"} {
			k := p.kind(a)
			if k == nil {
				t.Fatalf("%s is of no kind", a.Name)
			}
			got, want := p.glance(k, a, except), p.survey(a, except)
			var sent []string
			for range 3 {
				if d := cmp.Diff(want.rejections(), got.rejections()); d != "" {
					t.Fatalf("%s without %s: (-survey +glance)\n%s", a.Name, except, d)
				}
				if d := cmp.Diff(want.refusals(), got.refusals()); d != "" {
					t.Fatalf("%s without %s: (-survey +glance)\n%s", a.Name, except, d)
				}
				best := want.best(nil)
				if (best == nil) != (a.Name == "gone") {
					t.Errorf("%s: %+v", a.Name, best)
				}
				found := got.best(nil)
				if best == nil || found == nil {
					if best != found {
						t.Fatalf("%s without %s: %v, %v by classes", a.Name, except, best, found)
					}
					break
				}
				if *best != *found {
					t.Fatalf("%s without %s: %s for %d, %s for %d by classes", a.Name, except, best.node.ID, best.score, found.node.ID, found.score)
				}
				p.u.add(a, p.u.at(best.node.ID))
				sent = append(sent, best.node.ID)
				got.taken(best.node.ID)
				want.taken(best.node.ID)
			}
			for _, node := range sent {
				p.u.remove(a, p.u.at(node))
			}
		}
	}
}
