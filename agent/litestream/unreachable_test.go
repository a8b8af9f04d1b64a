//go:build linux

package litestream

import (
	"testing"

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
