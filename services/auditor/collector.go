package auditor

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The promised metrics.
var (
	migrations = desc("gc_migration_total", "Ended migrations.", "app", "reason", "status")
	durations  = desc("gc_migration_duration_seconds", "Completed migrations, from their start to their end by stored time.", "app")
	inProgress = desc("gc_migration_in_progress", "Migrations that have started and not ended.", "app")
	pending    = desc("gc_placement_pending", "1 while the app has an instance that has nowhere to go.", "app")
	violations = desc("gc_placement_constraint_violations", "Preferences that the app's instances do not meet.", "app")
	rebalances = desc("gc_rebalance_total", "Rebalances.", "reason")
	nodeApps   = desc("gc_node_app_count", "Apps that have an instance on the node; a standby is none.", "node")
	imbalance  = desc("gc_node_imbalance_ratio", "How far the node that is furthest from the evenest reachable assignment is from it, relative to the mean; 0: no legal move helps.")

	imbalanceRaw        = desc("gc_node_imbalance_raw_ratio", "How far the fullest node is above the mean, relative to it.")
	imbalanceStructural = desc("gc_node_imbalance_structural_ratio", "The part of the raw imbalance that no legal move mends.")

	typeTotal   = desc("gc_events_total", "Events in the log.", "type")
	refusals    = desc("gc_requests_refused_total", "Well-formed requests that were refused.", "code")
	quarantined = desc("gc_aggregates_quarantined", "Aggregates that nothing is appended to, because what is stored of them is malformed.")
)

// Collector is the log as metrics: counters that a replay of the log gives again, and gauges of its present state. Of all processes
// of a cluster only the auditor exports it. It is safe for concurrent use.
type Collector struct{ b *services.Base }

// NewCollector returns the metrics of a Base's fold.
func NewCollector(b *services.Base) *Collector { return &Collector{b} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{migrations, durations, inProgress, pending, violations, rebalances, nodeApps, imbalance, imbalanceRaw, imbalanceStructural, typeTotal, refusals, quarantined} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	var ms []prometheus.Metric
	c.b.Replica.View(func(v *projections.Cluster) { ms = measure(v) })
	for _, m := range ms {
		ch <- m
	}
}

// measure takes every series off a fold. Each app, node and reason that there is has its series, so that a first increase is seen
// as one; the counters of an app outlive it.
func measure(v *projections.Cluster) []prometheus.Metric {
	var out []prometheus.Metric
	emit := func(d *prometheus.Desc, t prometheus.ValueType, value float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, t, value, labels...))
	}
	ended := map[projections.MigrationKey]int{}
	reasons := map[string]int{}
	histograms := map[string]*projections.DurationBuckets{}
	for _, a := range v.SortedApps() {
		for _, reason := range events.Reasons() {
			for _, status := range []string{projections.MigrationCompleted, projections.MigrationFailed, projections.MigrationCancelled} {
				ended[projections.MigrationKey{App: a.Name, Reason: reason, Status: status}] = 0
			}
		}
		histograms[a.Name] = nil
		running, isPending := 0, 0.0
		for _, m := range a.Open {
			if m.Status == projections.MigrationRunning {
				running++
			}
		}
		if a.Pending != nil {
			isPending = 1
		}
		emit(inProgress, prometheus.GaugeValue, float64(running), a.Name)
		emit(pending, prometheus.GaugeValue, isPending, a.Name)
		emit(violations, prometheus.GaugeValue, float64(placement.SoftViolations(v, a)), a.Name)
	}
	maps.Copy(ended, v.Metrics.Migrations)
	for k, n := range ended {
		emit(migrations, prometheus.CounterValue, float64(n), k.App, k.Reason, k.Status)
	}
	maps.Copy(histograms, v.Metrics.Durations)
	for app, h := range histograms {
		out = append(out, histogram(app, h))
	}
	for _, reason := range events.RebalanceReasons() {
		reasons[reason] = 0
	}
	maps.Copy(reasons, v.Metrics.Rebalances)
	for reason, n := range reasons {
		emit(rebalances, prometheus.CounterValue, float64(n), reason)
	}
	there := v.ByNode()
	for _, n := range v.SortedNodes() {
		if n.Known() && n.Status != projections.StatusLeft {
			emit(nodeApps, prometheus.GaugeValue, float64(len(there[n.ID].Instances)), n.ID) // an app has at most one instance on a node
		}
	}
	even := placement.Imbalance(v)
	emit(imbalance, prometheus.GaugeValue, even.Imbalance)
	emit(imbalanceRaw, prometheus.GaugeValue, even.Raw)
	emit(imbalanceStructural, prometheus.GaugeValue, even.Structural)
	for _, r := range events.Registry() {
		emit(typeTotal, prometheus.CounterValue, float64(v.Metrics.Events[r.Type]), string(r.Type))
	}
	for _, t := range slices.Sorted(maps.Keys(v.Metrics.Events)) {
		if !registered[t] { // of a newer version
			emit(typeTotal, prometheus.CounterValue, float64(v.Metrics.Events[t]), string(t))
		}
	}
	for code, n := range v.Metrics.Refused {
		emit(refusals, prometheus.CounterValue, float64(n), code)
	}
	emit(quarantined, prometheus.GaugeValue, float64(len(v.Quarantined)))
	return out
}

var registered = func() map[events.Type]bool {
	m := map[events.Type]bool{}
	for _, r := range events.Registry() {
		m[r.Type] = true
	}
	return m
}()

func histogram(app string, h *projections.DurationBuckets) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(projections.DurationBounds))
	var count, total uint64
	var sum float64
	for i, bound := range projections.DurationBounds {
		if h != nil {
			count += h.Counts[i]
		}
		cumulative[bound] = count
	}
	if h != nil {
		total, sum = h.Total, h.Sum
	}
	return prometheus.MustNewConstHistogram(durations, total, sum, cumulative, app)
}

// The metrics of one process.
var (
	lag       = desc("gc_projection_lag_events", "Events in the log that this process has not folded yet.")
	lastSeq   = desc("gc_stream_last_sequence", "Sequence of the newest event in the log.")
	buildInfo = desc("gc_build_info", "Always 1; the labels say what runs.", "version", "cluster", "replica")
)

const scrapeMax = time.Second // for the question to the log's leader

// ProcessCollector is what each process that runs services says of itself. It is safe for concurrent use.
type ProcessCollector struct{ b *services.Base }

// NewProcessCollector returns the metrics of the process that a Base is of.
func NewProcessCollector(b *services.Base) *ProcessCollector { return &ProcessCollector{b} }

// Describe implements prometheus.Collector.
func (c *ProcessCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lag, lastSeq, buildInfo} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. While the log cannot be asked its series are missing, which is the truth.
func (c *ProcessCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, c.b.Version, c.b.Subjects.Cluster(), c.b.Config.Replica)
	ctx, cancel := context.WithTimeout(context.Background(), scrapeMax)
	defer cancel()
	at := c.b.Replica.Seq() // before: a lag may be shown too large, never too small
	last, err := c.b.Events.LastSeq(ctx)
	if err != nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(lastSeq, prometheus.GaugeValue, float64(last))
	ch <- prometheus.MustNewConstMetric(lag, prometheus.GaugeValue, float64(last-min(at, last)))
}
