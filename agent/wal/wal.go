package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
)

// ErrFenced says that a higher epoch has begun, or that the one named never has: nothing was stored.
var ErrFenced = errors.New("the epoch is not the log's")

// ErrUnknown says that it is not known whether the record was stored. It may show up in the state later; it does once at most.
var ErrUnknown = errors.New("it is not known whether the record was stored")

// ErrAnother says that the stream was deleted and made again, or restored: what was applied is not its beginning.
var ErrAnother = errors.New("the log is another one")

// State is what the records of a log make. Its methods are called one after the other. It must depend on the records alone: no
// clock, no randomness, nothing of the node. An error means that the state is not to be used any more.
type State interface {
	// Apply takes over one record. Sequences rise; they are not without gaps.
	Apply(seq uint64, record []byte) error
	// Snapshot writes all of the state.
	Snapshot(w io.Writer) error
	// Restore replaces the state by one that Snapshot has written.
	Restore(r io.Reader) error
}

// DefaultSnapshotEvery is after how many records a snapshot is made.
const DefaultSnapshotEvery = 10_000

// Config is what a log is opened with. NC, Cluster, App and State are required.
type Config struct {
	NC            *nats.Conn // stays open
	Cluster, App  string
	State         State
	SnapshotEvery int         // records; default DefaultSnapshotEvery, negative: never
	Log           *zap.Logger // nil discards
}

// Log is one node's end of an app's log. It is safe for concurrent use.
type Log struct {
	js                    jetstream.JetStream
	stream                jetstream.Stream
	name                  string
	subject               string
	snapName, snapSubject string
	life                  string // of the stream: a log that was made anew has another
	replicas              int
	every                 int
	log                   *zap.Logger
	turn                  chan struct{} // held by who stores

	mu       sync.Mutex
	state    State
	applied  uint64        // sequence of the newest record in state
	begun    uint64        // highest epoch among the records applied
	since    int           // records since the newest snapshot that this node knows of
	mine     string        // id of the record that is being stored
	landed   uint64        // its sequence, once it was seen
	moved    chan struct{} // closed when applied rises
	broken   error         // why state is not to be used any more
	snapping bool
	snaps    sync.WaitGroup
	sure     uint64 // epoch under which the newest record that was sent here was stored for certain; 0: one may still arrive

	held held // the follower that this end has by itself, and who wants it

	behind  time.Time // since when more is known to be stored than is applied; zero: nothing is
	storing time.Time // since when a record is being stored; zero: none is
	count   Progress
}

// Progress is how far the state is, and what it took.
type Progress struct {
	Epoch, Seq uint64
	Lag        time.Duration // for how long more has been known to be stored, or a record has been on its way
	Stored     uint64        // bytes of the records that were stored here
	Followed   uint64        // bytes of those that others stored
	Resyncs    int           // times that a state was replaced by a snapshot since the records behind it were gone
}

// Progress returns how far the state is. It does not block.
func (l *Log) Progress() Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.count
	p.Epoch, p.Seq = l.begun, l.applied
	for _, since := range []time.Time{l.behind, l.storing} {
		if !since.IsZero() {
			p.Lag = max(p.Lag, time.Since(since))
		}
	}
	return p
}

// pending notes how many records are known to be stored behind the newest one applied.
func (l *Log) pending(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n == 0:
		l.behind = time.Time{}
	case l.behind.IsZero():
		l.behind = time.Now()
	}
}

// Names on the wire.
const (
	headerEpoch  = "Gc-Epoch"
	headerRecord = "Gc-Record" // id of the record
	headerKind   = "Gc-Kind"   // kindBegin, or nothing
	kindBegin    = "begin"
)

// Open binds to the log of an app, and makes it where there is none: with as many replicas as the cluster's events have. The state
// must be empty; Follow and CatchUp fill it.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	s, err := events.NewSubjects(cfg.Cluster)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Log, error) { return nil, fmt.Errorf("open the log of %s: %w", cfg.App, err) }
	js, err := jetstream.New(cfg.NC)
	if err != nil {
		return fail(err)
	}
	of, err := js.Stream(ctx, s.EventsStream())
	if err != nil {
		return fail(fmt.Errorf("events of cluster %s: %w", cfg.Cluster, err))
	}
	l := &Log{js: js, name: s.AppLogStream(cfg.App), subject: s.AppLog(cfg.App), snapName: s.AppSnapshotsStream(cfg.App), snapSubject: s.AppSnapshots(cfg.App), replicas: of.CachedInfo().Config.Replicas, state: cfg.State,
		every: cmp.Or(cfg.SnapshotEvery, DefaultSnapshotEvery), log: cfg.Log, turn: make(chan struct{}, 1), moved: make(chan struct{})}
	if l.log == nil {
		l.log = zap.NewNop()
	}
	if l.stream, err = l.bind(ctx, l.name, l.subject); err != nil {
		return fail(err)
	}
	if l.life = l.stream.CachedInfo().Config.Metadata[events.MetaIncarnation]; l.life == "" {
		return fail(fmt.Errorf("stream %s has no %s: it is not a log of go-cluster", l.name, events.MetaIncarnation))
	}
	return l, nil
}

func (l *Log) bind(ctx context.Context, name, subject string) (jetstream.Stream, error) {
	stream, err := l.js.Stream(ctx, name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	stream, err = l.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage, Replicas: l.replicas, MaxMsgs: -1, MaxBytes: -1,
		Discard: jetstream.DiscardNew, DenyDelete: true, Metadata: map[string]string{events.MetaIncarnation: nuid.Next()},
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster
		return l.js.Stream(ctx, name)
	}
	return stream, err
}

// Applied returns how far the state is, and the highest epoch that has begun there.
func (l *Log) Applied() (epoch, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun, l.applied
}

// View calls f while the state does not change. It returns why the state is not to be used, if that is so, without calling f.
func (l *Log) View(f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	f()
	return nil
}

// errBegun says that an epoch has begun already.
var errBegun = errors.New("it has begun")

// Begin makes epoch the one whose records count. It returns once everything that was stored before is applied, and ErrFenced when a
// higher one has begun. For an epoch that has begun already it does nothing.
func (l *Log) Begin(ctx context.Context, epoch uint64) error {
	may := func() error {
		switch {
		case l.begun > epoch:
			return fmt.Errorf("%w: epoch %d has begun", ErrFenced, l.begun)
		case l.begun == epoch:
			return errBegun
		}
		return nil
	}
	if begun, _ := l.Applied(); begun == epoch {
		return nil
	}
	err := l.exclusively(ctx, func() error {
		if !l.followed() { // who follows has it all, or almost
			if err := l.CatchUp(ctx); err != nil {
				return err
			}
		}
		_, err := l.store(ctx, record{epoch: epoch, kind: kindBegin}, may)
		return err
	})
	if err != nil && !errors.Is(err, errBegun) {
		return fmt.Errorf("begin epoch %d of log %s: %w", epoch, l.name, err)
	}
	return nil
}

// End returns the sequence of the last record of an epoch whose writer writes no more: nothing that was sent here is stored behind it,
// however late it arrives. It costs no time unless something that was sent may still arrive: then what stands behind that is one more beginning of
// the same epoch.
func (l *Log) End(ctx context.Context, epoch uint64) (seq uint64, err error) {
	may := func() error {
		if l.begun != epoch {
			return fmt.Errorf("%w: it is that of epoch %d", ErrFenced, l.begun)
		}
		return nil
	}
	err = l.exclusively(ctx, func() error {
		l.mu.Lock()
		err, sure := l.broken, l.sure
		if err == nil {
			err = may()
		}
		seq = l.applied
		l.mu.Unlock()
		if err == nil && sure != epoch {
			seq, err = l.store(ctx, record{epoch: epoch, kind: kindBegin}, may)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("end epoch %d of log %s: %w", epoch, l.name, err)
	}
	return seq, nil
}

// Life names the stream: one that was deleted and made again, or restored, has another. Two ends that are at the same sequence of the
// same life have the same records.
func (l *Log) Life() string { return l.life }

// Append stores a record under an epoch that Begin has begun here, applies it, and returns its sequence. On ErrFenced, and on every
// error that is not ErrUnknown, nothing was stored.
func (l *Log) Append(ctx context.Context, epoch uint64, data []byte) (seq uint64, err error) {
	err = l.exclusively(ctx, func() error {
		seq, err = l.store(ctx, record{epoch: epoch, data: data}, func() error {
			if l.begun != epoch {
				return fmt.Errorf("%w: it is that of epoch %d", ErrFenced, l.begun)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("append to log %s under epoch %d: %w", l.name, epoch, err)
	}
	l.maybeSnapshot()
	return seq, nil
}

func (l *Log) exclusively(ctx context.Context, f func() error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// record is one message of the log.
type record struct {
	seq   uint64
	id    string
	epoch uint64
	kind  string
	data  []byte
}

// errTaken says that another record stands where one was to be stored.
var errTaken = errors.New("something else was stored there")

// store stores and applies a record. may is asked, with l.mu held, each time that something new was applied.
func (l *Log) store(ctx context.Context, r record, may func() error) (uint64, error) {
	r.id = nuid.Next()
	l.mu.Lock()
	l.mine, l.landed, l.storing = r.id, 0, time.Now()
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.storing = time.Time{}
		l.mu.Unlock()
	}()
	for {
		l.mu.Lock()
		err := l.broken
		if err == nil {
			err = may()
		}
		expect := l.applied
		l.mu.Unlock()
		if err != nil {
			return 0, err
		}
		seq, err := l.storeAfter(ctx, r, expect)
		switch {
		case err == nil:
			l.certain(r.epoch)
			r.seq = seq
			return seq, l.apply(r)
		case errors.Is(err, ErrUnknown):
			l.certain(0)
			return 0, err
		case !errors.Is(err, errTaken):
			return 0, err
		}
		if err := l.CatchUp(ctx); err != nil {
			return 0, err
		}
	}
}

// certain notes under which epoch something was stored behind everything that was sent here, 0 where something may still arrive.
func (l *Log) certain(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sure = epoch
}

// storeAfter stores a record behind the one with sequence expect. It returns errTaken only when another one is there.
func (l *Log) storeAfter(ctx context.Context, r record, expect uint64) (uint64, error) {
	first := true // what was sent before a refusal may still arrive
	lost := false // the outcome of some try is not known
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		msg := nats.NewMsg(l.subject)
		msg.Data = r.data
		msg.Header.Set(headerEpoch, strconv.FormatUint(r.epoch, 10))
		msg.Header.Set(headerRecord, r.id)
		if r.kind != "" {
			msg.Header.Set(headerKind, r.kind)
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		ack, err := l.js.PublishMsg(try, msg, jetstream.WithExpectStream(l.name), jetstream.WithExpectLastSequenceForSubject(expect, l.subject), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		lost = lost || !answered(err)
		refused := forGood(err)
		if refused && first && !errors.Is(err, nats.ErrConnectionClosed) {
			return 0, err
		}
		first = false
		// The outcome is not known, or something else is there. What stands behind the expected sequence decides; while that is nothing
		// the same record may be sent again, however late an earlier try still arrives: at most one of them is stored.
		next, readErr := l.at(ctx, expect+1)
		switch at, landed := l.saw(); {
		case landed > 0:
			return landed, nil
		case readErr == nil && next.id == r.id:
			return next.seq, nil
		case readErr == nil:
			return 0, errTaken
		case at > expect && errors.Is(readErr, errNothing): // only a later active lets records go that are not applied here
			return 0, fmt.Errorf("%w: the records there are gone with a snapshot", ErrUnknown)
		case errors.Is(readErr, errNothing):
			_, endErr := l.last(ctx)
			switch {
			case errors.Is(endErr, ErrAnother):
				return 0, endErr
			case endErr == nil && l.first() > expect+1 && lost: // it may have been this one, and be gone with a snapshot
				return 0, fmt.Errorf("%w: the records there are gone with a snapshot", ErrUnknown)
			case endErr == nil && l.first() > expect+1:
				return 0, errTaken
			}
		}
		if refused {
			return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w (last answer: %v)", ErrUnknown, context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

// saw returns how far the state is, and where the record that is being stored was seen, 0 for nowhere. What is applied was looked at.
func (l *Log) saw() (applied, landed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied, l.landed
}

// JetStream's answers to an expectation that does not hold: on one server, and while another write is under way on several.
const (
	codeWrongLastSeq         = 10071
	codeWrongLastSeqInFlight = 10164
)

// answered says that JetStream has refused a try: it is not stored later.
func answered(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code != 503
}

// forGood says that a record was refused and will be: it is too large, the disk is full, or the connection closed.
func forGood(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode != codeWrongLastSeq && api.ErrorCode != codeWrongLastSeqInFlight && api.Code != 503
	}
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrConnectionClosed)
}

// errNothing says that there is no record with a sequence: not yet, or not any more.
var errNothing = errors.New("no such record")

// at reads one record from the stream's leader.
func (l *Log) at(ctx context.Context, seq uint64) (record, error) {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := l.stream.GetMsg(try, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return record{}, errNothing
	}
	if err != nil {
		return record{}, err
	}
	return decode(m.Sequence, m.Header, m.Data)
}

func decode(seq uint64, h nats.Header, data []byte) (record, error) {
	epoch, err := strconv.ParseUint(h.Get(headerEpoch), 10, 64)
	if kind := h.Get(headerKind); err != nil || h.Get(headerRecord) == "" || kind != "" && kind != kindBegin {
		return record{}, fmt.Errorf("message %d is no record: headers %v", seq, h)
	}
	return record{seq: seq, id: h.Get(headerRecord), epoch: epoch, kind: h.Get(headerKind), data: data}, nil
}

// errGap says that records between are missing: a snapshot has them.
var errGap = errors.New("records are missing")

// apply takes over a record, unless that was done.
func (l *Log) apply(r record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.broken != nil:
		return l.broken
	case r.id == l.mine && l.landed == 0:
		l.landed = r.seq
	}
	switch {
	case r.seq <= l.applied:
		return nil
	case r.seq != l.applied+1:
		return fmt.Errorf("%w: %d follows %d", errGap, r.seq, l.applied)
	case r.epoch < l.begun:
		return l.breaks(fmt.Errorf("record %d is of epoch %d, and epoch %d has begun before it: somebody else writes to %s", r.seq, r.epoch, l.begun, l.subject))
	case r.kind == kindBegin:
		l.begun = r.epoch
	case r.epoch != l.begun:
		return l.breaks(fmt.Errorf("record %d is of epoch %d, which has not begun: somebody else writes to %s", r.seq, r.epoch, l.subject))
	default:
		if err := l.state.Apply(r.seq, r.data); err != nil {
			return l.breaks(fmt.Errorf("apply record %d: %w", r.seq, err))
		}
		l.since++
	}
	if r.id == l.mine {
		l.count.Stored += uint64(len(r.data))
	} else {
		l.count.Followed += uint64(len(r.data))
	}
	l.advance(r.seq)
	return nil
}

func (l *Log) breaks(err error) error {
	l.broken = fmt.Errorf("log %s cannot go on: %w", l.name, err)
	return l.broken
}

func (l *Log) advance(seq uint64) {
	l.applied = seq
	close(l.moved)
	l.moved = make(chan struct{})
}
