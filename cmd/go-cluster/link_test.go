package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/transport/embedded"
)

// A service that begins while its server is ending waits for the next one: a connection that is taken and closed is no refusal.
func TestServerEndsWhileItIsAsked(t *testing.T) {
	srv, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), MaxStore: 1 << 30, Host: "127.0.0.1", Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = front.Close() }()
	var asked atomic.Int32
	go func() {
		for {
			from, err := front.Accept()
			if err != nil {
				return
			}
			if asked.Add(1) == 1 {
				_ = from.Close()
				continue
			}
			to, err := net.Dial("tcp", strings.TrimPrefix(srv.ClientURL(), "nats://"))
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(to, from) }()
			go func() { _, _ = io.Copy(from, to) }()
		}
	}()
	s := &session{ctx: t.Context()}
	s.Server = "nats://" + front.Addr().String()
	l, err := s.serverLink("labeler", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	l.nc.Close()
	if n := asked.Load(); n < 2 {
		t.Errorf("asked %d times", n)
	}
	if unreachable(errors.New("nats: Authorization Violation")) {
		t.Error("a server that refuses is one that is there")
	}
}
