//go:build linux

package bench

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// All apps are placed, and then move at once, round after round: how many moves a planner admits and a migrator carries out in a
// second. The floor is how many chains of as many stored messages as a move has get done in a second where as many begin at once, taken in
// the same run once the moves are over.
func BenchmarkThroughput(b *testing.B) {
	for _, mode := range []spec.Mode{spec.Singleton, spec.Replicas} {
		b.Run(fmt.Sprintf("%s/100-apps", mode), func(b *testing.B) { measured(b, throughput(b, mode, 100, b.N, 0)) })
	}
}

// The same with 10,000 apps: what gets done within a minute each of placing and of moving.
func BenchmarkThroughputLarge(b *testing.B) {
	b.Run("replicas/10000-apps", func(b *testing.B) { measured(b, throughput(b, spec.Replicas, 10_000, 1, time.Minute)) })
}

func throughput(tb testing.TB, mode spec.Mode, apps, rounds int, most time.Duration) (r report) {
	s := newServer(tb)
	c := newCrew(s, 10)
	a, b := []string{"node-1", "node-2", "node-3", "node-4", "node-5"}, []string{"node-6", "node-7", "node-8", "node-9", "node-10"}
	c.close(true, b...)
	c.declare(apps, mode)
	t := newTally(c)
	start := now()
	c.serve()
	first := t.run(start, apps, most)
	first.add(&r, "place")
	if first.ended < apps { // there is no round of moves before all are placed
		return r
	}
	before := c.messages()
	var all phase
	for range rounds {
		c.close(false, b...)
		start = now()
		c.close(true, a...)
		p := t.run(start, apps, most)
		all.took, all.admitting, all.admitted, all.ended = all.took+p.took, all.admitting+p.admitting, all.admitted+p.admitted, all.ended+p.ended
		a, b = b, a
		if p.ended < apps {
			break
		}
	}
	all.add(&r, "move")
	r.floored(s, all, int(c.messages()-before), apps)
	return r
}

// messages counts what is stored so far: events and reports.
func (c *crew) messages() uint64 {
	return c.stored(c.subjects.EventsStream()) + c.stored(c.subjects.ReportsStream())
}

// floored adds the floor of moves that have stored so many messages together. Chains are many enough at 1,000.
func (r *report) floored(s *server, moves phase, messages, apps int) {
	hops, chains := (messages+moves.ended/2)/max(moves.ended, 1), min(apps, 1000)
	if moves.ended == 0 || hops == 0 {
		return
	}
	took := newChain(s, hops, 600).together(chains)
	perSecond := float64(chains) / took.Seconds()
	r.add("messages", float64(messages)/float64(moves.ended))
	r.add("floor-chains/s", perSecond)
	r.add("move-x", float64(moves.ended)/moves.took.Seconds()/perSecond)
}

// tally counts what the services store.
type tally struct {
	tb     testing.TB
	events chan events.Event
}

// newTally counts from the start of the log.
func newTally(c *crew) *tally {
	t := &tally{tb: c.tb, events: make(chan events.Event, 1<<20)}
	log := c.openLog(c.connect())
	c.spawn("tally", func(ctx context.Context) error {
		return log.Follow(ctx, 1, nil, func(m events.Message) error {
			if m.Err != nil {
				return m.Err
			}
			t.events <- m.Event
			return nil
		})
	})
	return t
}

// phase is what happened between two points of time.
type phase struct {
	took, admitting time.Duration // to the end of the last migration, and to the last admission
	admitted, ended int
}

func (p phase) add(r *report, what string) {
	r.add(what+"-admissions/s", float64(p.admitted)/p.admitting.Seconds())
	r.add(what+"-migrations/s", float64(p.ended)/p.took.Seconds())
	r.add(what+"-done", float64(p.ended))
}

// run waits until as many migrations have ended, or the time is up; 0 is no limit but that of patience.
func (t *tally) run(start time.Time, want int, most time.Duration) (p phase) {
	t.tb.Helper()
	late := time.NewTimer(cmp.Or(most, 5*time.Minute))
	defer late.Stop()
	for p.ended < want {
		var e events.Event
		select {
		case e = <-t.events:
		case <-late.C:
			if most == 0 {
				t.tb.Fatalf("%d of %d migrations in five minutes", p.ended, want)
			}
			return p
		}
		switch d := e.Data.(type) {
		case *events.PlanAdmitted:
			p.admitted, p.admitting = p.admitted+len(d.Moves), now().Sub(start)
		case *events.MigrationCompleted:
			p.ended, p.took = p.ended+1, now().Sub(start)
		case *events.MigrationFailed:
			t.tb.Fatalf("migration of %s failed: %s", d.Instance, d.Detail)
		}
	}
	return p
}

// A node with 200 instances is lost: the time until all of them have a place again, and until they run there.
func BenchmarkLostNode(b *testing.B) {
	for _, mode := range []spec.Mode{spec.Singleton, spec.Replicas} {
		b.Run(string(mode), func(b *testing.B) { measured(b, lostNode(b, mode, 200, b.N)) })
	}
}

func lostNode(tb testing.TB, mode spec.Mode, instances, n int) (r report) {
	var admit, done []time.Duration
	for range n {
		s := newServer(tb)
		c := newCrew(s, 5)
		t := newTally(c)
		others := []string{"node-2", "node-3", "node-4", "node-5"}
		c.close(true, others...)
		c.declare(instances, mode)
		c.serve()
		t.run(now(), instances, 0)
		c.close(false, others...)
		begin := now()
		c.append(events.Draft{Aggregate: events.Node("node-1"), Node: "node-1", Data: &events.NodeLost{Node: "node-1", Inc: incOf("node-1"), Reason: events.LostYielded}})
		p := t.run(begin, instances, 0)
		admit, done = append(admit, p.admitting), append(done, p.took)
	}
	r.quantiles("admitted", admit)
	r.quantiles("recovered", done)
	return r
}
