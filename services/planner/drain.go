package planner

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

func (s *Service) evacuate(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.EvacuateRequest](r)
	if err != nil {
		return nil, err
	}
	sel, err := spec.ParseSelector(req.Selector)
	if err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "selector", Detail: fmt.Sprintf("evacuate: %v", err)}
	}
	if req.Timeout < 0 {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "timeout", Detail: fmt.Sprintf("evacuate: timeout %s: want more than 0, or none", req.Timeout)}
	}
	joined := ""
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		joined = ""
		if ev := openEvacuation(v, sel, math.MaxUint64); ev != nil {
			var limit time.Duration
			if !ev.Deadline.IsZero() {
				limit = ev.Deadline.Sub(ev.Started.At)
			}
			if req.Timeout > 0 && req.Timeout.D() != limit {
				return nil, api.Refuse(api.CodeRefused, "evacuate %s: it is under way with another timeout (order %s: %s); cancel that first, or repeat without one to join in",
					req.Selector, ev.Order, timeoutOf(limit))
			}
			joined = ev.Order
			return nil, nil
		}
		return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.EvacuationStarted{
			Order: "e-" + events.Derive("evacuate", r.Meta.ID)[:12], Selector: req.Selector, Timeout: req.Timeout}}, nil
	})
	if err != nil {
		return nil, err
	}
	if !ack.Changed {
		ack.Order = joined
	}
	return ack, nil
}

// openEvacuation returns an evacuation that is open and was ordered before a sequence, of a selector, written as it was or otherwise; nil for none.
func openEvacuation(v *projections.Cluster, sel spec.Selector, before uint64) *projections.Evacuation {
	for _, order := range sortedKeys(v.Evacuations) {
		if ev := v.Evacuations[order]; ev.State == api.OrderOpen && ev.Started.Seq < before && ev.Selector.String() == sel.String() {
			return ev
		}
	}
	return nil
}

// cancelEvacuation calls off the open evacuations of a selector: of one that was repeated older logs have several. The first event of the command is
// its outcome; those of the others follow, but not of one that was ordered since: the command may arrive again.
func (s *Service) cancelEvacuation(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.EvacuateRequest](r)
	if err != nil {
		return nil, err
	}
	sel, err := spec.ParseSelector(req.Selector)
	if err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "selector", Detail: fmt.Sprintf("cancel evacuation: %v", err)}
	}
	first := func(v *projections.Cluster, before uint64) *events.Draft {
		if ev := openEvacuation(v, sel, before); ev != nil {
			return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.EvacuationCancelled{Order: ev.Order}}
		}
		return nil
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) { return first(v, math.MaxUint64), nil })
	for err == nil && ack.Changed {
		var more *events.Event
		more, err = s.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) {
			d, of := first(v, ack.Seq), v.Evacuations[ack.Order]
			if d == nil || of == nil {
				return nil, nil
			}
			d.Actor, d.Cause = r.Actor, of.Ended.ID // a command has one outcome: the others follow from it
			return d, nil
		})
		if more == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return ack, nil
}

// drain empties nodes, one event each. Several must be cordoned before, so that nothing lands on the next victim.
func (s *Service) drain(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.DrainRequest](r)
	if err != nil {
		return nil, err
	}
	switch {
	case len(req.Nodes) == 0:
		return nil, &api.Error{Code: api.CodeInvalid, Field: "nodes", Detail: "drain: no node is named"}
	case req.Timeout < 0:
		return nil, &api.Error{Code: api.CodeInvalid, Field: "timeout", Detail: fmt.Sprintf("drain: timeout %s: want more than 0, or none", req.Timeout)}
	case req.Force && req.Timeout == 0:
		return nil, &api.Error{Code: api.CodeInvalid, Field: "force", Detail: "drain: force needs a timeout, which says when what is left is stopped"}
	}
	// The first event of a command is its outcome. Those of the other nodes follow, also when an earlier try stored but some.
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		if refused := drainable(v, req); refused != nil {
			return nil, refused
		}
		for _, id := range req.Nodes {
			if d := drained(v, req, id); d != nil {
				return d, nil
			}
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range req.Nodes {
		_, err := s.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) {
			d := drained(v, req, id)
			if d != nil {
				d.Actor, d.Cause = r.Actor, "cmd:"+r.Meta.ID
			}
			return d, nil
		})
		if err != nil {
			return nil, api.Refuse(api.CodeUnavailable, "drain %s: %v; ask again with the same command id %s", id, err, r.Meta.ID)
		}
	}
	return s.drainReply(ack, req), nil
}

func drainOrder(command, node string) string {
	return "d-" + events.Derive("drain", command, node)[:12]
}

// drainable judges a drain as a whole, before any of its nodes is.
func drainable(v *projections.Cluster, req api.DrainRequest) *api.Error {
	for _, id := range req.Nodes {
		n := v.Nodes[id]
		switch {
		case n == nil || !n.Known() || n.Status == projections.StatusLeft:
			return api.Refuse(api.CodeNotFound, "drain: no node %s", id)
		case len(req.Nodes) > 1 && !n.Cordoned:
			return api.Refuse(api.CodeRefused, "drain %s: cordon all nodes of one drain first, or work moves from one to the next", id)
		}
		asks := req.Timeout > 0 || req.Force || req.DeleteLocal
		if d := n.Drain; d != nil && asks && (d.Timeout != req.Timeout.D() || d.Force != req.Force || d.DeleteLocal != req.DeleteLocal) {
			return api.Refuse(api.CodeRefused, "drain %s: it is being drained with other options (order %s: %s); cancel that first, or repeat without options to join in",
				id, d.Order, drainOptions(d))
		}
	}
	return nil
}

func drainOptions(d *projections.Drain) string {
	out := timeoutOf(d.Timeout)
	if d.Force {
		out += ", force"
	}
	if d.DeleteLocal {
		out += ", delete local data"
	}
	return out
}

func timeoutOf(limit time.Duration) string {
	if limit == 0 {
		return "no timeout"
	}
	return "timeout " + limit.String()
}

// drained begins the drain of one node, unless it is being drained already, or was by this very command, or has left meanwhile.
func drained(v *projections.Cluster, req api.DrainRequest, id string) *events.Draft {
	n, order := v.Nodes[id], drainOrder(req.ID, id)
	if n == nil || n.Status == projections.StatusLeft || n.Drain != nil || v.Drains[order] != nil {
		return nil
	}
	return &events.Draft{Aggregate: events.Node(id), Node: id, Data: &events.DrainStarted{
		Node: id, Order: order, Timeout: req.Timeout, Force: req.Force, DeleteLocal: req.DeleteLocal}}
}

// drainReply names the drain of each node: that of the command, or the one that it joined. Its sequence is that of the last event
// of the command.
func (s *Service) drainReply(ack api.Ack, req api.DrainRequest) api.DrainReply {
	reply := api.DrainReply{Ack: ack, Orders: map[string]string{}}
	s.Replica.View(func(v *projections.Cluster) {
		for _, id := range req.Nodes {
			if d := v.Drains[drainOrder(req.ID, id)]; d != nil {
				reply.Orders[id], reply.Seq = d.Order, max(reply.Seq, d.Started.Seq)
			} else if n := v.Nodes[id]; n != nil && n.Drain != nil {
				reply.Orders[id] = n.Drain.Order
			}
		}
	})
	reply.Order = reply.Orders[req.Nodes[0]]
	return reply
}

func (s *Service) cancelDrain(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.NodeRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		n := v.Nodes[req.Node]
		if n == nil {
			return nil, api.Refuse(api.CodeNotFound, "cancel drain: no node %s", req.Node)
		}
		if n.Drain == nil {
			return nil, nil
		}
		return &events.Draft{Aggregate: events.Node(n.ID), Node: n.ID, Data: &events.DrainCancelled{Node: n.ID, Order: n.Drain.Order}}, nil
	})
}
