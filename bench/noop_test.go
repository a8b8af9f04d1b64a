//go:build linux

package bench

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/agent"
)

// noop is a driver whose apps take no time at all: what is left is the cluster's own.
type noop struct {
	mu     sync.Mutex
	all    map[string]agent.Status
	notify func(string)
}

var _ agent.Driver = (*noop)(nil)

func newNoop() *noop { return &noop{all: map[string]agent.Status{}, notify: func(string) {}} }

func (d *noop) set(in agent.Instance, state agent.State) agent.Status {
	d.mu.Lock()
	st := agent.Status{ID: in.ID, App: in.App.Name, State: state, Healthy: state == agent.StateRunning, Role: in.Role, Epoch: in.Epoch, Generation: in.Generation, Since: now()}
	d.all[in.ID] = st
	notify := d.notify
	d.mu.Unlock()
	notify(in.ID)
	return st
}

// Prepare implements agent.Driver.
func (d *noop) Prepare(_ context.Context, in agent.Instance) (agent.Status, error) {
	if st, ok := d.Status(in.ID); ok {
		return st, nil
	}
	return d.set(in, agent.StateReady), nil
}

// Start implements agent.Driver.
func (d *noop) Start(_ context.Context, in agent.Instance) (agent.Status, error) {
	return d.set(in, agent.StateRunning), nil
}

// Stop implements agent.Driver.
func (d *noop) Stop(_ context.Context, id string) (agent.Status, error) {
	d.mu.Lock()
	st, ok := d.all[id]
	if ok {
		st.State, st.Healthy = agent.StateStopped, false
		d.all[id] = st
	}
	notify := d.notify
	d.mu.Unlock()
	if ok {
		notify(id)
	}
	return st, nil
}

// Kill implements agent.Driver.
func (d *noop) Kill(id string) error {
	_, err := d.Stop(context.Background(), id)
	return err
}

// Remove implements agent.Driver.
func (d *noop) Remove(id string, _ bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, id)
	return nil
}

// Status implements agent.Driver.
func (d *noop) Status(id string) (agent.Status, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, ok := d.all[id]
	return st, ok
}

// List implements agent.Driver.
func (d *noop) List() []agent.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]agent.Status, 0, len(d.all))
	for _, id := range slices.Sorted(maps.Keys(d.all)) {
		out = append(out, d.all[id])
	}
	return out
}

// Adopt implements agent.Driver.
func (d *noop) Adopt(context.Context) ([]agent.Status, error) { return nil, nil }

// Extend implements agent.Driver.
func (d *noop) Extend(time.Duration) {}

// Notify implements agent.Driver.
func (d *noop) Notify(f func(string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = f
}

// Logs implements agent.Driver.
func (d *noop) Logs(context.Context, string, int, bool, io.Writer) error { return nil }

func now() time.Time { return time.Now() }
