package projections

import (
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// AppView is one row of `app list`.
func AppView(c *Cluster, a *App) api.AppView {
	return appView(a, InstanceViews(c, a))
}

// AppDetail is `app show`.
func AppDetail(c *Cluster, a *App) api.AppDetail {
	ins := InstanceViews(c, a)
	d := api.AppDetail{AppView: appView(a, ins), Spec: a.Spec, SpecRev: a.SpecRev, Instances: ins, Pending: []events.Rejection{},
		By: a.Applied.Actor, Declared: DeclarationViews(c, a.Name, a.Declared), Lost: a.Lost}
	if first, known := c.declared[a.Name][a.Declared]; known {
		d.By = first.Actor
	}
	if want := a.WantedStandbys(); want > 0 || len(a.Standbys) > 0 {
		d.Standbys = &api.StandbysView{Wanted: want, Kept: len(a.Standbys)}
	}
	for _, in := range a.SortedInstances() {
		if in.Generation != a.Generation && in.State != api.InstanceStopping {
			d.Older = append(d.Older, in.ID)
		}
	}
	if len(a.Terms) > 0 && a.Terms[0].Lossy {
		t := a.Terms[0]
		d.LossPossible = &api.LossView{Epoch: t.Epoch, BoundMS: t.BoundMS, Seq: t.Granted}
	}
	if a.Pending != nil {
		d.Pending, d.Why = orEmpty(a.Pending.Rejections), a.Pending.Reason
	}
	return d
}

func appView(a *App, ins []api.InstanceView) api.AppView {
	v := api.AppView{Name: a.Name, Mode: a.Spec.Mode, Desired: a.wanted(), Nodes: []string{}}
	serving := map[string]bool{} // a pool member that moves serves at both ends and counts once
	for _, in := range ins {
		if in.State == api.InstanceRunning {
			serving[in.ID] = true
		}
	}
	v.Running = len(serving)
	for _, in := range a.Instances {
		v.Nodes = append(v.Nodes, in.Node)
	}
	slices.Sort(v.Nodes)
	v.Nodes = slices.Compact(v.Nodes)
	v.State = a.state(v)
	return v
}

// wanted is Desired, and for a spread app, whose number follows from the nodes, what it has and what it misses.
func (a *App) wanted() int {
	if a.Spec.Mode != spec.Spread || a.Removed {
		return a.Desired()
	}
	n := 0
	for _, in := range a.Instances {
		if in.State != api.InstanceStopping {
			n++
		}
	}
	if a.Pending != nil {
		n += a.Pending.Missing
	}
	return n
}

// state returns the first that holds. A first placement and the placement after a loss are not a migration to the eye: the
// instance is missing, which is degraded.
func (a *App) state(v api.AppView) string {
	switch {
	case a.Pending != nil:
		return api.AppPending
	case a.moving():
		return api.AppMigrating
	case v.Running < v.Desired || a.ailing():
		return api.AppDegraded
	case v.Running > 0:
		return api.AppRunning
	}
	return api.AppStopped
}

func (a *App) moving() bool {
	for _, m := range a.Open {
		if m.Status == MigrationRunning && (m.Kind == events.KindMove || m.Kind == events.KindInPlace) {
			return true
		}
	}
	return false
}

func (a *App) ailing() bool {
	for _, in := range a.Instances {
		if in.State == api.InstanceFailed {
			return true
		}
	}
	return false
}

// InstanceViews shows the app's instances ordered by slot. While an instance moves, its target shows too: the prepared target of a
// singleton as standby, that of a pool as a second member with the same id.
func InstanceViews(c *Cluster, a *App) []api.InstanceView {
	out := []api.InstanceView{}
	open := map[string]*Migration{}
	for _, m := range a.SortedOpen() {
		if m.Status == MigrationRunning {
			open[m.Instance] = m
		}
	}
	for _, in := range a.SortedInstances() {
		m := open[in.ID]
		out = append(out, instanceView(c, a, in, m))
		if m != nil && m.Kind == events.KindMove && in.Node != m.To && a.StandbyAt(m.To) == nil {
			out = append(out, targetView(c, a, m))
		}
	}
	for _, s := range a.SortedStandbys() {
		out = append(out, instanceView(c, a, s, nil))
	}
	return out
}

func instanceView(c *Cluster, a *App, in *Instance, m *Migration) api.InstanceView {
	v := api.InstanceView{ID: in.ID, App: a.Name, Node: in.Node, Role: in.Role, State: in.State, Address: in.Address, Ports: notNil(in.Ports), Detail: in.Detail}
	if v.Address == "" {
		v.Address = addressOf(c, in.Node)
	}
	if m != nil && m.Order != nil && m.Order.Node == in.Node {
		switch m.Order.Step {
		case events.StepStart:
			v.State = api.InstanceStarting
		case events.StepStepDown, events.StepStop:
			v.State = api.InstanceStopping
		}
	}
	if in.Role == api.RoleActive {
		if v.State == api.InstanceAssigned || v.State == api.InstanceReady {
			v.Role = api.RoleStandby // no epoch has been granted to it
		} else if l := a.Leader; l != nil && l.Node == in.Node && l.Inc == in.Inc && !l.Ended {
			v.Epoch = l.Epoch
			if a.Spec.VIP != nil && v.State == api.InstanceRunning {
				v.VIP = a.Spec.VIP.Address
			}
		}
	}
	return v
}

// targetView is the far end of a move before the instance itself is there.
func targetView(c *Cluster, a *App, m *Migration) api.InstanceView {
	v := api.InstanceView{ID: m.Instance, App: a.Name, Node: m.To, Role: api.RoleMember, State: api.InstanceAssigned, Address: addressOf(c, m.To), Ports: map[string]int{}}
	singleton := a.Spec.Mode == spec.Singleton
	if singleton {
		v.Role = api.RoleStandby
	}
	at := func(s events.Step) bool { return m.Order != nil && m.Order.Node == m.To && m.Order.Step == s }
	switch {
	case m.Undoing, at(events.StepStop):
		v.State = api.InstanceStopping
	case at(events.StepStart):
		v.State = api.InstanceStarting
	case singleton && m.did(events.StepPrepare):
		v.State = api.InstanceReady
	case !singleton && m.Committed:
		v.State = api.InstanceRunning
	}
	if m.Result != nil && m.Result.Ports != nil {
		v.Ports = m.Result.Ports
	}
	return v
}

// did says whether the migration has completed a step.
func (m *Migration) did(s events.Step) bool {
	for _, h := range m.History {
		if h.Event == "placement.step.completed" && h.Step == string(s) {
			return true
		}
	}
	return false
}

func addressOf(c *Cluster, node string) string {
	if n := c.Nodes[node]; n != nil {
		return n.Facts.Address
	}
	return ""
}
