package events

// Rejection is one rule that one node fails, with the values at hand. A refusal lists all of them, never the first only.
type Rejection struct {
	Node   string `json:"node"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Relaxation is a change after which planning again has a place for what has none; it has been tried.
type Relaxation struct {
	Node     string   `json:"node,omitzero"`      // where it would run; "" where the planner is to choose
	Codes    []string `json:"codes"`              // of the rules that no longer stand in the way
	Detail   string   `json:"detail"`             // the change in words
	Commands []string `json:"commands,omitempty"` // that make it, where commands are enough
}

// Codes of rejections. They are on the wire and are only ever added to.
const (
	RuleLabel     = "label"       // a require term does not hold
	RuleOnNodes   = "on_nodes"    // the node is not among those allowed
	RuleAwayFrom  = "away_from"   // an app it keeps away from runs there
	RuleWith      = "with_app"    // an app that it goes with is not there
	RuleSpread    = "spread_over" // it would lie more unevenly over a label than it may
	RuleCPU       = "cpu"         // not enough left
	RuleMemory    = "memory"      // not enough left
	RuleOccupied  = "occupied"    // an instance of the app is there already
	RuleCordoned  = "cordoned"    // takes nothing new
	RuleDraining  = "draining"    // everything leaves it
	RuleEvacuated = "evacuated"   // matches an open evacuation
	RuleNotReady  = "not_ready"   // suspected, lost or left
	RuleDriver    = "driver"      // cannot run this kind of app
	RuleName      = "name"        // its instance there would have the name of another app's
	RuleCode      = "code"        // its program does not register the app
	RuleFailed    = "failed"      // the app failed there a short while ago
	RulePort      = "port"        // a fixed port is taken by another instance on that host
	RuleVIP       = "vip"         // cannot carry the app's address
	RuleExcluded  = "excluded"    // left out by the request
	RuleFrozen    = "frozen"      // moves are frozen
	RuleSpecRev   = "spec_rev"    // the app changed since
	RuleMoved     = "moved"       // the instance is not where the plan had it
	RuleLocked    = "locked"      // another migration of the same object is open
	RuleInc       = "inc"         // the node restarted since
	RuleWindow    = "window"      // no maintenance window is open
	RuleApproval  = "approval"    // the policy wants an approval that it does not have
	RuleLeader    = "leadership"  // the epoch's holder has not ended it
)

// RequestRefused records a refusal on the aggregate of the service that refused. v1.
type RequestRefused struct {
	Request    string      `json:"request"` // "app.move", "report.step"
	Code       string      `json:"code"`
	Detail     string      `json:"detail"`
	Rejections []Rejection `json:"rejections,omitempty"`
}
