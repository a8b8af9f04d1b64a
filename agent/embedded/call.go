package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
)

// Func is a function of an app.
type Func = func(context.Context) error

var (
	// ErrLate says that a function did not return within its time. It may still be running.
	ErrLate = errors.New("it did not return in time")
	// ErrPanic says that a function panicked.
	ErrPanic = errors.New("it panicked")
)

// call calls f, which is given hand and may take the limit; wait is whose patience it is. What f does after its time is nobody's
// any more: its late end is logged.
func (d *Driver) call(wait, hand context.Context, name string, f Func) error {
	if f == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				d.log.Error("a function of an app panicked", zap.String("function", name), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
				done <- fmt.Errorf("%s: %w: %v", name, ErrPanic, p)
			}
		}()
		if err := f(hand); err != nil {
			done <- fmt.Errorf("%s: %w", name, err)
			return
		}
		done <- nil
	}()
	timer := time.NewTimer(d.limit)
	defer timer.Stop()
	var err error
	select {
	case err = <-done:
		return err
	case <-wait.Done():
		err = fmt.Errorf("%s: %w", name, context.Cause(wait))
	case <-timer.C:
		err = fmt.Errorf("%s: %w (%s)", name, ErrLate, d.limit)
	}
	began := time.Now()
	go func() {
		late := <-done
		d.log.Warn("a function of an app returned late, what it says does not count", zap.String("function", name),
			zap.Duration("late", time.Since(began)), zap.Error(late))
	}()
	return err
}
