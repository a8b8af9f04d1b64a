package projections

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// Standbys of a singleton are kept apart from its instance: they serve nobody and hold no epoch. Each has an id of its own, a slot from 1
// on, and a node where nothing else of the app is. Who is promoted keeps the id of the instance; the standby whose place it takes
// goes to where the instance was, if that is to be kept, or is missing from then on.

// WantedStandbys is how many standbys the app is to have.
func (a *App) WantedStandbys() int {
	if a.Desired() != 1 || a.Spec.Mode != spec.Singleton {
		return 0
	}
	return a.Spec.Standbys
}

// SortedStandbys returns the app's standbys ordered by slot.
func (a *App) SortedStandbys() []*Instance {
	if len(a.Standbys) < 2 {
		return sorted(a.Standbys)
	}
	out := slices.Collect(maps.Values(a.Standbys))
	slices.SortFunc(out, func(x, y *Instance) int { return CompareInstances(x.ID, y.ID) })
	return out
}

// StandbyAt returns the app's standby on a node, nil for none.
func (a *App) StandbyAt(node string) *Instance {
	for _, s := range a.Standbys {
		if s.Node == node {
			return s
		}
	}
	return nil
}

// Moved returns what a migration moves as it stands: an instance, or a standby; nil where it is not there.
func (a *App) Moved(m *Migration) *Instance {
	if m.Standby() {
		return a.Standbys[m.Instance]
	}
	return a.Instances[m.Instance]
}

// Main returns the open migrations of the app but for those of its standbys, ordered by id.
func (a *App) Main() []*Migration {
	return slices.DeleteFunc(a.SortedOpen(), func(m *Migration) bool { return m.Standby() })
}

// FreeStandby returns the first slot that no standby has or is about to have.
func (a *App) FreeStandby() string {
	for slot := 1; ; slot++ {
		id := spec.InstanceID(a.Name, slot)
		taken := a.Standbys[id] != nil
		for _, m := range a.Open {
			taken = taken || m.Standby() && m.Instance == id
		}
		if !taken {
			return id
		}
	}
}

func (a *App) stand(id, node, inc string, by Cause) *Instance {
	s := a.Standbys[id]
	if s == nil {
		s = &Instance{ID: id, App: a.Name, Role: api.RoleStandby, SpecRev: a.SpecRev, Generation: a.Generation}
		a.Standbys[id] = s
	}
	s.Node, s.Inc, s.State, s.Healthy, s.Since, s.Health, s.Ports, s.Address = node, inc, api.InstanceReady, true, by.At, by, nil, ""
	return s
}

func (a *App) endStandby(id, reason string, by Cause) {
	if s := a.Standbys[id]; s != nil {
		delete(a.Standbys, id)
		a.Ended[id] = Ending{Reason: reason, Node: s.Node, By: by}
	}
}

// endStandbys ends those that is is true of.
func (a *App) endStandbys(is func(*Instance) bool, reason string, by Cause) {
	for id, s := range a.Standbys {
		if is(s) {
			a.endStandby(id, reason, by)
		}
	}
}

// beginStandby shows a standby from the start of its migration on.
func (m *Migration) beginStandby(a *App, e *events.Event) {
	switch m.Kind {
	case events.KindPlace:
		s := a.stand(m.Instance, m.To, m.ToInc, causeOf(e))
		s.State, s.Healthy, s.SpecRev, s.Generation, s.Put = api.InstanceAssigned, false, m.SpecRev, m.Generation, m.put(e)
	case events.KindStop:
		if s := a.Standbys[m.Instance]; s != nil {
			s.State = api.InstanceStopping
		}
	}
}

// endStandby puts a standby where its migration has left it.
func (m *Migration) endStandby(c *Cluster, a *App, e *events.Event, done bool) {
	s := a.Standbys[m.Instance]
	switch {
	case s == nil:
	case m.Kind == events.KindPlace && done:
		a.stand(m.Instance, m.To, m.ToInc, causeOf(e)).reached(c, m.Result)
		delete(a.Ended, m.Instance)
	case m.Kind == events.KindPlace && s.Inc == m.ToInc:
		delete(a.Standbys, m.Instance)
	case m.Kind == events.KindStop && done:
		delete(a.Standbys, m.Instance)
		delete(a.Ended, m.Instance)
	case m.Kind == events.KindStop && s.Inc == m.FromInc:
		s.State = api.InstanceReady
	}
}

// promote makes room for the instance on the node that a migration has brought it to: a standby there is none any more. Where the
// instance was, a standby stays if the move says so and the node is there.
func (c *Cluster) promote(a *App, m *Migration, node string, e *events.Event) {
	if a.Spec.Mode != spec.Singleton || node == "" {
		return
	}
	was := Instance{}
	if in := a.Instances[m.Instance]; in != nil && in.Node != node { // one that is placed is shown there before
		was = *in
	}
	slot, by := "", causeOf(e)
	if s := a.StandbyAt(node); s != nil {
		slot = s.ID
		delete(a.Standbys, slot)
	}
	n := c.Nodes[was.Node]
	switch stays := m.Keep && n != nil && n.Inc == was.Inc && n.Status != StatusLost && n.Status != StatusLeft && a.StandbyAt(was.Node) == nil; {
	case stays && slot == "":
		slot = a.FreeStandby()
		fallthrough
	case stays:
		s := a.stand(slot, was.Node, was.Inc, by)
		s.Address, s.Ports, s.Put = was.Address, was.Ports, m.put(e)
		delete(a.Ended, slot)
	case slot != "":
		a.Ended[slot] = Ending{Reason: m.Reason, Node: node, By: by}
	}
}

// StandbyWord says how many standbys an app has of those it is to have, "" where it is to have none and has none.
func (a *App) StandbyWord() string {
	if a.WantedStandbys() == 0 && len(a.Standbys) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", len(a.Standbys), a.WantedStandbys())
}
