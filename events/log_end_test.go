package events_test

import (
	"errors"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// wantEnd checks where the log ends.
func wantEnd(t *testing.T, log *events.Log, want uint64) {
	t.Helper()
	if last, err := log.LastSeq(t.Context()); err != nil || last != want {
		t.Errorf("the log ends at %d, %v, want %d", last, err, want)
	}
}

// A decision that rests on the whole log is stored only where the log ends as it was then, whatever aggregate went on.
func TestAppendAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		first := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		second, err := log.AppendAt(t.Context(), cordon("node-1", "b"), headOf(first), first.Seq)
		if err != nil || second.Seq != 2 {
			t.Fatalf("stored at %d, %v, want 2", second.Seq, err)
		}
		for name, at := range map[string]struct {
			draft events.Draft
			head  events.Head
			end   uint64
		}{
			"another aggregate went on": {cordon("node-2", "c"), events.Head{}, first.Seq},
			"its own aggregate did":     {cordon("node-1", "c"), headOf(first), second.Seq},
			"it never was that long":    {cordon("node-1", "c"), headOf(second), second.Seq + 1},
		} {
			if _, err := log.AppendAt(t.Context(), at.draft, at.head, at.end); !errors.Is(err, events.ErrConflict) {
				t.Errorf("%s: got %v, want ErrConflict", name, err)
			}
		}
		if _, err := log.AppendAt(t.Context(), cordon("node-2", "c"), events.Head{}, 0); err == nil || errors.Is(err, events.ErrConflict) {
			t.Errorf("at no end: %v", err)
		}
		wantEnd(t, log, 2)
	})
}

func TestAppendAtTheEndWhoseAckIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tap := newTap(s)
		log, _ := s.open(tap)
		first := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		tap.lose.Store(true)
		e, err := log.AppendAt(t.Context(), cordon("node-2", "b"), events.Head{}, first.Seq)
		if err != nil || e.Seq != 2 {
			t.Fatalf("stored at %d, %v, want 2", e.Seq, err)
		}
		if len(tap.lost) != 1 {
			t.Fatalf("%d connections were cut, want 1: the test proves nothing", len(tap.lost))
		}
		wantEnd(t, log, 2)
	})
}

// The append is lost, and something that it might have rested on is stored before the second try.
func TestAppendAtTheEndThatIsOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tap := newTap(s)
		log, _ := s.open(tap)
		other, _ := s.open(nil)
		first := mustAppend(t, log, cordon("node-1", "a"), events.Head{})
		tap.deaf.Store(true)
		result := make(chan error, 1)
		go func() {
			_, err := log.AppendAt(t.Context(), cordon("node-2", "mine"), events.Head{}, first.Seq)
			result <- err
		}()
		<-tap.lost
		mustAppend(t, other, cordon("node-3", "other"), events.Head{})
		if err := <-result; !errors.Is(err, events.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		wantEnd(t, other, 2)
	})
}
