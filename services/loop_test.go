package services_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// cable is a connection to a server that can be cut.
type cable struct {
	to   nats.InProcessConnProvider
	mu   sync.Mutex
	cut  bool
	ends []net.Conn
}

func (c *cable) InProcessConn() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, errors.New("cut")
	}
	end, err := c.to.InProcessConn()
	c.ends = append(c.ends, end)
	return end, err
}

func (c *cable) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for _, end := range c.ends {
		if cut {
			_ = end.Close()
		}
	}
}

// While NATS is away nothing is decided, the log has one line for it, and the service is not ready; then it goes on.
func TestLoopOverAnOutage(t *testing.T) {
	embedded.RegisterBubble()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		srv, err := embedded.Start(embedded.Options{StoreDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			synctest.Wait() // nobody asks it anything any more: who does may wait for a lock that it holds asleep, and time stand still
			srv.Shutdown()
		}()
		line := &cable{to: srv}
		nc, err := transport.Connect(transport.ConnectOptions{Name: "test", InProcess: line})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		subjects, err := events.NewSubjects("test")
		if err != nil {
			t.Fatal(err)
		}
		if err := transport.Bootstrap(t.Context(), js, subjects, transport.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		core, seen := observer.New(zap.InfoLevel)
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		b, err := services.Open(ctx, services.Config{Cluster: "test", Replica: "r1", NC: nc, Log: zap.New(core), Now: time.Now,
			Boot: func() time.Duration { return time.Since(began) }})
		if err != nil {
			t.Fatal(err)
		}
		c := services.NewCore(b, events.Planner)
		var decided atomic.Int32
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		wg.Go(func() {
			if err := c.Loop(ctx, false, func(context.Context) (time.Time, error) { decided.Add(1); return time.Time{}, nil }); err != nil {
				t.Error(err)
			}
		})
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		logged := func(message string) int { return seen.FilterMessage(message).Len() }

		pass(time.Minute)
		if err := c.Ready(); err != nil || decided.Load() < 4 {
			t.Fatalf("%v after a minute, decided %d times", err, decided.Load())
		}
		line.setCut(true)
		pass(time.Second)
		before := decided.Load()
		pass(5 * time.Minute)
		if c.Ready() == nil || decided.Load() != before || logged("waiting for the log, nothing is decided meanwhile") != 1 {
			t.Errorf("cut off: ready %v, decided %d times more, %v", c.Ready(), decided.Load()-before, seen.All())
		}
		line.setCut(false)
		pass(time.Minute)
		if err := c.Ready(); err != nil || decided.Load() == before || logged("caught up with the log again") != 1 {
			t.Errorf("back: %v, decided %d times more, %v", err, decided.Load()-before, seen.All())
		}
		cancel()
		wg.Wait()
	})
}
