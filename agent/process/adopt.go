//go:build linux

package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// Adopt implements agent.Driver. A stop that was under way goes on; an instance that ended while nobody looked is treated as if it
// had ended now; one whose watchdog was killed, and all after a reboot, are stopped. An error concerns single instances: the
// others are adopted, and what runs of a concerned one is killed as far as it can be found.
func (d *Driver) Adopt(ctx context.Context) ([]agent.Status, error) {
	entries, err := os.ReadDir(d.instancesDir())
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	again := d.adopted
	d.mu.Unlock()
	if again {
		return nil, errors.New("process driver: Adopt was called before")
	}
	var failed []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := d.adopt(ctx, e.Name()); err != nil {
			if ctx.Err() != nil { // unfinished: what is left may run, so nothing may be started
				return nil, err
			}
			failed = append(failed, err)
		}
	}
	d.mu.Lock()
	d.adopted = true
	d.mu.Unlock()
	return d.List(), errors.Join(failed...)
}

func (d *Driver) adopt(ctx context.Context, id string) error {
	d.mu.Lock()
	in, again := d.instances[id]
	if !again {
		in = d.newInstance(id)
	}
	d.mu.Unlock()
	if again { // by an Adopt that was interrupted
		return nil
	}
	state, runs, err := d.find(ctx, in.dir)
	if err != nil {
		return fmt.Errorf("adopt %s: %w", id, err)
	}
	rec, err := readRecord(in.dir)
	if err == nil && (rec.Instance.ID != id || rec.Want && rec.Instance.App.Process == nil) {
		err = fmt.Errorf("%s: not a record of this instance", filepath.Join(in.dir, recordFile))
	}
	if err != nil {
		return d.abandon(ctx, in, state, runs, err)
	}
	in.op <- struct{}{}
	defer in.release()
	d.mu.Lock()
	in.rec = rec
	in.rest(cmp.Or(rec.Rest, agent.StateReady), rec.Detail, rec.ExitCode)
	d.instances[id] = in
	d.mu.Unlock()

	if runs {
		dog, err := watchdog.Open(state.Watchdog)
		if err != nil && !errors.Is(err, watchdog.ErrGone) {
			return fmt.Errorf("adopt %s: %w", id, err)
		}
		d.opts.Logger.Info("instance adopted", zap.String("instance", id), zap.Int("pid", state.App.PID))
		d.attach(in, state, dog)
		if !rec.Want {
			d.change(in, func() { in.status.State, in.status.Healthy = agent.StateStopping, false })
			d.end(in, in.run)
		}
		return nil
	}
	d.keepPorts(in)
	thisBoot := state.BootID == d.boot
	if thisBoot && state.App.PID != 0 {
		if err := d.clear(ctx, in, state.App); err != nil {
			return fmt.Errorf("adopt %s: %w", id, err)
		}
	}
	switch {
	case !rec.Want && rec.Rest != "":
	case !thisBoot && state.BootID != "":
		d.settle(in, agent.StateStopped, "the machine was restarted", nil)
	case state.App.PID == 0:
		d.settle(in, agent.StateStopped, "the agent ended before the program was started", nil)
	case state.Exit == nil:
		d.settle(in, agent.StateStopped, "killed: its watchdog was killed while no agent ran", nil)
	default:
		d.ended(in, state.Exit)
	}
	return nil
}

// find reads the watchdog's state and whether its app, or what is left of it, runs still. An agent may have died right after it
// forked a watchdog; then find waits until the watchdog has said who it is. A state file that nobody can read is as good as
// none, as long as no watchdog runs.
func (d *Driver) find(ctx context.Context, dir string) (state watchdog.State, runs bool, err error) {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		// In this order: when the lock is free, the state file has its last content.
		held, err := watchdog.Held(dir)
		if err != nil {
			return state, false, err
		}
		state, err := watchdog.ReadState(dir)
		switch {
		case !held && err == nil:
			return state, false, nil
		case !held:
			if !errors.Is(err, fs.ErrNotExist) {
				d.opts.Logger.Warn("state of a watchdog cannot be read", zap.Error(err))
			}
			return watchdog.State{}, false, nil
		case err == nil && state.BootID == d.boot && state.App.PID != 0 && state.Watchdog.Alive():
			return state, true, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return state, false, fmt.Errorf("%s is locked, but its watchdog does not say who it is: %w", dir, context.Cause(ctx))
		}
	}
}

// abandon kills what runs of an instance whose record cannot be read. Its directory stays for people to look at.
func (d *Driver) abandon(ctx context.Context, in *instance, state watchdog.State, runs bool, why error) error {
	if errors.Is(why, fs.ErrNotExist) && !runs {
		return nil // nothing was ever started: the record comes first
	}
	if !runs && state.BootID != d.boot { // the machine has crashed with it: nothing of this boot is damaged by that
		d.opts.Logger.Warn("the record of an instance that does not run is damaged: it is as if it had never been prepared", zap.String("instance", in.id), zap.Error(why))
		return nil
	}
	if state.BootID == d.boot && state.App.PID != 0 {
		if err := d.clear(ctx, in, state.App); err != nil {
			why = errors.Join(why, err)
		}
	}
	return fmt.Errorf("adopt %s: %w", in.id, why)
}
