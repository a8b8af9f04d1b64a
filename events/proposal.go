package events

import "time"

// Rules of the policy that hold a move. They are on the wire and are only ever added to.
const (
	HoldCooldown    = "cooldown"        // another move of the app was admitted too short a time ago
	HoldRate        = "rate"            // as many moves as the policy allows were admitted within its window
	HoldWindow      = "window"          // outside of every maintenance window
	HoldLoad        = "load"            // the target is too busy
	HoldApproval    = "approval"        // an operator has to approve of it
	HoldConcurrent  = "max_concurrent"  // as many moves as the policy allows are under way
	HoldUnavailable = "max_unavailable" // too many of the app would not serve
	HoldMinHealthy  = "min_healthy"     // too few of the app would serve
	HoldFrozen      = "frozen"          // moves are frozen
)

// Hold is one guardrail that holds a move, with the numbers at hand.
type Hold struct {
	Rule   string    `json:"rule"`
	Detail string    `json:"detail"`
	Until  time.Time `json:"until,omitzero"` // when time alone ends it; zero: something has to happen
}

// MigrationPlanned proposes a move that an operator has to approve of. It takes no place. v1.
type MigrationPlanned struct {
	Ref
	Move       Move      `json:"move"` // what an approval is for: another target or definition is another proposal
	Holds      []Hold    `json:"holds"`
	Expires    time.Time `json:"expires"` // without an approval by then, and with one: it is good until then
	PolicyHash string    `json:"policy_hash"`
}

// MigrationHeld says that guardrails hold a move, and which. It takes no place. v1.
type MigrationHeld struct {
	Ref
	Move   Move      `json:"move"`
	Holds  []Hold    `json:"holds"`           // all of them
	Until  time.Time `json:"until,omitzero"`  // when the last of them ends by time; zero: not all do
	Detail string    `json:"detail,omitzero"` // all of them in one line
}

// MigrationApproved lets a proposal through the policy's approval, until it expires. v1.
type MigrationApproved struct {
	Ref
	Why string `json:"why,omitzero"`
}

// MigrationDenied drops a proposal; the same cause proposes it no more. v1.
type MigrationDenied struct {
	Ref
	Why string `json:"why,omitzero"`
}

// MigrationExpired drops a proposal whose time for approval, or whose approval's time, is up. v1.
type MigrationExpired struct {
	Ref
	Expired time.Time `json:"expired"`
}

// MigrationCancelled drops a proposal that is not wanted any more. v1.
type MigrationCancelled struct {
	Ref
	Why string `json:"why"`
}
