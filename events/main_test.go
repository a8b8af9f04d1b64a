package events_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded/servertest"
)

// site is a cluster's streams on a real server that can be stopped and started again on its directory.
type site struct {
	events.Subjects
	t   *testing.T
	dir string

	servertest.Server
}

// inBubble runs fn against a real server in virtual time.
func inBubble(t *testing.T, fn func(t *testing.T, s *site)) {
	t.Helper()
	servertest.Bubble(t, func(t *testing.T) {
		subjects, err := events.NewSubjects("test")
		if err != nil {
			t.Fatal(err)
		}
		s := &site{Subjects: subjects, t: t, dir: t.TempDir()}
		s.start()
		defer s.Stop()
		js, end := s.connect(nil)
		defer end()
		s.bootstrap(js)
		fn(t, s)
	})
}

func (s *site) start() { s.t.Helper(); s.Start(s.t, s.dir) }

func (s *site) connect(via nats.InProcessConnProvider) (js jetstream.JetStream, end func()) {
	s.t.Helper()
	if via == nil {
		via = s
	}
	nc, err := transport.Connect(transport.ConnectOptions{Name: s.t.Name(), InProcess: via})
	if err != nil {
		s.t.Fatal(err)
	}
	js, err = jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	return js, nc.Close
}

func (s *site) bootstrap(js jetstream.JetStream) {
	s.t.Helper()
	if err := transport.Bootstrap(s.t.Context(), js, s.Subjects, transport.BootstrapOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// open returns the log over a connection of its own.
func (s *site) open(via nats.InProcessConnProvider) (*events.Log, jetstream.JetStream) {
	s.t.Helper()
	js, end := s.connect(via)
	s.t.Cleanup(end)
	log, err := events.Open(s.t.Context(), js, s.Subjects, time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	return log, js
}

// tap is a connection whose answers can be lost: from lose on nothing that the server says reaches the client, and the
// connection breaks at the server's next word. With deaf set, it breaks at the client's next word instead, which is lost.
type tap struct {
	nats.InProcessConnProvider
	lose, deaf atomic.Bool
	lost       chan struct{} // one element for each connection that was broken
}

func newTap(via nats.InProcessConnProvider) *tap {
	return &tap{InProcessConnProvider: via, lost: make(chan struct{}, 8)}
}

func (p *tap) InProcessConn() (net.Conn, error) {
	c, err := p.InProcessConnProvider.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &tappedConn{Conn: c, tap: p}, nil
}

type tappedConn struct {
	net.Conn
	tap *tap
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.tap.lose.CompareAndSwap(true, false) {
		return 0, c.cut()
	}
	return n, err
}

func (c *tappedConn) Write(b []byte) (int, error) {
	if c.tap.deaf.CompareAndSwap(true, false) {
		return 0, c.cut()
	}
	return c.Conn.Write(b)
}

func (c *tappedConn) cut() error {
	_ = c.Close()
	c.tap.lost <- struct{}{}
	return net.ErrClosed
}

// gate is a network that can be taken away and given back.
type gate struct {
	nats.InProcessConnProvider

	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

func (g *gate) InProcessConn() (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, errors.New("the network is down")
	}
	c, err := g.InProcessConnProvider.InProcessConn()
	if err == nil {
		g.conns = append(g.conns, c)
	}
	return c, err
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for _, c := range g.conns {
			_ = c.Close()
		}
		g.conns = nil
	}
}

// tail keeps what one Follow has seen.
type tail struct {
	mu   sync.Mutex
	msgs []events.Message
	next chan struct{} // closed at the next message
	stop func() error  // ends it and returns Follow's error
	done chan struct{} // closed when Follow has returned err
	err  error
}

func follow(ctx context.Context, log *events.Log, from uint64, filters ...string) *tail {
	ctx, cancel := context.WithCancel(ctx)
	f := &tail{next: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.err = log.Follow(ctx, from, filters, func(m events.Message) error {
			m.Raw = append([]byte(nil), m.Raw...)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.msgs = append(f.msgs, m)
			close(f.next)
			f.next = make(chan struct{})
			return nil
		})
	}()
	f.stop = func() error {
		cancel()
		<-f.done
		return f.err
	}
	return f
}

// await returns the messages once there are n of them.
func (f *tail) await(t *testing.T, n int) []events.Message {
	t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for {
		f.mu.Lock()
		msgs, next := f.msgs, f.next
		f.mu.Unlock()
		if len(msgs) >= n {
			return msgs
		}
		select {
		case <-next:
		case <-f.done:
			t.Fatalf("%d messages, want %d, and it has ended: %v", len(msgs), n, f.err)
		case <-limit.C:
			t.Fatalf("%d messages within two minutes, want %d", len(msgs), n)
		}
	}
}

func headOf(e events.Event) events.Head { return events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash} }

// cordon is a draft; cause tells one decision from another.
func cordon(node, cause string) events.Draft {
	return events.Draft{Aggregate: events.Node(node), Node: node, Actor: "test", Cause: cause, Data: &events.NodeCordoned{Node: node}}
}

func mustAppend(t *testing.T, log *events.Log, d events.Draft, head events.Head) events.Event {
	t.Helper()
	e, err := log.Append(t.Context(), d, head)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
