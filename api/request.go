package api

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// MaxRequest is the largest request accepted, in bytes; MaxDepth the deepest nesting.
const (
	MaxRequest = 128 << 10
	MaxDepth   = 16
)

// Endpoint names a command or question: the last two tokens of its subject.
type Endpoint struct {
	Noun, Verb string
	Service    string // that answers it
	Command    bool   // it may store an event; a question never does
}

// The endpoints.
var (
	NodeDeclare  = Endpoint{"node", "declare", events.Labeler, true}
	NodeLabel    = Endpoint{"node", "label", events.Labeler, true}
	NodeCordon   = Endpoint{"node", "cordon", events.Labeler, true}
	NodeUncordon = Endpoint{"node", "uncordon", events.Labeler, true}
	NodeLost     = Endpoint{"node", "lost", events.Labeler, true}
	NodeRemove   = Endpoint{"node", "remove", events.Labeler, true}
	NodeList     = Endpoint{"node", "list", events.Labeler, false}
	NodeShow     = Endpoint{"node", "show", events.Labeler, false}

	NodeDrain        = Endpoint{"node", "drain", events.Planner, true}
	NodeDrainCancel  = Endpoint{"node", "undrain", events.Planner, true}
	NodeStable       = Endpoint{"node", "stable", events.Planner, false}
	AppApply         = Endpoint{"app", "apply", events.Planner, true}
	AppRemove        = Endpoint{"app", "remove", events.Planner, true}
	AppRestart       = Endpoint{"app", "restart", events.Planner, true}
	AppMove          = Endpoint{"app", "move", events.Planner, true}
	AppEvacuate      = Endpoint{"app", "evacuate", events.Planner, true}
	AppUnevacuate    = Endpoint{"app", "unevacuate", events.Planner, true}
	AppPlacement     = Endpoint{"app", "placement", events.Planner, true}
	AppHook          = Endpoint{"app", "hook", events.Planner, true}
	AppList          = Endpoint{"app", "list", events.Planner, false}
	AppShow          = Endpoint{"app", "show", events.Planner, false}
	AppWhy           = Endpoint{"app", "why", events.Planner, false}
	AppWhyNot        = Endpoint{"app", "whynot", events.Planner, false}
	PlanPreview      = Endpoint{"plan", "preview", events.Planner, false}
	OrderStatus      = Endpoint{"order", "status", events.Planner, false}
	StateShow        = Endpoint{"state", "show", events.Planner, false}
	MigrationList    = Endpoint{"migration", "list", events.Planner, false}
	MigrationShow    = Endpoint{"migration", "show", events.Planner, false}
	MigrationCancel  = Endpoint{"migration", "cancel", events.Planner, true}
	MigrationApprove = Endpoint{"migration", "approve", events.Planner, true}
	MigrationDeny    = Endpoint{"migration", "deny", events.Planner, true}
	PolicyShow       = Endpoint{"policy", "show", events.Planner, false}
	PolicySet        = Endpoint{"policy", "set", events.Planner, true}
	MovesFreeze      = Endpoint{"moves", "freeze", events.Planner, true}
	MovesUnfreeze    = Endpoint{"moves", "unfreeze", events.Planner, true}

	AppRebalance  = Endpoint{"app", "rebalance", events.Rebalancer, true}
	RebalanceStop = Endpoint{"rebalance", "stop", events.Rebalancer, true}
	RebalanceShow = Endpoint{"rebalance", "show", events.Rebalancer, false}

	EventList = Endpoint{"event", "list", events.Auditor, false}
	AuditList = Endpoint{"audit", "list", events.Auditor, false}
)

// Meta is what every request carries.
type Meta struct {
	ID      string    `json:"id,omitzero"`      // of a command: a repetition with the same id gets the same outcome
	Expires time.Time `json:"expires,omitzero"` // of a command: refused when it arrives later
	MinSeq  uint64    `json:"min_seq,omitzero"` // answered from a fold that has at least this
	// IfPlanned is of a command that carries out a plan: it is refused with CodeConflict when anything that a plan rests on has
	// happened after this sequence.
	IfPlanned uint64 `json:"if_planned,omitzero"`
	Actor     string `json:"actor,omitzero"` // who asks, where NATS itself does not say
}

// DeclareRequest is an agent's word about its node, sent before and at each change. Only the holder of the node's lease is
// believed.
type DeclareRequest struct {
	Meta    `json:",inline"`
	Node    string            `json:"node"`
	Inc     string            `json:"inc"`
	Machine string            `json:"machine"`
	TTL     spec.Duration     `json:"ttl"`
	Facts   events.Facts      `json:"facts"`
	Labels  map[string]string `json:"labels,omitempty"`
	Epochs  map[string]uint64 `json:"epochs,omitempty"`
}

// DeclareReply tells the agent from where its history counts.
type DeclareReply struct {
	Seq     uint64 `json:"seq"`     // sequence of the node's joined event: the agent is idle until its folds have passed it
	Durable string `json:"durable"` // consumer of events addressed to the node
}

// LabelRequest changes a node's labels, all or nothing.
type LabelRequest struct {
	Meta       `json:",inline"`
	Node       string            `json:"node"`
	Set        map[string]string `json:"set,omitempty"`
	Remove     []string          `json:"remove,omitempty"`
	IfRevision uint64            `json:"if_revision,omitzero"` // only if the node's aggregate is at this revision
}

// LabelReply has the sets before and after.
type LabelReply struct {
	Ack    `json:",inline"`
	Before map[string]string `json:"before"`
	After  map[string]string `json:"after"`
}

// Ack is the outcome of a command: the sequence of the event that it stored, or of the log's end when there was nothing to do.
type Ack struct {
	Seq     uint64 `json:"seq"`
	Changed bool   `json:"changed"`        // false: it was so already
	Order   string `json:"order,omitzero"` // id of the standing order or migration it made
}

// NodeRequest names a node.
type NodeRequest struct {
	Meta    `json:",inline"`
	Node    string `json:"node"`
	Confirm bool   `json:"confirm,omitzero"` // node lost: the operator vouches that the machine is off
}

// DrainRequest empties nodes. With several, all must be cordoned before.
type DrainRequest struct {
	Meta        `json:",inline"`
	Nodes       []string      `json:"nodes"`
	Timeout     spec.Duration `json:"timeout,omitzero"`
	Force       bool          `json:"force,omitzero"`
	DeleteLocal bool          `json:"delete_local,omitzero"`
}

// DrainReply has the id of each node's drain.
type DrainReply struct {
	Ack    `json:",inline"`
	Orders map[string]string `json:"orders"` // node → order
}

// ApplyRequest declares an app.
type ApplyRequest struct {
	Meta `json:",inline"`
	Spec spec.App `json:"spec"`
}

// ApplyReply says which revision is in force and what the operator should know of it.
type ApplyReply struct {
	Ack      `json:",inline"`
	SpecRev  uint64   `json:"spec_rev"`
	Rolls    bool     `json:"rolls"`    // instances are being replaced
	Warnings []string `json:"warnings"` // one sentence each
}

// AppRequest names an app.
type AppRequest struct {
	Meta        `json:",inline"`
	App         string `json:"app"`
	DeleteLocal bool   `json:"delete_local,omitzero"` // remove
}

// PlacementRequest replaces an app's rules while it runs.
type PlacementRequest struct {
	Meta  `json:",inline"`
	App   string     `json:"app"`
	Rules spec.Rules `json:"rules"`
	// KeepResources leaves what an instance needs as it is.
	KeepResources bool `json:"keep_resources,omitzero"`
}

// HookRequest is a node's word about a hook that is no step of a migration.
type HookRequest struct {
	Meta   `json:",inline"`
	App    string             `json:"app"`
	Hook   string             `json:"hook"`
	Node   string             `json:"node"`
	Inc    string             `json:"inc"`
	About  string             `json:"about"` // id of the event that it was called for
	Result *events.HookResult `json:"result,omitzero"`
	TookMS int64              `json:"took_ms"`
}

// MoveRequest moves one instance. Without To the planner chooses; without From the app must have exactly one instance.
type MoveRequest struct {
	Meta  `json:",inline"`
	App   string `json:"app"`
	From  string `json:"from,omitzero"`
	To    string `json:"to,omitzero"`
	Force bool   `json:"force,omitzero"`
	// DeleteLocal has the data on the node that is left deleted, once what is stored elsewhere is proved.
	DeleteLocal bool `json:"delete_local,omitzero"`
	// Sync has commits acknowledged only once they are stored, in the move's final phase.
	Sync bool `json:"sync,omitzero"`
}

// EvacuateRequest empties every node that matches.
type EvacuateRequest struct {
	Meta     `json:",inline"`
	Selector string        `json:"selector"`
	Timeout  spec.Duration `json:"timeout,omitzero"`
}

// RebalanceRequest evens out one app, or all.
type RebalanceRequest struct {
	Meta   `json:",inline"`
	App    string `json:"app,omitzero"`
	All    bool   `json:"all,omitzero"`
	DryRun bool   `json:"dry_run,omitzero"` // stores nothing
}

// RebalanceReply has the proposal.
type RebalanceReply struct {
	Ack    `json:",inline"`
	Before float64           `json:"imbalance_before"`
	After  float64           `json:"imbalance_after"`
	Moves  []events.Proposal `json:"moves"`
}

// StopRequest calls off a rebalance; without Order all that are open.
type StopRequest struct {
	Meta  `json:",inline"`
	Order string `json:"order,omitzero"`
}

// MigrationRequest names a migration.
type MigrationRequest struct {
	Meta      `json:",inline"`
	Migration string `json:"migration"`
}

// JudgeRequest approves of a proposed move, or denies it.
type JudgeRequest struct {
	Meta      `json:",inline"`
	Migration string `json:"migration"`
	Why       string `json:"why,omitzero"`
}

// PolicyRequest replaces the policy.
type PolicyRequest struct {
	Meta   `json:",inline"`
	Policy spec.Policy `json:"policy"`
}

// FreezeRequest freezes or unfreezes as the source operator; Source names another source to lift.
type FreezeRequest struct {
	Meta   `json:",inline"`
	Source string `json:"source,omitzero"`
	Why    string `json:"why,omitzero"`
}

// ListRequest asks for everything of a kind, or for what concerns one app or node.
type ListRequest struct {
	Meta `json:",inline"`
	App  string `json:"app,omitzero"`
	Node string `json:"node,omitzero"`
}

// StableRequest asks whether a node has settled.
type StableRequest struct {
	Meta `json:",inline"`
	Node string `json:"node"`
}

// StableReply says what a node still waits for; it is stable when that is empty.
type StableReply struct {
	Stable  bool     `json:"stable"`
	Seq     uint64   `json:"seq"` // of the fold that it was judged on
	Waiting []string `json:"waiting"`
	// Approval says that it waits for nothing but an operator's approval.
	Approval bool `json:"approval,omitzero"`
}

// OrderRequest names a drain, evacuation, rebalance, or a migration.
type OrderRequest struct {
	Meta  `json:",inline"`
	Order string `json:"order"`
}

// States of an order.
const (
	OrderOpen      = "open"
	OrderCompleted = "completed"
	OrderFailed    = "failed" // time was up
	OrderCancelled = "cancelled"
)

// OrderReply is the progress of a standing order.
type OrderReply struct {
	Order      string          `json:"order"`
	Kind       string          `json:"kind"` // drain, evacuation, rebalance, migration, apply
	State      string          `json:"state"`
	Seq        uint64          `json:"seq"`
	Migrations []MigrationView `json:"migrations"` // admitted for it so far
	Left       []string        `json:"left"`       // instances still where they should not be
	Stuck      []PendingView   `json:"stuck"`      // of those, the ones that have nowhere to go, with every rule
	Stays      []StayView      `json:"stays,omitempty"`
}

// StayView is why an instance still is where an open order does not want it.
type StayView struct {
	ID   string `json:"id"`
	App  string `json:"app"`
	Node string `json:"node"`
	Why  string `json:"why"` // one sentence
}

// EventListRequest reads the log from a sequence on. Wait makes it a long poll: the reply comes as soon as there is something,
// or empty after that time.
type EventListRequest struct {
	Meta        `json:",inline"`
	SinceSeq    uint64        `json:"since_seq,omitzero"` // the first wanted
	Limit       int           `json:"limit,omitzero"`     // default and most: 500
	App         string        `json:"app,omitzero"`
	Node        string        `json:"node,omitzero"`
	Correlation string        `json:"correlation,omitzero"`
	Wait        spec.Duration `json:"wait,omitzero"`
	Places      bool          `json:"places,omitzero"` // also where and when each is stored
}

// Place is where and when an event is stored. With it a line can be verified as it stands in the log.
type Place struct {
	Subject string    `json:"subject"`
	Stored  time.Time `json:"stored"`
}

// EventListReply has the events in log order; ask again from NextSeq.
type EventListReply struct {
	Events  []events.Event `json:"-"` // decoded by the client; on the wire in Lines
	Lines   []RawLine      `json:"events"`
	Places  []Place        `json:"places,omitempty"` // one for each line, when they were asked for
	NextSeq uint64         `json:"next_seq"`
	LastSeq uint64         `json:"last_seq"` // the log's end
}

// AuditListRequest asks for audit records, newest last.
type AuditListRequest struct {
	Meta     `json:",inline"`
	SinceSeq uint64        `json:"since_seq,omitzero"`
	Limit    int           `json:"limit,omitzero"` // the newest so many; default 100, most 1000
	App      string        `json:"app,omitzero"`
	Node     string        `json:"node,omitzero"`
	Wait     spec.Duration `json:"wait,omitzero"`
}

// AuditListReply has the records in log order.
type AuditListReply struct {
	Records []AuditRecord `json:"records"`
	NextSeq uint64        `json:"next_seq"`
}
