//go:build linux

package process

import (
	"context"
	"fmt"

	"github.com/go-cluster/go-cluster/agent"
)

// Stop implements agent.Driver. When ctx ends first, Stop returns an error and the stopping goes on, SIGKILL included; call it
// again to wait for it. An unknown instance does not run.
func (d *Driver) Stop(ctx context.Context, id string) (agent.Status, error) {
	in, err := d.lookup(id, false)
	if err != nil {
		return agent.Status{}, err
	}
	if in == nil {
		return agent.Status{ID: id, State: agent.StateStopped}, nil
	}
	r, err := d.unwant(ctx, in, func(r *run) { d.end(in, r) })
	if err != nil {
		return agent.Status{}, fmt.Errorf("stop: %w", err)
	}
	if err := d.await(ctx, r); err != nil {
		return agent.Status{}, fmt.Errorf("stop %s: it has not ended yet: %w", id, err)
	}
	st, _ := d.Status(id)
	return st, nil
}

// end begins to stop a run as its app wants to be stopped; op is held.
func (d *Driver) end(in *instance, r *run) {
	p := in.rec.Instance.App.Process
	if p == nil { // a record without its program: a foreign hand
		d.beginKill(r)
		return
	}
	sig, err := parseSignal(p.StopSignal)
	if err != nil {
		d.beginKill(r)
		return
	}
	d.beginStop(r, sig, p.StopTimeout.D())
}

// Kill implements agent.Driver. It works while a Stop is under way. It fails only when the driver is closed.
func (d *Driver) Kill(id string) error {
	in, err := d.lookup(id, false)
	if in == nil || err != nil {
		return err
	}
	d.mu.Lock()
	r := in.run
	d.mu.Unlock()
	if r != nil {
		d.beginKill(r) // whoever holds op
	}
	r, err = d.unwant(d.ctx, in, d.beginKill)
	if err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	return d.await(d.ctx, r)
}

// unwant makes sure that the instance is not restarted and ends its run, if there is one, by end, which must not wait.
func (d *Driver) unwant(ctx context.Context, in *instance, end func(*run)) (*run, error) {
	if err := d.acquire(ctx, in); err != nil {
		return nil, err
	}
	defer in.release()
	if in.run == nil {
		if d.cancelRetry(in) {
			d.settle(in, agent.StateStopped, "", in.status.ExitCode)
		}
		return nil, nil
	}
	d.change(in, func() {
		in.rec.Want = false
		in.status.State, in.status.Healthy = agent.StateStopping, false
	})
	end(in.run)
	if err := in.save(); err != nil {
		// The signal is sent and the end will be recorded; only an agent that dies before that would take this for a crash.
		d.opts.Logger.Error(err.Error())
	}
	return in.run, nil
}

// await waits until r, which may be nil, has ended and the instance knows.
func (d *Driver) await(ctx context.Context, r *run) error {
	if r == nil {
		return nil
	}
	select {
	case <-r.settled:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-d.ctx.Done():
		return errClosed
	}
}
