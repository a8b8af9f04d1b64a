package rebalancer

import (
	"context"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/transport"
)

// Service is one rebalancer. Any number may run.
type Service struct {
	*services.Core
	judged judged         // of the loop alone
	live   placement.Live // too
}

// New returns a rebalancer on a Base.
func New(b *services.Base) *Service { return &Service{Core: services.NewCore(b, events.Rebalancer)} }

// Run proposes and answers until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.Serve(ctx, map[api.Endpoint]transport.Handler{api.AppRebalance: s.rebalance, api.RebalanceStop: s.stop,
			api.RebalanceShow: s.show})
	})
	g.Go(func() error {
		sights := s.Seen.ReadSights()
		defer sights.Close()
		return s.Loop(ctx, false, func(ctx context.Context) (time.Time, error) {
			sights.Each(s.live.Hear)
			return s.pass(ctx)
		})
	})
	return g.Wait()
}

// pass ends the rebalances that are done, and proposes one where something calls for it.
func (s *Service) pass(ctx context.Context) (time.Time, error) {
	var (
		todo []*events.Draft
		head events.Head
		wake time.Time
		bad  bool
	)
	now, sure := s.Seen.Now()
	s.Replica.View(func(v *projections.Cluster) {
		cluster := events.Cluster(v.Name)
		head, bad = v.Head(cluster), v.Quarantined[cluster] != ""
		if todo = finished(v); len(todo) > 0 {
			return
		}
		if !sure {
			now = v.Time
		}
		for {
			t, is, later := due(v, s.judged, now, sure)
			if wake = later; !is || before(v, func() placement.Plan { return s.live.Plan(v, now) }) != "" {
				return // the end of what is under way, or of a freeze, wakes the loop
			}
			if !s.live.Even() {
				if d, _ := automatic(v, t, now); d != nil {
					todo = append(todo, d)
					return
				}
			}
			s.judged.done(v, t, now)
		}
	})
	if bad || len(todo) == 0 {
		return wake, nil
	}
	ctx, cancel := context.WithTimeout(ctx, services.Fresh)
	defer cancel()
	_, err := s.Append(ctx, *todo[0], head) // the event itself brings the loop back for the rest
	return wake, err
}

func (s *Service) rebalance(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.RebalanceRequest](r)
	if err != nil {
		return nil, err
	}
	var rep api.RebalanceReply
	weigh := func(v *projections.Cluster) (placement.Proposal, []string, error) {
		apps, refused := scope(v, req)
		if refused != nil {
			return placement.Proposal{}, nil, refused
		}
		p := placement.Balance(v, apps)
		rep.Before, rep.After, rep.Moves = p.Before, p.After, p.Moves
		return p, apps, nil
	}
	if req.DryRun {
		err = s.Question(ctx, r, func(v *projections.Cluster) error {
			rep.Ack = api.Ack{Seq: v.Seq}
			_, _, err := weigh(v)
			return err
		})
	} else {
		rep.Ack, err = s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
			p, apps, err := weigh(v)
			if err != nil {
				return nil, err
			}
			return propose(v, p, Order(r.Meta.ID), events.ReasonManual, events.TriggerManual, apps), nil
		})
		s.Replica.View(func(v *projections.Cluster) {
			if o := v.Rebalances[rep.Order]; o != nil { // what was stored, also when it was by an earlier try
				rep.Before, rep.After, rep.Moves = o.Before, o.After, o.Moves
			}
		})
	}
	if err != nil {
		return nil, err
	}
	if rep.Moves == nil {
		rep.Moves = []events.Proposal{}
	}
	return rep, nil
}

// stop calls off one rebalance or all. The first event of the command is its outcome; those of the other rebalances follow, but not of one that
// was triggered since: the command may arrive again.
func (s *Service) stop(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.StopRequest](r)
	if err != nil {
		return nil, err
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		if o := v.Rebalances[req.Order]; o == nil && req.Order != "" {
			return nil, api.Refuse(api.CodeNotFound, "stop rebalance %s: no such rebalance", req.Order)
		}
		return stops(v, req.Order, math.MaxUint64), nil
	})
	for err == nil && ack.Changed && req.Order == "" {
		var more *events.Event
		more, err = s.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) {
			d, of := stops(v, "", ack.Seq), v.Rebalances[ack.Order]
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

// show says how even the cluster is and what is done about it.
func (s *Service) show(ctx context.Context, r *transport.Request) (any, error) {
	if _, err := transport.Decode[api.ListRequest](r); err != nil {
		return nil, err
	}
	out := api.RebalanceStatus{Open: []api.RebalanceView{}}
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		now, sure := s.Seen.Now()
		if !sure {
			now = v.Time
		}
		even := placement.Imbalance(v)
		out.Seq, out.Automatic, out.Imbalance, out.Raw, out.Structural = v.Seq, v.Policy.AutoRebalance.Enabled, even.Imbalance, even.Raw, even.Structural
		out.Why, out.Next = outlook(v, s.Seen.Sights(), now)
		var last *projections.Rebalance
		for _, o := range v.Rebalances {
			if o.Completed && (last == nil || o.Started.Seq > last.Started.Seq) {
				last = o
			}
		}
		if last != nil {
			view := projections.RebalanceView(last)
			out.Last = &view
		}
		for _, o := range open(v) {
			out.Open = append(out.Open, projections.RebalanceView(o))
		}
		return nil
	})
}
