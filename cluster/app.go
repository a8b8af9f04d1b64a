package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/cluster/internal/attach"
	"github.com/go-cluster/go-cluster/spec"
)

// Application is an app whose code is part of this program.
type Application struct {
	name string

	mu       sync.Mutex
	spec     spec.App
	faults   []string
	code     embedded.App
	platform *Platform
	log      *Log         // nil for none
	data     *attach.Data // nil for none
	fixed    bool         // Run has begun: its functions are known
}

// AppOption says something about an app: how many instances it has, and with a Constraint where they may run.
type AppOption interface{ option(*Application) }

type appOption func(*Application)

func (f appOption) option(a *Application) { f(a) }

// App describes an app. It becomes part of a node with Platform.Register. Without a mode it is refused there.
func App(name string, options ...AppOption) *Application {
	a := &Application{name: name, spec: spec.App{Name: name}, code: embedded.App{Name: name}}
	for _, o := range options {
		if o == nil {
			a.fault("an option is nil")
			continue
		}
		o.option(a)
	}
	return a
}

// Name returns the app's name.
func (a *Application) Name() string { return a.name }

func (a *Application) fault(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, fmt.Sprintf(format, args...))
}

func mode(m spec.Mode, more func(*spec.App)) AppOption {
	return appOption(func(a *Application) {
		if a.spec.Mode != "" {
			a.fault("it has two modes, %s and %s", a.spec.Mode, m)
		}
		a.spec.Mode = m
		if more != nil {
			more(&a.spec)
		}
	})
}

// Singleton has one active instance at most, guarded by an epoch: when it moves, the new place is prepared, the old one steps down,
// and only then does the new one serve.
func Singleton() AppOption { return mode(spec.Singleton, nil) }

// Standbys has n further instances of a singleton on other nodes run as standbys, ready to take over: each is started and told OnStandby, and
// the one where the singleton moves, or is taken over, is told OnActive. Who has stepped down in a move stays as a standby.
func Standbys(n int) AppOption {
	return appOption(func(a *Application) { a.spec.Standbys = n })
}

// Spread has one instance on every eligible node. They never move: one begins where a node becomes eligible and stops where a node
// no longer is.
func Spread() AppOption { return mode(spec.Spread, nil) }

// Replicas has n equal instances, at most one on a node. When one moves, the new one runs before the old one stops.
func Replicas(n int) AppOption {
	return mode(spec.Replicas, func(a *spec.App) { a.Replicas = &n })
}

// Pool is another word for Replicas.
func Pool(n int) AppOption { return Replicas(n) }

// StepTimeout is how long each step of a move may take; 1 min unless set.
func StepTimeout(d time.Duration) AppOption {
	return appOption(func(a *Application) { a.spec.Migration.StepTimeout = a.duration("StepTimeout", d) })
}

// MinHealthyTime is how long a new instance of a pool must have been running before the old one stops.
func MinHealthyTime(d time.Duration) AppOption {
	return appOption(func(a *Application) { a.spec.Migration.MinHealthyTime = a.duration("MinHealthyTime", d) })
}

// MaxParallel is how many instances of the app may move at once; 1 unless set.
func MaxParallel(n int) AppOption {
	return appOption(func(a *Application) {
		if n < 1 {
			a.fault("MaxParallel %d: want at least 1", n)
		}
		a.spec.Migration.MaxParallel = n
	})
}

// KeepWhenInvalid lets an instance serve on whose rules broke while no other node can take it. Without it, it stops.
func KeepWhenInvalid() AppOption {
	return appOption(func(a *Application) { a.spec.OnInvalid = spec.OnInvalidKeep })
}

// ContinueInIsolation lets instances go on on a node that has lost its lease. A singleton is then never taken over until somebody
// confirms that its machine is off.
func ContinueInIsolation() AppOption {
	return appOption(func(a *Application) { a.spec.OnIsolation = spec.OnIsolationContinue })
}

// AppLabels labels the app itself, for selecting apps.
func AppLabels(labels map[string]string) AppOption {
	return appOption(func(a *Application) { a.spec.Labels = labels })
}

func (a *Application) duration(option string, d time.Duration) spec.Duration {
	if d <= 0 {
		a.fault("%s %s: want more than 0", option, d)
	}
	return spec.Duration(d)
}

// bind makes the app part of a platform, and returns everything that is wrong with it.
func (a *Application) bind(p *Platform) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	faults := slices.Clone(a.faults)
	if a.platform != nil && a.platform != p {
		faults = append(faults, "it is registered with another platform")
	}
	a.platform = p
	if err := a.spec.ValidateDeclared(); err != nil {
		faults = append(faults, err.Error())
	} else if no := a.spec.Unsupported(); len(no) > 0 {
		faults = append(faults, no[0].Field+": "+no[0].Detail)
	}
	return faults
}

// build returns the app as the node runs and declares it.
func (a *Application) build() (embedded.App, spec.App) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fixed = true
	s := a.spec
	if a.platform != nil && a.platform.limit != DefaultHookTimeout {
		s.Hooks = maps.Clone(s.Hooks)
		for name := range s.Hooks {
			s.Hooks[name] = spec.HookRef{Timeout: spec.Duration(a.platform.limit)}
		}
		if s.Migration.StepTimeout == 0 && a.platform.limit > DefaultHookTimeout {
			s.Migration.StepTimeout = spec.Duration(2 * a.platform.limit) // a step calls two functions at most
		}
	}
	if a.log != nil {
		return a.log.around(a.code), s
	}
	if a.data != nil {
		return a.data.Around(a.code), s
	}
	return a.code, s
}

// on sets a function, which is only possible before Run.
func (a *Application) on(name string, set func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fixed {
		why := fmt.Sprintf("app %s: %s is set after Run", a.name, name)
		a.platform.fault("%s", why)
		return
	}
	set()
}

// OnStart is called when an instance begins on this node, before it takes any role. The context ends when the instance is to leave the
// node, right before OnStop. It returns soon: what goes on is a goroutine that ends with the context.
func (a *Application) OnStart(f func(context.Context) error) {
	a.on("OnStart", func() { a.code.OnStart = f })
}

// OnActive is called when the instance of a singleton serves, under a new epoch. The context ends when it steps down, and carries
// the epoch (see Epoch, Fence and Write). It returns soon: what goes on is a goroutine that ends with the context.
func (a *Application) OnActive(f func(context.Context) error) {
	a.on("OnActive", func() { a.code.OnActive = f })
}

// OnStandby is called when the instance of a singleton is prepared, and when it steps down: then its OnActive context has ended, it
// may still write what is left to be written until OnStandby returns, and the epoch is handed on after that. The context ends when
// it becomes active again or leaves the node.
func (a *Application) OnStandby(f func(context.Context) error) {
	a.on("OnStandby", func() { a.code.OnStandby = f })
}

// OnStop is called when an instance leaves this node, also when Run ends: the contexts of all its other functions have ended, and it
// may wait for what they began. Its context is for the call only. An active instance may
// write until it returns, unless it is the lease that has ended.
func (a *Application) OnStop(f func(context.Context) error) {
	a.on("OnStop", func() { a.code.OnStop = f })
}

// OnMigrationStart is called on the node that an instance is about to leave, before anything is done. An error refuses the move: it is
// recorded, and the app is asked again after a minute (see RetryAfter), or when something else wants it to move. So does a hook that
// does not return in time or panics. A move with Force is made whatever it says.
func (a *Application) OnMigrationStart(f func(ctx context.Context, from, to string) error) {
	a.hook(spec.HookMigrationStart, func() { a.code.OnMigrationStart = f })
}

// OnMigrationComplete is called on the node that an instance has moved to, once it serves there. What it returns is recorded and
// changes nothing.
func (a *Application) OnMigrationComplete(f func(ctx context.Context, from, to string) error) {
	a.hook(spec.HookMigrationComplete, func() { a.code.OnMigrationComplete = f })
}

// OnPlacementInvalid is called when the app has an instance that no node can take: on the nodes where the app runs, or on every node
// that registers it where it runs nowhere. What it returns is recorded and changes nothing.
func (a *Application) OnPlacementInvalid(f func(ctx context.Context, reason string) error) {
	a.hook(spec.HookPlacementInvalid, func() { a.code.OnPlacementInvalid = f })
}

func (a *Application) hook(name string, set func()) {
	a.on(name, func() {
		if a.spec.Hooks == nil {
			a.spec.Hooks = map[string]spec.HookRef{}
		}
		a.spec.Hooks[name] = spec.HookRef{}
		set()
	})
}

type retryAfter struct {
	error
	after time.Duration
}

func (r retryAfter) RetryAfter() time.Duration { return r.after }
func (r retryAfter) Unwrap() error             { return r.error }

// RetryAfter is what an OnMigrationStart returns to say when it may be asked again.
func RetryAfter(err error, after time.Duration) error { return retryAfter{err, after} }
