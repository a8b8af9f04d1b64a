//go:build linux

package process

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// run is one start of an instance, from the moment its program runs.
type run struct {
	app     watchdog.Process
	dog     *watchdog.Handle   // nil where it had ended before it could be opened
	checked context.CancelFunc // ends the health checks
	dead    chan struct{}      // closed when no process of the run is left
	settled chan struct{}      // closed when the instance has taken notice of that
	stop    sync.Once
	kill    sync.Once
}

// attach makes a process that runs the run of the instance, with op held.
func (d *Driver) attach(in *instance, state watchdog.State, dog *watchdog.Handle) agent.Status {
	ctx, cancel := context.WithCancel(d.ctx)
	r := &run{
		app: state.App, dog: dog, checked: cancel,
		dead: make(chan struct{}), settled: make(chan struct{}),
	}
	health := in.rec.Instance.App.Health
	st := d.change(in, func() {
		in.run = r
		since := in.status.Since
		in.status = agent.Status{State: agent.StateRunning, Healthy: true, PID: r.app.PID, Since: since}
		if health != nil {
			in.status.State, in.status.Healthy = agent.StateStarting, false
		}
	})
	d.background(func() { d.watch(in, r) })
	if health != nil {
		d.monitor(ctx, in, r)
	}
	return st
}

// watch waits for the end of the run and settles it.
func (d *Driver) watch(in *instance, r *run) {
	if r.dog != nil {
		if err := r.dog.Wait(d.ctx); err != nil {
			if d.ctx.Err() == nil {
				d.opts.Logger.Error("watchdog cannot be waited for", zap.String("instance", in.id), zap.Error(err))
			}
			return
		}
		_ = r.dog.Close()
	}
	for {
		err := d.clear(d.ctx, in, r.app)
		if err == nil {
			break
		}
		if d.ctx.Err() != nil {
			return
		}
		d.opts.Logger.Error("processes of the instance may be left", zap.String("instance", in.id), zap.Error(err))
		select {
		case <-time.After(time.Second):
		case <-d.ctx.Done():
			return
		}
	}
	state := in.found(r.app)
	close(r.dead)
	if d.acquire(d.ctx, in) != nil {
		return
	}
	defer in.release()
	d.ended(in, state.Exit)
	close(r.settled)
}

// clear returns when nothing of a run is left whose watchdog has ended. One that was killed leaves what the main process has started, also what
// moved out of its group; one that was not leaves nothing. A hook is the agent's.
func (d *Driver) clear(ctx context.Context, in *instance, app watchdog.Process) error {
	if err := watchdog.KillGroup(ctx, app); err != nil {
		return err
	}
	state := in.found(app)
	if state.Exit != nil {
		return nil
	}
	return watchdog.KillLeft(ctx, state, "GC_HOOK", "GC_INSTANCE="+in.id, "GC_DATA_DIR="+d.DataDir(in.id))
}

// found is what the watchdog of a run wrote down last, and only what it runs where that is of another.
func (in *instance) found(app watchdog.Process) watchdog.State {
	state, err := watchdog.ReadState(in.dir)
	if err != nil || state.App != app {
		return watchdog.State{App: app}
	}
	return state
}

// beginStop asks the app to end and kills it when it has not after the timeout. It does not wait.
func (d *Driver) beginStop(r *run, sig unix.Signal, timeout time.Duration) {
	r.stop.Do(func() {
		r.checked()
		d.signal(r, sig)
		d.signal(r, unix.SIGCONT) // a process that is stopped could not take notice
		d.background(func() {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			select {
			case <-timer.C:
				d.beginKill(r)
			case <-r.dead:
			case <-d.ctx.Done():
			}
		})
	})
}

// beginKill kills the app's group. Its watchdog kills the rest of its descendants when it sees the main process dead, and is
// killed itself when it does not (it may have been stopped by somebody).
func (d *Driver) beginKill(r *run) {
	r.kill.Do(func() {
		r.checked()
		d.signal(r, unix.SIGKILL)
		d.background(func() {
			timer := time.NewTimer(d.wedged)
			defer timer.Stop()
			select {
			case <-timer.C:
				if r.dog != nil {
					d.opts.Logger.Warn("watchdog hangs, killing it", zap.Int("app", r.app.PID))
					_ = r.dog.Signal(unix.SIGKILL)
				}
			case <-r.dead:
			case <-d.ctx.Done():
			}
		})
	})
}

func (d *Driver) signal(r *run, sig unix.Signal) {
	if err := watchdog.SignalGroup(r.app, sig); err != nil {
		d.opts.Logger.Error("signal not sent", zap.Error(err))
	}
}
