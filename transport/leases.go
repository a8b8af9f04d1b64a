package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// ErrLeaseMoved says that the lease is not at the expected sequence any more: nothing was written; read it and decide again.
var ErrLeaseMoved = errors.New("the lease has been written since")

// ErrLeaseUnknown says that a lease may or may not have been written: reading it back tells.
var ErrLeaseUnknown = errors.New("it is not known whether the lease was written: read it back")

// JetStream's answers to an expectation that does not hold: on one server, and while another write is under way on several.
const (
	codeWrongLastSeq         = 10071
	codeWrongLastSeqInFlight = 10164
)

// LeaseRecord is a lease as stored. Seq is what the next write must expect.
type LeaseRecord struct {
	Lease  api.Lease
	Seq    uint64
	Stored time.Time
}

// Leases reads and writes the leases of nodes and the heartbeats of services. It is safe for concurrent use.
type Leases struct {
	js        jetstream.JetStream
	subjects  events.Subjects
	malformed atomic.Uint64

	mu     sync.Mutex
	stream jetstream.Stream // bound at first use
}

// NewLeases returns the leases of a cluster. The stream is bound at first use.
func NewLeases(js jetstream.JetStream, s events.Subjects) *Leases {
	return &Leases{js: js, subjects: s}
}

// Malformed returns how many messages Follow has skipped because they could not be read.
func (l *Leases) Malformed() uint64 { return l.malformed.Load() }

// bind asks without holding the lock: a heartbeat must not wait for somebody else's longer time-out.
func (l *Leases) bind(ctx context.Context) (jetstream.Stream, error) {
	l.mu.Lock()
	stream := l.stream
	l.mu.Unlock()
	if stream != nil {
		return stream, nil
	}
	stream, err := l.js.Stream(ctx, l.subjects.LeasesStream())
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", l.subjects.LeasesStream(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream = stream
	return stream, nil
}

// Get reads a node's lease from the stream's leader; false says that there is none. When the stored message cannot be read the
// error says so, and the record still has its sequence.
func (l *Leases) Get(ctx context.Context, node string) (LeaseRecord, bool, error) {
	fail := func(err error) (LeaseRecord, bool, error) {
		return LeaseRecord{}, false, fmt.Errorf("read lease of %s: %w", node, err)
	}
	if err := spec.ValidateName("node", node); err != nil {
		return fail(err)
	}
	stream, err := l.bind(ctx)
	if err != nil {
		return fail(err)
	}
	m, err := stream.GetLastMsgForSubject(ctx, l.subjects.Lease(node))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return LeaseRecord{}, false, nil
	}
	if err != nil {
		return fail(err)
	}
	rec := LeaseRecord{Seq: m.Sequence, Stored: m.Time}
	if rec.Lease, err = decodeLease(node, m.Data); err != nil {
		return rec, true, fmt.Errorf("read lease of %s: sequence %d: malformed: %w", node, m.Sequence, err)
	}
	return rec, true, nil
}

// Put writes a node's lease if its last write is the one at sequence expect (0: there is none), and returns the new sequence.
// With ErrLeaseMoved and any other definite refusal nothing was written; with ErrLeaseUnknown (no answer came before ctx ended, or
// within 5 s) it may have been: Get tells.
func (l *Leases) Put(ctx context.Context, lease api.Lease, expect uint64) (uint64, error) {
	fail := func(err error) (uint64, error) {
		return 0, fmt.Errorf("write lease of %s: %s: %w", lease.Node, lease.State, err)
	}
	if err := checkLease(lease); err != nil {
		return fail(err)
	}
	msg := nats.NewMsg(l.subjects.Lease(lease.Node))
	var err error
	if msg.Data, err = json.Marshal(lease, json.Deterministic(true)); err != nil {
		return fail(err)
	}
	if len(msg.Data) > api.LeaseMax {
		return fail(fmt.Errorf("%d bytes, at most %d allowed", len(msg.Data), api.LeaseMax))
	}
	ack, err := l.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(l.subjects.LeasesStream()),
		jetstream.WithExpectLastSequencePerSubject(expect), jetstream.WithRetryAttempts(0))
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case !errors.As(err, &refused):
		return fail(fmt.Errorf("%w: %w", ErrLeaseUnknown, err))
	case refused.ErrorCode == codeWrongLastSeq, refused.ErrorCode == codeWrongLastSeqInFlight:
		return fail(fmt.Errorf("%w: expected sequence %d: %w", ErrLeaseMoved, expect, err))
	}
	return fail(err)
}

// Beat writes a replica's heartbeat and returns the timestamp that the stream's leader gave it. An error says nothing about
// whether it was written, and need not: what counts is that it was acknowledged.
func (l *Leases) Beat(ctx context.Context, service, replica string) (stored time.Time, err error) {
	fail := func(err error) (time.Time, error) {
		return time.Time{}, fmt.Errorf("heartbeat of %s %s: %w", service, replica, err)
	}
	if err := errors.Join(spec.ValidateName("service", service), spec.ValidateName("replica", replica)); err != nil {
		return fail(err)
	}
	stream, err := l.bind(ctx)
	if err != nil {
		return fail(err)
	}
	msg := nats.NewMsg(l.subjects.Beat(service, replica))
	if msg.Data, err = json.Marshal(api.Beat{Service: service, Replica: replica}); err != nil {
		return fail(err)
	}
	if _, err := l.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(l.subjects.LeasesStream()), jetstream.WithRetryAttempts(0)); err != nil {
		return fail(err)
	}
	// The acknowledgement has no timestamp. By subject, not by sequence: a second heartbeat may have replaced this one.
	m, err := stream.GetLastMsgForSubject(ctx, msg.Subject)
	if err != nil {
		return fail(err)
	}
	return m.Time, nil
}

func decodeLease(node string, b []byte) (api.Lease, error) {
	var lease api.Lease
	if err := events.CheckJSON(b, api.LeaseMax, api.MaxDepth); err != nil {
		return api.Lease{}, err
	}
	if err := json.Unmarshal(b, &lease); err != nil { // fields of a newer version are none of our business
		return api.Lease{}, err
	}
	if lease.Node != node {
		return api.Lease{}, fmt.Errorf("it is of node %q", lease.Node)
	}
	return lease, checkLease(lease)
}

func checkLease(l api.Lease) error {
	if err := spec.ValidateName("node", l.Node); err != nil {
		return err
	}
	switch l.State {
	case api.LeaseHeld, api.LeaseYielded, api.LeaseClosed:
		if strings.TrimSpace(l.Inc) == "" {
			return fmt.Errorf("%s without an incarnation", l.State)
		}
		if l.State == api.LeaseHeld && l.TTL <= 0 {
			return fmt.Errorf("held with TTL %s", l.TTL)
		}
	case api.LeaseFree:
	default:
		return fmt.Errorf("unknown state %q", l.State)
	}
	return nil
}
