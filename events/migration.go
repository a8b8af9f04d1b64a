package events

import (
	"time"

	"github.com/go-cluster/go-cluster/spec"
)

// Why an instance moves.
const (
	ReasonLabelChange      = "label_change"
	ReasonManual           = "manual"
	ReasonDrain            = "drain"
	ReasonEvacuate         = "evacuate"
	ReasonRebalance        = "rebalance"
	ReasonConstraintUpdate = "constraint_update"
	ReasonSpecUpdate       = "spec_update"
	ReasonScale            = "scale"
	ReasonInstanceFailed   = "instance_failed"
	ReasonNodeJoin         = "node_join"
	ReasonNodeLost         = "node_lost"
)

// Reasons lists every reason, in the order above.
func Reasons() []string {
	return []string{ReasonLabelChange, ReasonManual, ReasonDrain, ReasonEvacuate, ReasonRebalance, ReasonConstraintUpdate,
		ReasonSpecUpdate, ReasonScale, ReasonInstanceFailed, ReasonNodeJoin, ReasonNodeLost}
}

// Who wanted a move.
const (
	TriggerAutomatic = "automatic"
	TriggerManual    = "manual"
)

// Class ranks moves: recovery goes before anything else and is never held.
type Class string

// Classes, most urgent first.
const (
	ClassRecovery   Class = "recovery"   // an instance is missing
	ClassForced     Class = "forced"     // a hard rule broke, or an order stands
	ClassRepair     Class = "repair"     // a changed definition rolls out, or room is made for what has none
	ClassBalance    Class = "balance"    // evens out
	ClassPreference Class = "preference" // nicer, not needed
)

// Kind of a migration by its ends.
const (
	KindPlace   = "place"   // from nowhere to a node
	KindMove    = "move"    // from a node to another
	KindStop    = "stop"    // from a node to nowhere
	KindInPlace = "inplace" // stop and start on the same node
)

// Ref is the part that every migration.* event's data shares.
type Ref struct {
	Migration string `json:"migration"`
	Instance  string `json:"instance"`
	FromNode  string `json:"from_node"` // "" for a first placement
	ToNode    string `json:"to_node"`   // "" for a stop
	Reason    string `json:"reason"`
	Trigger   string `json:"trigger"`
}

// Reference returns what an event's data say of a migration, where they have a Ref.
func (r Ref) Reference() Ref { return r }

// Move is one admitted move. A missing end is "".
type Move struct {
	Migration   string `json:"migration"`
	App         string `json:"app"`
	Instance    string `json:"instance"`
	SpecRev     uint64 `json:"spec_rev"` // the move is pinned to it
	From        string `json:"from"`
	FromInc     string `json:"from_inc,omitzero"`
	To          string `json:"to"`
	ToInc       string `json:"to_inc,omitzero"`
	Reason      string `json:"reason"`
	Trigger     string `json:"trigger"`
	Class       Class  `json:"class"`
	Forced      bool   `json:"forced,omitzero"`       // an operator overrode guardrails
	Order       string `json:"order,omitzero"`        // drain, evacuation or rebalance it belongs to
	DeleteLocal bool   `json:"delete_local,omitzero"` // the source's data goes after the move
	Cause       string `json:"cause"`
	Correlation string `json:"correlation"`
	Why         string `json:"why,omitzero"`      // for people: what forced it, or what it gains
	Approved    string `json:"approved,omitzero"` // event by which an operator approved of it
	Role        string `json:"role,omitzero"`     // RoleStandby: what is placed or ends is a standby, and not the app's instance
	Keep        bool   `json:"keep,omitzero"`     // the source stays as a standby
	Sync        bool   `json:"sync,omitzero"`     // in the move's final phase a commit is acknowledged only once it is stored
}

// RoleStandby is the role of a move whose instance is a warm standby: it is given a place and a copy of the data, and serves nobody.
const RoleStandby = "standby"

// Standby says whether what moves is a standby.
func (m Move) Standby() bool { return m.Role == RoleStandby }

// Ref returns what the move's events share.
func (m Move) Ref() Ref {
	return Ref{Migration: m.Migration, Instance: m.Instance, FromNode: m.From, ToNode: m.To, Reason: m.Reason, Trigger: m.Trigger}
}

// Kind says which ends the move has.
func (m Move) Kind() string {
	switch {
	case m.From == "":
		return KindPlace
	case m.To == "":
		return KindStop
	case m.From == m.To:
		return KindInPlace
	}
	return KindMove
}

// PlanAdmitted gives places out. Everything the decision rested on is in it. v1.
type PlanAdmitted struct {
	Plan       string `json:"plan"`
	Moves      []Move `json:"moves"`
	StateSeq   uint64 `json:"state_seq"` // the fold it was made on
	PolicyHash string `json:"policy_hash"`
	Planner    string `json:"planner"` // version
	// Refused groups the nodes that were not chosen by app and rule.
	Refused []RefusedNodes `json:"refused,omitempty"`
	// Scores are those of the chosen targets, by migration id.
	Scores map[string]int64 `json:"scores,omitempty"`
}

// RefusedNodes is one rule that ruled nodes out for an app: a count and at most 20 of them.
type RefusedNodes struct {
	App      string   `json:"app"`
	Code     string   `json:"code"`
	Detail   string   `json:"detail"` // of the first
	Count    int      `json:"count"`
	Examples []string `json:"examples"`
}

// Step is one act of a migration on one node.
type Step string

// The steps. Later parts (balancer, partitions) add theirs.
const (
	StepMigrationStart    Step = "on_migration_start"    // source: the app's hook, which may refuse
	StepMigrationComplete Step = "on_migration_complete" // target: the app's hook, which may not

	StepPrepare  Step = "prepare"   // singleton target: standby prepared
	StepStart    Step = "start"     // pool target: started and healthy
	StepStepDown Step = "step_down" // singleton source: process ended, final state reported
	StepSync     Step = "sync"      // source with replicated data: what is written is shipped, while it serves on
	StepCatchUp  Step = "catch_up"  // target: its copy has what was shipped
	StepApply    Step = "apply"     // target: its copy is exactly what the source left
	StepRecover  Step = "recover"   // target, with nobody to ask: its copy is the newest that is known
	StepPersist  Step = "persist"   // node of a grant: epoch persisted
	StepActivate Step = "activate"  // node of a grant: serving under the epoch
	StepStop     Step = "stop"      // ended, kept data
)

// Next orders a step: the event that carries it is the order, its sequence the order's id.
type Next struct {
	Step    Step          `json:"step"`
	Node    string        `json:"node"`
	Inc     string        `json:"inc"`
	Timeout spec.Duration `json:"timeout"`
	Attempt int           `json:"attempt,omitzero"` // from 2 on for a repetition
	Undo    bool          `json:"undo,omitzero"`    // the migration is on its way back
	// Position is what a copy has to reach, and Checksum what it must be then, where the step is about that; see Position.
	Position string `json:"position,omitzero"`
	Checksum string `json:"checksum,omitzero"`
}

// Result is what a node reports of a step it did.
type Result struct {
	Ports    map[string]int `json:"ports,omitempty"`
	Address  string         `json:"address,omitzero"`
	Position string         `json:"position,omitzero"` // of replicated data: shipped, reached, left or recovered; see Position
	Checksum string         `json:"checksum,omitzero"` // of the data at Position
	// Incomplete says of recovered data that acknowledged writes may be missing in them: those made after Shipped, the stored time of
	// the newest object that they rest on; and of a step-down of an app that was removed that its last writes could not be stored. Unsure says that the store may have had more than could be seen, being full.
	Incomplete bool      `json:"incomplete,omitzero"`
	Shipped    time.Time `json:"shipped,omitzero"`
	Unsure     bool      `json:"unsure,omitzero"`
	Released   bool      `json:"released,omitzero"` // a failed activation that has ended its epoch and runs nothing
	// Stored says, of a move with Sync, that nothing was acknowledged by then that is not stored: of the step sync, nor will be until the
	// final phase ends, and of the step persist, nor will be under the epoch until the step activate ends.
	Stored bool  `json:"stored,omitzero"`
	TookMS int64 `json:"took_ms,omitzero"` // on the node
	// Hook is why a hook did not say yes. In an event that ends its step well, it was overridden, or does not count.
	Hook *HookResult `json:"hook,omitzero"`
}

// What a hook said, when it did not just say yes.
const (
	HookVetoed   = "vetoed"        // it refused
	HookLate     = "hook_late"     // it did not return in time
	HookPanicked = "hook_panicked" // it panicked, or was killed
	HookBroken   = "hook_broken"   // it could not be called: no such program, nobody listens
)

// HookResult is why a hook did not say yes.
type HookResult struct {
	Code       string        `json:"code"`
	Detail     string        `json:"detail"`
	RetryAfter spec.Duration `json:"retry_after,omitzero"` // it is not asked again before, unless something else wants the move
}

// MigrationStarted opens a migration: from here on it holds the lock over its object. v1.
type MigrationStarted struct {
	Ref
	Kind        string `json:"kind"`
	Plan        string `json:"plan"` // admission
	SpecRev     uint64 `json:"spec_rev"`
	Generation  uint64 `json:"generation"` // of the process definition that the target runs
	FromInc     string `json:"from_inc,omitzero"`
	ToInc       string `json:"to_inc,omitzero"`
	Order       string `json:"order,omitzero"`
	Class       Class  `json:"class"`
	DeleteLocal bool   `json:"delete_local,omitzero"`
	Role        string `json:"role,omitzero"` // as of the admitted move
	Keep        bool   `json:"keep,omitzero"` // as of the admitted move
	Sync        bool   `json:"sync,omitzero"` // as of the admitted move
	Next        *Next  `json:"next,omitzero"`
}

// MigrationCompleted ends a migration well. v1.
type MigrationCompleted struct {
	Ref
	DurationMS int64   `json:"duration_ms"` // from started to here, by stored time
	Step       Step    `json:"step,omitzero"`
	Result     *Result `json:"result,omitzero"` // of the last step
}

// Where a failed migration left the instance.
const (
	LeftAtSource = "source"  // as if nothing had been tried
	LeftAtTarget = "target"  // the move itself succeeded, cleaning up did not
	LeftNowhere  = "nowhere" // it runs nowhere; the planner places it again
)

// MigrationFailed ends a migration otherwise. v1.
type MigrationFailed struct {
	Ref
	Code       string      `json:"code"` // stale, cancelled, step_failed, step_timed_out, node_lost, vetoed
	Detail     string      `json:"detail"`
	Rules      []Rejection `json:"rules,omitempty"` // for stale: every rule that no longer holds
	Left       string      `json:"left"`
	BadNode    string      `json:"bad_node,omitzero"` // the end that failed; automatic planning backs off from it
	DurationMS int64       `json:"duration_ms"`
}

// CancelRequested asks for a migration to be given up; honoured before its commit only. v1.
type CancelRequested struct {
	Ref
	Why string `json:"why"` // operator, node_lost, drain_timeout, app_removed, spec_changed, target_ineligible
}

// StepRequested orders a step outside the normal flow. v1.
type StepRequested struct {
	Ref
	Why  string `json:"why"`
	Next *Next  `json:"next"`
}

// StepCompleted ends a step and orders the next. v1.
type StepCompleted struct {
	Ref
	Step     Step    `json:"step"`
	Node     string  `json:"node"`
	OrderSeq uint64  `json:"order_seq"`
	TookMS   int64   `json:"took_ms"` // from order to report, by stored time
	Result   *Result `json:"result,omitzero"`
	Next     *Next   `json:"next,omitzero"`
}

// StepFailed ends a step badly and orders what follows, if anything does. v1.
type StepFailed struct {
	Ref
	Step     Step    `json:"step"`
	Node     string  `json:"node"`
	OrderSeq uint64  `json:"order_seq"`
	Code     string  `json:"code"`
	Detail   string  `json:"detail"`
	Result   *Result `json:"result,omitzero"`
	Next     *Next   `json:"next,omitzero"`
}

// StepTimedOut ends a step whose deadline passed. v1.
type StepTimedOut struct {
	Ref
	Step     Step   `json:"step"`
	Node     string `json:"node"`
	OrderSeq uint64 `json:"order_seq"`
	Next     *Next  `json:"next,omitzero"`
}

// LeadershipGranted lets exactly one incarnation become active under Epoch, which exceeds every epoch before. It ends the
// step-down when there was one. v1.
type LeadershipGranted struct {
	Ref
	Epoch    uint64  `json:"epoch"`
	Node     string  `json:"node"`
	Inc      string  `json:"inc"`
	OrderSeq uint64  `json:"order_seq,omitzero"` // of the step that it ends
	Result   *Result `json:"result,omitzero"`    // of that step: final position and checksum
	Undo     bool    `json:"undo,omitzero"`      // back to the source
	Next     *Next   `json:"next"`
	// DataLossPossible says that acknowledged writes of the epoch before may be missing: the newest of them at most LossBoundMS before that
	// epoch's end, 0 where that is not known.
	DataLossPossible bool  `json:"data_loss_possible,omitzero"`
	LossBoundMS      int64 `json:"loss_bound_ms,omitzero"`
}

// LeadershipActivated opens the gate. v1.
type LeadershipActivated struct {
	Ref
	Epoch    uint64 `json:"epoch"`
	Node     string `json:"node"`
	Inc      string `json:"inc"`
	OrderSeq uint64 `json:"order_seq"`
	Next     *Next  `json:"next"`
	Stored   bool   `json:"stored,omitzero"` // see Result
}

// How an epoch ended.
const (
	ReleasedStopped = "stopped" // by order
	ReleasedFenced  = "fenced"  // the node fenced itself
	ReleasedFailed  = "failed"  // the node gave the instance up
)

// LeadershipReleased ends an epoch; the next grant needs no waiting. v1.
type LeadershipReleased struct {
	Ref
	Epoch    uint64  `json:"epoch"`
	Node     string  `json:"node"`
	Inc      string  `json:"inc"`
	Why      string  `json:"why"`
	OrderSeq uint64  `json:"order_seq,omitzero"`
	Result   *Result `json:"result,omitzero"`
}
