package events

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Kind is the kind of thing an aggregate is about.
type Kind string

// The aggregates.
const (
	KindNode    Kind = "node"    // labels, scheduling, drain, membership
	KindApp     Kind = "app"     // spec, instances, migrations, leadership
	KindCluster Kind = "cluster" // admissions, policy, freeze, evacuations, rebalances; its id is the cluster's name
	KindRequest Kind = "request" // refusals, one per service
	KindAudit   Kind = "audit"   // the auditor's own facts, one per service
)

// Aggregate names one unit of consistency: its events are revised 1, 2, 3 … without a gap.
type Aggregate struct {
	Kind Kind
	ID   string
}

// String returns "app/convex".
func (a Aggregate) String() string { return string(a.Kind) + "/" + a.ID }

// Node returns the aggregate of a node.
func Node(id string) Aggregate { return Aggregate{KindNode, id} }

// App returns the aggregate of an app.
func App(name string) Aggregate { return Aggregate{KindApp, name} }

// Cluster returns the aggregate of the cluster itself.
func Cluster(name string) Aggregate { return Aggregate{KindCluster, name} }

// Request returns the aggregate on which a service records what it refused.
func Request(service string) Aggregate { return Aggregate{KindRequest, service} }

// Audit returns the aggregate of an auditor's own facts.
func Audit(service string) Aggregate { return Aggregate{KindAudit, service} }

// Type is "<category>.<action>", three tokens: "placement.migration.started".
type Type string

// Category returns the first token.
func (t Type) Category() string { c, _, _ := strings.Cut(string(t), "."); return c }

// Action returns everything after the first token.
func (t Type) Action() string { _, a, _ := strings.Cut(string(t), "."); return a }

// Event is one fact as stored. Data is a pointer to the payload struct of the type, or *Unknown.
type Event struct {
	ID          string
	TS          time.Time // the writer's clock, for people; no decision rests on it
	Type        Type
	V           int
	App         string // set when the event is about an app
	Node        string // set when the event is about a node
	Rev         uint64 // position within the aggregate, from 1
	Actor       string // who asked or which service decided: "cli:ana", "planner"
	Cause       string // id of the event that led to this one, or "cmd:<command id>"
	Correlation string // first cause of the chain
	Prev        string // hash of the aggregate's previous stored event, "" for the first
	Stream      string // incarnation of the stream
	Data        any

	Aggregate Aggregate // from the subject
	Target    string    // node that the event is addressed to, "" for none; from the subject
	Seq       uint64    // stream sequence
	Stored    time.Time // when the server stored it: the one clock of all time-outs and windows
	Hash      string    // of the stored bytes; the next event's Prev
}

// Draft is an event before it has a place in its aggregate.
type Draft struct {
	Aggregate   Aggregate
	Target      string // node to address, or ""
	App         string
	Node        string
	Actor       string
	Cause       string
	Correlation string // "" means: the cause is the first of its chain
	Data        any    // pointer to a registered payload struct
}

// Head is the end of an aggregate as a fold knows it; the zero Head is an aggregate without events.
type Head struct {
	Seq  uint64 // stream sequence of its last event
	Rev  uint64
	Hash string
}

// deriveID makes the id of the event that would be revision rev of an aggregate.
func deriveID(a Aggregate, rev uint64, t Type, cause, target string) string {
	id := identify(a, rev, t, cause, target)
	return string(id[:])
}

const idLen = 20

// identify derives an id from aggregate, revision, type, cause and target, as Derive would.
func identify(a Aggregate, rev uint64, t Type, cause, target string) [idLen]byte {
	var space [256]byte
	b := strconv.AppendInt(space[:0], int64(len(a.Kind)+len("/")+len(a.ID)), 10)
	b = append(append(append(append(b, ':'), a.Kind...), '/'), a.ID...)
	var digits [20]byte
	n := strconv.AppendUint(digits[:0], rev, 10)
	b = append(append(strconv.AppendInt(b, int64(len(n)), 10), ':'), n...)
	b = part(part(part(b, string(t)), cause), target)
	return idOf(b)
}

// part adds one part of what an id is derived from, which tells where it ends.
func part(b []byte, p string) []byte {
	return append(append(strconv.AppendInt(b, int64(len(p)), 10), ':'), p...)
}

func idOf(parts []byte) (id [idLen]byte) {
	sum := sha256.Sum256(parts)
	hex.Encode(id[:], sum[:idLen/2])
	return id
}

// Derive makes a short stable id from its parts: 20 hexadecimal digits. The same parts always make the same id.
func Derive(parts ...string) string {
	var space [256]byte
	b := space[:0]
	for _, p := range parts {
		b = part(b, p)
	}
	id := idOf(b)
	return string(id[:])
}

// IsID says whether a cause has the form of an event's id; any other is of something outside of the log, "cmd:<command id>" for one.
func IsID(cause string) bool {
	return len(cause) == idLen && strings.Trim(cause, "0123456789abcdef") == ""
}

const hashLen = len("sha256:") + 2*sha256.Size

// hashText is the link of the hash chain.
func hashText(stored []byte) (text [hashLen]byte) {
	sum := sha256.Sum256(stored)
	n := copy(text[:], "sha256:")
	hex.Encode(text[n:], sum[:])
	return text
}

func hashOf(stored []byte) string {
	text := hashText(stored)
	return string(text[:])
}
