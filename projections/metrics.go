package projections

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// Metrics are the counters of the log: replaying it gives the same numbers. Gauges are read off the Cluster itself.
type Metrics struct {
	Migrations map[MigrationKey]int        // ended migrations
	Durations  map[string]*DurationBuckets // by app: completed migrations, from start to end by stored time
	Rebalances map[string]int              // by reason
	Refused    map[string]int              // refused requests by code
	Events     map[events.Type]int
}

// MigrationKey labels gc_migration_total.
type MigrationKey struct{ App, Reason, Status string }

// DurationBounds are the upper bounds of the duration histogram, in seconds.
var DurationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// DurationBuckets is a histogram: Counts[i] is how many were at most DurationBounds[i], not cumulative; the last has the rest.
type DurationBuckets struct {
	Counts []uint64
	Sum    float64
	Total  uint64
}

// NewMetrics returns empty counters.
func NewMetrics() *Metrics {
	return &Metrics{Migrations: map[MigrationKey]int{}, Durations: map[string]*DurationBuckets{}, Rebalances: map[string]int{},
		Refused: map[string]int{}, Events: map[events.Type]int{}}
}

func (m *Metrics) apply(c *Cluster, e *events.Event) {
	m.Events[e.Type]++
	switch d := e.Data.(type) {
	case *events.MigrationCompleted:
		m.ended(e.Aggregate.ID, d.Ref, MigrationCompleted)
		took := time.Duration(d.DurationMS) * time.Millisecond
		if mig := c.Migrations[d.Migration]; mig != nil {
			took = mig.Took // the same by stored time, and finer
		}
		m.took(e.Aggregate.ID, took)
	case *events.MigrationFailed:
		status := MigrationFailed
		if d.Code == "cancelled" {
			status = MigrationCancelled
		}
		if m.ended(e.Aggregate.ID, d.Ref, status); planted.MetricTwice {
			m.ended(e.Aggregate.ID, d.Ref, MigrationCompleted)
		}
	case *events.RebalanceTriggered:
		m.Rebalances[d.Reason]++
	case *events.RequestRefused:
		m.Refused[d.Code]++
	}
}

func (m *Metrics) ended(app string, r events.Ref, status string) {
	m.Migrations[MigrationKey{App: app, Reason: r.Reason, Status: status}]++
}

func (m *Metrics) took(app string, d time.Duration) {
	h := m.Durations[app]
	if h == nil {
		h = &DurationBuckets{Counts: make([]uint64, len(DurationBounds)+1)}
		m.Durations[app] = h
	}
	i := 0
	for i < len(DurationBounds) && d.Seconds() > DurationBounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d.Seconds()
	h.Total++
}
