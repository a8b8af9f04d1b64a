package projections

import (
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// The views are what people and programs are shown of the fold. In each of them an empty list is [] and an empty map {}, and lists
// are sorted, so that equal states make equal bytes. What they return shares maps with the fold, which replaces maps and never
// changes one: it may be kept and encoded after the fold has moved on.

// Known says whether a node has ever joined. An incarnation that ended before it joined leaves a node that is not.
func (n *Node) Known() bool { return n.Status != "" }

// Scheduling returns api.Schedulable, api.Cordoned or api.Draining.
func (n *Node) Scheduling() string {
	switch {
	case n.Draining():
		return api.Draining
	case n.Cordoned:
		return api.Cordoned
	}
	return api.Schedulable
}

// nodeView is one row of `node list`; load is what the node's lease says.
func nodeView(c *Cluster, n *Node, load api.Load, there []*Instance) api.NodeView {
	v := api.NodeView{
		ID: n.ID, Status: n.Status, Scheduling: n.Scheduling(), Labels: notNil(n.Labels), Apps: []string{}, Load: load,
		Address: n.Facts.Address, Version: n.Facts.Version, Revision: c.Head(events.Node(n.ID)).Rev,
		Capacity: spec.Resources{CPU: n.Facts.CPU, Memory: n.Facts.Memory},
	}
	for _, in := range there {
		v.Apps = append(v.Apps, in.App)
	}
	slices.Sort(v.Apps)
	v.Apps = slices.Compact(v.Apps)
	return v
}

// NodeDetail is `node show`. Its instances include those that a move is bringing there.
func NodeDetail(c *Cluster, n *Node, load api.Load) api.NodeDetail {
	there := Occupants{c.On(n.ID), c.StandbysOn(n.ID)}
	d := api.NodeDetail{NodeView: nodeView(c, n, load, there.All()), Inc: n.Inc, Instances: []api.InstanceView{}, Orders: []api.NodeOrder{}}
	for _, a := range c.SortedApps() {
		for _, in := range InstanceViews(c, a) {
			if in.Node == n.ID {
				d.Instances = append(d.Instances, in)
			}
		}
	}
	if o := n.Drain; o != nil {
		d.Orders = append(d.Orders, api.NodeOrder{Order: o.Order, Kind: "drain", By: o.Started.Actor, At: o.Started.At, Deadline: o.Deadline})
	}
	for _, order := range slices.Sorted(maps.Keys(c.Evacuations)) {
		if o := c.Evacuations[order]; o.State == stateOpen && o.Selector.Matches(n.Labels) {
			d.Orders = append(d.Orders, api.NodeOrder{Order: o.Order, Kind: "evacuation", Selector: o.Text, By: o.Started.Actor, At: o.Started.At, Deadline: o.Deadline})
		}
	}
	return d
}

// NodeViews lists every node that has joined and not left, ordered by id.
func NodeViews(c *Cluster, loads map[string]api.Load) []api.NodeView {
	out, there := []api.NodeView{}, c.ByNode()
	for _, n := range c.SortedNodes() {
		if n.Known() && n.Status != StatusLeft {
			out = append(out, nodeView(c, n, loads[n.ID], there[n.ID].All()))
		}
	}
	return out
}

func notNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func orEmpty[V any](s []V) []V {
	if s == nil {
		return []V{}
	}
	return s
}
