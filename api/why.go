package api

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/events"
)

// WhyRequest asks why an app's instances are where they are.
type WhyRequest struct {
	Meta     `json:",inline"`
	App      string `json:"app"`
	Instance string `json:"instance,omitzero"` // only this one
}

// WhyReply has a chain for every instance, and for what is under way, held or Pending.
type WhyReply struct {
	App    string     `json:"app"`
	State  string     `json:"state"`
	Seq    uint64     `json:"seq"` // of the fold that it rests on
	Chains []WhyChain `json:"chains"`
	More   int        `json:"more,omitzero"` // chains that had no room; ask for them one by one
}

// WhyChain leads from how an instance stands back to the first cause of that.
type WhyChain struct {
	Instance string    `json:"instance"`
	Node     string    `json:"node"` // where it is or goes; "" for nowhere
	Now      string    `json:"now"`  // one sentence
	Links    []WhyLink `json:"links"`
	Root     string    `json:"root"` // the first cause: "cmd:<id>" for a command; "" when the last link has none
	By       string    `json:"by"`   // who or what the first cause is of
	// Tried lists migrations of the instance that ended later and left it where it is, newest first.
	Tried []MigrationView `json:"tried,omitempty"`
	// Broken says where the chain could not be followed further.
	Broken string `json:"broken,omitzero"`
}

// WhyLink is one event of a chain; the next link is its cause.
type WhyLink struct {
	Seq    uint64         `json:"seq"`
	At     time.Time      `json:"at"` // when it was stored
	Event  string         `json:"event"`
	Actor  string         `json:"actor"`
	App    string         `json:"app,omitzero"`
	Node   string         `json:"node,omitzero"`
	Reason string         `json:"reason,omitzero"` // of a move
	What   string         `json:"what"`            // one sentence
	Facts  []string       `json:"facts,omitempty"` // what it rested on, one sentence each
	ID     string         `json:"id"`
	Cause  string         `json:"cause"`
	Data   jsontext.Value `json:"data,omitzero"` // of the event, as far as it concerns the instance
}

// WhyNotRequest asks why an app does not run on a node.
type WhyNotRequest struct {
	Meta     `json:",inline"`
	App      string `json:"app"`
	Node     string `json:"node"`
	Instance string `json:"instance,omitzero"` // that is to go there; without it, the one that is worst off where it is
}

// WhyNotReply says what stands against it. With nothing that does, Why and Scores say why the planner does not want it.
type WhyNotReply struct {
	App        string              `json:"app"`
	Node       string              `json:"node"`
	Instance   string              `json:"instance"`         // that it was judged for; "" for a further one
	At         string              `json:"at"`               // where that is now
	Standby    string              `json:"standby,omitzero"` // the app's standby on the node
	Seq        uint64              `json:"seq"`
	Allowed    bool                `json:"allowed"` // no rule stands against it
	Why        string              `json:"why"`     // one sentence
	Rejections []events.Rejection  `json:"rejections"`
	Holds      []events.Hold       `json:"holds"`       // guardrails that would hold the move if the platform wanted it
	HoldsAsked []events.Hold       `json:"holds_asked"` // guardrails that would refuse it if somebody asked for it, without --force
	Relax      []events.Relaxation `json:"relax"`       // the smallest changes that would allow it, each tried by planning again
	Scores     []NodeScore         `json:"scores"`      // of that node and those where it is, the best first
}

// NodeScore is how good a node is for an app, and what of.
type NodeScore struct {
	Node       string  `json:"node"`
	Total      int64   `json:"total"`
	Instances  int     `json:"instances"`  // of any app there, besides the app's own
	Preference int     `json:"preference"` // sum of the weights that it meets
	Load       float64 `json:"load"`
	Failed     int     `json:"failed"` // how often the app failed there lately
	Here       bool    `json:"here"`   // an instance of the app is there
}
