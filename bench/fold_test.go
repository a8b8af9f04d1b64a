//go:build linux

package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// A service starts with nothing and folds the whole log: singletons that have been moving to and fro. The floor reads the same
// messages with the same kind of consumer and looks at none of them.
func BenchmarkFold(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("%d-events", size), func(b *testing.B) { measured(b, fold(b, size, b.N)) })
	}
}

func fold(tb testing.TB, size, n int) (r report) {
	s := newServer(tb)
	past(s, size)
	last := s.stored(s.subjects.EventsStream())
	var folds, raws []time.Duration
	var cpu, rawCPU time.Duration
	for i := range n + 1 {
		before := cpuTime(tb)
		f := foldOnce(s, last)
		between := cpuTime(tb)
		raw := readOnce(s, last)
		if i > 0 { // the first read of a file warms the page cache
			folds, raws = append(folds, f), append(raws, raw)
			cpu, rawCPU = cpu+between-before, rawCPU+cpuTime(tb)-between
		}
	}
	r.add("events", float64(last))
	r.add("fold-events/s", float64(last)/median(folds).Seconds())
	r.add("raw-events/s", float64(last)/median(raws).Seconds())
	r.add("fold-x", median(raws).Seconds()/median(folds).Seconds())
	r.add("fold-cpu-us/event", ms(cpu)*1000/float64(last)/float64(n))
	r.add("raw-cpu-us/event", ms(rawCPU)*1000/float64(last)/float64(n))
	return r
}

func foldOnce(s *server, last uint64) time.Duration {
	s.tb.Helper()
	log := s.openLog(s.connect())
	replica := projections.NewReplica(log, func(err error) { s.tb.Error(err) })
	ctx, cancel := context.WithCancel(s.tb.Context())
	defer cancel()
	start := now()
	ended := make(chan error, 1)
	go func() { ended <- replica.Run(ctx) }()
	if err := replica.Await(ctx, last); err != nil {
		s.tb.Fatal(err)
	}
	took := now().Sub(start)
	replica.View(func(v *projections.Cluster) {
		if len(v.Quarantined) > 0 {
			s.tb.Fatalf("quarantined: %v", v.Quarantined)
		}
	})
	cancel()
	<-ended
	return took
}

func readOnce(s *server, last uint64) time.Duration {
	s.tb.Helper()
	js := s.jetstream(s.connect())
	start := now()
	cons, err := js.OrderedConsumer(s.tb.Context(), s.subjects.EventsStream(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.tb.Fatal(err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		s.tb.Fatal(err)
	}
	defer it.Stop()
	for range last {
		if _, err := it.Next(); err != nil {
			s.tb.Fatal(err)
		}
	}
	return now().Sub(start)
}

// past writes a log of about size events: apps of which each has moved as often as the others.
func past(s *server, size int) {
	s.tb.Helper()
	const apps, nodes = 100, 10
	c := newPast(s)
	for i := range nodes {
		id := fmt.Sprint("node-", i)
		c.store(events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeJoined{Node: id, Inc: incOf(id), Machine: "machine-" + id, TTL: spec.Duration(time.Minute),
			Facts: events.Facts{Address: "10.0.0.1", CPU: 1 << 20, Memory: 1 << 40, Drivers: []string{"process"}}}})
	}
	for i := range apps {
		a := app(fmt.Sprint("app-", i), spec.Singleton)
		c.store(events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.AppApplied{Spec: a.WithDefaults(), SpecRev: 1, Generation: 1}})
	}
	for round := 0; c.count < size; round++ {
		plan := &events.PlanAdmitted{Plan: fmt.Sprint("p-", round), PolicyHash: "p", Planner: "1", Scores: map[string]int64{}}
		for i := range apps {
			name := fmt.Sprint("app-", i)
			m := events.Move{Migration: fmt.Sprintf("m-%d-%d", round, i), App: name, Instance: name + "-0", SpecRev: 1, Reason: events.ReasonLabelChange, Trigger: events.TriggerAutomatic,
				Class: events.ClassForced, Cause: plan.Plan, Correlation: plan.Plan, Why: "rule !closed failed: the node has label closed=1"}
			if round > 0 {
				m.From = fmt.Sprint("node-", (i+round-1)%nodes)
				m.FromInc = incOf(m.From)
			}
			m.To = fmt.Sprint("node-", (i+round)%nodes)
			m.ToInc = incOf(m.To)
			plan.Moves, plan.Scores[m.Migration] = append(plan.Moves, m), 100
		}
		c.store(events.Draft{Aggregate: events.Cluster("bench"), Data: plan})
		var g errgroup.Group
		g.SetLimit(16)
		for _, m := range plan.Moves {
			g.Go(func() error { c.moved(m, uint64(round+1)); return nil })
		}
		if err := g.Wait(); err != nil {
			s.tb.Fatal(err)
		}
	}
}

// history writes events onto aggregates that nobody else writes to.
type history struct {
	*server
	log   *events.Log
	mu    sync.Mutex
	heads map[events.Aggregate]events.Head
	count int
}

func newPast(s *server) *history {
	return &history{server: s, log: s.openLog(s.connect()), heads: map[events.Aggregate]events.Head{}}
}

func (h *history) store(d events.Draft) events.Event {
	d.Actor = "bench"
	h.mu.Lock()
	head := h.heads[d.Aggregate]
	h.mu.Unlock()
	e, err := h.log.Append(h.tb.Context(), d, head)
	if err != nil {
		h.tb.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heads[d.Aggregate] = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
	h.count++
	return e
}

// moved writes the migration of a singleton.
func (h *history) moved(m events.Move, epoch uint64) {
	cause := m.Cause
	var seq uint64
	put := func(data any) {
		e := h.store(events.Draft{Aggregate: events.App(m.App), App: m.App, Node: m.To, Target: m.To, Cause: cause, Correlation: m.Correlation, Data: data})
		cause, seq = e.ID, e.Seq
	}
	next := func(s events.Step) *events.Next {
		return &events.Next{Step: s, Node: m.To, Inc: m.ToInc, Timeout: spec.Duration(time.Minute)}
	}
	result := &events.Result{Address: "10.0.0.1", TookMS: 3}
	put(&events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind(), Plan: "p", SpecRev: 1, Generation: 1, FromInc: m.FromInc, ToInc: m.ToInc, Class: m.Class, Next: next(events.StepPrepare)})
	put(&events.StepCompleted{Ref: m.Ref(), Step: events.StepPrepare, Node: m.To, OrderSeq: seq, TookMS: 3, Result: result, Next: next(events.StepStepDown)})
	put(&events.LeadershipGranted{Ref: m.Ref(), Epoch: epoch, Node: m.To, Inc: m.ToInc, OrderSeq: seq, Result: result, Next: next(events.StepPersist)})
	put(&events.LeadershipActivated{Ref: m.Ref(), Epoch: epoch, Node: m.To, Inc: m.ToInc, OrderSeq: seq, Next: next(events.StepActivate)})
	put(&events.MigrationCompleted{Ref: m.Ref(), DurationMS: 12, Step: events.StepActivate, Result: result})
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return at(d, 0.5)
}
