package embedded

import (
	"context"
	"fmt"
)

// Place is where a function of an app is called for: it travels in its context.
type Place struct {
	App      string
	Instance string
	Node     string
	Role     string // api.Role…
	Epoch    uint64 // of the active; 0 for others
	DataDir  string // of the instance; it stays on the node
}

// placeKey finds the place and the gate in a context.
type placeKey struct{}

type carried struct {
	place Place
	gate  *gate // nil but for the active
}

func carry(ctx context.Context, p Place, g *gate) context.Context {
	return context.WithValue(ctx, placeKey{}, carried{p, g})
}

// PlaceOf returns what a function's context carries.
func PlaceOf(ctx context.Context) (Place, bool) {
	c, ok := ctx.Value(placeKey{}).(carried)
	return c.place, ok
}

// Fence returns nil while the active instance of the app on this node may write, and an error that is ErrFenced otherwise. With a
// context that an OnActive was given, it answers for that time of being active, and for none that came after it.
func (d *Driver) Fence(ctx context.Context, app string) error {
	g, err := d.gate(ctx, app)
	if err != nil {
		return err
	}
	return g.check()
}

// Write calls f while the gate is held open: a step-down waits until f has returned. f is not called when the gate is closed.
func (d *Driver) Write(ctx context.Context, app string, f func(context.Context) error) error {
	g, err := d.gate(ctx, app)
	if err != nil {
		return err
	}
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	return f(ctx)
}

// Hold is for what may be open as long as the gate is, with the context of an OnActive or one made of it: once the gate is shut, closing
// is called, and the step-down, stop or kill that shut it waits until closing returns. It is refused when the gate is shut.
func Hold(ctx context.Context, closing func()) error {
	g, err := gateOf(ctx)
	if err != nil {
		return err
	}
	return g.hold(closing)
}

// Check is Fence for the time of being active that the context of an OnActive is of.
func Check(ctx context.Context) error {
	g, err := gateOf(ctx)
	if err != nil {
		return err
	}
	return g.check()
}

// Awaits returns what has to return nil before a commit that was made before the call is acknowledged, nil for nothing; active is the context of
// the OnActive that it is made under, and ctx its own. It may take as long as its own context: whoever calls it ends that with the time of being
// active. What OnActive commits with its context, or one made of it, waits for nothing before it has returned: others are waited for then, and it is what they wait for.
func Awaits(active, ctx context.Context) func(context.Context) error {
	g, err := gateOf(active)
	if err != nil {
		return nil
	}
	c, _ := ctx.Value(placeKey{}).(carried)
	return g.awaits(c.gate == g)
}

func gateOf(ctx context.Context) (*gate, error) {
	c, ok := ctx.Value(placeKey{}).(carried)
	if !ok || c.gate == nil {
		return nil, fmt.Errorf("%w: not the context of an OnActive", ErrFenced)
	}
	return c.gate, nil
}

func (d *Driver) gate(ctx context.Context, app string) (*gate, error) {
	if c, ok := ctx.Value(placeKey{}).(carried); ok && c.place.App == app && c.gate != nil {
		return c.gate, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, in := range d.instances {
		if in.want.App.Name == app && in.gate != nil {
			return in.gate, nil
		}
	}
	return nil, fmt.Errorf("%s: %w: it is not active on this node", app, ErrFenced)
}
