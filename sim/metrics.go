package sim

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
)

// metered holds the metrics that every process with services exports against the log. One that has not read all of it is passed over.
func (c *Cluster) metered(last uint64) (out []invariants.Violation) {
	for _, p := range c.replicas {
		if p.base.Replica.Seq() == last {
			out = append(out, c.watch.checker.Metered(c.exported(p.base))...)
		}
	}
	return out
}

// exported returns the series of a process's metrics by name; histograms are left out.
func (c *Cluster) exported(b *services.Base) map[string]float64 {
	reg := prometheus.NewRegistry()
	if err := reg.Register(auditor.NewCollector(b)); err != nil {
		c.T.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		c.T.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetType() == dto.MetricType_HISTOGRAM {
			continue
		}
		for _, m := range f.Metric {
			labels := []string{}
			for _, l := range m.Label { // ordered by name
				labels = append(labels, l.GetName(), l.GetValue())
			}
			out[invariants.Series(f.GetName(), slices.Clip(labels)...)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}
