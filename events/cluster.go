package events

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/spec"
)

// EvacuationStarted orders everything off the nodes that match. v1.
type EvacuationStarted struct {
	Order    string        `json:"order"`
	Selector string        `json:"selector"`
	Timeout  spec.Duration `json:"timeout,omitzero"`
}

// EvacuationCancelled calls an evacuation off: what has not left stays. v1.
type EvacuationCancelled struct {
	Order string `json:"order"`
}

// EvacuationCompleted ends an evacuation. v1.
type EvacuationCompleted struct {
	Order    string   `json:"order"`
	Moved    int      `json:"moved"`
	TimedOut bool     `json:"timed_out,omitzero"`
	Left     []string `json:"left"` // instances that stay
}

// PolicyUpdated replaces the policy. v1.
type PolicyUpdated struct {
	Policy spec.Policy `json:"policy"`
	Hash   string      `json:"hash"`
	// Declared is the hash of the declaration that it follows; "" when a person set it.
	Declared string `json:"declared,omitzero"`
}

// Sources of a freeze.
const (
	FreezeSafety   = "safety" // too many nodes silent at once; binds recovery too
	FreezeOperator = "operator"
	FreezePolicy   = "policy"
)

// MovesFrozen stops moves that the source binds. v1.
type MovesFrozen struct {
	Source string `json:"source"`
	Why    string `json:"why"`
}

// MovesUnfrozen lifts one source's freeze. v1.
type MovesUnfrozen struct {
	Source string `json:"source"`
	Why    string `json:"why"`
}

// Proposal is a move that a rebalance asks for.
type Proposal struct {
	App      string `json:"app"`
	Instance string `json:"instance"`
	From     string `json:"from"`
	To       string `json:"to"`
	Why      string `json:"why"`
}

// Reasons of a rebalance besides manual, node_join and node_lost.
const (
	ReasonInterval  = "interval"  // the policy has evenness judged at intervals
	ReasonImbalance = "imbalance" // something changed, and the imbalance is above the policy's threshold
)

// RebalanceReasons lists every reason of a rebalance.
func RebalanceReasons() []string {
	return []string{ReasonManual, ReasonNodeJoin, ReasonNodeLost, ReasonInterval, ReasonImbalance}
}

// RebalanceTriggered proposes moves; a request leaves one even when there is nothing to move. v1.
type RebalanceTriggered struct {
	Order   string     `json:"order"`
	Reason  string     `json:"reason"`  // one of RebalanceReasons
	Trigger string     `json:"trigger"` // automatic or manual
	Apps    []string   `json:"apps"`    // asked for; empty means all
	Before  float64    `json:"imbalance_before"`
	After   float64    `json:"imbalance_after"` // if every proposal is carried out
	Moves   []Proposal `json:"moves"`
	// StateSeq is the last event of the state that it was judged on; 0 in events that are older than the field.
	StateSeq uint64 `json:"state_seq,omitzero"`
	Why      string `json:"why,omitzero"` // one sentence: what called for it
}

// RebalanceCompleted ends a rebalance. v1.
type RebalanceCompleted struct {
	Order  string `json:"order"`
	Moved  int    `json:"moved"`
	Failed int    `json:"failed"`
	// Stopped says that it was called off: what is proposed and not admitted is dropped, and what is before its commit is rolled back.
	Stopped bool   `json:"stopped,omitzero"`
	Why     string `json:"why,omitzero"` // it was stopped
}

// HashPolicy names a policy by its content.
func HashPolicy(p spec.Policy) string {
	b, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		panic(fmt.Sprintf("a validated policy does not encode: %v", err)) // plain data: cannot happen
	}
	return Derive("policy", string(b))
}
