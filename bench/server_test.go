//go:build linux

package bench

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// server is a NATS server that everybody reaches over TCP, as in production, with the streams of the cluster named bench.
type server struct {
	tb       testing.TB
	url      string
	subjects events.Subjects
	nc       *nats.Conn // of whoever measures
	js       jetstream.JetStream
	log      *zap.Logger
}

// newServer starts one that lives as long as the measurement.
func newServer(tb testing.TB) *server {
	tb.Helper()
	srv, err := embedded.Start(embedded.Options{StoreDir: tb.TempDir(), Port: -1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(srv.Shutdown)
	s := &server{tb: tb, url: srv.ClientURL(), log: zap.NewNop()}
	if s.subjects, err = events.NewSubjects("bench"); err != nil {
		tb.Fatal(err)
	}
	s.nc = s.connect()
	s.js = s.jetstream(s.nc)
	if err := transport.Bootstrap(tb.Context(), s.js, s.subjects, transport.BootstrapOptions{}); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *server) dial() (*nats.Conn, error) {
	return transport.Connect(transport.ConnectOptions{Name: "bench", Servers: s.url})
}

// connect returns a connection that is closed at the end.
func (s *server) connect() *nats.Conn {
	s.tb.Helper()
	nc, err := s.dial()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(nc.Close)
	return nc
}

func (s *server) jetstream(nc *nats.Conn) jetstream.JetStream {
	s.tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		s.tb.Fatal(err)
	}
	return js
}

// openLog binds to the event log over a connection.
func (s *server) openLog(nc *nats.Conn) *events.Log {
	s.tb.Helper()
	log, err := events.Open(s.tb.Context(), s.jetstream(nc), s.subjects, now)
	if err != nil {
		s.tb.Fatal(err)
	}
	return log
}

// spawn runs f until the end of the measurement, and waits for it then.
func (s *server) spawn(what string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			s.tb.Errorf("%s ended: %v", what, err)
		}
	}()
	s.tb.Cleanup(func() {
		cancel()
		<-done
	})
}

// stored counts the messages of a stream so far.
func (s *server) stored(stream string) uint64 {
	s.tb.Helper()
	str, err := s.js.Stream(s.tb.Context(), stream)
	if err != nil {
		s.tb.Fatal(err)
	}
	return str.CachedInfo().State.LastSeq
}
