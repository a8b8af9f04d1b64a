package cluster

import (
	"errors"
	"testing"
)

// A spread app of Go programs runs in each that registers it, and stops where it is not wanted any more.
func TestSpread(t *testing.T) {
	inBubble(t, func(w *world) {
		var d diary
		programs := map[string]func(){}
		for _, node := range []string{"node-1", "node-2", "node-3"} {
			p := w.platform(node, Labels(map[string]string{"role": "edge"}))
			if node != "node-3" {
				a := App("proxy", Spread(), OnLabel("role", "edge"))
				d.watch(a)
				if err := p.Register(a); err != nil {
					t.Fatal(err)
				}
			}
			programs[node] = w.run(p)
		}
		w.on("proxy", "node-1", "node-2") // node-3 does not have its code
		client := w.platform("")
		if err := client.MoveApp(w.ctx, MoveRequest{App: "proxy", FromNode: "node-1"}); !errors.Is(err, ErrMode) {
			t.Errorf("a move: %v, want %v", err, ErrMode)
		}
		if err := client.DrainNode(w.ctx, "node-1", DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		w.on("proxy", "node-2")
		if err := client.UncordonNode(w.ctx, "node-1"); err != nil {
			t.Fatal(err)
		}
		w.on("proxy", "node-1", "node-2")
		programs["node-2"]() // its program ends: it leaves the cluster at once
		w.on("proxy", "node-1")
	})
}
