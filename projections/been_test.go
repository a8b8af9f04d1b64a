package projections

import (
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// Of what becomes of a node an app is told that has an instance there, however often it has moved, and few others are.
func TestBeenOn(t *testing.T) {
	c := NewCluster("test")
	a := c.app("a")
	e := &events.Event{ID: "e", Seq: 1}
	for i := range 200 {
		node, home := fmt.Sprint("n", i), fmt.Sprint("home-", i)
		m := &Migration{Move: events.Move{Instance: "a-0", From: home, FromInc: home + "/1", To: "elsewhere"}}
		c.place(a, "a-0", node, node+"/1", e)
		c.place(a, "a-1", "n-b", "n-b/1", e)
		if c.maybeOn(a, node) == nil || c.maybeOn(a, "n-b") == nil {
			t.Fatalf("after %d moves nothing is known of where it is", i)
		}
		if c.place(a, "a-0", "elsewhere", "elsewhere/1", e); i%2 == 0 { // which failed
			c.instanceReturns(a, m, &events.MigrationFailed{Left: events.LeftAtSource}, e)
			if c.maybeOn(a, home) == nil {
				t.Fatalf("after %d moves nothing is known of where it is again", i)
			}
		}
		if been := len(c.been["a"]); been > 2*len(a.Instances)+forgetBeen {
			t.Fatalf("%d nodes are kept", been)
		}
	}
	if c.maybeOn(a, "n0") != nil {
		t.Error("it is asked of a node that it left long ago")
	}
}
