//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

// An append with everything that makes it safe (expected sequence, stream, revision, hash of the predecessor, derived id), beside
// publishing as many bytes to a stream of the same kind.
func BenchmarkAppend(b *testing.B) { measured(b, appends(b, b.N)) }

func appends(tb testing.TB, n int) (r report) {
	s := newServer(tb)
	log := s.openLog(s.nc)
	if _, err := s.js.CreateStream(tb.Context(), jetstream.StreamConfig{Name: "PLAIN", Subjects: []string{"plain.*"}}); err != nil {
		tb.Fatal(err)
	}
	var body []byte
	agg := events.Node("node-1")
	var head events.Head
	one := func(i int) (append, publish time.Duration) {
		labels := map[string]string{"zone": "a", "role": "compute", "count": fmt.Sprint(i)}
		start := now()
		e, err := log.Append(tb.Context(), events.Draft{Aggregate: agg, Node: "node-1", Actor: "cli:ana", Cause: fmt.Sprint("cmd:", i),
			Data: &events.NodeLabelsUpdated{Node: "node-1", Before: labels, After: labels}}, head)
		if err != nil {
			tb.Fatal(err)
		}
		append = now().Sub(start)
		head = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
		if body == nil {
			raw, err := s.js.Stream(tb.Context(), s.subjects.EventsStream())
			if err != nil {
				tb.Fatal(err)
			}
			m, err := raw.GetMsg(tb.Context(), e.Seq)
			if err != nil {
				tb.Fatal(err)
			}
			body = bytes.Clone(m.Data)
		}
		start = now()
		if _, err := s.js.Publish(tb.Context(), "plain.x", body); err != nil {
			tb.Fatal(err)
		}
		return append, now().Sub(start)
	}
	for i := range 100 {
		one(i)
	}
	var appended, published []time.Duration
	for i := range n {
		a, p := one(100 + i)
		appended, published = append(appended, a), append(published, p)
	}
	r.quantiles("append", appended)
	r.quantiles("publish", published)
	r.ratio("append", appended, published)
	return r
}
