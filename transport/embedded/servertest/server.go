// Package servertest is NATS servers for tests: in testing/synctest bubbles one that can be taken away and brought back, outside of them one with the
// streams of a cluster.
package servertest

import (
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-cluster/go-cluster/transport/embedded"
)

// Bubble runs f in virtual time, in which it may start servers and connect to them.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	embedded.RegisterBubble()
	synctest.Test(t, f)
}

// Server is a server that is down at first. It implements nats.InProcessConnProvider: whoever connects through it reaches the server of the
// moment. It may be used concurrently, but for Start and Stop.
type Server struct {
	mu    sync.Mutex
	now   *embedded.Server // nil while it is down
	conns []net.Conn       // to it
}

// Start starts a server on a directory.
func (s *Server) Start(t *testing.T, dir string) {
	t.Helper()
	srv, err := embedded.Start(embedded.Options{StoreDir: dir, MaxStore: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = srv
}

// Stop cuts all connections and then shuts the server down. In the other order clients would answer the server's good-bye with requests
// that wait for a mutex, which it holds while it sleeps: the bubble's time would stand still. It does nothing to one that is down.
func (s *Server) Stop() {
	s.mu.Lock()
	srv, conns := s.now, s.conns
	s.now, s.conns = nil, nil
	s.mu.Unlock()
	if srv == nil {
		return
	}
	for _, c := range conns {
		_ = c.Close()
	}
	synctest.Wait()
	srv.Shutdown()
}

// InProcessConn connects to the server of the moment.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return nil, errors.New("the server is down")
	}
	c, err := s.now.InProcessConn()
	if err == nil {
		s.conns = append(s.conns, c)
	}
	return c, err
}
