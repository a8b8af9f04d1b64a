package events

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/invariants/planted"
)

// Bounds of an event on the wire. A decoder refuses more; an encoder never makes more.
const (
	MaxSize  = 768 << 10 // bytes; plans split below two thirds of it
	MaxDepth = 32        // nested objects and arrays
)

// tsPrecision is what a writer's timestamp keeps on the wire.
const tsPrecision = time.Microsecond

// Unknown is the payload of an event whose type this version does not know. It is kept whole, so that it can be shown.
type Unknown struct{ Raw jsontext.Value }

// MalformedError says that a stored message is not a well-formed event of a type (or of the subject) that this version knows.
// Its aggregate must not be appended to any more.
type MalformedError struct {
	Subject string
	Seq     uint64
	Reason  string
}

// Error implements error.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("event at sequence %d on %s: malformed: %s", e.Seq, e.Subject, e.Reason)
}

// wire is the envelope as it travels. Field order is the order on the wire.
type wire[Data any] struct {
	ID          string    `json:"id"`
	TS          time.Time `json:"ts"`
	Category    string    `json:"category"`
	Action      string    `json:"action"`
	App         string    `json:"app,omitzero"`
	Node        string    `json:"node,omitzero"`
	V           int       `json:"v"`
	Rev         uint64    `json:"rev"`
	Actor       string    `json:"actor"`
	Cause       string    `json:"cause,omitzero"`
	Correlation string    `json:"correlation,omitzero"`
	Prev        string    `json:"prev,omitzero"`
	Stream      string    `json:"stream,omitzero"`
	Data        Data      `json:"data"`
}

// payload reads the data of an event right into the struct of its type.
type payload struct {
	into any  // pointer to the struct
	read bool // there was an object, and it fits
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *payload) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	p.read = dec.PeekKind() == '{'
	return json.UnmarshalDecode(dec, p.into)
}

// encode returns the wire form of e. Equal events make equal bytes.
func encode(e *Event) ([]byte, error) {
	ts := e.TS.UTC().Truncate(tsPrecision)
	b := write(e, ts)
	if b == nil {
		var err error
		if b, err = encodeSlowly(e, ts); err != nil {
			return nil, fmt.Errorf("encode %s: %w", e.Type, err)
		}
	}
	if planted.RawNewline {
		b = bytes.ReplaceAll(b, []byte(`\n`), []byte("\n"))
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("encode %s: %d bytes, at most %d allowed", e.Type, len(b), MaxSize)
	}
	return b, nil
}

// encodeSlowly writes whatever can be written.
func encodeSlowly(e *Event, ts time.Time) ([]byte, error) {
	data := e.Data
	if u, ok := data.(*Unknown); ok {
		data = u.Raw
	}
	return json.Marshal(wire[any]{
		ID: e.ID, TS: ts, Category: e.Type.Category(), Action: e.Type.Action(), App: e.App, Node: e.Node,
		V: e.V, Rev: e.Rev, Actor: e.Actor, Cause: e.Cause, Correlation: e.Correlation, Prev: e.Prev, Stream: e.Stream, Data: data,
	}, json.Deterministic(true))
}

// Decode reads one stored message. Every error is a *MalformedError.
func Decode(subject string, seq uint64, stored time.Time, b []byte) (e Event, err error) {
	if bad := new(decoder).decode(&e, subject, seq, stored, b); bad != nil {
		return e, bad
	}
	return e, nil
}

// decoder reads messages one after the other. It is safe for concurrent use.
type decoder struct {
	mu   sync.Mutex
	scan scan // between two messages it holds none
}

// decode reads a message into e, which is zero, and leaves it so where the message is malformed.
func (d *decoder) decode(e *Event, subject string, seq uint64, stored time.Time, b []byte) *MalformedError {
	at, err := ParseEventSubject(subject)
	if err != nil {
		return &MalformedError{Subject: subject, Seq: seq, Reason: err.Error()}
	}
	r := registry[at.Type]
	if d.quickly(e, &at, r, b) {
		e.Seq, e.Stored = seq, stored
		return nil
	}
	slow, err := decodeSlowly(at, r, b)
	if err != nil {
		return &MalformedError{Subject: subject, Seq: seq, Reason: err.Error()}
	}
	slow.Seq, slow.Stored = seq, stored
	*e = slow
	return nil
}

// quickly reads what encode writes, which is nearly all of a log. It says no to everything else, which is then read by the decoder
// that knows all of JSON: also to what is malformed, for that one to say why.
func (d *decoder) quickly(e *Event, at *At, r *Row, b []byte) bool {
	if r == nil || r.form == nil || r.Aggregate != at.Aggregate.Kind || len(b) > MaxSize {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.scan
	s.begin(b)
	defer s.begin(nil)
	var env envelope
	s.envelope(&env, r)
	if !s.ok || env.v < 1 || env.v > r.Version || env.rev == 0 {
		return false
	}
	data, into := r.fresh()
	r.form(s, into)
	if s.skip("}"); !s.ok || len(b) > s.at {
		return false
	}
	e.Aggregate, e.Target = Aggregate{r.Aggregate, s.kept.of(at.Aggregate.ID)}, s.kept.of(at.Target)
	id := identify(e.Aggregate, env.rev, r.Type, env.cause, e.Target)
	if string(id[:]) != string(env.id) {
		*e = Event{}
		return false
	}
	hash := hashText(b)
	e.ID, e.Hash = s.kept.ofBytes(id[:]), s.kept.ofBytes(hash[:])
	e.TS, e.Type, e.V, e.App, e.Node, e.Rev, e.Actor = env.ts, r.Type, env.v, env.app, env.node, env.rev, env.actor
	e.Cause, e.Correlation, e.Prev, e.Stream, e.Data = env.cause, env.correlation, env.prev, env.stream, data
	return true
}

// decodeSlowly reads whatever is well-formed, and says of everything else what is wrong with it.
func decodeSlowly(at At, r *Row, b []byte) (Event, error) {
	bad := func(format string, args ...any) (Event, error) { return Event{}, fmt.Errorf(format, args...) }
	if err := CheckJSON(b, MaxSize, MaxDepth); err != nil {
		return bad("%w", err)
	}
	w, data := decodeOnce(b, r)
	if data == nil {
		if err := json.Unmarshal(b, &w); err != nil {
			return bad("%w", err)
		}
	}
	ts := w.TS.UTC()
	if y := ts.Year(); y < 0 || y > 9999 {
		return bad("ts: year %d has no form on the wire", y) // an offset can carry a time over the edge
	}
	e := Event{
		ID: w.ID, TS: ts, Type: Type(w.Category + "." + w.Action), V: w.V, App: w.App, Node: w.Node, Rev: w.Rev, Actor: w.Actor,
		Cause: w.Cause, Correlation: w.Correlation, Prev: w.Prev, Stream: w.Stream,
		Aggregate: at.Aggregate, Target: at.Target, Hash: hashOf(b),
	}
	switch {
	case e.Type != at.Type:
		return bad("type %s does not match the subject", e.Type)
	case e.Rev == 0 || e.V < 1 || e.ID == "":
		return bad("id, v and rev are required")
	case data == nil && w.Data.Kind() != '{':
		return bad("data: want an object")
	case e.ID != deriveID(e.Aggregate, e.Rev, e.Type, e.Cause, e.Target):
		return bad("id %q is not the one derived from its content", e.ID)
	}
	if r == nil {
		e.Data = &Unknown{Raw: w.Data.Clone()}
		return e, nil
	}
	if e.V > r.Version {
		return bad("%s version %d is newer than %d, the newest this version reads", e.Type, e.V, r.Version)
	}
	if r.Aggregate != e.Aggregate.Kind {
		return bad("%s belongs on a %s aggregate", e.Type, r.Aggregate)
	}
	if data == nil {
		data = r.New()
		if err := json.Unmarshal(w.Data, data); err != nil {
			return bad("data: %w", err)
		}
	}
	e.Data = data
	return e, nil
}

// decodeOnce reads envelope and data in one go. It returns no data for what does not fit: the envelope is then read by itself, to say
// what is wrong with which of the two.
func decodeOnce(b []byte, r *Row) (w wire[jsontext.Value], data any) {
	if r == nil {
		return w, nil
	}
	once := wire[payload]{Data: payload{into: r.New()}}
	if err := json.Unmarshal(b, &once); err != nil || !once.Data.read {
		return w, nil
	}
	return wire[jsontext.Value]{ID: once.ID, TS: once.TS, Category: once.Category, Action: once.Action, App: once.App, Node: once.Node, V: once.V, Rev: once.Rev,
		Actor: once.Actor, Cause: once.Cause, Correlation: once.Correlation, Prev: once.Prev, Stream: once.Stream}, once.Data.into
}

// CheckJSON refuses what a decoder must not be bothered with: too large or too deeply nested input. Syntax, duplicate names and
// invalid UTF-8 are refused by the decoder itself.
func CheckJSON(b []byte, size, depth int) error {
	if len(b) > size {
		return fmt.Errorf("%d bytes, at most %d allowed", len(b), size)
	}
	if len(b) == 0 {
		return errors.New("empty")
	}
	n, str := 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case str && c == '\\':
			i++
		case c == '"':
			str = !str
		case str:
		case c == '{' || c == '[':
			if n++; n > depth {
				return fmt.Errorf("nested deeper than %d", depth)
			}
		case c == '}' || c == ']':
			n--
		}
	}
	return nil
}

// MarshalJSON writes the event as one line of `events`: the envelope plus its sequence.
func (e Event) MarshalJSON() ([]byte, error) {
	b, err := encode(&e)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b[:len(b)-1], `,"seq":%d}`, e.Seq), nil
}
