//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// Prepare implements agent.Driver. An instance that runs, or waits for its restart, stays as it is. After an error, one that was
// not known before is not known.
func (d *Driver) Prepare(ctx context.Context, i agent.Instance) (agent.Status, error) {
	in, err := d.instanceFor(i)
	if err != nil {
		return agent.Status{}, err
	}
	if err := d.acquire(ctx, in); err != nil {
		return agent.Status{}, err
	}
	defer in.release()
	if in.removed {
		return agent.Status{}, fmt.Errorf("prepare %s: removed meanwhile", i.ID)
	}
	if in.busy() {
		return d.refresh(in, i), nil
	}
	if _, err := d.prepare(in, i); err != nil {
		if in.rec.Instance.ID == "" { // never prepared before, and not now
			d.drop(in)
		}
		return agent.Status{}, fmt.Errorf("prepare %s: %w", i.ID, err)
	}
	d.arm(ctx, in)
	return d.settle(in, agent.StateReady, "", nil), nil
}

// instanceFor checks what can be checked of i alone and returns its instance.
func (d *Driver) instanceFor(i agent.Instance) (*instance, error) {
	switch {
	case i.ID == "" || strings.ContainsAny(i.ID, "/\x00") || strings.HasPrefix(i.ID, "."):
		return nil, fmt.Errorf("instance %q: not a valid id", i.ID)
	case i.App.Process == nil || len(i.App.Process.Command) == 0:
		return nil, fmt.Errorf("instance %s: app %s has no process.command", i.ID, i.App.Name)
	}
	return d.lookup(i.ID, true)
}

// refresh takes over what is not kept on disk, for an instance that is to run on as it is.
func (d *Driver) refresh(in *instance, i agent.Instance) agent.Status {
	return d.change(in, func() {
		if i.NATSURL != "" {
			in.rec.Instance.NATSURL = i.NATSURL
		}
	})
}

// prepare makes the instance ready, with op held and nothing running, and returns the identity it will run under. The record is
// not saved.
func (d *Driver) prepare(in *instance, i agent.Instance) (identity, error) {
	i.App = i.App.WithDefaults()
	if i.Address == "" {
		i.Address = d.opts.Address
	}
	if _, err := parseSignal(i.App.Process.StopSignal); err != nil {
		return identity{}, err
	}
	id, err := identify(i.App.Execution, os.Geteuid(), d.opts.AllowRoot)
	if err != nil {
		return identity{}, err
	}
	if err := os.MkdirAll(in.dir, 0o700); err != nil {
		return identity{}, err
	}
	if err := giveDataDir(d.DataDir(in.id), id.credential); err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	ports, err := d.reservePorts(in, i)
	if err != nil {
		return identity{}, err
	}
	d.change(in, func() { in.rec.Instance, in.rec.Ports = i, ports })
	return id, nil
}

// Remove implements agent.Driver. Removing what is not known is a no-op, but deleteData deletes its data directory nevertheless.
func (d *Driver) Remove(id string, deleteData bool) error {
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return fmt.Errorf("remove instance %q: not a valid id", id)
	}
	in, err := d.lookup(id, false)
	if err != nil {
		return err
	}
	if in != nil {
		if err := d.forget(in); err != nil {
			return err
		}
	}
	if deleteData {
		return os.RemoveAll(d.DataDir(id))
	}
	return nil
}

func (d *Driver) forget(in *instance) error {
	if err := d.acquire(d.ctx, in); err != nil {
		return err
	}
	defer in.release()
	if in.busy() {
		return fmt.Errorf("remove %s: it runs, stop it first", in.id)
	}
	if held, err := watchdog.Held(in.dir); held {
		return fmt.Errorf("remove %s: its watchdog has not ended yet", in.id)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	in.disarm()
	if err := os.RemoveAll(in.dir); err != nil {
		return err
	}
	d.drop(in)
	d.notify.changed(in.id)
	return nil
}

// drop takes the instance, which does not run, out of the driver's sight; op is held.
func (d *Driver) drop(in *instance) {
	in.releasePorts()
	in.disarm()
	d.mu.Lock()
	defer d.mu.Unlock()
	in.removed = true
	delete(d.instances, in.id)
}
