package transport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

const reportNoun, reportDone, reportFailed = "step", "completed", "failed"

func reportVerb(r api.StepReport) string {
	if r.Failed {
		return reportFailed
	}
	return reportDone
}

// PublishReport stores a report and returns once that is acknowledged. While the outcome is unknown it tries again until ctx ends;
// a repetition within the stream's duplicate window is stored once, and a later one is for its reader to recognise. After an error
// the report may have been stored all the same.
func PublishReport(ctx context.Context, js jetstream.JetStream, s events.Subjects, r api.StepReport) error {
	fail := func(err error) error {
		return fmt.Errorf("report of order %d by %s: %w", r.OrderSeq, r.Node, err)
	}
	subject := s.Report(r.Node, reportNoun, reportVerb(r))
	if _, _, _, err := events.ParseReportSubject(subject); err != nil {
		return fail(err)
	}
	data, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return fail(err)
	}
	if len(data) > api.ReportMax {
		return fail(fmt.Errorf("%d bytes, at most %d allowed", len(data), api.ReportMax))
	}
	// The node is in the id: ids of one stream share one space, and nobody's report may hide another's.
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s\x00%t\x00%s", r.OrderSeq, r.Node, r.Inc, r.Failed, r.Code))
	id := hex.EncodeToString(sum[:16])
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		msg := nats.NewMsg(subject)
		msg.Data = data
		if r.Migration != "" {
			msg.Header.Set(correlationHeader, r.Migration)
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := js.PublishMsg(try, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(s.ReportsStream()), jetstream.WithRetryAttempts(0))
		cancel()
		if err == nil {
			return nil
		}
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.Code != 503 {
			return fail(err)
		}
		if errors.Is(err, nats.ErrConnectionClosed) {
			return fail(err)
		}
		select {
		case <-ctx.Done():
			return fail(fmt.Errorf("%w (last answer: %w)", ctx.Err(), err))
		case <-time.After(wait):
		}
	}
}

// ConsumeReports hands each report to handle, one at a time in this process; replicas share the work. subjectNode is the node whose
// subject it came on, which is what NATS vouches for; the report's own word may differ. A report may come more than once, late,
// and in any order. An error of handle has it delivered again after 0.1 s to 10 s; Drop ends its deliveries; a panic counts as an
// error. A handling has 20 s; one that ignores the end of its context holds up those behind it.
//
// Malformed reports are dropped, logged and counted, and never reach handle. connect makes the connection that is used, and
// closed at the end. It returns nil when ctx ends, and an error when the durable does not exist or the connection is closed.
// reg may be nil.
func ConsumeReports(ctx context.Context, connect func() (*nats.Conn, error), s events.Subjects, log *zap.Logger,
	handle func(ctx context.Context, r api.StepReport, subjectNode string) error, reg prometheus.Registerer) error {
	counter, err := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "go_cluster_reports_total", Help: "Deliveries of node reports, by outcome; dropped ones were malformed.",
	}, []string{"outcome"}))
	if err != nil {
		return fmt.Errorf("consume reports: %w", err)
	}
	for _, o := range []string{outcomeDone, outcomeRetried, outcomeDropped, outcomePanicked} {
		counter.WithLabelValues(o) // a rate over a series that does not exist yet misses the first drop
	}
	return work{
		name: "reports", stream: s.ReportsStream(), durable: MigratorDurable, connect: connect, log: log, ahead: 1,
		count: func(outcome string) { counter.WithLabelValues(outcome).Inc() },
		handle: func(ctx context.Context, d *delivery) error {
			r, node, err := decodeReport(s, d.Subject(), d.Data())
			if err != nil {
				return Drop(err)
			}
			return handle(ctx, r, node)
		},
	}.run(ctx)
}

func decodeReport(s events.Subjects, subject string, b []byte) (api.StepReport, string, error) {
	var r api.StepReport
	node, noun, verb, err := events.ParseReportSubject(subject)
	if err != nil {
		return r, "", err
	}
	if err := events.CheckJSON(b, api.ReportMax, api.MaxDepth); err != nil {
		return r, "", err
	}
	if err := json.Unmarshal(b, &r); err != nil { // fields of a newer agent are none of our business
		return r, "", err
	}
	switch {
	case subject != s.Report(node, noun, verb):
		return r, "", fmt.Errorf("it is of another cluster than %s", s.Cluster())
	case noun != reportNoun || verb != reportVerb(r):
		return r, "", fmt.Errorf("subject says %s.%s, content %s.%s", noun, verb, reportNoun, reportVerb(r))
	case r.OrderSeq == 0:
		return r, "", errors.New("order_seq is missing: it answers no order")
	}
	return r, node, nil
}

// register registers a collector, or returns the one that was registered before under its name. reg may be nil.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	if reg == nil {
		return c, nil
	}
	err := reg.Register(c)
	var before prometheus.AlreadyRegisteredError
	if errors.As(err, &before) {
		if old, ok := before.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	return c, err
}
