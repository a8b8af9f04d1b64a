package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/spec"
)

// How often the fence looks at the clock, and how soon it tries again to kill what it could not.
const (
	fenceLook  = time.Second // Go's timers stand still while the machine is suspended, and the deadline does not
	fenceRetry = 200 * time.Millisecond
)

// fence ends what must not outlive the lease's deadline. It is safe for concurrent use.
type fence struct {
	auth   *authority
	hands  *hands
	driver Driver
	ended  *ended
	hosted *hosted
	log    *zap.Logger

	mu turnstile // held while it kills, and while the deadline is extended
}

// turnstile is a mutex that is held for long: while others wait for it, a bubble's time goes on.
type turnstile struct {
	made sync.Once
	in   chan struct{}
}

func (t *turnstile) Lock() {
	t.made.Do(func() { t.in = make(chan struct{}, 1) })
	t.in <- struct{}{}
}

func (t *turnstile) Unlock() { <-t.in }

// run watches the deadline until ctx ends.
func (f *fence) run(ctx context.Context) {
	for {
		wait := fenceLook
		if left, fine := f.auth.ahead(); !fine {
			if err := f.enforce(); err != nil {
				f.log.Error("past the lease's deadline, and something still runs", zap.Error(err))
				wait = fenceRetry
			}
		} else if left > 0 {
			wait = min(wait, left)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// enforce does nothing before the deadline. Past it, it ends the mandate and kills what may not go on; it returns nil once nothing
// of that is left. Nothing may be renewed, started or reported before that.
func (f *fence) enforce() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.enforceLocked()
}

func (f *fence) enforceLocked() error {
	if _, fine := f.auth.ahead(); fine || planted.NoFence {
		return nil
	}
	f.auth.suspend() // first: what is being started now is given up
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		killed []api.FencedEpoch
		failed []error
	)
	for _, st := range f.driver.List() {
		if !f.binds(st) {
			continue
		}
		wg.Go(func() { // also what does not run by its status: its start may be under way
			err := f.hands.kill(st.ID)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				failed = append(failed, fmt.Errorf("kill %s: %w", st.ID, err))
			case lives(st.State):
				f.log.Warn("fenced: the lease could not be renewed in time", zap.String("instance", st.ID), zap.Uint64("epoch", st.Epoch))
				if st.Epoch > 0 {
					killed = append(killed, api.FencedEpoch{App: st.App, Instance: st.ID, Epoch: st.Epoch})
				}
			}
		})
	}
	wg.Wait()
	if err := f.ended.Add(killed...); err != nil {
		f.log.Error("fenced epochs not written down; a later agent finds them out by itself", zap.Error(err))
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	f.auth.fencedAt()
	return nil
}

// extend notes an acknowledged renewal, after the fence has done what the deadline before it asked for.
func (f *fence) extend(inc string, deadline time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.enforceLocked(); err != nil {
		return err
	}
	if planted.NoFence {
		deadline += time.Hour
	}
	f.driver.Extend(deadline) // before anything is started under the new mandate
	f.auth.extend(inc, deadline)
	return nil
}

// binds says whether an instance must end with the lease. Where the app's spec was never read here, its role decides.
func (f *fence) binds(st Status) bool {
	switch f.hosted.Isolation(st.App) {
	case spec.OnIsolationStop:
		return true
	case spec.OnIsolationContinue:
		return false
	}
	return st.Role == api.RoleActive
}

// lives says whether an instance in that state has a process, or is about to have one.
func lives(s State) bool { return s == StateStarting || s == StateRunning || s == StateStopping }

// stopAll ends every instance gracefully and returns when none lives, or when ctx ends. What may not run past the deadline is
// killed there by the fence meanwhile.
func (f *fence) stopAll(ctx context.Context) error {
	for {
		var wg sync.WaitGroup
		living := 0
		for _, st := range f.driver.List() {
			if !lives(st.State) {
				continue
			}
			living++
			wg.Go(func() {
				err := f.hands.do(ctx, st.ID, func(ctx context.Context) error {
					_, err := f.driver.Stop(ctx, st.ID)
					return err
				})
				if err != nil && ctx.Err() == nil {
					f.log.Warn("instance not stopped yet", zap.String("instance", st.ID), zap.Error(err))
				}
			})
		}
		wg.Wait()
		if living == 0 {
			return nil
		}
		timer := time.NewTimer(fenceRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}
