//go:build linux

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// crew plays the nodes of a cluster whose services are measured: every order is reported as done as soon as it is seen. The log and
// the leases are the real ones.
type crew struct {
	*server
	base *services.Base
	log  *events.Log
}

func incOf(node string) string { return "machine-" + node + "-boot-1" }

// newCrew has as many nodes join, and a planner and a migrator run if serving says so.
func newCrew(s *server, nodes int) *crew {
	s.tb.Helper()
	c := &crew{server: s, log: s.openLog(s.connect())}
	c.base = s.plane()
	leases := transport.NewLeases(s.jetstream(s.connect()), s.subjects)
	for i := range nodes {
		id := fmt.Sprint("node-", i+1)
		lease := api.Lease{State: api.LeaseHeld, Node: id, Machine: "machine-" + id, Boot: "boot", N: 1, Inc: incOf(id), TTL: spec.Duration(time.Hour), Host: id}
		if _, err := leases.Put(s.tb.Context(), lease, 0); err != nil {
			s.tb.Fatal(err)
		}
		c.append(events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeJoined{Node: id, Inc: incOf(id), Machine: "machine-" + id, TTL: spec.Duration(time.Hour),
			Facts: events.Facts{Address: "10.0.0." + fmt.Sprint(i+1), Version: "bench", CPU: 1 << 20, Memory: 1 << 50, Drivers: []string{"process"}}}})
	}
	s.spawn("heartbeat", func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if _, err := leases.Beat(ctx, events.Labeler, "clock"); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	js, follow := s.jetstream(s.connect()), s.openLog(s.connect())
	orders := make(chan api.StepReport, 1<<17)
	s.spawn("crew", func(ctx context.Context) error {
		return follow.Follow(ctx, 1, []string{s.subjects.Event(events.Aggregate{Kind: events.KindApp, ID: "*"}, ">", "")}, func(m events.Message) error {
			if ref, next := ordered(m.Event.Data); next != nil {
				orders <- api.StepReport{OrderSeq: m.Event.Seq, Migration: ref.Migration, App: m.Event.App, Instance: ref.Instance, Step: next.Step, Node: next.Node, Inc: next.Inc, Result: &events.Result{}}
			}
			return nil
		})
	})
	for range 8 { // as nodes they would not wait for each other
		s.spawn("reporter", func(ctx context.Context) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case r := <-orders:
					if err := transport.PublishReport(ctx, js, s.subjects, r); err != nil {
						return err
					}
				}
			}
		})
	}
	return c
}

// serve runs a planner and a migrator, each with a connection of its own.
func (c *crew) serve() {
	c.plane(plannerRun)
	c.plane(migratorRun)
}

// ordered returns the order that an event carries.
func ordered(data any) (events.Ref, *events.Next) {
	switch d := data.(type) {
	case *events.MigrationStarted:
		return d.Ref, d.Next
	case *events.StepCompleted:
		return d.Ref, d.Next
	case *events.StepRequested:
		return d.Ref, d.Next
	case *events.LeadershipGranted:
		return d.Ref, d.Next
	case *events.LeadershipActivated:
		return d.Ref, d.Next
	}
	return events.Ref{}, nil
}

// append stores an event on whatever is there.
func (c *crew) append(d events.Draft) events.Event {
	c.tb.Helper()
	var head events.Head
	c.base.Replica.View(func(v *projections.Cluster) { head = v.Head(d.Aggregate) })
	e, err := c.log.Append(c.tb.Context(), d, head)
	if err == nil {
		err = c.base.Replica.Await(c.tb.Context(), e.Seq)
	}
	if err != nil {
		c.tb.Fatal(err)
	}
	return e
}

// declare stores that apps of an earlier time are declared, spread over nothing yet.
func (c *crew) declare(count int, mode spec.Mode) {
	c.tb.Helper()
	for i := range count {
		a := app(fmt.Sprint("app-", i), mode)
		a.Require = []string{"!closed"}
		c.append(events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.AppApplied{Spec: a.WithDefaults(), SpecRev: 1, Generation: 1}})
	}
}

// close sets or lifts the label that closes nodes to all apps.
func (c *crew) close(closed bool, nodes ...string) (last events.Event) {
	c.tb.Helper()
	for _, id := range nodes {
		after := map[string]string{}
		if closed {
			after["closed"] = "1"
		}
		last = c.append(events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.NodeLabelsUpdated{Node: id, After: after}})
	}
	return last
}
