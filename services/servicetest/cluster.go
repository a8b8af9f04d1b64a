// Package servicetest is a cluster to test services in: the real JetStream, in virtual time, with nodes whose leases are kept. What
// takes minutes takes milliseconds, and nothing is imitated but the machines.
package servicetest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// Cluster is a cluster named test and one process that runs services in it.
type Cluster struct {
	*services.Base
	srv   *embedded.Server
	start time.Time
	ctx   context.Context
	log   *zap.Logger
}

// Run calls f inside a bubble with an empty cluster. Everything that f started through the Cluster has ended when it returns.
func Run(t *testing.T, f func(t *testing.T, c *Cluster)) {
	t.Helper()
	embedded.RegisterBubble()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv, err := embedded.Start(embedded.Options{StoreDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			synctest.Wait() // what was asked of the server last is done: it would wait for a lock that the server holds asleep, and time stand still
			srv.Shutdown()
		})
		ctx, cancel := context.WithCancel(context.Background())
		c := &Cluster{srv: srv, start: time.Now(), ctx: ctx, log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))}
		nc := c.connect(t)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		s, err := events.NewSubjects("test")
		if err != nil {
			t.Fatal(err)
		}
		if err := transport.Bootstrap(ctx, js, s, transport.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		c.Base = c.process(t, nc, "r1")
		t.Cleanup(cancel)
		f(t, c)
	})
}

func (c *Cluster) connect(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(c.srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// process opens a Base and keeps it up to date.
func (c *Cluster) process(t *testing.T, nc *nats.Conn, replica string) *services.Base {
	t.Helper()
	b, err := services.Open(c.ctx, services.Config{Cluster: "test", Replica: replica, Version: "test", NC: nc, Log: c.log, Now: time.Now,
		Boot: func() time.Duration { return time.Since(c.start) }})
	if err != nil {
		t.Fatal(err)
	}
	c.spawn(t, c.ctx, b.Run)
	return b
}

// Another returns the Base of another process of the same cluster, with a connection of its own.
func (c *Cluster) Another(t *testing.T, replica string) *services.Base {
	t.Helper()
	return c.process(t, c.connect(t), replica)
}

// Start runs a service until the test ends, or stop is called, which returns when it has ended.
func (c *Cluster) Start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	return c.spawn(t, c.ctx, run)
}

func (c *Cluster) spawn(t *testing.T, ctx context.Context, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a service ended: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// Beat keeps the clock of the cluster going where no labeler does.
func (c *Cluster) Beat(t *testing.T) {
	t.Helper()
	c.Start(t, func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if _, err := c.Leases.Beat(ctx, events.Labeler, "clock"); err != nil && ctx.Err() == nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
}

// Until waits, for a virtual hour at most, until the fold is as wanted. What the log held when it was called is in the fold that is
// looked at first: an older one may be as wanted from before.
func (c *Cluster) Until(t *testing.T, what string, is func(v *projections.Cluster) bool) {
	t.Helper()
	if err := c.Replica.CatchUp(t.Context(), 0); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	over := time.NewTimer(time.Hour)
	defer over.Stop()
	for {
		changed, ok := c.Replica.Changed(), false
		c.Replica.View(func(v *projections.Cluster) { ok = is(v) })
		if ok {
			return
		}
		select {
		case <-changed:
		case <-over.C:
			t.Fatalf("waited an hour in vain for %s", what)
		}
	}
}

// Pass lets virtual time go by.
func (c *Cluster) Pass(d time.Duration) { <-time.After(d) }

// Meta is that of a new command by cli:ana.
func (c *Cluster) Meta() api.Meta { return transport.NewMeta("cli:ana", time.Now(), time.Minute) }

// Call asks the services as a client does.
func Call[Rep, Req any](c *Cluster, e api.Endpoint, req Req) (Rep, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	return transport.Call[Req, Rep](ctx, c.NC, c.Subjects, e, req)
}

// Must is Call where a refusal fails the test.
func Must[Rep, Req any](t *testing.T, c *Cluster, e api.Endpoint, req Req) Rep {
	t.Helper()
	rep, err := Call[Rep](c, e, req)
	if err != nil {
		t.Fatalf("%s.%s: %v", e.Noun, e.Verb, err)
	}
	return rep
}

// Append stores an event on whatever the fold has, as the service that writes its type would.
func (c *Cluster) Append(t *testing.T, d events.Draft) events.Event {
	t.Helper()
	for {
		var head events.Head
		if err := c.Replica.CatchUp(c.ctx, 0); err != nil {
			t.Fatal(err)
		}
		c.Replica.View(func(v *projections.Cluster) { head = v.Head(d.Aggregate) })
		e, err := c.Events.Append(c.ctx, d, head)
		if errors.Is(err, events.ErrConflict) { // a service was faster
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Replica.Await(c.ctx, e.Seq); err != nil {
			t.Fatal(err)
		}
		return e
	}
}
