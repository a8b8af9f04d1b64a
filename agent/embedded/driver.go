package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
)

// App is the code of one app. A nil function does nothing.
type App struct {
	Name      string
	OnStart   Func // an instance begins on this node; its context ends when the instance is to leave, before OnStop
	OnStandby Func // it is prepared, or steps down; its context ends when it becomes active or leaves
	OnActive  Func // it serves; its context ends when it steps down
	OnStop    Func // it leaves this node; its context ends with the call

	OnMigrationStart    func(ctx context.Context, from, to string) error // before it moves, on its node; an error refuses
	OnMigrationComplete func(ctx context.Context, from, to string) error // after it has moved, on its new node
	OnPlacementInvalid  func(ctx context.Context, reason string) error
}

// Options configures a driver. Dir, Apps and Boot are required.
type Options struct {
	Dir   string               // data directories of instances are made below it
	Apps  []App                // names are unique
	Boot  func() time.Duration // CLOCK_BOOTTIME, or a bubble's time in tests
	Limit time.Duration        // of each call of a function; default 30s
	Log   *zap.Logger
}

// Driver runs the apps of this program. It implements agent.Driver.
type Driver struct {
	dir    string
	apps   map[string]App
	limit  time.Duration
	log    *zap.Logger
	rights *rights

	mu        sync.Mutex
	instances map[string]*instance
	stored    map[string]after // by instance, known or not: what the commits of an epoch, begun or not, wait for
	notify    []func(string)
	hooking   map[string]chan struct{} // hooks under way, by app and name
}

var (
	_ agent.Driver  = (*Driver)(nil)
	_ agent.Demoter = (*Driver)(nil)
	_ agent.Hooker  = (*Driver)(nil)

	_ agent.Acknowledger = (*Driver)(nil)

	_ agent.EpochWatcher = (*Driver)(nil)
)

// New returns a driver that runs nothing yet.
func New(o Options) *Driver {
	d := &Driver{dir: o.Dir, apps: map[string]App{}, limit: o.Limit, log: o.Log, instances: map[string]*instance{}, stored: map[string]after{}, hooking: map[string]chan struct{}{},
		rights: &rights{boot: o.Boot, highest: map[string]uint64{}}}
	if d.limit == 0 {
		d.limit = 30 * time.Second
	}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	for _, a := range o.Apps {
		d.apps[a.Name] = a
	}
	return d
}

// instance is one instance on this node. Its fields are guarded by the driver's mu, but for what begins and ends it: those calls
// come one after the other.
type instance struct {
	want   agent.Instance
	code   App
	status agent.Status
	life   context.Context // of OnStart; nil while it does not run
	die    context.CancelCauseFunc
	term   context.Context // of its role; nil before the first
	retire context.CancelCauseFunc
	gate   *gate         // of the active, until its step-down has ended
	last   *gate         // the one before: writes may still be under way in it
	ended  chan struct{} // closed when the functions of an instance that was killed have returned
}

// after is what the commits of an epoch have to wait for; the zero after is nothing.
type after struct {
	epoch uint64
	wait  func(context.Context) error
}

func (d *Driver) lives(x *instance) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return x.life != nil
}

func (d *Driver) now(x *instance) agent.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return x.status
}

// find returns the instance, made if need be.
func (d *Driver) find(in agent.Instance) (*instance, error) {
	code, ok := d.apps[in.App.Name]
	if !ok {
		return nil, fmt.Errorf("this program does not register %s", in.App.Name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	x := d.instances[in.ID]
	if x == nil {
		x = &instance{want: in, code: code, status: agent.Status{ID: in.ID, App: in.App.Name, State: agent.StateStopped, Since: time.Now()}}
		d.instances[in.ID] = x
	}
	return x, nil
}

// set changes an instance and tells who wants to know.
func (d *Driver) set(x *instance, change func()) agent.Status {
	d.mu.Lock()
	before := x.status
	change()
	if x.status.State != before.State || x.status.Healthy != before.Healthy {
		x.status.Since = time.Now()
	}
	after, notify := x.status, slices.Clone(d.notify)
	d.mu.Unlock()
	if !reflect.DeepEqual(after, before) {
		for _, f := range notify {
			f(after.ID)
		}
	}
	return after
}

// Status implements agent.Driver.
func (d *Driver) Status(id string) (agent.Status, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x, ok := d.instances[id]
	if !ok {
		return agent.Status{}, false
	}
	return x.status, true
}

// List implements agent.Driver.
func (d *Driver) List() []agent.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]agent.Status, 0, len(d.instances))
	for _, x := range d.instances {
		all = append(all, x.status)
	}
	slices.SortFunc(all, func(a, b agent.Status) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Adopt implements agent.Driver: nothing outlives the program.
func (d *Driver) Adopt(context.Context) ([]agent.Status, error) { return nil, nil }

// Extend implements agent.Driver.
func (d *Driver) Extend(deadline time.Duration) { d.rights.extend(deadline) }

// Seen implements agent.EpochWatcher.
func (d *Driver) Seen(app string, epoch uint64) { d.rights.seen(app, epoch) }

// Notify implements agent.Driver.
func (d *Driver) Notify(f func(id string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = append(d.notify, f)
}

// Logs implements agent.Driver.
func (d *Driver) Logs(context.Context, string, int, bool, io.Writer) error {
	return errors.New("it is part of a Go program, and what it says is in that program's own output")
}

// Remove implements agent.Driver. One that is not known, as after a restart of the program, leaves its data behind all the same: with deleteData
// they go. While they cannot be deleted the instance stays, so that it is tried again.
func (d *Driver) Remove(id string, deleteData bool) error {
	if id == "" || id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return fmt.Errorf("remove instance %q: not a valid id", id)
	}
	d.mu.Lock()
	x := d.instances[id]
	if x != nil && x.status.State != agent.StateStopped && x.status.State != agent.StateFailed {
		defer d.mu.Unlock()
		return fmt.Errorf("remove %s: it is %s", id, x.status.State)
	}
	d.mu.Unlock()
	if deleteData {
		if err := os.RemoveAll(d.DataDir(id)); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.instances[id] == x {
		delete(d.instances, id)
	}
	return nil
}

// DataDir returns the data directory of an instance, prepared or not.
func (d *Driver) DataDir(id string) string { return filepath.Join(d.dir, "data", id) }

// Close stops what is left, standbys too.
func (d *Driver) Close(ctx context.Context) error {
	var errs []error
	for _, st := range d.List() {
		_, err := d.Stop(ctx, st.ID)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// place is what the functions of an instance are told of it.
func (d *Driver) place(x *instance, role string, epoch uint64) Place {
	return Place{App: x.want.App.Name, Instance: x.want.ID, Node: x.want.Node, Role: role, Epoch: epoch, DataDir: d.DataDir(x.want.ID)}
}

// standby is the role of an instance that is neither active nor a member.
const standby = api.RoleStandby
