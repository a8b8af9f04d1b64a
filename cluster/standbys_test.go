package cluster

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-cluster/go-cluster/projections"
)

// A standby is started before it is needed. Where the singleton moves it serves, and who stepped down stays as the standby.
func TestStandbysOfASingleton(t *testing.T) {
	inBubble(t, func(w *world) {
		var d diary
		apps := map[string]*Application{}
		for _, node := range []string{"node-1", "node-2"} {
			p := w.platform(node)
			a := App("scheduler", Singleton(), Standbys(1), AvoidLabel("off", "yes"))
			d.watch(a)
			if err := p.Register(a); err != nil {
				t.Fatal(err)
			}
			apps[node] = a
			w.run(p)
			if node == "node-1" {
				w.on("scheduler", "node-1")
			}
		}
		w.until("node-2 has the standby", func(v *projections.Cluster) bool { // and nothing is under way: a move to there would be refused
			a := v.Apps["scheduler"]
			return a.StandbyAt("node-2") != nil && len(a.Open) == 0
		})
		if err := apps["node-2"].Fence(w.ctx); !errors.Is(err, ErrFenced) {
			t.Errorf("a standby may write: %v", err)
		}
		client := w.platform("")
		move := func(to string) {
			t.Helper()
			if err := client.MoveApp(w.ctx, MoveRequest{App: "scheduler", ToNode: to}); err != nil {
				t.Fatal(err)
			}
			w.on("scheduler", to)
		}
		move("node-2")
		move("node-1")
		want := []string{"node-1 start 0", "node-1 standby 0", "node-1 active 1", "node-2 start 0", "node-2 standby 0",
			"node-1 standby 1", "node-2 active 2", "node-2 standby 2", "node-1 active 3"}
		if got := d.all(); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}

func TestStandbysAreOfSingletons(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.platform("node-1")
		if err := p.Register(App("web", Pool(2), Standbys(1))); err == nil {
			t.Error("a pool with standbys was taken")
		}
	})
}
