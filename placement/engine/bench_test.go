package engine_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// large is a cluster of nodes × instances × apps with 24 kinds of nodes; each app may go to about a third of them.
func large(nodes, instances, apps int) *snapshot.State {
	r := rand.New(rand.NewPCG(1, 1))
	s := &snapshot.State{Now: start}
	byKind := map[int][]string{}
	for i := range nodes {
		k := r.IntN(24)
		id := fmt.Sprintf("node-%d", i)
		s.Nodes = append(s.Nodes, snapshot.Node{ID: id, Labels: map[string]string{"kind": fmt.Sprint(k), "zone": fmt.Sprint(k % 3)}})
		byKind[k] = append(byKind[k], id)
	}
	for i := range apps {
		a := snapshot.App{}
		a.Name, a.Mode = fmt.Sprintf("app-%d", i), spec.Replicas
		var kinds, may []string
		for k := range 24 {
			if r.IntN(3) == 0 || k == 23 && len(kinds) == 0 {
				kinds = append(kinds, fmt.Sprint(k))
				may = append(may, byKind[k]...)
			}
		}
		a.Require = []string{"kind in (" + join(kinds) + ")"}
		count := min(instances/apps, len(may))
		a.Replicas = &count
		r.Shuffle(len(may), func(i, j int) { may[i], may[j] = may[j], may[i] })
		for j := range count {
			s.Instances = append(s.Instances, snapshot.Instance{ID: fmt.Sprintf("%s-%d", a.Name, j), App: a.Name, Node: may[j]})
		}
		s.Apps = append(s.Apps, a)
	}
	return s
}

func planOf(b *testing.B, s *snapshot.State, r engine.Request) *engine.Result {
	b.Helper()
	p, err := model.Compile(s)
	if err != nil {
		b.Fatal(err)
	}
	return engine.Compute(p, r)
}

// processorTime is what this process has used of all processors: what the clock says means little where others use them, too.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkColdPlan(b *testing.B) {
	for _, c := range []struct {
		name                   string
		nodes, instances, apps int
	}{{"1k nodes, 10k instances, 100 apps", 1000, 10_000, 100}, {"10k nodes, 100k instances, 1k apps", 10_000, 100_000, 1000}} {
		b.Run(c.name, func(b *testing.B) {
			s := large(c.nodes, c.instances, c.apps)
			b.ReportAllocs()
			var res *engine.Result
			used := processorTime(b)
			for b.Loop() {
				res = planOf(b, s, engine.Request{Rebalance: true})
			}
			b.ReportMetric((processorTime(b)-used).Seconds()*1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(len(res.Moves)), "moves")
			b.ReportMetric(res.Gap, "gap")
		})
	}
}

// sized is large with instances of different sizes on nodes that they nearly fill.
func sized(nodes, instances, apps int) *snapshot.State {
	s := large(nodes, instances, apps)
	r := rand.New(rand.NewPCG(2, 2))
	for i := range s.Apps {
		s.Apps[i].Resources = snapshot.Amounts{"cpu": snapshot.Amount(500 * (1 + r.IntN(6)))}
	}
	size, used := map[string]snapshot.Amount{}, map[string]snapshot.Amount{}
	for i := range s.Apps {
		size[s.Apps[i].Name] = s.Apps[i].Resources["cpu"]
	}
	for i := range s.Instances {
		used[s.Instances[i].Node] += size[s.Instances[i].App]
	}
	for i := range s.Nodes {
		s.Nodes[i].Capacity = snapshot.Amounts{"cpu": max(used[s.Nodes[i].ID], 20_000)}
	}
	return s
}

func BenchmarkColdPlanOfSizes(b *testing.B) {
	s := sized(10_000, 100_000, 1000)
	var res *engine.Result
	for b.Loop() {
		res = planOf(b, s, engine.Request{Rebalance: true})
	}
	b.ReportMetric(float64(len(res.Moves)), "moves")
	b.ReportMetric(float64(res.Bound.MinMoves), "bound")
	b.ReportMetric(res.Before.Imbalance, "before")
	b.ReportMetric(res.After.Imbalance, "after")
}
