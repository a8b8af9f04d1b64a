//go:build linux

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/services/migrator"
	"github.com/go-cluster/go-cluster/services/planner"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// cluster is a whole one: five services in one process, as `serve` runs them, and real agents on real disks.
type cluster struct {
	*server
	base   *services.Base
	events chan events.Event // everything stored, as a person watching sees it
	seen   uint64            // sequence of the last one taken from there
}

// newCluster starts one with as many nodes, each with what driver returns for its directory, and waits until all have joined.
func newCluster(tb testing.TB, nodes int, driver func(dir string) agent.Driver) *cluster {
	tb.Helper()
	c := &cluster{server: newServer(tb), events: make(chan events.Event, 1<<16)}
	c.base = c.plane(labelerRun, plannerRun, migratorRun, rebalancerRun, auditorRun)
	log := c.openLog(c.connect())
	c.spawn("watch", func(ctx context.Context) error {
		return log.Follow(ctx, 1, nil, func(m events.Message) error {
			if m.Err != nil {
				return m.Err
			}
			c.events <- m.Event
			return nil
		})
	})
	for i := range nodes {
		dir, nc := tb.TempDir(), c.connect()
		cfg := agent.Config{Cluster: "bench", Node: fmt.Sprint("node-", i+1), Dir: dir, Address: fmt.Sprint("10.0.0.", i+1), Version: "bench", NC: nc, Dial: c.dial,
			Driver: driver(filepath.Join(dir, "driver")), Log: c.log, Facts: events.Facts{CPU: 64000, Memory: 64 << 30, Drivers: []string{"process"}}}
		c.spawn(cfg.Node, func(ctx context.Context) error { return agent.Run(ctx, cfg) })
	}
	c.until("all nodes are ready", func(v *projections.Cluster) bool {
		ready := 0
		for _, n := range v.Nodes {
			if n.Status == projections.StatusReady {
				ready++
			}
		}
		return ready == nodes
	})
	return c
}

type runner func(*services.Base) func(context.Context) error

func labelerRun(b *services.Base) func(context.Context) error    { return labeler.New(b).Run }
func plannerRun(b *services.Base) func(context.Context) error    { return planner.New(b).Run }
func migratorRun(b *services.Base) func(context.Context) error   { return migrator.New(b).Run }
func rebalancerRun(b *services.Base) func(context.Context) error { return rebalancer.New(b).Run }
func auditorRun(b *services.Base) func(context.Context) error    { return auditor.New(b).Run }

// plane runs services in a process with one connection.
func (s *server) plane(run ...runner) *services.Base {
	s.tb.Helper()
	b, err := services.Open(s.tb.Context(), services.Config{Cluster: "bench", Replica: "r1", Version: "bench", NC: s.connect(),
		Dial: func() (*nats.Conn, error) { return s.dial() }, Log: s.log, Boot: transport.Boottime, Now: now})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.spawn("base", b.Run)
	for _, r := range run {
		s.spawn("a service", r(b))
	}
	return b
}

// until waits until the fold is as wanted.
func (c *cluster) until(what string, is func(v *projections.Cluster) bool) {
	c.tb.Helper()
	await(c.tb, c.base, what, is)
}

func await(tb testing.TB, b *services.Base, what string, is func(v *projections.Cluster) bool) {
	tb.Helper()
	over := time.NewTimer(5 * time.Minute)
	defer over.Stop()
	for {
		changed, ok := b.Replica.Changed(), false
		b.Replica.View(func(v *projections.Cluster) { ok = is(v) })
		if ok {
			return
		}
		select {
		case <-changed:
		case <-over.C:
			tb.Fatalf("waited five minutes in vain until %s", what)
		}
	}
}

// call sends a command.
func call[Rep, Req any](s *server, e api.Endpoint, req Req) Rep {
	s.tb.Helper()
	rep, err := transport.Call[Req, Rep](context.WithoutCancel(s.tb.Context()), s.nc, s.subjects, e, req)
	if err != nil {
		s.tb.Fatal(err)
	}
	return rep
}

func meta() api.Meta { return transport.NewMeta("bench", now(), time.Minute) }

// apply declares an app and waits until it runs.
func (c *cluster) apply(a spec.App) {
	c.tb.Helper()
	call[api.ApplyReply](c.server, api.AppApply, api.ApplyRequest{Meta: meta(), Spec: a})
	c.until(a.Name+" runs", func(v *projections.Cluster) bool { return whole(v.Apps[a.Name]) })
}

// whole says whether an app is whole and nothing of it is moving.
func whole(a *projections.App) bool {
	if a == nil || len(a.Open) > 0 || a.Pending != nil || len(a.Instances) != a.Desired() {
		return false
	}
	for _, in := range a.Instances {
		if in.State != api.InstanceRunning {
			return false
		}
	}
	return true
}

// where returns the node of the app's first instance.
func (c *cluster) where(app string) (node string) {
	c.base.Replica.View(func(v *projections.Cluster) { node = v.Apps[app].SortedInstances()[0].Node })
	return node
}

// closed is the label that closes a node to an app.
func closed(app string) string { return "closed-" + app }

// app returns the declaration of an app that may run on every node that is not closed to it.
func app(name string, mode spec.Mode) spec.App {
	a := spec.App{Name: name, Mode: mode, Require: []string{"!" + closed(name)}, Process: &spec.Process{Command: []string{"/bin/sleep", "1000000"}}}
	if mode == spec.Replicas {
		one := 1
		a.Replicas = &one
	}
	return a
}
