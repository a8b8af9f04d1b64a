//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// instance is one instance and what the driver does with it. Operations hold op, one at a time. The fields below it are written
// with both op and Driver.mu held and may be read with either; status is written and read with Driver.mu alone.
type instance struct {
	id    string
	dir   string
	op    chan struct{}       // a lock that can be waited for with a context
	holds map[string]heldPort // by the port's name; belongs to the holder of op
	spare *watchdog.Waiting   // for the next start, nil where there is none; belongs to the holder of op

	rec     record
	run     *run               // nil while nothing runs
	retry   context.CancelFunc // not nil while a restart is pending
	removed bool

	status agent.Status
}

// busy reports whether the instance runs or is about to run again.
func (in *instance) busy() bool { return in.run != nil || in.retry != nil }

func (in *instance) snapshot() agent.Status {
	st := in.status
	i := in.rec.Instance
	st.ID, st.App, st.Role, st.Epoch, st.Generation = in.id, i.App.Name, i.Role, i.Epoch, i.Generation
	st.Ports = maps.Clone(in.rec.Ports)
	st.Restarts = in.rec.Restarted
	return st
}

// lookup returns a known instance, or one that is new.
func (d *Driver) lookup(id string, create bool) (*instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if !d.adopted {
		return nil, errors.New("process driver: Adopt comes first: something may still run")
	}
	in, ok := d.instances[id]
	if !ok && create {
		in = d.newInstance(id)
		d.instances[id] = in
	}
	return in, nil
}

func (d *Driver) newInstance(id string) *instance {
	return &instance{
		id: id, dir: filepath.Join(d.instancesDir(), id),
		op: make(chan struct{}, 1), holds: map[string]heldPort{},
	}
}

// acquire takes the right to operate on the instance; release gives it back.
func (d *Driver) acquire(ctx context.Context, in *instance) error {
	select {
	case in.op <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("instance %s: %w", in.id, context.Cause(ctx))
	case <-d.ctx.Done():
		return errClosed
	}
	if d.ctx.Err() != nil {
		in.release()
		return errClosed
	}
	return nil
}

func (in *instance) release() { <-in.op }

// change applies f to the fields of the instance, with op held, and tells the listeners where the status changed.
func (d *Driver) change(in *instance, f func()) agent.Status {
	d.mu.Lock()
	before := in.snapshot()
	f()
	after := in.snapshot()
	if before.State != after.State || before.Healthy != after.Healthy {
		in.status.Since = d.opts.Now()
		after.Since = in.status.Since
	}
	d.mu.Unlock()
	if !equal(before, after) {
		d.notify.changed(in.id)
	}
	return after
}

// equal compares what a change of is worth a notification.
func equal(a, b agent.Status) bool {
	return a.State == b.State && a.Healthy == b.Healthy && a.Detail == b.Detail && a.PID == b.PID &&
		a.Role == b.Role && a.Epoch == b.Epoch && a.Generation == b.Generation && a.Restarts == b.Restarts &&
		maps.Equal(a.Ports, b.Ports)
}

// rest sets the status of an instance that does not run.
func (in *instance) rest(state agent.State, detail string, exitCode *int) {
	in.status = agent.Status{State: state, Detail: detail, ExitCode: exitCode, Since: in.status.Since}
}
