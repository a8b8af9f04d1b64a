package services_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/transport"
)

// What was stored before a question is in its answer, and what its asker has seen is in what is decided for him: a replica whose fold is behind says
// that it cannot answer.
func TestAnswersHaveWhatWasStored(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		behind, err := services.Open(t.Context(), c.Base.Config)
		if err != nil {
			t.Fatal(err)
		}
		core := services.NewCore(behind, events.Planner)
		stored := c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesFrozen{Source: events.FreezeOperator}}).Seq
		ask := func(minSeq uint64) (at uint64, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err = core.Question(ctx, &transport.Request{Meta: api.Meta{MinSeq: minSeq}}, func(v *projections.Cluster) error { at = v.Seq; return nil })
			return at, err
		}
		unavailable := func(what string, err error) {
			t.Helper()
			var e *api.Error
			if !errors.As(err, &e) || e.Code != api.CodeUnavailable {
				t.Errorf("%s: %v, want it to be unavailable", what, err)
			}
		}
		_, err = ask(0)
		unavailable("a question to a fold that stands still", err)
		c.Start(t, behind.Run)
		if at, err := ask(0); err != nil || at < stored {
			t.Errorf("answered as of %d, %v; %d was stored before", at, err, stored)
		}
		_, err = ask(stored + 1)
		unavailable("a question of somebody who has seen more", err)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = core.Command(ctx, &transport.Request{Meta: api.Meta{ID: "a", MinSeq: stored + 1}, Actor: "cli:ana"}, func(*projections.Cluster) (*events.Draft, error) {
			return &events.Draft{Aggregate: events.Cluster("test"), Data: &events.MovesUnfrozen{Source: events.FreezeOperator}}, nil
		})
		unavailable("a command of somebody who has seen more", err)
		if last, err := c.Events.LastSeq(t.Context()); err != nil || last != stored {
			t.Errorf("the log ends at %d, %v, want %d", last, err, stored)
		}
	})
}

// Without heartbeats nobody knows what time it is, and nothing timed is decided.
func TestNoClockWithoutHeartbeats(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		c.Pass(time.Minute)
		if now, sure := c.Seen.Now(); sure {
			t.Errorf("it is sure to be %s", now)
		}
		c.Beat(t)
		c.Pass(time.Second)
		if _, sure := c.Seen.Now(); !sure {
			t.Error("with heartbeats the time is not known either")
		}
	})
}
