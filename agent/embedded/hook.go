package embedded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Hook implements agent.Hooker. A hook that has not returned from an earlier call is not called again before it has: what that call
// still says does not count.
func (d *Driver) Hook(ctx context.Context, in agent.Instance, call agent.HookCall) error {
	code, ok := d.apps[in.App.Name]
	if !ok {
		return &agent.HookError{Code: events.HookBroken, Detail: fmt.Sprintf("%s: this program does not register %s", call.Name, in.App.Name)}
	}
	f := function(code, call)
	if f == nil {
		return nil
	}
	limit, cancel := context.WithTimeoutCause(ctx, call.Timeout, fmt.Errorf("%w (%s)", ErrLate, call.Timeout))
	defer cancel()
	key := in.App.Name + " " + call.Name
	done, err := d.turnOf(limit, key)
	if err == nil {
		hand := limit
		if x := d.instance(in.ID); x != nil {
			hand = carry(limit, d.place(x, d.now(x).Role, d.now(x).Epoch), nil)
		}
		err = d.call(limit, hand, call.Name, func(ctx context.Context) error {
			defer done()
			if err := f(ctx); err != nil {
				return answer{err}
			}
			return nil
		})
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	h := &agent.HookError{Code: events.HookVetoed, Detail: err.Error()}
	var own answer
	switch {
	case errors.As(err, &own): // its own words
		h.Detail = own.Error()
	case errors.Is(err, ErrLate):
		h.Code = events.HookLate
	case errors.Is(err, ErrPanic):
		h.Code = events.HookPanicked
	}
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		h.RetryAfter = later.RetryAfter()
	}
	return h
}

// answer is what a hook itself returned.
type answer struct{ error }

func (a answer) Unwrap() error { return a.error }

func function(a App, call agent.HookCall) Func {
	switch {
	case call.Name == spec.HookMigrationStart && a.OnMigrationStart != nil:
		return func(ctx context.Context) error { return a.OnMigrationStart(ctx, call.From, call.To) }
	case call.Name == spec.HookMigrationComplete && a.OnMigrationComplete != nil:
		return func(ctx context.Context) error { return a.OnMigrationComplete(ctx, call.From, call.To) }
	case call.Name == spec.HookPlacementInvalid && a.OnPlacementInvalid != nil:
		return func(ctx context.Context) error { return a.OnPlacementInvalid(ctx, call.Reason) }
	}
	return nil
}

// turnOf waits until no other call of the hook is under way, and returns what ends the caller's turn.
func (d *Driver) turnOf(ctx context.Context, key string) (func(), error) {
	mine := make(chan struct{})
	for {
		d.mu.Lock()
		other := d.hooking[key]
		if other == nil {
			d.hooking[key] = mine
			d.mu.Unlock()
			return func() {
				d.mu.Lock()
				delete(d.hooking, key)
				d.mu.Unlock()
				close(mine)
			}, nil
		}
		d.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("an earlier call of it has not returned: %w", context.Cause(ctx))
		}
	}
}

func (d *Driver) instance(id string) *instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.instances[id]
}
