package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

var (
	closedConn  = new(nats.Conn)
	dialNothing = func() (*nats.Conn, error) { return nil, errors.New("no server") }
)

// simDriver is a machine in memory. Its programs outlive the agents, and its watchdog kills fenced ones at the deadline.
type simDriver struct {
	boot func() time.Duration

	mu       sync.Mutex
	notify   func(string)
	list     map[string]*simInstance
	deadline time.Duration
	calls    []string
	broken   map[string]bool // apps whose start fails
	sick     map[string]bool // apps that do not get healthy
	killed   map[string]time.Duration
	watchdog []string // what the watchdog had to kill
	output   string
}

type simInstance struct {
	Status
	fenced bool
}

func newSimDriver(boot func() time.Duration) *simDriver {
	return &simDriver{boot: boot, list: map[string]*simInstance{}, broken: map[string]bool{}, sick: map[string]bool{}, killed: map[string]time.Duration{}}
}

func (d *simDriver) did(format string, args ...any) {
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
}

// count returns how many calls begin with the prefix.
func (d *simDriver) count(prefix string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (d *simDriver) set(id string, f func(*simInstance)) {
	d.mu.Lock()
	in := d.list[id]
	f(in)
	notify := d.notify
	d.mu.Unlock()
	if notify != nil {
		notify(id)
	}
}

func (d *simDriver) prepare(in Instance) *simInstance {
	i := d.list[in.ID]
	if i == nil {
		i = &simInstance{Status: Status{ID: in.ID, App: in.App.Name}}
		d.list[in.ID] = i
	}
	if !lives(i.State) {
		i.State, i.Healthy, i.Role, i.Epoch, i.Generation, i.Ports, i.fenced = StateReady, false, in.Role, in.Epoch, in.Generation, map[string]int{"http": 20001}, in.Fenced
	}
	return i
}

func (d *simDriver) Prepare(_ context.Context, in Instance) (Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did("prepare %s", in.ID)
	return d.prepare(in).Status, nil
}

func (d *simDriver) Start(ctx context.Context, in Instance) (Status, error) {
	if ctx.Err() != nil {
		return Status{}, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did("start %s %s epoch %d generation %d", in.ID, in.Role, in.Epoch, in.Generation)
	i := d.prepare(in)
	if lives(i.State) {
		if i.Role != in.Role || i.Epoch != in.Epoch || i.Generation != in.Generation {
			return Status{}, fmt.Errorf("start %s: it runs as something else", in.ID)
		}
		return i.Status, nil
	}
	if d.broken[in.App.Name] {
		i.State, i.Detail = StateFailed, "no such program"
		return Status{}, errors.New("no such program")
	}
	if in.Fenced && d.boot() >= d.deadline {
		return Status{}, errors.New("no lease")
	}
	i.State, i.Healthy, i.Detail = StateRunning, true, ""
	if d.sick[in.App.Name] {
		i.State, i.Healthy = StateStarting, false
	}
	return i.Status, nil
}

func (d *simDriver) Stop(ctx context.Context, id string) (Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did("stop %s", id)
	i := d.list[id]
	if i == nil {
		return Status{ID: id, State: StateStopped}, nil
	}
	if lives(i.State) {
		i.State, i.Healthy = StateStopped, false
	}
	return i.Status, nil
}

func (d *simDriver) Kill(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did("kill %s", id)
	if i := d.list[id]; i != nil && lives(i.State) {
		i.State, i.Healthy = StateStopped, false
		d.killed[id] = d.boot()
	}
	return nil
}

func (d *simDriver) Remove(id string, deleteData bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did("remove %s %t", id, deleteData)
	if i := d.list[id]; i != nil && lives(i.State) {
		return fmt.Errorf("remove %s: it runs", id)
	}
	delete(d.list, id)
	return nil
}

func (d *simDriver) Status(id string) (Status, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.list[id]
	if i == nil {
		return Status{}, false
	}
	return i.Status, true
}

func (d *simDriver) List() []Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Status
	for _, i := range d.list {
		out = append(out, i.Status)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (d *simDriver) Adopt(context.Context) ([]Status, error) { return d.List(), nil }

func (d *simDriver) Extend(deadline time.Duration) {
	d.mu.Lock()
	d.deadline = max(d.deadline, deadline)
	d.mu.Unlock()
	time.AfterFunc(deadline-d.boot(), d.watch)
}

// watch is the watchdogs: what is fenced ends at the deadline, agent or not. They come a moment after it, so that a test sees who
// was first.
func (d *simDriver) watch() {
	time.AfterFunc(time.Millisecond, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for id, i := range d.list {
			if i.fenced && lives(i.State) && d.boot() >= d.deadline {
				i.State, i.Healthy, i.Detail = StateStopped, false, "killed by its watchdog"
				d.watchdog = append(d.watchdog, id)
				d.killed[id] = d.boot()
			}
		}
	})
}

func (d *simDriver) Notify(f func(string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = f
}

func (d *simDriver) Logs(ctx context.Context, id string, _ int, follow bool, w io.Writer) error {
	if _, err := io.WriteString(w, d.output); err != nil {
		return err
	}
	if follow {
		<-ctx.Done()
	}
	return nil
}
