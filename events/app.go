package events

import "github.com/go-cluster/go-cluster/spec"

// AppApplied replaces an app's spec. v1.
type AppApplied struct {
	Spec       spec.App `json:"spec"`              // with defaults filled in
	SpecRev    uint64   `json:"spec_rev"`          // counts applies of this app
	Generation uint64   `json:"generation"`        // rises when instances must be replaced to follow the spec
	Declared   string   `json:"declared,omitzero"` // hash of the declaration that it follows; "" when a person applied it
}

// PlacementUpdated replaces an app's rules and leaves the rest of its spec. v1.
type PlacementUpdated struct {
	Rules   spec.Rules `json:"rules"` // all of them, with defaults filled in
	SpecRev uint64     `json:"spec_rev"`
}

// AppRemoved ends an app; its epochs are remembered. v1.
type AppRemoved struct {
	DeleteLocal bool `json:"delete_local,omitzero"`
}

// AppRestartRequested raises the generation, so that every instance is replaced. v1.
type AppRestartRequested struct {
	Generation uint64 `json:"generation"`
}

// PlacementInvalid opens an episode of Pending; one per episode, whatever its code. v1.
type PlacementInvalid struct {
	Instance string `json:"instance"` // the first that has nowhere to go
	Missing  int    `json:"missing"`  // how many instances have nowhere to go
	Code     string `json:"code"`     // no_eligible_node, surplus, needs_confirmation, unsupported
	Reason   string `json:"reason"`   // one sentence
	// Rejections has every failing rule of every node, at most 20 nodes; Nodes counts all.
	Rejections []Rejection `json:"rejections"`
	Nodes      int         `json:"nodes"`
	// Relax has the smallest changes that would give it a place.
	Relax []Relaxation `json:"relax,omitempty"`
}

// PlacementSatisfied closes an episode of Pending. v1.
type PlacementSatisfied struct {
	Node string `json:"node,omitzero"` // that made it possible, when it is one
}

// InstanceUnhealthy is a health change outside a migration. v1.
type InstanceUnhealthy struct {
	Instance string `json:"instance"`
	Node     string `json:"node"`
	Detail   string `json:"detail"`
}

// InstanceHealthy ends it. v1.
type InstanceHealthy struct {
	Instance string `json:"instance"`
	Node     string `json:"node"`
}

// InstanceFailed says that a node gave up restarting. v1.
type InstanceFailed struct {
	Instance string `json:"instance"`
	Node     string `json:"node"`
	Detail   string `json:"detail"`
}

// InstanceStopped says that an instance no longer exists on its node though nobody ordered it. v1.
type InstanceStopped struct {
	Instance string `json:"instance"`
	Node     string `json:"node"`
	Detail   string `json:"detail"`
}

// DataLost says that a node which came back has more of an epoch than its successor began with: what was acknowledged in between is
// missing from the app's data. It was set aside on that node. v1.
type DataLost struct {
	Instance string `json:"instance"`
	Node     string `json:"node"`
	Epoch    uint64 `json:"epoch"`         // that the node led
	From     string `json:"from,omitzero"` // position that the successor began with
	Found    string `json:"found"`         // position of what the node has
	Bytes    int64  `json:"bytes"`         // of the changes behind From, as far as the node can tell
	Aside    string `json:"aside"`         // path of the copy on the node
}

// HookAnswered records how a hook that is no step of a migration ended on a node. v1.
type HookAnswered struct {
	Hook   string      `json:"hook"`
	Node   string      `json:"node"`
	About  string      `json:"about"`           // id of the event that it was called for
	Result *HookResult `json:"result,omitzero"` // nil: it ended well
	TookMS int64       `json:"took_ms"`
}
