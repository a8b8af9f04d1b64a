//go:build linux

package process

import (
	"context"
	"fmt"
	"maps"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// Start implements agent.Driver. Starting one that waits for its restart is a no-op too. A start that fails leaves the instance
// failed, with nothing running, and is not tried again by itself.
func (d *Driver) Start(ctx context.Context, i agent.Instance) (agent.Status, error) {
	in, err := d.instanceFor(i)
	if err != nil {
		return agent.Status{}, err
	}
	if err := d.acquire(ctx, in); err != nil {
		return agent.Status{}, err
	}
	defer in.release()
	if in.removed {
		return agent.Status{}, fmt.Errorf("start %s: removed meanwhile", i.ID)
	}
	if in.busy() {
		now := in.rec.Instance
		switch {
		case !in.rec.Want:
			return agent.Status{}, fmt.Errorf("start %s: it is being stopped", i.ID)
		case now.Role != i.Role || now.Epoch != i.Epoch || now.Generation != i.Generation:
			return agent.Status{}, fmt.Errorf("start %s as %s, epoch %d, generation %d: it runs as %s, epoch %d, generation %d; stop it first",
				i.ID, i.Role, i.Epoch, i.Generation, now.Role, now.Epoch, now.Generation)
		}
		return d.refresh(in, i), nil
	}
	st, err := d.begin(ctx, in, i)
	if err != nil {
		err = fmt.Errorf("start %s: %w", i.ID, err)
		d.settle(in, agent.StateFailed, err.Error(), nil)
		d.keepPorts(in)
		return agent.Status{}, err
	}
	return st, nil
}

func (d *Driver) begin(ctx context.Context, in *instance, i agent.Instance) (agent.Status, error) {
	if _, err := d.prepare(in, i); err != nil {
		// The failure is one of i, and so is the status; of the ports, those stay that mean the same in it.
		i.App = i.App.WithDefaults()
		d.change(in, func() {
			ports := maps.Clone(in.rec.Ports)
			maps.DeleteFunc(ports, func(name string, _ int) bool {
				is, declared := i.App.Ports[name]
				return !declared || is != in.rec.Instance.App.Ports[name]
			})
			in.rec.Instance, in.rec.Ports = i, ports
		})
		return agent.Status{}, err
	}
	d.change(in, func() {
		in.rec.Want = true
		in.rec.Restarts, in.rec.Restarted = nil, 0
		in.rec.Rest, in.rec.Detail, in.rec.ExitCode = "", "", nil
	})
	if err := in.save(); err != nil { // before anything runs: an agent that adopts it must know as what
		return agent.Status{}, err
	}
	return d.run(ctx, in)
}

// run starts the program of a prepared instance, with op held and nothing running.
func (d *Driver) run(ctx context.Context, in *instance) (agent.Status, error) {
	if err := d.takePorts(in); err != nil {
		return agent.Status{}, err
	}
	p, err := d.program(in, in.rec.Instance.App.Process.Command)
	if err != nil {
		return agent.Status{}, err
	}
	l, err := d.launch(p, in.rec.Instance)
	if err != nil {
		return agent.Status{}, err
	}
	ctx, cancel := d.until(ctx)
	defer cancel()
	state, err := d.dispatch(ctx, in, l)
	if err != nil {
		return agent.Status{}, err
	}
	dog, err := watchdog.Open(state.Watchdog)
	if err != nil {
		// It has come and gone already; what it left says how.
		dog = nil
	}
	st := d.attach(in, state, dog)
	d.opts.Logger.Info("instance started", zap.String("instance", in.id), zap.Int("pid", state.App.PID),
		zap.String("role", st.Role), zap.Uint64("epoch", st.Epoch))
	return st, nil
}

// until returns a context that ends with ctx and with the driver.
func (d *Driver) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}
