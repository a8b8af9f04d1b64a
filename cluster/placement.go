package cluster

import (
	"context"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// UpdatePlacement replaces all of the app's rules, hard and soft, for the whole cluster; Resources stay unless they are among the new
// ones. It returns once the change is stored. What no longer fits moves after that. The change stays until a program declares something
// of the app that was never declared before: a new release.
func (a *Application) UpdatePlacement(ctx context.Context, rules ...Constraint) error {
	a.mu.Lock()
	p := a.platform
	a.mu.Unlock()
	if p == nil {
		return invalid("app %s: UpdatePlacement: it is registered with no platform", a.name)
	}
	if err := p.fit(); err != nil {
		return err
	}
	probe := App(a.name, append([]AppOption{Singleton()}, options(rules)...)...)
	if faults := probe.bind(p); len(faults) > 0 {
		return invalid("app %s: UpdatePlacement: %s", a.name, faults[0])
	}
	req := api.PlacementRequest{Meta: p.command(), App: a.name, Rules: probe.spec.Rules(), KeepResources: probe.spec.Resources == (spec.Resources{})}
	ack, err := call[api.PlacementRequest, api.Ack](ctx, p, api.AppPlacement, req)
	p.saw(ack.Seq)
	return err
}

func options(rules []Constraint) []AppOption {
	out := make([]AppOption, len(rules))
	for i, r := range rules {
		if r != nil { // a nil option says so itself
			out[i] = r
		}
	}
	return out
}
