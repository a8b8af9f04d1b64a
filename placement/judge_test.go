package placement

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
)

// Counting once for all gives the verdicts of counting for each, whatever was judged before.
func TestJudgesIsJudge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		s.live = nil                          // what follows is in no event
		for _, n := range s.v.SortedNodes() { // as in dev: all nodes share a host
			n.Facts.Address = rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "address")
		}
		for _, a := range s.v.SortedApps() {
			if port := rapid.IntRange(0, 3).Draw(t, "port"); port > 1 {
				a.Spec.Ports = map[string]int{"http": 8000 + port, "any": 0}
			}
		}
		nodes := s.v.SortedNodes()
		for i := range rapid.IntRange(1, 8).Draw(t, "moves") { // on their way, wherever they are going
			apps := s.v.SortedApps()
			a := apps[rapid.IntRange(0, len(apps)-1).Draw(t, "app")]
			to := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "to")]
			m := events.Move{Migration: fmt.Sprint("m-open-", i), App: a.Name, Instance: fmt.Sprint(a.Name, "-", rapid.IntRange(0, 3).Draw(t, "slot")), SpecRev: a.SpecRev, To: to.ID, ToInc: to.Inc}
			if in := a.Instances[m.Instance]; in != nil {
				m.From, m.FromInc = in.Node, in.Inc
			}
			s.add(events.Cluster(s.v.Name), &events.PlanAdmitted{Moves: []events.Move{m}})
		}
		judge := Judges(s.v)
		for range 2 {
			for _, m := range s.v.SortedMigrations() {
				back := *m
				back.To, back.ToInc, back.From, back.FromInc = m.From, m.FromInc, m.To, m.ToInc
				if d := cmp.Diff(Judge(s.v, m), judge(m)); d != "" {
					t.Fatalf("%s (-each +all):\n%s", m.Migration, d)
				}
				if d := cmp.Diff(Judge(s.v, &back), judge(&back)); d != "" {
					t.Fatalf("%s backwards (-each +all):\n%s", m.Migration, d)
				}
			}
		}
	})
}
