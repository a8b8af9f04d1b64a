package events

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/invariants/planted"
)

// Keys of a stream's metadata. The incarnation is a random id made when the stream is: a restored or re-created stream has
// another, so that sequences of two lives of a stream are never mixed up.
const (
	MetaIncarnation = "go-cluster.io/incarnation"
	MetaConfigHash  = "go-cluster.io/config"
)

// ErrConflict says that the aggregate moved on since the head that the append was decided on: nothing was stored; fold again and
// decide again.
var ErrConflict = errors.New("the aggregate has newer events")

// ErrUnknown says that it is not known whether the event was stored. The next append or fold of the aggregate tells.
var ErrUnknown = errors.New("it is not known whether the event was stored")

// JetStream's answers to an expectation that does not hold: on one server, and while another write is under way on several.
const (
	codeWrongLastSeq         = 10071
	codeWrongLastSeqInFlight = 10164
)

// Log is the event log of one cluster. It is safe for concurrent use.
type Log struct {
	Subjects
	js          jetstream.JetStream
	stream      jetstream.Stream
	incarnation string
	now         func() time.Time
	void        atomic.Pointer[error]  // see ErrIncarnation
	probed      atomic.Pointer[ending] // for readers
	decoder     decoder                // of all readers
}

// Open binds to the existing event stream of a cluster. now stamps events for people; no decision rests on it.
func Open(ctx context.Context, js jetstream.JetStream, s Subjects, now func() time.Time) (*Log, error) {
	stream, err := js.Stream(ctx, s.EventsStream())
	if err != nil {
		return nil, fmt.Errorf("open log of cluster %s: %w", s.Cluster(), err)
	}
	inc := stream.CachedInfo().Config.Metadata[MetaIncarnation]
	if inc == "" {
		return nil, fmt.Errorf("open log of cluster %s: stream %s has no %s: it was not made by go-cluster", s.Cluster(), s.EventsStream(), MetaIncarnation)
	}
	l := &Log{Subjects: s, js: js, stream: stream, incarnation: inc, now: now}
	l.decoder.scan.kept = make(kept, keepTexts)
	return l, nil
}

// Incarnation returns the id of this life of the stream.
func (l *Log) Incarnation() string { return l.incarnation }

// Append stores d as the next event of its aggregate, which must end at head. On success it returns the event as stored. On
// ErrConflict nothing of this call was stored. On ErrUnknown (ctx ended, or the servers did not answer) it may have been stored.
// Two replicas that make the same decision at the same head store it once and both succeed, with the payload that was stored.
func (l *Log) Append(ctx context.Context, d Draft, head Head) (Event, error) {
	return l.append(ctx, d, head, 0)
}

// AppendAt is Append for a decision that rests on the whole log: it is stored only as the one that follows the event with sequence end.
// What was decided on a fold that had reached end has then missed nothing, without anybody being asked where the log ends. On
// ErrConflict the aggregate or the log went on.
func (l *Log) AppendAt(ctx context.Context, d Draft, head Head, end uint64) (Event, error) {
	if end == 0 {
		return Event{}, fmt.Errorf("append to %s: a log without events has no end", d.Aggregate)
	}
	return l.append(ctx, d, head, end)
}

// append expects the log's last sequence to be end unless that is 0.
func (l *Log) append(ctx context.Context, d Draft, head Head, end uint64) (Event, error) {
	e, raw, err := l.compose(d, head)
	if err != nil {
		return Event{}, err
	}
	subject, filter := l.Event(e.Aggregate, e.Type, e.Target), l.Subjects.Aggregate(e.Aggregate)
	fail := func(err error) (Event, error) {
		return Event{}, fmt.Errorf("append %s to %s: %w", e.Type, e.Aggregate, err)
	}
	guards := []jetstream.PublishOpt{jetstream.WithExpectStream(l.EventsStream()), jetstream.WithExpectLastSequenceForSubject(head.Seq, filter), jetstream.WithRetryAttempts(0)}
	if end > 0 {
		guards = append(guards, jetstream.WithExpectLastSequence(end))
	}
	behind := func() (Event, error) {
		return fail(fmt.Errorf("%w, or the log has gone on from %d", ErrConflict, end))
	}
	for first, wait := true, 5*time.Millisecond; ; first, wait = false, min(2*wait, 500*time.Millisecond) {
		if err := l.voided(); err != nil {
			return fail(err)
		}
		msg := nats.NewMsg(subject)
		msg.Data = raw
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		ack, err := l.js.PublishMsg(try, msg, guards...)
		cancel()
		if err == nil {
			e.Seq = ack.Sequence
			return e, nil
		}
		var api *jetstream.APIError
		rejected := errors.As(err, &api)
		if rejected && api.ErrorCode != codeWrongLastSeq && api.ErrorCode != codeWrongLastSeqInFlight && api.Code != 503 {
			return fail(err) // the server said no for good: a bug or a full disk
		}
		moved := rejected && api.ErrorCode == codeWrongLastSeq
		if end > 0 && moved && first {
			return behind() // no other try of this call is under way
		}
		// The outcome is unknown, or somebody else was faster. What follows the expected sequence decides; a read that finds
		// nothing there leaves the same expectations to try again with, which is safe however often an earlier try still arrives.
		next, readErr := l.after(ctx, filter, head.Seq)
		switch {
		case readErr == nil && next.ID == e.ID:
			return next, nil
		case readErr == nil:
			return fail(fmt.Errorf("%w: %s of revision %d at sequence %d, expected sequence %d", ErrConflict, next.Type, next.Rev, next.Seq, head.Seq))
		case errors.As(readErr, new(*MalformedError)):
			return fail(readErr)
		case end > 0 && moved && errors.Is(readErr, errNothing):
			return behind() // nor will an earlier try be stored that still arrives: it expects the same end
		}
		select {
		case <-ctx.Done():
			return fail(fmt.Errorf("%w: %w (last answer: %v)", ErrUnknown, ctx.Err(), err))
		case <-time.After(wait):
		}
	}
}

// errNothing says that an aggregate has no event after a sequence.
var errNothing = errors.New("no event after that sequence")

// after reads the first event of filter behind seq, from the stream's leader.
func (l *Log) after(ctx context.Context, filter string, seq uint64) (Event, error) {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := l.stream.GetMsg(try, seq+1, jetstream.WithGetMsgSubject(filter))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Event{}, errNothing
	}
	if err != nil {
		return Event{}, err
	}
	return Decode(m.Subject, m.Sequence, m.Time, m.Data)
}

func (l *Log) compose(d Draft, head Head) (Event, []byte, error) {
	t, err := TypeOf(d.Data)
	if err != nil {
		return Event{}, nil, err
	}
	r := registry[t]
	if r.Aggregate != d.Aggregate.Kind {
		return Event{}, nil, fmt.Errorf("%s belongs on a %s aggregate, not on %s", t, r.Aggregate, d.Aggregate)
	}
	if (head.Seq == 0) != (head.Rev == 0) {
		return Event{}, nil, fmt.Errorf("append %s to %s: head %+v is not one of a fold", t, d.Aggregate, head)
	}
	if d.Aggregate.Kind == KindCluster && d.Aggregate.ID != l.Cluster() {
		return Event{}, nil, fmt.Errorf("append %s to %s: the log is that of cluster %s", t, d.Aggregate, l.Cluster())
	}
	e := Event{
		ID: deriveID(d.Aggregate, head.Rev+1, t, d.Cause, d.Target), TS: l.now().UTC().Truncate(tsPrecision), Type: t, V: r.Version, App: d.App, Node: d.Node,
		Rev: head.Rev + 1, Actor: d.Actor, Cause: d.Cause, Correlation: d.Correlation, Prev: head.Hash, Stream: l.incarnation,
		Data: d.Data, Aggregate: d.Aggregate, Target: d.Target,
	}
	if e.Correlation == "" {
		e.Correlation = e.Cause
	}
	if planted.RevGap && t == "node.scheduling.uncordoned" {
		e.Rev++
		e.ID = deriveID(d.Aggregate, e.Rev, t, d.Cause, d.Target)
	}
	if planted.ChainCut && t == "node.scheduling.uncordoned" {
		e.Prev = ""
	}
	raw, err := encode(&e)
	if err != nil {
		return Event{}, nil, err
	}
	e.Hash = hashOf(raw)
	return e, raw, nil
}

// LastSeq asks the stream's leader for the sequence of the log's newest event.
func (l *Log) LastSeq(ctx context.Context) (uint64, error) {
	if err := l.voided(); err != nil {
		return 0, err
	}
	asked := time.Now()
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the end of the log: %w", err)
	}
	if got := info.Config.Metadata[MetaIncarnation]; got != l.incarnation {
		return 0, l.revoke("it was %s, now it is %s", l.incarnation, got)
	}
	l.probed.Store(&ending{at: asked, last: info.State.LastSeq})
	return info.State.LastSeq, nil
}

// LastSeqOf asks the stream's leader for the sequence of the newest event of an aggregate, 0 for none.
func (l *Log) LastSeqOf(ctx context.Context, a Aggregate) (uint64, error) {
	m, err := l.stream.GetLastMsgForSubject(ctx, l.Subjects.Aggregate(a))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the end of %s: %w", a, err)
	}
	return m.Sequence, nil
}
