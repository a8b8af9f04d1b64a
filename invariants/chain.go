package invariants

import (
	"hash/fnv"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-cluster/go-cluster/events"
)

// head is the end of an aggregate.
type head struct {
	seq, rev uint64
	hash     string
}

// outcome is what has come of a command: its first event, and those that may follow.
type outcome struct {
	agg   events.Aggregate
	types []events.Type
	seqs  []uint64 // of all that has come of it
	held  bool     // and nothing else has come of it yet
}

// hashed stands for an id. Two of a billion ids share one with a probability of 3 %, and then an unknown cause may pass.
func hashed(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// form holds the stored bytes against what an event may be.
func (c *Checker) form(m events.Message) {
	if m.Err != nil {
		c.broke(Form, "%s: %s", m.Err.Subject, m.Err.Reason)
		if at, err := events.ParseEventSubject(m.Err.Subject); err == nil {
			c.damaged[at.Aggregate] = true
			c.noEvent[at.Aggregate] = m.Event.Seq
		}
		return
	}
	if len(m.Raw) > events.MaxSize {
		c.broke(Form, "%s of %s has %d bytes, at most %d allowed", m.Event.Type, m.Event.Aggregate, len(m.Raw), events.MaxSize)
	}
	for i := 0; i < len(m.Raw); {
		r, n := utf8.DecodeRune(m.Raw[i:])
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) {
			c.broke(Form, "%s of %s has the byte %#02x at %d", m.Event.Type, m.Event.Aggregate, m.Raw[i], i)
			return
		}
		i += n
	}
}

// behind holds an event against a message before it that was none.
func (c *Checker) behind(e *events.Event) {
	if at := c.noEvent[e.Aggregate]; at > 0 {
		c.broke(Quarantine, "%s is appended to %s, where the message at %d is no event", e.Type, e.Aggregate, at)
	}
}

// Acked holds what the answer to a command said: that it has brought something about, at a sequence. The log must have been read up
// to there.
func (c *Checker) Acked(command string, seq uint64) []Violation {
	c.found, c.seq = nil, 0
	switch o, known := c.commands[hashed(command)]; {
	case !known:
		c.broke(Acks, "command %s was acknowledged as stored at %d, and the log does not have it", command, seq)
	case !slices.Contains(o.seqs, seq):
		c.broke(Acks, "command %s was acknowledged as stored at %d, it stands at %d", command, seq, o.seqs)
	}
	return c.found
}

// chain holds an event against the one before it in its aggregate.
func (c *Checker) chain(e *events.Event) {
	h := c.heads[e.Aggregate]
	if e.Rev != h.rev+1 {
		c.broke(Revisions, "%s of %s has revision %d after %d", e.Type, e.Aggregate, e.Rev, h.rev)
		c.damaged[e.Aggregate] = true
	}
	if e.Seq <= h.seq || e.Seq <= c.now.seq {
		c.broke(Revisions, "%s of %s has sequence %d after %d", e.Type, e.Aggregate, e.Seq, max(h.seq, c.now.seq))
	}
	if e.Prev != h.hash {
		c.broke(Chain, "%s of %s names %s as the hash before it, which is %s", e.Type, e.Aggregate, or(e.Prev, "none"), or(h.hash, "none"))
		c.damaged[e.Aggregate] = true
	}
	c.heads[e.Aggregate] = head{e.Seq, e.Rev, e.Hash}
}

// causes holds an event's id and causes against all events so far.
func (c *Checker) causes(e *events.Event) {
	if _, twice := c.ids[hashed(e.ID)]; twice {
		c.broke(Causes, "the id %s of %s stands twice", e.ID, e.Type)
	}
	c.cause(e.Type, e.Cause)
	if d, ok := e.Data.(*events.PlanAdmitted); ok {
		for _, m := range d.Moves {
			c.cause("the move of "+events.Type(m.Instance), m.Cause)
		}
	}
	if first, again := c.commands[commandOf(e)]; again && !oneOutcome(first, e) {
		c.broke(Causes, "%s on %s is a second outcome of command %s, which had %s on %s at %d", e.Type, e.Aggregate, e.Cause, first.types[0], first.agg, first.seqs[0])
	}
	c.known(e)
}

// known notes an event's id, and what has come of its command.
func (c *Checker) known(e *events.Event) {
	c.ids[hashed(e.ID)] = struct{}{}
	command := commandOf(e)
	if command == 0 {
		return
	}
	o, again := c.commands[command]
	if !again {
		o = outcome{agg: e.Aggregate, held: true}
	}
	_, still := e.Data.(*events.MigrationHeld)
	o.types, o.seqs, o.held = append(o.types, e.Type), append(o.seqs, e.Seq), o.held && still
	c.commands[command] = o
}

// commandOf returns the command that has brought an event about, hashed; 0 for none.
func commandOf(e *events.Event) uint64 {
	id, ok := strings.CutPrefix(e.Cause, "cmd:")
	if !ok {
		return 0
	}
	return hashed(id)
}

// cause wants an earlier event, or something outside the log: a command, a lease, a report.
func (c *Checker) cause(of events.Type, id string) {
	if kind, _, outside := strings.Cut(id, ":"); id == "" || outside && (kind == "cmd" || kind == "lease" || kind == "rep") {
		return
	}
	if _, known := c.ids[hashed(id)]; !known {
		c.broke(Causes, "%s names %s as its cause, and no earlier event has that id", of, id)
	}
}

// oneOutcome says whether e belongs to the outcome of the command that had first. An agent's word about its node is told as
// several facts, each once; a drain of several nodes is one event on each; a move that waits for its turn is held, maybe for one reason
// after another, and is admitted once.
func oneOutcome(first outcome, e *events.Event) bool {
	switch e.Data.(type) {
	case *events.MigrationHeld:
		return first.held && first.agg == e.Aggregate
	case *events.PlanAdmitted:
		return first.held
	case *events.DrainStarted:
		return first.agg != e.Aggregate && first.types[0] == e.Type
	case *events.NodeLost, *events.NodeJoined, *events.NodeFactsUpdated, *events.NodeLabelsUpdated:
		if first.agg != e.Aggregate {
			return false
		}
		for _, t := range first.types {
			if t == e.Type {
				return false
			}
		}
		return true
	}
	return false
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
