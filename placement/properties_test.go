package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// drawScene makes a random cluster: nodes with labels, apps with rules, some of them running, some nodes cordoned, draining,
// suspected or lost.
func drawScene(t *rapid.T) *scene {
	s := newScene()
	s.live = &Live{}
	nodes := rapid.IntRange(1, 6).Draw(t, "nodes")
	label := rapid.SampledFrom([]string{"role=a", "role=b", "zone=x", "zone=y"})
	for i := range nodes {
		f := []string{"node", fmt.Sprintf("n%d", i)}
		f = append(f, rapid.SliceOfNDistinct(label, 0, 2, func(l string) string { return l[:4] }).Draw(t, "labels")...)
		must(t, s.do(f))
	}
	apps := rapid.IntRange(1, 6).Draw(t, "apps")
	for i := range apps {
		f := []string{"app", fmt.Sprintf("a%d", i), rapid.SampledFrom([]string{"singleton", "spread", "replicas=0", "replicas=1", "replicas=2", "replicas=3"}).Draw(t, "mode")}
		if rapid.Bool().Draw(t, "require?") {
			f = append(f, "require="+label.Draw(t, "require"))
		}
		if rapid.IntRange(0, 4).Draw(t, "away?") == 0 {
			f = append(f, fmt.Sprintf("away=a%d", (i+1)%(apps+1)))
		}
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "with?") == 0 {
			f = append(f, fmt.Sprintf("with=a%d", rapid.IntRange(0, i-1).Draw(t, "with")))
		}
		if rapid.IntRange(0, 5).Draw(t, "over?") == 0 {
			f = append(f, fmt.Sprintf("over=zone:%d", rapid.IntRange(1, 2).Draw(t, "skew")))
		}
		if rapid.IntRange(0, 3).Draw(t, "cpu?") == 0 {
			f = append(f, fmt.Sprintf("cpu=%d", rapid.IntRange(1, 4).Draw(t, "cpu")))
		}
		if rapid.IntRange(0, 4).Draw(t, "keep?") == 0 {
			f = append(f, "on_invalid=keep")
		}
		must(t, s.do(f))
	}
	s.last = Make(s.v, s.loads, s.now)
	s.carry()
	for range rapid.IntRange(0, 6).Draw(t, "changes") {
		n := fmt.Sprintf("n%d", rapid.IntRange(0, nodes-1).Draw(t, "node"))
		a := fmt.Sprintf("a%d", rapid.IntRange(0, apps-1).Draw(t, "app"))
		switch rapid.IntRange(0, 7).Draw(t, "what") {
		case 0:
			must(t, s.do([]string{"label", n, label.Draw(t, "label")}))
		case 1:
			must(t, s.do([]string{"cordon", n}))
		case 2:
			must(t, s.do([]string{"drain", n}))
		case 3:
			must(t, s.do([]string{"suspect", n}))
		case 4:
			must(t, s.do([]string{"lost", n}))
		case 5:
			must(t, s.do([]string{"restart", a}))
		case 6:
			for id, in := range s.v.Apps[a].Instances {
				must(t, s.do([]string{"fail", id, in.Node}))
				break
			}
		case 7:
			s.last = Make(s.v, s.loads, s.now)
			s.carry()
		}
	}
	return s
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// carry admits and completes the last plan.
func (s *scene) carry() {
	for _, d := range s.last.Moves {
		s.admit(d.Move)
	}
	for _, p := range s.last.Pending {
		if s.v.Apps[p.App].Pending == nil {
			s.add(events.App(p.App), &events.PlacementInvalid{Instance: p.Instance, Code: p.Code, Missing: p.Missing})
		}
	}
	for _, ok := range s.last.Satisfied {
		s.add(events.App(ok.App), &events.PlacementSatisfied{})
	}
}

// neverOnIneligible: each target takes its instance by every rule, also when the other moves of the plan are on their way.
func neverOnIneligible(t *rapid.T, s *scene, p Plan) {
	for _, d := range p.Moves {
		if d.To == "" || d.To == d.From {
			continue
		}
		a, n := s.v.Apps[d.App], s.v.Nodes[d.To]
		if n.Status != projections.StatusReady || n.Cordoned || n.Draining() || len(demandsOf(a).rules(n)) > 0 {
			t.Fatalf("%s → %s: the node may not take it: %v", d.Instance, d.To, demandsOf(a).rules(n))
		}
		there := map[string]bool{}
		for _, in := range s.v.On(d.To) {
			there[in.App] = true
		}
		for _, o := range p.Moves {
			if o.Instance != d.Instance && o.To == d.To {
				there[o.App] = true
			}
		}
		for app := range there {
			if app == d.App || slices.Contains(a.Spec.AwayFromApp, app) || slices.Contains(s.v.Apps[app].Spec.AwayFromApp, d.App) {
				t.Fatalf("%s → %s: may not share it with %s", d.Instance, d.To, app)
			}
		}
	}
}

func TestPlanIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		p := Make(s.v, s.loads, s.now)
		neverOnIneligible(t, s, p)
		seen := map[string]bool{}
		for _, d := range p.Moves {
			if seen[d.Instance] {
				t.Fatalf("%s is moved twice in one plan", d.Instance)
			}
			seen[d.Instance] = true
			if d.Cause == "" || d.Reason == "" || d.Trigger == "" || d.Class == "" {
				t.Fatalf("%s: without cause, reason, trigger or class: %+v", d.Instance, d.Move)
			}
			if a := s.v.Apps[d.App]; a.Spec.Mode == spec.Singleton && len(a.Open) > 0 {
				t.Fatalf("%s: another migration of the singleton is open", d.Instance)
			}
		}
		for _, pd := range p.Pending {
			if pd.Reason == "" {
				t.Fatalf("%s is Pending without a reason", pd.App)
			}
		}
	})
}

func TestPlanIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		first := Make(s.v, s.loads, s.now)
		for range 3 { // maps are ranged in another order each time
			v := *s.v
			v.Nodes, v.Apps = maps.Clone(v.Nodes), maps.Clone(v.Apps)
			if d := cmp.Diff(first, Make(&v, s.loads, s.now)); d != "" {
				t.Fatalf("another plan on the same state (-first +again):\n%s", d)
			}
		}
	})
}

func TestPlanReachesAFixpoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		var story []string
		for range 40 {
			s.last = Make(s.v, s.loads, s.now)
			if len(s.last.Moves) == 0 {
				return
			}
			for _, d := range s.last.Moves {
				story = append(story, fmt.Sprintf("%s %s→%s (%s)", d.Instance, d.From, d.To, d.Reason))
			}
			s.carry()
		}
		t.Fatalf("still moving after 40 plans:\n%s", strings.Join(story, "\n"))
	})
}

func TestBalanceEvensOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		p := Balance(s.v, nil)
		if p.After > p.Before {
			t.Fatalf("worse than before: %f → %f", p.Before, p.After)
		}
		if p.Before == 0 && len(p.Moves) > 0 {
			t.Fatalf("even already, and still moves: %v", p.Moves)
		}
		moved := map[string]bool{}
		for _, m := range p.Moves {
			if moved[m.Instance] {
				t.Fatalf("%s moves twice", m.Instance)
			}
			moved[m.Instance] = true
		}
	})
}
