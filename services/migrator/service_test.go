package migrator

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

func TestMain(m *testing.M) {
	embedded.RegisterBubble()
	os.Exit(m.Run())
}

// live is migrators on a real server, in virtual time. The test plays everybody else.
type live struct {
	*services.Base // of the first migrator
	t              *testing.T
	js             jetstream.JetStream
	away           *servicetest.Away
}

// TestService plays with two migrators of one cluster. It is one bubble: the client library keeps timers in a pool, and those of
// one bubble are of no use in another.
func TestService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), MaxStore: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			synctest.Wait() // nobody asks it anything any more: who does may wait for a lock that it holds asleep, and time stand still
			srv.Shutdown()
		}()
		dial := func() (*nats.Conn, error) {
			return transport.Connect(transport.ConnectOptions{Name: "test", InProcess: srv.InProcess})
		}
		nc, err := dial()
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
		ctx, cancel := context.WithCancel(t.Context())
		g, ctx := errgroup.WithContext(ctx)
		l := &live{t: t, js: js, away: &servicetest.Away{JetStream: js, Type: ".migration.started"}}
		began := time.Now()
		for i := range 2 {
			b, err := services.Open(ctx, services.Config{Cluster: "test", Replica: fmt.Sprintf("r%d", i), Version: "test", NC: nc, Dial: dial,
				Log: zap.NewNop(), Boot: func() time.Duration { return time.Since(began) }, Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			if b.Events, err = events.Open(ctx, l.away, subjects, time.Now); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				l.Base = b
			}
			g.Go(func() error { return b.Run(ctx) })
			g.Go(func() error { return New(b).Run(ctx) })
		}
		g.Go(func() error { // the labeler's heartbeat is the clock
			leases := transport.NewLeases(js, subjects)
			for ctx.Err() == nil {
				if _, err := leases.Beat(ctx, "labeler", "r0"); err != nil && ctx.Err() == nil {
					return err
				}
				select {
				case <-ctx.Done():
				case <-time.After(500 * time.Millisecond):
				}
			}
			return nil
		})
		for _, node := range []string{"a", "b", "c"} {
			l.join(node)
		}
		l.moves()
		l.timesOut()
		l.staysFresh()
		l.refuses()
		l.reads()
		l.nothingLeft()
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func (l *live) put(a events.Aggregate, data any) events.Event {
	l.t.Helper()
	var head events.Head
	l.Replica.View(func(v *projections.Cluster) { head = v.Head(a) })
	e, err := l.Events.Append(l.t.Context(), events.Draft{Aggregate: a, Actor: "test", Cause: "test", Data: data}, head)
	if err == nil {
		err = l.Replica.Await(l.t.Context(), e.Seq)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return e
}

func (l *live) join(node string) {
	l.put(events.Node(node), &events.NodeJoined{Node: node, Inc: node + "1", Machine: node, TTL: spec.Duration(10 * time.Second),
		Facts: events.Facts{CPU: 4000, Memory: 1 << 33, Drivers: []string{"process"}}})
}

// admit has an app placed or moved; from may be "".
func (l *live) admit(id, instance, from, to string) {
	m := events.Move{Migration: id, App: appOf(instance), Instance: instance, SpecRev: 1, From: from, To: to, ToInc: to + "1",
		Reason: events.ReasonManual, Trigger: events.TriggerManual, Class: events.ClassForced, Cause: "test", Correlation: "test"}
	if from != "" {
		m.FromInc = from + "1"
	}
	l.put(events.Cluster("test"), &events.PlanAdmitted{Plan: "plan-" + id, Moves: []events.Move{m}})
}

// await waits until cond holds in the first migrator's fold.
func (l *live) await(what string, cond func(v *projections.Cluster) bool) {
	l.t.Helper()
	for deadline := time.After(10 * time.Minute); ; {
		changed, ok := l.Replica.Changed(), false
		if l.Replica.View(func(v *projections.Cluster) { ok = cond(v) }); ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			l.t.Fatalf("waited for ten minutes: %s", what)
		}
	}
}

// obey plays the agents: it does every order of a migration at once, until the migration has ended. A silent node does nothing.
func (l *live) obey(id string, silent ...string) (status string) {
	l.t.Helper()
	done := uint64(0)
	var r api.StepReport
	for {
		last := r
		r = api.StepReport{}
		l.await("an order of "+id+", or its end", func(v *projections.Cluster) bool {
			m := v.Migrations[id]
			if m == nil {
				return false
			}
			if status = m.Status; m.Ended() {
				return true
			}
			if m.Order == nil || m.Order.Seq == done || len(silent) > 0 && m.Order.Node == silent[0] {
				return false
			}
			r = api.StepReport{OrderSeq: m.Order.Seq, Migration: id, App: m.App, Instance: m.Instance, Step: m.Order.Step, Node: m.Order.Node, Inc: m.Order.Inc}
			return true
		})
		if r.OrderSeq == 0 {
			if last.OrderSeq > 0 {
				last.Code = "again" // the stream would take a mere repetition for one
				l.say(last)
			}
			return status
		}
		done = r.OrderSeq
		l.say(r)
	}
}

func (l *live) say(r api.StepReport) {
	l.t.Helper()
	if err := transport.PublishReport(l.t.Context(), l.js, l.Subjects, r); err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) declare(name string, mode spec.Mode) {
	a := spec.App{Name: name, Mode: mode, Process: &spec.Process{Command: []string{"serve"}}}
	if mode == spec.Replicas {
		a.Replicas = new(1)
	}
	l.put(events.App(name), &events.AppApplied{Spec: a.WithDefaults(), SpecRev: 1, Generation: 1})
}

func (l *live) count(stream string) uint64 {
	l.t.Helper()
	s, err := l.js.Stream(l.t.Context(), stream)
	if err != nil {
		l.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// later waits, in virtual time.
func (l *live) later(d time.Duration) { <-time.After(d) }

// moves apps and counts what is stored: what the move takes, and the one report that obey repeats.
func (l *live) moves() {
	t := l.t
	t.Helper()
	for app, most := range map[string]uint64{"convex": 11 + 1, "web": 7 + 1} {
		mode := spec.Singleton
		if app == "web" {
			mode = spec.Replicas
		}
		l.declare(app, mode)
		l.admit("place-"+app, app+"-0", "", "a")
		if got := l.obey("place-" + app); got != projections.MigrationCompleted {
			t.Fatalf("place %s: %s", app, got)
		}
		l.later(time.Second)
		before := l.count(l.EventsStream()) + l.count(l.ReportsStream())
		l.put(events.Node("a"), &events.NodeLabelsUpdated{Node: "a", After: map[string]string{"moved": app}})
		l.admit("move-"+app, app+"-0", "a", "b")
		if got := l.obey("move-" + app); got != projections.MigrationCompleted {
			t.Fatalf("move %s: %s", app, got)
		}
		l.later(time.Minute) // whatever either of them would still store is stored by then
		if n := l.count(l.EventsStream()) + l.count(l.ReportsStream()) - before; n != most {
			t.Errorf("moving %s stored %d messages, want %d", app, n, most)
		}
	}
}

// nothingLeft checks that every report has been dealt with, repetitions and refused ones included.
func (l *live) nothingLeft() {
	l.t.Helper()
	l.later(30 * time.Second)
	c, err := l.js.Consumer(l.t.Context(), l.ReportsStream(), transport.MigratorDurable)
	if err != nil {
		l.t.Fatal(err)
	}
	if i := c.CachedInfo(); i.NumAckPending > 0 || i.NumPending > 0 || i.Delivered.Stream == 0 {
		l.t.Errorf("%d reports are unanswered and %d undelivered, after %d", i.NumAckPending, i.NumPending, i.Delivered.Stream)
	}
}

// timesOut lets a source say nothing: the move is undone when its time is up.
func (l *live) timesOut() {
	t := l.t
	t.Helper()
	l.declare("late", spec.Singleton)
	l.admit("late-1", "late-0", "", "a")
	l.obey("late-1")
	l.admit("late-2", "late-0", "a", "b")
	began := time.Now()
	if got := l.obey("late-2", "b"); got != projections.MigrationFailed {
		t.Errorf("it is %s, want failed", got)
	}
	if took := time.Since(began); took < time.Minute || took > 65*time.Second {
		t.Errorf("it took %s, want the step's minute", took)
	}
}

// refuses has an agent report what nobody asked of it: that is recorded once, and nothing else happens.
func (l *live) refuses() {
	t := l.t
	t.Helper()
	l.declare("odd", spec.Singleton)
	l.admit("odd-1", "odd-0", "", "a")
	l.await("the first order", func(v *projections.Cluster) bool { m := v.Migrations["odd-1"]; return m != nil && m.Order != nil })
	var order projections.Order
	l.Replica.View(func(v *projections.Cluster) { order = *v.Migrations["odd-1"].Order })
	r := api.StepReport{OrderSeq: order.Seq, Migration: "odd-1", App: "odd", Instance: "odd-0", Step: order.Step, Node: "a", Inc: "a0"}
	beyond := r
	beyond.OrderSeq, beyond.Inc = 1000, "a1"
	for i, r := range []api.StepReport{r, beyond} {
		l.say(r)
		l.await("a refusal", func(v *projections.Cluster) bool { return v.Metrics.Refused[string(api.CodeRefused)] == i+1 })
	}
	l.later(30 * time.Second) // any further delivery has come by then
	var refusals []events.RequestRefused
	err := l.Events.Follow(l.t.Context(), 1, []string{l.Aggregate(events.Request(events.Migrator))}, func(m events.Message) error {
		refusals = append(refusals, *m.Event.Data.(*events.RequestRefused))
		if want := fmt.Sprintf("rep:%d:a", []uint64{order.Seq, 1000}[len(refusals)-1]); m.Event.Cause != want || m.Event.Actor != "agent:a" {
			t.Errorf("cause %q, actor %q; want %q, agent:a", m.Event.Cause, m.Event.Actor, want)
		}
		if len(refusals) == 2 {
			return context.Canceled
		}
		return nil
	})
	if err != context.Canceled || !strings.Contains(refusals[0].Detail, "incarnation a1 of a, not for a0") || !strings.Contains(refusals[1].Detail, "beyond the end of the log") {
		t.Errorf("%v: %+v", err, refusals)
	}
	l.Replica.View(func(v *projections.Cluster) {
		if n := v.Metrics.Refused[string(api.CodeRefused)]; n != 2 || v.Migrations["odd-1"].Order.Step != events.StepPrepare {
			t.Errorf("%d refusals, at %s; want 2, at prepare", n, v.Migrations["odd-1"].Order.Step)
		}
	})
}

// reads health and a fenced epoch out of a lease.
func (l *live) reads() {
	t := l.t
	t.Helper()
	l.declare("ill", spec.Singleton)
	l.admit("ill-1", "ill-0", "", "c")
	l.obey("ill-1")
	seq := uint64(0)
	lease := func(change func(*api.Lease)) {
		t.Helper()
		x := api.Lease{State: api.LeaseHeld, Node: "c", Inc: "c1", TTL: spec.Duration(10 * time.Second), LogSeq: l.Replica.Seq()}
		change(&x)
		var err error
		if seq, err = l.Leases.Put(t.Context(), x, seq); err != nil {
			t.Fatal(err)
		}
	}
	at := func(healthy bool) func(*projections.Cluster) bool {
		return func(v *projections.Cluster) bool {
			in := v.Apps["ill"].Instances["ill-0"]
			return in != nil && in.Healthy == healthy
		}
	}
	says := func(state string, healthy bool) func(*api.Lease) {
		return func(x *api.Lease) {
			x.Instances = []api.InstanceHealth{{ID: "ill-0", App: "ill", State: state, Healthy: healthy}}
		}
	}
	lease(says(api.InstanceStarting, false))
	l.await("unhealthy", at(false))
	lease(says(api.InstanceRunning, true))
	l.await("healthy", at(true))
	lease(func(x *api.Lease) { x.Fenced = []api.FencedEpoch{{App: "ill", Instance: "ill-0", Epoch: 1}} })
	l.await("released", func(v *projections.Cluster) bool {
		a := v.Apps["ill"]
		return a.Leader.Ended && len(a.Instances) == 0
	})
}

// staysFresh has the start of a move be lost on its way, and its target be cordoned meanwhile: what is said again is decided anew.
func (l *live) staysFresh() {
	t := l.t
	t.Helper()
	l.declare("fresh", spec.Replicas)
	l.away.On.Store(true)
	l.admit("place-fresh", "fresh-0", "", "c")
	l.later(time.Second)
	if l.away.Lost.Load() == 0 {
		t.Fatal("nobody has begun it")
	}
	l.put(events.Node("c"), &events.NodeCordoned{Node: "c"})
	l.later(time.Second)
	l.away.On.Store(false)
	if got := l.obey("place-fresh"); got != projections.MigrationFailed {
		t.Errorf("a placement that was lost on its way to a node that is cordoned by now: %s", got)
	}
	l.put(events.Node("c"), &events.NodeUncordoned{Node: "c"})
}
