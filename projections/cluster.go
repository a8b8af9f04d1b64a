package projections

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Cluster is the state of one cluster after the event with sequence Seq. It is not safe for concurrent use; see Replica.
// Callers read it and never change it.
type Cluster struct {
	Name string
	Seq  uint64    // of the last event folded, malformed ones included
	Time time.Time // greatest stored time so far
	// Planned is the sequence of the last event that can change what a plan says; steps of migrations under way cannot.
	Planned uint64

	Nodes       map[string]*Node
	Apps        map[string]*App
	Migrations  map[string]*Migration  // open ones, and the latest keepEnded ended ones
	Evacuations map[string]*Evacuation // by order, open ones, and the latest keepOrders ended ones; as the others
	Rebalances  map[string]*Rebalance
	Drains      map[string]*Drain

	Policy     spec.Policy
	PolicyHash string
	PolicyBy   Cause
	PolicySet  Cause             // last time that a person set it; a declaration first seen before it has no say
	PolicyDecl string            // hash of the declaration that it follows, "" for none
	Frozen     map[string]string // source → why
	Admitted   []time.Time       // when moves were admitted that count for the rate limit: the latest spec.MaxRate, oldest first

	Commands map[string]Outcome // by command id: the latest keepCommands
	commands []string           // ids in order of arrival

	Heads       map[events.Aggregate]events.Head
	Quarantined map[events.Aggregate]string                        // why; such an aggregate is followed and never appended to
	ended       []string                                           // ids of ended migrations, oldest first
	over        struct{ evacuations, rebalances, drains []string } // ended orders, oldest first
	changes     []Change                                           // the latest, oldest first; see changes.go
	forgotten   uint64                                             // sequence of the last one that is not among them
	declared    map[string]map[string]Cause                        // what was ever declared: name → hash → first seen; see declared.go
	declarers   map[string]map[string]bool                         // name → nodes whose programs declare it now
	been        map[string]map[string]bool                         // app → nodes, see beenOn
	Metrics     *Metrics
}

// What is remembered of the past; older entries are forgotten in log order, so equal logs still make equal folds.
const (
	keepEnded    = 2000
	keepOrders   = 1000 // of a kind
	keepCommands = 20000
	keepHistory  = 64 // events of one migration
	mostHappen   = 8  // that most of them have
	keepTerms    = 16 // epochs of one app
)

// NewCluster returns the state before the first event.
func NewCluster(name string) *Cluster {
	return &Cluster{
		Name: name, Nodes: map[string]*Node{}, Apps: map[string]*App{}, Migrations: map[string]*Migration{},
		Evacuations: map[string]*Evacuation{}, Rebalances: map[string]*Rebalance{}, Drains: map[string]*Drain{},
		Policy: spec.Policy{}.WithDefaults(), PolicyHash: events.HashPolicy(spec.Policy{}.WithDefaults()), Frozen: map[string]string{},
		Commands: map[string]Outcome{}, Heads: map[events.Aggregate]events.Head{}, Quarantined: map[events.Aggregate]string{},
		declared: map[string]map[string]Cause{}, declarers: map[string]map[string]bool{}, been: map[string]map[string]bool{}, Metrics: NewMetrics(),
	}
}

// forget notes that an order has ended, and forgets the oldest of its kind.
func forget[O any](orders map[string]O, ended *[]string, order string) {
	if *ended = append(*ended, order); len(*ended) > keepOrders {
		delete(orders, (*ended)[0])
		*ended = (*ended)[1:]
	}
}

// Cause points at the event that something rests on.
type Cause struct {
	ID          string
	Seq         uint64
	Correlation string
	Actor       string
	At          time.Time
}

func causeOf(e *events.Event) Cause {
	return Cause{ID: e.ID, Seq: e.Seq, Correlation: e.Correlation, Actor: e.Actor, At: e.Stored}
}

// Status of a node in the fold.
const (
	StatusReady     = "ready"
	StatusSuspected = "suspected"
	StatusLost      = "lost"
	StatusLeft      = "left"
)

// Node is a node as the log knows it; its load and health travel in its lease.
type Node struct {
	ID       string
	Status   string
	Inc      string // incarnation that joined last
	Over     string // incarnation of which the log has the end last, joined or not
	Machine  string
	TTL      time.Duration
	Facts    events.Facts
	Labels   map[string]string
	Declared map[string]string // the agent's last declared labels
	Cordoned bool
	Drain    *Drain // open drain
	Epochs   map[string]uint64

	declares map[string]Declaration // by name; see declared.go

	Joined    Cause // last joined
	Factual   Cause // last joined or facts.updated that changed which apps are registered
	Labelled  Cause // last labels.updated
	Scheduled Cause // last cordon, uncordon or drain event
	Suspected Cause
	Gone      Cause // last lost or left
}

// Draining says whether everything is to leave the node.
func (n *Node) Draining() bool { return n.Drain != nil }

// Drain is one drain of one node.
type Drain struct {
	Order       string
	Node        string
	Timeout     time.Duration
	Deadline    time.Time // zero: none
	Force       bool
	DeleteLocal bool
	Started     Cause
	State       string // api.Order…
	Left        []string
	Moved       int // instances that have left for it
}

// App is an app as declared and as it stands.
type App struct {
	Name        string
	Spec        spec.App
	SpecRev     uint64
	Declared    string // hash of the declaration that the spec follows, "" when a person changed it last
	Generation  uint64 // instances with a smaller one are replaced
	Removed     bool
	DeleteLocal bool // of the removal
	Epoch       uint64
	Leader      *Leader           // last grant of a singleton; nil before the first
	Terms       []Term            // the latest grants, newest first
	Lost        []events.DataLost // what nodes came back with that a takeover went on without, oldest first
	Instances   map[string]*Instance
	Standbys    map[string]*Instance  // of a singleton, by id; see standbys.go
	Open        map[string]*Migration // admitted and not ended, by id
	Ended       map[string]Ending     // by instance: why it is not there any more
	Pending     *Pending
	Backoff     map[string]Backoff    // by node
	Vetoes      map[string]Veto       // by instance
	Proposals   map[string]*Migration // by instance: planned or held, and not admitted
	Denied      map[string]string     // by instance: cause of the move that an operator denied last
	LastMove    time.Time             // last admission of a move that counts for the cooldown
	Placed      int                   // instances ever placed: tells a first placement from scaling

	Applied    Cause // last spec event
	Changed    Cause // last one by a person; a declaration first seen before it has no say
	Ruled      Cause // last spec event that changed the rules for where it may run
	Restarted  Cause // last event that raised Generation
	ScaledFrom int   // desired instances before the last spec event
}

// Leader is the holder of an app's newest epoch.
type Leader struct {
	Epoch     uint64
	Node      string
	Inc       string
	Activated bool
	Ended     bool // released, or its incarnation is lost: the next grant needs no waiting
}

// Term is one epoch of an app: who led it, and from where to where its data came.
type Term struct {
	Epoch    uint64
	Node     string
	Inc      string
	Machine  string          // of Inc, where the fold has its node
	From     events.Position // of the data it began with, where that was stated
	FromSum  string          // the checksum there, where that was stated
	Final    events.Position // of the data it ended with, where its leader said so
	Checksum string          // at Final
	// Stored is of an epoch under which nothing is acknowledged, or was when it ended, that is not stored: where that began; see keepStored.
	Stored    events.Position
	Activated bool
	EndedAt   time.Time // stored time; zero while it lasts

	Granted uint64 // sequence of its grant
	Lossy   bool   // what was acknowledged under the epoch before may be missing, as the grant says
	BoundMS int64  // of Lossy; see events.LeadershipGranted
}

// Instance is one instance where it is placed. During a move it stays at the source until the commit.
type Instance struct {
	ID         string
	App        string
	Node       string
	Inc        string
	Role       string // api.Role…
	State      string // api.Instance…
	Healthy    bool
	Detail     string
	Generation uint64
	SpecRev    uint64
	Address    string
	Ports      map[string]int
	Since      time.Time
	Health     Cause // last health event
	MovedAt    time.Time
	Put        Put // why it is where it is
}

// Put is what brought an instance to where it is: it is kept for as long as the instance is there, however long ago that was.
type Put struct {
	Migration string
	Admitted  Cause // the admission of that migration
	By        Cause // the event of it that put the instance there
}

// Ending is why an instance is no more.
type Ending struct {
	Reason string // events.Reason…
	Node   string // where it was
	By     Cause
}

// Pending is an open episode without a place to go.
type Pending struct {
	events.PlacementInvalid
	By Cause
}

// Backoff keeps automatic planning off a node where the app failed.
type Backoff struct {
	Failures int
	Until    time.Time
	Last     time.Time
	Detail   string
}

// Veto holds automatic moves of an instance that a hook has refused, or that could not leave where it is, for as long as the cause is the same.
type Veto struct {
	Until  time.Time
	Cause  string // of the move that was refused
	Detail string
}

// Status of a migration in the fold.
const (
	MigrationHeld      = "held"    // proposed: neither admitted nor dropped
	MigrationPlanned   = "planned" // admitted, not started
	MigrationRunning   = "running"
	MigrationCompleted = "completed"
	MigrationFailed    = "failed"
	MigrationCancelled = "cancelled"
)

// Migration is one admitted move and how far it is.
type Migration struct {
	events.Move
	Plan     string
	Admitted Cause
	Status   string

	Kind       string
	Generation uint64
	Started    Cause
	Order      *Order // the open step; nil when none is open
	Orderer    string // standing order that the move belongs to
	Undoing    bool
	GapOpened  bool // step-down was ordered: undo needs a grant
	Committed  bool // granted to the target, or the target of a pool move serves
	Granted    uint64
	Was        Definition     // what the instance ran before the commit: the way back returns to it
	Result     *events.Result // of the target

	Holds    []events.Hold // of a proposal: the guardrails that hold it
	Awaits   bool          // a proposal that waits for approval
	Expires  time.Time     // of the approval, given or awaited; zero: none is needed
	Approval Cause         // its approval
	DeniedBy string        // it was denied after it was admitted

	Cancel  *events.CancelRequested
	Failure *events.StepFailed // the failure that is being undone
	BadNode string

	History   []Happening // the first and the latest
	Forgotten int         // events between them
	EndedAt   time.Time
	Took      time.Duration // by stored time
	Told      time.Duration // as the event of its end says, which was written a moment before it was stored
	Code      string
	Detail    string
	Left      string
}

// Definition names what an instance runs.
type Definition struct {
	SpecRev, Generation uint64
	Put                 Put
}

// Ended says whether the migration is over.
func (m *Migration) Ended() bool {
	return m.Status == MigrationCompleted || m.Status == MigrationFailed || m.Status == MigrationCancelled
}

// Order is an ordered step. Its Seq is the sequence of the event that ordered it.
type Order struct {
	events.Next
	Seq      uint64
	At       time.Time
	Deadline time.Time
	EventID  string
}

// Happening is one event of a migration, for showing.
type Happening struct {
	Seq    uint64
	At     time.Time
	Event  events.Type
	Step   string
	Node   string
	Detail string
}

// Evacuation is a standing order over every node that matches.
type Evacuation struct {
	Order    string
	Selector spec.Selector
	Text     string
	Deadline time.Time
	Started  Cause
	Ended    Cause // of a cancelled one
	State    string
	Left     []string
	Moved    int // instances that have left for it
}

// Rebalance is a proposal and its fate.
type Rebalance struct {
	events.RebalanceTriggered
	Started   Cause
	Completed bool
	Stopped   bool
	Ended     Cause
	Admitted  map[string]string // instance → migration
	Outcomes  map[string]string // instance → status that the migration has ended with
}

// Outcome is what became of a command.
type Outcome struct {
	Seq     uint64
	Type    events.Type
	Refused *events.RequestRefused
	Order   string
}
