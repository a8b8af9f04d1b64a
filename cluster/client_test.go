package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// sight is what a watcher has been told.
type sight struct {
	mu    sync.Mutex
	last  map[string]map[string]string
	calls int
}

func (s *sight) see(node string, labels map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]map[string]string{}
	}
	s.last[node], s.calls = labels, s.calls+1
}

func (s *sight) of(node string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := maps.Clone(s.last[node])
	delete(m, spec.ReservedLabelPrefix+"host")
	return m
}

// WatchLabels has told every node when it returns, and then tells each change with the whole set, until its context ends.
func TestWatchLabels(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.platform("node-1", Labels(map[string]string{"zone": "a"}))
		w.run(p)
		w.run(w.platform("node-2"))
		w.until("labels are declared", func(v *projections.Cluster) bool {
			return v.Nodes["node-1"].Labels["zone"] == "a" && len(v.Nodes["node-2"].Labels) == 1
		})
		ctx, stop := context.WithCancel(w.ctx)
		var s sight
		if err := p.WatchLabels(ctx, s.see); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(s.of("node-1"), map[string]string{"zone": "a"}) || s.of("node-2") == nil || s.calls != 2 {
			t.Errorf("at first: %v", s.last)
		}
		if err := p.SetLabels(ctx, map[string]string{"role": "compute"}); err != nil {
			t.Fatal(err)
		}
		w.idle("a change is told", func() bool { return maps.Equal(s.of("node-1"), map[string]string{"zone": "a", "role": "compute"}) })
		if err := p.RemoveLabel(ctx, "zone", "nothing"); err != nil {
			t.Fatal(err)
		}
		if err := p.UpdateNodeLabels("node-2", map[string]string{"zone": "b"}); err != nil {
			t.Fatal(err)
		}
		w.idle("each change is told", func() bool {
			return maps.Equal(s.of("node-1"), map[string]string{"role": "compute"}) && maps.Equal(s.of("node-2"), map[string]string{"zone": "b"})
		})
		w.run(w.platform("node-3"))
		w.idle("a new node is told", func() bool { return s.of("node-3") != nil })
		stop()
		calls := s.calls
		if err := p.SetLabels(w.ctx, map[string]string{"role": "storage"}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if s.calls != calls {
			t.Error("told after its context ended")
		}
	})
}

// Rules change while the app runs, and a label changes at the same time: whichever comes first, the app ends where both allow it.
func TestUpdatePlacementRacesLabels(t *testing.T) {
	inBubble(t, func(w *world) {
		apps := map[string]*Application{}
		client := w.two(func(node string) *Application {
			apps[node] = App("db", Singleton(), OnLabel("role", "compute"))
			return apps[node]
		})
		w.run(w.platform("node-3")) // without the app's code
		for i := range 10 {
			to := []string{"node-1", "node-2"}[i%2]
			other := []string{"node-2", "node-1"}[i%2]
			role := []string{"compute", "storage"}[i/2%2]
			var both sync.WaitGroup
			both.Go(func() {
				if err := apps["node-1"].UpdatePlacement(w.ctx, OnLabel("role", role), AwayFromApp("other-app")); err != nil {
					t.Error(err)
				}
			})
			both.Go(func() {
				if err := client.UpdateNodeLabels(to, map[string]string{"role": role}); err != nil {
					t.Error(err)
				}
				if err := client.UpdateNodeLabels(other, map[string]string{"role": "none"}); err != nil {
					t.Error(err)
				}
			})
			both.Wait()
			w.on("db", to)
			detail, err := client.App(w.ctx, "db")
			if err != nil || !slices.Equal(detail.Spec.Require, []string{"role=" + role}) || !slices.Equal(detail.Spec.AwayFromApp, []string{"other-app"}) {
				t.Fatalf("%+v %v", detail.Spec, err)
			}
		}
		if err := apps["node-1"].UpdatePlacement(w.ctx); err != nil { // no rules at all
			t.Fatal(err)
		}
		if detail, err := client.App(w.ctx, "db"); err != nil || len(detail.Spec.Require)+len(detail.Spec.AwayFromApp) != 0 {
			t.Errorf("%+v %v", detail.Spec, err)
		}
	})
}

// What is wrong with the options comes out of Run and of every call, as one error that says all of it.
func TestBadOptions(t *testing.T) {
	p := NewPlatform("Prod!", "node 1", " ", Labels(map[string]string{"go-cluster.io/host": "x"}), NATSCreds(""), HealthAddr("8080"), LeaseTTL(time.Second), nil,
		WithMigrationPolicy(MigrationPolicy{LoadThreshold: 8, MaintenanceWindows: []TimeWindow{{Start: "25:00", End: "06:00", Timezone: "Mars"}}}),
		WithAutoRebalance(AutoRebalanceConfig{Enabled: true, Interval: -time.Minute}))
	bad := App("Db", Replicas(-1), Singleton(), OnLabel("", "x"), PreferNode("node-1", 0), Resources("two", ""), StepTimeout(-1), OnNodes(), Require("a in ("))
	registered := p.Register(bad, bad, nil)
	ctx := t.Context()
	var errs []error
	for _, call := range []func() error{
		func() error { return registered },
		func() error { return p.Run(ctx) },
		func() error { return p.UpdateNodeLabels("node-1", map[string]string{"a": "b"}) },
		func() error { return p.SetLabels(ctx, map[string]string{"a": "b"}) },
		func() error { return p.RemoveLabel(ctx, "a") },
		func() error { return p.WatchLabels(ctx, func(string, map[string]string) {}) },
		func() error { return p.MoveApp(ctx, MoveRequest{App: "x"}) },
		func() error { return p.DrainNode(ctx, "node-1", DrainOptions{}) },
		func() error { return p.RebalanceApp(ctx, "x") },
		func() error { return p.CordonNode(ctx, "node-1") },
		func() error { return p.UncordonNode(ctx, "node-1") },
		func() error { return p.EvacuateLabel(ctx, "a=b") },
		func() error { return bad.UpdatePlacement(ctx, OnLabel("a", "b")) },
		func() error { _, err := p.Nodes(ctx); return err },
		func() error { _, err := p.Node(ctx, "node-1"); return err },
		func() error { _, err := p.Apps(ctx); return err },
		func() error { _, err := p.App(ctx, "x"); return err },
		func() error { _, err := p.Migrations(ctx, ""); return err },
		func() error { _, err := p.Migration(ctx, "m-1"); return err },
		func() error { _, err := p.Policy(ctx); return err },
		func() error { return p.Events(ctx, EventFilter{}, func(Event) error { return nil }) },
	} {
		errs = append(errs, call())
	}
	for i, err := range errs {
		if !errors.Is(err, ErrInvalid) || err.Error() != errs[0].Error() {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for _, want := range []string{"cluster name", "node name", "no NATS URL", "go-cluster.io/host", "NATSCreds", "HealthAddr \"8080\"", "LeaseTTL 1s: want at least 3s", "an option is nil",
		"load_threshold: 8", "Mars", "interval: -1m0s", "app name", "it has two modes", "OnLabel(\"\", \"x\")", "PreferNode(\"node-1\", 0)", "Resources: cpu \"two\"", "StepTimeout -1ns",
		"OnNodes: name at least one node", "Require(\"a in (\")", "it is registered twice", "an app is nil"} {
		if !strings.Contains(errs[0].Error(), want) {
			t.Errorf("it does not say %q:\n%v", want, errs[0])
		}
	}
}

// What only one call does wrong is that call's error, and nothing is sent.
func TestBadArguments(t *testing.T) {
	p := NewPlatform("prod", "", "nats://127.0.0.1:1")
	app := App("db", Singleton())
	for name, err := range map[string]error{
		"Run without a node":         p.Run(t.Context()),
		"SetLabels without a node":   p.SetLabels(t.Context(), map[string]string{"a": "b"}),
		"UpdatePlacement alone":      app.UpdatePlacement(t.Context(), OnLabel("a", "b")),
		"negative timeout":           p.DrainNode(t.Context(), "node-1", DrainOptions{Timeout: -1}),
		"WatchLabels of nobody":      p.WatchLabels(t.Context(), nil),
		"UpdatePlacement, no app":    app.UpdatePlacement(t.Context(), nil),
		"register with another":      func() error { _ = p.Register(app); return NewPlatform("prod", "", "nats://127.0.0.1:1").Register(app) }(),
		"UpdatePlacement, bad rules": app.UpdatePlacement(t.Context(), OnLabel("a b", "c")),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := app.Fence(t.Context()); !errors.Is(err, ErrFenced) {
		t.Errorf("fence of what does not run: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Nodes(ctx); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
}
