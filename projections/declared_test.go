package projections

import (
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Who declares an app is known of the nodes' newest facts, and of those that are ready.
func TestDeclarers(t *testing.T) {
	c := NewCluster("test")
	facts := func(node string, apps ...string) {
		f := events.Facts{}
		for _, name := range apps {
			f.Apps = append(f.Apps, spec.App{Name: name, Mode: spec.Singleton})
		}
		n := c.Nodes[node]
		if n == nil {
			n = &Node{ID: node, Status: StatusReady}
			c.Nodes[node] = n
		}
		c.factsOf(&events.Event{ID: "e", Seq: 1}, n, f)
	}
	declared := func() (out string) {
		for _, name := range c.DeclaredNames() {
			for _, d := range c.Declarations(name) {
				out += fmt.Sprintf("%s %v;", name, d.Nodes)
			}
		}
		return out
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { facts("n2", "a", "b"); facts("n1", "a") }, "a [n1 n2];b [n2];"},
		{func() { facts("n2", "b") }, "a [n1];b [n2];"},
		{func() { c.Nodes["n1"].Status = StatusLost }, "b [n2];"},
		{func() { c.Nodes["n1"].Status = StatusReady; facts("n2") }, "a [n1];"},
		{func() { facts("n1") }, ""},
	} {
		if step.do(); declared() != step.want {
			t.Errorf("%s, want %s", declared(), step.want)
		}
	}
	if len(c.declarers) > 0 {
		t.Errorf("kept: %v", c.declarers)
	}
}
