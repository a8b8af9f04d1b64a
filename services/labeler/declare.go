package labeler

import (
	"context"
	"errors"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// declare brings the log up to an agent's word, event by event, until it says all of it; a repetition finds nothing left to do.
//
// The lease is read after the head that the next event is appended to. An incarnation ends in the log before its lease can be
// taken by another, so that either the append fails, or the lease was still held when it was stored.
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
			d       *events.Draft
			refused *api.Error
			moved   bool
			joined  uint64
		)
		s.Replica.View(func(v *projections.Cluster) {
			if moved = v.Head(node) != head; moved {
				return
			}
			if why, bad := v.Quarantined[node]; bad {
				refused = api.Refuse(api.CodeRefused, "declare %s: %s is quarantined: %s", req.Node, node, why)
				return
			}
			if d, refused = declared(v, req, lease); d == nil && refused == nil {
				joined = v.Nodes[req.Node].Joined.Seq
			}
		})
		switch {
		case moved:
			continue
		case refused != nil:
			return nil, refused
		case d == nil:
			durable, err := transport.EnsureNodeDurable(ctx, s.JS, s.Subjects, req.Node)
			if err != nil {
				return nil, unavailable(err)
			}
			return api.DeclareReply{Seq: joined, Durable: durable}, nil
		}
		d.Actor, d.Cause = r.Actor, "cmd:"+r.Meta.ID
		if _, err := s.Append(ctx, *d, head); err != nil && !errors.Is(err, events.ErrConflict) {
			return nil, unavailable(err)
		}
	}
}
