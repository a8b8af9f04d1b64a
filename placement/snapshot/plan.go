package snapshot

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// Plan is what should change, why, in which order, and how far it is from the least that could do.
type Plan struct {
	Moves     []Move     `json:"moves"`              // first those that must be, then those that gain most; waves do not decrease
	Pending   []Pending  `json:"pending"`            // instances that have nowhere to go
	Deferred  []Deferral `json:"deferred"`           // moves that a guardrail holds; they are among Moves, with NotBefore where a time is known
	Blocked   []Blocked  `json:"blocked"`            // moves that wait for each other in a circle; they are not among Moves
	Standbys  []Standby  `json:"standbys,omitempty"` // what becomes of each, by id
	OrderFree bool       `json:"order_free"`         // every subset of the moves, in every order, breaks no hard rule
	Waves     int        `json:"waves"`
	Before    Metrics    `json:"before"`
	After     Metrics    `json:"after"` // once every move has ended
	Bound     Bound      `json:"bound"`
	Gap       float64    `json:"gap"` // (moves − bound) / max(1, bound)
	Why       string     `json:"why"` // one sentence: what the plan does, or why it does nothing
}

// Move takes one instance from a node to a node. No From is a start, no To is a stop. Where nothing else leads to the end, an instance
// moves more than once, each time from where it came to: then After names it, too.
type Move struct {
	Instance  string       `json:"instance"`
	App       string       `json:"app"`
	From      string       `json:"from"`
	To        string       `json:"to"`
	Class     events.Class `json:"class"`
	Reason    string       `json:"reason"` // events.Reason…
	Why       string       `json:"why"`
	Wave      int          `json:"wave"`                // from 1
	After     []string     `json:"after,omitempty"`     // instances whose moves in earlier waves have to end first; none when the plan is order-free
	NotBefore time.Time    `json:"not_before,omitzero"` // zero: at once
}

// Standby is what becomes of a standby once the moves have ended. Where one ends, the cluster places another one as soon as a node can take it:
// that is not among the moves.
type Standby struct {
	Instance string `json:"instance"`
	App      string `json:"app"`
	Node     string `json:"node"`
	Fate     string `json:"fate"`          // Fate…
	Why      string `json:"why,omitempty"` // it does not stay
}

// Fates of a standby.
const (
	FateStays  = "stays"
	FateServes = "serves" // its app's instance goes on there
	FateEnds   = "ends"
)

// Pending is an instance without a place, with every failing rule of every node and the smallest changes that would give it one.
type Pending struct {
	App        string             `json:"app"`
	Instance   string             `json:"instance"`
	Rejections []events.Rejection `json:"rejections"`
	Relax      []Relaxation       `json:"relax"`
}

// Relaxation is a change after which planning again finds the instance a place on Node; it has been tried.
type Relaxation = events.Relaxation

// Deferral is a move that a guardrail holds.
type Deferral struct {
	Instance string    `json:"instance"`
	Rule     string    `json:"rule"` // cooldown, max_unavailable, rate, window, approval or load
	Detail   string    `json:"detail"`
	Until    time.Time `json:"until,omitzero"` // zero: until somebody acts
}

// Blocked is a move that no order makes possible.
type Blocked struct {
	Instance string   `json:"instance"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	Cycle    []string `json:"cycle"` // the instances that wait for each other
}

// Metrics is how even the cluster is. Raw is comparable with other systems; Structural is the part of it that no legal move mends.
type Metrics struct {
	Imbalance  float64 `json:"imbalance"`
	Raw        float64 `json:"raw"`
	Structural float64 `json:"structural"`
}

// Bound is the least number of moves after which the cluster is as good as the plan makes it. Exact says that the number is reached
// by some plan, hence cannot be raised.
type Bound struct {
	MinMoves int  `json:"min_moves"`
	Exact    bool `json:"exact"`
}
