//go:build linux

package chaos

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// A drain of two nodes moves nothing from one to the other, and one whose time is up leaves everything serving.
func TestDrainOfTwoNodes(t *testing.T) {
	t.Parallel()
	c := start(t, 10*ttl, "n1", "n2", "n3")
	apps := []string{"a", "b", "d", "e", "web"}
	for _, app := range apps[:4] {
		c.applyCounter(app)
	}
	c.applyWeb("web", 1)
	for _, n := range []string{"n1", "n2"} {
		if !slices.ContainsFunc(apps, func(app string) bool { return slices.Contains(c.on(app), n) }) {
			t.Fatalf("nothing is on %s", n)
		}
	}
	began := c.seq()
	if r := c.cli("node", "drain", "n1", "n2"); r.code != 0 {
		t.Fatalf("drain: %s", r)
	}
	cordoned := map[string]bool{}
	for _, e := range c.stored(began) {
		switch d := e.Data.(type) {
		case *events.NodeCordoned:
			cordoned[d.Node] = true
		case *events.DrainStarted:
			if len(cordoned) < 2 {
				t.Errorf("%d: the drain of %s begins before both are cordoned", e.Seq, e.Node)
			}
		case *events.MigrationStarted:
			if d.ToNode != "n3" {
				t.Errorf("%d: %s moves to %s", e.Seq, d.Instance, d.ToNode)
			}
		}
	}
	for _, app := range apps {
		c.serves(app)
		if on := c.on(app); on[0] != "n3" {
			t.Errorf("%s is on %v", app, on)
		}
	}
	for _, n := range []string{"n1", "n2"} {
		view := ask[struct {
			Scheduling string   `json:"scheduling"`
			Apps       []string `json:"apps"`
		}](c, "node", "show", n)
		if view.Scheduling != "cordoned" || len(view.Apps) > 0 {
			t.Errorf("%s after its drain: %+v", n, view)
		}
	}

	c.must("node", "uncordon", "n1", "n2")
	r := c.cli("node", "drain", "n3", "--timeout", "1ms")
	if r.code != 4 || !strings.Contains(r.err, "time is up") {
		t.Errorf("drain within a millisecond: %s", r)
	}
	for _, app := range apps {
		c.serves(app)
	}
	for _, app := range apps[:4] {
		c.writes(app)
		c.alone(app)
	}
}
