package planner

import (
	"context"
	"fmt"
	"maps"

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
			return s.previewMove(v, req.Move, &out)
		}
		what, err := supposed(v, req)
		if err != nil {
			return err
		}
		plan := placement.Make(what, s.Seen.Loads(), s.now(v))
		for _, d := range plan.Moves {
			out.Moves = append(out.Moves, planned(d))
		}
		for _, h := range plan.Held {
			out.Held = append(out.Held, api.HeldMove{PlannedMove: planned(h.Decision), Holds: h.Holds})
		}
		for _, p := range plan.Pending {
			view := api.PendingView{App: p.App, Instance: p.Instance, Code: p.Code, Reason: p.Reason, Rejections: p.Refused}
			if a := v.Apps[p.App]; a == nil || a.Pending == nil {
				if out.NewlyPending = append(out.NewlyPending, p.App); len(out.NewlyPending) <= mostRelaxed {
					view.Relax = placement.Relax(what, s.Seen.Loads(), s.now(v), p)
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
	for _, given := range []bool{req.Label != nil, req.Drain != nil, req.Evacuate != nil, req.Move != nil, req.Apply != nil, req.Uncordon != nil, req.Policy != nil} {
		if given {
			count++
		}
	}
	return count
}

func (s *Service) previewMove(v *projections.Cluster, m *api.MoveRequest, out *api.PreviewReply) error {
	d, refusal := placement.One(v, s.Seen.Loads(), s.now(v), placement.Request{App: m.App, From: m.From, To: m.To, Force: m.Force})
	if refusal != nil {
		return refusal
	}
	switch {
	case len(d.Queued) > 0:
		out.Held = append(out.Held, api.HeldMove{PlannedMove: planned(d), Holds: d.Queued})
	case d.To != "":
		out.Moves = append(out.Moves, planned(d))
	}
	return nil
}

func planned(d placement.Decision) api.PlannedMove {
	return api.PlannedMove{App: d.App, Instance: d.Instance, From: d.From, To: d.To, Reason: d.Reason, Class: d.Class, Why: d.Why, Score: d.Score}
}

// supposed returns the state with one change made to it; v itself stays as it is.
func supposed(v *projections.Cluster, req api.PreviewRequest) (*projections.Cluster, error) {
	w := *v
	w.Nodes, w.Apps, w.Evacuations = maps.Clone(v.Nodes), maps.Clone(v.Apps), maps.Clone(v.Evacuations)
	// What the change would store comes after everything that is stored: it is the newest cause.
	next := projections.Cause{ID: "preview", Seq: v.Seq + 1}
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
			n.Cordoned, n.Drain = true, &projections.Drain{Order: "preview", Node: id, State: api.OrderOpen, Started: next, DeleteLocal: req.Drain.DeleteLocal}
		}
	case req.Evacuate != nil:
		sel, err := spec.ParseSelector(req.Evacuate.Selector)
		if err != nil {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "selector", Detail: "evacuate: " + err.Error()}
		}
		w.Evacuations["preview"] = &projections.Evacuation{Order: "preview", Selector: sel, Text: req.Evacuate.Selector, State: api.OrderOpen, Started: next}
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
		if err := suppose(&w, req.Apply.Spec, next); err != nil {
			return nil, err
		}
	}
	return &w, nil
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
