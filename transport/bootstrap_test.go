package transport

import (
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

func TestBootstrapTwiceChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		before := incarnation(s)
		if err := Bootstrap(t.Context(), s.js, s.Subjects, BootstrapOptions{Replicas: 1}); err != nil {
			t.Fatal(err)
		}
		if before == "" || incarnation(s) != before {
			t.Errorf("incarnation was %q, is %q", before, incarnation(s))
		}
	})
}

func incarnation(s *site) string {
	stream, err := s.js.Stream(s.t.Context(), s.EventsStream())
	if err != nil {
		s.t.Fatal(err)
	}
	return stream.CachedInfo().Config.Metadata[events.MetaIncarnation]
}

func TestBootstrapRace(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		other, err := events.NewSubjects("raced")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := Bootstrap(t.Context(), s.js, other, BootstrapOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestBootstrapNamesWhatDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		stream func(s events.Subjects) string
		change func(c *jetstream.StreamConfig)
		want   string
	}{
		"retention": {events.Subjects.EventsStream, func(c *jetstream.StreamConfig) { c.MaxMsgs = 7 }, "stream GC_test_EVENTS: MaxMsgs is 7, want -1"},
		"direct":    {events.Subjects.LeasesStream, func(c *jetstream.StreamConfig) { c.AllowDirect = true }, "stream GC_test_LEASES: AllowDirect is true, want false"},
		"rollup":    {events.Subjects.LeasesStream, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }, "stream GC_test_LEASES: AllowMsgTTL is true, want false"},
		"size":      {events.Subjects.ReportsStream, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1 }, "stream GC_test_REPORTS: MaxMsgSize is 1, want"},
		"marked": {events.Subjects.ReportsStream, func(c *jetstream.StreamConfig) { c.Metadata[events.MetaConfigHash] = "x" },
			`stream GC_test_REPORTS: metadata go-cluster.io/config is "x", want`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *site) {
				stream, err := s.js.Stream(t.Context(), c.stream(s.Subjects))
				if err != nil {
					t.Fatal(err)
				}
				cfg := stream.CachedInfo().Config
				c.change(&cfg)
				if _, err := s.js.UpdateStream(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
				err = Bootstrap(t.Context(), s.js, s.Subjects, BootstrapOptions{})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want it to say %q", err, c.want)
				}
			})
		})
	}
}

func TestBootstrapNamesADurableThatDiffers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		cfg := migratorDurable(s.Subjects)
		cfg.MaxDeliver = 3 // a report would vanish after the third failure
		if _, err := s.js.UpdateConsumer(t.Context(), s.ReportsStream(), cfg); err != nil {
			t.Fatal(err)
		}
		want := "consumer migrator of stream GC_test_REPORTS: MaxDeliver is 3, want -1"
		if err := Bootstrap(t.Context(), s.js, s.Subjects, BootstrapOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	})
}

// The settings are promises: nothing in the log can be taken back.
func TestLogCannotBeEdited(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		for _, name := range []string{s.EventsStream(), s.LeasesStream()} {
			stream, err := s.js.Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			subject := s.Event(events.App("a"), "app.spec.applied", "")
			if name == s.LeasesStream() {
				subject = s.Lease("n1")
			}
			s.publish(subject, "x", nil)
			if stream.Purge(t.Context()) == nil {
				t.Errorf("%s could be purged", name)
			}
			if stream.DeleteMsg(t.Context(), 1) == nil {
				t.Errorf("a message of %s could be deleted", name)
			}
			roll := &nats.Msg{Subject: subject, Header: nats.Header{"Nats-Rollup": {"all"}}}
			if _, err := s.js.PublishMsg(t.Context(), roll); err == nil {
				t.Errorf("%s could be rolled up", name)
			}
		}
	})
}
