//go:build linux

package litestream

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// taken leads epoch 1 on one machine until that is lost, with so many entries that were shipped and so many that were not, and takes over on
// another one, which is activated.
func (l *lab) taken(t *testing.T, shipped, not int) (r agent.Replication, d agent.Data, at events.Position, terms []agent.Term) {
	t.Helper()
	l.options = func(o *Options) { o.Peace, o.Interval = time.Hour, time.Hour } // nothing is shipped that is not asked for
	r, d = l.Machine(t, "one")
	a := l.Open(t, d)
	lead := l.lead(t, r, d, 1)
	for n := range shipped {
		a.Write(t, n)
	}
	at, err := lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range not {
		a.Write(t, shipped+n)
	}
	a.Kill(t)
	if err := lead.Close(); err != nil {
		t.Fatal(err)
	}
	r2, d2 := l.Machine(t, "two")
	got, err := r2.Recover(limit(t), d2, []agent.Term{{Epoch: 1, Activated: true}})
	if err != nil || got.Position != at {
		t.Fatalf("recovered %+v, %v; want %s", got, err, at)
	}
	return r, d, at, []agent.Term{{Epoch: 2, Activated: true, From: got.Position, FromSum: got.Checksum}, {Epoch: 1, Here: true, Activated: true}}
}

// What a node comes back with and nobody else has is set aside, and it is said what it is.
func TestSalvage(t *testing.T) {
	l := newLab(t)
	r, d, at, terms := l.taken(t, 10, 5)
	got, err := r.Salvage(limit(t), d, terms)
	if err != nil {
		t.Fatal(err)
	}
	if got.Epoch != 1 || got.From != at || !got.Found.Reached(at) || got.Bytes < 5*300 || got.Path != d.Path+".aside-e1" {
		t.Errorf("salvaged %+v, the successor began with %s", got, at)
	}
	if _, err := os.Lstat(d.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still in the way: %v", err)
	}
	aside := d
	aside.Path = got.Path
	if n := len(l.Open(t, aside).Numbers(t)); n != 15 {
		t.Errorf("%d entries were set aside, want 15", n)
	}
}

// A database of which nothing was shipped is lost as a whole, and as that it is counted.
func TestSalvageOfWhatWasNeverShipped(t *testing.T) {
	l := newLab(t)
	r, d := l.Machine(t, "one")
	if err := l.lead(t, r, d, 1).Close(); err != nil {
		t.Fatal(err)
	}
	a := l.Open(t, d)
	a.Write(t, 1)
	a.Kill(t)
	whole := size(d.Path) + size(d.Path+"-wal")
	got, err := r.Salvage(limit(t), d, []agent.Term{{Epoch: 2, Activated: true}, {Epoch: 1, Here: true, Activated: true}})
	if err != nil || got.Found != (events.Position{Epoch: 1}) || got.Bytes != whole || whole == 0 || got.Path == "" {
		t.Errorf("salvaged %+v of %d bytes: %v", got, whole, err)
	}
}

// What the successor began with, or nobody has gone on from yet, is not lost, and stays where it is.
func TestNothingToSalvage(t *testing.T) {
	l := newLab(t)
	r, d, _, terms := l.taken(t, 10, 0)
	if got, err := r.Salvage(limit(t), d, terms); err != nil || got != (agent.Salvaged{}) {
		t.Errorf("all of it was shipped: %+v, %v", got, err)
	}
	l = newLab(t)
	r, d, _, terms = l.taken(t, 10, 5)
	terms[0].Activated = false
	if got, err := r.Salvage(limit(t), d, terms); err != nil || got != (agent.Salvaged{}) {
		t.Errorf("nobody has written since: %+v, %v", got, err)
	}
	if n := len(l.Open(t, d).Numbers(t)); n != 15 {
		t.Errorf("%d entries are left, want 15", n)
	}
}
