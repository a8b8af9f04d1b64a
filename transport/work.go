package transport

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjs "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	// A delivery that nothing is heard of for this long is given to another replica. It is short because a replica that is killed
	// keeps what it was given for this long, with a move standing still meanwhile; a handling that takes longer says so (beat).
	ackWait     = 3 * time.Second
	beat        = ackWait / 3      // between signs of life of a delivery in hand
	workTimeout = 20 * time.Second // of one handling; no sign of life after it
	firstDelay  = 100 * time.Millisecond
	lastDelay   = 10 * time.Second
)

// work runs one durable consumer's messages through a Watermill router: one at a time, each acknowledged after its handling.
//
// The subscriber of watermill-nats is used as it is, inside three guards, each for something it does (v2.1.3):
//   - It dereferences nil when its unmarshaler fails, on a goroutine where nothing can recover: unmarshal never fails.
//   - It closes its output channel while deliveries may still be sent to it, which panics just the same: the gate lets the last
//     delivery finish and then keeps every other away before the subscriber is told to close.
//   - After its acknowledgement timeout it emits the next message while the handler of the last still runs: the timeout is out of
//     reach, and the handlers' own ends them.
//
// It also closes the connection with itself, and has no way to learn that the consumer is gone: it gets a connection of its own,
// and its consumer is watched.
type work struct {
	name    string // of the handler, in logs and metrics
	stream  string
	durable string
	connect func() (*nats.Conn, error)
	log     *zap.Logger
	count   func(outcome string)
	ahead   int // how many messages are fetched at once: one that waits here is one that no other replica works on
	// handle is called by one goroutine at a time. Its error has the message delivered again later, unless it is made by Drop.
	handle func(ctx context.Context, d *delivery) error
}

// Outcomes of a delivery, as counted.
const (
	outcomeDone     = "done"
	outcomeRetried  = "retried"
	outcomeDropped  = "dropped"
	outcomePanicked = "panicked"
)

type dropError struct{ error }

func (e dropError) Unwrap() error { return e.error }

// Drop marks an error as final: the message that caused it is never delivered again.
func Drop(err error) error { return dropError{err} }

// run works until ctx ends, which is no error, or until the consumer cannot be used any more.
func (w work) run(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("consumer %s of stream %s: %w", w.durable, w.stream, err)
		}
	}()
	nc, c, err := w.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer closeDrained(nc)
	logger := zapLogger{w.log}
	sub, err := wmjs.NewSubscriber(wmjs.SubscriberConfig{
		Conn:           nc,
		Logger:         logger,
		AckWaitTimeout: 10 * 365 * 24 * time.Hour,
		AckAsync:       true, // an acknowledgement that is lost means a repetition, and every handling may be repeated
		NakDelay:       delay{},
		Unmarshaler:    unmarshaler{},
		ConsumeOptions: []jetstream.PullConsumeOpt{
			jetstream.PullMaxMessages(w.ahead), jetstream.PullExpiry(15 * time.Second), jetstream.PullHeartbeat(3 * time.Second),
		},
		ResourceInitializer: func(context.Context, jetstream.JetStream, string) (jetstream.Consumer, func(context.Context, watermill.LoggerAdapter), error) {
			return c, nil, nil
		},
	})
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: workTimeout}, logger)
	if err != nil {
		return err
	}
	router.AddMiddleware(middleware.CorrelationID, w.counted, middleware.Recoverer, middleware.Timeout(workTimeout))
	router.AddConsumerHandler(w.name, w.durable, sub, func(m *message.Message) error {
		hctx, cancel := context.WithCancel(m.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		d := c.current
		if err := w.handle(hctx, d); err != nil {
			d.drop = errors.As(err, new(dropError))
			return fmt.Errorf("%s at sequence %d: %w", d.Subject(), d.seq, err)
		}
		return nil
	})

	// The router does not see ctx end: it would close the subscriber's output before the gate is shut.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- router.Run(running) }()
	select {
	case <-router.Running():
	case err := <-ended:
		return errors.Join(err, sub.Close())
	}
	why := c.watch(ctx, nc)
	c.stop()
	_ = flush(nc, time.Second) // acknowledgements leave now or their messages come again: both are right
	return errors.Join(why, router.Close(), <-ended)
}

// open connects and binds to the consumer. It tries again while NATS is away, which at a start is no worse than later; that the
// consumer does not exist, or that NATS refuses us, is an answer.
func (w work) open(ctx context.Context) (*nats.Conn, *consumer, error) {
	for wait := time.Second; ; wait = min(2*wait, lastDelay) {
		nc, err := w.connect()
		if err == nil {
			var c *consumer
			if c, err = bind(ctx, nc, w.stream, w.durable); err == nil {
				return nc, c, nil
			}
			nc.Close()
		}
		for _, final := range []error{jetstream.ErrConsumerNotFound, jetstream.ErrStreamNotFound, nats.ErrAuthorization, nats.ErrConnectionClosed} {
			if errors.Is(err, final) {
				return nil, nil, err
			}
		}
		w.log.Warn("not connected yet", zap.String("consumer", w.durable), zap.Error(err))
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// closeDrained closes a connection; one that the subscriber has begun to drain gets the time to end by itself.
func closeDrained(nc *nats.Conn) {
	defer nc.Close()
	if !nc.IsDraining() {
		return
	}
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	late := time.NewTimer(2 * time.Second)
	defer late.Stop()
	if nc.IsClosed() { // before the listener was there
		return
	}
	select {
	case <-closed:
	case <-late.C:
	}
}

func (w work) counted(h message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := h(m)
		switch {
		case err == nil:
			w.count(outcomeDone)
		case errors.As(err, new(dropError)):
			w.count(outcomeDropped)
		case errors.As(err, new(middleware.RecoveredPanicError)):
			w.count(outcomePanicked)
		default:
			w.count(outcomeRetried)
		}
		return out, err
	}
}

// delay is how long a message that could not be handled stays away: at once would be a hot loop, and ever longer would leave an
// order unanswered long after its cause is gone.
type delay struct{}

// WaitTime implements the subscriber's Delay; n counts deliveries from 1.
func (delay) WaitTime(n uint64) time.Duration {
	return min(lastDelay, firstDelay<<min(max(n, 1)-1, 10))
}

// unmarshaler makes a Watermill message of any message: judging it is the handler's task, whose error can be counted.
type unmarshaler struct{}

// Unmarshal implements the subscriber's Unmarshaler. It never fails. Of a header with several values the first counts.
func (unmarshaler) Unmarshal(m jetstream.Msg) (*message.Message, error) {
	id := "?" // for logs
	if meta, err := m.Metadata(); err == nil {
		id = meta.Stream + "-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	wm := message.NewMessage(id, m.Data())
	if v := m.Headers().Get(correlationHeader); v != "" {
		middleware.SetCorrelationID(v, wm)
	}
	return wm, nil
}

// correlationHeader names the chain of causes that a message belongs to.
const correlationHeader = "Gc-Correlation"
