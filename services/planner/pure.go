package planner

import (
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement"
	"github.com/go-cluster/go-cluster/projections"
)

// Decide returns what a planner would store on a fold, at most one event on each aggregate: the service without its loop. wake is
// when time alone changes the answer.
func Decide(v *projections.Cluster, now time.Time, sure bool) (out []events.Draft, wake time.Time) {
	all, wake := decide(v, placement.Make(v, nil, now), v.SortedApps(), &declarations{}, now, sure)
	for _, d := range all {
		out = append(out, d.Draft)
	}
	return out, wake
}
