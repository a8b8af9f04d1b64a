package agent

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errNoMandate ends what was under way when the right to act ended.
var errNoMandate = errors.New("the node's lease is not held any more")

// authority is the node's right to act. It is safe for concurrent use.
type authority struct {
	boot func() time.Duration

	mu       sync.Mutex
	inc      string        // incarnation that holds the lease; "" for none
	deadline time.Duration // of the lease held last
	fenced   bool          // past deadline, everything that had to end has ended
	ctx      context.Context
	cancel   context.CancelCauseFunc // of ctx
	changed  chan struct{}           // closed and replaced when a mandate begins or ends
}

// newAuthority returns one without a right to act. Whatever an earlier agent left running has until deadline.
func newAuthority(boot func() time.Duration, deadline time.Duration) *authority {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errNoMandate)
	return &authority{boot: boot, deadline: deadline, ctx: ctx, cancel: cancel, changed: make(chan struct{})}
}

// mandate is the right to act for one incarnation. Its context ends with it; what is done under it takes its context.
type mandate struct {
	inc string
	ctx context.Context
	a   *authority
}

// ok is asked right before each act: a process that was stopped for a while has not seen its context end yet.
func (m mandate) ok() bool {
	if m.a == nil || m.ctx.Err() != nil {
		return false
	}
	m.a.mu.Lock()
	defer m.a.mu.Unlock()
	return m.a.boot() < m.a.deadline
}

// during returns a context that ends with the mandate, and with ctx. It has ended before the fence begins to kill.
func (m mandate) during(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	both, cancel := context.WithCancelCause(m.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return both, func(cause error) { stop(); cancel(cause) }
}

// mandate returns the present right to act, if there is one.
func (a *authority) mandate() (mandate, bool) {
	a.mu.Lock()
	m := mandate{inc: a.inc, ctx: a.ctx, a: a}
	a.mu.Unlock()
	return m, m.ok()
}

// extend notes an acknowledged renewal. What ended before stays ended: the mandate is a new one then.
func (a *authority) extend(inc string, deadline time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deadline, a.fenced = deadline, false
	if a.inc == inc && a.ctx.Err() == nil {
		return
	}
	a.cancel(errNoMandate)
	a.inc = inc
	a.ctx, a.cancel = context.WithCancelCause(context.Background())
	a.notify()
}

// suspend ends the mandate; the incarnation and its deadline stay.
func (a *authority) suspend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() == nil {
		a.cancel(errNoMandate)
		a.notify()
	}
}

// lose ends the mandate and the incarnation. The deadline stays: until then what runs may be stopped gracefully.
func (a *authority) lose() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel(errNoMandate)
	if a.inc != "" {
		a.inc = ""
		a.notify()
	}
}

func (a *authority) notify() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// incarnation returns the one that holds the lease, mandate or not, and a channel that is closed when that may have changed.
func (a *authority) incarnation() (inc string, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inc, a.changed
}

// ahead returns how long the deadline lies ahead, and false when it is over and the fence has
// not done its work.
func (a *authority) ahead() (left time.Duration, fine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left = a.deadline - a.boot()
	return left, left > 0 || a.fenced
}

// fencedAt notes that everything has ended that may not run past the deadline.
func (a *authority) fencedAt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fenced = true
}
