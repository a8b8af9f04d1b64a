package transport

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// site is a bootstrapped cluster on an embedded server.
type site struct {
	events.Subjects
	t   *testing.T
	srv *embedded.Server
	nc  *nats.Conn
	js  jetstream.JetStream
}

// inBubble runs fn against a real server in virtual time.
func inBubble(t *testing.T, fn func(t *testing.T, s *site)) {
	t.Helper()
	embedded.RegisterBubble()
	defer embedded.RegisterBubble() // for those in real time that follow
	synctest.Test(t, func(t *testing.T) {
		srv, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), MaxStore: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			synctest.Wait() // nobody asks it anything any more: who does may wait for a lock that it holds asleep, and time stand still
			srv.Shutdown()
		}()
		s := open1(t, srv)
		defer s.nc.Close()
		fn(t, s)
	})
}

// onServer runs fn against a server on a socket, in real time.
func onServer(t *testing.T, fn func(t *testing.T, s *site)) {
	t.Helper()
	srv, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), MaxStore: 1 << 30, Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	s := open1(t, srv)
	defer s.nc.Close()
	fn(t, s)
}

func open1(t *testing.T, srv *embedded.Server) *site {
	t.Helper()
	subjects, err := events.NewSubjects("test")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Subjects: subjects, t: t, srv: srv}
	if s.nc, err = s.connect(); err != nil {
		t.Fatal(err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	if err := Bootstrap(t.Context(), s.js, subjects, BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) connect() (*nats.Conn, error) {
	return Connect(ConnectOptions{Name: s.t.Name(), InProcess: s.srv.InProcess})
}

func (s *site) publish(subject, data string, header nats.Header) {
	s.t.Helper()
	if _, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{Subject: subject, Data: []byte(data), Header: header}); err != nil {
		s.t.Fatal(err)
	}
}

// background runs fn until the returned function is called, which returns fn's error.
func background(ctx context.Context, fn func(ctx context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- fn(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// within waits for a value for at most a minute, virtual or real.
func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case v := <-ch:
		return v
	case <-timer.C:
		t.Fatal("not within a minute: " + what)
		panic("unreachable")
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, fmt.Sprint(got), want)
	}
}

func durableForTest() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy}
}

// request asks with a context: the library's own timeout takes its timer from a pool that outlives bubbles.
func request(nc *nats.Conn, subject string, data []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return nc.RequestWithContext(ctx, subject, data)
}
