package invariants

import (
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// Checker reads one log from its beginning. It remembers about 20 bytes of each event and the present state of the cluster. It is
// not safe for concurrent use.
type Checker struct {
	found []Violation // of the present call
	seq   uint64      // of the message looked at; 0 outside of Event

	heads    map[events.Aggregate]head
	damaged  map[events.Aggregate]bool
	noEvent  map[events.Aggregate]uint64 // aggregate → last message that is no event
	ids      map[uint64]struct{}         // of all events, hashed
	commands map[uint64]outcome          // by hashed command id

	now   *world          // after the last event
	then  *world          // after an earlier one: the state that the last admission was decided on
	since []*events.Event // what then has not seen

	admitted  uint64             // sequence of the cluster aggregate's last event
	ended     map[string]uint64  // migration → sequence of its end
	done      map[string]effects // of open migrations
	seen      map[string]uint64  // app → highest epoch granted or reported
	balance   rebalances
	moved     map[string]time.Time // app → its last admission that counts
	rate      []time.Time          // of the newest admissions that count, oldest first
	proposals map[string]proposal  // by migration
	counted   counters
	orders    map[string]uint64 // every drain, evacuation and rebalance → sequence

	terms   map[string][]*term // by app, in order of their grants
	stays   map[string][]*stay // by instance@node: when members were to run there, oldest first
	staying map[string][]*stay // those that have not ended, by incarnation
	booted  time.Time
}

// New returns a checker of an empty log.
func New() *Checker {
	return &Checker{
		heads: map[events.Aggregate]head{}, damaged: map[events.Aggregate]bool{}, noEvent: map[events.Aggregate]uint64{}, ids: map[uint64]struct{}{}, commands: map[uint64]outcome{},
		now: newWorld(), then: newWorld(), ended: map[string]uint64{}, done: map[string]effects{}, seen: map[string]uint64{},
		balance: newRebalances(), orders: map[string]uint64{}, terms: map[string][]*term{}, stays: map[string][]*stay{}, staying: map[string][]*stay{},
		moved: map[string]time.Time{}, proposals: map[string]proposal{}, counted: counters{},
	}
}

// Check reads a whole log and the journals of its apps; booted is the stored time at which the journals' clock was zero, the zero
// time when it is not known.
func Check(log []events.Message, spans []Span, booted time.Time) []Violation {
	c := New()
	c.booted = booted
	var out []Violation
	for _, m := range log {
		out = append(out, c.Event(m)...)
	}
	return append(out, c.Journal(spans)...)
}

// Event looks at the next message of the log and returns what it breaks. A message without Raw is not looked at byte by byte.
func (c *Checker) Event(m events.Message) []Violation {
	c.found, c.seq = nil, m.Event.Seq
	if c.form(m); m.Err != nil {
		return c.found
	}
	e := &m.Event
	c.behind(e)
	c.chain(e)
	if c.damaged[e.Aggregate] {
		c.known(e) // it is stored, and others rest on it: what is told of the damage, too
		return c.found
	}
	c.causes(e)
	c.judge(e)
	c.proposed(e)
	c.remember(e)
	c.count(e)
	c.now.apply(e)
	c.keep(e)
	return c.found
}

// judge holds an event against the state before it.
func (c *Checker) judge(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		c.admission(e, d)
	case *events.PlacementInvalid, *events.PlacementSatisfied:
		c.episode(e)
	case *events.NodeLost:
		c.waited(d)
	case *events.AppApplied, *events.AppRemoved, *events.AppRestartRequested:
		c.spec(e)
	case *events.NodeLabelsUpdated:
		c.labels(e, d)
	case *events.DrainStarted, *events.DrainCompleted, *events.DrainFailed, *events.DrainCancelled:
		c.drain(e)
	case *events.EvacuationStarted, *events.EvacuationCompleted, *events.EvacuationCancelled:
		c.evacuation(e)
	case *events.MovesFrozen, *events.MovesUnfrozen:
		c.freeze(e)
	case *events.RebalanceTriggered:
		c.triggered(e, d)
	case *events.RebalanceCompleted:
		c.rebalanced(d)
	case *events.NodeJoined:
		c.joined(e, d)
	default:
		c.migration(e)
	}
}

// keep lets the older state follow. Admissions name states that rise, and none lags far; a log that says otherwise is broken.
func (c *Checker) keep(e *events.Event) {
	const most = 20_000
	if e.Aggregate.Kind == events.KindCluster {
		c.admitted = e.Seq
	}
	c.since = append(c.since, e)
	if len(c.since) > most {
		c.catchUp(c.since[most/2].Seq)
	}
}

// catchUp brings the older state to a sequence.
func (c *Checker) catchUp(seq uint64) {
	i := 0
	for ; i < len(c.since) && c.since[i].Seq <= seq; i++ {
		c.then.apply(c.since[i])
	}
	c.since = append([]*events.Event(nil), c.since[i:]...) // the old array would keep every event alive
}

// End returns what is broken when nothing is under way any more and nothing can be: call it only then.
func (c *Checker) End() []Violation {
	c.found, c.seq = nil, 0
	for _, id := range sorted(c.now.moves) {
		m := c.now.moves[id]
		c.broke(Endings, "migration %s of %s, admitted at %d, has not ended", id, m.Instance, m.admitted)
	}
	c.unplaced()
	c.openOrders()
	return c.found
}

func (c *Checker) broke(i *Invariant, format string, args ...any) {
	c.found = append(c.found, Violation{Invariant: i, Seq: c.seq, Detail: fmt.Sprintf(format, args...)})
}
