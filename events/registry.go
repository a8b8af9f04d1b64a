package events

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unsafe"
)

// Services, the only writers of events.
const (
	Labeler    = "labeler"
	Planner    = "planner"
	Migrator   = "migrator"
	Rebalancer = "rebalancer"
	Auditor    = "auditor"
)

// Row is what the registry knows of an event type.
type Row struct {
	Type      Type
	Version   int    // newest version written and read
	Aggregate Kind   // the only kind of aggregate it may stand on
	Writer    string // the service that writes it; "" where each service does
	Doc       string // one sentence
	payload   reflect.Type
	pointer   reflect.Type                 // to it
	form      form                         // of the payload; nil where it has none
	write     writing                      // the same
	fresh     func() (any, unsafe.Pointer) // an empty payload, and where it is
	words     string                       // what the type is in an envelope
}

// New returns an empty payload of the type, a pointer.
func (r Row) New() any { return reflect.New(r.payload).Interface() }

// registry has one row per type. Adding a type is adding a row here, a payload struct, a golden file and a case in the fold.
var registry, typeOf = index(
	row[NodeJoined]("node.membership.joined", KindNode, Labeler, "A node's agent holds its lease and declared itself."),
	row[NodeSuspected]("node.membership.suspected", KindNode, Labeler, "A node was silent for too long; its lease is closed."),
	row[NodeLost]("node.membership.lost", KindNode, Labeler, "An incarnation of a node is over; everything it ran is ended."),
	row[NodeLeft]("node.membership.left", KindNode, Labeler, "A node was removed by an operator."),
	row[NodeFactsUpdated]("node.facts.updated", KindNode, Labeler, "Capacity, address or versions of a node changed."),
	row[NodeLabelsUpdated]("node.labels.updated", KindNode, Labeler, "A node's labels changed."),
	row[NodeCordoned]("node.scheduling.cordoned", KindNode, Labeler, "Nothing new is placed on the node."),
	row[NodeUncordoned]("node.scheduling.uncordoned", KindNode, Labeler, "The node takes placements again."),
	row[DrainStarted]("node.drain.started", KindNode, Planner, "Everything leaves the node; it counts as cordoned from here on."),
	row[DrainCompleted]("node.drain.completed", KindNode, Planner, "Nothing is left on the node."),
	row[DrainFailed]("node.drain.failed", KindNode, Planner, "The drain's time was up; what is left serves on."),
	row[DrainCancelled]("node.drain.cancelled", KindNode, Planner, "An operator called the drain off; the node stays cordoned."),

	row[AppApplied]("app.spec.applied", KindApp, Planner, "An app's spec was declared or changed."),
	row[PlacementUpdated]("app.placement.updated", KindApp, Planner, "The rules for where an app may run were replaced while it runs."),
	row[AppRemoved]("app.spec.removed", KindApp, Planner, "An app is no longer wanted; its instances stop."),
	row[AppRestartRequested]("app.restart.requested", KindApp, Planner, "Every instance of the app is to be replaced by a fresh one."),

	row[PlacementInvalid]("placement.constraint.invalid", KindApp, Planner, "Instances of the app have no node to go to; it is Pending."),
	row[PlacementSatisfied]("placement.constraint.satisfied", KindApp, Planner, "The app is no longer Pending."),
	row[CancelRequested]("placement.migration.cancel_requested", KindApp, Planner, "A started migration is to be given up while that is possible."),
	row[MigrationPlanned]("placement.migration.planned", KindApp, Planner, "A move is proposed that an operator has to approve of."),
	row[MigrationHeld]("placement.migration.held", KindApp, Planner, "Guardrails hold a move; it says which, with their numbers."),
	row[MigrationApproved]("placement.migration.approved", KindApp, Planner, "An operator approved of a proposed move."),
	row[MigrationDenied]("placement.migration.denied", KindApp, Planner, "An operator refused a proposed move."),
	row[MigrationExpired]("placement.migration.expired", KindApp, Planner, "A proposed move was not approved of in time, or not admitted before its approval ended."),
	row[MigrationCancelled]("placement.migration.cancelled", KindApp, Planner, "A proposed move is not wanted any more."),
	row[MigrationStarted]("placement.migration.started", KindApp, Migrator, "An admitted move was judged again and its first step ordered."),
	row[MigrationCompleted]("placement.migration.completed", KindApp, Migrator, "A migration reached its end."),
	row[MigrationFailed]("placement.migration.failed", KindApp, Migrator, "A migration ended without reaching its end; it says what became of the instance."),
	row[StepRequested]("placement.step.requested", KindApp, Migrator, "A step is ordered again, or an undo is ordered."),
	row[StepCompleted]("placement.step.completed", KindApp, Migrator, "A step ended well; it orders the next."),
	row[StepFailed]("placement.step.failed", KindApp, Migrator, "A node reported that a step failed; it orders what follows."),
	row[StepTimedOut]("placement.step.timed_out", KindApp, Migrator, "A step's time was up without a report; it orders what follows."),
	row[LeadershipGranted]("placement.leadership.granted", KindApp, Migrator, "A node's incarnation may become active under a new epoch: the commit of a singleton's move."),
	row[LeadershipActivated]("placement.leadership.activated", KindApp, Migrator, "The node has persisted the epoch; from here on it may serve."),
	row[LeadershipReleased]("placement.leadership.released", KindApp, Migrator, "The holder of an epoch has ended it."),
	row[HookAnswered]("app.hook.answered", KindApp, Planner, "A hook that is no step of a migration was called on a node, and ended."),
	row[DataLost]("placement.data.lost", KindApp, Migrator, "A node that came back has data that its successor did not begin with; they are set aside there."),
	row[InstanceUnhealthy]("placement.instance.unhealthy", KindApp, Migrator, "A running instance stopped passing its health check or ended."),
	row[InstanceHealthy]("placement.instance.healthy", KindApp, Migrator, "An unhealthy instance passes again."),
	row[InstanceFailed]("placement.instance.failed", KindApp, Migrator, "A node gave an instance up: its restarts are used up."),
	row[InstanceStopped]("placement.instance.stopped", KindApp, Migrator, "An instance is gone from its node outside a migration."),

	row[PlanAdmitted]("placement.plan.admitted", KindCluster, Planner, "Moves took their places: the one point at which places and budgets are given out."),
	row[EvacuationStarted]("placement.evacuation.started", KindCluster, Planner, "Everything leaves the nodes that match a selector."),
	row[EvacuationCompleted]("placement.evacuation.completed", KindCluster, Planner, "An evacuation ended, by success or by its timeout."),
	row[EvacuationCancelled]("placement.evacuation.cancelled", KindCluster, Planner, "An evacuation was called off; what has not left stays."),
	row[PolicyUpdated]("cluster.policy.updated", KindCluster, Planner, "The policy changed."),
	row[MovesFrozen]("cluster.moves.frozen", KindCluster, "", "Moves are frozen by a source; each source lifts its own."),
	row[MovesUnfrozen]("cluster.moves.unfrozen", KindCluster, "", "A source's freeze is over."),
	row[RebalanceTriggered]("placement.rebalance.triggered", KindCluster, Rebalancer, "Moves are proposed that even the cluster out."),
	row[RebalanceCompleted]("placement.rebalance.completed", KindCluster, Rebalancer, "Every proposed move has ended, or it was stopped."),

	row[RequestRefused]("placement.request.refused", KindRequest, "", "A well-formed command or report was refused."),

	row[InvariantViolated]("audit.invariant.violated", KindAudit, Auditor, "The log breaks a law that always holds."),
)

func row[T any](t Type, agg Kind, writer, doc string) Row {
	fresh := func() (any, unsafe.Pointer) {
		data := new(T)
		return data, unsafe.Pointer(data)
	}
	return Row{Type: t, Version: 1, Aggregate: agg, Writer: writer, Doc: doc, payload: reflect.TypeFor[T](), pointer: reflect.TypeFor[*T](),
		form: formOf(reflect.TypeFor[T]()), write: writingOf(reflect.TypeFor[T]()), fresh: fresh,
		words: `,"category":"` + t.Category() + `","action":"` + t.Action() + `"`}
}

func index(rows ...Row) (map[Type]*Row, map[reflect.Type]Type) {
	byType, byPayload := make(map[Type]*Row), make(map[reflect.Type]Type)
	for _, r := range rows {
		byType[r.Type], byPayload[r.pointer] = &r, r.Type
	}
	return byType, byPayload
}

// Registry returns every known type, ordered by name.
func Registry() []Row {
	rows := make([]Row, 0, len(registry))
	for _, t := range slices.Sorted(maps.Keys(registry)) {
		rows = append(rows, *registry[t])
	}
	return rows
}

// TypeOf returns the type of a payload, which must be a pointer to a registered struct.
func TypeOf(payload any) (Type, error) {
	t, ok := typeOf[reflect.TypeOf(payload)]
	if !ok {
		return "", fmt.Errorf("%T is not the payload of any event type", payload)
	}
	return t, nil
}
