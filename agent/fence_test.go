package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
)

// stubborn is a driver whose start takes its time and comes through although its context has ended.
type stubborn struct {
	*simDriver
	entered, release chan struct{}
}

func (d *stubborn) Start(_ context.Context, in Instance) (Status, error) {
	close(d.entered)
	<-d.release
	return d.simDriver.Start(context.Background(), in)
}

// A start that was under way when the deadline passed does not survive the fence, and one that waited for its turn never begins.
func TestFenceEndsAStartUnderWay(t *testing.T) {
	now := time.Hour
	boot := func() time.Duration { return now }
	d := &stubborn{simDriver: newSimDriver(boot), entered: make(chan struct{}), release: make(chan struct{})}
	d.deadline = 2 * time.Hour // of the watchdogs, which are not what is tested here
	e, err := openEnded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h, err := openHosted(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	auth := newAuthority(boot, 0)
	f := &fence{auth: auth, hands: newHands(d), driver: d, ended: e, hosted: h, log: zap.NewNop()}
	if err := f.extend("i1", now+time.Minute); err != nil {
		t.Fatal(err)
	}
	m, _ := auth.mandate()
	in := Instance{ID: "db-0", App: singleton("db"), Role: api.RoleActive, Epoch: 3, Fenced: true}
	if _, err := d.Prepare(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	w := &worker{a: &agent{hands: f.hands, cfg: Config{Driver: d}}}
	results := make(chan error, 2)
	start := func() {
		ctx, cancel := m.during(t.Context())
		defer cancel(nil)
		results <- w.with(ctx, m, in.ID, func(ctx context.Context) error { _, err := d.Start(ctx, in); return err })
	}
	go start()
	<-d.entered
	go start() // a second Start would close entered again, and panic
	now += time.Minute
	fenced := make(chan error)
	go func() { fenced <- f.enforce() }()
	<-m.ctx.Done()
	close(d.release)
	if err := <-fenced; err != nil {
		t.Fatal(err)
	}
	if st, _ := d.Status("db-0"); lives(st.State) {
		t.Errorf("it is %s past the fence", st.State)
	}
	one, two := <-results, <-results
	if (one == nil) == (two == nil) {
		t.Errorf("the start under way: %v; the one that waited: %v", one, two)
	}
	if err := f.extend("i1", now+time.Minute); err != nil || m.ok() {
		t.Errorf("extended: %v; the old mandate counts: %t", err, m.ok())
	}
}

// An acknowledgement that comes late, the renewal having been sent in time, saves nothing that should have ended by now; and
// between the deadline and the moment when somebody notices it, nothing begins.
func TestLateAcknowledgementFencesFirst(t *testing.T) {
	now := time.Hour
	d := newSimDriver(func() time.Duration { return now })
	d.deadline = 2 * time.Hour
	e, err := openEnded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h, err := openHosted(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	auth := newAuthority(d.boot, now+time.Minute)
	f := &fence{auth: auth, hands: newHands(d), driver: d, ended: e, hosted: h, log: zap.NewNop()}
	auth.extend("i1", now+time.Minute)
	m, _ := auth.mandate()
	if _, err := d.Start(t.Context(), Instance{ID: "db-0", App: singleton("db"), Role: api.RoleActive, Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	now += time.Minute
	w := &worker{a: &agent{hands: f.hands, cfg: Config{Driver: d}}}
	err = w.with(t.Context(), m, "web-0", func(context.Context) error { t.Error("begun past the deadline"); return nil })
	if !errors.Is(err, errNoMandate) {
		t.Errorf("begun past the deadline: %v", err)
	}
	if err := f.extend("i1", now+30*time.Second); err != nil {
		t.Fatal(err)
	}
	if st, _ := d.Status("db-0"); lives(st.State) || !e.Has("db-0", 3) || m.ok() {
		t.Errorf("db-0 is %s, listed: %t, old mandate: %t", st.State, e.Has("db-0", 3), m.ok())
	}
	if _, ok := auth.mandate(); !ok {
		t.Error("no new mandate")
	}
}

func TestWhatTheLeaseBinds(t *testing.T) {
	h, err := openHosted(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for app, to := range map[string]string{"stop": "stop", "continue": "continue"} {
		if err := h.Add(app); err != nil {
			t.Fatal(err)
		}
		if err := h.Isolate(app, to, false); err != nil {
			t.Fatal(err)
		}
	}
	f := &fence{hosted: h}
	for _, c := range []struct {
		app, role string
		want      bool
	}{
		{"stop", api.RoleActive, true}, {"stop", api.RoleMember, true}, {"continue", api.RoleActive, false}, {"continue", api.RoleMember, false},
		{"unknown", api.RoleActive, true}, {"unknown", api.RoleMember, false}, {"unknown", api.RoleStandby, false},
	} {
		if got := f.binds(Status{App: c.app, Role: c.role}); got != c.want {
			t.Errorf("%s %s: %t", c.app, c.role, got)
		}
	}
}
