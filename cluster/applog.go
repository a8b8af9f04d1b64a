package cluster

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/agent/wal"
	"github.com/go-cluster/go-cluster/api"
)

// LogState is what an app makes of the records of its Log: Apply takes one over, Snapshot writes all of it, Restore reads that again.
// It depends on the records alone: no clock, no randomness, nothing of the node. Its methods are called one after the other, and not
// while a View is under way. An error of Apply or Restore is final: the instance serves nothing any more until its program starts anew.
type LogState = wal.State

// Log is the write-ahead log of a singleton: its data. They are on every node that the app is prepared on, close behind the active, and
// move with it: an instance becomes active only after everything that was ever acknowledged is in its state, whether the one before
// stepped down, was cut off or burned. It is safe for concurrent use.
type Log struct {
	app   *Application
	state LogState
	every int

	mu    sync.Mutex
	end   *wal.Log // nil until an instance has begun here
	epoch uint64   // of the active here, 0 for none
}

// LogOption says something about a Log.
type LogOption func(*Log)

// SnapshotEvery is after how many records the state is stored and the records before it go; 10000 unless set.
func SnapshotEvery(records int) LogOption {
	return func(l *Log) {
		if records < 1 {
			l.app.fault("SnapshotEvery %d: want at least 1", records)
		}
		l.every = records
	}
}

// Log gives a singleton a log that its state is made of. The state must be empty. It is called once, before Run.
func (a *Application) Log(s LogState, options ...LogOption) *Log {
	l := &Log{app: a, state: s}
	for _, o := range options {
		o(l)
	}
	if s == nil {
		a.fault("Log: no state")
	}
	a.on("Log", func() {
		if a.log != nil {
			a.faults = append(a.faults, "Log: it has one")
		}
		if a.data != nil {
			a.faults = append(a.faults, "Log: it has "+a.data.What+": its data are in one place")
		}
		a.log, a.spec.Log = l, true
	})
	return l
}

// Append stores a record and returns its sequence once it is stored and applied: from then on nothing takes it away. Records of one app
// are in one order. Where this node may not write it returns ErrFenced, and ErrTimeout when ctx ended before it was known whether the
// record is stored: it is in the state once, later, or never. On every other error nothing was stored. A step-down waits for it: give
// ctx an end.
func (l *Log) Append(ctx context.Context, record []byte) (seq uint64, err error) {
	err = l.app.Write(ctx, func(ctx context.Context) error {
		end, epoch := l.active()
		if end == nil {
			return api.Refuse(api.CodeFenced, "%s has not begun to write its log here", l.app.name)
		}
		var err error
		seq, err = end.Append(ctx, epoch, record)
		return logError(err)
	})
	return seq, err
}

// View calls f with a state that has everything acknowledged before the call, on the active. After an error, what f has seen is not to
// be used: this node may not be the active any more.
func (l *Log) View(ctx context.Context, f func()) error {
	if err := l.app.Fence(ctx); err != nil {
		return err
	}
	end, _ := l.active()
	if end == nil {
		return api.Refuse(api.CodeFenced, "%s has not begun to write its log here", l.app.name)
	}
	if err := end.View(f); err != nil {
		return logError(err)
	}
	return l.app.Fence(ctx) // a program that was stopped in between saw the past
}

// active returns the log of the active here, nil when there is none.
func (l *Log) active() (*wal.Log, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == 0 {
		return nil, 0
	}
	return l.end, l.epoch
}

func (l *Log) become(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
}

func logError(err error) error {
	code := api.CodeUnavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrFenced):
		code = api.CodeFenced
	case errors.Is(err, wal.ErrUnknown):
		code = api.CodeTimeout
	case errors.Is(err, nats.ErrMaxPayload):
		code = api.CodeInvalid
	}
	return typed(err, code)
}

// around has the app's functions know whether its log may be written. What there is in it is the business of the agent, which has it begin an
// epoch before the instance serves.
func (l *Log) around(code embedded.App) embedded.App {
	start, standby, active := code.OnStart, code.OnStandby, code.OnActive
	code.OnStart = func(ctx context.Context) error {
		l.become(0)
		return optional(start)(ctx)
	}
	code.OnStandby = func(ctx context.Context) error {
		err := optional(standby)(ctx)
		if epoch, stepsDown := Epoch(ctx); stepsDown {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.epoch == epoch {
				l.epoch = 0
			}
		}
		return err
	}
	code.OnActive = func(ctx context.Context) error {
		epoch, _ := Epoch(ctx)
		l.become(epoch)
		return optional(active)(ctx)
	}
	return code
}

func optional(f embedded.Func) embedded.Func {
	if f == nil {
		return func(context.Context) error { return nil }
	}
	return f
}

// open opens the log when it is first wanted here. Later instances go on with the state that is there.
func (l *Log) open(ctx context.Context) (*wal.Log, error) {
	l.mu.Lock()
	have := l.end
	l.mu.Unlock()
	if have != nil {
		return have, have.View(func() {})
	}
	p := l.app.platform
	nc, err := p.conn(ctx)
	if err != nil {
		return nil, err
	}
	end, err := wal.Open(ctx, wal.Config{NC: nc, Cluster: p.cluster, App: l.app.name, State: l.state, SnapshotEvery: l.every,
		Log: zap.New(handlerCore{p.log.Handler()})})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end == nil { // an earlier call may have been late
		l.end = end
	}
	return l.end, nil
}
