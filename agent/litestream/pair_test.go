//go:build linux

package litestream

import (
	"testing"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/events"
)

// pair is a database that is led on one machine, and a copy on another that has what was written.
type pair struct {
	app  replicationtest.App
	lead *leading
	r2   agent.Replication // of the copy
	d2   agent.Data
	copy *following
	at   events.Position
}

// pair begins epoch 1 with the numbers up to n, and that not, shipped at once.
func (l *lab) pair(t *testing.T, n int) (p pair) {
	t.Helper()
	r, d := l.Machine(t, "one")
	p.r2, p.d2 = l.Machine(t, "two")
	p.app = l.Open(t, d)
	p.lead = l.lead(t, r, d, 1)
	for i := range n {
		p.app.Write(t, i)
	}
	var err error
	if p.at, err = p.lead.Sync(limit(t)); err != nil {
		t.Fatal(err)
	}
	p.copy = l.follow(t, p.r2, p.d2, 1)
	if _, err := p.copy.CatchUp(limit(t), p.at); err != nil {
		t.Fatal(err)
	}
	return p
}
