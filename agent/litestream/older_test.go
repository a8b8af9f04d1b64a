//go:build linux

package litestream

import (
	"slices"
	"testing"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// The log remembers so many epochs of an app. A program that did not even start under any of them has left all its data in an older one: a
// takeover finds them there, in the store or on its own disk, and does not begin with nothing.
func TestRecoverPastWhatTheLogRemembers(t *testing.T) {
	l := newLab(t)
	r1, d1 := l.Machine(t, "one")
	r2, d2 := l.Machine(t, "two")
	l.epoch(t, r1, d1, 3, 1, 4)
	var terms []agent.Term
	for epoch := uint64(20); epoch > 4; epoch-- {
		terms = append(terms, agent.Term{Epoch: epoch, Activated: true})
	}
	for _, c := range []struct {
		r agent.Replication
		d agent.Data
	}{{r2, d2}, {r1, d1}} {
		got, err := c.r.Recover(limit(t), c.d, terms)
		if err != nil {
			t.Fatal(err)
		}
		if got.Position.Epoch != 3 || got.Complete {
			t.Errorf("recovered %+v", got)
			continue
		}
		a := l.Open(t, c.d)
		if n := a.Numbers(t); !slices.Equal(n, []int{1, 2, 3}) {
			t.Errorf("recovered %v", n)
		}
		a.Close(t)
	}
}

// What a node that was away for longer than the log remembers has led, and not shipped to its end, is set aside and told like any other.
func TestSalvagePastWhatTheLogRemembers(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	a.Write(t, 1)
	p, err := lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	a.Close(t)
	var terms []agent.Term
	for epoch := uint64(20); epoch > 4; epoch-- {
		terms = append(terms, agent.Term{Epoch: epoch, Activated: true, From: events.Position{Epoch: epoch - 1, Seq: 7}, FromSum: "other"})
	}
	s, err := r.Salvage(limit(t), d, terms)
	if err != nil || s.Epoch != 1 || !s.Found.Reached(p) || s.From != (events.Position{Epoch: 4, Seq: 7}) {
		t.Errorf("salvaged %+v: %v", s, err)
	}
}
