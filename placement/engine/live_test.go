package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

func live(t testing.TB, s *snapshot.State) *engine.Live {
	t.Helper()
	p, err := model.Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return engine.NewLive(p)
}

// Whatever changes, one after the other, the plan is that of Compute for the same state.
func TestLivePlansAreThoseOfCompute(t *testing.T) {
	for _, name := range []string{"labels", "weights", "slots", "conflicts", "sizes", "preferences"} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(41, uint64(len(name))))
			compared := 0
			for range *cases / 2 {
				s := draw(r, shapes[name])
				l := live(t, s)
				units := l.Units()
				for range 6 {
					n := &s.Nodes[r.IntN(len(s.Nodes))]
					switch r.IntN(3) {
					case 0:
						n.Labels = map[string]string{"kind": fmt.Sprint(r.IntN(4)), "zone": n.Labels["zone"]}
						l.Relabel(n.ID, n.Labels)
					case 1:
						n.Scheduling = [...]string{"", "cordoned", "draining"}[r.IntN(3)]
						l.SetState(n.ID, n.Status, n.Scheduling)
					case 2:
						n.Status = [...]string{"", "lost"}[r.IntN(2)]
						l.SetState(n.ID, n.Status, n.Scheduling)
					}
					want := compute(t, s, engine.Request{})
					got, ok := l.Plan()
					if !ok { // it says so itself: start anew
						l = live(t, s)
						continue
					}
					compared++
					if d := cmp.Diff(want.Moves, got.Moves); d != "" {
						t.Fatalf("(-Compute +Live)\n%s\n%s", d, text(t, s))
					}
					if d := cmp.Diff(pendingOf(want.Plan), pendingOf(got)); d != "" {
						t.Fatalf("pending (-Compute +Live)\n%s", d)
					}
					if slices.ContainsFunc(want.Moves, func(m snapshot.Move) bool { return m.To == "" || m.From == "" }) {
						break // instances come and go: a state with others
					}
					l.Ended(got, units)
					s = applied(s, want.Moves, s.Now)
				}
			}
			if compared == 0 {
				t.Errorf("only %d plans compared", compared)
			}
		})
	}
}

func pendingOf(p *snapshot.Plan) (out []string) {
	for _, pd := range p.Pending {
		out = append(out, pd.Instance)
	}
	return out
}

func TestNothingToDoAllocatesNothing(t *testing.T) {
	l := live(t, large(200, 2000, 50))
	if p, ok := l.Plan(); !ok || len(p.Moves) > 0 {
		t.Fatal("it is not at rest")
	}
	if n := testing.AllocsPerRun(100, func() { l.Plan() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLive is what follows one change at a cluster of 10,000 nodes, 100,000 instances and 1,000 apps.
func BenchmarkLive(b *testing.B) {
	s := large(10_000, 100_000, 1000)
	l := live(b, s)
	if _, ok := l.Plan(); !ok {
		b.Fatal("no plan")
	}
	r := rand.New(rand.NewPCG(1, 2))
	change := func(name string, do, undo func(n *snapshot.Node)) {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			moves := 0
			for b.Loop() {
				n := &s.Nodes[r.IntN(len(s.Nodes))]
				began := time.Now()
				do(n)
				p, ok := l.Plan()
				took = append(took, time.Since(began))
				if !ok {
					b.Fatal("it has to begin anew")
				}
				moves += len(p.Moves)
				undo(n)
				l.Plan()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			b.ReportMetric(float64(moves)/float64(len(took)), "moves/op")
		})
	}
	change("label", func(n *snapshot.Node) {
		l.Relabel(n.ID, map[string]string{"kind": fmt.Sprint(r.IntN(24)), "zone": n.Labels["zone"]})
	}, func(n *snapshot.Node) { l.Relabel(n.ID, n.Labels) })
	change("loss", func(n *snapshot.Node) { l.SetState(n.ID, "lost", "") }, func(n *snapshot.Node) { l.SetState(n.ID, "", "") })
	joined := 0
	change("join", func(*snapshot.Node) {
		joined++
		l.Join(fmt.Sprintf("new-%d", joined), map[string]string{"kind": "3"})
	}, func(*snapshot.Node) {})
	b.Run("nothing changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p, _ := l.Plan(); len(p.Moves) > 0 {
				b.Fatal("it moves")
			}
		}
	})
	b.Run("one placement", func(b *testing.B) {
		for b.Loop() {
			if node, _ := l.Choose(fmt.Sprintf("app-%d", r.IntN(1000))); node == "" {
				b.Fatal("nowhere to go")
			}
		}
	})
}
