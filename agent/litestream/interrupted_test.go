//go:build linux

package litestream

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
)

// impatient is a context that ends when it is asked for the nth time whether it has.
type impatient struct {
	context.Context
	end  context.CancelFunc
	left *atomic.Int64
}

func after(ctx context.Context, asked int) impatient {
	ctx, end := context.WithCancel(ctx)
	c := impatient{ctx, end, new(atomic.Int64)}
	c.left.Store(int64(asked))
	return c
}

func (c impatient) Done() <-chan struct{} {
	if c.left.Add(-1) < 0 {
		c.end()
	}
	return c.Context.Done()
}

func (c impatient) Err() error {
	if c.left.Add(-1) < 0 {
		c.end()
	}
	return c.Context.Err()
}

// A step-down interrupts whatever is being shipped. Litestream takes a database that it was interrupted in preparing for prepared, and then
// fails for ever; wherever the interruption comes, what is tried next succeeds.
func TestInterruptedFirstSync(t *testing.T) {
	l := newLab(t)
	for asked := range 24 {
		r, d := l.Machine(t, fmt.Sprint("interrupted-", asked))
		ld := l.lead(t, r, d, uint64(asked+1))
		ld.stop()
		<-ld.done // nothing has opened it yet: there is nothing
		a := l.Open(t, d)
		a.Write(t, 1)
		if err := ld.open(limit(t)); err != nil {
			t.Fatal(err)
		}
		_ = ld.ship(after(limit(t), asked))
		if _, err := ld.Sync(limit(t)); err != nil {
			t.Errorf("after an interruption at question %d: %v", asked, err)
		}
		a.Close(t)
	}
}
