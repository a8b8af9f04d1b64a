package services_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	st "github.com/go-cluster/go-cluster/services/servicetest"
)

// A command that has an outcome gets no second one from another replica that refuses it later; what is no command is recorded each
// time.
func TestRefusedOnce(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		one, two := services.NewCore(c.Base, events.Planner), services.NewCore(c.Another(t, "r2"), events.Planner)
		refuse := func(at *services.Core, cause, detail string) uint64 {
			t.Helper()
			if err := at.Replica.CatchUp(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			seq, err := at.Refused(t.Context(), "cli:ana", cause, "app.move", api.Refuse(api.CodeRefused, "%s", detail))
			if err != nil {
				t.Fatal(err)
			}
			return seq
		}
		first := refuse(one, "cmd:a", "frozen")
		if again := refuse(two, "cmd:a", "expired"); again != first {
			t.Errorf("a second outcome at %d, the first is at %d", again, first)
		}
		done := c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Cause: "cmd:b", Data: &events.MovesFrozen{Source: events.FreezeOperator}})
		if seq := refuse(two, "cmd:b", "expired"); seq != done.Seq {
			t.Errorf("refused at %d what was done at %d", seq, done.Seq)
		}
		if x, y := refuse(one, "rep:1:n1", "odd"), refuse(two, "rep:1:n1", "odd"); x == y {
			t.Errorf("both at %d", x)
		}
		c.Replica.View(func(v *projections.Cluster) {
			if got := v.Commands["a"]; got.Seq != first || got.Refused == nil || got.Refused.Detail != "frozen" {
				t.Errorf("%+v", got)
			}
		})
	})
}

// What is decided on all that is in the log is decided again when the log goes on under it, also elsewhere than where it is stored.
func TestDecideOnAll(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		base := c.Another(t, "r2")
		core := services.NewCore(base, events.Planner)
		ready := make(chan struct{})
		var once sync.Once
		defer c.Start(t, func(ctx context.Context) error {
			return core.Loop(ctx, false, func(context.Context) (time.Time, error) {
				once.Do(func() { close(ready) })
				return time.Time{}, nil
			})
		})()
		<-ready
		decide := func(meanwhile func()) (looks []uint64, e *events.Event) {
			t.Helper()
			e, err := core.DecideOnAll(t.Context(), 0, func(v *projections.Cluster) (*events.Draft, error) {
				looks = append(looks, v.Seq)
				if len(looks) == 1 {
					meanwhile()
				}
				return &events.Draft{Aggregate: events.Request("planner"), Data: &events.RequestRefused{Request: "x", Code: "refused"}}, nil
			})
			if err != nil || e == nil {
				t.Fatalf("%+v, %v", e, err)
			}
			return looks, e
		}
		freeze := func() events.Event {
			return c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesFrozen{Source: events.FreezeOperator}})
		}
		if err := base.Replica.Await(t.Context(), freeze().Seq); err != nil {
			t.Fatal(err)
		}
		if looks, e := decide(func() {}); len(looks) != 1 || e.Seq != looks[0]+1 {
			t.Errorf("looked at %v, stored at %d: want one look, at the end of the log", looks, e.Seq)
		}
		var between uint64
		if looks, e := decide(func() { between = freeze().Seq }); len(looks) != 2 || looks[1] < between || e.Seq <= between {
			t.Errorf("looked at %v, stored at %d: want a second look that has %d", looks, e.Seq, between)
		}
	})
}
