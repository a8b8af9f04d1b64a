package planner

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// preview plans on the state as a change would make it, with the code that plans for real.
func (s *Service) preview(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.PreviewRequest](r)
	if err != nil {
		return nil, err
	}
	if count := kinds(req); count != 1 {
		return nil, &api.Error{Code: api.CodeInvalid, Detail: fmt.Sprintf("preview: say one thing to preview, not %d", count)}
	}
	out := api.PreviewReply{Moves: []api.PlannedMove{}, Held: []api.HeldMove{}, Pending: []api.PendingView{}, NewlyPending: []string{}}
	return &out, s.Question(ctx, r, func(v *projections.Cluster) error {
		out.Seq = v.Seq
		if req.Move != nil {
			return s.previewMove(v, req, &out)
		}
		what, err := supposed(v, req)
		if err != nil {
			return err
		}
		what = placement.WithoutMoot(v, what)
		plan := placement.Make(what, s.Seen.Sights(), s.now(v))
		if req.Rebalance != nil {
			plan = onlyOf(plan, previewOrder)
		}
		s.fill(v, what, plan, req, &out)
		for _, p := range plan.Pending {
			view := api.PendingView{App: p.App, Instance: p.Instance, Code: p.Code, Reason: p.Reason, Rejections: p.Refused}
			if a := v.Apps[p.App]; a == nil || a.Pending == nil {
				if out.NewlyPending = append(out.NewlyPending, p.App); len(out.NewlyPending) <= mostRelaxed {
					view.Relax = placement.Relax(what, s.Seen.Sights(), s.now(v), p)
				}
			}
			out.Pending = append(out.Pending, view)
		}
		return nil
	})
}

// mostRelaxed is for how many apps a preview looks for what would help: a change that leaves more without a place is none to be mended.
const mostRelaxed = 8

func kinds(req api.PreviewRequest) int {
	count := 0
	for _, given := range []bool{req.Label != nil, req.Drain != nil, req.Evacuate != nil, req.Move != nil, req.Apply != nil, req.Uncordon != nil, req.Policy != nil, req.Rebalance != nil} {
		if given {
			count++
		}
	}
	return count
}

// previewOrder is the order of what is only supposed.
const previewOrder = "preview"

// onlyOf leaves of a plan what belongs to an order.
func onlyOf(plan placement.Plan, order string) placement.Plan {
	plan.Moves = slices.DeleteFunc(plan.Moves, func(d placement.Decision) bool { return d.Order != order })
	plan.Held = slices.DeleteFunc(plan.Held, func(h placement.Held) bool { return h.Order != order })
	plan.Pending = nil
	return plan
}

// fill writes a plan into a reply, with a forecast if that is asked for.
func (s *Service) fill(v, what *projections.Cluster, plan placement.Plan, req api.PreviewRequest, out *api.PreviewReply) {
	for _, d := range plan.Moves {
		out.Moves = append(out.Moves, planned(d))
	}
	for _, h := range plan.Held {
		out.Held = append(out.Held, api.HeldMove{PlannedMove: planned(h.Decision), Holds: h.Holds})
	}
	if !req.Forecast {
		return
	}
	out.Cluster, out.Do, out.Rests = v.Name, bare(req), rests(v, req)
	if req.Rebalance != nil {
		forecastRebalance(v, req.Rebalance, out)
		return
	}
	now, rounds, asked := s.now(v), []placement.Plan{plan}, 0
	due := map[string]bool{}
	if req.Move != nil {
		asked = len(plan.Moves) + len(plan.Held)
	} else {
		c := placement.Follow(what, s.Seen.Sights(), now, plan)
		rounds, out.More = append(rounds, c.Rounds...), c.More
		anyway := placement.Make(v, s.Seen.Sights(), now)
		for _, p := range append([]placement.Plan{anyway}, placement.Follow(v, s.Seen.Sights(), now, anyway).Rounds...) {
			for _, d := range p.Moves {
				due[d.Instance+route(d.From, d.To)] = true
			}
		}
	}
	f := placement.Foretell(v, what, rounds, asked, now)
	mark := func(round int, m api.PlannedMove) api.PlannedMove {
		m.Wave, m.Due = f.Wave[round][m.Instance], due[m.Instance+route(m.From, m.To)]
		return m
	}
	for i := range out.Moves {
		out.Moves[i] = mark(0, out.Moves[i])
	}
	for i := range out.Held {
		out.Held[i].PlannedMove = mark(0, out.Held[i].PlannedMove)
	}
	for i, p := range rounds[1:] {
		for _, d := range p.Moves {
			out.Moves = append(out.Moves, mark(i+1, planned(d)))
		}
		for _, h := range p.Held {
			if placement.OnlyTurn(h.Holds) {
				out.Moves = append(out.Moves, mark(i+1, planned(h.Decision)))
			}
		}
	}
	all := len(out.Moves) + len(out.Held)
	out.Waves, out.Bound, out.Gap = f.Waves, api.Bound(f.Bound), f.Gap(all)
	out.Before, out.After = api.Evenness(f.Before), api.Evenness(f.After)
}

// route is a way from a node to another, as a key.
func route(from, to string) string { return "\x00" + from + "\x00" + to }

// forecastRebalance fills in what the rebalancer says of its proposals, and those that wait for another to make room.
func forecastRebalance(v *projections.Cluster, r *api.RebalanceRequest, out *api.PreviewReply) {
	p := rebalanced(v, r)
	at := map[string]*api.PlannedMove{}
	for i := range out.Moves {
		at[out.Moves[i].Instance] = &out.Moves[i]
	}
	for i := range out.Held {
		at[out.Held[i].Instance] = &out.Held[i].PlannedMove
	}
	var waits []api.PlannedMove
	for i, mv := range p.Moves {
		m := at[mv.Instance]
		if m == nil {
			waits = append(waits, api.PlannedMove{App: mv.App, Instance: mv.Instance, From: mv.From, To: mv.To, Reason: events.ReasonRebalance, Class: events.ClassBalance, Why: mv.Why})
			m = &waits[len(waits)-1]
		}
		m.Wave, out.Waves = p.Waves[i], max(out.Waves, p.Waves[i])
	}
	out.Moves = append(out.Moves, waits...)
	all := len(p.Moves)
	out.Bound = api.Bound{MinMoves: min(p.Bound.MinMoves, all), Exact: p.Bound.MinMoves >= all}
	out.Gap = float64(all-out.Bound.MinMoves) / float64(max(1, out.Bound.MinMoves))
	out.Before, out.After = api.Evenness{Imbalance: p.Before}, api.Evenness{Imbalance: p.After}
}

func rebalanced(v *projections.Cluster, r *api.RebalanceRequest) placement.Proposal {
	if r.App == "" {
		return placement.Balance(v, nil)
	}
	return placement.Balance(v, []string{r.App})
}

// bare is a request without what is of one asking only.
func bare(req api.PreviewRequest) *api.PreviewRequest {
	out := api.PreviewRequest{}
	if r := req.Label; r != nil {
		out.Label = &api.LabelRequest{Node: r.Node, Set: r.Set, Remove: r.Remove, IfRevision: r.IfRevision}
	}
	if r := req.Drain; r != nil {
		out.Drain = &api.DrainRequest{Nodes: r.Nodes, Timeout: r.Timeout, Force: r.Force, DeleteLocal: r.DeleteLocal}
	}
	if r := req.Evacuate; r != nil {
		out.Evacuate = &api.EvacuateRequest{Selector: r.Selector, Timeout: r.Timeout}
	}
	if r := req.Move; r != nil {
		out.Move = &api.MoveRequest{App: r.App, From: r.From, To: r.To, Force: r.Force, DeleteLocal: r.DeleteLocal, Sync: r.Sync}
	}
	if r := req.Apply; r != nil {
		out.Apply = &api.ApplyRequest{Spec: r.Spec}
	}
	for _, r := range req.Also {
		out.Also = append(out.Also, api.ApplyRequest{Spec: r.Spec})
	}
	if r := req.Uncordon; r != nil {
		out.Uncordon = &api.NodeRequest{Node: r.Node}
	}
	if r := req.Policy; r != nil {
		out.Policy = &api.PolicyRequest{Policy: r.Policy}
	}
	if r := req.Rebalance; r != nil {
		out.Rebalance = &api.RebalanceRequest{App: r.App, All: r.All}
	}
	return &out
}

// rests names what a change replaces and what that is now: whoever hands the plan back replaces nothing else.
func rests(v *projections.Cluster, req api.PreviewRequest) map[string]string {
	out := map[string]string{}
	if r := req.Label; r != nil && v.Nodes[r.Node] != nil {
		labels := v.Nodes[r.Node].Labels
		for _, k := range slices.Concat(sortedKeys(r.Set), r.Remove) {
			was, has := labels[k]
			if !has {
				was = "(none)"
			}
			out["label "+k+" of "+r.Node] = was
		}
	}
	for _, app := range appsOf(req) {
		was := "not there"
		if a := v.Apps[app.Name]; a != nil && a.SpecRev > 0 && !a.Removed {
			was = fmt.Sprintf("at revision %d", a.SpecRev)
		}
		out["app "+app.Name] = was
	}
	if req.Policy != nil {
		out["policy"] = v.PolicyHash
	}
	return out
}

func appsOf(req api.PreviewRequest) (out []spec.App) {
	if req.Apply != nil {
		out = append(out, req.Apply.Spec)
	}
	for _, a := range req.Also {
		out = append(out, a.Spec)
	}
	return out
}

func (s *Service) previewMove(v *projections.Cluster, req api.PreviewRequest, out *api.PreviewReply) error {
	m := req.Move
	d, refusal := placement.One(v, s.Seen.Sights(), s.now(v), placement.Request{App: m.App, From: m.From, To: m.To, Force: m.Force, DeleteLocal: m.DeleteLocal, Sync: m.Sync})
	if refusal != nil {
		return refusal
	}
	var plan placement.Plan
	switch {
	case len(d.Queued) > 0:
		plan.Held = append(plan.Held, placement.Held{Decision: d, Holds: d.Queued})
	case d.To != "":
		plan.Moves = append(plan.Moves, d)
		plan.Moves = append(plan.Moves, d.Along...)
	}
	s.fill(v, v, plan, req, out)
	return nil
}

func planned(d placement.Decision) api.PlannedMove {
	return api.PlannedMove{App: d.App, Instance: d.Instance, From: d.From, To: d.To, Reason: d.Reason, Class: d.Class, Why: d.Why, Score: d.Score}
}

// supposed returns the state with one change made to it; v itself stays as it is.
func supposed(v *projections.Cluster, req api.PreviewRequest) (*projections.Cluster, error) {
	w := *v
	w.Nodes, w.Apps, w.Evacuations, w.Rebalances = maps.Clone(v.Nodes), maps.Clone(v.Apps), maps.Clone(v.Evacuations), maps.Clone(v.Rebalances)
	// What the change would store comes after everything that is stored: it is the newest cause.
	next := projections.Cause{ID: previewOrder, Seq: v.Seq + 1}
	node := func(id string) (*projections.Node, error) {
		n := v.Nodes[id]
		if n == nil {
			return nil, api.Refuse(api.CodeNotFound, "no node %s", id)
		}
		c := *n
		w.Nodes[id] = &c
		return &c, nil
	}
	switch {
	case req.Label != nil:
		n, err := node(req.Label.Node)
		if err != nil {
			return nil, err
		}
		n.Labels, n.Labelled = spec.LabelChange{Set: req.Label.Set, Remove: req.Label.Remove}.Apply(n.Labels), next
		if err := spec.ValidateLabels(n.Labels); err != nil {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "set", Detail: fmt.Sprintf("label %s: %v", n.ID, err)}
		}
	case req.Drain != nil:
		for _, id := range req.Drain.Nodes {
			n, err := node(id)
			if err != nil {
				return nil, err
			}
			n.Cordoned, n.Drain = true, &projections.Drain{Order: previewOrder, Node: id, State: api.OrderOpen, Started: next, DeleteLocal: req.Drain.DeleteLocal}
		}
	case req.Evacuate != nil:
		sel, err := spec.ParseSelector(req.Evacuate.Selector)
		if err != nil {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "selector", Detail: "evacuate: " + err.Error()}
		}
		w.Evacuations[previewOrder] = &projections.Evacuation{Order: previewOrder, Selector: sel, Text: req.Evacuate.Selector, State: api.OrderOpen, Started: next}
	case req.Uncordon != nil:
		n, err := node(req.Uncordon.Node)
		if err != nil {
			return nil, err
		}
		n.Cordoned = false
	case req.Policy != nil:
		if err := req.Policy.Policy.Validate(); err != nil {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "policy", Detail: fmt.Sprintf("policy: %v", err)}
		}
		w.Policy = req.Policy.Policy.WithDefaults()
	case req.Apply != nil:
		for _, app := range appsOf(req) {
			if err := suppose(&w, app, next); err != nil {
				return nil, err
			}
		}
	case req.Rebalance != nil:
		if err := rebalanceable(v, req.Rebalance); err != nil {
			return nil, err
		}
		p := rebalanced(v, req.Rebalance)
		w.Rebalances[previewOrder] = &projections.Rebalance{Started: next, Completed: len(p.Moves) == 0, Admitted: map[string]string{},
			RebalanceTriggered: events.RebalanceTriggered{Order: previewOrder, Reason: events.ReasonManual, Trigger: events.TriggerManual, Moves: p.Moves}}
	}
	return &w, nil
}

// rebalanceable refuses what the rebalancer would.
func rebalanceable(v *projections.Cluster, r *api.RebalanceRequest) error {
	switch a := v.Apps[r.App]; {
	case r.All == (r.App != ""):
		return &api.Error{Code: api.CodeInvalid, Field: "app", Detail: "rebalance: give an app, or --all"}
	case !r.All && (a == nil || !a.Exists() || a.Removed):
		return api.Refuse(api.CodeNotFound, "rebalance %s: no such app", r.App)
	}
	return nil
}

// suppose declares an app in w, as a fold of what apply would store does.
func suppose(w *projections.Cluster, declared spec.App, next projections.Cause) error {
	want, refused := declarable(declared)
	if refused != nil {
		return refused
	}
	d, err := applied(w, want)
	if d == nil || err != nil {
		return err
	}
	data := d.Data.(*events.AppApplied)
	c := projections.App{Name: want.Name}
	if a := w.Apps[want.Name]; a != nil {
		c = *a
	}
	if c.SpecRev == 0 || c.Removed || !projections.SameRules(c.Spec, want) {
		c.Ruled = next
	}
	if c.SpecRev > 0 && !c.Removed {
		c.ScaledFrom = c.Desired()
	} else {
		c.ScaledFrom, c.Placed, c.Ended = 0, 0, nil
	}
	if data.Generation != c.Generation {
		c.Restarted, c.Backoff = next, nil
	}
	c.Spec, c.SpecRev, c.Generation, c.Removed, c.Applied = want, data.SpecRev, data.Generation, false, next
	w.Apps[want.Name] = &c
	return nil
}
