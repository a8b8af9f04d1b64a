package services

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// Command carries out one command on all that is in the log when it arrives: it answers a known id with its outcome, and else decides
// and stores. A refusal of something well-formed is stored too. The ack's Changed is false when there was nothing to do.
func (c *Core) Command(ctx context.Context, r *transport.Request, pure func(v *projections.Cluster) (*events.Draft, error)) (api.Ack, error) {
	if planted.AckUnstored && r.Endpoint == api.NodeUncordon {
		return api.Ack{Seq: c.Replica.Seq() + 1, Changed: true}, nil
	}
	var (
		known projections.Outcome
		again bool
	)
	e, err := c.DecideOnAll(ctx, r.Meta.MinSeq, func(v *projections.Cluster) (*events.Draft, error) {
		// Looked at with the state that is decided on: the same command may be under way at another replica.
		if known, again = v.Commands[r.Meta.ID]; again && !planted.DuplicateCommand {
			return nil, nil
		}
		if at := r.Meta.IfPlanned; at > 0 && v.Planned > at {
			return nil, api.Refuse(api.CodeConflict, "%s %s: it rests on a plan as of sequence %d, and the log has gone on to %d", r.Endpoint.Noun, r.Endpoint.Verb, at, v.Planned)
		}
		d, err := pure(v)
		if d != nil && err == nil {
			d.Actor, d.Cause = r.Actor, commandCause(r.Meta.ID)
		}
		return d, err
	})
	if again && err == nil {
		return outcome(known)
	}
	var refusal *api.Error
	switch {
	case errors.As(err, &refusal):
		return c.refuse(ctx, r, refusal)
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
		return api.Ack{}, Refusal(o)
	}
	return api.Ack{Seq: o.Seq, Changed: true, Order: o.Order}, nil
}

// Refusal is what somebody is told whose command was refused, which the log has as its outcome.
func Refusal(o projections.Outcome) *api.Error {
	return &api.Error{Code: api.Code(o.Refused.Code), Detail: o.Refused.Detail, Rejections: o.Refused.Rejections, Seq: o.Seq}
}

// refuse stores why a command was refused, so that "why did nothing happen?" has an answer, and returns the command's outcome:
// another replica may have been first, with this refusal or another decision. What is malformed, or about something that does not
// exist, leaves no event.
func (c *Core) refuse(ctx context.Context, r *transport.Request, e *api.Error) (api.Ack, error) {
	if e.Code == api.CodeInvalid || e.Code == api.CodeNotFound || e.Code == api.CodeUnavailable || e.Code == api.CodeInternal {
		return api.Ack{}, e
	}
	refused := *e // the decision may share its error between requests
	refused.Seq = c.record(ctx, r, e)
	var (
		o  projections.Outcome
		ok bool
	)
	c.Replica.View(func(v *projections.Cluster) { o, ok = v.Commands[r.Meta.ID] })
	if ok && o.Seq != refused.Seq {
		return outcome(o)
	}
	return api.Ack{}, &refused // with every rejection, of which the event has room for a few
}

// record stores the refusal of a command and returns the sequence of the command's outcome, or 0 when it could not be stored: the
// refusal stands all the same.
func (c *Core) record(ctx context.Context, r *transport.Request, e *api.Error) uint64 {
	seq, err := c.Refused(ctx, r.Actor, commandCause(r.Meta.ID), r.Endpoint.Noun+"."+r.Endpoint.Verb, e)
	if err != nil {
		c.Log.Warn("refusal not stored", zap.Error(err), zap.String("detail", e.Detail))
	}
	return seq
}

// Refused appends a refusal to the service's request aggregate and returns its sequence. A command that has an outcome gets no
// second one: the sequence is that of the outcome then.
func (c *Core) Refused(ctx context.Context, actor, cause, request string, e *api.Error) (uint64, error) {
	var known projections.Outcome
	stored, err := c.DecideOnAll(ctx, 0, func(v *projections.Cluster) (*events.Draft, error) {
		if id, ok := strings.CutPrefix(cause, commandCause("")); ok {
			if known, ok = v.Commands[id]; ok {
				return nil, nil
			}
		}
		return &events.Draft{Aggregate: events.Request(c.Name), Actor: actor, Cause: cause, Data: &events.RequestRefused{
			Request: request, Code: string(e.Code), Detail: e.Detail, Rejections: first(e.Rejections, 20),
		}}, nil
	})
	switch {
	case err != nil:
		return 0, err
	case stored == nil:
		return known.Seq, nil
	}
	return stored.Seq, nil
}

// commandCause is the cause of what a command stores.
func commandCause(id string) string { return "cmd:" + id }

func first[T any](s []T, n int) []T { return s[:min(len(s), n)] }

// known answers a command that arrives after its expiry when it was carried out before: its reply was lost.
func (c *Core) known(ctx context.Context, r *transport.Request) (any, error, bool) {
	if err := c.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
		// Whether it was carried out is not known here now, and "it was not" must not be said.
		return nil, api.Refuse(api.CodeUnavailable, "%s: %v", c.Name, err), true
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
	if err == nil && c.Again != nil {
		return c.Again(r, ack), nil, true
	}
	return ack, err, true
}

// expired records a command that came too late, and nothing else: what is refused by a decision is recorded there.
func (c *Core) expired(r *transport.Request, e *api.Error) uint64 {
	if e.Code != api.CodeExpired {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.record(ctx, r, e)
}
