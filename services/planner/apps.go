package planner

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

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
	want, refused := declarable(req.Spec)
	if refused != nil {
		return nil, refused
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) { return applied(v, want) })
	if err != nil {
		return nil, err
	}
	return s.applyReply(ack, want), nil
}

func (s *Service) applyReply(ack api.Ack, want spec.App) api.ApplyReply {
	reply := api.ApplyReply{Ack: ack, Warnings: warnings(want)}
	s.Replica.View(func(v *projections.Cluster) {
		if a := v.Apps[want.Name]; a != nil {
			reply.SpecRev = a.SpecRev
			for _, in := range a.Instances {
				reply.Rolls = reply.Rolls || in.Generation != a.Generation
			}
		}
	})
	return reply
}

// declarable returns the spec as it is stored, or why it can never be.
func declarable(a spec.App) (spec.App, *api.Error) {
	if err := a.ValidateApplied(); err != nil {
		return a, &api.Error{Code: api.CodeInvalid, Detail: fmt.Sprintf("apply %s: %v", a.Name, err), Field: "spec"}
	}
	if faults := a.Unsupported(); len(faults) > 0 {
		e := &api.Error{Code: api.CodeUnsupported, Field: faults[0].Field, Detail: fmt.Sprintf("apply %s:", a.Name)}
		for _, f := range faults {
			e.Detail += fmt.Sprintf("\n  %s: %s", f.Field, f.Detail)
		}
		return a, e
	}
	return a.WithDefaults(), nil
}

// applied decides what a declaration stores: nothing where the app is declared so already.
func applied(v *projections.Cluster, want spec.App) (*events.Draft, error) {
	if want.VIP != nil {
		if no := placement.NoCarrier(v, want); len(no) > 0 {
			e := api.Refuse(api.CodeRefused, "apply %s: no node can carry its address %s on %s", want.Name, want.VIP.Address, want.VIP.Interface)
			e.Rejections = no
			return nil, e
		}
		if other := sharesVIP(v, want); other != "" {
			return nil, api.Refuse(api.CodeRefused, "apply %s: its address %s is that of %s", want.Name, want.VIP.Address, other)
		}
	}
	if by := declaredBy(v, want.Name); len(by) > 0 {
		return nil, api.Refuse(api.CodeDeclared, "apply %s: the programs on %s declare it: its spec is part of them; use another name", want.Name, strings.Join(by, ", "))
	}
	if circle := goesInCircles(v, want); circle != "" {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "with_app", Detail: fmt.Sprintf("apply %s: with_app: %s: none of them could be placed first", want.Name, circle)}
	}
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
		case a.Spec.SQLite != want.SQLite && (len(a.Instances) > 0 || len(a.Open) > 0): // what runs has written elsewhere, and nobody ships that
			return nil, api.Refuse(api.CodeRefused, "apply %s: sqlite: cannot change from %s to %s while instances exist; remove the app first",
				want.Name, cmp.Or(a.Spec.SQLite, "none"), cmp.Or(want.SQLite, "none"))
		case a.Spec.ProcessHash() == want.ProcessHash():
			data.Generation = a.Generation
		}
	}
	return &events.Draft{Aggregate: events.App(want.Name), App: want.Name, Data: data}, nil
}

// sharesVIP names another app with the same address, "" for none.
func sharesVIP(v *projections.Cluster, want spec.App) string {
	for _, a := range v.SortedApps() {
		if a.Name == want.Name || a.Removed && !a.Exists() || a.Spec.VIP == nil {
			continue
		}
		x, errX := netip.ParsePrefix(a.Spec.VIP.Address)
		y, errY := netip.ParsePrefix(want.VIP.Address)
		if errX == nil && errY == nil && x.Addr() == y.Addr() {
			return a.Name
		}
	}
	return ""
}

// goesInCircles names the apps over which an app would go with itself, "" for none.
func goesInCircles(v *projections.Cluster, want spec.App) string {
	var way []string
	seen := map[string]bool{}
	var visit func(name string, with []string) bool
	visit = func(name string, with []string) bool {
		way = append(way, name)
		for _, next := range with {
			if next == want.Name {
				way = append(way, next)
				return true
			}
			if a := v.Apps[next]; a != nil && !a.Removed && !seen[next] {
				seen[next] = true
				if visit(next, a.Spec.WithApp) {
					return true
				}
			}
		}
		way = way[:len(way)-1]
		return false
	}
	if visit(want.Name, want.WithApp) {
		return strings.Join(way, " goes with ")
	}
	return ""
}

// warnings tells what an operator should know of a valid spec.
func warnings(a spec.App) []string {
	out := []string{}
	if a.Mode == spec.Singleton && a.Data == spec.DataEphemeral && !a.Replicated() {
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
		if by := declaredBy(v, a.Name); len(by) > 0 {
			return nil, api.Refuse(api.CodeDeclared, "remove %s: the programs on %s still declare it: stop them, or take it out of them, first", a.Name, strings.Join(by, ", "))
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

// declaredBy lists the ready nodes whose programs declare an app.
func declaredBy(v *projections.Cluster, app string) []string {
	var nodes []string
	for _, d := range v.Declarations(app) {
		nodes = append(nodes, d.Nodes...)
	}
	slices.Sort(nodes)
	return nodes
}

// updatePlacement replaces the rules of a running app.
func (s *Service) updatePlacement(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.PlacementRequest](r)
	if err != nil {
		return nil, err
	}
	ack, err := s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		a, err := existing(v, "placement of", req.App)
		if err != nil {
			return nil, err
		}
		rules := req.Rules
		if req.KeepResources {
			rules.Resources = a.Spec.Resources
		}
		want := a.Spec.WithRules(rules).WithDefaults()
		if err := want.Validate(); err != nil {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "rules", Detail: fmt.Sprintf("placement of %s: %v", a.Name, err)}
		}
		if no := want.Unsupported(); len(no) > 0 {
			return nil, &api.Error{Code: api.CodeUnsupported, Field: no[0].Field, Detail: fmt.Sprintf("placement of %s: %s: %s", a.Name, no[0].Field, no[0].Detail)}
		}
		if circle := goesInCircles(v, want); circle != "" {
			return nil, &api.Error{Code: api.CodeInvalid, Field: "rules", Detail: fmt.Sprintf("placement of %s: with_app: %s: none of them could be placed first", a.Name, circle)}
		}
		if sameJSON(a.Spec, want) {
			return nil, nil
		}
		return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.PlacementUpdated{Rules: want.Rules(), SpecRev: a.SpecRev + 1}}, nil
	})
	if err != nil {
		return nil, err
	}
	return ack, nil
}

// hookAnswered stores how a hook ended that is no step of a migration.
func (s *Service) hookAnswered(ctx context.Context, r *transport.Request) (any, error) {
	req, err := transport.Decode[api.HookRequest](r)
	if err != nil {
		return nil, err
	}
	if req.Hook != spec.HookPlacementInvalid || req.About == "" {
		return nil, &api.Error{Code: api.CodeInvalid, Field: "hook", Detail: fmt.Sprintf("hook %q of %s: want %s and what it was called for", req.Hook, req.App, spec.HookPlacementInvalid)}
	}
	return s.Command(ctx, r, func(v *projections.Cluster) (*events.Draft, error) {
		a, n := v.Apps[req.App], v.Nodes[req.Node]
		switch {
		case a == nil || a.SpecRev == 0:
			return nil, api.Refuse(api.CodeNotFound, "hook of %s: no such app", req.App)
		case n == nil || n.Inc != req.Inc:
			return nil, api.Refuse(api.CodeRefused, "hook of %s: %s is not incarnation %s", req.App, req.Node, req.Inc)
		}
		return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Node: req.Node,
			Data: &events.HookAnswered{Hook: req.Hook, Node: req.Node, About: req.About, Result: req.Result, TookMS: req.TookMS}}, nil
	})
}

// sameJSON says whether two values travel alike.
func sameJSON(x, y any) bool {
	a, errA := json.Marshal(x, json.Deterministic(true))
	b, errB := json.Marshal(y, json.Deterministic(true))
	return errA == nil && errB == nil && string(a) == string(b)
}
