package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// An order is done once, whatever wakes the agent up, and an agent that comes back repeats what the last one said.
func TestOrderIsDoneOnceAndReportedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		inc := w.joined(1)
		w.apply(pool("web"), 1)
		ref, order := w.start("web", inc, events.StepStart)
		first := w.report(order)
		if first.Failed || first.Inc != inc || first.Result.Address != "10.0.0.1" || first.Result.Ports["http"] != 20001 {
			t.Errorf("report %+v", first)
		}
		w.append("web", &events.CancelRequested{Ref: ref, Why: "operator"}) // wakes it up; the order stays open
		w.pass(time.Second)
		if n := d.count("start"); n != 1 || len(w.reports()) != 1 {
			t.Errorf("%d starts, %d reports", n, len(w.reports()))
		}
		a.stop()
		if st, _ := d.Status("web-0"); st.State != StateRunning {
			t.Errorf("an agent leaves its apps running; it is %s", st.State)
		}
		w.pass(5 * time.Minute) // beyond the window in which the stream itself drops duplicates
		a = w.agent(w.config("a", d))
		defer a.stop()
		w.until(time.Minute, "second report", func() bool { return len(w.reports()) == 2 })
		if diff := cmp.Diff(first, w.reports()[1]); diff != "" {
			t.Errorf("it says something else:\n%s", diff)
		}
		if again := w.joined(2); again != inc {
			t.Errorf("on its own lease in the same boot it is %s, was %s", again, inc)
		}
		if n := d.count("start"); n != 1 {
			t.Errorf("%d starts", n)
		}
	})
}

// A cancelled migration ends a start that waits for health, and what it left behind.
func TestCancelEndsAWaitingStart(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		d.sick["web"] = true
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.apply(pool("web"), 1)
		ref, _ := w.start("web", inc, events.StepStart)
		w.until(time.Minute, "start", func() bool { return d.count("start") == 1 })
		w.append("web", &events.MigrationFailed{Ref: ref, Code: "cancelled", Left: events.LeftNowhere})
		w.until(time.Minute, "removal", func() bool { _, ok := d.Status("web-0"); return !ok })
		if d.count("remove web-0 false") != 1 || len(w.reports()) != 0 {
			t.Errorf("calls %v, reports %v", d.calls, w.reports())
		}
	})
}

// A start is done when the instance has been healthy for min_healthy_time without a break.
func TestStartWaitsForUnbrokenHealth(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		d.sick["web"] = true
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		app := pool("web")
		app.Migration.MinHealthyTime = spec.Duration(10 * time.Second)
		w.apply(app, 1)
		_, order := w.start("web", inc, events.StepStart)
		w.until(time.Minute, "start", func() bool { return d.count("start") == 1 })
		become := func(healthy bool) {
			d.set("web-0", func(i *simInstance) {
				i.State, i.Healthy, i.Since = StateRunning, healthy, time.Now()
			})
			synctest.Wait()
		}
		become(true)
		w.pass(9 * time.Second)
		become(false)
		w.pass(9 * time.Second)
		become(true)
		healthy := time.Now()
		w.pass(9 * time.Second)
		if n := len(w.reports()); n != 0 {
			t.Fatal("reported before it was healthy for long enough")
		}
		if r := w.report(order); r.Failed || time.Since(healthy) < 10*time.Second {
			t.Errorf("after %s: %+v", time.Since(healthy), r)
		}
	})
}

// A program that cannot be started is reported in the driver's words; for an active the epoch is given back with it.
func TestFailures(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		d.broken["web"], d.broken["db"] = true, true
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.apply(pool("web"), 1)
		_, order := w.start("web", inc, events.StepStart)
		if r := w.report(order); !r.Failed || !strings.Contains(r.Detail, "no such program") || r.Result.Released {
			t.Errorf("start: %+v", r)
		}
		w.apply(singleton("db"), 1)
		ref, order := w.start("db", inc, events.Step("teleport"))
		if r := w.report(order); !r.Failed || r.Code != codeUnsupported {
			t.Errorf("unknown step: %+v", r)
		}
		next := events.Next{Node: "node-1", Inc: inc, Timeout: spec.Duration(time.Minute)}
		next.Step = events.StepPersist
		order = w.append("db", &events.LeadershipGranted{Ref: ref, Epoch: 4, Node: "node-1", Inc: inc, Next: &next})
		if r := w.report(order); r.Failed {
			t.Errorf("persist: %+v", r)
		}
		next.Step = events.StepActivate
		order = w.append("db", &events.LeadershipActivated{Ref: ref, Epoch: 4, Node: "node-1", Inc: inc, Next: &next})
		if r := w.report(order); !r.Failed || !r.Result.Released || !strings.Contains(r.Detail, "no such program") {
			t.Errorf("activate: %+v", r)
		}
		d.mu.Lock()
		d.broken["db"] = false
		d.mu.Unlock()
		order = w.append("db", &events.StepRequested{Ref: ref, Why: "again", Next: &next})
		if r := w.report(order); !r.Failed || r.Code != codeStaleEpoch || !r.Result.Released {
			t.Errorf("an epoch that was given back must not be used again: %+v", r)
		}
	})
}

// A log that was set back cannot bring an old epoch to life on a machine that has seen a newer one.
func TestOlderEpochIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		cfg := w.config("a", d)
		seen, err := openEpochs(mkdir(t, cfg.Dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := seen.Persist("db", 9); err != nil {
			t.Fatal(err)
		}
		a := w.agent(cfg)
		defer a.stop()
		inc := w.joined(1)
		w.mu.Lock()
		if got := w.declared[0].Epochs["db"]; got != 9 {
			t.Errorf("declared epoch %d", got)
		}
		w.mu.Unlock()
		w.apply(singleton("db"), 1)
		next := events.Next{Step: events.StepPersist, Node: "node-1", Inc: inc, Timeout: spec.Duration(time.Minute)}
		ref, _ := w.start("db", inc, events.StepPrepare)
		order := w.append("db", &events.LeadershipGranted{Ref: ref, Epoch: 4, Node: "node-1", Inc: inc, Next: &next})
		if r := w.report(order); !r.Failed || r.Code != codeStaleEpoch {
			t.Errorf("persist: %+v", r)
		}
		next.Step = events.StepActivate
		order = w.append("db", &events.LeadershipActivated{Ref: ref, Epoch: 4, Node: "node-1", Inc: inc, Next: &next})
		if r := w.report(order); !r.Failed || r.Code != codeStaleEpoch || !r.Result.Released || d.count("start") != 0 {
			t.Errorf("activate: %+v", r)
		}
	})
}

// Without renewals the singleton is dead before the deadline, the pool serves on, and the epoch is listed when the lease is back.
func TestFencedBeforeTheDeadline(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runSingleton("db", inc)
		w.runPool("web", inc)
		if st, _ := d.Status("db-0"); st.State != StateRunning || st.Role != api.RoleActive || st.Epoch != 1 {
			t.Fatalf("db-0 %+v", st)
		}
		w.pass(time.Minute)
		if d.count("kill") != 0 {
			t.Fatal("killed while the lease was renewed")
		}
		d.mu.Lock()
		deadline := d.deadline
		d.mu.Unlock()
		if left := deadline - w.boot(); left < 20*time.Second || left > 28*time.Second {
			t.Errorf("deadline %s ahead, want TTL − margin from the last renewal", left)
		}
		w.server.Stop()
		d.mu.Lock()
		deadline = d.deadline
		d.mu.Unlock()
		w.pass(deadline - w.boot() + 50*time.Millisecond)
		d.mu.Lock()
		killed, watchdog := d.killed["db-0"], d.watchdog
		d.mu.Unlock()
		if killed == 0 || killed > deadline || len(watchdog) > 0 {
			t.Errorf("killed at %s, deadline %s, by the watchdog: %v", killed, deadline, watchdog)
		}
		if st, _ := d.Status("web-0"); st.State != StateRunning {
			t.Errorf("the pool's member is %s", st.State)
		}
		starts := d.count("start db-0")
		w.pass(2 * time.Minute)
		w.server.Start(t, w.store)
		want := []api.FencedEpoch{{App: "db", Instance: "db-0", Epoch: 1}}
		w.until(time.Minute, "renewal with the fenced epoch", func() bool {
			rec, ok, err := w.leases.Get(w.ctx, "node-1")
			return err == nil && ok && rec.Lease.Inc == inc && cmp.Equal(rec.Lease.Fenced, want)
		})
		w.pass(time.Minute)
		if n := d.count("start db-0"); n != starts {
			t.Error("the active came back under a fenced epoch")
		}
		w.append("db", &events.LeadershipReleased{Ref: events.Ref{Instance: "db-0"}, Epoch: 1, Node: "node-1", Inc: inc, Why: events.ReleasedFenced})
		w.until(time.Minute, "renewal without it", func() bool { return len(w.lease("node-1").Lease.Fenced) == 0 })
		w.until(time.Minute, "removal", func() bool { _, ok := d.Status("db-0"); return !ok })
	})
}

// A closed lease: everything is stopped, yielded, and begins anew under the next incarnation once it is free.
func TestClosedIsYieldedAndBegunAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runSingleton("db", inc)
		w.runPool("web", inc)
		close := func() transport.LeaseRecord {
			for {
				rec := w.lease("node-1")
				l := rec.Lease
				l.State, l.Instances, l.Load = api.LeaseClosed, nil, api.Load{}
				if _, err := w.leases.Put(w.ctx, l, rec.Seq); err == nil {
					return rec
				} else if !errors.Is(err, transport.ErrLeaseMoved) {
					t.Fatal(err)
				}
			}
		}
		close()
		w.appendNode("node-1", &events.NodeSuspected{Node: "node-1", Inc: inc})
		w.until(time.Minute, "yield", func() bool { return w.lease("node-1").Lease.State == api.LeaseYielded })
		for _, st := range d.List() {
			if lives(st.State) {
				t.Errorf("%s is %s, and the lease is yielded", st.ID, st.State)
			}
		}
		rec := w.lease("node-1")
		if rec.Lease.Inc != inc {
			t.Errorf("yielded %s, held %s", rec.Lease.Inc, inc)
		}
		w.pass(time.Minute)
		if got := w.lease("node-1"); got.Seq != rec.Seq {
			t.Errorf("it was the labeler's turn: %+v", got.Lease)
		}
		w.appendNode("node-1", &events.NodeLost{Node: "node-1", Inc: inc, Reason: events.LostYielded})
		free := rec.Lease
		free.State = api.LeaseFree
		if _, err := w.leases.Put(w.ctx, free, rec.Seq); err != nil {
			t.Fatal(err)
		}
		next := w.joined(2)
		if got := w.lease("node-1").Lease; got.N != 2 || got.Inc != next || next == inc {
			t.Errorf("lease %+v", got)
		}
		w.mu.Lock()
		last := w.declared[len(w.declared)-1]
		w.mu.Unlock()
		if last.Epochs["db"] != 1 || last.Labels["role"] != "storage" || last.Facts.Address != "10.0.0.1" {
			t.Errorf("declared %+v", last)
		}
		w.until(time.Minute, "removal", func() bool { return len(d.List()) == 0 })
		if n := d.count("start"); n != 2 {
			t.Errorf("%d starts", n)
		}
		w.append("web", &events.AppApplied{Spec: pool("web"), SpecRev: 2, Generation: 1}) // the worker has gone; what comes now finds a new one
		ref := events.Ref{Migration: "m2", Instance: "web-0", ToNode: "node-1", Reason: events.ReasonNodeLost, Trigger: events.TriggerAutomatic}
		order := w.append("web", &events.MigrationStarted{Ref: ref, Kind: events.KindPlace, SpecRev: 2, Generation: 1, ToInc: next, Class: events.ClassRecovery,
			Next: &events.Next{Step: events.StepStart, Node: "node-1", Inc: next, Timeout: spec.Duration(time.Minute)}})
		if r := w.report(order); r.Failed || r.Inc != next {
			t.Errorf("under the new incarnation: %+v", r)
		}
	})
}

// Of two machines with one name the second gives way, and says to whom.
func TestSecondMachineIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runPool("web", inc)
		b := w.agent(w.config("b", newSimDriver(w.boot)))
		err := <-b.done
		b.nc.Close()
		if err == nil || !strings.Contains(err.Error(), "host-a") || !strings.Contains(err.Error(), inc) {
			t.Errorf("second machine: %v", err)
		}
		w.pass(time.Minute)
		if got := w.lease("node-1").Lease; got.State != api.LeaseHeld || got.Inc != inc {
			t.Errorf("lease %+v", got)
		}
		if st, _ := d.Status("web-0"); st.State != StateRunning {
			t.Errorf("the first machine's instance is %s", st.State)
		}
	})
}

// An agent whose lease was taken in spite of it ends what it runs, and itself.
func TestUsurpedAgentStopsAndLeaves(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		inc := w.joined(1)
		w.runPool("web", inc)
		for {
			rec := w.lease("node-1")
			other := api.Lease{State: api.LeaseHeld, Node: "node-1", Inc: "x.y.1", Machine: "x", Boot: "y", N: 1, TTL: rec.Lease.TTL, Host: "rack-7"}
			if _, err := w.leases.Put(w.ctx, other, rec.Seq); err == nil {
				break
			}
		}
		err := <-a.done
		a.nc.Close()
		if err == nil || !strings.Contains(err.Error(), "rack-7") {
			t.Errorf("usurped: %v", err)
		}
		if st, _ := d.Status("web-0"); lives(st.State) {
			t.Errorf("web-0 is %s", st.State)
		}
	})
}

// Health is in the lease at once, after the log's sequence that it is not older than.
func TestHealthTravelsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runPool("web", inc)
		end := w.heads[events.App("web")].Seq
		w.until(time.Second, "healthy in the lease, seen with the event that placed it", func() bool {
			l := w.lease("node-1").Lease
			return l.LogSeq >= end && len(l.Instances) == 1 && l.Instances[0].Healthy
		})
		before := w.lease("node-1").Seq
		d.set("web-0", func(i *simInstance) { i.State, i.Healthy, i.Detail = StateStarting, false, "check failed \xff" })
		w.until(500*time.Millisecond, "illness in the lease", func() bool {
			l := w.lease("node-1").Lease
			return len(l.Instances) == 1 && !l.Instances[0].Healthy && l.Instances[0].Detail == "check failed ?"
		})
		for range 50 {
			d.set("web-0", func(*simInstance) {})
		}
		w.pass(400 * time.Millisecond)
		if n := w.lease("node-1").Seq - before; n > 4 {
			t.Errorf("%d renewals", n)
		}
	})
}

// An agent that comes back to find its active dead says that the epoch is over; it brings a pool's member back.
func TestAgentComesBackToTheDead(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		inc := w.joined(1)
		w.runSingleton("db", inc)
		w.runPool("web", inc)
		a.stop()
		w.pass(40 * time.Second) // the watchdog has killed the active
		d.set("web-0", func(i *simInstance) { i.State, i.Healthy = StateStopped, false })
		a = w.agent(w.config("a", d))
		defer a.stop()
		w.until(time.Minute, "ended epoch in the lease", func() bool {
			return cmp.Equal(w.lease("node-1").Lease.Fenced, []api.FencedEpoch{{App: "db", Instance: "db-0", Epoch: 1}})
		})
		w.until(time.Minute, "pool member", func() bool { st, _ := d.Status("web-0"); return st.State == StateRunning })
		if n := d.count("start db-0"); n != 1 {
			t.Errorf("%d starts of the active", n)
		}
	})
}

// With StopAppsOnExit nothing is left running.
func TestStopAppsOnExit(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		cfg := w.config("a", d)
		cfg.StopAppsOnExit = true
		a := w.agent(cfg)
		inc := w.joined(1)
		w.runSingleton("db", inc)
		w.runPool("web", inc)
		a.stop()
		for _, st := range d.List() {
			if st.State != StateStopped {
				t.Errorf("%s is %s", st.ID, st.State)
			}
		}
		if d.count("kill") != 0 || d.count("stop") != 2 {
			t.Errorf("not stopped gracefully: %v", d.calls)
		}
		// The last lease says that the epoch was ended on purpose; an active that has merely stopped looks like a failure.
		if want := []api.FencedEpoch{{App: "db", Instance: "db-0", Epoch: 1}}; !cmp.Equal(w.lease("node-1").Lease.Fenced, want) {
			t.Errorf("ended epochs in the last lease: %v, want %v", w.lease("node-1").Lease.Fenced, want)
		}
	})
}

// Orders that were stored between the joining and the making of the durable are found.
func TestEarlyOrdersAreFound(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		cfg := w.config("a", d)
		me, err := openIdentity(mkdir(t, cfg.Dir), cfg.Cluster, cfg.Node, cfg.BootID)
		if err != nil {
			t.Fatal(err)
		}
		inc := me.incarnation(1)
		w.appendNode("node-1", &events.NodeJoined{Node: "node-1", Inc: inc, Machine: me.Machine})
		w.apply(pool("web"), 1)
		_, order := w.start("web", inc, events.StepStart)
		w.mu.Lock()
		w.declared = append(w.declared, api.DeclareRequest{Node: "node-1", Inc: inc})
		w.mu.Unlock()
		a := w.agent(cfg)
		defer a.stop()
		if r := w.report(order); r.Failed {
			t.Errorf("%+v", r)
		}
	})
}

// A machine that was suspended past its deadline fences itself before it renews, starts or reports anything.
func TestSuspendedMachineFencesFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runSingleton("db", inc)
		w.apply(pool("web"), 1)
		updates := make(chan api.Lease, 100)
		follow, err := w.nc.Subscribe(w.subjects.Lease("node-1"), func(m *nats.Msg) {
			var l api.Lease
			if err := json.Unmarshal(m.Data, &l); err == nil {
				updates <- l
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = follow.Unsubscribe() }()
		w.pass(time.Second)
		d.mu.Lock()
		d.calls = nil
		d.mu.Unlock()
		for len(updates) > 0 {
			<-updates
		}
		w.slept.Add(int64(10 * time.Minute))
		d.set("db-0", func(*simInstance) {}) // the keeper wakes up before the fence looks at the clock
		_, order := w.start("web", inc, events.StepStart)
		if r := w.report(order); r.Failed {
			t.Errorf("after the lease was renewed: %+v", r)
		}
		d.mu.Lock()
		calls := append([]string(nil), d.calls...)
		d.mu.Unlock()
		if len(calls) == 0 || calls[0] != "kill db-0" {
			t.Errorf("the first thing was not the fence: %v", calls)
		}
		if l := <-updates; !cmp.Equal(l.Fenced, []api.FencedEpoch{{App: "db", Instance: "db-0", Epoch: 1}}) {
			t.Errorf("the first renewal does not list the fenced epoch: %+v", l)
		}
	})
}

// A renewal whose acknowledgement was lost is found again, and does not cost the lease.
func TestLostAcknowledgementIsAdopted(t *testing.T) {
	inWorld(t, func(w *world) {
		d := newSimDriver(w.boot)
		a := w.agent(w.config("a", d))
		defer a.stop()
		inc := w.joined(1)
		w.runSingleton("db", inc)
		for {
			rec := w.lease("node-1") // what it would look like: stored, and the agent does not know
			if _, err := w.leases.Put(w.ctx, rec.Lease, rec.Seq); err == nil {
				break
			}
		}
		before := w.lease("node-1").Seq
		w.until(10*time.Second, "renewal on top", func() bool { l := w.lease("node-1"); return l.Seq > before && l.Lease.Inc == inc })
		w.pass(time.Minute)
		if st, _ := d.Status("db-0"); st.State != StateRunning || d.count("kill") != 0 {
			t.Errorf("db-0 is %s", st.State)
		}
	})
}
