package services_test

import (
	"testing"

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
