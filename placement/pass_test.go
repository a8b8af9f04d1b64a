package placement

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// settled is a cluster of pools of 100 instances each, all in place: a tenth of the nodes may run an app, by its label.
func settledCluster(b testing.TB, nodes, apps int) *scene {
	s := newScene()
	for i := range nodes {
		if err := s.do([]string{"node", fmt.Sprintf("node-%05d", i), fmt.Sprintf("group=g%d", i%10), fmt.Sprintf("zone=z%d", i%3), "cpu=64", "mem=64Gi", fmt.Sprint("host=h", i)}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range apps {
		name := fmt.Sprintf("pool-%04d", i)
		if err := s.do([]string{"app", name, "replicas=100", fmt.Sprintf("require=group=g%d", i%10), "cpu=1"}); err != nil {
			b.Fatal(err)
		}
		for k := range 100 {
			n := s.v.Nodes[fmt.Sprintf("node-%05d", (i%10+10*(i/10*100+k))%nodes)]
			s.admit(events.Move{App: name, Instance: spec.InstanceID(name, k), SpecRev: 1, To: n.ID, ToInc: n.Inc, Reason: events.ReasonSpecUpdate, Trigger: events.TriggerAutomatic})
		}
		s.log = nil
	}
	return s
}

// A cluster at rest is looked at again for nothing.
func TestNothingToDoAllocatesNothing(t *testing.T) {
	s := settledCluster(t, 1000, 10)
	var live Live
	if p := live.Plan(s.v, s.now); len(p.Moves)+len(p.Held)+len(p.Pending) > 0 {
		t.Fatal("it is not at rest")
	}
	if n := testing.AllocsPerRun(100, func() { live.Plan(s.v, s.now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// threadTime is what this thread has used of a processor: what the clock says means little where others use them, too.
func threadTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// A pass of the planner after one change in a large cluster, as it follows the log: what moves because of a label, what is lost, a node that joins, an app
// of one instance that comes, and none; and the pass that follows when what the first has decided is done. What each node says before a pass costs time of
// its own: "hear" is that of all of them. The benchmark's clock is never stopped for what is not measured: with that it reads the statistics of the memory, which stops
// all threads and empties their caches right before each pass.
func BenchmarkPass(b *testing.B) {
	s := settledCluster(b, 10_000, 1_000)
	var live Live
	start := time.Now()
	if p := live.Plan(s.v, s.now); len(p.Moves)+len(p.Pending) > 0 {
		b.Fatalf("%d moves", len(p.Moves))
	}
	first := time.Since(start)
	nodes := s.v.SortedNodes()
	hear := func(round int) {
		for i, n := range nodes {
			live.Hear(n.ID, api.Sight{Load: api.Load{CPU: float64((i+round)*7919%100) / 100}})
		}
	}
	hear(0)
	i := 0
	for _, c := range []struct {
		name   string
		change func(node string) []string
	}{
		{"label", func(node string) []string { return []string{"label", node, "group=none"} }},
		{"lost", func(node string) []string { return []string{"lost", node} }},
		{"join", func(node string) []string { return []string{"node", "new-" + node, "group=g1"} }},
		{"place", func(node string) []string {
			return []string{"app", "one-" + node, "replicas=1", "require=group=g1", "cpu=1"}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took, worked, then []time.Duration
			moves := 0
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for b.Loop() {
				i++
				if err := s.do(c.change(fmt.Sprintf("node-%05d", i*7%10_000))); err != nil {
					b.Fatal(err)
				}
				used := threadTime(b)
				start := time.Now()
				p := live.Plan(s.v, s.now)
				took, worked = append(took, time.Since(start)), append(worked, threadTime(b)-used)
				moves += len(p.Moves)
				for _, d := range p.Moves {
					s.admit(d.Move)
				}
				for _, h := range p.Held {
					s.admit(h.Move)
				}
				used = threadTime(b)
				if q := live.Plan(s.v, s.now); len(q.Moves) > 0 {
					b.Fatalf("then %d moves", len(q.Moves))
				}
				then = append(then, threadTime(b)-used)
			}
			slices.Sort(took)
			slices.Sort(worked)
			slices.Sort(then)
			b.ReportMetric(0, "ns/op") // of the changes, too
			b.ReportMetric(float64(first)/1e6, "first-ms")
			b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
			b.ReportMetric(float64(worked[len(worked)/2])/1e6, "p50-cpu-ms")
			b.ReportMetric(float64(worked[len(worked)*99/100])/1e6, "p99-cpu-ms")
			b.ReportMetric(float64(then[len(then)*99/100])/1e6, "then-p99-cpu-ms")
			b.ReportMetric(float64(moves)/float64(b.N), "moves/op")
		})
	}
	round := 0
	b.Run("hear", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			round++
			hear(round)
		}
	})
	b.Run("nothing changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p := live.Plan(s.v, s.now); len(p.Moves) > 0 {
				b.Fatal("it moves")
			}
		}
	})
}

// What a rebalancer does for each of its triggers in a large cluster that is even: to see that from what is counted, and what it is spared, a plan of
// everything.
func BenchmarkEven(b *testing.B) {
	s := settledCluster(b, 10_000, 1_000)
	s.v.Policy.AutoRebalance = spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.1}
	var live Live
	live.Plan(s.v, s.now)
	b.Run("counted", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !live.Even() {
				b.Fatal("it is not even")
			}
		}
	})
	b.Run("planned", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if moves := len(Make(s.v, nil, s.now).Moves) + len(AutoBalance(s.v, s.now).Moves); moves > 0 {
				b.Fatalf("%d moves", moves)
			}
		}
	})
}
