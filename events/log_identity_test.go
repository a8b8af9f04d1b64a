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
		s.Stop()
		s.start()
		log, _ = s.open(nil)
		ends(3, 2, 3)
	})
}

// remake deletes the event stream and makes it again while the network is down. It returns the new log, on another network.
func (s *site) remake(network *gate) *events.Log {
	s.t.Helper()
	js, end := s.connect(nil)
	s.t.Cleanup(end)
	network.set(true)
	if err := js.DeleteStream(s.t.Context(), s.EventsStream()); err != nil {
		s.t.Fatal(err)
	}
	s.bootstrap(js)
	log, _ := s.open(nil)
	network.set(false)
	return log
}

// A stream that was deleted and made again has the same name and other sequences: what was opened on the old one neither reads nor
// writes the new one.
func TestIncarnation(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		network := &gate{InProcessConnProvider: s}
		log, _ := s.open(network)
		fill(t, log, 3, "node-1")
		f := follow(t.Context(), log, 1)
		head := headOf(f.await(t, 3)[2].Event)
		again := s.remake(network)
		<-f.done
		if err := f.stop(); !errors.Is(err, events.ErrIncarnation) {
			t.Errorf("a Follow under way: %v, want ErrIncarnation", err)
		}
		if last, err := log.LastSeq(t.Context()); !errors.Is(err, events.ErrIncarnation) {
			t.Errorf("LastSeq: %d, %v, want ErrIncarnation", last, err)
		}
		for node, head := range map[string]events.Head{"node-1": head, "node-2": {}} {
			if _, err := log.Append(t.Context(), cordon(node, "late"), head); !errors.Is(err, events.ErrIncarnation) {
				t.Errorf("Append to %s: %v, want ErrIncarnation", node, err)
			}
		}
		if err := log.Follow(t.Context(), 1, nil, func(events.Message) error { return nil }); !errors.Is(err, events.ErrIncarnation) {
			t.Errorf("Follow: %v, want ErrIncarnation", err)
		}
		if again.Incarnation() == log.Incarnation() || again.Incarnation() == "" {
			t.Errorf("incarnation %q after %q", again.Incarnation(), log.Incarnation())
		}
		if last, err := again.LastSeq(t.Context()); err != nil || last != 0 {
			t.Errorf("the new log ends at %d, %v: the old one wrote into it", last, err)
		}
	})
}

// Nobody else has to ask: a reader finds out by itself, however busy the new stream is.
func TestFollowFindsAnotherIncarnation(t *testing.T) {
	for name, n := range map[string]int{"idle": 0, "shorter": 2, "longer": 7} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				network := &gate{InProcessConnProvider: s}
				log, _ := s.open(network)
				fill(t, log, 3, "node-1")
				f := follow(t.Context(), log, 1)
				f.await(t, 3)
				fill(t, s.remake(network), n, "node-2")
				<-f.done
				if err := f.stop(); !errors.Is(err, events.ErrIncarnation) {
					t.Errorf("got %v, want ErrIncarnation", err)
				}
				if len(f.msgs) != 3 {
					t.Errorf("%d messages were delivered, 3 are of the stream that was opened", len(f.msgs))
				}
			})
		})
	}
}

func TestFollowEndsWithTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, js := s.open(nil)
		fill(t, log, 1, "node-1")
		f := follow(t.Context(), log, 1)
		f.await(t, 1)
		if err := js.DeleteStream(t.Context(), s.EventsStream()); err != nil {
			t.Fatal(err)
		}
		<-f.done
		if err := f.stop(); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("got %v, want that there is no such stream", err)
		}
	})
}
