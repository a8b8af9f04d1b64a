package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
)

// killPatience is how long a kill waits for the writes under way before it says that it has not succeeded yet.
const killPatience = 100 * time.Millisecond

var (
	errOtherRole   = errors.New("its role has changed")
	errSteppedDown = errors.New("it has stepped down")
	errStopped     = errors.New("it was stopped")
	errKilled      = errors.New("it was ended at once, with its node's lease or its agent")
)

// Prepare implements agent.Driver: a standby runs.
func (d *Driver) Prepare(ctx context.Context, in agent.Instance) (agent.Status, error) {
	x, err := d.find(in)
	if err != nil {
		return agent.Status{}, err
	}
	if st := d.now(x); d.lives(x) && st.Generation == in.Generation {
		return st, nil // it runs, as a standby or as more
	}
	if err := d.begin(ctx, x, in); err != nil {
		return d.now(x), err
	}
	term, ok := d.turn(x, standby, 0, nil)
	if !ok {
		return d.now(x), errKilled
	}
	if err := d.call(ctx, term, "OnStandby", x.code.OnStandby); err != nil {
		return d.fall(x, err), err
	}
	return d.become(x, term, func(st *agent.Status) { st.State, st.Role = agent.StateReady, standby })
}

// Start implements agent.Driver.
func (d *Driver) Start(ctx context.Context, in agent.Instance) (agent.Status, error) {
	x, err := d.find(in)
	if err != nil {
		return agent.Status{}, err
	}
	st := d.now(x)
	switch {
	case st.State == agent.StateRunning && st.Role == in.Role && st.Epoch == in.Epoch && st.Generation == in.Generation:
		return st, nil
	case st.State == agent.StateRunning || st.State == agent.StateStopping:
		return st, fmt.Errorf("start %s as %s under epoch %d: it is %s as %s under epoch %d", in.ID, in.Role, in.Epoch, st.State, st.Role, st.Epoch)
	}
	if !d.lives(x) || st.Generation != in.Generation {
		if err := d.begin(ctx, x, in); err != nil {
			return d.now(x), err
		}
	}
	var g *gate
	if in.Role == api.RoleActive {
		g = &gate{app: in.App.Name, instance: in.ID, epoch: in.Epoch, fenced: in.Fenced, rights: d.rights}
		d.rights.seen(in.App.Name, in.Epoch)
	}
	term, ok := d.turn(x, in.Role, in.Epoch, g)
	if !ok {
		return d.now(x), errKilled
	}
	d.set(x, func() {
		x.want = in
		x.status.State, x.status.Role, x.status.Epoch = agent.StateStarting, in.Role, in.Epoch
	})
	if g != nil {
		if err := d.call(ctx, term, "OnActive", x.code.OnActive); err != nil {
			return d.fall(x, err), err
		}
		g.begins()
	}
	st, err = d.become(x, term, func(st *agent.Status) { st.State, st.Healthy, st.Detail = agent.StateRunning, true, "" })
	if err == nil {
		d.log.Info("instance started", zap.String("instance", in.ID), zap.String("role", in.Role), zap.Uint64("epoch", in.Epoch))
	}
	return st, err
}

// begin calls OnStart, once whatever was there before has ended.
func (d *Driver) begin(ctx context.Context, x *instance, in agent.Instance) error {
	if d.lives(x) {
		if _, err := d.Stop(ctx, in.ID); err != nil {
			return err
		}
	}
	if err := d.over(ctx, x); err != nil {
		return err
	}
	d.mu.Lock()
	last := x.last
	d.mu.Unlock()
	if last != nil {
		if err := last.settle(ctx); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.DataDir(in.ID), 0o700); err != nil {
		return err
	}
	var life context.Context
	d.set(x, func() {
		x.want = in
		ctx, die := context.WithCancelCause(context.Background())
		life = carry(ctx, d.place(x, in.Role, 0), nil)
		x.life, x.die = life, die
		x.status = agent.Status{ID: in.ID, App: in.App.Name, State: agent.StateStarting, Role: in.Role, Generation: in.Generation, PID: os.Getpid()}
	})
	if err := d.call(ctx, life, "OnStart", x.code.OnStart); err != nil {
		d.fail(x, err)
		return err
	}
	return nil
}

// over waits for the last function of an instance that was killed or fell.
func (d *Driver) over(ctx context.Context, x *instance) error {
	d.mu.Lock()
	ended := x.ended
	d.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turn ends the instance's role and begins another; its context lasts as long as the role does. It returns false for an instance
// that was killed meanwhile.
func (d *Driver) turn(x *instance, role string, epoch uint64, g *gate) (context.Context, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x.life == nil {
		return nil, false
	}
	if x.retire != nil {
		x.retire(errOtherRole)
	}
	if a := d.stored[x.want.ID]; g != nil && g != x.gate && a.epoch == g.epoch {
		g.acknowledge(a.wait)
	}
	ctx, retire := context.WithCancelCause(x.life)
	x.term, x.retire, x.gate = carry(ctx, d.place(x, role, epoch), g), retire, g
	return x.term, true
}

// become notes what an instance has become, unless its term ended meanwhile.
func (d *Driver) become(x *instance, term context.Context, change func(*agent.Status)) (agent.Status, error) {
	var err error
	st := d.set(x, func() {
		if x.term != term || term.Err() != nil {
			err = errKilled
			return
		}
		change(&x.status)
	})
	return st, err
}

// last is the context of an instance's last function: it outlives the others. d.mu is held.
func (d *Driver) last(x *instance, g *gate) context.Context {
	epoch := uint64(0)
	if g != nil {
		epoch = g.epoch
	}
	return carry(context.WithoutCancel(x.life), d.place(x, x.status.Role, epoch), g)
}

// fail notes that an instance does not run because its first function failed, and ends it.
func (d *Driver) fail(x *instance, why error) agent.Status {
	return d.set(x, func() {
		if x.life == nil {
			return // killed meanwhile
		}
		d.end(x, why)
		x.failed(why)
	})
}

// fall is fail for an instance that had started: OnStop is called, and Stop and whatever begins next wait for it.
func (d *Driver) fall(x *instance, why error) agent.Status {
	var last context.Context
	ended := make(chan struct{})
	st := d.set(x, func() {
		if x.life == nil {
			return // killed meanwhile
		}
		last = d.last(x, nil)
		d.end(x, why)
		x.ended = ended
		x.failed(why)
	})
	d.callLast(x, last, ended)
	return st
}

// callLast has OnStop called behind the back of whoever ended the instance; last is nil where that was somebody else.
func (d *Driver) callLast(x *instance, last context.Context, ended chan struct{}) {
	if last == nil {
		return
	}
	go func() {
		defer close(ended)
		limit, cancel := context.WithTimeout(last, d.limit)
		defer cancel()
		_ = d.call(limit, limit, "OnStop", x.code.OnStop)
	}()
}

// failed notes why an instance does not run. d.mu is held.
func (x *instance) failed(why error) {
	x.status.State, x.status.Healthy, x.status.Detail = agent.StateFailed, false, why.Error()
}

// end ends the contexts of an instance. d.mu is held.
func (d *Driver) end(x *instance, why error) {
	if x.retire != nil {
		x.retire(why)
	}
	x.die(why)
	if x.gate != nil {
		x.gate.shut(why)
		x.last = x.gate
	}
	x.life, x.term, x.gate, x.retire = nil, nil, nil, nil
}

// Demote implements agent.Demoter: the active steps down and runs on as a standby. Its context ends first; OnStandby may still write
// what is left to be written; then the gate closes, and Demote returns when no write is under way any more.
func (d *Driver) Demote(ctx context.Context, id string) (agent.Status, error) {
	x, g := d.active(id)
	if x == nil {
		st, _ := d.Status(id)
		return st, d.drained(ctx, id)
	}
	term, ok := d.turn(x, standby, g.epoch, g)
	if !ok {
		return d.now(x), nil
	}
	d.set(x, func() { x.status.State = agent.StateStopping })
	if err := d.call(ctx, term, "OnStandby", x.code.OnStandby); err != nil {
		d.log.Warn("stepping down all the same: " + err.Error())
	}
	g.shut(errSteppedDown)
	if err := d.settle(ctx, g); err != nil {
		return d.now(x), fmt.Errorf("step down: %w", err)
	}
	d.log.Info("instance stepped down", zap.String("instance", id), zap.Uint64("epoch", g.epoch))
	return d.set(x, func() {
		if x.term == term {
			x.gate = nil
			x.status.State, x.status.Role, x.status.Healthy, x.status.Epoch = agent.StateReady, standby, false, 0
		}
	}), nil
}

func (d *Driver) active(id string) (*instance, *gate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.instances[id]; x != nil && x.gate != nil {
		return x, x.gate
	}
	return nil, nil
}

// AcknowledgeAfter implements agent.Acknowledger.
func (d *Driver) AcknowledgeAfter(id string, epoch uint64, stored func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if stored == nil {
		delete(d.stored, id)
	} else {
		d.stored[id] = after{epoch, stored}
	}
	if x := d.instances[id]; x != nil && x.gate != nil && x.gate.epoch == epoch {
		x.gate.acknowledge(stored)
	}
}

// drained waits, not for ever, for the writes that were under way when an instance ended otherwise.
func (d *Driver) drained(ctx context.Context, id string) error {
	d.mu.Lock()
	var g *gate
	if x := d.instances[id]; x != nil {
		g = x.last
	}
	d.mu.Unlock()
	if g == nil {
		return nil
	}
	return d.settle(ctx, g)
}

// settle waits, not for ever, for the writes under way.
func (d *Driver) settle(ctx context.Context, g *gate) error {
	limit, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	return g.settle(limit)
}

// Stop implements agent.Driver. What is active may write until OnStop has returned.
func (d *Driver) Stop(ctx context.Context, id string) (agent.Status, error) {
	d.mu.Lock()
	x := d.instances[id]
	d.mu.Unlock()
	if x == nil {
		return agent.Status{}, nil
	}
	var (
		g    *gate
		last context.Context
	)
	d.set(x, func() {
		switch {
		case x.life != nil:
			g, last, x.status.State = x.gate, d.last(x, x.gate), agent.StateStopping
			if x.retire != nil {
				x.retire(errStopped)
			}
			x.die(errStopped) // first: what OnStop waits for ends with its context
		case x.status.State == agent.StateFailed:
			x.status.State = agent.StateStopped
		}
	})
	if last == nil {
		return d.now(x), errors.Join(d.over(ctx, x), d.drained(ctx, id))
	}
	limit, cancel := context.WithTimeout(last, d.limit)
	defer cancel()
	if err := d.call(ctx, limit, "OnStop", x.code.OnStop); err != nil {
		d.log.Warn("stopped all the same: " + err.Error())
	}
	if g != nil {
		g.shut(errStopped)
		if err := d.settle(ctx, g); err != nil {
			return d.now(x), fmt.Errorf("stop: %w", err)
		}
	}
	return d.set(x, func() {
		if x.life != nil {
			d.end(x, errStopped)
			x.status.State, x.status.Healthy = agent.StateStopped, false
		}
	}), nil
}

// Kill implements agent.Driver. Its gate is closed and no write is under way when it returns nil; OnStop is called, and nobody waits
// for it.
func (d *Driver) Kill(id string) error {
	d.mu.Lock()
	x := d.instances[id]
	d.mu.Unlock()
	if x == nil {
		return nil
	}
	var last context.Context
	ended := make(chan struct{})
	d.set(x, func() {
		if x.life == nil {
			return
		}
		last = d.last(x, nil)
		d.end(x, fmt.Errorf("%w: %w", ErrFenced, errKilled))
		x.ended = ended
		x.status.State, x.status.Healthy = agent.StateStopped, false
	})
	d.callLast(x, last, ended)
	d.mu.Lock()
	g := x.last
	d.mu.Unlock()
	if g == nil {
		return nil
	}
	limit, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	return g.settle(limit)
}
