package migrator

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
)

// observe decides what the newest leases say of one app, at most one event: an epoch that its holder has ended by itself, or
// else the health of an instance that no migration is moving. nil says that the log has it all.
func observe(v *projections.Cluster, a *projections.App, leases map[string]services.SeenLease, now time.Time, sure bool) *events.Draft {
	if d := fencedEpoch(v, a, leases, now, sure); d != nil {
		return d
	}
	if d := lostData(a, leases); d != nil {
		return d
	}
	for _, in := range a.SortedInstances() {
		l, ok := leases[in.Node]
		// Before the agent knows of its instance, what it does not say of it means nothing.
		if !ok || l.Lease.State != api.LeaseHeld || l.Lease.Inc != in.Inc || l.Lease.LogSeq < in.Health.Seq || moving(a, in.ID) {
			continue
		}
		if data := health(a, in, l.Lease); data != nil {
			return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Node: in.Node, Cause: leaseCause(l), Data: data}
		}
	}
	return nil
}

// fencedEpoch ends the app's newest epoch when its holder's lease lists it as ended. A migration under way decides what follows.
func fencedEpoch(v *projections.Cluster, a *projections.App, leases map[string]services.SeenLease, now time.Time, sure bool) *events.Draft {
	h := a.Leader
	if h == nil || h.Ended {
		return nil
	}
	l := leases[h.Node]
	i := slices.IndexFunc(l.Lease.Fenced, func(f api.FencedEpoch) bool { return f.App == a.Name && f.Epoch == h.Epoch })
	if i < 0 || l.Lease.Inc != h.Inc {
		return nil
	}
	for _, m := range a.Main() {
		if m.Status == projections.MigrationRunning {
			d, _ := Next(v, m, Input{Fenced: true}, now, sure)
			return d
		}
	}
	return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Node: h.Node, Cause: leaseCause(l), Data: &events.LeadershipReleased{
		Ref: events.Ref{Instance: l.Lease.Fenced[i].Instance, FromNode: h.Node}, Epoch: h.Epoch, Node: h.Node, Inc: h.Inc, Why: events.ReleasedFenced}}
}

// lostData tells what a node that came back has of an epoch that it led, and nobody else has; once.
func lostData(a *projections.App, leases map[string]services.SeenLease) *events.Draft {
	for _, node := range slices.Sorted(maps.Keys(leases)) {
		l := leases[node]
		if l.Lease.State != api.LeaseHeld {
			continue
		}
		for _, lost := range l.Lease.Lost {
			told := slices.ContainsFunc(a.Lost, func(d events.DataLost) bool { return d.Node == lost.Data.Node && d.Epoch == lost.Data.Epoch })
			if lost.App == a.Name && lost.Data.Node == node && lost.Data.Epoch < a.Epoch && !told {
				return &events.Draft{Aggregate: events.App(a.Name), App: a.Name, Node: node, Cause: leaseCause(l), Data: new(lost.Data)}
			}
		}
	}
	return nil
}

// leaseCause names the lease that an event rests on: "lease:<node>:<sequence on the lease stream>".
func leaseCause(l services.SeenLease) string { return fmt.Sprintf("lease:%s:%d", l.Lease.Node, l.Seq) }

// moving says whether a migration of the instance is under way: its steps tell how it is.
func moving(a *projections.App, instance string) bool {
	for _, m := range a.Open {
		if m.Instance == instance && m.Status == projections.MigrationRunning {
			return true
		}
	}
	return false
}

// health compares an instance with what its node says of it, and returns the payload that closes the difference.
func health(a *projections.App, in *projections.Instance, l api.Lease) any {
	i := slices.IndexFunc(l.Instances, func(h api.InstanceHealth) bool { return h.ID == in.ID && h.App == in.App })
	if i < 0 {
		return ended(a, in, "it is not on "+in.Node+" any more")
	}
	h := l.Instances[i]
	switch h.State {
	case api.InstanceRunning:
		switch {
		case h.Healthy && !in.Healthy:
			return &events.InstanceHealthy{Instance: in.ID, Node: in.Node}
		case !h.Healthy && (in.Healthy || in.State == api.InstanceFailed):
			return &events.InstanceUnhealthy{Instance: in.ID, Node: in.Node, Detail: orElse(h.Detail, "its health check fails")}
		}
	case api.InstanceStarting, api.InstanceStopping, api.InstanceReady:
		if in.Healthy {
			return &events.InstanceUnhealthy{Instance: in.ID, Node: in.Node, Detail: orElse(h.Detail, "it is "+h.State)}
		}
	case api.InstanceFailed:
		if in.State != api.InstanceFailed {
			return &events.InstanceFailed{Instance: in.ID, Node: in.Node, Detail: orElse(h.Detail, "it failed, and its restarts are used up")}
		}
	case api.InstanceStopped:
		return ended(a, in, orElse(h.Detail, "it was stopped on "+in.Node+" though nobody ordered it"))
	}
	return nil
}

// ended says that an instance has ended on its node. A singleton's node still holds its epoch then, which only a step-down of
// that node ends: so the instance has failed there rather than gone, and the move that follows asks for the step-down.
func ended(a *projections.App, in *projections.Instance, detail string) any {
	switch {
	case a.Spec.Mode != spec.Singleton:
		return &events.InstanceStopped{Instance: in.ID, Node: in.Node, Detail: detail}
	case in.State != api.InstanceFailed:
		return &events.InstanceFailed{Instance: in.ID, Node: in.Node, Detail: detail}
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
