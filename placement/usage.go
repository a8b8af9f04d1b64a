package placement

import (
	"strconv"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// usage is what stands on the nodes, or is on its way to or from them: a move in flight counts at both ends, so that every
// order in which moves end is possible.
type usage struct {
	apps  map[string]map[string]int    // node → app → instances
	wary  map[string]map[string]int    // the same, of the apps alone that keep away from others
	count map[string]int               // node → instances
	cpu   map[string]spec.CPU          // node → taken
	mem   map[string]spec.Bytes        // node → taken
	ports map[string]map[string]string // host address → port → app
	addr  map[string]string            // node → host address
}

// newUsage counts everything but what one migration itself takes (skip may be "").
func newUsage(v *projections.Cluster, skip string) *usage {
	return countUsage(v, skip, func(*projections.Node) bool { return true })
}

// hostUsage counts on one node, and on those that share its host's ports with it, only.
func hostUsage(v *projections.Cluster, skip string, n *projections.Node) *usage {
	return countUsage(v, skip, func(o *projections.Node) bool { return o.Facts.Address == n.Facts.Address })
}

func countUsage(v *projections.Cluster, skip string, counted func(*projections.Node) bool) *usage {
	u := &usage{apps: map[string]map[string]int{}, wary: map[string]map[string]int{}, count: map[string]int{}, cpu: map[string]spec.CPU{}, mem: map[string]spec.Bytes{},
		ports: map[string]map[string]string{}, addr: map[string]string{}}
	for id, n := range v.Nodes {
		if counted(n) {
			u.addr[id] = n.Facts.Address
		}
	}
	for _, a := range v.Apps {
		var skipped string // instance that the migration itself moves
		for _, m := range a.Open {
			if m.Migration == skip {
				skipped = m.Instance
			}
		}
		for id, in := range a.Instances {
			if id != skipped {
				u.add(a, in.Node)
			}
		}
		for _, m := range a.Open {
			if m.Migration == skip || planted.ForgetInFlight {
				continue
			}
			in := a.Instances[m.Instance]
			for _, end := range []string{m.From, m.To} {
				if end != "" && (in == nil || in.Node != end) && (end != m.From || m.From != m.To) {
					u.add(a, end)
				}
			}
		}
	}
	return u
}

// add counts an instance of the app on a node, if that is one of those counted.
func (u *usage) add(a *projections.App, node string) {
	host, counted := u.addr[node]
	if !counted {
		return
	}
	if u.apps[node] == nil {
		u.apps[node] = map[string]int{}
	}
	u.apps[node][a.Name]++
	if len(a.Spec.AwayFromApp) > 0 {
		if u.wary[node] == nil {
			u.wary[node] = map[string]int{}
		}
		u.wary[node][a.Name]++
	}
	u.count[node]++
	u.cpu[node] += a.Spec.Resources.CPU
	u.mem[node] += a.Spec.Resources.Memory
	for _, p := range a.Spec.Ports {
		if p != 0 {
			if u.ports[host] == nil {
				u.ports[host] = map[string]string{}
			}
			u.ports[host][strconv.Itoa(p)] = a.Name
		}
	}
}

// remove takes back what add counted.
func (u *usage) remove(a *projections.App, node string) {
	host, counted := u.addr[node]
	if !counted {
		return
	}
	if u.apps[node][a.Name]--; u.apps[node][a.Name] == 0 {
		delete(u.apps[node], a.Name)
		delete(u.wary[node], a.Name)
	}
	u.count[node]--
	u.cpu[node] -= a.Spec.Resources.CPU
	u.mem[node] -= a.Spec.Resources.Memory
	for _, p := range a.Spec.Ports {
		if port := strconv.Itoa(p); u.ports[host][port] == a.Name {
			delete(u.ports[host], port)
		}
	}
}

// taken returns the first of some ports that is held on the node's host, and the app that holds it, or "".
func (u *usage) taken(ports []string, node string) (port, by string) {
	if len(ports) == 0 {
		return "", ""
	}
	held := u.ports[u.addr[node]]
	for _, p := range ports {
		if by := held[p]; by != "" {
			return p, by
		}
	}
	return "", ""
}

// admit counts a decided move, so that the next decision sees it.
func (u *usage) admit(a *projections.App, m events.Move) {
	if m.To != "" && m.To != m.From {
		u.add(a, m.To)
	}
}
