package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// diary is what the functions of an app were called for, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// watched notes every function of an app.
func (d *diary) watch(a *Application) {
	note := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			h, _ := Where(ctx)
			d.note("%s %s %d", h.Node, name, h.Epoch)
			return nil
		}
	}
	a.OnStart(note("start"))
	a.OnActive(note("active"))
	a.OnStandby(note("standby"))
	a.OnStop(note("stop"))
}

// A label change moves a singleton from a program to another: the new one is prepared, the old one steps down, and only then does
// the new one serve, under the next epoch.
func TestSingletonMoves(t *testing.T) {
	inBubble(t, func(w *world) {
		var d diary
		apps := map[string]*Application{}
		for _, node := range []string{"node-1", "node-2"} {
			p := w.platform(node)
			a := App("scheduler", Singleton(), OnLabel("role", "controller"))
			d.watch(a)
			if err := p.Register(a); err != nil {
				t.Fatal(err)
			}
			apps[node] = a
			w.run(p)
		}
		client := w.platform("")
		if err := client.UpdateNodeLabels("node-1", map[string]string{"role": "controller"}); err != nil {
			t.Fatal(err)
		}
		w.on("scheduler", "node-1")
		if err := apps["node-1"].Fence(w.ctx); err != nil {
			t.Errorf("the active may not write: %v", err)
		}
		if err := apps["node-2"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
			t.Errorf("another node may write: %v", err)
		}
		if err := client.UpdateNodeLabels("node-2", map[string]string{"role": "controller"}); err != nil {
			t.Fatal(err)
		}
		if err := client.UpdateNodeLabels("node-1", map[string]string{"role": "storage"}); err != nil {
			t.Fatal(err)
		}
		w.on("scheduler", "node-2")
		if err := apps["node-1"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
			t.Errorf("the old active may write: %v", err)
		}
		if err := apps["node-2"].Fence(w.ctx); err != nil {
			t.Errorf("the new active may not write: %v", err)
		}
		w.idle("node-1 has forgotten it", func() bool { return slices.Contains(d.all(), "node-1 stop 0") })
		want := []string{"node-1 start 0", "node-1 standby 0", "node-1 active 1", "node-2 start 0", "node-2 standby 0", "node-1 standby 1", "node-2 active 2", "node-1 stop 0"}
		if got := d.all(); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
