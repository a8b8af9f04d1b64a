package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// log returns every stored event of a type.
func logged[T any](w *world) []*T {
	w.Helper()
	last, err := w.base.Events.LastSeq(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	w.idle("the log is read", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.stored) > 0 && w.stored[len(w.stored)-1].Seq >= last
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*T
	for _, e := range w.stored {
		if d, ok := e.Data.(*T); ok {
			out = append(out, d)
		}
	}
	return out
}

// two runs two programs that register the app that each call of make returns.
func (w *world) two(make func(node string) *Application, options ...Option) (client *Platform) {
	w.Helper()
	for _, node := range []string{"node-1", "node-2"} {
		p := w.platform(node, options...)
		if err := p.Register(make(node)); err != nil {
			w.Fatal(err)
		}
		w.run(p)
	}
	return w.platform("")
}

// A hook may refuse, hang, panic or answer late: the app stays where it is and serves on, the log says why, and it is asked again.
func TestMigrationStartRefuses(t *testing.T) {
	var say atomic.Pointer[func(ctx context.Context, from, to string) error]
	set := func(f func(ctx context.Context, from, to string) error) { say.Store(&f) }
	inBubble(t, func(w *world) {
		var asked atomic.Int64
		client := w.two(func(string) *Application {
			a := App("db", Singleton(), PreferNode("node-1", 100))
			a.OnMigrationStart(func(ctx context.Context, from, to string) error {
				asked.Add(1)
				return (*say.Load())(ctx, from, to)
			})
			return a
		})
		w.on("db", "node-1")
		move := func() error {
			return client.MoveApp(w.ctx, MoveRequest{App: "db", FromNode: "node-1", ToNode: "node-2"})
		}
		returned := make(chan struct{})
		for _, c := range []struct {
			name string
			hook func(ctx context.Context, from, to string) error
			code string
			says string
		}{
			{"vetoes", func(_ context.Context, from, to string) error { return fmt.Errorf("not ready to go %s→%s", from, to) }, events.HookVetoed, "not ready to go node-1→node-2"},
			{"panics", func(context.Context, string, string) error { panic("no database") }, events.HookPanicked, "it panicked: no database"},
			{"hangs", func(ctx context.Context, _, _ string) error { <-ctx.Done(); return nil }, events.HookLate, "it did not return in time (30s)"},
			{"returns late", func(context.Context, string, string) error {
				defer close(returned)
				<-time.After(2 * time.Minute)
				return nil
			}, events.HookLate, "it did not return in time (30s)"},
		} {
			set(c.hook)
			err := move()
			if !errors.Is(err, ErrVetoed) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%s: %v, want %v: %s", c.name, err, ErrVetoed, c.says)
			}
			failed := logged[events.StepFailed](w)
			if f := failed[len(failed)-1]; f.Code != c.code || f.Result == nil || f.Result.Hook == nil || f.Result.Hook.Code != c.code {
				t.Errorf("%s: the log says %+v", c.name, f)
			}
			w.on("db", "node-1")
		}
		// While the last call has not returned, the hook is not called again beside it.
		set(func(context.Context, string, string) error { return nil })
		before := asked.Load()
		if err := move(); !errors.Is(err, ErrVetoed) || asked.Load() != before {
			t.Errorf("beside a call that is under way: %v, called %d times more", err, asked.Load()-before)
		}
		<-returned
		set(func(context.Context, string, string) error { return errors.New("never") })
		if err := client.MoveApp(w.ctx, MoveRequest{App: "db", FromNode: "node-1", ToNode: "node-2", Force: true}); err != nil {
			t.Fatalf("forced: %v", err)
		}
		w.on("db", "node-2")
		overridden := slices.ContainsFunc(logged[events.StepCompleted](w), func(d *events.StepCompleted) bool {
			return d.Step == events.StepMigrationStart && d.Result != nil && d.Result.Hook != nil && d.Result.Hook.Detail == "never"
		})
		if !overridden {
			t.Error("the veto that was overridden is not in the log")
		}
	})
}

// A refusal holds automatic moves for as long as it says, or until something else wants the move.
func TestVetoHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		var asked atomic.Int64
		var ready atomic.Bool
		client := w.two(func(string) *Application {
			a := App("db", Singleton(), Require("role!=broken"), PreferNode("node-1", 100))
			a.OnMigrationStart(func(context.Context, string, string) error {
				asked.Add(1)
				if !ready.Load() {
					return RetryAfter(errors.New("busy"), 10*time.Minute)
				}
				return nil
			})
			return a
		})
		w.on("db", "node-1")
		start := time.Now()
		if err := client.UpdateNodeLabels("node-1", map[string]string{"role": "broken"}); err != nil {
			t.Fatal(err)
		}
		w.until("it was asked", func(v *projections.Cluster) bool { return len(v.Apps["db"].Vetoes) == 1 && len(v.Apps["db"].Open) == 0 })
		<-time.After(5 * time.Minute)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times within 5 minutes", n)
		}
		ready.Store(true)
		w.on("db", "node-2")
		if took := time.Since(start); took < 10*time.Minute || took > 11*time.Minute || asked.Load() != 2 {
			t.Errorf("asked again %d times, moved after %s", asked.Load()-1, took)
		}
	})
}

// The target is told of the end of a move, whatever it makes of it.
func TestMigrationCompletes(t *testing.T) {
	inBubble(t, func(w *world) {
		var d diary
		client := w.two(func(node string) *Application {
			a := App("cache", Replicas(1), PreferNode("node-1", 100))
			d.watch(a)
			a.OnMigrationStart(func(ctx context.Context, from, to string) error {
				h, _ := Where(ctx)
				d.note("%s asked %s→%s as %s", node, from, to, h.Instance)
				return nil
			})
			a.OnMigrationComplete(func(_ context.Context, from, to string) error {
				d.note("%s told %s→%s", node, from, to)
				panic("whatever")
			})
			return a
		})
		w.on("cache", "node-1")
		if err := client.MoveApp(w.ctx, MoveRequest{App: "cache", FromNode: "node-1"}); err != nil {
			t.Fatal(err)
		}
		w.on("cache", "node-2")
		want := []string{"node-1 start 0", "node-1 asked node-1→node-2 as cache-0", "node-2 start 0", "node-1 stop 0", "node-2 told node-1→node-2"}
		if got := d.all(); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		done := logged[events.MigrationCompleted](w)
		if last := done[len(done)-1]; last.Result == nil || last.Result.Hook == nil || last.Result.Hook.Code != events.HookPanicked {
			t.Errorf("the log has nothing of the panic: %+v", last)
		}
	})
}

// When an app has nowhere to go, its hook is called where it runs, and where it runs nowhere on every node that registers it.
func TestPlacementInvalid(t *testing.T) {
	inBubble(t, func(w *world) {
		var d diary
		client := w.two(func(node string) *Application {
			a := App("db", Singleton(), OnLabel("role", "storage"))
			a.OnPlacementInvalid(func(_ context.Context, reason string) error {
				d.note("%s: %s", node, reason)
				if node == "node-2" {
					return errors.New("nobody listens")
				}
				return nil
			})
			return a
		})
		answered := func(n int) func(v *projections.Cluster) bool {
			return func(*projections.Cluster) bool { return len(logged[events.HookAnswered](w)) == n }
		}
		w.idle("both are told that it runs nowhere", func() bool { return answered(2)(nil) })
		if got := d.all(); len(got) != 2 || !strings.Contains(got[0], "can take db-0") {
			t.Errorf("got %q", got)
		}
		if err := client.UpdateNodeLabels("node-1", map[string]string{"role": "storage"}); err != nil {
			t.Fatal(err)
		}
		w.on("db", "node-1")
		w.until("it is said to have its place", func(v *projections.Cluster) bool { return v.Apps["db"].Pending == nil }) // or it would be without one all along
		if err := client.UpdateNodeLabels("node-1", map[string]string{"role": "compute"}); err != nil {
			t.Fatal(err)
		}
		w.idle("the node where it runs is told", func() bool { return answered(3)(nil) })
		if got := d.all(); len(got) != 3 || !strings.HasPrefix(got[2], "node-1: ") {
			t.Errorf("got %q", got)
		}
		bad := 0
		for _, a := range logged[events.HookAnswered](w) {
			if a.Result != nil {
				bad++
				if a.Node != "node-2" || a.Result.Code != events.HookVetoed || a.Result.Detail != "nobody listens" {
					t.Errorf("answered: %+v %+v", a, a.Result)
				}
			}
		}
		if bad != 1 {
			t.Errorf("%d bad answers in the log", bad)
		}
	})
}
