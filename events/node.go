package events

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/spec"
)

// Facts is what a node's agent says of the machine it runs on.
type Facts struct {
	Address string     `json:"address"`           // host address under which instances are reached
	Version string     `json:"version"`           // of the agent
	CPU     spec.CPU   `json:"cpu"`               // capacity
	Memory  spec.Bytes `json:"memory"`            // capacity
	OS      string     `json:"os,omitzero"`       // GOOS
	Arch    string     `json:"arch,omitzero"`     // GOARCH
	Drivers []string   `json:"drivers,omitempty"` // kinds of apps it can run: "process", "embedded"
	VIP     *VIPFacts  `json:"vip,omitzero"`      // whether it can carry addresses; nil where the agent does not say
	// Apps are those whose code the program of the agent has, as it declares them; Policy is the policy that it declares, nil for none.
	Apps   []spec.App   `json:"apps,omitempty"`
	Policy *spec.Policy `json:"policy,omitzero"`
}

// VIPFacts says on which interfaces a node can carry addresses that follow an app, or why on none.
type VIPFacts struct {
	Interfaces []string `json:"interfaces,omitempty"`
	Why        string   `json:"why,omitzero"`
}

// CannotCarry says why a node cannot carry an address on an interface, "" when it can.
func (f Facts) CannotCarry(iface string) string {
	switch {
	case f.VIP == nil:
		return "its agent carries no addresses"
	case f.VIP.Why != "":
		return f.VIP.Why
	case !slices.Contains(f.VIP.Interfaces, iface):
		return fmt.Sprintf("no interface %s (has %s)", iface, strings.Join(f.VIP.Interfaces, ", "))
	}
	return ""
}

// Registers says whether the program on the node has the code of an app.
func (f Facts) Registers(app string) bool {
	return slices.ContainsFunc(f.Apps, func(a spec.App) bool { return a.Name == app })
}

// NodeJoined is stored when an agent holds the lease of its node under a new incarnation. v1.
type NodeJoined struct {
	Node    string            `json:"node"`
	Inc     string            `json:"inc"`              // incarnation: machine key, boot and counter
	Machine string            `json:"machine"`          // random id of the agent's data directory
	TTL     spec.Duration     `json:"ttl"`              // what its leases promise
	Epochs  map[string]uint64 `json:"epochs,omitempty"` // highest epoch seen per app; the next grant exceeds all of them
	Facts   Facts             `json:"facts"`
}

// NodeSuspected is stored when the lease of a silent node was closed, or another machine has the lease of one that the log has as
// living. v1.
type NodeSuspected struct {
	Node     string        `json:"node"`
	Inc      string        `json:"inc"`
	LeaseSeq uint64        `json:"lease_seq"` // sequence of the closing write, or of the other machine's, on the lease stream
	Silent   spec.Duration `json:"silent"`    // since this labeler first saw the renewal that it closed over
}

// Why an incarnation is over.
const (
	LostSilent    = "silent"    // its lease was closed, or had become another machine's, and was waited out
	LostYielded   = "yielded"   // it stopped everything and said so
	LostRebooted  = "rebooted"  // the same machine came back with another boot
	LostConfirmed = "confirmed" // an operator vouched for it
)

// NodeLost ends every instance of the incarnation in the fold; instances that continue in isolation end only when Confirmed. v1.
type NodeLost struct {
	Node      string        `json:"node"`
	Inc       string        `json:"inc"`
	Reason    string        `json:"reason"`
	Confirmed bool          `json:"confirmed,omitzero"`
	LeaseSeq  uint64        `json:"lease_seq"`
	Waited    spec.Duration `json:"waited"`
}

// NodeLeft removes a node from the cluster. v1.
type NodeLeft struct {
	Node string `json:"node"`
	Inc  string `json:"inc,omitzero"`
}

// NodeFactsUpdated replaces a node's facts. v1.
type NodeFactsUpdated struct {
	Node  string `json:"node"`
	Facts Facts  `json:"facts"`
}

// NodeLabelsUpdated carries the complete sets, not a delta, so that a reader that starts here needs no history. v1.
type NodeLabelsUpdated struct {
	Node     string            `json:"node"`
	Before   map[string]string `json:"before"`
	After    map[string]string `json:"after"`
	Declared map[string]string `json:"declared,omitempty"` // what the agent declares, when that is why they changed
}

// NodeCordoned keeps new placements off a node. v1.
type NodeCordoned struct {
	Node string `json:"node"`
}

// NodeUncordoned lets placements onto a node again. v1.
type NodeUncordoned struct {
	Node string `json:"node"`
}

// DrainStarted moves everything off a node. v1.
type DrainStarted struct {
	Node        string        `json:"node"`
	Order       string        `json:"order"`            // id of this drain; its moves carry it
	Timeout     spec.Duration `json:"timeout,omitzero"` // 0: none
	Force       bool          `json:"force,omitzero"`   // stop what is left at the timeout
	DeleteLocal bool          `json:"delete_local,omitzero"`
}

// DrainCompleted ends a drain with nothing left on the node. v1.
type DrainCompleted struct {
	Node  string `json:"node"`
	Order string `json:"order"`
	Moved int    `json:"moved"`
}

// DrainFailed ends a drain at its timeout. v1.
type DrainFailed struct {
	Node  string   `json:"node"`
	Order string   `json:"order"`
	Code  string   `json:"code"` // "timeout"
	Left  []string `json:"left"` // instances that stay and serve on
}

// DrainCancelled ends a drain by an operator's word. v1.
type DrainCancelled struct {
	Node  string `json:"node"`
	Order string `json:"order"`
}
