//go:build linux

package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/watchdog"
)

// Options configures a driver. Dir and WatchdogCommand are required.
type Options struct {
	Dir             string   // see the package documentation
	WatchdogCommand []string // argv prefix of a command that calls watchdog.Main with its last argument
	Address         string   // of this host, where an instance does not say; fixed ports are tested on it; default 127.0.0.1
	AllowRoot       bool     // apps without a user may run as root (development)
	Logger          *zap.Logger
	Now             func() time.Time   // wall clock, default time.Now
	LogLimits       watchdog.LogLimits // of each instance
}

// Driver runs processes. It implements agent.Driver.
type Driver struct {
	opts   Options
	boot   string
	lock   *os.File
	fence  *watchdog.Deadline
	notify *notifier
	wedged time.Duration // how long a watchdog may outlive the SIGKILL of its app before it is killed itself

	ctx  context.Context // ends at Close
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	extend    sync.Mutex // one Extend at a time
	mu        sync.Mutex
	adopted   bool
	closed    bool
	instances map[string]*instance
	deadline  time.Duration // CLOCK_BOOTTIME, as extended by this driver; 0 before the first time
	extended  chan struct{} // closed and replaced when deadline moves
}

var _ agent.Driver = (*Driver)(nil)

var errClosed = errors.New("process driver is closed")

// New opens the directory and creates it where it is missing. It fails when another driver uses it. Instances of an earlier driver
// are known after Adopt.
func New(opts Options) (*Driver, error) {
	if opts.Dir == "" || len(opts.WatchdogCommand) == 0 {
		return nil, errors.New("process driver: Dir and WatchdogCommand are required")
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	opts.Address = cmp.Or(opts.Address, "127.0.0.1")
	opts.Logger = cmp.Or(opts.Logger, zap.NewNop())
	if opts.Now == nil {
		opts.Now = time.Now
	}
	boot, err := watchdog.BootID()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		opts: opts, boot: boot,
		notify:    newNotifier(),
		wedged:    5 * time.Second,
		instances: map[string]*instance{},
		extended:  make(chan struct{}),
	}
	// Apps of other users pass through dir and data to their own data, and see nothing on the way.
	// The outermost comes first: a missing parent gets the mode of the first directory below it.
	for _, own := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o711}, {d.dataRoot(), 0o711}, {d.instancesDir(), 0o700}} {
		if err := os.MkdirAll(own.path, own.mode); err != nil {
			return nil, err
		}
		if err := os.Chmod(own.path, own.mode); err != nil { // whatever the umask
			return nil, err
		}
	}
	if d.lock, err = agent.TakeDir(dir, "lock"); err != nil {
		return nil, fmt.Errorf("process driver: %w", err)
	}
	if d.fence, err = watchdog.OpenDeadline(filepath.Join(dir, "deadline")); err != nil {
		_ = d.lock.Close()
		return nil, err
	}
	d.ctx, d.stop = context.WithCancelCause(context.Background())
	return d, nil
}

// Close ends the driver and leaves the apps running; another driver may adopt them at once. Operations under way fail, but what
// they have begun may have been done.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	d.stop(errClosed)
	d.wg.Wait()
	d.notify.close()
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.instances))
	d.mu.Unlock()
	for _, in := range all {
		in.op <- struct{}{}
		in.releasePorts()
		in.disarm()
		if in.run != nil {
			_ = in.run.dog.Close()
		}
	}
	d.extend.Lock()
	defer d.extend.Unlock()
	return errors.Join(d.fence.Close(), d.lock.Close())
}

// background runs f, which must return when d.ctx ends, unless the driver is closed.
func (d *Driver) background(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.wg.Go(f)
}

// Status implements agent.Driver.
func (d *Driver) Status(id string) (agent.Status, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	in, ok := d.instances[id]
	if !ok {
		return agent.Status{}, false
	}
	return in.snapshot(), true
}

// List implements agent.Driver.
func (d *Driver) List() []agent.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]agent.Status, 0, len(d.instances))
	for _, in := range d.instances {
		all = append(all, in.snapshot())
	}
	slices.SortFunc(all, func(a, b agent.Status) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Notify implements agent.Driver. Calls come one after the other; several changes of one instance may become one call.
func (d *Driver) Notify(f func(id string)) { d.notify.register(f) }

// Extend implements agent.Driver. A deadline is never taken back: to end an instance earlier, kill it. When the file cannot be
// written, the watchdogs hold on to the deadline before.
func (d *Driver) Extend(deadline time.Duration) {
	d.extend.Lock() // and not mu: a disk that hangs must not hold up Kill
	defer d.extend.Unlock()
	if known, _, _ := d.leased(); d.ctx.Err() != nil || deadline <= known {
		return
	}
	if err := d.fence.Extend(deadline); err != nil {
		d.opts.Logger.Error("lease deadline not extended, watchdogs will kill fenced instances", zap.Error(err))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadline = deadline
	close(d.extended)
	d.extended = make(chan struct{})
}

// leased returns the deadline for fenced instances, whether it lies ahead, and a channel that is closed when it moves.
func (d *Driver) leased() (deadline time.Duration, ahead bool, moved <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deadline, watchdog.Boottime() < d.deadline, d.extended
}

// DataDir returns the data directory of an instance, prepared or not.
func (d *Driver) DataDir(id string) string { return filepath.Join(d.dataRoot(), id) }

func (d *Driver) dataRoot() string     { return filepath.Join(d.opts.Dir, "data") }
func (d *Driver) instancesDir() string { return filepath.Join(d.opts.Dir, "instances") }
