package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

func TestAppendMakesAChain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, js := s.open(nil)
		var head events.Head
		var written []events.Event
		for i := range 5 {
			d := events.Draft{Aggregate: events.App("convex"), Target: "node-1", App: "convex", Node: "node-1", Actor: "cli:ana", Cause: "cmd:same", Correlation: "cmd:first",
				Data: &events.AppRestartRequested{Generation: uint64(i)}}
			e := mustAppend(t, log, d, head)
			if e.Rev != uint64(i+1) || e.Prev != head.Hash || e.Seq <= head.Seq || e.Stream != log.Incarnation() {
				t.Errorf("after %+v: rev %d, prev %s, seq %d, stream %s", head, e.Rev, e.Prev, e.Seq, e.Stream)
			}
			written, head = append(written, e), headOf(e)
			mustAppend(t, log, cordon("node-1", fmt.Sprint(i)), nodeHead(t, log, "node-1")) // others come in between
		}
		f := follow(t.Context(), log, 1, log.Subjects.Aggregate(events.App("convex")))
		var read []events.Event
		for _, m := range f.await(t, 5) {
			if m.Err != nil {
				t.Fatal(m.Err)
			}
			if m.Event.Stored.IsZero() {
				t.Error("no stored time")
			}
			read = append(read, m.Event)
		}
		if d := cmp.Diff(written, read, cmpopts.IgnoreFields(events.Event{}, "Stored")); d != "" {
			t.Errorf("what Append returned (-) is not what is stored (+):\n%s", d)
		}
		_ = f.stop()

		// Headers: the expectation always under the aggregate's one filter, and never a message id, whose window would swallow a
		// legitimate second decision.
		stream, err := js.Stream(t.Context(), s.EventsStream())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range read {
			m, err := stream.GetMsg(t.Context(), e.Seq)
			if err != nil {
				t.Fatal(err)
			}
			if id, set := m.Header[jetstream.MsgIDHeader]; set {
				t.Errorf("message id %v", id)
			}
			if got, want := m.Header.Get(jetstream.ExpectedLastSubjSeqSubjHeader), log.Subjects.Aggregate(e.Aggregate); got != want {
				t.Errorf("filter of the expectation: got %q, want %q", got, want)
			}
			if m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) == "" || m.Header.Get(jetstream.ExpectedStreamHeader) != s.EventsStream() {
				t.Errorf("headers %v", m.Header)
			}
		}
	})
}

// A clock that is finer than the wire, and of another zone, makes no event that differs from the stored one.
func TestAppendReturnsTheStoredTime(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		_, js := s.open(nil)
		fine := time.Date(2026, 1, 15, 11, 30, 0, 123456789, time.FixedZone("CET", 3600))
		log, err := events.Open(t.Context(), js, s.Subjects, func() time.Time { return fine })
		if err != nil {
			t.Fatal(err)
		}
		e := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		f := follow(t.Context(), log, 1)
		defer func() { _ = f.stop() }()
		if got := f.await(t, 1)[0].Event.TS; got != e.TS || got.Nanosecond() != 123456000 || got.Hour() != 10 {
			t.Errorf("stored %s, returned %s", got, e.TS)
		}
	})
}

// nodeHead returns the end of a node's aggregate as a fold would.
func nodeHead(t *testing.T, log *events.Log, node string) events.Head {
	t.Helper()
	a := events.Node(node)
	last, err := log.LastSeqOf(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if last == 0 {
		return events.Head{}
	}
	f := follow(t.Context(), log, last, log.Subjects.Aggregate(a))
	defer func() { _ = f.stop() }()
	return headOf(f.await(t, 1)[0].Event)
}

func TestAppendWithAStaleHead(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		first := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		mustAppend(t, log, cordon("node-1", "b"), headOf(first))
		for name, head := range map[string]events.Head{"none": {}, "the first": headOf(first)} {
			_, err := log.Append(t.Context(), cordon("node-1", "late"), head)
			if !errors.Is(err, events.ErrConflict) {
				t.Errorf("head %s: got %v, want ErrConflict", name, err)
			} else if !strings.Contains(err.Error(), "append node.scheduling.cordoned to node/node-1") {
				t.Errorf("head %s: the error does not name what it is about: %v", name, err)
			}
		}
		if last, err := log.LastSeq(t.Context()); err != nil || last != 2 {
			t.Errorf("the log ends at %d, %v, want 2: a refused append was stored", last, err)
		}
	})
}

// Neither another aggregate nor one whose name begins alike moves a head.
func TestAggregatesAreIndependent(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		a := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		mustAppend(t, log, cordon("node-11", "a"), events.Head{})
		mustAppend(t, log, events.Draft{Aggregate: events.App("node-1"), Cause: "a", Data: &events.AppRemoved{}}, events.Head{})
		if b := mustAppend(t, log, cordon("node-1", "b"), headOf(a)); b.Rev != 2 {
			t.Errorf("revision %d, want 2", b.Rev)
		}
	})
}

// A second decision with the same cause, type and addressee is another event.
func TestTheSameDecisionTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		a := mustAppend(t, log, cordon("node-1", "cmd:1"), events.Head{})
		b := mustAppend(t, log, cordon("node-1", "cmd:1"), headOf(a))
		if a.ID == b.ID || b.Seq != a.Seq+1 {
			t.Errorf("got %s at %d behind %s at %d", b.ID, b.Seq, a.ID, a.Seq)
		}
		if last, err := log.LastSeq(t.Context()); err != nil || last != 2 {
			t.Errorf("the log ends at %d, %v, want 2", last, err)
		}
	})
}

// Two replicas that make one decision at one head store it once; both learn of the event that is stored.
func TestTheSameDecisionByTwoReplicas(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		one, _ := s.open(nil)
		two, _ := s.open(nil)
		a := mustAppend(t, one, cordon("node-1", "cmd:1"), events.Head{})
		b := mustAppend(t, two, cordon("node-1", "cmd:1"), events.Head{})
		if d := cmp.Diff(a, b, cmpopts.IgnoreFields(events.Event{}, "Stored")); d != "" {
			t.Error(d)
		}
		if last, err := one.LastSeq(t.Context()); err != nil || last != 1 {
			t.Errorf("the log ends at %d, %v, want 1", last, err)
		}
	})
}

func TestDraftsThatAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		for _, c := range []struct {
			why   string
			draft events.Draft
			head  events.Head
		}{
			{"is not the payload of any event type", events.Draft{Aggregate: events.Node("node-1"), Data: events.NodeCordoned{}}, events.Head{}},
			{"belongs on a node aggregate, not on app/convex", events.Draft{Aggregate: events.App("convex"), Data: &events.NodeCordoned{}}, events.Head{}},
			{"the log is that of cluster test", events.Draft{Aggregate: events.Cluster("prod"), Data: &events.MovesFrozen{}}, events.Head{}},
			{"is not one of a fold", cordon("node-1", "a"), events.Head{Seq: 4}},
			{"is not one of a fold", cordon("node-1", "a"), events.Head{Rev: 4}},
			{"at most 786432 allowed", events.Draft{Aggregate: events.Request("planner"), Data: &events.RequestRefused{Detail: strings.Repeat("x", events.MaxSize)}}, events.Head{}},
		} {
			if _, err := log.Append(t.Context(), c.draft, c.head); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, want: %s", err, c.why)
			}
		}
		if last, err := log.LastSeq(t.Context()); err != nil || last != 0 {
			t.Errorf("the log ends at %d, %v, want 0", last, err)
		}
	})
}

// What no other writer can have put there is not built upon.
func TestAppendBeforeAMalformedMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, js := s.open(nil)
		if _, err := js.Publish(t.Context(), s.Event(events.Node("node-1"), "node.scheduling.cordoned", ""), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		var bad *events.MalformedError
		if _, err := log.Append(t.Context(), cordon("node-1", "a"), events.Head{}); !errors.As(err, &bad) || bad.Seq != 1 {
			t.Errorf("got %v, want a *MalformedError at sequence 1", err)
		}
	})
}

func TestAppendWhileTheServerIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		s.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := log.Append(ctx, cordon("node-1", "a"), events.Head{})
		if !errors.Is(err, events.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrUnknown because of the deadline", err)
		}
		// With the server back the same append says what became of it.
		s.start()
		if e := mustAppend(t, log, cordon("node-1", "a"), events.Head{}); e.Seq != 1 || e.Rev != 1 {
			t.Errorf("stored at %d as revision %d, want 1 and 1", e.Seq, e.Rev)
		}
	})
}

// A server that comes back in time hides its outage.
func TestAppendOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		first := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		s.Stop()
		back := time.AfterFunc(3*time.Second, s.start)
		defer back.Stop()
		if e := mustAppend(t, log, cordon("node-1", "b"), headOf(first)); e.Seq != 2 || e.Rev != 2 {
			t.Errorf("stored at %d as revision %d, want 2 and 2", e.Seq, e.Rev)
		}
	})
}

func TestAppendWhoseAckIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tap := newTap(s)
		log, _ := s.open(tap)
		tap.lose.Store(true)
		e := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		if len(tap.lost) != 1 {
			t.Fatalf("%d connections were cut, want 1: the test proves nothing", len(tap.lost))
		}
		if e.Seq != 1 || e.Rev != 1 || e.Cause != "a" {
			t.Errorf("got %+v", e)
		}
		if last, err := log.LastSeq(t.Context()); err != nil || last != 1 {
			t.Errorf("the log ends at %d, %v, want 1: it was stored twice", last, err)
		}
		if got := nodeHead(t, log, "node-1"); got != headOf(e) {
			t.Errorf("stored %+v, returned %+v", got, headOf(e))
		}
	})
}

func TestAppendThatIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tap := newTap(s)
		log, _ := s.open(tap)
		tap.deaf.Store(true)
		e := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		if len(tap.lost) != 1 {
			t.Fatalf("%d connections were cut, want 1: the test proves nothing", len(tap.lost))
		}
		if last, err := log.LastSeq(t.Context()); err != nil || last != 1 || e.Seq != 1 {
			t.Errorf("stored at %d, the log ends at %d, %v, want 1 and 1", e.Seq, last, err)
		}
	})
}

// The ack is lost and others append behind before the outcome is read back: the event after the expected sequence decides, not
// the newest one.
func TestAppendWhoseAckIsLostAndOthersFollow(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tap := newTap(s)
		log, _ := s.open(tap)
		other, _ := s.open(nil)
		tap.lose.Store(true)
		result := make(chan error, 1)
		var mine events.Event
		go func() {
			var err error
			mine, err = log.Append(t.Context(), cordon("node-1", "mine"), events.Head{})
			result <- err
		}()
		<-tap.lost
		stored := nodeHead(t, other, "node-1")
		mustAppend(t, other, cordon("node-1", "other"), stored)
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if headOf(mine) != stored {
			t.Errorf("returned %+v, stored %+v", headOf(mine), stored)
		}
	})
}

// The append is lost, another writer is faster than the second try: that is a conflict, and nothing of ours is stored.
func TestAppendThatIsLostAndOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tap := newTap(s)
		log, _ := s.open(tap)
		other, _ := s.open(nil)
		tap.deaf.Store(true)
		result := make(chan error, 1)
		go func() {
			_, err := log.Append(t.Context(), cordon("node-1", "mine"), events.Head{})
			result <- err
		}()
		<-tap.lost
		mustAppend(t, other, cordon("node-1", "other"), events.Head{})
		if err := <-result; !errors.Is(err, events.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		if last, err := other.LastSeq(t.Context()); err != nil || last != 1 {
			t.Errorf("the log ends at %d, %v, want 1", last, err)
		}
	})
}
