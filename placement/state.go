package placement

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// State is the fold as data, as of now: what planning on a file reads.
func State(v *projections.Cluster, loads map[string]api.Sight, now time.Time) *snapshot.State {
	policy := v.Policy
	s := &snapshot.State{Now: now.UTC(), Policy: &policy, Nodes: []snapshot.Node{}, Apps: []snapshot.App{}, Instances: []snapshot.Instance{}}
	for _, n := range v.SortedNodes() {
		if !n.Known() || n.Status == projections.StatusLeft {
			continue
		}
		load := loads[n.ID]
		sn := snapshot.Node{ID: n.ID, Status: n.Status, Scheduling: n.Scheduling(), Labels: n.Labels, Load: max(load.CPU, load.Memory)}
		if len(orders(v, n)) > 0 { // an evacuation empties it as a drain does
			sn.Scheduling = api.Draining
		}
		sn.Capacity = snapshot.Amounts{"cpu": snapshot.Amount(n.Facts.CPU), "memory": snapshot.Amount(n.Facts.Memory) * 1000}
		s.Nodes = append(s.Nodes, sn)
	}
	from := map[string]*projections.Migration{}  // instance → its last move from one node to another
	moved := map[string]*projections.Migration{} // instance → the last one that counts for a cooldown: no first placement does
	for _, m := range v.Migrations {
		if m.Status == projections.MigrationCompleted && projections.Counts(m.Move) && (moved[m.Instance] == nil || m.EndedAt.After(moved[m.Instance].EndedAt)) {
			moved[m.Instance] = m
		}
		if m.Status == projections.MigrationCompleted && m.From != "" && m.To != "" && m.From != m.To && (from[m.Instance] == nil || m.EndedAt.After(from[m.Instance].EndedAt)) {
			from[m.Instance] = m
		}
	}
	for _, a := range v.SortedApps() {
		sa := snapshot.App{App: a.Spec}
		if r := a.Spec.Resources; r != (spec.Resources{}) {
			sa.Resources = snapshot.Amounts{"cpu": snapshot.Amount(r.CPU), "memory": snapshot.Amount(r.Memory) * 1000}
		}
		if a.Removed {
			none := 0
			sa.Mode, sa.Replicas = spec.Replicas, &none
		}
		s.Apps = append(s.Apps, sa)
		listed := map[string]bool{}
		for _, in := range a.SortedInstances() {
			if n := v.Nodes[in.Node]; n == nil || n.Status == projections.StatusLeft {
				continue
			}
			listed[in.ID] = true
			si := snapshot.Instance{ID: in.ID, App: a.Name, Node: in.Node, Role: in.Role}
			if m := moved[in.ID]; m != nil {
				si.MovedAt = m.EndedAt.UTC()
			}
			if m := from[in.ID]; m != nil && m.To == in.Node {
				si.From = m.From
			}
			s.Instances = append(s.Instances, si)
		}
		for _, st := range a.SortedStandbys() {
			if n := v.Nodes[st.Node]; n != nil && n.Known() && n.Status != projections.StatusLeft {
				s.Standbys = append(s.Standbys, snapshot.Instance{ID: st.ID, App: a.Name, Node: st.Node, Role: api.RoleStandby})
			}
		}
		for _, m := range a.Main() {
			if slices.ContainsFunc(s.InFlight, func(f snapshot.InFlight) bool { return f.Instance == m.Instance }) {
				continue
			}
			if !listed[m.Instance] {
				if m.To == "" {
					continue
				}
				s.Instances = append(s.Instances, snapshot.Instance{ID: m.Instance, App: a.Name})
				s.InFlight = append(s.InFlight, snapshot.InFlight{Instance: m.Instance, To: m.To})
				continue
			}
			s.InFlight = append(s.InFlight, snapshot.InFlight{Instance: m.Instance, From: m.From, To: m.To})
		}
	}
	return s
}
