package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// cable is a program's way to NATS, which can be cut.
type cable struct {
	w *world

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (c *cable) InProcessConn() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil, net.ErrClosed
	}
	conn, err := c.w.srv.InProcessConn()
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// attach has a platform connect over a cable of its own.
func (w *world) attach(p *Platform) *cable {
	c := &cable{w: w}
	p.dial = func(name string) (*nats.Conn, error) {
		return transport.Connect(transport.ConnectOptions{Name: name, InProcess: c})
	}
	return c
}

// turn is what one node wrote under one epoch, on the bubble's clock.
type turn struct {
	node        string
	epoch       uint64
	first, last time.Duration
}

// writers is an app whose every instance writes every 10 ms for as long as its gate is open, whatever its context says.
type writers struct {
	w *world

	mu    sync.Mutex
	turns []turn
}

func (ws *writers) app(node string) *Application {
	a := App("counter", Singleton())
	a.OnActive(func(ctx context.Context) error {
		epoch, _ := Epoch(ctx)
		go func() {
			for {
				err := a.Write(ctx, func(context.Context) error {
					ws.mu.Lock()
					defer ws.mu.Unlock()
					now := ws.w.boot()
					if n := len(ws.turns); n == 0 || ws.turns[n-1].node != node || ws.turns[n-1].epoch != epoch {
						ws.turns = append(ws.turns, turn{node, epoch, now, now})
					}
					ws.turns[len(ws.turns)-1].last = now
					return nil
				})
				if errors.Is(err, ErrFenced) {
					return
				}
				<-time.After(10 * time.Millisecond)
			}
		}()
		return nil
	})
	return a
}

func (ws *writers) newest() turn {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.turns) == 0 {
		return turn{}
	}
	return ws.turns[len(ws.turns)-1]
}

// A program that is cut off stops writing at its lease's deadline, and another begins only after that; when the cable is back, so is the
// node, and its old epoch stays refused.
func TestIsolation(t *testing.T) {
	inBubble(t, func(w *world) {
		ws, cables := &writers{w: w}, map[string]*cable{}
		for _, node := range []string{"node-1", "node-2", "node-3"} {
			p := w.platform(node)
			cables[node] = w.attach(p)
			if err := p.Register(ws.app(node)); err != nil {
				t.Fatal(err)
			}
			w.run(p)
		}
		w.idle("somebody writes", func() bool { return ws.newest().epoch == 1 })
		for epoch := uint64(1); epoch <= 4; epoch++ {
			old := ws.newest()
			cut := w.boot()
			cables[old.node].set(true)
			w.idle("another writes", func() bool { return ws.newest().epoch == epoch+1 })
			now := ws.newest()
			ws.mu.Lock()
			old = ws.turns[epoch-1]
			ws.mu.Unlock()
			if now.node == old.node || old.last >= now.first {
				t.Errorf("epoch %d: %+v, then %+v", epoch, old, now)
			}
			if wrote := old.last - cut; wrote > 30*time.Second || wrote < 15*time.Second {
				t.Errorf("%s wrote on for %s after it was cut off, its lease is 30s", old.node, wrote)
			}
			cables[old.node].set(false)
			w.until("the node is back", func(v *projections.Cluster) bool {
				return v.Nodes[old.node].Status == projections.StatusReady && v.Nodes[old.node].Joined.Seq > v.Nodes[old.node].Suspected.Seq
			})
		}
	})
}

// An instance whose functions fail, panic or hang does not run there: another node has it. What had started is told to stop.
func TestBadFunctions(t *testing.T) {
	for name, bad := range map[string]struct {
		function string
		f        func(context.Context) error
	}{
		"OnStart fails":    {"start", func(context.Context) error { return errors.New("no port") }},
		"OnStart panics":   {"start", func(context.Context) error { panic("no port") }},
		"OnStandby fails":  {"standby", func(context.Context) error { return errors.New("no replica") }},
		"OnActive fails":   {"active", func(context.Context) error { return errors.New("no database") }},
		"OnActive panics":  {"active", func(context.Context) error { panic("no database") }},
		"OnActive hangs":   {"active", func(ctx context.Context) error { <-ctx.Done(); return nil }},
		"OnActive is late": {"active", func(context.Context) error { <-time.After(40 * time.Second); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				apps := map[string]*Application{}
				var started, stopped atomic.Int64
				w.two(func(node string) *Application {
					a := App("db", Singleton(), PreferNode("node-1", 100))
					apps[node] = a
					if node == "node-1" {
						a.OnStop(func(context.Context) error { stopped.Add(1); return nil })
						if bad.function != "start" {
							a.OnStart(func(context.Context) error { started.Add(1); return nil })
						}
						switch bad.function {
						case "start":
							a.OnStart(bad.f)
						case "standby":
							a.OnStandby(bad.f)
						case "active":
							a.OnActive(bad.f)
						}
					}
					return a
				})
				w.on("db", "node-2")
				if err := apps["node-2"].Fence(w.ctx); err != nil {
					t.Error(err)
				}
				if err := apps["node-1"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
					t.Errorf("the gate of the one that failed: %v", err)
				}
				<-time.After(time.Minute) // whoever is late has returned
				if err := apps["node-1"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
					t.Errorf("the gate of the one that was late: %v", err)
				}
				if a, b := started.Load(), stopped.Load(); a != b || (a == 0) != (bad.function == "start") {
					t.Errorf("%d times it had started, and %d times it was told to stop", a, b)
				}
			})
		})
	}
}

// A step-down waits for the writes under way; one that does not end keeps the epoch where it is.
func TestStepDownWaitsForWrites(t *testing.T) {
	inBubble(t, func(w *world) {
		apps := map[string]*Application{}
		client := w.two(func(node string) *Application {
			apps[node] = App("db", Singleton(), PreferNode("node-1", 100))
			return apps[node]
		})
		w.on("db", "node-1")
		begun, finish := make(chan struct{}), make(chan struct{})
		wrote := make(chan error, 1)
		write := func() {
			wrote <- apps["node-1"].Write(w.ctx, func(context.Context) error { close(begun); <-finish; return nil })
		}
		go write()
		<-begun
		moved := make(chan error, 1)
		go func() { moved <- client.MoveApp(w.ctx, MoveRequest{App: "db", ToNode: "node-2"}) }()
		<-time.After(10 * time.Second)
		if err := apps["node-2"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
			t.Fatalf("node-2 may write beside a write under way: %v", err)
		}
		close(finish)
		if err := <-moved; err != nil {
			t.Errorf("move: %v", err)
		}
		if err := <-wrote; err != nil {
			t.Errorf("the write under way: %v", err)
		}
		w.on("db", "node-2")

		// One that does not end: nobody else begins before it has, however long that takes.
		begun, finish = make(chan struct{}), make(chan struct{})
		go func() {
			wrote <- apps["node-2"].Write(w.ctx, func(context.Context) error { close(begun); <-finish; return nil })
		}()
		<-begun
		go func() { moved <- client.MoveApp(w.ctx, MoveRequest{App: "db", ToNode: "node-1"}) }()
		for range 10 {
			<-time.After(20 * time.Second)
			if err := apps["node-1"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
				t.Fatalf("node-1 may write beside a write under way: %v", err)
			}
		}
		close(finish)
		<-wrote
		<-moved
		w.idle("one of them serves", func() bool {
			one, two := apps["node-1"].Fence(w.ctx), apps["node-2"].Fence(w.ctx)
			return (one == nil) != (two == nil)
		})
	})
}
