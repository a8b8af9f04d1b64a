package transport

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

func report(order uint64) api.StepReport {
	return api.StepReport{OrderSeq: order, Migration: "m-1", App: "web", Instance: "web-0", Step: "start", Node: "n1", Inc: "i1"}
}

type handled struct {
	api.StepReport
	node string
	at   time.Time
}

// consumeReports consumes in the background and sends what was handled; fail decides each handling's outcome.
func consumeReports(s *site, reg prometheus.Registerer, fail func(ctx context.Context, r api.StepReport) error) (got chan handled, stop func() error) {
	got = make(chan handled, 100)
	return got, background(s.t.Context(), func(ctx context.Context) error {
		return ConsumeReports(ctx, s.connect, s.Subjects, zap.NewNop(), func(ctx context.Context, r api.StepReport, node string) error {
			got <- handled{r, node, time.Now()}
			return fail(ctx, r)
		}, reg)
	})
}

func fine(context.Context, api.StepReport) error { return nil }

func (s *site) put(r api.StepReport) {
	s.t.Helper()
	if err := PublishReport(s.t.Context(), s.js, s.Subjects, r); err != nil {
		s.t.Fatal(err)
	}
}

// pending returns how many reports are not acknowledged or not delivered yet.
func (s *site) pending() int {
	s.t.Helper()
	synctest.Wait() // the server counts on goroutines of its own
	c, err := s.js.Consumer(s.t.Context(), s.ReportsStream(), MigratorDurable)
	if err != nil {
		s.t.Fatal(err)
	}
	return c.CachedInfo().NumAckPending + int(c.CachedInfo().NumPending)
}

func TestReportIsStoredOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		s.put(report(1))
		s.put(report(1))
		failed := report(1)
		failed.Failed, failed.Code = true, "hook_failed"
		s.put(failed)
		same(t, "stored", s.pending(), 2)
		bad := report(1)
		bad.Node = "n*"
		if err := PublishReport(t.Context(), s.js, s.Subjects, bad); err == nil {
			t.Error("published for node n*")
		}
		big := report(2)
		big.Detail = strings.Repeat("x", api.ReportMax)
		if err := PublishReport(t.Context(), s.js, s.Subjects, big); err == nil {
			t.Error("published a report that is too big")
		}
	})
}

func TestPublishReportWaitsForTheServers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		if err := s.js.DeleteStream(t.Context(), s.ReportsStream()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := PublishReport(ctx, s.js, s.Subjects, report(1)); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("got %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- PublishReport(t.Context(), s.js, s.Subjects, report(1)) }()
		synctest.Wait()
		if err := Bootstrap(t.Context(), s.js, s.Subjects, BootstrapOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := within(t, done, "the report"); err != nil {
			t.Error(err)
		}
	})
}

func TestReportsReachTheirHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		got, stop := consumeReports(s, nil, fine)
		for order := range uint64(20) {
			s.put(report(order + 1))
		}
		for order := range uint64(20) {
			h := within(t, got, "a report")
			same(t, "order", h.OrderSeq, order+1)
			same(t, "node", h.node, "n1")
		}
		same(t, "pending", s.pending(), 0)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestMalformedReportsStopNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		reg := prometheus.NewRegistry()
		subject := s.Report("n1", "step", "completed")
		bad := map[string]string{
			"empty": "", "not JSON": "{", "null order": `{"order_seq":0}`, "twice": `{"order_seq":1,"order_seq":2}`, "array": "[]",
			"deep": strings.Repeat("[", 100), "not UTF-8": "{\"order_seq\":1,\"detail\":\"\xff\"}", "failed on completed": `{"order_seq":1,"failed":true}`,
		}
		for _, data := range bad {
			s.publish(subject, data, nil)
		}
		s.publish(s.Report("n*1", "step", "completed"), `{"order_seq":1}`, nil)
		s.publish(s.Report("n1", "x", "y"), `{"order_seq":1}`, nil)
		s.publish(subject, "", nats.Header{"Odd": {"1", "2"}, "_watermill_message_uuid": {"a", "b"}})
		n := float64(len(bad) + 3)
		// Header values are not ours to judge: a sound report is handled whatever travels with it.
		s.publish(subject, `{"order_seq":5,"node":"n2","newer":1}`, nats.Header{"Odd": {"1", "2"}, correlationHeader: {"x", "y"}})
		got, stop := consumeReports(s, reg, fine)
		h := within(t, got, "the sound one")
		same(t, "order", h.OrderSeq, 5)
		same(t, "node of the subject", h.node, "n1")
		same(t, "node of the report", h.Node, "n2")
		same(t, "pending", s.pending(), 0)
		if err := stop(); err != nil {
			t.Error(err)
		}
		counter, err := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "go_cluster_reports_total",
			Help: "Deliveries of node reports, by outcome; dropped ones were malformed."}, []string{"outcome"}))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "dropped", testutil.ToFloat64(counter.WithLabelValues(outcomeDropped)), n)
		same(t, "done", testutil.ToFloat64(counter.WithLabelValues(outcomeDone)), 1)
	})
}

func TestReportComesAgainLater(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		tries := 0
		got, stop := consumeReports(s, nil, func(context.Context, api.StepReport) error {
			if tries++; tries == 3 {
				panic("third time")
			}
			if tries < 12 {
				return errors.New("not yet")
			}
			return nil
		})
		s.put(report(1))
		last := within(t, got, "the first delivery").at
		for i := range 11 {
			at := within(t, got, "a redelivery").at
			if want := (delay{}).WaitTime(uint64(i + 1)); at.Sub(last) < want || at.Sub(last) > want+time.Second {
				t.Errorf("redelivery %d came after %s, want %s", i+1, at.Sub(last), want)
			}
			last = at
		}
		same(t, "pending", s.pending(), 0)
		same(t, "longest delay", delay{}.WaitTime(1_000_000), lastDelay)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestDroppedReportComesNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		got, stop := consumeReports(s, nil, func(context.Context, api.StepReport) error { return Drop(errors.New("never")) })
		s.put(report(1))
		within(t, got, "the report")
		same(t, "pending", s.pending(), 0)
		if err := stop(); err != nil {
			t.Error(err)
		}
		same(t, "deliveries", len(got), 0)
	})
}

// A handler that outlives every timeout holds up the next report and never runs beside it.
func TestReportsAreHandledOneAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var running atomic.Int32
		got, stop := consumeReports(s, nil, func(ctx context.Context, _ api.StepReport) error {
			if running.Add(1) != 1 {
				t.Error("two at once")
			}
			defer running.Add(-1)
			<-ctx.Done()
			<-time.After(3 * ackWait) // it does not listen
			return nil
		})
		s.put(report(1))
		s.put(report(2))
		within(t, got, "the first")
		<-time.After(6 * ackWait)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopGivesWorkToOthersAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		entered := make(chan struct{}, 1)
		_, stop := consumeReports(s, nil, func(ctx context.Context, _ api.StepReport) error {
			entered <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})
		for order := range uint64(5) {
			s.put(report(order + 1))
		}
		within(t, entered, "the first report")
		if err := stop(); err != nil {
			t.Error(err)
		}
		stopped := time.Now()
		got, stop := consumeReports(s, nil, fine)
		for range 5 {
			if h := within(t, got, "a report"); h.at.Sub(stopped) > time.Second {
				t.Errorf("order %d waited %s", h.OrderSeq, h.at.Sub(stopped))
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A replica that is killed gives nothing back. What it was handed goes to another within seconds, and what takes long stays with
// the one that is at it.
func TestKilledReplicaHoldsNothingForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		var dying *nats.Conn
		entered := make(chan struct{}, 1)
		killed := background(t.Context(), func(ctx context.Context) error {
			return ConsumeReports(ctx, func() (nc *nats.Conn, err error) { dying, err = s.connect(); return dying, err }, s.Subjects, zap.NewNop(),
				func(context.Context, api.StepReport, string) error {
					entered <- struct{}{}
					dying.Close() // the report has been delivered, and neither acknowledged nor refused
					return errors.New("killed")
				}, nil)
		})
		s.put(report(1))
		within(t, entered, "the first delivery")
		died := time.Now()
		got, stop := consumeReports(s, nil, func(context.Context, api.StepReport) error {
			<-time.After(15 * time.Second) // long, and well
			return nil
		})
		if h := within(t, got, "the report"); h.at.Sub(died) > 6*time.Second {
			t.Errorf("it waited %s", h.at.Sub(died))
		}
		idle, stopIdle := consumeReports(s, nil, fine)
		<-time.After(20 * time.Second)
		for _, stop := range []func() error{stop, stopIdle} {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		same(t, "taken from the one at it", len(idle), 0)
		same(t, "pending", s.pending(), 0)
		_ = killed()
	})
}

func TestConsumerThatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		ended := make(chan error, 1)
		go func() {
			ended <- ConsumeReports(t.Context(), s.connect, s.Subjects, zap.NewNop(), nil, nil)
		}()
		synctest.Wait()
		if err := s.js.DeleteConsumer(t.Context(), s.ReportsStream(), MigratorDurable); err != nil {
			t.Fatal(err)
		}
		err := within(t, ended, "the end")
		if err == nil || !strings.Contains(err.Error(), "consumer migrator of stream GC_test_REPORTS: ") {
			t.Errorf("got %v", err)
		}
		if err := ConsumeReports(t.Context(), s.connect, s.Subjects, zap.NewNop(), nil, nil); !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Errorf("got %v, want ErrConsumerNotFound", err)
		}
	})
}

// The server goes away and comes back, with its store, on its port: work goes on by itself.
func TestReportsAfterARestartOfTheServer(t *testing.T) {
	dir := t.TempDir()
	srv, err := embedded.Start(embedded.Options{StoreDir: dir, MaxStore: 1 << 30, Port: -1})
	if err != nil {
		t.Fatal(err)
	}
	url := srv.ClientURL()
	s := open1(t, srv)
	s.nc.Close()
	overTCP := func() (*nats.Conn, error) { return Connect(ConnectOptions{Name: "work", Servers: url}) }
	if s.nc, err = overTCP(); err != nil {
		t.Fatal(err)
	}
	defer s.nc.Close()
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatal(err)
	}
	orders := make(chan uint64, 10)
	stop := background(t.Context(), func(ctx context.Context) error {
		return ConsumeReports(ctx, overTCP, s.Subjects, zap.NewNop(), func(_ context.Context, r api.StepReport, _ string) error {
			orders <- r.OrderSeq
			return nil
		}, nil)
	})
	s.put(report(1))
	same(t, "before", within(t, orders, "a report"), 1)
	port := portOf(t, url)
	srv.Shutdown()
	if srv, err = embedded.Start(embedded.Options{StoreDir: dir, MaxStore: 1 << 30, Port: port}); err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	s.put(report(2))
	for order := within(t, orders, "a report after the restart"); order != 2; {
		order = within(t, orders, "a report after the restart") // the first may come again
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
