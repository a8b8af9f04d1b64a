package planner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

func (s *Service) handlers() map[api.Endpoint]transport.Handler {
	return map[api.Endpoint]transport.Handler{
		api.AppApply:         s.apply,
		api.AppRemove:        s.remove,
		api.AppRestart:       s.restart,
		api.AppMove:          s.move,
		api.AppPlacement:     s.updatePlacement,
		api.AppHook:          s.hookAnswered,
		api.AppEvacuate:      s.evacuate,
		api.AppUnevacuate:    s.cancelEvacuation,
		api.NodeDrain:        s.drain,
		api.NodeDrainCancel:  s.cancelDrain,
		api.MigrationCancel:  s.cancel,
		api.MigrationApprove: s.approve,
		api.MigrationDeny:    s.deny,
		api.PolicySet:        s.setPolicy,
		api.MovesFreeze:      s.freeze,
		api.MovesUnfreeze:    s.unfreeze,
		api.AppList:          s.listApps,
		api.AppShow:          s.showApp,
		api.AppWhy:           s.why,
		api.AppWhyNot:        s.whyNot,
		api.MigrationList:    s.listMigrations,
		api.MigrationShow:    s.showMigration,
		api.PolicyShow:       s.showPolicy,
		api.NodeStable:       s.stable,
		api.OrderStatus:      s.order,
		api.StateShow:        s.showState,
		api.PlanPreview:      s.preview,
	}
}

// again gives the outcome of a command that arrives anew after its expiry the form of its reply.
func (s *Service) again(r *transport.Request, ack api.Ack) any {
	switch r.Endpoint {
	case api.NodeDrain:
		if req, err := transport.Decode[api.DrainRequest](r); err == nil && len(req.Nodes) > 0 {
			return s.drainReply(ack, req)
		}
	case api.AppApply:
		if req, err := transport.Decode[api.ApplyRequest](r); err == nil {
			return s.applyReply(ack, req.Spec.WithDefaults())
		}
	}
	return ack
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (s *Service) move(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.MoveRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		d, refusal := placement.One(v, s.Seen.Sights(), s.now(v), placement.Request{App: req.App, From: req.From, To: req.To, Force: req.Force, DeleteLocal: req.DeleteLocal, Sync: req.Sync})
		if refusal != nil {
			return nil, refusal
		}
		if d.To == "" {
			return nil, nil // it is there already
		}
		cause := "cmd:" + r.Meta.ID
		d.Cause, d.Correlation = cause, cause
		if len(d.Queued) > 0 {
			d.Migration = proposalID(v, d.Move)
			return &events.Draft{Aggregate: events.App(d.App), App: d.App, Data: held(d.Move, d.Queued)}, nil
		}
		moves := []placement.Decision{d}
		for _, along := range d.Along {
			along.Cause, along.Correlation = cause, cause
			moves = append(moves, along)
		}
		return admission(v, moves, cause, ""), nil
	})
}

// now is the cluster's time, or the fold's while no heartbeat says what time it is.
func (s *Service) now(v *projections.Cluster) time.Time {
	if now, sure := s.Seen.Now(); sure {
		return now
	}
	return v.Time
}

func (s *Service) cancel(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.MigrationRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		m := v.Migrations[req.Migration]
		switch {
		case m == nil:
			return nil, api.Refuse(api.CodeNotFound, "cancel %s: no such migration", req.Migration)
		case m.Status == projections.MigrationHeld && m.Trigger == events.TriggerManual && m.Orderer == "":
			return &events.Draft{Aggregate: events.App(m.App), App: m.App, Correlation: m.Correlation, Data: &events.MigrationCancelled{Ref: m.Ref(), Why: "operator"}}, nil
		case m.Status == projections.MigrationHeld:
			return nil, api.Refuse(api.CodeRefused, "cancel %s: it is held, and planned anew for as long as its cause stands; deny it, or end its cause: %s", m.Migration, m.Reason)
		case m.Ended():
			return nil, api.Refuse(api.CodeRefused, "cancel %s: it has ended (%s)", m.Migration, m.Status)
		case m.Committed:
			return nil, api.Refuse(api.CodeRefused, "cancel %s: it has passed its commit and can only go forward", m.Migration)
		case m.Cancel != nil || m.Undoing:
			return nil, nil
		}
		return &events.Draft{Aggregate: events.App(m.App), App: m.App, Correlation: m.Correlation, Data: &events.CancelRequested{Ref: m.Ref(), Why: "operator"}}, nil
	})
}

func (s *Service) setPolicy(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.PolicyRequest](r)
	if err != nil {
		return nil, err
	}
	if err := req.Policy.Validate(); err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "policy", Detail: fmt.Sprintf("policy: %v", err)}
	}
	want := req.Policy.WithDefaults()
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		if hash := events.HashPolicy(want); hash != v.PolicyHash {
			return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.PolicyUpdated{Policy: want, Hash: hash}}, nil
		}
		return nil, nil
	})
}

func (s *Service) freeze(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.FreezeRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		if _, frozen := v.Frozen[events.FreezeOperator]; frozen {
			return nil, nil
		}
		return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.MovesFrozen{Source: events.FreezeOperator, Why: req.Why}}, nil
	})
}

func (s *Service) unfreeze(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.FreezeRequest](r)
	if err != nil {
		return nil, err
	}
	source := req.Source
	if source == "" {
		source = events.FreezeOperator
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		if _, frozen := v.Frozen[source]; !frozen {
			return nil, nil
		}
		return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.MovesUnfrozen{Source: source, Why: req.Why}}, nil
	})
}
