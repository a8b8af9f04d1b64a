package invariants

import "fmt"

// Invariant is one law.
type Invariant struct {
	Number    int    // stable; a number that is missing belongs to a part that this version does not have
	Name      string // stable: it is a label of a metric and stands in events
	Statement string // one sentence
	RestsOn   string // what makes it hold
}

// The laws.
var (
	Revisions = &Invariant{1, "revisions", "The events of an aggregate are revised 1, 2, 3 … without a gap, in the order of the stream.",
		"compare-and-append on the aggregate's last sequence"}
	Causes = &Invariant{2, "causes", "Ids are unique, each cause is an earlier event or something outside the log, and a command has one outcome.",
		"ids derived from content; the outcome of a command is looked up with the state that it is decided on"}
	Acks = &Invariant{3, "acks", "What a command was told to have brought about is in the log, where it was told.",
		"a reply comes after the acknowledgement of the append"}
	Locks = &Invariant{4, "locks", "At most one migration of a singleton, and of an instance of a pool, is open at a time.",
		"admissions share one aggregate, and open migrations are the lock"}
	Endings = &Invariant{5, "endings", "A migration that was admitted ends exactly once, nothing of it follows, and at rest none is open.",
		"compare-and-append on the app; an ended migration is looked at by nobody"}
	Steps = &Invariant{6, "steps", "Steps follow the plan of their mode, each answers its own order, and none is done twice.",
		"the order's sequence in each report; one open order per migration"}
	Epochs = &Invariant{7, "epochs", "A grant exceeds every epoch seen and follows the end of the holder before: its own report, or the loss of exactly its incarnation after the full wait.",
		"the grant rule of the migrator; closed leases are waited out by the labeler"}
	Activations = &Invariant{8, "activations", "An epoch is activated by the incarnation that it was granted to, once, and never after a higher grant.",
		"activation answers the order to persist, which the grant gave"}
	Handovers = &Invariant{10, "handovers", "A planned move grants an epoch of replicated data to whoever has applied exactly what the one before left; of a log, to whoever is told to before the epoch counts.",
		"the target compares position and checksum, and the migrator holds its report against the step-down's"}
	Pools = &Invariant{11, "pools", "A move of a pool's instance never takes the healthy members below what is desired, or below what they were.",
		"a source is stopped only after its target has been healthy"}
	Places = &Invariant{12, "places", "An admitted move satisfies every hard rule in the state that it names, and an app without a place is Pending, in episodes that open and close in turn.",
		"one admission decides for all apps, on the state of its own sequence"}
	Freezes = &Invariant{13, "freezes", "While moves are frozen none is admitted but stops, and where the freeze lets them pass, recovery and what was forced.",
		"freezes stand on the aggregate that admissions are appended to"}
	Approvals = &Invariant{14, "approvals", "What the policy wants approved is admitted with an operator's word to this very move, which has not expired and is used once.",
		"an approval is of one proposal, and a proposal of one way of one definition"}
	Balance = &Invariant{15, "balance", "Automatic rebalances keep their cooldown, move an instance once, and do not move it to and fro within it.",
		"rebalances stand on the aggregate that holds the last one"}
	Orders = &Invariant{16, "orders", "A drain or an evacuation is complete only with nothing left, its moves begin where it stands, and at rest each order has ended or something is left for it to do.",
		"an order ends on a fold that has all instances and open moves"}
	Facts = &Invariant{17, "facts", "Each thing that an audit asks for is told once when it happens: labels as they were and became, specs, orders and freezes.",
		"what has happened already makes no event; the aggregate's compare decides between replicas"}
	Chain = &Invariant{18, "chain", "Each event names the hash of the stored bytes of the aggregate's event before.",
		"the head of the fold carries the hash; nobody can rewrite a stored event unseen"}
	Succession = &Invariant{19, "succession", "The lives of a singleton begin in the order of their epochs, and one epoch lives on one node.",
		"an agent refuses every epoch below the highest that it wrote down"}
	Alone = &Invariant{20, "alone", "No two active lives of an app overlap.",
		"grants, fencing and the watchdog; CLOCK_BOOTTIME within 10 % of real time"}
	Mandates = &Invariant{21, "mandates", "An active life begins after the activation of its epoch and ends before its end is reported, or its node is lost.",
		"agents act on open orders only, and fence themselves before their lease runs out"}
	Writes = &Invariant{22, "writes", "What was acknowledged under earlier epochs is there for whoever becomes active, unless a grant since said that something may be missing.",
		"a planned move hands over exactly what was left; who recovers says what that rests on"}
	Metrics = &Invariant{26, "metrics", "The exported metrics are what the log says, to the same event.",
		"metrics are a fold of the log"}
	Form = &Invariant{27, "form", "Each stored message is a well-formed event of bounded size, valid UTF-8 and without control characters.",
		"one encoder; what comes from outside is cut and escaped before it is stored"}
	Folds = &Invariant{28, "folds", "Two readers of one log that share no code believe the same: nodes, apps, where instances are, who leads, what is open and frozen.",
		"a fold takes nothing but the log, in its order"}
	Quarantine = &Invariant{29, "quarantine", "Nothing is appended to an aggregate behind a message that is no event.",
		"folds quarantine the aggregate, and who decides leaves those alone"}
	Standbys = &Invariant{32, "standbys", "A standby's migrations grant nothing, and it is placed where nothing else of its app is.",
		"standbys are admitted like instances, and what they are given is a node and a copy"}
	Effects = &Invariant{30, "effects", "Nothing runs that was not ordered to, or on where its node has said that it ended.",
		"agents start programs for orders and for instances that the log has there"}
	Budgets = &Invariant{31, "budgets", "Unless it recovers or was forced, an admitted move keeps its app's max_unavailable and min_healthy, and the policy's cooldown, rate, windows and number of moves at once.",
		"one admission decides for all apps, with what is under way counted"}
)

// All returns the laws by number.
func All() []*Invariant {
	return []*Invariant{Revisions, Causes, Acks, Locks, Endings, Steps, Epochs, Activations, Handovers, Pools, Places, Freezes, Approvals, Balance, Orders, Facts,
		Chain, Succession, Alone, Mandates, Writes, Metrics, Form, Folds, Quarantine, Effects, Budgets, Standbys}
}

// OfLog returns those of them that the event log alone can break.
func OfLog() []*Invariant {
	out := []*Invariant{}
	for _, i := range All() {
		if i != Succession && i != Alone && i != Mandates && i != Writes && i != Metrics && i != Folds && i != Effects && i != Acks {
			out = append(out, i)
		}
	}
	return out
}

// Violation is one breach of a law.
type Violation struct {
	*Invariant
	Seq    uint64 // of the event that broke it; 0 for what is found at rest or in a journal
	Detail string // names the thing and the reason
}

// String returns "412 locks: …".
func (v Violation) String() string {
	if v.Seq == 0 {
		return fmt.Sprintf("%s: %s", v.Name, v.Detail)
	}
	return fmt.Sprintf("%d %s: %s", v.Seq, v.Name, v.Detail)
}
