// Package planted names mistakes that are planted on purpose, to prove that the laws of package invariants catch them: `make bugs`.
// A build with the tag bug_<name> has one of them. In every other build all are the constant false, and the compiler leaves nothing
// of what they would do.
package planted

// The mistakes, by the law that has to catch them.
const (
	RevGap           = name == "rev_gap"           // revisions: the next event of an aggregate skips a revision
	DuplicateCommand = name == "duplicate_command" // causes: a command that is sent again is carried out again
	AckUnstored      = name == "ack_unstored"      // acks: an uncordon is acknowledged and not stored
	SkipCompare      = name == "skip_compare"      // locks: a decision is appended to the newest head, not to the one that it was made on
	IgnoreLock       = name == "ignore_lock"       // locks: a move is admitted for what is moving already
	CompleteTwice    = name == "complete_twice"    // endings: an append that succeeded is taken for lost and done again
	StaleOrder       = name == "stale_order"       // steps: the report on an earlier order ends the open one
	SuspectedIsLost  = name == "suspected_is_lost" // epochs: what a silent node holds is given away before the node is lost
	NoWait           = name == "no_wait"           // epochs: a closed lease is not waited out
	ReuseEpoch       = name == "reuse_epoch"       // epochs: the way back is granted the epoch that it takes back
	ActivatesTarget  = name == "activates_target"  // activations: on the way back the target is activated
	CopyBehind       = name == "copy_behind"       // handovers: a copy is taken for what was left, wherever it is
	LogUntold        = name == "log_untold"        // handovers: who is granted a log is not told to apply first what was left of it
	StopBeforeStart  = name == "stop_before_start" // pools: a pool stops the source first
	IgnoreCordon     = name == "ignore_cordon"     // places: a cordoned node is as good as any other
	ForgetInFlight   = name == "forget_in_flight"  // places: what is on its way to a node takes nothing there
	PendingUntold    = name == "pending_untold"    // places: an app with nowhere to go is not told to be Pending
	FreezeIgnored    = name == "freeze_ignored"    // freezes: a move that somebody asks for is admitted while moves are frozen
	ApprovalUnasked  = name == "approval_unasked"  // approvals: what has to be approved of is admitted at once
	MetricTwice      = name == "metric_twice"      // metrics: a migration that failed is counted as completed too
	BudgetIgnored    = name == "budget_ignored"    // budgets: an app's disruption budget holds nothing
	WindowIgnored    = name == "window_ignored"    // budgets: moves begin by themselves outside of every maintenance window
	TooMany          = name == "too_many"          // budgets: as many moves begin at once as there are
	LabelsKept       = name == "labels_kept"       // folds: a label that is taken away stays in the fold
	NoCooldown       = name == "no_cooldown"       // balance: every join is answered with a rebalance at once
	DrainEarly       = name == "drain_early"       // orders: a drain is complete when nothing is moving
	LabelsTwice      = name == "labels_twice"      // facts: labels that are as wanted are set again
	ChainCut         = name == "chain_cut"         // chain: an event does not name the one before it
	EpochNotWritten  = name == "epoch_not_written" // succession: an agent writes the first epoch of an app only, and believes what is written
	NoFence          = name == "no_fence"          // alone: neither the agent nor the watchdog ends anything when the lease runs out
	EarlyStart       = name == "early_start"       // mandates: an agent starts the app when it has written the epoch down
	StepDownLies     = name == "step_down_lies"    // mandates: an agent reports that it has stepped down and has not
	FlushEarly       = name == "flush_early"       // writes: the rest of an app's data is shipped while the app still writes
	LossUntold       = name == "loss_untold"       // writes: a node that recovers data says that nothing is missing
	RawNewline       = name == "raw_newline"       // form: line feeds are stored unescaped
	NoQuarantine     = name == "no_quarantine"     // quarantine: a message that is no event is passed over
	StandbyBeside    = name == "standby_beside"    // standbys: a standby is placed wherever it fits, beside the app's instance, too
	PrepareStarts    = name == "prepare_starts"    // effects: a standby is started when it is only to be prepared
)

// Mistake is one of them.
type Mistake struct {
	Name string // of the tag, without bug_
	Law  string // the invariant that has to report it
	What string
}

// Name returns the mistake that this build has, "" for none.
func Name() string { return name }

// All returns every mistake.
func All() []Mistake {
	return []Mistake{
		{"rev_gap", "revisions", "the next event of an aggregate skips a revision"},
		{"duplicate_command", "causes", "a command that is sent again is carried out again"},
		{"ack_unstored", "acks", "an uncordon is acknowledged and not stored"},
		{"skip_compare", "locks", "a decision is appended to the newest head, not to the one that it was made on"},
		{"ignore_lock", "locks", "a move is admitted for what is moving already"},
		{"complete_twice", "endings", "an append that succeeded is taken for lost and done again"},
		{"stale_order", "steps", "the report on an earlier order ends the open one"},
		{"suspected_is_lost", "epochs", "what a silent node holds is given away before the node is lost"},
		{"no_wait", "epochs", "a closed lease is not waited out"},
		{"reuse_epoch", "epochs", "the way back is granted the epoch that it takes back"},
		{"activates_target", "activations", "on the way back the target is activated"},
		{"copy_behind", "handovers", "a copy is taken for what was left, wherever it is"},
		{"log_untold", "handovers", "who is granted a log is not told to apply first what was left of it"},
		{"stop_before_start", "pools", "a pool stops the source first"},
		{"ignore_cordon", "places", "a cordoned node is as good as any other"},
		{"forget_in_flight", "places", "what is on its way to a node takes nothing there"},
		{"pending_untold", "places", "an app with nowhere to go is not told to be Pending"},
		{"freeze_ignored", "freezes", "a move that somebody asks for is admitted while moves are frozen"},
		{"approval_unasked", "approvals", "what has to be approved of is admitted at once"},
		{"metric_twice", "metrics", "a migration that failed is counted as completed too"},
		{"budget_ignored", "budgets", "an app's disruption budget holds nothing"},
		{"window_ignored", "budgets", "moves begin by themselves outside of every maintenance window"},
		{"too_many", "budgets", "as many moves begin at once as there are"},
		{"labels_kept", "folds", "a label that is taken away stays in the fold"},
		{"no_cooldown", "balance", "every join is answered with a rebalance at once"},
		{"drain_early", "orders", "a drain is complete when nothing is moving"},
		{"labels_twice", "facts", "labels that are as wanted are set again"},
		{"chain_cut", "chain", "an event does not name the one before it"},
		{"epoch_not_written", "succession", "an agent writes the first epoch of an app only, and believes what is written"},
		{"no_fence", "alone", "neither the agent nor the watchdog ends anything when the lease runs out"},
		{"early_start", "mandates", "an agent starts the app when it has written the epoch down"},
		{"step_down_lies", "mandates", "an agent reports that it has stepped down and has not"},
		{"flush_early", "writes", "the rest of an app's data is shipped while the app still writes"},
		{"loss_untold", "writes", "a node that recovers data says that nothing is missing"},
		{"raw_newline", "form", "line feeds are stored unescaped"},
		{"no_quarantine", "quarantine", "a message that is no event is passed over"},
		{"standby_beside", "standbys", "a standby is placed wherever it fits, beside the app's instance, too"},
		{"prepare_starts", "effects", "a standby is started when it is only to be prepared"},
	}
}
