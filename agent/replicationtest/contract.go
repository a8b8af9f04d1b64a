// Package replicationtest is what every implementation of agent.Replication has to do, as a test.
package replicationtest

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// Kind is one implementation on a store of its own.
type Kind interface {
	// Machine returns the replication of a machine, which has a disk of its own, and the data of the one instance there. Called
	// again with the same name it is the machine with another agent.
	Machine(t *testing.T, name string) (agent.Replication, agent.Data)
	// Open starts an app on the data of a machine.
	Open(t *testing.T, d agent.Data) App
}

// App writes numbers, each acknowledged when Write returns.
type App interface {
	Write(t *testing.T, n int)
	// Late writes as one does who does not know that its epoch is over. It returns false where that was refused.
	Late(t *testing.T, n int) bool
	Numbers(t *testing.T) []int // in order of writing
	// Close ends the app in an orderly way.
	Close(t *testing.T)
	// Kill ends it as SIGKILL would.
	Kill(t *testing.T)
}

const patience = 20 * time.Second

// The parts that some kinds do without.
const (
	FromZero     = "an epoch begins at position 0"
	OnlyShipped  = "recover what was shipped"
	Acknowledged = "recover what was acknowledged and nobody shipped"
	Forgotten    = "what is past its use is forgotten"
	SetAside     = "what was not shipped is set aside"
)

var parts = map[string]func(*testing.T, Kind){
	"move under writes":                       moveUnderWrites,
	"nothing written":                         nothingWritten,
	FromZero:                                  fromZero,
	"back and forth":                          backAndForth,
	"the old leader harms nobody":             zombie,
	"an agent that comes back goes on":        agentRestarts,
	"a copy that comes back goes on":          copyRestarts,
	"an end that is asked for twice":          flushedTwice,
	"recover a complete local copy":           recoverLocal,
	OnlyShipped:                               recoverShipped,
	Acknowledged:                              recoverAcknowledged,
	"recover what was shipped to the end":     recoverFinal,
	"recover past an epoch that shipped none": recoverPastNone,
	"recover nothing":                         recoverNothing,
	"a killed app leaves all it wrote":        killedApp,
	"a copy of another epoch is not gone on":  otherEpoch,
	"a wrong end is refused":                  wrongEnd,
	"what counts is never forgotten":          kept,
	Forgotten:                                 forget,
	"what is stored is proved":                proved,
	SetAside:                                  setAside,
}

// Run runs the contract, but for the parts that are left out, by name, each with a reason. make is called for each part.
func Run(t *testing.T, leftOut map[string]string, make func(t *testing.T) Kind) {
	for name, why := range leftOut {
		if parts[name] == nil || why == "" {
			t.Fatalf("%q is left out, because %q: want a part of the contract, and a reason", name, why)
		}
		t.Logf("left out: %s, because %s", name, why)
	}
	for name, part := range parts {
		if leftOut[name] == "" {
			t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { part(t, make(t)) })
		}
	}
}

// ctx ends when the test has taken too long for its parts to be working.
func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// leads begins an epoch on a machine whose app runs.
func leads(t *testing.T, r agent.Replication, d agent.Data, epoch uint64) agent.Leading {
	t.Helper()
	l, err := r.Lead(t.Context(), d, epoch)
	if err != nil {
		t.Fatalf("lead epoch %d: %v", epoch, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func follows(t *testing.T, r agent.Replication, d agent.Data, epoch uint64) agent.Following {
	t.Helper()
	f, err := r.Follow(t.Context(), d, epoch)
	if err != nil {
		t.Fatalf("follow epoch %d: %v", epoch, err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func synced(t *testing.T, l agent.Leading) events.Position {
	t.Helper()
	p, err := l.Sync(limit(t))
	if err != nil {
		t.Fatalf("sync: %v", err)
	}
	return p
}

func flushed(t *testing.T, l agent.Leading) (events.Position, string) {
	t.Helper()
	p, sum, err := l.Flush(limit(t))
	if err != nil {
		t.Fatalf("flush: %v", err)
	}
	return p, sum
}

// hands moves the data from a leader whose app has ended to a follower.
func hands(t *testing.T, l agent.Leading, f agent.Following) events.Position {
	t.Helper()
	p, sum := flushed(t, l)
	if err := f.Apply(limit(t), p, sum); err != nil {
		t.Fatalf("apply %s: %v", p, err)
	}
	closed(t, l)
	return p
}

// closed ends a leader: until then it may be at what is left of its epoch on its machine.
func closed(t *testing.T, l agent.Leading) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, a App, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		a.Write(t, n)
	}
}

// holds opens what is there and compares it with 0…n-1.
func holds(t *testing.T, k Kind, d agent.Data, n int) App {
	t.Helper()
	a := k.Open(t, d)
	want := []int{}
	for i := range n {
		want = append(want, i)
	}
	if got := a.Numbers(t); !slices.Equal(got, want) {
		t.Fatalf("there are %s, want 0…%d", short(got), n-1)
	}
	return a
}

func short(n []int) string {
	if len(n) < 20 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d numbers, %v … %v", len(n), n[:5], n[len(n)-5:])
}

// scene is two machines, and an app that runs on the first of them under epoch 1.
type scene struct {
	r1, r2 agent.Replication
	d1, d2 agent.Data
	a      App
	l      agent.Leading
}

// begins returns a scene in which 0…n-1 are written.
func begins(t *testing.T, k Kind, n int) *scene {
	t.Helper()
	s := &scene{}
	s.r1, s.d1 = k.Machine(t, "one")
	s.r2, s.d2 = k.Machine(t, "two")
	s.a = k.Open(t, s.d1)
	s.l = leads(t, s.r1, s.d1, 1)
	write(t, s.a, 0, n)
	return s
}

// ends has the app end, and returns where its epoch does.
func (s *scene) ends(t *testing.T) (events.Position, string) {
	t.Helper()
	s.a.Close(t)
	return flushed(t, s.l)
}

// dies ships what there is, and has the app write on up to a number while nobody ships, and be killed. It returns what was shipped.
func (s *scene) dies(t *testing.T, from, to int) events.Position {
	t.Helper()
	p := synced(t, s.l)
	closed(t, s.l)
	write(t, s.a, from, to)
	s.a.Kill(t)
	return p
}

// copies has the second machine follow epoch 1 up to what is written.
func (s *scene) copies(t *testing.T) (agent.Following, events.Position) {
	t.Helper()
	p, f := synced(t, s.l), follows(t, s.r2, s.d2, 1)
	if _, err := f.CatchUp(limit(t), p); err != nil {
		t.Fatal(err)
	}
	return f, p
}

func moveUnderWrites(t *testing.T, k Kind) {
	s := begins(t, k, 50)
	f := follows(t, s.r2, s.d2, 1)
	var n int
	stop, wrote, done := make(chan struct{}), make(chan struct{}), sync.WaitGroup{}
	done.Go(func() {
		for n = 50; ; n++ {
			s.a.Write(t, n)
			select {
			case <-stop:
				n++
				return
			case wrote <- struct{}{}:
			default:
			}
		}
	})
	more := func() { // a write that begins and ends meanwhile: there is something to ship
		<-wrote
		<-wrote
	}
	for range 5 {
		more()
		p := synced(t, s.l)
		at, err := f.CatchUp(limit(t), p)
		if err != nil {
			t.Fatalf("catch up to %s: %v", p, err)
		}
		if !at.Reached(p) || !f.Status().Position.Reached(p) {
			t.Fatalf("caught up to %s, and the status says %s, want %s", at, f.Status().Position, p)
		}
	}
	more()
	close(stop)
	done.Wait()
	s.a.Close(t)
	if p := hands(t, s.l, f); p.Epoch != 1 || p.Seq < 6 {
		t.Errorf("epoch 1 ended at %s after 6 syncs", p)
	}
	b := holds(t, k, s.d2, n)
	b.Close(t)
}

func nothingWritten(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	r2, d2 := k.Machine(t, "two")
	l := leads(t, r1, d1, 1)
	f := follows(t, r2, d2, 1)
	p := synced(t, l)
	if p.Epoch != 1 {
		t.Fatalf("nothing is at %s", p)
	}
	if _, err := f.CatchUp(limit(t), p); err != nil {
		t.Fatal(err)
	}
	hands(t, l, f)
	a := holds(t, k, d2, 0)
	l2 := leads(t, r2, d2, 2)
	write(t, a, 0, 3)
	a.Close(t)
	f2 := follows(t, r1, d1, 2)
	hands(t, l2, f2)
	holds(t, k, d1, 3).Close(t)
}

func fromZero(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	if p := synced(t, leads(t, r1, d1, 1)); p != (events.Position{Epoch: 1}) {
		t.Fatalf("nothing is at %s", p)
	}
}

func backAndForth(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	r2, d2 := k.Machine(t, "two")
	from, to := r1, r2
	fd, td := d1, d2
	a := k.Open(t, fd)
	n := 0
	for epoch := uint64(1); epoch <= 6; epoch++ {
		l := leads(t, from, fd, epoch)
		f := follows(t, to, td, epoch)
		write(t, a, n, n+20)
		n += 20
		a.Close(t)
		hands(t, l, f)
		a = holds(t, k, td, n)
		from, to, fd, td = to, from, td, fd
	}
	a.Close(t)
}

func zombie(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	r2, d2 := k.Machine(t, "two")
	r3, d3 := k.Machine(t, "three")
	a := k.Open(t, d1)
	l1 := leads(t, r1, d1, 1)
	write(t, a, 0, 10)
	p := synced(t, l1)
	f := follows(t, r2, d2, 1)
	if _, err := f.CatchUp(limit(t), p); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := r2.Recover(limit(t), d2, []agent.Term{{Epoch: 1, Activated: true}}); err != nil || r.Position != p {
		t.Fatalf("recovered %+v, %v; want %s", r, err, p)
	}
	b := holds(t, k, d2, 10)
	l2 := leads(t, r2, d2, 2)
	write(t, b, 10, 20)
	written := false
	for n := 1000; n < 1020; n++ { // whoever was paused goes on, and does not know
		written = a.Late(t, n) || written
	}
	if _, err := l1.Sync(limit(t)); (err == nil) != written {
		t.Errorf("late writes are made: %t; shipping them: %v", written, err)
	}
	write(t, b, 20, 30)
	f3 := follows(t, r3, d3, 2)
	b.Close(t)
	hands(t, l2, f3)
	holds(t, k, d3, 30).Close(t)
	a.Close(t)
}

func agentRestarts(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p := synced(t, s.l)
	f := follows(t, s.r2, s.d2, 1)
	if err := s.l.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, s.a, 10, 20) // while nobody ships
	s.r1, s.d1 = k.Machine(t, "one")
	s.l = leads(t, s.r1, s.d1, 1)
	write(t, s.a, 20, 30)
	if q := synced(t, s.l); !q.Reached(p) || q == p {
		t.Fatalf("the next agent is at %s, the one before was at %s", q, p)
	}
	s.a.Close(t)
	hands(t, s.l, f)
	holds(t, k, s.d2, 30).Close(t)
}

func copyRestarts(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	f, p := s.copies(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, s.a, 10, 20)
	synced(t, s.l)
	s.r2, s.d2 = k.Machine(t, "two")
	f = follows(t, s.r2, s.d2, 1)
	if at := f.Status().Position; !at.Reached(p) {
		t.Errorf("the copy begins at %s, and was at %s", at, p)
	}
	s.a.Close(t)
	hands(t, s.l, f)
	holds(t, k, s.d2, 20).Close(t)
}

func flushedTwice(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p, sum := s.ends(t)
	if err := s.l.Close(); err != nil {
		t.Fatal(err)
	}
	s.r1, s.d1 = k.Machine(t, "one") // its agent died before it could say so
	s.l = leads(t, s.r1, s.d1, 1)
	if p2, sum2 := flushed(t, s.l); p2 != p || sum2 != sum {
		t.Errorf("it ended at %s (%s), and asked again at %s (%s)", p, sum, p2, sum2)
	}
	f := follows(t, s.r2, s.d2, 1)
	if err := f.Apply(limit(t), p, sum); err != nil {
		t.Fatal(err)
	}
	holds(t, k, s.d2, 10).Close(t)
}

func recoverLocal(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	a := k.Open(t, d1)
	l := leads(t, r1, d1, 1)
	write(t, a, 0, 10)
	synced(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, a, 10, 20) // never shipped
	a.Kill(t)
	r1, d1 = k.Machine(t, "one")
	r, err := r1.Recover(limit(t), d1, []agent.Term{{Epoch: 1, Here: true, Activated: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || r.Position.Epoch != 1 || r.Checksum == "" || !r.Shipped.IsZero() {
		t.Errorf("recovered %+v, want a complete copy of epoch 1", r)
	}
	holds(t, k, d1, 20).Close(t)
}

func recoverShipped(t *testing.T, k Kind) {
	before := time.Now().Add(-time.Second)
	s := begins(t, k, 10)
	p := s.dies(t, 10, 20)
	r, err := s.r2.Recover(limit(t), s.d2, []agent.Term{{Epoch: 1, Activated: true}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete || r.Position != p || r.Shipped.Before(before) || r.Shipped.After(time.Now().Add(time.Second)) {
		t.Errorf("recovered %+v, want %s, not complete, shipped just now", r, p)
	}
	holds(t, k, s.d2, 10).Close(t)
}

// What an app has acknowledged is there for everybody, whatever becomes of its machine.
func recoverAcknowledged(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p := s.dies(t, 10, 20)
	r, err := s.r2.Recover(limit(t), s.d2, []agent.Term{{Epoch: 1, Activated: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || !r.Position.Reached(p) || r.Position == p || r.Checksum == "" || !r.Shipped.IsZero() {
		t.Errorf("recovered %+v, want everything, behind %s", r, p)
	}
	holds(t, k, s.d2, 20).Close(t)
}

func recoverFinal(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p, sum := s.ends(t)
	r, err := s.r2.Recover(limit(t), s.d2, []agent.Term{{Epoch: 1, Activated: true, Final: p}})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || r.Position != p || r.Checksum != sum {
		t.Errorf("recovered %+v, want all of %s (%s)", r, p, sum)
	}
	holds(t, k, s.d2, 10).Close(t)
}

func recoverPastNone(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p, _ := s.ends(t)
	for _, activated := range []bool{false, true} {
		r, err := s.r2.Recover(limit(t), s.d2, []agent.Term{{Epoch: 2, Activated: activated, From: p}, {Epoch: 1, Activated: true, Final: p}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Complete == activated || r.Position != p {
			t.Errorf("with epoch 2 activated %t: recovered %+v, want %s, complete %t", activated, r, p, !activated)
		}
	}
	holds(t, k, s.d2, 10).Close(t)
}

func recoverNothing(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	for _, activated := range []bool{false, true} {
		r, err := r1.Recover(limit(t), d1, []agent.Term{{Epoch: 1, Activated: activated}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Position != (events.Position{}) || r.Complete == activated {
			t.Errorf("with epoch 1 activated %t: recovered %+v, want nothing, complete %t", activated, r, !activated)
		}
	}
	holds(t, k, d1, 0).Close(t)
}

func killedApp(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	r2, d2 := k.Machine(t, "two")
	a := k.Open(t, d1)
	l := leads(t, r1, d1, 1)
	f := follows(t, r2, d2, 1)
	write(t, a, 0, 25)
	a.Kill(t)
	hands(t, l, f)
	holds(t, k, d2, 25).Close(t)
}

func otherEpoch(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	f, _ := s.copies(t)
	if _, err := f.CatchUp(limit(t), events.Position{Epoch: 2, Seq: 1}); err == nil {
		t.Error("a copy of epoch 1 caught up with one of epoch 2")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.a.Close(t)
	flushed(t, s.l)
	closed(t, s.l)
	s.a = k.Open(t, s.d1)
	s.l = leads(t, s.r1, s.d1, 2)
	write(t, s.a, 10, 20)
	f = follows(t, s.r2, s.d2, 2)
	if at := f.Status().Position; at.Epoch != 2 {
		t.Errorf("a copy of epoch 2 begins at %s", at)
	}
	s.a.Close(t)
	hands(t, s.l, f)
	holds(t, k, s.d2, 20).Close(t)
}

func wrongEnd(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p, sum := s.ends(t)
	err := follows(t, s.r2, s.d2, 1).Apply(limit(t), p, sum+"x")
	if err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a copy with another checksum: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := follows(t, s.r2, s.d2, 1).Apply(ctx, events.Position{Epoch: 1, Seq: p.Seq + 1}, sum); err == nil {
		t.Error("a copy came further than what it follows")
	}
	if err := follows(t, s.r2, s.d2, 1).Apply(limit(t), p, sum); err != nil {
		t.Errorf("followed again: %v", err)
	}
	holds(t, k, s.d2, 10).Close(t)
}

// Nothing is forgotten for an epoch of which there is nothing, and where there is, that stays.
func kept(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p, _ := s.ends(t)
	if _, err := s.r1.Forget(limit(t), s.d1, 2); err == nil {
		t.Error("epoch 1 is forgotten for an epoch 2 of which there is nothing")
	}
	if r, err := s.r2.Recover(limit(t), s.d2, []agent.Term{{Epoch: 1, Activated: true, Final: p}}); err != nil || !r.Complete {
		t.Fatalf("epoch 1 should still be there: %+v, %v", r, err)
	}
	b := holds(t, k, s.d2, 10)
	l2 := leads(t, s.r2, s.d2, 2)
	write(t, b, 10, 20)
	p2 := synced(t, l2)
	if _, err := s.r2.Forget(limit(t), s.d2, 2); err != nil {
		t.Fatal(err)
	}
	r3, d3 := k.Machine(t, "three")
	if r, err := r3.Recover(limit(t), d3, []agent.Term{{Epoch: 2, Activated: true}, {Epoch: 1, Activated: true, Final: p}}); err != nil || r.Position != p2 {
		t.Errorf("epoch 2: %+v, %v, want %s", r, err, p2)
	}
	b.Close(t)
	holds(t, k, d3, 20).Close(t)
}

func forget(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	s.a.Close(t)
	p := hands(t, s.l, follows(t, s.r2, s.d2, 1))
	b := holds(t, k, s.d2, 10)
	l2 := leads(t, s.r2, s.d2, 2)
	write(t, b, 10, 20)
	synced(t, l2)
	if _, err := s.r2.Forget(limit(t), s.d2, 2); err != nil {
		t.Fatal(err)
	}
	r3, d3 := k.Machine(t, "three")
	if r, err := r3.Recover(limit(t), d3, []agent.Term{{Epoch: 1, Activated: true, Final: p}}); err != nil || r.Position != (events.Position{}) {
		t.Errorf("epoch 1 is still there: %+v, %v", r, err)
	}
	b.Close(t)
}

// What is local is known by its epoch, and what is stored is enough to restore from or is said not to be.
func proved(t *testing.T, k Kind) {
	r1, d1 := k.Machine(t, "one")
	r2, d2 := k.Machine(t, "two")
	local := func(r agent.Replication, d agent.Data, want uint64) {
		t.Helper()
		if of, err := r.Local(d); err != nil || of != want {
			t.Errorf("the local data are of epoch %d, %v, want %d", of, err, want)
		}
	}
	local(r1, d1, 0)
	if err := r2.Prove(limit(t), d2, 1); err == nil {
		t.Error("epoch 1, of which there is nothing, is enough to restore from")
	}
	a := k.Open(t, d1)
	l := leads(t, r1, d1, 1)
	write(t, a, 0, 10)
	p := synced(t, l)
	local(r1, d1, 1)
	f := follows(t, r2, d2, 1)
	if _, err := f.CatchUp(limit(t), p); err != nil {
		t.Fatal(err)
	}
	local(r2, d2, 1)
	for _, m := range []struct {
		r agent.Replication
		d agent.Data
	}{{r1, d1}, {r2, d2}} {
		if err := m.r.Prove(limit(t), m.d, 1); err != nil {
			t.Errorf("epoch 1 is stored: %v", err)
		}
	}
	write(t, a, 10, 20)
	if _, err := f.CatchUp(limit(t), synced(t, l)); err != nil {
		t.Errorf("the copy does not go on after the proof: %v", err)
	}
	a.Close(t)
}

// A machine that led an epoch and died before it had shipped all of it follows the next one. What it wrote last stays on its disk.
func setAside(t *testing.T, k Kind) {
	s := begins(t, k, 10)
	p := s.dies(t, 10, 20)
	if r, err := s.r2.Recover(limit(t), s.d2, []agent.Term{{Epoch: 1, Activated: true}}); err != nil || r.Position != p {
		t.Fatalf("recovered %+v, %v, want %s", r, err, p)
	}
	b := holds(t, k, s.d2, 10)
	l2 := leads(t, s.r2, s.d2, 2)
	write(t, b, 20, 25)
	f := follows(t, s.r1, s.d1, 2)
	if _, err := f.CatchUp(limit(t), synced(t, l2)); err != nil {
		t.Fatal(err)
	}
	aside, err := filepath.Glob(s.d1.Path + ".aside-e1")
	if s.d1.Path != "" && (err != nil || len(aside) != 1) { // some have no files
		t.Errorf("what was written last under epoch 1 is gone: %v %v", aside, err)
	}
	b.Close(t)
}
