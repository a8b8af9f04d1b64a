package events_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

func TestOpenWhatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		js, end := s.connect(nil)
		defer end()
		other, err := events.NewSubjects("other")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := events.Open(t.Context(), js, other, time.Now); !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(err.Error(), "cluster other") {
			t.Errorf("got %v", err)
		}
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: other.EventsStream(), Subjects: []string{other.Events()}}); err != nil {
			t.Fatal(err)
		}
		if _, err := events.Open(t.Context(), js, other, time.Now); err == nil || !strings.Contains(err.Error(), events.MetaIncarnation) {
			t.Errorf("a stream of somebody else is opened: %v", err)
		}
	})
}

func TestEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		ends := func(want, one, two uint64) {
			t.Helper()
			last, err := log.LastSeq(t.Context())
			if err != nil || last != want {
				t.Errorf("LastSeq: %d, %v, want %d", last, err, want)
			}
			for node, want := range map[string]uint64{"node-1": one, "node-2": two, "node-3": 0} {
				if got, err := log.LastSeqOf(t.Context(), events.Node(node)); err != nil || got != want {
					t.Errorf("LastSeqOf %s: %d, %v, want %d", node, got, err, want)
				}
			}
		}
		ends(0, 0, 0)
		fill(t, log, 2, "node-1")
		ends(2, 2, 0)
		fill(t, log, 1, "node-2")
		ends(3, 2, 3)
		s.stop()
		s.start()
		log, _ = s.open(nil)
		ends(3, 2, 3)
	})
}

// A stream that was deleted and made again has the same name and other sequences.
func TestIncarnation(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, js := s.open(nil)
		fill(t, log, 3, "node-1")
		if err := js.DeleteStream(t.Context(), s.EventsStream()); err != nil {
			t.Fatal(err)
		}
		s.bootstrap(js)
		if last, err := log.LastSeq(t.Context()); !errors.Is(err, events.ErrIncarnation) {
			t.Errorf("LastSeq: %d, %v, want ErrIncarnation", last, err)
		}
		again, _ := s.open(nil)
		if again.Incarnation() == log.Incarnation() || again.Incarnation() == "" {
			t.Errorf("incarnation %q after %q", again.Incarnation(), log.Incarnation())
		}
		if _, err := again.LastSeq(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
