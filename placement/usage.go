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
	apps  map[string]map[string]int     // node → app → instances
	wary  map[string]map[string]int     // the same, of the apps alone that keep away from others
	count map[string]int                // node → instances
	cpu   map[string]spec.CPU           // node → taken
	mem   map[string]spec.Bytes         // node → taken
	ports map[string]map[string]holders // host address → port
	addr  map[string]string             // node → host address
	heads map[string]map[string]int     // app → node → instances where all that is under way and decided takes them; see heading
	skip  string                        // migration that is not counted
}

// holders is who has a fixed port of a host: app → instances. More than one app is a conflict that somebody else has to end.
type holders map[string]int

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
		ports: map[string]map[string]holders{}, addr: map[string]string{}, heads: map[string]map[string]int{}, skip: skip}
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
			if m.Migration != skip {
				for _, node := range onTheWay(a, m) {
					u.add(a, node)
				}
			}
		}
	}
	return u
}

// onTheWay lists the ends of an open move at which its instance counts though it is not placed there.
func onTheWay(a *projections.App, m *projections.Migration) (nodes []string) {
	if planted.ForgetInFlight {
		return nil
	}
	in := a.Instances[m.Instance]
	for _, end := range []string{m.From, m.To} {
		if end != "" && (in == nil || in.Node != end) && (end != m.From || m.From != m.To) {
			nodes = append(nodes, end)
		}
	}
	return nodes
}

// without calls f while what an open migration takes is not counted, as if it had been skipped.
func (u *usage) without(a *projections.App, m *projections.Migration, f func()) {
	if open := a.Open[m.Migration]; open != nil { // and not m, which may be a variation of it
		nodes := onTheWay(a, open)
		if in := a.Instances[open.Instance]; in != nil {
			nodes = append(nodes, in.Node)
		}
		for _, node := range nodes {
			u.remove(a, node)
			defer u.add(a, node)
		}
	}
	was, skip := u.heads[a.Name], u.skip
	delete(u.heads, a.Name)
	u.skip = m.Migration
	f()
	if u.skip = skip; was == nil {
		delete(u.heads, a.Name)
	} else {
		u.heads[a.Name] = was
	}
}

// heading counts the instances of an app on the nodes where they will be: each once, one that moves at its target. It is asked for where
// apps are to be together or apart over labels, of few apps.
func (u *usage) heading(a *projections.App) map[string]int {
	if h, ok := u.heads[a.Name]; ok {
		return h
	}
	to := map[string]string{}
	for id, in := range a.Instances {
		to[id] = in.Node
	}
	for _, m := range a.SortedOpen() {
		if m.Migration == u.skip {
			delete(to, m.Instance)
		} else {
			to[m.Instance] = m.To
		}
	}
	h := map[string]int{}
	for _, node := range to {
		if node != "" {
			h[node]++
		}
	}
	u.heads[a.Name] = h
	return h
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
				u.ports[host] = map[string]holders{}
			}
			port := strconv.Itoa(p)
			if u.ports[host][port] == nil {
				u.ports[host][port] = holders{}
			}
			u.ports[host][port][a.Name]++
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
	}
	if w := u.wary[node]; w[a.Name] == 1 {
		delete(w, a.Name)
	} else if w[a.Name] > 1 {
		w[a.Name]--
	}
	u.count[node]--
	u.cpu[node] -= a.Spec.Resources.CPU
	u.mem[node] -= a.Spec.Resources.Memory
	for _, p := range a.Spec.Ports {
		if by := u.ports[host][strconv.Itoa(p)]; p != 0 && by != nil {
			if by[a.Name]--; by[a.Name] == 0 {
				delete(by, a.Name)
			}
		}
	}
}

// taken returns the first of some ports that is held on the node's host, and the first app that holds it, or "".
func (u *usage) taken(ports []string, node string) (port, by string) {
	if len(ports) == 0 {
		return "", ""
	}
	held := u.ports[u.addr[node]]
	for _, p := range ports {
		if len(held[p]) > 0 {
			return p, sortedKeys(held[p])[0]
		}
	}
	return "", ""
}

// admit counts a decided move, so that the next decision sees it.
func (u *usage) admit(a *projections.App, m events.Move) {
	if m.To != m.From {
		h := u.heading(a)
		if m.From != "" {
			h[m.From]--
		}
		if m.To != "" {
			h[m.To]++
			u.add(a, m.To)
		}
	}
}
