package migrator

import (
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
)

// Decide returns what a migrator would store for an app, nil for nothing yet: the service without its loop. wake is when time alone
// changes the answer.
func Decide(v *projections.Cluster, a *projections.App, leases map[string]services.SeenLease, now time.Time, sure bool) (d *events.Draft, wake time.Time) {
	if d, wake = nextOf(v, a, now, sure, placement.Judges(v)); d == nil {
		d = observe(v, a, leases, now, sure)
	}
	return d, wake
}

// Answer returns what a migrator would store for a node's report; done says that the report need not come again.
func Answer(v *projections.Cluster, r api.StepReport, node string, now time.Time, sure bool) (d *events.Draft, done bool) {
	m, is, _ := judgeReport(v, &r, node)
	if is != answers {
		return nil, true
	}
	d, _ = Next(v, m, Input{Report: &r}, now, sure)
	return d, d != nil
}
