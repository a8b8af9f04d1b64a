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
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

func (s *Service) handlers() map[api.Endpoint]transport.Handler {
	return map[api.Endpoint]transport.Handler{
		api.AppApply:        s.apply,
		api.AppRemove:       s.remove,
		api.AppRestart:      s.restart,
		api.AppMove:         s.move,
		api.AppEvacuate:     s.evacuate,
		api.NodeDrain:       s.drain,
		api.NodeDrainCancel: s.cancelDrain,
		api.MigrationCancel: s.cancel,
		api.PolicySet:       s.setPolicy,
		api.MovesFreeze:     s.freeze,
		api.MovesUnfreeze:   s.unfreeze,
		api.AppList:         s.listApps,
		api.AppShow:         s.showApp,
		api.MigrationList:   s.listMigrations,
		api.MigrationShow:   s.showMigration,
		api.PolicyShow:      s.showPolicy,
		api.NodeStable:      s.stable,
		api.OrderStatus:     s.order,
		api.PlanPreview:     s.preview,
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// existing returns a declared app or a refusal that says which there are.
func existing(v *projections.Cluster, verb, name string) (*projections.App, error) {
	if a := v.Apps[name]; a != nil && a.Exists() && !a.Removed {
		return a, nil
	}
	return nil, api.Refuse(api.CodeNotFound, "%s %s: no such app", verb, name)
}

// apply declares an app. The spec is judged whole: every fault of it is named.
func (s *Service) apply(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.ApplyRequest](r)
	if err != nil {
		return nil, err
	}
	want := req.Spec
	if err := want.ValidateApplied(); err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Detail: fmt.Sprintf("apply %s: %v", want.Name, err), Field: "spec"}
	}
	if faults := want.Unsupported(); len(faults) > 0 {
		e := &api.Error{Code: api.CodeUnsupported, Field: faults[0].Field, Detail: fmt.Sprintf("apply %s:", want.Name)}
		for _, f := range faults {
			e.Detail += fmt.Sprintf("\n  %s: %s", f.Field, f.Detail)
		}
		return nil, e
	}
	want = want.WithDefaults()
	reply := api.ApplyReply{Warnings: warnings(want)}
	reply.Ack, err = s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) { return applied(v, want) })
	if err != nil {
		return nil, err
	}
	s.Replica.View(func(v *projections.Cluster) {
		if a := v.Apps[want.Name]; a != nil {
			reply.SpecRev = a.SpecRev
			for _, in := range a.Instances {
				reply.Rolls = reply.Rolls || in.Generation != a.Generation
			}
		}
	})
	return reply, nil
}

func applied(v *projections.Cluster, want spec.App) (*events.Draft, error) {
	data := &events.AppApplied{Spec: want, SpecRev: 1, Generation: 1}
	if a := v.Apps[want.Name]; a != nil && a.SpecRev > 0 {
		data.SpecRev, data.Generation = a.SpecRev+1, a.Generation+1
		switch {
		case a.Removed && a.Exists():
			return nil, api.Refuse(api.CodeRefused, "apply %s: it is still being removed (%d instances left)", want.Name, len(a.Instances))
		case a.Removed:
		case sameJSON(a.Spec, want):
			return nil, nil
		case a.Spec.Mode != want.Mode && (len(a.Instances) > 0 || len(a.Open) > 0):
			return nil, api.Refuse(api.CodeRefused, "apply %s: mode: cannot change from %s to %s while instances exist; remove the app first", want.Name, a.Spec.Mode, want.Mode)
		case a.Spec.ProcessHash() == want.ProcessHash():
			data.Generation = a.Generation
		}
	}
	return &events.Draft{Aggregate: events.App(want.Name), App: want.Name, Data: data}, nil
}

// warnings tells what an operator should know of a valid spec.
func warnings(a spec.App) []string {
	out := []string{}
	if a.Mode == spec.Singleton && a.Data == spec.DataEphemeral {
		out = append(out, "data is ephemeral: $GC_DATA_DIR does not travel with the app; what it keeps there stays on the node it leaves")
	}
	if a.Mode == spec.Singleton && a.OnIsolation == spec.OnIsolationContinue {
		out = append(out, "on_isolation is continue: when its node is lost the app is Pending until `go-cluster node lost NODE --confirm`")
	}
	return out
}

func (s *Service) remove(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.AppRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		a := v.Apps[req.App]
		if a == nil || a.SpecRev == 0 || a.Removed && !a.Exists() {
			return nil, api.Refuse(api.CodeNotFound, "remove %s: no such app", req.App)
		}
		if a.Removed {
			return nil, nil
		}
		for _, m := range a.SortedOpen() {
			if m.Committed {
				return nil, api.Refuse(api.CodeRefused, "remove %s: migration %s has passed its commit; try again when it has ended", req.App, m.Migration)
			}
		}
		return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.AppRemoved{DeleteLocal: req.DeleteLocal}}, nil
	})
}

func (s *Service) restart(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.AppRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		a, err := existing(v, "restart", req.App)
		if err != nil {
			return nil, err
		}
		return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.AppRestartRequested{Generation: a.Generation + 1}}, nil
	})
}

func (s *Service) move(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.MoveRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		d, refusal := placement.One(v, s.Seen.Loads(), s.now(v), placement.Request{App: req.App, From: req.From, To: req.To, Force: req.Force})
		if refusal != nil {
			return nil, refusal
		}
		if d.To == "" {
			return nil, nil // it is there already
		}
		cause := "cmd:" + r.Meta.ID
		d.Cause, d.Correlation = cause, cause
		return admission(v, []placement.Decision{d}, cause, ""), nil
	})
}

// now is the cluster's time, or the fold's while no heartbeat says what time it is.
func (s *Service) now(v *projections.Cluster) time.Time {
	if now, sure := s.Seen.Now(); sure {
		return now
	}
	return v.Time
}

func (s *Service) evacuate(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.EvacuateRequest](r)
	if err != nil {
		return nil, err
	}
	if _, err := spec.ParseSelector(req.Selector); err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "selector", Detail: fmt.Sprintf("evacuate: %v", err)}
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		return &events.Draft{Aggregate: events.Cluster(v.Name), Data: &events.EvacuationStarted{
			Order: "e-" + events.Derive("evacuate", r.Meta.ID)[:12], Selector: req.Selector, Timeout: req.Timeout}}, nil
	})
}

// drain empties nodes, one event each. Several must be cordoned before, so that nothing lands on the next victim.
func (s *Service) drain(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.DrainRequest](r)
	if err != nil {
		return nil, err
	}
	if len(req.Nodes) == 0 {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "nodes", Detail: "drain: no node is named"}
	}
	check := func(v *projections.Cluster) error {
		for _, id := range req.Nodes {
			n := v.Nodes[id]
			switch {
			case n == nil || n.Status == projections.StatusLeft:
				return api.Refuse(api.CodeNotFound, "drain: no node %s", id)
			case len(req.Nodes) > 1 && !n.Cordoned:
				return api.Refuse(api.CodeRefused, "drain %s: cordon all nodes of one drain first, or work moves from one to the next", id)
			}
		}
		return nil
	}
	if err := s.Question(ctx, r, check); err != nil {
		return nil, err
	}
	reply := api.DrainReply{Orders: map[string]string{}}
	for _, id := range req.Nodes {
		e, err := s.Decide(ctx, func(v *projections.Cluster) (*events.Draft, error) {
			n := v.Nodes[id]
			if n.Drain != nil {
				reply.Orders[id] = n.Drain.Order
				return nil, nil // it is being drained already: join in
			}
			order := "d-" + events.Derive("drain", r.Meta.ID, id)[:12]
			reply.Orders[id] = order
			if v.Drains[order] != nil {
				return nil, nil // this very command, repeated after the drain has ended
			}
			return &events.Draft{Aggregate: events.Node(id), Node: id, Actor: r.Actor, Cause: "cmd:" + r.Meta.ID, Data: &events.DrainStarted{
				Node: id, Order: order, Timeout: req.Timeout, Force: req.Force, DeleteLocal: req.DeleteLocal}}, nil
		})
		if err != nil {
			return nil, api.Refuse(api.CodeUnavailable, "drain %s: %v", id, err)
		}
		if e != nil {
			reply.Seq, reply.Changed = e.Seq, true
		}
	}
	reply.Seq, reply.Order = max(reply.Seq, s.Replica.Seq()), reply.Orders[req.Nodes[0]]
	return reply, nil
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
