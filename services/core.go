package services

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// Core is one service in this process.
type Core struct {
	*Base
	Name string
	Log  *zap.Logger
	// Again, when set, gives the outcome of a command that arrives anew after its expiry the form of its endpoint's reply.
	Again func(r *transport.Request, ack api.Ack) any

	caughtUp atomic.Bool
	looked   time.Duration // see Look; of the loop alone
}

// NewCore returns the service's share of a Base.
func NewCore(b *Base, name string) *Core {
	return &Core{Base: b, Name: name, Log: b.Config.Log.With(zap.String("service", name))}
}

// Serve answers the service's endpoints until ctx ends; what is in flight then is answered.
func (c *Core) Serve(ctx context.Context, handlers map[api.Endpoint]transport.Handler) error {
	svc, err := transport.Serve(c.NC, c.Subjects, c.Name, c.Version, c.Config.Replica, handlers, transport.ServeOptions{
		Log: c.Log, Now: c.Now, TrustRequestInfo: c.TrustIdentity, Known: c.known, OnRefused: c.expired})
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	<-ctx.Done()
	return svc.Stop()
}

// Ready says why the service cannot answer yet, or nil.
func (c *Core) Ready() error {
	if !c.caughtUp.Load() {
		return fmt.Errorf("%s: not caught up with the log", c.Name)
	}
	if !c.NC.IsConnected() {
		return fmt.Errorf("%s: not connected to NATS", c.Name)
	}
	return nil
}

// Append stores a decision made on the state v was at, and returns once the fold has it.
func (c *Core) Append(ctx context.Context, d events.Draft, head events.Head) (events.Event, error) {
	return c.append(ctx, d, func(d events.Draft) (events.Event, error) {
		if planted.SkipCompare && c.Replica.CatchUp(ctx, 0) == nil {
			c.Replica.View(func(v *projections.Cluster) { head = v.Head(d.Aggregate) })
		}
		return c.Events.Append(ctx, d, head)
	})
}

func (c *Core) append(ctx context.Context, d events.Draft, store func(events.Draft) (events.Event, error)) (events.Event, error) {
	if d.Actor == "" {
		d.Actor = c.Name
	}
	e, err := store(d)
	if err != nil {
		return e, err
	}
	if planted.CompleteTwice && e.Type == "placement.migration.completed" {
		_, _ = c.Events.Append(ctx, d, events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash})
	}
	c.Log.Info("stored", zap.String("type", string(e.Type)), zap.Stringer("aggregate", e.Aggregate), zap.Uint64("seq", e.Seq), zap.String("cause", e.Cause))
	return e, c.Replica.Await(ctx, e.Seq)
}

// Look is View for the decisions of a Loop, which rests for as long as it has kept everybody else from the fold.
func (c *Core) Look(f func(v *projections.Cluster)) {
	c.Replica.View(func(v *projections.Cluster) {
		began := time.Now()
		f(v)
		c.looked += time.Since(began)
	})
}

// Decide runs pure until its decision is stored: pure looks at the state and returns a draft, or nil when there is nothing to do.
// A lost race means that it is called again on the newer state.
func (c *Core) Decide(ctx context.Context, pure func(v *projections.Cluster) (*events.Draft, error)) (*events.Event, error) {
	for {
		d, on, err := c.look(pure)
		if err != nil || d == nil {
			return nil, err
		}
		e, err := c.Append(ctx, *d, on.head)
		if errors.Is(err, events.ErrConflict) {
			if err := c.Replica.CatchUp(ctx, 0); err != nil {
				return nil, err
			}
			continue
		}
		return &e, err
	}
}

// state is what a decision was made on.
type state struct {
	head events.Head // of its aggregate
	seq  uint64      // of the fold
}

// look has pure decide on the fold.
func (c *Core) look(pure func(v *projections.Cluster) (*events.Draft, error)) (d *events.Draft, on state, err error) {
	c.Replica.View(func(v *projections.Cluster) {
		on.seq = v.Seq
		if d, err = pure(v); d != nil && err == nil {
			on.head = v.Head(d.Aggregate)
			if why, bad := v.Quarantined[d.Aggregate]; bad {
				err = api.Refuse(api.CodeRefused, "%s is quarantined: %s", d.Aggregate, why)
			}
		}
	})
	return d, on, err
}

// closeTries is how often DecideOnAll tries to store a decision right behind what it was made on. In a log that others write to all the time it
// gives that up: what a decision rests on is protected by its aggregate, too.
const closeTries = 5

// DecideOnAll is Decide on a fold that has everything that was in the log when it was called, and at least atLeast.
//
// Where the log ends is asked of nobody as long as the fold is there anyway: a decision that is stored right behind what it was made on
// has missed nothing, of no aggregate, so that of replicas that were sent the same command one alone stores an outcome. Only where the log has gone
// on, or nothing is to be stored, which no append protects, does it ask, and decides again.
func (c *Core) DecideOnAll(ctx context.Context, atLeast uint64, pure func(v *projections.Cluster) (*events.Draft, error)) (*events.Event, error) {
	all := false // whether the fold has what there was
	for range closeTries {
		if all || c.caughtUp.Load() && !planted.SkipCompare {
			switch d, on, err := c.look(pure); {
			case d != nil && err == nil && on.seq >= atLeast && on.seq > 0:
				e, err := c.append(ctx, *d, func(d events.Draft) (events.Event, error) { return c.Events.AppendAt(ctx, d, on.head, on.seq) })
				if !errors.Is(err, events.ErrConflict) {
					return &e, err
				}
			case all && (d == nil || err != nil):
				return nil, err
			}
		}
		if err := c.Replica.CatchUp(ctx, atLeast); err != nil {
			return nil, api.Refuse(api.CodeUnavailable, "%s: %v", c.Name, err)
		}
		if all = true; planted.SkipCompare {
			break
		}
	}
	return c.Decide(ctx, pure)
}

// Question answers from a fold that has everything that was in the log when the question arrived.
func (c *Core) Question(ctx context.Context, r *transport.Request, answer func(v *projections.Cluster) error) error {
	if err := c.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
		return api.Refuse(api.CodeUnavailable, "%s: %v", c.Name, err)
	}
	var err error
	c.Replica.View(func(v *projections.Cluster) { err = answer(v) })
	return err
}
