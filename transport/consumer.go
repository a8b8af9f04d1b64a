package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// consumer is a durable as Watermill's subscriber gets it: with a gate in front of the deliveries, and with its errors seen.
type consumer struct {
	jetstream.Consumer
	stream, durable string
	deliveries      jetstream.ConsumeContext // set by Consume, once
	current         *delivery                // the one delivery under way; handed over with its message
	suspect         chan struct{}            // something is wrong with the consumer: look
	gone            chan error               // it cannot be used any more

	mu       sync.Mutex
	shut     bool
	inFlight sync.WaitGroup
}

func bind(ctx context.Context, nc *nats.Conn, stream, durable string) (*consumer, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := js.Consumer(ctx, stream, durable)
	if err != nil {
		return nil, err
	}
	return &consumer{Consumer: c, stream: stream, durable: durable, suspect: make(chan struct{}, 1), gone: make(chan error, 1)}, nil
}

// Consume implements jetstream.Consumer.
func (c *consumer) Consume(h jetstream.MessageHandler, opts ...jetstream.PullConsumeOpt) (jetstream.ConsumeContext, error) {
	cc, err := c.Consumer.Consume(func(m jetstream.Msg) {
		if !c.enter() {
			_ = m.Nak() // for another replica; if this is lost, its acknowledgement time runs out
			return
		}
		defer c.inFlight.Done()
		d := &delivery{Msg: m}
		if meta, err := m.Metadata(); err == nil {
			d.seq = meta.Sequence.Stream
		}
		c.current = d
		defer alive(d)()
		h(d)
	}, append(opts, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConnectionClosed) || errors.Is(err, jetstream.ErrBadRequest) {
			select {
			case c.gone <- err:
			default:
			}
			return
		}
		select {
		case c.suspect <- struct{}{}:
		default:
		}
	}))...)
	c.deliveries = cc
	return cc, err
}

// alive tells the server that a delivery is in hand, until the function that it returns is called or the handling is overdue.
func alive(m jetstream.Msg) (done func()) {
	a := &lifeline{Msg: m, left: int(workTimeout / beat)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next = time.AfterFunc(beat, a.sign)
	return a.end
}

// lifeline is a delivery in hand. Most are over before the first sign, and cost no goroutine.
type lifeline struct {
	jetstream.Msg
	mu   sync.Mutex
	next *time.Timer
	left int // signs
}

func (l *lifeline) sign() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left--; l.left < 0 {
		return
	}
	_ = l.InProgress() // lost, it costs a repetition
	l.next.Reset(beat)
}

func (l *lifeline) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = 0
	l.next.Stop()
}

func (c *consumer) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return false
	}
	c.inFlight.Add(1)
	return true
}

// stop lets the delivery under way finish and hands back whatever else is buffered. After it nothing is delivered any more.
func (c *consumer) stop() {
	c.mu.Lock()
	c.shut = true
	c.mu.Unlock()
	c.deliveries.Drain()
	c.inFlight.Wait()
	late := time.NewTimer(2 * time.Second) // without a connection draining cannot end
	defer late.Stop()
	select {
	case <-c.deliveries.Closed():
	case <-late.C:
	}
}

// watch returns nil when ctx ends, or why the consumer cannot be used any more. The client library goes on asking a consumer that
// was deleted behind its back for ever, so after each of its complaints the server is asked whether there still is one.
func (c *consumer) watch(ctx context.Context, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-c.gone:
			return err
		case <-c.suspect:
			ask, cancel := context.WithTimeout(ctx, 5*time.Second)
			_, err := js.Consumer(ask, c.stream, c.durable)
			cancel()
			if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
		}
	}
}

// delivery is a message on its way through Watermill, which knows only acknowledged and not: a message to be dropped is one whose
// refusal ends its deliveries.
type delivery struct {
	jetstream.Msg
	seq  uint64
	drop bool // set by the handler before it refuses
}

// NakWithDelay implements jetstream.Msg.
func (d *delivery) NakWithDelay(t time.Duration) error {
	if d.drop {
		return d.Msg.TermWithReason("malformed, or never to be handled: the log of its reader says why")
	}
	return d.Msg.NakWithDelay(t)
}

// Nak implements jetstream.Msg. Never at once: that would be a hot loop.
func (d *delivery) Nak() error { return d.NakWithDelay(firstDelay) }
