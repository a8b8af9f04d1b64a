package api

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// RawLine is one event as it stands in the log, plus its sequence.
type RawLine = jsontext.Value

// States of a node.
const (
	NodeReady     = "ready"
	NodeSuspected = "suspected"
	NodeIsLost    = "lost"
	NodeHasLeft   = "left"
)

// Scheduling states of a node.
const (
	Schedulable = "schedulable"
	Cordoned    = "cordoned"
	Draining    = "draining"
)

// Load is how busy a node is, 0…1.
type Load struct {
	CPU    float64 `json:"cpu"`
	Memory float64 `json:"memory"`
}

// Sight is what a node says of itself that a plan goes by and no event does.
type Sight struct {
	Load
	Data map[string]DataHealth // by app: how far the copy is that it has of the app's data
}

// NodeView is one row of `node list`.
type NodeView struct {
	ID         string            `json:"id"`
	Status     string            `json:"status"`
	Scheduling string            `json:"scheduling"`
	Labels     map[string]string `json:"labels"`
	Apps       []string          `json:"apps"`
	Load       Load              `json:"load"`
	Address    string            `json:"address"`
	Version    string            `json:"version"`
	Revision   uint64            `json:"revision"` // of the node's aggregate, for --if-revision
	Capacity   spec.Resources    `json:"capacity"`
}

// NodeDetail is `node show`.
type NodeDetail struct {
	NodeView  `json:",inline"`
	Inc       string         `json:"inc"`
	Instances []InstanceView `json:"instances"`
	Orders    []NodeOrder    `json:"orders"`         // open ones that empty the node
	Left      []LeftView     `json:"left,omitempty"` // what has left the node, and something of it is still there
}

// LeftView is an instance that has left a node, and why something of it is still there.
type LeftView struct {
	ID  string `json:"id"`
	App string `json:"app"`
	Why string `json:"why"`
}

// NodeOrder is a standing order that empties a node.
type NodeOrder struct {
	Order    string    `json:"order"`
	Kind     string    `json:"kind"`              // drain or evacuation
	Selector string    `json:"selector,omitzero"` // of an evacuation
	By       string    `json:"by"`                // actor
	At       time.Time `json:"at"`
	Deadline time.Time `json:"deadline,omitzero"` // zero: none
}

// States of an app, the most telling first: when several hold, the first is shown.
const (
	AppPending   = "pending"
	AppMigrating = "migrating"
	AppDegraded  = "degraded"
	AppRunning   = "running"
	AppStopped   = "stopped"
)

// AppView is one row of `app list`.
type AppView struct {
	Name    string    `json:"name"`
	Mode    spec.Mode `json:"mode"`
	State   string    `json:"state"`
	Desired int       `json:"desired"`
	Running int       `json:"running"`
	Nodes   []string  `json:"nodes"`
}

// AppDetail is `app show`.
type AppDetail struct {
	AppView   `json:",inline"`
	Spec      spec.App            `json:"spec"`
	SpecRev   uint64              `json:"spec_rev"`
	Instances []InstanceView      `json:"instances"`
	Older     []string            `json:"older,omitempty"` // instances that run what was declared before, or before a restart, and are to be replaced
	Pending   []events.Rejection  `json:"pending"`
	Why       string              `json:"why"`             // one sentence while it is pending
	Relax     []events.Relaxation `json:"relax,omitempty"` // the smallest changes that would give it a place
	Standbys  *StandbysView       `json:"standbys,omitzero"`
	By        string              `json:"by"` // who the spec in force is by: an actor, or the agent whose program declared it
	Declared  []DeclarationView   `json:"declared,omitempty"`
	Lost      []events.DataLost   `json:"lost,omitempty"` // data that a takeover went on without and a node came back with, oldest first
	// LossPossible is there while the newest epoch is one that went on after a takeover that may have lost acknowledged writes.
	LossPossible *LossView `json:"loss_possible,omitzero"`
}

// LossView says that an epoch may have begun without what was acknowledged last under the one before.
type LossView struct {
	Epoch   uint64 `json:"epoch"`
	BoundMS int64  `json:"loss_bound_ms,omitzero"` // the newest of it was acknowledged at most that long before the end; 0 where that is not known
	Seq     uint64 `json:"seq"`                    // of the grant
}

// StandbysView is how many warm standbys a singleton has.
type StandbysView struct {
	Wanted     int                `json:"wanted"`
	Kept       int                `json:"kept"`
	Why        string             `json:"why,omitzero"` // there are fewer than wanted
	Rejections []events.Rejection `json:"rejections,omitempty"`
}

// DeclarationView is what the programs on some nodes declare of an app, or of the policy.
type DeclarationView struct {
	Hash    string       `json:"hash"`
	Nodes   []string     `json:"nodes"`
	Seq     uint64       `json:"seq"`      // of the event that carried it first: the latest is in force, unless a person's change came later
	InForce bool         `json:"in_force"` // it is what is carried out
	App     *spec.App    `json:"app,omitzero"`
	Policy  *spec.Policy `json:"policy,omitzero"`
}

// Roles of an instance.
const (
	RoleActive  = "active"
	RoleStandby = "standby"
	RoleMember  = "member"
)

// States of an instance, as the cluster sees it.
const (
	InstanceAssigned = "assigned"
	InstanceStarting = "starting"
	InstanceRunning  = "running"
	InstanceReady    = "ready"
	InstanceStopping = "stopping"
	InstanceStopped  = "stopped"
	InstanceFailed   = "failed"
)

// InstanceView is one instance. Running means started and, with a health check, passing.
type InstanceView struct {
	ID      string         `json:"id"`
	App     string         `json:"app"`
	Node    string         `json:"node"`
	Role    string         `json:"role"`
	State   string         `json:"state"`
	Epoch   uint64         `json:"epoch"`
	Address string         `json:"address"`
	Ports   map[string]int `json:"ports"`
	Detail  string         `json:"detail,omitzero"`
	VIP     string         `json:"vip,omitzero"`  // the app's address, while the instance is the active that has it
	Data    *DataHealth    `json:"data,omitzero"` // as its node said last, where its data are carried along
}

// States of a migration.
const (
	MigrationPlanned   = "planned"
	MigrationHeld      = "held"
	MigrationRunning   = "running"
	MigrationCompleted = "completed"
	MigrationFailed    = "failed"
	MigrationCancelled = "cancelled"
)

// MigrationView is one row of `migration list`.
type MigrationView struct {
	ID         string     `json:"id"`
	App        string     `json:"app"`
	Instance   string     `json:"instance"`
	FromNode   string     `json:"from_node"`
	ToNode     string     `json:"to_node"`
	Reason     string     `json:"reason"`
	Trigger    string     `json:"trigger"`
	Status     string     `json:"status"`
	Step       string     `json:"step"` // the one under way, or the last
	Started    *time.Time `json:"started"`
	DurationMS int64      `json:"duration_ms"`
	Code       string     `json:"code,omitzero"`   // of a failure
	Detail     string     `json:"detail,omitzero"` // why it failed
	Awaits     string     `json:"awaits,omitzero"` // approval, when nothing else holds it
	Sync       bool       `json:"sync,omitzero"`   // asked for with it
}

// RebalanceView is a rebalance and how far it is.
type RebalanceView struct {
	Order    string            `json:"order"`
	State    string            `json:"state"`   // Order…
	Reason   string            `json:"reason"`  // manual, node_join, node_lost, interval or imbalance
	Trigger  string            `json:"trigger"` // automatic or manual
	By       string            `json:"by"`      // actor
	At       time.Time         `json:"at"`
	Why      string            `json:"why,omitzero"` // what called for it
	Before   float64           `json:"imbalance_before"`
	After    float64           `json:"imbalance_after"` // if every proposal is carried out
	Proposed int               `json:"proposed"`
	Moved    int               `json:"moved"`
	Failed   int               `json:"failed"`
	Waiting  []events.Proposal `json:"waiting"` // neither admitted nor dropped
}

// RebalanceStatus is how even the cluster is, and what is done about it.
type RebalanceStatus struct {
	Seq        uint64          `json:"seq"`
	Automatic  bool            `json:"automatic"` // the policy has it on
	Imbalance  float64         `json:"imbalance"`
	Raw        float64         `json:"raw"`        // the fullest node above the mean
	Structural float64         `json:"structural"` // of that, what no legal move mends
	Why        string          `json:"why"`        // what an automatic one would do now, or why nothing
	Next       time.Time       `json:"next,omitzero"`
	Open       []RebalanceView `json:"open"`           // oldest first
	Last       *RebalanceView  `json:"last,omitempty"` // the newest that has ended
}

// MigrationDetail is `migration show`.
type MigrationDetail struct {
	MigrationView `json:",inline"`
	Order         string     `json:"order"`
	Correlation   string     `json:"correlation"`
	Steps         []StepView `json:"steps"`
	Forgotten     int        `json:"forgotten,omitzero"` // events behind the first of Steps that are not among them
}

// StepView is one line of a migration's history.
type StepView struct {
	Seq      uint64    `json:"seq"`
	At       time.Time `json:"at"`
	OffsetMS int64     `json:"offset_ms"` // since the migration started
	Event    string    `json:"event"`
	Step     string    `json:"step"`
	Node     string    `json:"node"`
	Detail   string    `json:"detail,omitzero"`
}

// PendingView is an instance that has nowhere to go and every rule that says so.
type PendingView struct {
	App        string              `json:"app"`
	Instance   string              `json:"instance"`
	Code       string              `json:"code"`
	Reason     string              `json:"reason"`
	Rejections []events.Rejection  `json:"rejections"`
	Relax      []events.Relaxation `json:"relax,omitempty"` // the smallest changes that would give it a place, each tried by planning again
}

// PreviewRequest asks what a change would do, by the code that would do it. Exactly one field besides Meta is set.
type PreviewRequest struct {
	Meta     `json:",inline"`
	Label    *LabelRequest    `json:"label,omitzero"`
	Drain    *DrainRequest    `json:"drain,omitzero"`
	Evacuate *EvacuateRequest `json:"evacuate,omitzero"`
	Move     *MoveRequest     `json:"move,omitzero"`
	Apply    *ApplyRequest    `json:"apply,omitzero"`
	Uncordon *NodeRequest     `json:"uncordon,omitzero"`
	Policy   *PolicyRequest   `json:"policy,omitzero"`
	// Rebalance is what the rebalancer would propose, and what the planner would make of it.
	Rebalance *RebalanceRequest `json:"rebalance,omitzero"`
	// Also declares further apps together with that of Apply.
	Also []ApplyRequest `json:"also,omitempty"`
	// Forecast asks for waves, bound and evenness, which take longer than the plan itself.
	Forecast bool `json:"forecast,omitzero"`
}

// PreviewReply is a plan that nobody carries out.
type PreviewReply struct {
	Seq     uint64        `json:"seq"` // the fold it rests on
	Moves   []PlannedMove `json:"moves"`
	Held    []HeldMove    `json:"held"`    // moves that guardrails would hold
	Pending []PendingView `json:"pending"` // apps that would be Pending
	// NewlyPending names those of Pending that are not so now.
	NewlyPending []string `json:"newly_pending"`

	// The rest is there when a forecast was asked for.
	Cluster string          `json:"cluster,omitzero"`
	Do      *PreviewRequest `json:"do,omitzero"` // what was asked: handed back with go-cluster apply --plan, it is carried out
	// Rests names what the change replaces, and what that is now: a change made on other grounds is another change.
	Rests  map[string]string `json:"rests,omitempty"`
	Waves  int               `json:"waves"`
	More   bool              `json:"more,omitzero"` // further moves follow from these: too many to be said
	Bound  Bound             `json:"bound,omitzero"`
	Gap    float64           `json:"gap"` // (moves − bound) / max(1, bound)
	Before Evenness          `json:"before,omitzero"`
	After  Evenness          `json:"after,omitzero"` // once every move has ended
}

// Bound is the least number of moves that does the same. Exact says that the plan needs no more.
type Bound struct {
	MinMoves int  `json:"min_moves"`
	Exact    bool `json:"exact"`
}

// Evenness is how evenly instances lie over the nodes; see docs/placement.md.
type Evenness struct {
	Imbalance  float64 `json:"imbalance"`
	Raw        float64 `json:"raw"`
	Structural float64 `json:"structural"`
}

// PlannedMove is one move of a preview.
type PlannedMove struct {
	App      string       `json:"app"`
	Instance string       `json:"instance"`
	From     string       `json:"from"`
	To       string       `json:"to"`
	Reason   string       `json:"reason"`
	Class    events.Class `json:"class"`
	Why      string       `json:"why"`
	Score    int64        `json:"score"`
	Wave     int          `json:"wave,omitzero"` // from 1, in a forecast: those of one wave may be under way together; 0 while a guardrail holds it
	Due      bool         `json:"due,omitzero"`  // in a forecast: it is due whether the change is made or not
}

// HeldMove is a move of a preview that guardrails hold, and all of those that do.
type HeldMove struct {
	PlannedMove `json:",inline"`
	Holds       []events.Hold `json:"holds"`
}

// PolicyReply is the policy in force and who set it.
type PolicyReply struct {
	Policy  spec.Policy       `json:"policy"`
	Hash    string            `json:"hash"`
	Seq     uint64            `json:"seq"`      // of the event that set it; 0: never set
	By      string            `json:"by"`       // actor
	Frozen  map[string]string `json:"frozen"`   // source → why
	Enforce []string          `json:"enforced"` // the guardrails that this version judges
	// Declared lists what programs declare, the one that is followed first.
	Declared []DeclarationView `json:"declared,omitempty"`
}

// AuditRecord is the spec's audit event.
type AuditRecord struct {
	TS       time.Time      `json:"ts"`
	Category string         `json:"category"`
	Action   string         `json:"action"`
	App      string         `json:"app,omitzero"`
	Node     string         `json:"node,omitzero"`
	Actor    string         `json:"actor"`
	Cause    string         `json:"cause"`
	Seq      uint64         `json:"seq"`
	Data     jsontext.Value `json:"data"`
}

// ReportMax is the largest report accepted, in bytes.
const ReportMax = 256 << 10

// StepReport is a node's answer to one ordered step: the only kind of report there is.
type StepReport struct {
	OrderSeq  uint64         `json:"order_seq"` // sequence of the event that ordered it
	Migration string         `json:"migration"`
	App       string         `json:"app"`
	Instance  string         `json:"instance"`
	Step      events.Step    `json:"step"`
	Node      string         `json:"node"`
	Inc       string         `json:"inc"`
	Failed    bool           `json:"failed,omitzero"`
	Code      string         `json:"code,omitzero"`
	Detail    string         `json:"detail,omitzero"`
	Result    *events.Result `json:"result,omitzero"`
}

// StateReply is the cluster as data, as JSON packed with gzip: a large cluster is more than one message holds otherwise.
type StateReply struct {
	Seq    uint64 `json:"seq"`
	Packed []byte `json:"packed"`
}
