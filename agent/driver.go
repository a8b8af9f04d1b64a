package agent

import (
	"context"
	"io"
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// Driver runs instances of one kind of app on this node. All methods are safe for concurrent use; calls for one instance are
// made one after the other by the agent, but for Kill. A driver keeps what it needs to survive a restart of the agent in its own directory.
type Driver interface {
	// Prepare makes everything ready for a start without starting: data directory, reserved ports. It is idempotent and returns
	// the same ports again. The status of a prepared instance is StateReady.
	Prepare(ctx context.Context, in Instance) (Status, error)
	// Start starts a prepared instance in the role and with the epoch of in; it prepares first where that was not done. It
	// returns once the program runs (its health may be pending; see Status). Starting what already runs with the same role,
	// epoch and generation is a no-op; a running one with another is an error.
	Start(ctx context.Context, in Instance) (Status, error)
	// Stop ends the instance gracefully: stop signal to the group, StopTimeout, then SIGKILL to the group. It returns when no
	// process of the group is left, and is a no-op for one that does not run. The data directory stays. When ctx ends first, the
	// stopping goes on and Stop returns an error.
	Stop(ctx context.Context, id string) (Status, error)
	// Kill ends the instance at once and does not restart it. It returns when no process of the group is left. It may be called
	// while another call for the instance is under way.
	Kill(id string) error
	// Remove forgets a stopped instance and releases its ports; with deleteData its data directory goes too.
	Remove(id string, deleteData bool) error
	// Status returns what is known of an instance; ok is false for one that was never prepared.
	Status(id string) (st Status, ok bool)
	// List returns the status of every instance, ordered by id.
	List() []Status
	// Adopt takes over what an earlier agent on the same directory left running; it is called once, before all else.
	Adopt(ctx context.Context) ([]Status, error)
	// Extend moves the deadline (CLOCK_BOOTTIME) at which the watchdog of each fenced instance (Instance.Fenced) kills it when
	// no agent extends it further.
	Extend(deadline time.Duration)
	// Notify registers f to be called, on any goroutine, after the status of an instance changed.
	Notify(f func(id string))
	// Logs writes the newest lines of an instance's output to w, all that is kept where lines is negative. With follow it goes on
	// until ctx ends, which is no error, or the instance is removed. It needs no Adopt.
	Logs(ctx context.Context, id string, lines int, follow bool, w io.Writer) error
}

// Demoter is a driver whose actives can step down and run on as standbys. With others, stepping down is stopping.
type Demoter interface {
	// Demote returns when the active instance can write nothing any more. Its data is complete then. It is a no-op for one that is
	// not active.
	Demote(ctx context.Context, id string) (Status, error)
}

// EpochWatcher is a driver that refuses by epochs itself. Seen is called with each epoch that this node sees of an app; it must
// not block.
type EpochWatcher interface {
	Seen(app string, epoch uint64)
}

// Instance is one instance as the agent wants it run.
type Instance struct {
	ID         string // <app>-<slot>; one NATS token
	App        spec.App
	Node       string
	Address    string // the host's address, exported as GC_ADDRESS
	Role       string // "active", "standby" or "member", exported as GC_ROLE
	Epoch      uint64 // exported as GC_EPOCH
	Generation uint64 // of the process definition; another one means another program
	Fenced     bool   // singleton or ring: the watchdog kills it at the lease deadline
	NATSURL    string // exported as GC_NATS_URL
}

// State is where an instance is in its life on a node.
type State string

// The states of an instance on a node, as the node sees it.
const (
	StateReady    State = "ready"    // prepared, not running
	StateStarting State = "starting" // started, no verdict of its health check yet, or waiting for a restart
	StateRunning  State = "running"  // started and, with a health check, passing
	StateStopping State = "stopping"
	StateStopped  State = "stopped" // ended by Stop or Kill
	StateFailed   State = "failed"  // the restart policy gave up
)

// Status is what a driver knows of an instance. Detail is for people: the reason of a failure, with the exit status or the
// failing check.
type Status struct {
	ID         string         `json:"id"`
	App        string         `json:"app"`
	State      State          `json:"state"`
	Healthy    bool           `json:"healthy"` // StateRunning and not failing its check
	Role       string         `json:"role"`
	Epoch      uint64         `json:"epoch"`
	Generation uint64         `json:"generation"`
	PID        int            `json:"pid,omitzero"`
	Ports      map[string]int `json:"ports,omitempty"`
	Restarts   int            `json:"restarts,omitzero"`
	Since      time.Time      `json:"since,omitzero"` // wall clock of the last change of State or Healthy, for people
	ExitCode   *int           `json:"exit_code,omitzero"`
	Detail     string         `json:"detail,omitzero"`
}
