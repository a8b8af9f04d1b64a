package migrator

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// side is the end of a move at which a step happens.
type side int

const (
	source side = iota
	target
)

// ending is the event that ends a step which was done, and orders the next. The last step of a row ends with
// migration.completed, unless it releases.
type ending int

const (
	completes ending = iota // step.completed
	grants                  // leadership.granted: the commit of a singleton's move
	activates               // leadership.activated
	releases                // leadership.released; nothing is ordered after it
)

// undo is what it takes to return to the source once a step has been ordered.
type undo int

const (
	nothing   undo = iota // the source serves; the agent of the target cleans up by itself
	grantBack             // the source may have stepped down: it serves again only under a new epoch
)

// step is one act of a strategy.
type step struct {
	Name    events.Step
	On      side
	Timeout func(spec.App) time.Duration
	Ends    ending
	Undo    undo
	Commit  bool // done, there is no way back but forward
	Judge   bool // the move is judged once more when this step is done, before anything irrevocable is ordered
	// Attempts is how often the step is ordered, 0 counting as 1, before a missing report fails it.
	Attempts int
	// Hook is the app's hook that the step calls; it is left out where the app has none.
	Hook string
	// Insist says that nothing but the step's end will do: it is repeated, whatever is reported, until it is done or its node lost.
	Insist bool
}

// Every step, in its most common form.
var (
	prepare  = step{Name: events.StepPrepare, On: target, Timeout: stepTime, Judge: true}
	syncing  = step{Name: events.StepSync, On: source, Timeout: stepTime, Attempts: 2}
	catchUp  = step{Name: events.StepCatchUp, On: target, Timeout: stepTime, Judge: true}
	stepDown = step{Name: events.StepStepDown, On: source, Timeout: stopTime, Ends: grants, Undo: grantBack, Commit: true}
	apply    = step{Name: events.StepApply, On: target, Timeout: stepTime, Ends: grants, Commit: true}
	recovers = step{Name: events.StepRecover, On: target, Timeout: stepTime, Ends: grants, Commit: true, Judge: true, Attempts: 2}
	persist  = step{Name: events.StepPersist, On: target, Timeout: stepTime, Ends: activates, Attempts: 3}
	activate = step{Name: events.StepActivate, On: target, Timeout: stepTime, Attempts: 3}
	start    = step{Name: events.StepStart, On: target, Timeout: startTime, Commit: true}
	stop     = step{Name: events.StepStop, On: source, Timeout: stopTime}

	hookStart    = step{Name: events.StepMigrationStart, On: source, Timeout: hookTime(spec.HookMigrationStart), Hook: spec.HookMigrationStart}
	hookComplete = step{Name: events.StepMigrationComplete, On: target, Timeout: hookTime(spec.HookMigrationComplete), Hook: spec.HookMigrationComplete}
)

// with returns a variation of a step.
func (s step) with(change func(*step)) step {
	change(&s)
	return s
}

// row names a strategy.
type row struct {
	Mode spec.Mode
	Kind string
}

// strategies has the steps of every kind of move. Later parts are rows between these: the balancer after start and before stop, partitions as rows of their own mode.
//
// A step-down ends the process and keeps its data, so that a singleton's source needs no stop step.
var strategies = map[row][]step{
	{spec.Singleton, events.KindMove}: {hookStart, prepare, stepDown, persist, activate, hookComplete},
	{spec.Singleton, events.KindPlace}: {
		prepare.with(func(s *step) { s.Ends, s.Commit = grants, true }),
		persist, activate,
	},
	{spec.Singleton, events.KindInPlace}: {hookStart, stepDown, persist, activate, hookComplete},
	{spec.Singleton, events.KindStop}: {
		stepDown.with(func(s *step) { s.Ends, s.Commit, s.Insist = releases, false, true }),
	},
	{spec.Replicas, events.KindMove}:  {hookStart, start.with(func(s *step) { s.Judge = true }), stop, hookComplete},
	{spec.Replicas, events.KindPlace}: {start},
	{spec.Replicas, events.KindInPlace}: { // once it has been stopped there is only one way
		hookStart,
		stop.with(func(s *step) { s.Commit, s.Attempts = true, 3 }),
		start, hookComplete,
	},
	{spec.Replicas, events.KindStop}: {stop.with(func(s *step) { s.Attempts = 3 })},
}

// replicated has what is otherwise for a singleton whose data are replicated. Its copy is made while the source serves, and what the
// source leaves is applied exactly before anybody is granted anything; with nobody to ask, the newest that is known is recovered.
var replicated = map[string][]step{
	events.KindMove: {
		hookStart,
		prepare.with(func(s *step) { s.Judge = false }),
		syncing, catchUp,
		stepDown.with(func(s *step) { s.Ends, s.Commit = completes, false }),
		apply, persist, activate, hookComplete,
	},
	events.KindPlace: {
		prepare.with(func(s *step) { s.Judge = false }),
		recovers, persist, activate,
	},
	// What cannot be shipped is found out while the source serves, and not by stopping it again and again.
	events.KindInPlace: {hookStart, syncing, stepDown, persist, activate, hookComplete},
}

// shared has what is otherwise again where the data are one history that every node reads. The target cannot have another than was left, so that it is
// granted the epoch at once, and what was left is applied before it is persisted: the order to persist says up to where.
var shared = map[string][]step{
	events.KindMove: {hookStart, prepare.with(func(s *step) { s.Judge = false }), syncing, catchUp, stepDown, persist, activate, hookComplete},
}

// standing has the steps of a standby: it is made ready to follow the data, which takes no longer however many they are, and it ends. Nobody
// is granted anything.
var standing = map[string][]step{
	events.KindPlace: {prepare.with(func(s *step) { s.Judge = false })},
	events.KindStop:  {stop.with(func(s *step) { s.Attempts = 3 })},
}

// An instance of a spread app begins, is restarted and stops as one of a pool, and never moves.
func init() {
	for _, kind := range []string{events.KindPlace, events.KindInPlace, events.KindStop} {
		strategies[row{spec.Spread, kind}] = strategies[row{spec.Replicas, kind}]
	}
}

// Ways back, ordered with Next.Undo. wayBack follows a grant to the source; giveBack makes a holder that cannot serve end its
// epoch, without which nobody else may be granted one.
var (
	wayBack = []step{
		persist.with(func(s *step) { s.On = source }),
		activate.with(func(s *step) { s.On = source }),
	}
	giveBack = stepDown.with(func(s *step) { s.Ends, s.Commit, s.Insist = releases, false, true })
)

// stepsOf returns the steps of a migration: those of its row, without the hooks that the app does not have. A hook that has been
// called, or is being called, stays whatever the app has become.
func stepsOf(a *projections.App, m *projections.Migration) []step {
	steps := strategies[row{a.Spec.Mode, m.Kind}]
	if other := replicated[m.Kind]; other != nil && a.Spec.Replicated() {
		steps = other
	}
	applies := m.Order != nil && m.Order.Step == apply.Name || m.Failure != nil && m.Failure.Step == apply.Name // begun by an earlier version
	if other := shared[m.Kind]; other != nil && a.Spec.Shared() && !applies {
		steps = other
	}
	if m.Standby() {
		steps = nil
		if a.Spec.Mode == spec.Singleton {
			steps = standing[m.Kind]
		}
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool {
		_, has := a.Spec.Hooks[s.Hook]
		called := m.Order != nil && m.Order.Step == s.Name || m.Failure != nil && m.Failure.Step == s.Name
		return s.Hook != "" && !has && !called
	})
}

// find returns the position of a step in a row, -1 when it has none.
func find(steps []step, name events.Step) int {
	for i, s := range steps {
		if s.Name == name {
			return i
		}
	}
	return -1
}

// committed says whether a row is past its commit while the step at i is open.
func committed(steps []step, i int) bool {
	for _, s := range steps[:max(i, 0)] {
		if s.Commit {
			return true
		}
	}
	return false
}

// hookTime leaves the agent a little more than the hook has, to say how it ended.
func hookTime(hook string) func(spec.App) time.Duration {
	return func(a spec.App) time.Duration { return a.Hooks[hook].Timeout.D() + 5*time.Second }
}

func stepTime(a spec.App) time.Duration { return a.Migration.StepTimeout.D() }

// startTime leaves a new member of a pool the time that it must have been healthy.
func startTime(a spec.App) time.Duration {
	return a.Migration.StepTimeout.D() + a.Migration.MinHealthyTime.D()
}

// stopTime leaves a program the time to end that its spec promises it, and the agent a step's time around that.
func stopTime(a spec.App) time.Duration {
	t := a.Migration.StepTimeout.D()
	if a.Process != nil {
		t += a.Process.StopTimeout.D()
	}
	return t
}
