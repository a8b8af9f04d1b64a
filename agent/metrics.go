package agent

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-cluster/go-cluster/api"
)

// replicationMetrics says how far the data are that this node ships or follows, when it is asked. Counters go on over the epochs of an
// app, and begin anew with the agent. It is safe for concurrent use.
type replicationMetrics struct {
	now   func() []replicaState
	flush *prometheus.HistogramVec

	position, epoch, lag, failing, bytes, resyncs *prometheus.Desc

	mu    sync.Mutex
	ended map[replicaKey]Replicated // what ends that were closed have counted
}

// replicaKey is what the series of one end are named by.
type replicaKey struct{ app, role string }

// replicaState is one end that is open, or whose data have ended.
type replicaState struct {
	replicaKey
	Replicated
}

func newReplicationMetrics(now func() []replicaState) *replicationMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("gc_replication_"+name, help, []string{"app", "role"}, nil)
	}
	return &replicationMetrics{
		now: now, ended: map[replicaKey]Replicated{},
		position: desc("position", "Of an active: what is shipped of its epoch. Of a standby: what its copy has."),
		epoch:    desc("epoch", "The epoch that gc_replication_position counts in."),
		lag:      desc("lag_seconds", "Of an active: age of the oldest write that is not shipped. Of a standby: for how long it has known of more."),
		failing:  desc("failing", "1 while it does not go on; app show says why."),
		bytes:    desc("bytes_total", "Of an active: stored. Of a standby: fetched."),
		resyncs:  desc("resyncs_total", "Times that a copy was begun anew since it could not go on."),
		flush: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gc_replication_flush_seconds", Help: "What shipping the rest took after an active had ended.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"app"}),
	}
}

// flushed notes what a last flush took.
func (m *replicationMetrics) flushed(app string, took time.Duration) {
	m.flush.WithLabelValues(app).Observe(took.Seconds())
}

// closed keeps what an end has counted.
func (m *replicationMetrics) closed(k replicaKey, r Replicated) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.ended[k]
	sum.Bytes, sum.Resyncs = sum.Bytes+r.Bytes, sum.Resyncs+r.Resyncs
	m.ended[k] = sum
}

// Describe implements prometheus.Collector.
func (m *replicationMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.position, m.epoch, m.lag, m.failing, m.bytes, m.resyncs} {
		c <- d
	}
	m.flush.Describe(c)
}

// Collect implements prometheus.Collector.
func (m *replicationMetrics) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, k replicaKey) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, k.app, k.role)
	}
	open := m.now()
	m.mu.Lock()
	counted := make(map[replicaKey]Replicated, len(m.ended))
	for k, r := range m.ended {
		counted[k] = r
	}
	m.mu.Unlock()
	seen := map[replicaKey]bool{}
	for _, r := range open {
		sum := counted[r.replicaKey]
		sum.Bytes, sum.Resyncs = sum.Bytes+r.Bytes, sum.Resyncs+r.Resyncs
		counted[r.replicaKey] = sum
		if seen[r.replicaKey] { // a node has one instance of an app
			continue
		}
		seen[r.replicaKey] = true
		gauge(m.position, float64(r.Position.Seq), r.replicaKey)
		gauge(m.epoch, float64(r.Position.Epoch), r.replicaKey)
		gauge(m.lag, r.Lag.Seconds(), r.replicaKey)
		failing := 0.0
		if r.Err != "" {
			failing = 1
		}
		gauge(m.failing, failing, r.replicaKey)
	}
	for k, r := range counted {
		c <- prometheus.MustNewConstMetric(m.bytes, prometheus.CounterValue, float64(r.Bytes), k.app, k.role)
		c <- prometheus.MustNewConstMetric(m.resyncs, prometheus.CounterValue, float64(r.Resyncs), k.app, k.role)
	}
	m.flush.Collect(c)
}

// status is how far one end is, and in which role; ok is false where nothing is open.
func (e replica) status() (s replicaState, ok bool) {
	s.app = e.app
	switch {
	case e.lead != nil:
		s.role, s.Replicated = api.RoleActive, e.lead.Status()
	case e.follow != nil:
		s.role, s.Replicated = api.RoleStandby, e.follow.Status()
	default:
		return s, false
	}
	return s, true
}
