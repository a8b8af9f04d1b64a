package invariants

import (
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// leg is one step of a plan: where it is done and what ends it well.
type leg struct {
	step   events.Step
	source bool
	end    ending
}

type ending int

const (
	completed ending = iota // step.completed, which orders the next
	granted                 // leadership.granted
	activated               // leadership.activated
	last                    // migration.completed
	released                // leadership.released
)

type route struct {
	mode spec.Mode
	kind string
}

// routes is what every kind of move has to go through.
var routes = map[route][]leg{
	{spec.Singleton, events.KindMove}: {{events.StepPrepare, false, completed}, {events.StepStepDown, true, granted},
		{events.StepPersist, false, activated}, {events.StepActivate, false, last}},
	{spec.Singleton, events.KindPlace}:   {{events.StepPrepare, false, granted}, {events.StepPersist, false, activated}, {events.StepActivate, false, last}},
	{spec.Singleton, events.KindInPlace}: {{events.StepStepDown, true, granted}, {events.StepPersist, false, activated}, {events.StepActivate, false, last}},
	{spec.Singleton, events.KindStop}:    {{events.StepStepDown, true, released}},
	{spec.Replicas, events.KindMove}:     {{events.StepStart, false, completed}, {events.StepStop, true, last}},
	{spec.Replicas, events.KindPlace}:    {{events.StepStart, false, last}},
	{spec.Replicas, events.KindInPlace}:  {{events.StepStop, true, completed}, {events.StepStart, false, last}},
	{spec.Replicas, events.KindStop}:     {{events.StepStop, true, last}},
	{spec.Spread, events.KindPlace}:      {{events.StepStart, false, last}}, // and none moves
	{spec.Spread, events.KindInPlace}:    {{events.StepStop, true, completed}, {events.StepStart, false, last}},
	{spec.Spread, events.KindStop}:       {{events.StepStop, true, last}},
}

// replicated is what is otherwise where the app's data are replicated.
var replicated = map[string][]leg{
	events.KindMove: {{events.StepPrepare, false, completed}, {events.StepSync, true, completed}, {events.StepCatchUp, false, completed},
		{events.StepStepDown, true, completed}, {events.StepApply, false, granted}, {events.StepPersist, false, activated}, {events.StepActivate, false, last}},
	events.KindPlace: {{events.StepPrepare, false, completed}, {events.StepRecover, false, granted}, {events.StepPersist, false, activated},
		{events.StepActivate, false, last}},
	events.KindInPlace: {{events.StepSync, true, completed}, {events.StepStepDown, true, granted}, {events.StepPersist, false, activated}, {events.StepActivate, false, last}},
}

// shared is what is otherwise where the data are one history that all nodes read, unless the target has applied the rest first, as in earlier versions.
var shared = []leg{{events.StepPrepare, false, completed}, {events.StepSync, true, completed}, {events.StepCatchUp, false, completed},
	{events.StepStepDown, true, granted}, {events.StepPersist, false, activated}, {events.StepActivate, false, last}}

// back is what a way back is made of, at the source, but for the step-down of whoever holds the epoch.
var back = []leg{{events.StepStepDown, true, granted}, {events.StepPersist, true, activated}, {events.StepActivate, true, last}}

// find returns the position of a step, -1 for none.
func find(legs []leg, s events.Step) int {
	for i, l := range legs {
		if l.step == s {
			return i
		}
	}
	return -1
}

// legs returns what a move of the app has to go through, with the hooks that the app has, or that is being called.
func (m *move) legs(a *app) []leg {
	legs := routes[route{a.spec.Mode, m.Kind()}]
	if other := replicated[m.Kind()]; other != nil && a.spec.Replicated() {
		legs = other
	}
	if m.Standby() {
		return standing[m.Kind()]
	}
	if m.Kind() != events.KindMove && m.Kind() != events.KindInPlace || len(legs) == 0 {
		return legs
	}
	has := func(hook string, s events.Step) bool {
		_, declared := a.spec.Hooks[hook]
		return declared || m.order != nil && m.order.Step == s
	}
	if has(spec.HookMigrationStart, events.StepMigrationStart) {
		legs = append([]leg{{events.StepMigrationStart, true, completed}}, legs...)
	}
	if has(spec.HookMigrationComplete, events.StepMigrationComplete) {
		legs = slices.Clone(legs)
		legs[len(legs)-1].end = completed
		legs = append(legs, leg{events.StepMigrationComplete, false, last})
	}
	return legs
}

// leaves says whether an event grants the epoch of data that all nodes read to the target right after the source has stepped down.
func (m *move) leaves(a *app, e *events.Event) bool {
	d, grants := e.Data.(*events.LeadershipGranted)
	return grants && !d.Undo && a.spec.Shared() && m.Kind() == events.KindMove && m.order != nil && m.order.Step == events.StepStepDown
}

// first returns the order that opens a move.
func (m *move) first(a *app) (leg, bool) {
	legs := m.legs(a)
	if len(legs) == 0 {
		return leg{}, false
	}
	return legs[0], true
}

// end returns the node and the incarnation at one end of a move.
func (m *move) end(source bool) (node, inc string) {
	if source {
		return m.From, m.FromInc
	}
	return m.To, m.ToInc
}
