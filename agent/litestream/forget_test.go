//go:build linux

package litestream

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent"
)

// epochs leads two epochs one after the other on one machine, with ten and twenty entries, and returns what the store has of the first.
func (l *lab) epochs(t *testing.T) (r *Replication, d agent.Data, s *store, old []file) {
	t.Helper()
	of, d := l.Machine(t, "one")
	r = of.(*Replication)
	for epoch := range uint64(2) {
		l.epoch(t, r, d, epoch+1, int(epoch)*10, int(epoch)*10+10)
	}
	s, err := r.openStore(limit(t), d.App.Name)
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.history(limit(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	if old, err = s.before(limit(t), h); err != nil || len(old) < 5 {
		t.Fatalf("the first epoch has %d objects, %v", len(old), err)
	}
	return r, d, s, old
}

// Whoever forgets may be killed after any of its deletions: what counts can be restored then, and the next one deletes the rest.
func TestForgetKilled(t *testing.T) {
	for _, after := range []int{0, 1, 4} {
		l := newLab(t)
		r, d, s, old := l.epochs(t)
		for _, f := range old[:after] {
			if err := s.remove(limit(t), f); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.stream.Purge(limit(t), jetstream.WithPurgeSubject("$O."+s.bucket+".C."+old[after].nuid)); err != nil { // its content, not its name
			t.Fatal(err)
		}
		r2, d2 := l.Machine(t, "two")
		got, err := r2.Recover(limit(t), d2, []agent.Term{{Epoch: 2, Activated: true}, {Epoch: 1, Activated: true}})
		if err != nil || got.Position.Epoch != 2 {
			t.Fatalf("killed after %d: recovered %+v, %v", after, got, err)
		}
		if n := len(l.Open(t, d2).Numbers(t)); n != 20 {
			t.Errorf("killed after %d: %d entries, want 20", after, n)
		}
		if _, err := r.Forget(limit(t), d, 2); err != nil {
			t.Fatalf("killed after %d, and called again: %v", after, err)
		}
		h, _ := r.history(limit(t), 2)
		if left, err := s.before(limit(t), h); err != nil || len(left) > 0 {
			t.Errorf("killed after %d, and called again: %d objects are left, %v", after, len(left), err)
		}
		if kept, err := s.list(limit(t), h); err != nil || len(kept) == 0 {
			t.Errorf("of the epoch that counts there are %d objects, %v", len(kept), err)
		}
	}
}

// While the newer epoch cannot be restored whole the older one stays: it is the only copy in the store.
func TestForgetKeepsTheOnlyCopy(t *testing.T) {
	l := newLab(t)
	r, d, s, old := l.epochs(t)
	h, _ := r.history(limit(t), 2)
	newer, err := s.list(limit(t), h)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range newer {
		if f.first == 1 {
			if err := s.stream.Purge(limit(t), jetstream.WithPurgeSubject("$O."+s.bucket+".C."+f.nuid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.Forget(limit(t), d, 2); err == nil {
		t.Error("forgotten for an epoch that has a hole")
	}
	if left, err := s.before(limit(t), h); err != nil || len(left) != len(old) {
		t.Errorf("%d of %d objects are left, %v", len(left), len(old), err)
	}
}
