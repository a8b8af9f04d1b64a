//go:build linux

package litestream

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An agent that is started anew while nobody answers takes over the shipping of what its app writes all the same: there is nobody who would try
// again later. What was never led here is not made up.
func TestLeadGoesOnWithoutStore(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 1)
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	js := l.js
	gone, err := js.Conn().Opts.Connect()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if l.js, err = jetstream.New(gone); err != nil {
		t.Fatal(err)
	}
	r, _ = l.Machine(t, "one")
	l.js = js
	again, err := r.Lead(t.Context(), d, 1)
	if err != nil {
		t.Fatalf("go on: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Lead(t.Context(), d, 2); err == nil {
		t.Error("epoch 2 is led, of which nothing is known")
	}
}

// secondFails is a way to a server on which the second connection cannot be made.
type secondFails struct {
	nats.InProcessConnProvider
	made atomic.Int32
}

// InProcessConn implements nats.InProcessConnProvider.
func (s *secondFails) InProcessConn() (net.Conn, error) {
	if s.made.Add(1) == 2 {
		return nil, errors.New("not yet")
	}
	return s.InProcessConnProvider.InProcessConn()
}

// A move that is asked for right after an outage does not fail since the connection of the data is back a moment later than the one that it came by.
func TestSyncWaitsForItsConnection(t *testing.T) {
	l := newLab(t)
	o := l.js.Conn().Opts
	o.InProcessServer, o.ReconnectBufSize = &secondFails{InProcessConnProvider: o.InProcessServer}, -1
	o.ReconnectWait, o.ReconnectJitter = 300*time.Millisecond, 0
	nc, err := o.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if l.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 1)
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	}
	a.Write(t, 2)
	away := nc.StatusChanged(nats.RECONNECTING)
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	<-away
	if _, err := lead.Sync(limit(t)); err != nil {
		t.Error(err)
	}
}
