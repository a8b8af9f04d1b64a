package labeler

import (
	"context"
	"errors"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// declare brings the log up to an agent's word, event by event, until it says all of it; a repetition finds nothing left to do.
//
// The lease is read after the head that the next event is appended to. An incarnation ends in the log before its lease can be
// taken by another, so that either the append fails, or the lease was still held when it was stored. A copy of the command that came
// too late may have been refused meanwhile: what has that outcome gets no other.
func (s *Service) declare(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.DeclareRequest](r)
	if err != nil {
		return nil, err
	}
	if refused := checkDeclaration(req); refused != nil {
		return nil, refused
	}
	node := events.Node(req.Node)
	unavailable := func(err error) error { return api.Refuse(api.CodeUnavailable, "declare %s: %v", req.Node, err) }
	for {
		if err := s.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
			return nil, unavailable(err)
		}
		var head events.Head
		s.Replica.View(func(v *projections.Cluster) { head = v.Head(node) })
		lease, found, err := s.Leases.Get(ctx, req.Node)
		if err != nil {
			return nil, unavailable(err)
		}
		if refused := believed(req, lease, found); refused != nil {
			return nil, refused
		}
		var (
			refused *api.Error
			moved   bool
			joined  uint64
		)
		stored, err := s.DecideOnAll(ctx, r.Meta.MinSeq, func(v *projections.Cluster) (*events.Draft, error) {
			if moved = v.Head(node) != head; moved {
				return nil, nil
			}
			if why, bad := v.Quarantined[node]; bad {
				return nil, api.Refuse(api.CodeRefused, "declare %s: %s is quarantined: %s", req.Node, node, why)
			}
			if o := v.Commands[r.Meta.ID]; o.Refused != nil {
				return nil, services.Refusal(o)
			}
			d, refused := declared(v, req, lease)
			switch {
			case refused != nil:
				return nil, refused
			case d == nil:
				joined = v.Nodes[req.Node].Joined.Seq
				return nil, nil
			}
			d.Actor, d.Cause = r.Actor, "cmd:"+r.Meta.ID
			return d, nil
		})
		switch {
		case errors.As(err, &refused):
			return nil, refused
		case err != nil:
			return nil, unavailable(err)
		case stored == nil && !moved:
			durable, err := transport.EnsureNodeDurable(ctx, s.JS, s.Subjects, req.Node)
			if err != nil {
				return nil, unavailable(err)
			}
			return api.DeclareReply{Seq: joined, Durable: durable}, nil
		}
	}
}
