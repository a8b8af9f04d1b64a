package agent

import (
	"context"
	"sync"
)

// hands keeps the calls to the driver for one instance one after the other, and lets a kill go first. It is safe for concurrent
// use.
type hands struct {
	driver Driver

	mu    sync.Mutex
	turns map[string]*turn
}

type turn struct {
	sem    chan struct{}
	users  int                // waiting or at it
	cancel context.CancelFunc // of the one at it
}

func newHands(d Driver) *hands { return &hands{driver: d, turns: map[string]*turn{}} }

// do calls f when it is its turn, unless ctx ends before. A kill ends f's context.
func (h *hands) do(ctx context.Context, id string, f func(context.Context) error) error {
	t := h.join(id)
	defer h.leave(id, t)
	select {
	case t.sem <- struct{}{}:
		defer func() { <-t.sem }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	t.cancel = cancel
	h.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f(ctx)
}

// kill ends the instance at once, whatever is being done with it. Whoever starts instances does so under a context that has ended
// before kill is called, so that nobody starts it after kill has returned.
func (h *hands) kill(id string) error {
	t := h.join(id)
	defer h.leave(id, t)
	h.mu.Lock()
	if t.cancel != nil {
		t.cancel()
	}
	h.mu.Unlock()
	_ = h.driver.Kill(id) // now; but a start that was under way may come through right after it
	t.sem <- struct{}{}
	defer func() { <-t.sem }()
	return h.driver.Kill(id)
}

func (h *hands) join(id string) *turn {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.turns[id]
	if t == nil {
		t = &turn{sem: make(chan struct{}, 1)}
		h.turns[id] = t
	}
	t.users++
	return t
}

func (h *hands) leave(id string, t *turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(h.turns, id)
	}
}
