package events_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// fill appends n events to each of the nodes in turn.
func fill(t *testing.T, log *events.Log, n int, nodes ...string) {
	t.Helper()
	heads := map[string]events.Head{}
	for _, node := range nodes {
		heads[node] = nodeHead(t, log, node)
	}
	for i := range n {
		for _, node := range nodes {
			heads[node] = headOf(mustAppend(t, log, cordon(node, fmt.Sprint(i)), heads[node]))
		}
	}
}

// inOrder checks that the messages are those of the sequences from, from+1, ….
func inOrder(t *testing.T, msgs []events.Message, from uint64) {
	t.Helper()
	for i, m := range msgs {
		if m.Event.Seq != from+uint64(i) {
			t.Fatalf("message %d has sequence %d, want %d", i, m.Event.Seq, from+uint64(i))
		}
	}
}

func TestFollow(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		fill(t, log, 3, "node-1", "node-2")
		all := follow(t.Context(), log, 0)
		late := follow(t.Context(), log, 5)
		one := follow(t.Context(), log, 1, log.Subjects.Aggregate(events.Node("node-2")))
		inOrder(t, all.await(t, 6), 1)
		inOrder(t, late.await(t, 2), 5)
		fill(t, log, 2, "node-1", "node-2") // what is there and what comes are one sequence
		inOrder(t, all.await(t, 10), 1)
		inOrder(t, late.await(t, 6), 5)
		for i, m := range one.await(t, 5) {
			if m.Event.Aggregate != events.Node("node-2") || m.Event.Rev != uint64(i+1) {
				t.Errorf("filtered message %d: %s revision %d", i, m.Event.Aggregate, m.Event.Rev)
			}
		}
		for name, f := range map[string]*tail{"all": all, "late": late, "one": one} {
			if err := f.stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want its context's error", name, err)
			}
		}
	})
}

func TestFollowWhatIsAddressed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		d := cordon("node-1", "a")
		d.Target = "node-7"
		e := mustAppend(t, log, d, events.Head{})
		mustAppend(t, log, cordon("node-1", "b"), headOf(e))
		mustAppend(t, log, cordon("node-7", "c"), events.Head{}) // about node-7, and addressed to nobody
		f := follow(t.Context(), log, 1, log.Addressed("node-7"))
		defer func() { _ = f.stop() }()
		all := follow(t.Context(), log, 1)
		defer func() { _ = all.stop() }()
		all.await(t, 3)
		if msgs := f.await(t, 1); len(msgs) != 1 || msgs[0].Event.ID != e.ID || msgs[0].Event.Target != "node-7" {
			t.Errorf("got %+v", msgs)
		}
	})
}

func TestFollowEndsWithItsFunction(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		fill(t, log, 3, "node-1")
		enough, seen := errors.New("enough"), 0
		err := log.Follow(t.Context(), 1, nil, func(events.Message) error {
			if seen++; seen == 2 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || seen != 2 {
			t.Errorf("got %v after %d messages", err, seen)
		}
	})
}

func TestFollowDeliversWhatIsMalformed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, js := s.open(nil)
		fill(t, log, 1, "node-1")
		subject := s.Event(events.Node("node-2"), "node.scheduling.cordoned", "")
		for _, junk := range []string{"", "hello", strings.Repeat("[", 2*events.MaxDepth), `{"id":1}`} {
			if _, err := js.Publish(t.Context(), subject, []byte(junk)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := js.Publish(t.Context(), s.Events()[:len(s.Events())-1]+"zone.x", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		fill(t, log, 1, "node-3")
		f := follow(t.Context(), log, 1)
		msgs := f.await(t, 7)
		inOrder(t, msgs, 1)
		for i, m := range msgs {
			if malformed := i > 0 && i < 6; (m.Err != nil) != malformed {
				t.Errorf("sequence %d: %v", m.Event.Seq, m.Err)
			} else if malformed && (m.Err.Seq != m.Event.Seq || m.Err.Subject == "" || m.Event.Stored.IsZero() || m.Event.Data != nil) {
				t.Errorf("sequence %d: error %+v, event %+v", m.Event.Seq, m.Err, m.Event)
			}
		}
		_ = f.stop()
	})
}

// A reader survives the server: it goes on where it was, without a gap and without a repetition.
func TestFollowOutlivesRestarts(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		f := follow(t.Context(), log, 1)
		idle := follow(t.Context(), log, 1, log.Addressed("node-9"))
		synctest.Wait() // both are subscribed; before that, an outage is an error
		for round := range 3 {
			writer, _ := s.open(nil)
			fill(t, writer, 4, "node-1")
			f.await(t, 4*(round+1))
			s.Stop()
			s.start()
		}
		writer, _ := s.open(nil)
		fill(t, writer, 4, "node-1")
		msgs := f.await(t, 16)
		inOrder(t, msgs, 1)
		if len(msgs) != 16 {
			t.Errorf("%d messages, want 16", len(msgs))
		}
		d := cordon("node-2", "a")
		d.Target = "node-9"
		mustAppend(t, writer, d, events.Head{})
		idle.await(t, 1)
		_, _ = f.stop(), idle.stop()
	})
}

// A reader that never was subscribed says so, and whoever called it decides.
func TestFollowThatCannotBegin(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		s.Stop()
		err := log.Follow(t.Context(), 1, nil, func(events.Message) error { return nil })
		if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "follow the log from 1") {
			t.Errorf("got %v", err)
		}
	})
}

// The end of its context reaches a reader whose server is gone.
func TestFollowEndsWhileTheServerIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		fill(t, log, 1, "node-1")
		f := follow(t.Context(), log, 1)
		f.await(t, 1)
		s.Stop()
		<-time.After(time.Minute) // virtual: it is deep in its retries
		begin := time.Now()
		if err := f.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// The same over a socket and in real time: a new server process on the same address.
func TestFollowOverASocketOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	srv, err := embedded.Start(embedded.Options{StoreDir: dir, MaxStore: 1 << 30, Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	at := srv.ClientURL()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := transport.Connect(transport.ConnectOptions{Servers: at, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := events.NewSubjects("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.Bootstrap(t.Context(), js, subjects, transport.BootstrapOptions{}); err != nil {
		t.Fatal(err)
	}
	log, err := events.Open(t.Context(), js, subjects, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f := follow(t.Context(), log, 1)
	defer func() { _ = f.stop() }()
	fill(t, log, 3, "node-1")
	f.await(t, 3)
	srv.Shutdown()
	srv, err = embedded.Start(embedded.Options{StoreDir: dir, MaxStore: 1 << 30, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	mustAppend(t, log, cordon("node-2", "a"), events.Head{})
	inOrder(t, f.await(t, 4), 1)
}
