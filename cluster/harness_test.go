package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/services/migrator"
	"github.com/go-cluster/go-cluster/services/planner"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	"github.com/go-cluster/go-cluster/transport"
	natsserver "github.com/go-cluster/go-cluster/transport/embedded"
)

func TestMain(m *testing.M) {
	if node := os.Getenv(childNode); node != "" {
		child(node)
		return
	}
	natsserver.RegisterBubble()
	os.Exit(m.Run())
}

// world is a cluster named prod: the real JetStream and every service, in virtual time or in real time.
type world struct {
	*testing.T
	dir   string
	start time.Time
	srv   *natsserver.Server
	base  *services.Base
	log   *zap.Logger
	ctx   context.Context

	mu     sync.Mutex
	stored []events.Event
}

// inBubble calls f in virtual time.
func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	natsserver.RegisterBubble()
	dir := t.TempDir()
	defer natsserver.RegisterBubble() // for clients outside of any bubble, which may follow
	synctest.Test(t, func(t *testing.T) { f(newWorld(t, dir, natsserver.Options{StoreDir: filepath.Join(dir, "nats")})) })
}

func newWorld(t testing.TB, dir string, o natsserver.Options) *world {
	t.Helper()
	w := &world{dir: dir, start: time.Now(), log: zap.NewNop()}
	w.T, _ = t.(*testing.T)
	if testing.Verbose() {
		w.log = zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel))
	}
	var err error
	if w.srv, err = natsserver.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if o.Port == 0 { // in a bubble: who asks it anything may wait for a lock that it holds asleep, and time stand still
			synctest.Wait()
		}
		w.srv.Shutdown()
	})
	ctx, cancel := context.WithCancel(context.Background())
	w.ctx = ctx
	nc := w.dial(t, "control plane")
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := events.NewSubjects("prod")
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Bootstrap(ctx, js, s, transport.BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	w.base, err = services.Open(ctx, services.Config{Cluster: "prod", Replica: "r1", Version: "test", NC: nc, Log: w.log, Now: time.Now, Boot: w.boot,
		Dial: func() (*nats.Conn, error) {
			return transport.Connect(transport.ConnectOptions{Name: "work", InProcess: w.srv})
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	for _, run := range []func(context.Context) error{w.base.Run, w.record, labeler.New(w.base).Run, planner.New(w.base).Run, migrator.New(w.base).Run,
		rebalancer.New(w.base).Run, auditor.New(w.base).Run} {
		w.spawn(t, ctx, run)
	}
	return w
}

// record keeps every stored event.
func (w *world) record(ctx context.Context) error {
	return w.base.Events.Follow(ctx, 1, nil, func(m events.Message) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stored = append(w.stored, m.Event)
		return nil
	})
}

func (w *world) boot() time.Duration { return time.Hour + time.Since(w.start) }

func (w *world) dial(t testing.TB, name string) *nats.Conn {
	t.Helper()
	nc, err := transport.Connect(transport.ConnectOptions{Name: name, InProcess: w.srv})
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func (w *world) spawn(t testing.TB, ctx context.Context, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// platform is a program on a machine of its own.
func (w *world) platform(node string, options ...Option) *Platform {
	p := NewPlatform("prod", node, "nats://in.process:4222", append([]Option{DataDir(filepath.Join(w.dir, "node-"+node)), Address("10.0.0.1")}, options...)...)
	p.dial = func(name string) (*nats.Conn, error) {
		return transport.Connect(transport.ConnectOptions{Name: name, InProcess: w.srv})
	}
	p.tune = func(c *agent.Config) {
		c.Clock, c.BootID, c.Host = agent.Clock{Boot: w.boot, Now: time.Now}, "boot-1", "host-"+node
	}
	if testing.Verbose() {
		p.log = slog.New(slog.NewTextHandler(testOutput{w.T}, nil))
	}
	w.Cleanup(p.Close)
	return p
}

type testOutput struct{ *testing.T }

func (o testOutput) Write(b []byte) (int, error) { o.Log(string(b)); return len(b), nil }

// run runs a platform until stop is called, and waits until it has joined.
func (w *world) run(p *Platform) (stop func()) {
	w.Helper()
	joined, tune := make(chan struct{}, 100), p.tune
	p.tune = func(c *agent.Config) {
		tune(c)
		c.OnJoin = func() { joined <- struct{}{} }
	}
	stop = w.spawn(w.T, w.ctx, p.Run)
	select {
	case <-joined:
	case <-time.After(10 * time.Minute):
		w.Fatalf("node %s has not joined within 10 minutes\n%s", p.node, w.state())
	}
	return stop
}

// until waits for a fact of the log.
func (w *world) until(what string, is func(v *projections.Cluster) bool) {
	w.Helper()
	over := time.NewTimer(10 * time.Minute)
	defer over.Stop()
	for {
		changed, ok := w.base.Replica.Changed(), false
		w.base.Replica.View(func(v *projections.Cluster) { ok = is(v) })
		if ok {
			return
		}
		select {
		case <-changed:
		case <-over.C:
			w.Fatalf("not within 10 minutes: %s\n%s", what, w.state())
		}
	}
}

// on waits until exactly the given nodes run the app, well and with nothing under way.
func (w *world) on(app string, nodes ...string) {
	w.Helper()
	w.until(fmt.Sprintf("%s runs on %v", app, nodes), func(v *projections.Cluster) bool {
		a := v.Apps[app]
		if a == nil || len(a.Open) > 0 || len(a.Instances) != len(nodes) {
			return false
		}
		for _, n := range nodes {
			found := false
			for _, in := range a.Instances {
				found = found || in.Node == n && in.Healthy
			}
			if !found {
				return false
			}
		}
		return true
	})
}

func (w *world) state() string {
	var s string
	w.base.Replica.View(func(v *projections.Cluster) {
		for _, n := range v.SortedNodes() {
			s += fmt.Sprintf("node %s %s %v\n", n.ID, n.Status, n.Labels)
		}
		for _, a := range v.Apps {
			s += fmt.Sprintf("app %s rev %d pending %+v\n", a.Name, a.SpecRev, a.Pending)
			for _, in := range a.Instances {
				s += fmt.Sprintf("  %+v\n", *in)
			}
		}
		for _, m := range v.SortedMigrations() {
			s += fmt.Sprintf("  %s %s %s→%s %s %s %s\n", m.Migration, m.Instance, m.From, m.To, m.Status, m.Code, m.Detail)
		}
	})
	return s
}

// idle waits, in virtual time, for something that no event says.
func (w *world) idle(what string, is func() bool) {
	w.Helper()
	for end := time.Now().Add(10 * time.Minute); !is(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not within 10 minutes: %s", what)
		}
	}
}

func joinedTo(joined chan<- struct{}) func(*agent.Config) {
	return func(c *agent.Config) { c.OnJoin = func() { joined <- struct{}{} } }
}

// natsserverOptions are those of a server in real time.
func natsserverOptions(t *testing.T) natsserver.Options {
	return natsserver.Options{StoreDir: filepath.Join(t.TempDir(), "nats"), Port: -1}
}
