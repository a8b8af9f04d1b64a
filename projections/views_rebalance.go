package projections

import (
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// State is the rebalance's state as an order.
func (r *Rebalance) State() string {
	switch {
	case r.Stopped:
		return stateCancelled
	case r.Completed:
		return stateCompleted
	}
	return stateOpen
}

// RebalanceView is a rebalance and how far it is.
func RebalanceView(r *Rebalance) api.RebalanceView {
	v := api.RebalanceView{Order: r.Order, State: r.State(), Reason: r.Reason, Trigger: r.Trigger, By: r.Started.Actor, At: r.Started.At, Why: r.Why,
		Before: r.Before, After: r.After, Proposed: len(r.Moves), Waiting: []events.Proposal{}}
	for _, mv := range r.Moves {
		switch status := r.Outcomes[mv.Instance]; {
		case r.Admitted[mv.Instance] == "" && !r.Completed:
			v.Waiting = append(v.Waiting, mv)
		case status == "":
		case status == MigrationCompleted:
			v.Moved++
		default:
			v.Failed++
		}
	}
	return v
}
