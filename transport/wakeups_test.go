package transport

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
)

func TestWakeups(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		order := s.Event(events.App("web"), "placement.step.requested", "n1")
		s.publish(order, "before the node joined", nil)
		durable, err := EnsureNodeDurable(t.Context(), s.js, s.Subjects, "n1")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := EnsureNodeDurable(t.Context(), s.js, s.Subjects, "n1"); err != nil || again != durable {
			t.Errorf("a second time: got %q, %v, want %q", again, err, durable)
		}
		// The agent is away.
		s.publish(order, "for us", nil)
		s.publish(s.Event(events.App("db"), "placement.step.requested", "n2"), "for another", nil)
		s.publish(s.Event(events.App("web"), "placement.step.requested", ""), "for nobody", nil)
		s.publish(s.Event(events.Node("n1"), "placement.step.requested", "n1"), "not about an app", nil)
		s.publish(s.Event(events.App("w*b"), "placement.step.requested", "n1"), "no such app can be", nil)
		s.publish(s.Event(events.App("db"), "placement.step.requested", "n1"), "for us, too", nil)
		type wake struct {
			app string
			seq uint64
		}
		woken := make(chan wake, 10)
		failures := 2
		stop := background(t.Context(), func(ctx context.Context) error {
			return ConsumeWakeups(ctx, s.connect, s.Subjects, durable, zap.NewNop(), func(app string, seq uint64) error {
				if app == "db" && failures > 0 {
					failures--
					return errors.New("not now")
				}
				woken <- wake{app, seq}
				return nil
			})
		})
		same(t, "first", within(t, woken, "a wake-up"), wake{"web", 2})
		same(t, "second", within(t, woken, "a wake-up"), wake{"db", 7})
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		c, err := s.js.Consumer(t.Context(), s.EventsStream(), durable)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "not acknowledged", c.CachedInfo().NumAckPending, 0)
		same(t, "more wake-ups", len(woken), 0)
	})
}

func TestNodeDurableLifecycle(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		if _, err := EnsureNodeDurable(t.Context(), s.js, s.Subjects, "n.1"); err == nil {
			t.Error("made a durable for node n.1")
		}
		durable, err := EnsureNodeDurable(t.Context(), s.js, s.Subjects, "n1")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			ended <- ConsumeWakeups(t.Context(), s.connect, s.Subjects, durable, zap.NewNop(), func(string, uint64) error { return nil })
		}()
		synctest.Wait()
		for range 2 { // the second finds nothing
			if err := DeleteNodeDurable(t.Context(), s.js, s.Subjects, "n1"); err != nil {
				t.Error(err)
			}
		}
		if err := within(t, ended, "the end"); err == nil || !strings.Contains(err.Error(), durable) {
			t.Errorf("got %v", err)
		}
		other := jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: s.Addressed("n2")}
		if _, err := s.js.CreateConsumer(t.Context(), s.EventsStream(), other); err != nil {
			t.Fatal(err)
		}
		if _, err := EnsureNodeDurable(t.Context(), s.js, s.Subjects, "n1"); err == nil || !strings.Contains(err.Error(), "FilterSubject is") {
			t.Errorf("got %v, want it to name FilterSubject", err)
		}
	})
}

// A durable that disappeared while its reader was not looking: the client library would ask for it for ever.
func TestConsumerThatWentUnseen(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		c := &consumer{stream: s.EventsStream(), durable: "agent-n1", suspect: make(chan struct{}, 1), gone: make(chan error, 1)}
		c.suspect <- struct{}{}
		start := time.Now()
		if err := c.watch(t.Context(), s.nc); !errors.Is(err, jetstream.ErrConsumerNotFound) || time.Since(start) > 5*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
}
