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
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// Core is one service in this process.
type Core struct {
	*Base
	Name string
	Log  *zap.Logger

	caughtUp atomic.Bool
}

// NewCore returns the service's share of a Base.
func NewCore(b *Base, name string) *Core {
	return &Core{Base: b, Name: name, Log: b.Config.Log.With(zap.String("service", name))}
}

// Serve answers the service's endpoints until ctx ends; what is in flight then is answered.
func (c *Core) Serve(ctx context.Context, handlers map[api.Endpoint]transport.Handler) error {
	svc, err := transport.Serve(c.NC, c.Subjects, c.Name, c.Version, c.Config.Replica, handlers, transport.ServeOptions{
		Log: c.Log, Now: c.Now, Known: c.known, OnRefused: c.expired})
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	<-ctx.Done()
	return svc.Stop()
}

// known answers a command that arrives after its expiry when it was carried out before: its reply was lost.
func (c *Core) known(ctx context.Context, r *transport.Request) (any, error, bool) {
	if err := c.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
		return nil, nil, false
	}
	var (
		o  projections.Outcome
		ok bool
	)
	c.Replica.View(func(v *projections.Cluster) { o, ok = v.Commands[r.Meta.ID] })
	if !ok {
		return nil, nil, false
	}
	ack, err := outcome(o)
	return ack, err, true
}

// expired records a command that came too late, and nothing else: what is refused by a decision is recorded there.
func (c *Core) expired(r *transport.Request, e *api.Error) uint64 {
	if e.Code != api.CodeExpired {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	seq, err := c.Refused(ctx, r.Actor, "cmd:"+r.Meta.ID, r.Endpoint.Noun+"."+r.Endpoint.Verb, e)
	if err != nil {
		c.Log.Warn("refusal not stored", zap.Error(err), zap.String("detail", e.Detail))
	}
	return seq
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

// Loop calls decide whenever something it may depend on has changed: the fold, a lease when leases is set, the earliest deadline
// that it last returned (zero: none), and every 15 s. It decides only on a fold that has caught up since the start and since the
// last lost connection. An error of decide is logged and decide called again soon; ErrConflict means that the fold moved on, and
// is not worth a line.
func (c *Core) Loop(ctx context.Context, leases bool, decide func(context.Context) (wake time.Time, err error)) error {
	reconnected := c.NC.StatusChanged()
	defer c.NC.RemoveStatusListener(reconnected)
	for {
		if !c.caughtUp.Load() {
			if err := c.catchUp(ctx); err != nil {
				return err
			}
		}
		fold := c.Replica.Changed()
		var seen <-chan struct{}
		if leases {
			seen = c.Seen.Changed()
		}
		wake, err := decide(ctx)
		wait := 15 * time.Second
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, events.ErrConflict):
			wait = 50 * time.Millisecond // the newer events arrive by themselves; this is for the case that they just did
		case err != nil:
			c.Log.Warn("decision not stored, deciding again", zap.Error(err))
			wait = time.Second
		case !wake.IsZero():
			if now, sure := c.Seen.Now(); sure {
				wait = min(wait, max(wake.Sub(now), time.Millisecond))
			} else {
				wait = time.Second
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-fold:
		case <-seen:
		case <-timer.C:
		case <-reconnected:
			c.caughtUp.Store(false)
		}
		timer.Stop()
	}
}

func (c *Core) catchUp(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := c.Replica.CatchUp(try, 0)
		cancel()
		if err == nil {
			c.caughtUp.Store(true)
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		c.Log.Info("waiting for the log", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Append stores a decision made on the state v was at, and returns once the fold has it.
func (c *Core) Append(ctx context.Context, d events.Draft, head events.Head) (events.Event, error) {
	if d.Actor == "" {
		d.Actor = c.Name
	}
	e, err := c.Events.Append(ctx, d, head)
	if err != nil {
		return e, err
	}
	c.Log.Info("stored", zap.String("type", string(e.Type)), zap.Stringer("aggregate", e.Aggregate), zap.Uint64("seq", e.Seq), zap.String("cause", e.Cause))
	return e, c.Replica.Await(ctx, e.Seq)
}

// Decide runs pure until its decision is stored: pure looks at the state and returns a draft, or nil when there is nothing to do.
// A lost race means that it is called again on the newer state.
func (c *Core) Decide(ctx context.Context, pure func(v *projections.Cluster) (*events.Draft, error)) (*events.Event, error) {
	for {
		var (
			d    *events.Draft
			head events.Head
			err  error
		)
		c.Replica.View(func(v *projections.Cluster) {
			if d, err = pure(v); d != nil && err == nil {
				head = v.Head(d.Aggregate)
				if why, bad := v.Quarantined[d.Aggregate]; bad {
					err = api.Refuse(api.CodeRefused, "%s is quarantined: %s", d.Aggregate, why)
				}
			}
		})
		if err != nil || d == nil {
			return nil, err
		}
		e, err := c.Append(ctx, *d, head)
		if errors.Is(err, events.ErrConflict) {
			if err := c.Replica.CatchUp(ctx, 0); err != nil {
				return nil, err
			}
			continue
		}
		return &e, err
	}
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

// Command carries out one command: it catches up, answers a known id with its outcome, and else decides and stores. A refusal of
// something well-formed is stored too. The ack's Changed is false when there was nothing to do.
func (c *Core) Command(ctx context.Context, r *transport.Request, pure func(v *projections.Cluster) (*events.Draft, error)) (api.Ack, error) {
	if err := c.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
		return api.Ack{}, api.Refuse(api.CodeUnavailable, "%s: %v", c.Name, err)
	}
	var (
		known projections.Outcome
		again bool
	)
	e, err := c.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) {
		// Looked at with the state that is decided on: the same command may be under way at another replica.
		if known, again = v.Commands[r.Meta.ID]; again {
			return nil, nil
		}
		d, err := pure(v)
		if d != nil && err == nil {
			d.Actor, d.Cause = r.Actor, "cmd:"+r.Meta.ID
		}
		return d, err
	})
	if again && err == nil {
		return outcome(known)
	}
	var refusal *api.Error
	switch {
	case errors.As(err, &refusal):
		return api.Ack{}, c.refuse(ctx, r, refusal)
	case errors.Is(err, events.ErrUnknown):
		return api.Ack{}, api.Refuse(api.CodeUnavailable, "%s %s: %v; ask again with the same command id %s", r.Endpoint.Noun, r.Endpoint.Verb, err, r.Meta.ID)
	case err != nil:
		return api.Ack{}, api.Refuse(api.CodeUnavailable, "%s %s: %v", r.Endpoint.Noun, r.Endpoint.Verb, err)
	case e == nil:
		return api.Ack{Seq: c.Replica.Seq()}, nil
	}
	var o projections.Outcome
	c.Replica.View(func(v *projections.Cluster) { o = v.Commands[r.Meta.ID] })
	return api.Ack{Seq: e.Seq, Changed: true, Order: o.Order}, nil
}

func outcome(o projections.Outcome) (api.Ack, error) {
	if o.Refused != nil {
		return api.Ack{}, &api.Error{Code: api.Code(o.Refused.Code), Detail: o.Refused.Detail, Rejections: o.Refused.Rejections, Seq: o.Seq}
	}
	return api.Ack{Seq: o.Seq, Changed: true, Order: o.Order}, nil
}

// refuse stores why a command was refused, so that "why did nothing happen?" has an answer, and returns the refusal. What is
// malformed, or about something that does not exist, leaves no event.
func (c *Core) refuse(ctx context.Context, r *transport.Request, e *api.Error) error {
	if e.Code == api.CodeInvalid || e.Code == api.CodeNotFound || e.Code == api.CodeUnavailable || e.Code == api.CodeInternal {
		return e
	}
	seq, err := c.Refused(ctx, r.Actor, "cmd:"+r.Meta.ID, r.Endpoint.Noun+"."+r.Endpoint.Verb, e)
	if err != nil {
		c.Log.Warn("refusal not stored", zap.Error(err), zap.String("detail", e.Detail))
	}
	e.Seq = seq
	return e
}

// Refused appends a refusal to the service's request aggregate.
func (c *Core) Refused(ctx context.Context, actor, cause, request string, e *api.Error) (uint64, error) {
	stored, err := c.Decide(ctx, func(*projections.Cluster) (*events.Draft, error) {
		return &events.Draft{Aggregate: events.Request(c.Name), Actor: actor, Cause: cause, Data: &events.RequestRefused{
			Request: request, Code: string(e.Code), Detail: e.Detail, Rejections: first(e.Rejections, 20),
		}}, nil
	})
	if err != nil {
		return 0, err
	}
	return stored.Seq, nil
}

func first[T any](s []T, n int) []T { return s[:min(len(s), n)] }
