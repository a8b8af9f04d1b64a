package planner

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

func (s *Service) listApps(ctx context.Context, r *transport.Request) (any, error) {
	out := []api.AppView{}
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		for _, a := range v.SortedApps() {
			out = append(out, projections.AppView(v, a))
		}
		return nil
	})
}

func (s *Service) showApp(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.AppRequest](r)
	if err != nil {
		return nil, err
	}
	var out api.AppDetail
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		a := v.Apps[req.App]
		if a == nil || !a.Exists() {
			return api.Refuse(api.CodeNotFound, "app %s: no such app", req.App)
		}
		out = projections.AppDetail(v, a)
		for i := range out.Instances {
			s.Seen.AddData(&out.Instances[i])
		}
		if out.Standbys != nil {
			out.Standbys.Why, out.Standbys.Rejections = placement.Standbys(v, a, s.now(v))
		}
		if a.Pending != nil { // as of now, with every node and not only those that the event had room for
			for _, p := range placement.Make(v, s.Seen.Sights(), s.now(v)).Pending {
				if p.App == a.Name {
					out.Pending, out.Why, out.Relax = p.Refused, p.Reason, s.relax(v, a, p)
				}
			}
		}
		return nil
	})
}

func (s *Service) whyNot(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.WhyNotRequest](r)
	if err != nil {
		return nil, err
	}
	var out api.WhyNotReply
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		answer, refused := placement.WhyNot(v, s.Seen.Sights(), s.now(v), req.App, req.Node, req.Instance)
		if refused != nil {
			return refused
		}
		out = answer
		return nil
	})
}

// relaxNow is up to how many nodes a question looks anew for what would give an app a place; for more it says what was found when the app
// became Pending.
const relaxNow = 2000

func (s *Service) relax(v *projections.Cluster, a *projections.App, p placement.Pending) []events.Relaxation {
	if len(v.Nodes) > relaxNow {
		return a.Pending.Relax
	}
	return placement.Relax(v, s.Seen.Sights(), s.now(v), p)
}

func (s *Service) listMigrations(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.ListRequest](r)
	if err != nil {
		return nil, err
	}
	out := []api.MigrationView{}
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		for _, m := range v.SortedMigrations() {
			if (req.App == "" || m.App == req.App) && (req.Node == "" || m.From == req.Node || m.To == req.Node) {
				out = append(out, projections.MigrationView(v, m))
			}
		}
		return nil
	})
}

func (s *Service) showMigration(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.MigrationRequest](r)
	if err != nil {
		return nil, err
	}
	var out api.MigrationDetail
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		m := v.Migrations[req.Migration]
		if m == nil {
			return api.Refuse(api.CodeNotFound, "migration %s: no such migration", req.Migration)
		}
		out = projections.MigrationDetail(v, m)
		return nil
	})
}

// enforced names the guardrails that this version judges; the others are stored and shown.
var enforced = []string{"freeze", "migration", "auto_rebalance"}

func (s *Service) showPolicy(ctx context.Context, r *transport.Request) (any, error) {
	var out api.PolicyReply
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		out = api.PolicyReply{Policy: v.Policy, Hash: v.PolicyHash, Seq: v.PolicyBy.Seq, By: v.PolicyFrom(), Frozen: map[string]string{}, Enforce: enforced,
			Declared: projections.DeclarationViews(v, "", v.PolicyDecl)}
		for source, why := range v.Frozen {
			out.Frozen[source] = why
		}
		return nil
	})
}

// stable says whether a node has settled: nothing is planned for it, nothing open touches it, everything on it is well.
func (s *Service) stable(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.StableRequest](r)
	if err != nil {
		return nil, err
	}
	var out api.StableReply
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		n := v.Nodes[req.Node]
		if n == nil || !n.Known() || n.Status == projections.StatusLeft { // nothing would ever make it stable
			return api.Refuse(api.CodeNotFound, "wait-stable: no node %s", req.Node)
		}
		out = api.StableReply{Seq: v.Seq, Waiting: []string{}}
		wait := func(format string, args ...any) { out.Waiting = append(out.Waiting, fmt.Sprintf(format, args...)) }
		if n.Status != projections.StatusReady {
			wait("%s is %s", n.ID, n.Status)
		}
		plan := placement.Make(v, s.Seen.Sights(), s.now(v))
		for _, d := range plan.Moves {
			if d.From == n.ID || d.To == n.ID {
				wait("%s is to move (%s)", d.Instance, d.Reason)
			}
		}
		approvals := 0
		for _, h := range plan.Held {
			if h.From == n.ID || h.To == n.ID {
				wait("%s is held (%s): %s", h.Instance, h.Reason, projections.HoldsLine(h.Holds))
				if only(h.Holds, events.HoldApproval) {
					approvals++
				}
			}
		}
		for _, a := range v.SortedApps() {
			for _, m := range a.SortedOpen() {
				if m.From == n.ID || m.To == n.ID {
					wait("migration %s of %s is open", m.Migration, m.Instance)
				}
			}
		}
		for _, in := range append(v.On(n.ID), v.StandbysOn(n.ID)...) {
			if !in.Healthy {
				wait("%s is %s", in.ID, in.State)
			}
		}
		out.Stable = len(out.Waiting) == 0
		out.Approval = !out.Stable && approvals == len(out.Waiting)
		return nil
	})
}

// only says whether one rule alone holds a move.
func only(holds []events.Hold, rule string) bool {
	return !slices.ContainsFunc(holds, func(h events.Hold) bool { return h.Rule != rule })
}

// order reports the progress of a drain, an evacuation, a rebalance or a single migration.
func (s *Service) order(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.OrderRequest](r)
	if err != nil {
		return nil, err
	}
	var out api.OrderReply
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		out = api.OrderReply{Order: req.Order, Seq: v.Seq, Migrations: []api.MigrationView{}, Left: []string{}, Stuck: []api.PendingView{}}
		left, known := describe(v, req.Order, &out)
		if !known {
			return api.Refuse(api.CodeNotFound, "order %s: no such drain, evacuation, rebalance or migration", req.Order)
		}
		for _, m := range v.SortedMigrations() {
			if m.Orderer == req.Order || m.Migration == req.Order {
				out.Migrations = append(out.Migrations, projections.MigrationView(v, m))
			}
		}
		if out.State != api.OrderOpen || len(out.Left) == 0 {
			return nil
		}
		plan := placement.Make(v, s.Seen.Sights(), s.now(v))
		out.Stays = stays(v, plan, left, s.now(v))
		for _, id := range out.Left {
			if p := stuck(v, plan, id); p != nil {
				out.Stuck = append(out.Stuck, api.PendingView{App: p.App, Instance: id, Code: p.Code, Reason: p.Reason, Rejections: p.Refused,
					Relax: placement.Relax(v, s.Seen.Sights(), s.now(v), *p)})
			}
		}
		return nil
	})
}

// stuck says why an instance stays where an order does not want it, or nil when it moves or will.
func stuck(v *projections.Cluster, plan placement.Plan, instance string) *placement.Pending {
	for i, p := range plan.Pending {
		a := v.Apps[p.App]
		if a.Instances[instance] == nil {
			continue
		}
		moves := slices.ContainsFunc(plan.Moves, func(d placement.Decision) bool { return d.Instance == instance })
		open := slices.ContainsFunc(a.SortedOpen(), func(m *projections.Migration) bool { return m.Instance == instance })
		if !moves && !open {
			return &plan.Pending[i]
		}
	}
	return nil
}

// describe fills in what an order is, and returns what an open one has still to move.
func describe(v *projections.Cluster, order string, out *api.OrderReply) (left []*projections.Instance, known bool) {
	if d := v.Drains[order]; d != nil {
		out.Kind, out.State = "drain", d.State
		out.Left = append(out.Left, d.Left...)
		if n := v.Nodes[d.Node]; d.State == api.OrderOpen && n != nil {
			left, _ = presenceOf(v).leftOn(n)
			out.Left = append(out.Left, idsOf(left)...)
		}
		return left, true
	}
	if ev := v.Evacuations[order]; ev != nil {
		out.Kind, out.State = "evacuation", ev.State
		out.Left = append(out.Left, ev.Left...)
		if ev.State == api.OrderOpen {
			left, _ = presenceOf(v).leftBy(v, ev)
			out.Left = append(out.Left, idsOf(left)...)
		}
		return left, true
	}
	if rb := v.Rebalances[order]; rb != nil {
		out.Kind, out.State = "rebalance", rb.State()
		return nil, true
	}
	if m := v.Migrations[order]; m != nil {
		out.Kind = "migration"
		switch {
		case !m.Ended():
			out.State = api.OrderOpen
		case m.Status == projections.MigrationCompleted:
			out.State = api.OrderCompleted
		case m.Status == projections.MigrationCancelled:
			out.State = api.OrderCancelled
		default:
			out.State = api.OrderFailed
		}
		return nil, true
	}
	return nil, false
}
