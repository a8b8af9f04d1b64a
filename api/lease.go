package api

import (
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// States of a lease.
const (
	LeaseHeld    = "held"    // by the agent
	LeaseYielded = "yielded" // by the agent, over closed: everything is stopped
	LeaseClosed  = "closed"  // by the labeler, over held: no renewal can succeed any more
	LeaseFree    = "free"    // by the labeler, after the incarnation's end is in the log
)

// LeaseMax is the largest lease accepted, in bytes.
const LeaseMax = 256 << 10

// Lease is the one message of a node on its lease subject. The agent writes held and yielded, the labeler closed and free; each
// write is compare-and-append on the subject.
type Lease struct {
	State   string        `json:"state"`
	Node    string        `json:"node"`
	Inc     string        `json:"inc"` // of the agent that holds, yielded, or was closed
	Machine string        `json:"machine"`
	Boot    string        `json:"boot"`
	N       uint64        `json:"n"` // counts incarnations of the machine
	TTL     spec.Duration `json:"ttl"`
	Host    string        `json:"host,omitzero"` // for people: where the holder runs
	// The rest is the payload of held: health travels here and not as reports, so its order is the subject's.
	Load      Load             `json:"load,omitzero"`
	Instances []InstanceHealth `json:"instances,omitempty"`
	Fenced    []FencedEpoch    `json:"fenced,omitempty"` // epochs that the node has ended by itself
	Lost      []LostData       `json:"lost,omitempty"`   // what the node has set aside, and nobody else has
	LogSeq    uint64           `json:"log_seq,omitzero"` // instances reflects orders up to here
}

// InstanceHealth is an instance as its node sees it.
type InstanceHealth struct {
	ID         string         `json:"id"`
	App        string         `json:"app"`
	State      string         `json:"state"`
	Healthy    bool           `json:"healthy"`
	Epoch      uint64         `json:"epoch,omitzero"`
	Generation uint64         `json:"generation,omitzero"`
	Restarts   int            `json:"restarts,omitzero"`
	Detail     string         `json:"detail,omitzero"`
	Ports      map[string]int `json:"ports,omitempty"`
	Data       *DataHealth    `json:"data,omitzero"`
}

// DataHealth is how far the replicated data of an instance are: of an active what is shipped, of another what its copy has.
type DataHealth struct {
	Position string `json:"position"`         // see events.Position
	LagMS    int64  `json:"lag_ms"`           // of an active: age of the oldest write that is not shipped; of a copy: for how long more is known to be there
	Resyncs  int    `json:"resyncs,omitzero"` // times that a copy was begun anew since it could not go on
	Strays   int    `json:"strays,omitzero"`  // of an active: objects that somebody shipped into epochs that had ended, and that were deleted
	Error    string `json:"error,omitzero"`   // why it does not go on at present
}

// LostData is what a node that led an epoch of an app has of it and its successor did not begin with.
type LostData struct {
	App  string          `json:"app"`
	Data events.DataLost `json:"data"`
}

// FencedEpoch is an epoch that a node ended without an order.
type FencedEpoch struct {
	App      string `json:"app"`
	Instance string `json:"instance"`
	Epoch    uint64 `json:"epoch"`
}

// Beat is a labeler's heartbeat. Its stored timestamp is the clock of the cluster.
type Beat struct {
	Service string `json:"service"`
	Replica string `json:"replica"`
}
