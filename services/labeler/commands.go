package labeler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

func (s *Service) label(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.LabelRequest](r)
	if err != nil {
		return nil, err
	}
	change, refused := labelChange(req)
	if refused != nil {
		return nil, refused
	}
	var u *events.NodeLabelsUpdated
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		d, now, refused := relabel(v, req, change)
		if refused != nil {
			return nil, refused
		}
		u = now
		return d, nil
	})
	if err != nil {
		return nil, err
	}
	if u == nil { // carried out before: the event says what it did
		if u, err = s.labelsAt(ctx, req.Node, ack.Seq); err != nil {
			return nil, api.Refuse(api.CodeUnavailable, "label %s: %v", req.Node, err)
		}
	}
	return api.LabelReply{Ack: ack, Before: u.Before, After: u.After}, nil
}

var errRead = errors.New("read")

// labelsAt reads one stored change of labels back.
func (s *Service) labelsAt(ctx context.Context, node string, seq uint64) (*events.NodeLabelsUpdated, error) {
	var u *events.NodeLabelsUpdated
	err := s.Events.Follow(ctx, seq, []string{s.Subjects.Aggregate(events.Node(node))}, func(m events.Message) error {
		if m.Event.Seq == seq && m.Err == nil {
			u, _ = m.Event.Data.(*events.NodeLabelsUpdated)
		}
		return errRead
	})
	if !errors.Is(err, errRead) {
		return nil, err
	}
	if u == nil {
		return nil, fmt.Errorf("the command's id belongs to another command, at sequence %d", seq)
	}
	return u, nil
}

func (s *Service) cordon(ctx context.Context, r *transport.Request) (any, error) {
	return s.onNode(ctx, r, cordon)
}

func (s *Service) uncordon(ctx context.Context, r *transport.Request) (any, error) {
	return s.onNode(ctx, r, uncordon)
}

func (s *Service) onNode(ctx context.Context, r *transport.Request, pure func(*projections.Cluster, string) (*events.Draft, error)) (any, error) {
	req, err := transport.Decode[api.NodeRequest](r)
	if err != nil {
		return nil, err
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) { return pure(v, req.Node) })
	if err != nil {
		return nil, err
	}
	return ack, nil
}

// remove stores that a node has left, and takes its consumer away. A repetition takes away what an earlier try left.
func (s *Service) remove(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.NodeRequest](r)
	if err != nil {
		return nil, err
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) { return leave(v, req.Node) })
	if err != nil {
		return nil, err
	}
	if err := s.dropDurable(ctx, req.Node); err != nil {
		return nil, api.Refuse(api.CodeUnavailable, "remove %s: it has left, but its consumer is still there: %v; ask again", req.Node, err)
	}
	return ack, nil
}

// dropDurable deletes the consumer of a node that has left, unless it has come back: then it may have deleted the new one, and
// makes it again.
func (s *Service) dropDurable(ctx context.Context, node string) error {
	back := func() bool {
		var is bool
		s.Replica.View(func(v *projections.Cluster) {
			is = v.Nodes[node] == nil || v.Nodes[node].Status != projections.StatusLeft
		})
		return is
	}
	if back() {
		return nil
	}
	if err := transport.DeleteNodeDurable(ctx, s.JS, s.Subjects, node); err != nil {
		return err
	}
	if err := s.Replica.CatchUp(ctx, 0); err != nil {
		return err
	}
	if back() {
		_, err := transport.EnsureNodeDurable(ctx, s.JS, s.Subjects, node)
		return err
	}
	return nil
}

// confirmLost takes an operator's word that a machine is off. A lease that is still held is closed first, so that the word cannot
// be wrong for longer than it takes the agent to notice.
func (s *Service) confirmLost(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.NodeRequest](r)
	if err != nil {
		return nil, err
	}
	if !req.Confirm {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "confirm", Detail: fmt.Sprintf(
			"lost %s: say --confirm when the machine is off for certain: what it may still run is started elsewhere at once", req.Node)}
	}
	if err := s.Replica.CatchUp(ctx, r.Meta.MinSeq); err != nil {
		return nil, api.Refuse(api.CodeUnavailable, "lost %s: %v", req.Node, err)
	}
	alive, seq, err := s.closeSilent(ctx, r.Meta.ID, req.Node)
	if err != nil {
		return nil, api.Refuse(api.CodeUnavailable, "lost %s: %v", req.Node, err)
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) { return confirm(v, req.Node, alive, seq) })
	if err != nil {
		return nil, err
	}
	return ack, nil
}

// closeSilent closes the lease of a silent node. It returns why the node cannot be lost, or the sequence of its lease.
func (s *Service) closeSilent(ctx context.Context, command, node string) (alive string, seq uint64, err error) {
	var skip bool
	s.Replica.View(func(v *projections.Cluster) {
		_, done := v.Commands[command]
		n := v.Nodes[node]
		skip = done || n == nil || !n.Known() || n.Status == projections.StatusLeft
	})
	if skip {
		return "", 0, nil // the decision knows better
	}
	l, found, err := s.Leases.Get(ctx, node)
	if err != nil || !found || l.Lease.State != api.LeaseHeld {
		return "", l.Seq, err
	}
	seen, ok := s.Seen.Lease(node)
	now, pulse := s.Boot(), s.pulse.get()
	quiet := now - max(seen.FirstSeen, pulse.Since)
	switch {
	case !ok || seen.Seq != l.Seq:
		return "it is alive: its lease was renewed just now", l.Seq, nil
	case !pulse.Beating || now-pulse.Acked >= ackFresh:
		return "", 0, errors.New("the labeler cannot tell now whether it is silent; ask again")
	case quiet <= l.Lease.TTL.D():
		return fmt.Sprintf("its lease was renewed and is good for another %s: ask again then", (l.Lease.TTL.D() - quiet).Round(100*time.Millisecond)), l.Seq, nil
	}
	closed := l.Lease
	closed.State = api.LeaseClosed
	seq, err = s.put(ctx, closed, l.Seq)
	if errors.Is(err, transport.ErrLeaseMoved) {
		return "it is alive: its lease was renewed just now", l.Seq, nil
	}
	return "", seq, err
}

func (s *Service) list(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.ListRequest](r)
	if err != nil {
		return nil, err
	}
	out := []api.NodeView{}
	err = s.Question(ctx, r, func(v *projections.Cluster) error {
		for _, n := range projections.NodeViews(v, s.Seen.Loads()) {
			if wanted(n, req) {
				out = append(out, n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func wanted(n api.NodeView, r api.ListRequest) bool {
	if r.Node != "" && n.ID != r.Node {
		return false
	}
	if r.App == "" {
		return true
	}
	for _, a := range n.Apps {
		if a == r.App {
			return true
		}
	}
	return false
}

func (s *Service) show(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.NodeRequest](r)
	if err != nil {
		return nil, err
	}
	var out api.NodeDetail
	err = s.Question(ctx, r, func(v *projections.Cluster) error {
		n, refused := known(v, "show", req.Node)
		if refused != nil {
			return refused
		}
		lease, _ := s.Seen.Lease(n.ID)
		out = projections.NodeDetail(v, n, lease.Lease.Load)
		for i := range out.Instances {
			s.Seen.AddData(&out.Instances[i])
		}
		for _, h := range lease.Lease.Instances {
			here := slices.ContainsFunc(out.Instances, func(in api.InstanceView) bool {
				return in.App == h.App && (in.ID == h.ID || in.Role == api.RoleStandby)
			})
			if !here && h.Data != nil && h.Data.Error != "" {
				out.Left = append(out.Left, api.LeftView{ID: h.ID, App: h.App, Why: h.Data.Error})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
