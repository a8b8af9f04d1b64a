package cluster

import (
	"context"

	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/api"
)

// Fence returns nil while this node's active instance of a singleton may write, and ErrFenced otherwise: it is not active, it has
// stepped down, its node's lease has run out, or a higher epoch was granted. Ask it with the context of OnActive before each write:
// it then answers for that time of being active, and for none that came after it.
//
// Between the answer and the write itself time may pass, without end when the machine is paused. Write closes that gap for a
// step-down; against a pause, have the place that is written to compare epochs (see Epoch).
func (a *Application) Fence(ctx context.Context) error {
	d, err := a.driver()
	if err != nil {
		return err
	}
	return typed(d.Fence(ctx, a.name), api.CodeFenced)
}

// Write calls f if Fence has nothing against it, and has a step-down wait until f returns: no write of f can come after the first
// one elsewhere, unless the machine is paused in the middle of it. It returns what f does.
func (a *Application) Write(ctx context.Context, f func(context.Context) error) error {
	d, err := a.driver()
	if err != nil {
		return err
	}
	var own error
	err = d.Write(ctx, a.name, func(ctx context.Context) error {
		own = f(ctx)
		return nil
	})
	if own != nil {
		return own
	}
	return typed(err, api.CodeFenced)
}

func (a *Application) driver() (*embedded.Driver, error) {
	a.mu.Lock()
	p := a.platform
	a.mu.Unlock()
	if p == nil {
		return nil, api.Refuse(api.CodeFenced, "%s is registered with no platform", a.name)
	}
	if d := p.present(); d != nil {
		return d, nil
	}
	return nil, api.Refuse(api.CodeFenced, "%s: the platform does not run", a.name)
}

// Epoch returns the epoch under which an instance is active, from the context of its OnActive. It rises with each new active, and
// no two have the same: a store that refuses what comes with a lower one than it has seen is safe against every pause.
func Epoch(ctx context.Context) (epoch uint64, ok bool) {
	p, ok := embedded.PlaceOf(ctx)
	return p.Epoch, ok && p.Epoch > 0
}

// Here is where a function of an app was called for.
type Here struct {
	App, Instance, Node string
	Role                string // active, standby or member
	Epoch               uint64 // of the active, 0 for others
	DataDir             string // of this instance; it stays on the node
}

// Where returns what the context of a function of an app carries.
func Where(ctx context.Context) (Here, bool) {
	p, ok := embedded.PlaceOf(ctx)
	return Here(p), ok
}
