package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// network is a machine's addresses in virtual time: what is on goes at the end of its lifetime, as the kernel has it.
type network struct {
	boot func() time.Duration

	mu    sync.Mutex
	until map[string]time.Duration // by address
	other string                   // hardware address of a neighbour that answers for everything
	own   string                   // interface with every address, for good
	deny  error
	mute  error // nobody can be asked
	said  int   // announcements
	gone  []string
}

func (n *network) Check(spec.VIP) error { return n.deny }

func (n *network) Probe(spec.VIP) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.other, n.mute
}

func (n *network) Own(v spec.VIP) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own == "" && n.until[v.Address] > n.boot() {
		return v.Interface, nil
	}
	return n.own, nil
}

func (n *network) Set(v spec.VIP, seconds int) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := n.until[v.Address] > n.boot()
	n.until[v.Address] = n.boot() + time.Duration(seconds)*time.Second
	return !was, nil
}

func (n *network) Announce(spec.VIP) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said++
	return nil
}

func (n *network) Remove(v spec.VIP) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.until, v.Address)
	n.gone = append(n.gone, v.Address)
	return nil
}

func (n *network) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// on lists the addresses that the machine has.
func (n *network) on() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.until, func(_ string, until time.Duration) bool { return until <= n.boot() })
	return strings.Join(slices.Sorted(maps.Keys(n.until)), " ")
}

const testVIP = "10.0.0.9/24"

func withVIP(a spec.App) spec.App {
	a.VIP = &spec.VIP{Address: testVIP, Interface: "eth0"}
	return a
}

// ofVIP places a singleton with an address and returns the report on its activation.
func (w *world) ofVIP(app, inc string) api.StepReport {
	w.Helper()
	w.apply(withVIP(singleton(app)), 1)
	ref, order := w.start(app, inc, events.StepPrepare)
	next := func(s events.Step) *events.Next {
		return &events.Next{Step: s, Node: "node-1", Inc: inc, Timeout: spec.Duration(2 * time.Minute)}
	}
	if r := w.report(order); r.Failed {
		return r
	}
	order = w.append(app, &events.LeadershipGranted{Ref: ref, Epoch: 1, Node: "node-1", Inc: inc, OrderSeq: order.Seq, Next: next(events.StepPersist)})
	w.report(order)
	order = w.append(app, &events.LeadershipActivated{Ref: ref, Epoch: 1, Node: "node-1", Inc: inc, OrderSeq: order.Seq, Next: next(events.StepActivate)})
	r := w.report(order)
	if !r.Failed {
		w.append(app, &events.MigrationCompleted{Ref: ref, Step: events.StepActivate, Result: r.Result})
	}
	return r
}

func inVIPWorld(t *testing.T, f func(w *world, n *network, d *simDriver, cfg Config)) {
	inWorld(t, func(w *world) {
		n := &network{boot: w.boot, until: map[string]time.Duration{}}
		d := newSimDriver(w.boot)
		cfg := w.config("a", d)
		cfg.Addresses = n
		f(w, n, d, cfg)
	})
}

// The address is on while the instance is active, never beyond the lease's deadline, and off before anybody else can have it.
func TestVIPFollowsTheLease(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, d *simDriver, cfg Config) {
		a := w.agent(cfg)
		defer a.stop()
		if r := w.ofVIP("db", w.joined(1)); r.Failed {
			t.Fatalf("activate: %+v", r)
		}
		if n.on() != testVIP {
			t.Errorf("on after the activation: %q", n.on())
		}
		w.pass(2 * time.Minute)
		if n.on() != testVIP || n.said != vipAnnounces {
			t.Errorf("on after many renewals: %q, announced %d times", n.on(), n.said)
		}
		n.set(func() { clear(n.until) })
		w.pass(time.Second)
		if n.on() != testVIP || n.said == vipAnnounces {
			t.Errorf("taken off by somebody it is %q again, announced %d times", n.on(), n.said)
		}
		w.server.Stop()
		begun := w.boot()
		for w.boot() < begun+cfg.TTL {
			w.pass(100 * time.Millisecond)
			if d := w.lastDeadline(d); n.on() != "" && w.boot() > d {
				t.Fatalf("on %s past the deadline", w.boot()-d)
			}
		}
		if n.on() != "" {
			t.Errorf("on without a lease: %q", n.on())
		}
		w.server.Start(t, w.store)
	})
}

// lastDeadline is what the driver was told last.
func (w *world) lastDeadline(d *simDriver) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deadline
}

// An address that somebody keeps answering for is waited for as long as its former holder could have it by right, and then said.
func TestVIPConflict(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, d *simDriver, cfg Config) {
		a := w.agent(cfg)
		defer a.stop()
		inc := w.joined(1)
		n.other = "02:00:00:00:00:07"
		r := w.ofVIP("db", inc)
		if !r.Failed || r.Code != codeVIPConflict || r.Step != events.StepPrepare || !strings.Contains(r.Detail, n.other) {
			t.Errorf("prepared where somebody has the address: %+v", r)
		}
		n.set(func() { n.other = "" })
		in := Instance{ID: "mq-0", App: withVIP(singleton("mq")), Role: api.RoleActive, Epoch: 1}
		v := w.vips(cfg, w.boot()+time.Hour)
		n.set(func() { n.other = "02:00:00:00:00:07" })
		time.AfterFunc(cfg.TTL/2, func() { n.set(func() { n.other = "" }) })
		if err := v.take(w.ctx, in); err != nil || n.on() != testVIP {
			t.Errorf("the former holder lets go within its lifetime: %v, on %q", err, n.on())
		}
		if err := v.drop("mq-0"); err != nil {
			t.Fatal(err)
		}
		n.set(func() { n.other = "02:00:00:00:00:07" })
		begun := w.boot()
		err := v.take(w.ctx, in)
		var s *stepError
		if !errors.As(err, &s) || s.code != codeVIPConflict || w.boot()-begun < cfg.TTL || n.on() != "" {
			t.Errorf("somebody else has it for good: %v after %s, on %q", err, w.boot()-begun, n.on())
		}
	})
}

// What the machine has itself is not taken for an app's: whoever would have it there, and where it was meanwhile makes no difference. An
// address that an instance has by right does not stand in its own way.
func TestVIPThatIsTheMachinesOwn(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, d *simDriver, cfg Config) {
		a := w.agent(cfg)
		defer a.stop()
		inc := w.joined(1)
		n.set(func() { n.own = "eth1" })
		r := w.ofVIP("db", inc)
		if want := "this machine has it itself on eth1"; !r.Failed || r.Code != codeVIPConflict || r.Step != events.StepPrepare || !strings.Contains(r.Detail, want) {
			t.Errorf("prepared where the machine has the address: %+v", r)
		}
		v := w.vips(cfg, w.boot()+time.Hour)
		in := Instance{ID: "mq-0", App: withVIP(singleton("mq")), Role: api.RoleActive, Epoch: 1}
		for _, before := range []*spec.VIP{nil, in.App.VIP} {
			var s *stepError
			if err := v.free(in.ID, in.App.VIP, before); !errors.As(err, &s) || s.code != codeVIPConflict {
				t.Errorf("free, %v before: %v", before, err)
			}
		}
		var s *stepError
		if err := v.take(w.ctx, in); !errors.As(err, &s) || s.code != codeVIPConflict || n.on() != "" {
			t.Errorf("taken: %v, on %q", err, n.on())
		}
		n.set(func() { n.own = "" })
		if err := v.take(w.ctx, in); err != nil || n.on() != testVIP {
			t.Fatalf("taken: %v, on %q", err, n.on())
		}
		elsewhere := spec.VIP{Address: "10.0.0.9/16", Interface: "eth1"}
		for _, want := range []*spec.VIP{in.App.VIP, &elsewhere} {
			if err := v.free(in.ID, want, in.App.VIP); err != nil {
				t.Errorf("an instance is to have %v where it has the address: %v", want, err)
			}
		}
	})
}

// A source whose address somebody else has, too, is not asked to end for a target that could not have it. Where the network cannot be asked it may leave.
func TestVIPOfAThirdHost(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, d *simDriver, cfg Config) {
		v := w.vips(cfg, w.boot()+time.Hour)
		sync := func() error {
			_, err := (&worker{a: &agent{vips: v, data: &replicas{}}}).stepSync(w.ctx, mandate{}, order{instance: "mq-0", leader: projections.Leader{Epoch: 1}})
			return err
		}
		const other = "data of mq-0 under epoch 1 are not shipped from here" // the next thing that is looked at
		n.set(func() { n.other = "02:00:00:00:00:07" })
		if err := sync(); err == nil || err.Error() != other {
			t.Errorf("it has no address: %v", err)
		}
		n.set(func() { n.other = "" })
		if err := v.take(w.ctx, Instance{ID: "mq-0", App: withVIP(singleton("mq")), Role: api.RoleActive, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		if err := sync(); err == nil || err.Error() != other {
			t.Errorf("nobody else has the address: %v", err)
		}
		n.set(func() { n.other = "02:00:00:00:00:07" })
		var s *stepError
		if err := sync(); !errors.As(err, &s) || s.code != codeVIPConflict || !strings.Contains(s.detail, "02:00:00:00:00:07") || n.on() != testVIP {
			t.Errorf("somebody else has the address: %v, on %q", err, n.on())
		}
		n.set(func() { n.other, n.mute = "", errors.New("interface eth0 is down") })
		if err := sync(); err == nil || err.Error() != other {
			t.Errorf("nobody can be asked: %v", err)
		}
	})
}

// vips is the part of an agent that holds addresses, with a lease until limit.
func (w *world) vips(cfg Config, limit time.Duration) *vips {
	w.Helper()
	cfg.Dir, cfg.Margin = w.dir, time.Second
	v, _, err := newVIPs(cfg)
	if err != nil {
		w.Fatal(err)
	}
	v.limit, v.ctx = limit, w.ctx
	return v
}

// What an earlier agent left on stays for an instance that runs on, and goes for one that does not.
func TestVIPOfAnEarlierAgent(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, d *simDriver, cfg Config) {
		a := w.agent(cfg)
		if r := w.ofVIP("db", w.joined(1)); r.Failed {
			t.Fatalf("activate: %+v", r)
		}
		a.stop()
		if n.on() != testVIP {
			t.Errorf("on after the agent has gone: %q", n.on())
		}
		n.set(func() {
			if until, deadline := n.until[testVIP], w.lastDeadline(d); until > deadline {
				t.Errorf("with nobody to take it off it is on until %s, and the lease ends at %s", until, deadline)
			}
		})
		cfg.Driver = d
		a = w.agent(cfg)
		w.pass(time.Minute)
		if n.on() != testVIP {
			t.Errorf("on after the next has come: %q", n.on())
		}
		a.stop()
		if err := d.Kill("db-0"); err != nil {
			t.Fatal(err)
		}
		a = w.agent(cfg)
		defer a.stop()
		w.until(time.Minute, "the address is removed", func() bool { return n.on() == "" })
	})
}

// An agent that was stopped between the look at the clock and the call has put the address on for too long, and takes it off.
func TestVIPSetTooLate(t *testing.T) {
	now := time.Hour
	n := &network{boot: func() time.Duration { return now }, until: map[string]time.Duration{}}
	slow := slowNetwork{n, func() { now += time.Minute }}
	v := &vips{addresses: slow, boot: n.boot, limit: now + 10*time.Second, held: map[string]heldVIP{}}
	if _, _, err := v.set(spec.VIP{Address: testVIP}); !errors.Is(err, errNoMandate) || n.on() != "" {
		t.Errorf("set after a pause: %v, on %q", err, n.on())
	}
}

type slowNetwork struct {
	*network
	pause func()
}

func (s slowNetwork) Set(v spec.VIP, seconds int) (bool, error) {
	s.pause()
	return s.network.Set(v, seconds)
}

// A node that cannot carry the address says so before anything of the app is touched.
func TestVIPThatCannotBeCarried(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, d *simDriver, cfg Config) {
		a := w.agent(cfg)
		defer a.stop()
		n.deny = fmt.Errorf("no interface eth0 here (has eth1)")
		r := w.ofVIP("db", w.joined(1))
		if !r.Failed || r.Code != codeVIP || r.Step != events.StepPrepare || !strings.Contains(r.Detail, "no interface eth0 here (has eth1)") {
			t.Errorf("report %+v", r)
		}
		if _, ok := d.Status("db-0"); ok {
			t.Error("the driver was asked all the same")
		}
	})
}

// brokenNetwork cannot put an address on.
type brokenNetwork struct {
	*network
	why error
}

func (n *brokenNetwork) Set(v spec.VIP, seconds int) (bool, error) {
	if n.why != nil {
		return false, n.why
	}
	return n.network.Set(v, seconds)
}

// An address that cannot be kept is told of when that begins and when the reason changes, and not at each try.
func TestVIPThatCannotBeKeptIsToldOnce(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, _ *simDriver, cfg Config) {
		core, logs := observer.New(zap.ErrorLevel)
		broken := &brokenNetwork{network: n}
		cfg.Addresses, cfg.Log = broken, zap.New(core)
		v := w.vips(cfg, w.boot()+time.Hour)
		if err := v.take(w.ctx, Instance{ID: "db-0", App: withVIP(singleton("db")), Role: api.RoleActive, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		for _, why := range []string{"no such device", "no such device", "denied", "", "denied"} {
			if broken.why = nil; why != "" {
				broken.why = errors.New(why)
			}
			for range 10 {
				v.refresh()
			}
		}
		if got := logs.Len(); got != 3 {
			t.Errorf("told %d times, want 3", got)
		}
	})
}

// The lease may come close to its end while it is written down that the address is about to be on: then it is not on, and that is what is said.
func TestVIPIsNotSaidToBeOnBeforeItIs(t *testing.T) {
	inVIPWorld(t, func(w *world, n *network, _ *simDriver, cfg Config) {
		limit := w.boot() + time.Hour
		v := w.vips(cfg, limit)
		v.boot = func() time.Duration {
			v.boot = func() time.Duration { return limit - time.Second/2 }
			return limit - 2*time.Second
		}
		on, err := v.put(w.ctx, "db-0", heldVIP{App: "db", Epoch: 1, VIP: *withVIP(singleton("db")).VIP})
		if on || err != nil || n.on() != "" || len(v.ids()) > 0 {
			t.Errorf("put says %t, %v; on is %q, held %v", on, err, n.on(), v.ids())
		}
	})
}
