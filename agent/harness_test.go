package agent

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded/servertest"
)

// world is a real JetStream in virtual time, in which the test plays the control plane.
type world struct {
	*testing.T
	ctx      context.Context
	dir      string
	boot     func() time.Duration // goes on while the machine is suspended
	slept    atomic.Int64         // how long it was, in nanoseconds
	subjects events.Subjects
	server   servertest.Server
	store    string
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *events.Log
	leases   *transport.Leases
	heads    map[events.Aggregate]events.Head
	logger   *zap.Logger

	mu       sync.Mutex
	declared []api.DeclareRequest
}

func inWorld(t *testing.T, f func(*world)) {
	t.Helper()
	dir := t.TempDir()
	servertest.Bubble(t, func(t *testing.T) {
		start := time.Now()
		s, err := events.NewSubjects("test")
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, ctx: t.Context(), dir: dir, subjects: s, store: filepath.Join(dir, "nats"), heads: map[events.Aggregate]events.Head{},
			logger: zap.NewNop()}
		w.boot = func() time.Duration { return time.Hour + time.Since(start) + time.Duration(w.slept.Load()) }
		if testing.Verbose() {
			w.logger = zaptest.NewLogger(t)
		}
		w.server.Start(t, w.store)
		defer w.server.Stop()
		w.nc = w.dial("control")
		defer w.nc.Close()
		if w.js, err = jetstream.New(w.nc); err != nil {
			t.Fatal(err)
		}
		if err := transport.Bootstrap(w.ctx, w.js, s, transport.BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		if w.log, err = events.Open(w.ctx, w.js, s, time.Now); err != nil {
			t.Fatal(err)
		}
		w.leases = transport.NewLeases(w.js, s)
		svc, err := transport.Serve(w.nc, s, events.Labeler, "0.1.0", "r1", map[api.Endpoint]transport.Handler{api.NodeDeclare: w.declare}, transport.ServeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = svc.Stop() }()
		f(w)
	})
}

func (w *world) dial(name string) *nats.Conn {
	w.Helper()
	nc, err := transport.Connect(transport.ConnectOptions{Name: name, InProcess: &w.server})
	if err != nil {
		w.Fatal(err)
	}
	return nc
}

// declare is the labeler's part of a join.
func (w *world) declare(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.DeclareRequest](r)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	rec, _, err := w.leases.Get(ctx, req.Node)
	if err != nil {
		return nil, err
	}
	if rec.Lease.State != api.LeaseHeld || rec.Lease.Inc != req.Inc {
		return nil, api.Refuse(api.CodeConflict, "%s does not hold the lease", req.Inc)
	}
	w.declared = append(w.declared, req)
	durable, err := transport.EnsureNodeDurable(ctx, w.js, w.subjects, req.Node)
	if err != nil {
		return nil, err
	}
	for _, d := range w.declared[:len(w.declared)-1] {
		if d.Inc == req.Inc {
			return api.DeclareReply{Seq: w.heads[events.Node(req.Node)].Seq, Durable: durable}, nil
		}
	}
	e := w.appendLocked("", &events.NodeJoined{Node: req.Node, Inc: req.Inc, Machine: req.Machine, TTL: req.TTL, Epochs: req.Epochs, Facts: req.Facts}, events.Node(req.Node))
	return api.DeclareReply{Seq: e.Seq, Durable: durable}, nil
}

func (w *world) appendLocked(target string, data any, agg events.Aggregate) events.Event {
	w.Helper()
	e, err := w.log.Append(w.ctx, events.Draft{Aggregate: agg, Target: target, Actor: "test", Cause: "test", Data: data}, w.heads[agg])
	if err != nil {
		w.Fatal(err)
	}
	w.heads[agg] = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
	return e
}

// append stores an event of an app, addressed to the node that its next step names.
func (w *world) append(app string, data any) events.Event {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	target := ""
	var next *events.Next
	switch d := data.(type) {
	case *events.MigrationStarted:
		next = d.Next
	case *events.StepRequested:
		next = d.Next
	case *events.StepCompleted:
		next = d.Next
	case *events.LeadershipGranted:
		next = d.Next
	case *events.LeadershipActivated:
		next = d.Next
	case *events.MigrationCompleted:
		target = d.ToNode
	case *events.MigrationFailed:
		target = d.ToNode
	case *events.CancelRequested:
		target = d.ToNode
	}
	if next != nil {
		target = next.Node
	}
	return w.appendLocked(target, data, events.App(app))
}

func (w *world) appendNode(node string, data any) events.Event {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.appendLocked("", data, events.Node(node))
}

// until waits for something that must come about within the time.
func (w *world) until(within time.Duration, what string, cond func() bool) {
	w.Helper()
	for end := time.Now().Add(within); ; {
		synctest.Wait()
		if cond() {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("not within %s: %s", within, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) lease(node string) transport.LeaseRecord {
	w.Helper()
	rec, _, err := w.leases.Get(w.ctx, node)
	if err != nil {
		w.Fatal(err)
	}
	return rec
}

// report waits for the report on an order.
func (w *world) report(order events.Event) api.StepReport {
	w.Helper()
	var got api.StepReport
	w.until(time.Minute, "report on "+string(order.Type), func() bool {
		for _, r := range w.reports() {
			if r.OrderSeq == order.Seq {
				got = r
				return true
			}
		}
		return false
	})
	return got
}

func (w *world) reports() []api.StepReport {
	w.Helper()
	stream, err := w.js.Stream(w.ctx, w.subjects.ReportsStream())
	if err != nil {
		w.Fatal(err)
	}
	var out []api.StepReport
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(w.ctx, seq)
		if err != nil {
			w.Fatal(err)
		}
		var r api.StepReport
		if err := json.Unmarshal(m.Data, &r); err != nil {
			w.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// running is an agent that can be stopped.
type running struct {
	w      *world
	nc     *nats.Conn
	cancel context.CancelFunc
	done   chan error
}

func (w *world) config(dir string, d *simDriver) Config {
	return Config{Cluster: "test", Node: "node-1", Dir: filepath.Join(w.dir, dir), Address: "10.0.0.1", TTL: 30 * time.Second, Renew: 5 * time.Second,
		Driver: d, Clock: Clock{Boot: w.boot, Now: time.Now}, BootID: "boot-1", Host: "host-" + dir, Version: "0.1.0", Log: w.logger,
		Labels: map[string]string{"role": "storage"}, Facts: events.Facts{CPU: 4000, Drivers: []string{"process"}}}
}

func (w *world) agent(cfg Config) *running {
	w.Helper()
	r := &running{w: w, nc: w.dial("agent"), done: make(chan error, 1)}
	cfg.NC = r.nc
	cfg.Dial = func() (*nats.Conn, error) {
		return transport.Connect(transport.ConnectOptions{Name: "agent wake-ups", InProcess: &w.server})
	}
	ctx, cancel := context.WithCancel(w.ctx)
	r.cancel = cancel
	go func() { r.done <- Run(ctx, cfg) }()
	return r
}

func (r *running) stop() {
	r.w.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		r.w.Errorf("agent: %v", err)
	}
	r.nc.Close()
}

// joined waits until the node has joined and returns its incarnation.
func (w *world) joined(n int) string {
	w.Helper()
	var inc string
	w.until(time.Minute, "declaration", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.declared) >= n {
			inc = w.declared[n-1].Inc
		}
		return inc != ""
	})
	return inc
}

func singleton(name string) spec.App {
	return spec.App{Name: name, Mode: spec.Singleton, Process: &spec.Process{Command: []string{"/bin/" + name}}}.WithDefaults()
}

func pool(name string) spec.App {
	n := 1
	return spec.App{Name: name, Mode: spec.Replicas, Replicas: &n, Process: &spec.Process{Command: []string{"/bin/" + name}}}.WithDefaults()
}

func (w *world) apply(a spec.App, rev uint64) {
	w.append(a.Name, &events.AppApplied{Spec: a, SpecRev: rev, Generation: rev})
}

// start orders the first step of a first placement of instance 0.
func (w *world) start(app, inc string, step events.Step) (events.Ref, events.Event) {
	ref := events.Ref{Migration: "m1-" + app, Instance: app + "-0", ToNode: "node-1", Reason: events.ReasonManual, Trigger: events.TriggerAutomatic}
	return ref, w.append(app, &events.MigrationStarted{Ref: ref, Kind: events.KindPlace, Plan: "p1", SpecRev: 1, Generation: 1, ToInc: inc, Class: events.ClassRecovery,
		Next: &events.Next{Step: step, Node: "node-1", Inc: inc, Timeout: spec.Duration(time.Minute)}})
}

// runPool places instance 0 of a pool on the node.
func (w *world) runPool(app, inc string) {
	w.Helper()
	w.apply(pool(app), 1)
	ref, order := w.start(app, inc, events.StepStart)
	r := w.report(order)
	if r.Failed {
		w.Fatalf("start: %+v", r)
	}
	w.append(app, &events.MigrationCompleted{Ref: ref, Step: events.StepStart, Result: r.Result})
}

// runSingleton places instance 0 of a singleton on the node, under epoch 1.
func (w *world) runSingleton(app, inc string) {
	w.Helper()
	w.apply(singleton(app), 1)
	ref, order := w.start(app, inc, events.StepPrepare)
	next := func(s events.Step) *events.Next {
		return &events.Next{Step: s, Node: "node-1", Inc: inc, Timeout: spec.Duration(time.Minute)}
	}
	must := func(r api.StepReport) api.StepReport {
		w.Helper()
		if r.Failed {
			w.Fatalf("step: %+v", r)
		}
		return r
	}
	must(w.report(order))
	order = w.append(app, &events.LeadershipGranted{Ref: ref, Epoch: 1, Node: "node-1", Inc: inc, OrderSeq: order.Seq, Next: next(events.StepPersist)})
	must(w.report(order))
	order = w.append(app, &events.LeadershipActivated{Ref: ref, Epoch: 1, Node: "node-1", Inc: inc, OrderSeq: order.Seq, Next: next(events.StepActivate)})
	r := must(w.report(order))
	w.append(app, &events.MigrationCompleted{Ref: ref, Step: events.StepActivate, Result: r.Result})
}
