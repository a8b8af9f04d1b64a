package invariants

import (
	"fmt"
	"strings"

	"github.com/go-cluster/go-cluster/events"
)

// counters are the promised metrics as a reader of the log counts them, by the name of the series: see Series.
type counters map[string]float64

// Series names one series of a metric, as Prometheus writes it: gc_migration_total{app="db",reason="drain",status="completed"}.
// Labels are name and value in turn, ordered by name.
func Series(metric string, labels ...string) string {
	var s strings.Builder
	for i := 0; i+1 < len(labels); i += 2 {
		if i > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, "%s=%q", labels[i], labels[i+1])
	}
	return metric + "{" + s.String() + "}"
}

// count follows the counters.
func (c *Checker) count(e *events.Event) {
	c.counted[Series("gc_events_total", "type", string(e.Type))]++
	ended := func(r events.Ref, status string) {
		c.counted[Series("gc_migration_total", "app", e.Aggregate.ID, "reason", r.Reason, "status", status)]++
	}
	switch d := e.Data.(type) {
	case *events.MigrationCompleted:
		ended(d.Ref, "completed")
	case *events.MigrationFailed:
		if d.Code == "cancelled" {
			ended(d.Ref, "cancelled")
		} else {
			ended(d.Ref, "failed")
		}
	case *events.RebalanceTriggered:
		c.counted[Series("gc_rebalance_total", "reason", d.Reason)]++
	case *events.RequestRefused:
		c.counted[Series("gc_requests_refused_total", "code", d.Code)]++
	}
}

// gauges are read off the present state.
func (c *Checker) gauges() counters {
	out := counters{}
	for name, a := range c.now.apps {
		open := c.now.open(name)
		if a.rev == 0 || a.removed && len(a.instances) == 0 && len(open) == 0 {
			continue // it is no app any more
		}
		running := 0
		for _, m := range open {
			if m.started {
				running++
			}
		}
		out[Series("gc_migration_in_progress", "app", name)] = float64(running)
		pending := 0.0
		if a.pending {
			pending = 1
		}
		out[Series("gc_placement_pending", "app", name)] = pending
	}
	for id, n := range c.now.nodes {
		if n.status != "" && n.status != "left" {
			out[Series("gc_node_app_count", "node", id)] = float64(c.now.instancesOn(id))
		}
	}
	return out
}

// Metered holds the series that were exported against the log read so far: call it only when whoever exports them has read the log
// to the same event. Series of other metrics are passed over, and one that was not counted is 0.
func (c *Checker) Metered(exported map[string]float64) []Violation {
	c.found, c.seq = nil, 0
	gauges := c.gauges()
	mine := func(name string) (float64, bool) {
		if v, is := gauges[name]; is {
			return v, true
		}
		metric, _, _ := strings.Cut(name, "{")
		switch metric {
		case "gc_events_total", "gc_migration_total", "gc_rebalance_total", "gc_requests_refused_total":
			return c.counted[name], true
		}
		return 0, false
	}
	for _, name := range sorted(exported) {
		if want, known := mine(name); known && want != exported[name] {
			c.broke(Metrics, "%s is %g, and the log has %g", name, exported[name], want)
		}
	}
	for _, all := range []counters{gauges, c.counted} {
		for _, name := range sorted(all) {
			if _, is := exported[name]; !is && all[name] != 0 {
				c.broke(Metrics, "%s is not exported, and the log has %g", name, all[name])
			}
		}
	}
	return c.found
}
