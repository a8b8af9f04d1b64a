//go:build linux

package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/process"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// A label change moves an app whose program takes no time, beside a bare chain of as many stored messages. Each app moves once, to a
// node that never had it; with -again one app goes to and fro.
func BenchmarkLabelChange(b *testing.B) {
	b.Run("singleton", func(b *testing.B) { measured(b, labelChange(b, spec.Singleton, b.N, false)) })
	b.Run("singleton-again", func(b *testing.B) { measured(b, labelChange(b, spec.Singleton, b.N, true)) })
	b.Run("pool", func(b *testing.B) { measured(b, labelChange(b, spec.Replicas, b.N, false)) })
	b.Run("pool-again", func(b *testing.B) { measured(b, labelChange(b, spec.Replicas, b.N, true)) })
}

// A label change moves a real process, beside stopping it and starting it elsewhere by hand.
func BenchmarkLabelChangeProcess(b *testing.B) {
	b.Run("singleton", func(b *testing.B) { measured(b, processMove(b, spec.Singleton, b.N)) })
	b.Run("pool", func(b *testing.B) { measured(b, processMove(b, spec.Replicas, b.N)) })
}

const warmUps = 3 // moves that are not counted

func labelChange(tb testing.TB, mode spec.Mode, n int, again bool) (r report) {
	c := newCluster(tb, 2, func(string) agent.Driver { return newNoop() })
	count := 0
	move := func() movement {
		if !again || count == 0 {
			count++
			c.apply(app(fmt.Sprint("a", count), mode))
		}
		return c.move(fmt.Sprint("a", count))
	}
	var last movement
	for range warmUps {
		last = move()
	}
	floor := newChain(c.server, last.events+last.reports, 600)
	for range warmUps {
		floor.run()
	}
	var moves, floors []time.Duration
	var cpu, floorCPU time.Duration
	phases := map[string][]time.Duration{}
	for range n {
		last = move()
		moves = append(moves, last.took)
		cpu += last.cpu
		for what, d := range last.seen {
			phases[what] = append(phases[what], d)
		}
		before := cpuTime(tb)
		floors = append(floors, floor.run())
		floorCPU += cpuTime(tb) - before
	}
	r.quantiles("move", moves)
	r.quantiles("floor", floors)
	r.ratio("move", moves, floors)
	r.add("cpu-ms", ms(cpu)/float64(n))
	r.add("cpu-x", float64(cpu)/float64(floorCPU))
	r.add("events", float64(last.events))
	r.add("reports", float64(last.reports))
	if testing.Verbose() {
		for what, d := range phases {
			slices.Sort(d)
			r.add("at-"+what+"-p50-ms", ms(at(d, 0.5)))
		}
	}
	return r
}

// movement is one move.
type movement struct {
	took, cpu       time.Duration            // cpu is that of everybody: server, services and agents
	events, reports int                      // that it stored
	seen            map[string]time.Duration // when each event was
}

// move closes the node where the app is and opens the other, and times from the command to the moment at which somebody who
// watches the log sees the end of the migration.
func (c *cluster) move(name string) (m movement) {
	c.tb.Helper()
	from := c.where(name)
	other := map[string]string{"node-1": "node-2", "node-2": "node-1"}[from]
	label := closed(name)
	c.settle()
	reports := c.stored(c.subjects.ReportsStream())
	m.seen = map[string]time.Duration{}
	spent := cpuTime(c.tb)
	start := now()
	answered := make(chan error, 1)
	go func() {
		_, err := transport.Call[api.LabelRequest, api.LabelReply](c.tb.Context(), c.nc, c.subjects, api.NodeLabel,
			api.LabelRequest{Meta: meta(), Node: from, Set: map[string]string{label: "1"}})
		answered <- err
	}()
	story := ""
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		var e events.Event
		select {
		case e = <-c.events:
			story += fmt.Sprintf("%d %s %s\n", e.Seq, e.Aggregate, e.Type)
		case <-late.C:
			c.tb.Fatalf("%s did not leave %s within a minute; since the label change:\n%s", name, from, story)
		case err := <-answered:
			if err != nil {
				c.tb.Fatal(err)
			}
			answered = nil
			continue
		}
		m.took = now().Sub(start)
		m.events, c.seen = m.events+1, e.Seq
		what := string(e.Type)
		if d, ok := e.Data.(*events.StepCompleted); ok {
			what += "-" + string(d.Step)
		}
		m.seen[what] = m.took
		switch d := e.Data.(type) {
		case *events.MigrationFailed:
			c.tb.Fatalf("migration failed: %s", d.Detail)
		case *events.MigrationCompleted:
			m.cpu = cpuTime(c.tb) - spent
			m.reports = int(c.stored(c.subjects.ReportsStream()) - reports)
			c.until(name+" runs", func(v *projections.Cluster) bool {
				return whole(v.Apps[name]) && v.Apps[name].SortedInstances()[0].Node == other
			})
			call[api.LabelReply](c.server, api.NodeLabel, api.LabelRequest{Meta: meta(), Node: from, Remove: []string{label}})
			return m
		}
	}
}

// settle forgets what was stored so far.
func (c *cluster) settle() {
	c.tb.Helper()
	last := c.stored(c.subjects.EventsStream())
	if err := c.base.Replica.Await(c.tb.Context(), last); err != nil {
		c.tb.Fatal(err)
	}
	for c.seen < last {
		c.seen = (<-c.events).Seq
	}
}

func processMove(tb testing.TB, mode spec.Mode, n int) (r report) {
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	driver := func(dir string) agent.Driver {
		d, err := process.New(process.Options{Dir: dir, WatchdogCommand: []string{self, "watchdog"}, AllowRoot: true})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = d.Close() })
		return d
	}
	c := newCluster(tb, 2, driver)
	c.apply(app("a", mode))
	tb.Cleanup(func() {
		call[api.Ack](c.server, api.AppRemove, api.AppRequest{Meta: meta(), App: "a"})
		c.until("it is gone", func(v *projections.Cluster) bool {
			return len(v.Apps["a"].Instances) == 0 && len(v.Apps["a"].Open) == 0
		})
	})
	hand := newByHand(tb, driver, app("b", mode))
	for range warmUps {
		c.move("a")
		hand.move()
	}
	var moves, floors []time.Duration
	for range n {
		moves = append(moves, c.move("a").took)
		floors = append(floors, hand.move())
	}
	r.quantiles("move", moves)
	r.quantiles("floor", floors)
	r.ratio("move", moves, floors)
	return r
}

// byHand is an app that is moved between two drivers without any cluster: its program's own stop and start.
type byHand struct {
	tb    testing.TB
	nodes [2]agent.Driver
	in    agent.Instance
	at    int
	ready chan struct{}
}

func newByHand(tb testing.TB, driver func(dir string) agent.Driver, a spec.App) *byHand {
	h := &byHand{tb: tb, ready: make(chan struct{}, 1), in: agent.Instance{ID: a.Name + "-0", App: a.WithDefaults(), Node: "hand", Address: "127.0.0.1", Role: api.RoleMember, Generation: 1}}
	for i := range h.nodes {
		h.nodes[i] = driver(tb.TempDir())
		h.nodes[i].Notify(func(string) {
			select {
			case h.ready <- struct{}{}:
			default:
			}
		})
		if _, err := h.nodes[i].Adopt(tb.Context()); err != nil {
			tb.Fatal(err)
		}
		h.nodes[i].Extend(transport.Boottime() + time.Hour)
	}
	h.start()
	tb.Cleanup(func() {
		if _, err := h.nodes[h.at].Stop(context.Background(), h.in.ID); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func (h *byHand) start() {
	h.tb.Helper()
	if _, err := h.nodes[h.at].Start(h.tb.Context(), h.in); err != nil {
		h.tb.Fatal(err)
	}
	for {
		if st, _ := h.nodes[h.at].Status(h.in.ID); st.Healthy {
			return
		}
		<-h.ready
	}
}

func (h *byHand) move() time.Duration {
	h.tb.Helper()
	start := now()
	if _, err := h.nodes[h.at].Stop(h.tb.Context(), h.in.ID); err != nil {
		h.tb.Fatal(err)
	}
	h.at = 1 - h.at
	h.start()
	return now().Sub(start)
}
