package placement

import (
	"slices"
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
	heads map[string]heading            // app → node → instances where all that is under way and decided takes them; see heading
	sent  map[string][]events.Move      // app → moves that were decided and that heads, which nobody has asked for yet, is to have
	stand map[string]map[string]int     // node → app → standbys
	held  map[string]spec.Resources     // node → what standbys hold of what is taken
	skip  string                        // migration that is not counted
	trail *[]stride                     // where set, what add, remove, hold and release did
	stirs func(node string)             // where set, told of each node of which something is counted otherwise
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
		ports: map[string]map[string]holders{}, addr: map[string]string{}, heads: map[string]heading{}, sent: map[string][]events.Move{}, stand: map[string]map[string]int{}, held: map[string]spec.Resources{}, skip: skip}
	for id, n := range v.Nodes {
		if counted(n) {
			u.addr[id] = n.Facts.Address
		}
	}
	for _, a := range v.Apps {
		eachPlace(a, skip, func(node string, standby bool) {
			if standby {
				u.hold(a, node)
			} else {
				u.add(a, node)
			}
		})
	}
	return u
}

// eachPlace calls f with each node at which an app counts, once for each of its instances and standbys, but for what one migration itself takes.
func eachPlace(a *projections.App, skip string, f func(node string, standby bool)) {
	var skipped string // instance that the migration itself moves
	for _, m := range a.Open {
		if m.Migration == skip {
			skipped = m.Instance
		}
	}
	for id, in := range a.Instances {
		if id != skipped {
			f(in.Node, false)
		}
	}
	for id, s := range a.Standbys {
		if id != skipped && !placedAt(a, s.Node) && !movingAt(a, s.Node, skip) {
			f(s.Node, true)
		}
	}
	for _, m := range a.Open {
		if m.Migration != skip {
			for _, node := range onTheWay(a, m) {
				f(node, m.Standby())
			}
		}
	}
}

// stride is one change of what is counted.
type stride struct {
	app  *projections.App
	node string
	by   int  // instances
	hold bool // what a standby holds of the node, rather than what it counts for
}

func (u *usage) goes(s stride) {
	if u.stirs != nil {
		u.stirs(s.node)
	}
	if u.trail != nil {
		*u.trail = append(*u.trail, s)
	}
}

// back takes back all that was done on a trail, which ends.
func (u *usage) back() {
	trail := *u.trail
	u.trail = nil
	for _, s := range slices.Backward(trail) {
		switch {
		case s.hold:
			u.holds(s.app, s.node, -s.by)
		case s.by > 0:
			u.remove(s.app, s.node)
		default:
			u.add(s.app, s.node)
		}
	}
}

// onTheWay lists the ends of an open move at which its instance counts though it is not placed there.
func onTheWay(a *projections.App, m *projections.Migration) (nodes []string) {
	if planted.ForgetInFlight {
		return nil
	}
	in := a.Moved(m)
	for _, end := range []string{m.From, m.To} {
		if end != "" && (in == nil || in.Node != end) && (end != m.From || m.From != m.To) {
			nodes = append(nodes, end)
		}
	}
	return nodes
}

// placedAt says whether the app's instance is on a node, be it shown there before it serves.
func placedAt(a *projections.App, node string) bool {
	for _, in := range a.Instances {
		if in.Node == node {
			return true
		}
	}
	return false
}

// movingAt says whether the app's instance is on its way to or from a node by an open move other than one. A standby there and it have one
// room, which is that of somebody who serves: it gives way to nobody, and others keep away from it.
func movingAt(a *projections.App, node, but string) bool {
	for _, m := range a.Open {
		if !m.Standby() && m.Migration != but && (m.From == node || m.To == node) {
			return true
		}
	}
	return false
}

// without calls f while what an open migration takes is not counted, as if it had been skipped.
func (u *usage) without(a *projections.App, m *projections.Migration, f func()) {
	if open := a.Open[m.Migration]; open != nil { // and not m, which may be a variation of it
		nodes := onTheWay(a, open)
		if in := a.Moved(open); in != nil {
			nodes = append(nodes, in.Node)
		}
		take := u.remove
		if open.Standby() {
			take = u.release
		}
		for _, node := range nodes {
			take(a, node)
			defer u.put(a, open.Move, node)
			if !open.Standby() && a.StandbyAt(node) != nil && !placedAt(a, node) {
				u.hold(a, node)
				defer u.release(a, node)
			}
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

// heading is how many instances of an app will be on each node.
type heading map[string]int

func (h heading) follow(m events.Move) {
	if m.From != "" {
		h[m.From]--
	}
	if m.To != "" {
		h[m.To]++
	}
}

// heading counts the instances of an app on the nodes where they will be: each once, one that moves at its target. It is asked for where
// apps are to be together or apart over labels, of few apps.
func (u *usage) heading(a *projections.App) heading {
	if h, ok := u.heads[a.Name]; ok {
		return h
	}
	to := map[string]string{}
	for id, in := range a.Instances {
		to[id] = in.Node
	}
	for _, m := range a.Main() {
		if m.Migration == u.skip {
			delete(to, m.Instance)
		} else {
			to[m.Instance] = m.To
		}
	}
	h := heading{}
	for _, node := range to {
		if node != "" {
			h[node]++
		}
	}
	for _, m := range u.sent[a.Name] {
		h.follow(m)
	}
	delete(u.sent, a.Name)
	u.heads[a.Name] = h
	return h
}

// put counts what a move takes on a node.
func (u *usage) put(a *projections.App, m events.Move, node string) {
	if m.Standby() {
		u.hold(a, node)
	} else {
		u.add(a, node)
	}
}

// hold counts a standby of the app on a node: it has its room there, gives way to what serves, and is none of the instances that are evened
// out.
func (u *usage) hold(a *projections.App, node string) {
	if _, counted := u.addr[node]; !counted {
		return
	}
	u.add(a, node)
	u.holds(a, node, 1)
}

// holds counts what makes a standby of an instance, or takes that back.
func (u *usage) holds(a *projections.App, node string, by int) {
	u.goes(stride{a, node, by, true})
	u.count[node] -= by
	if u.stand[node] == nil {
		u.stand[node] = map[string]int{}
	}
	if u.stand[node][a.Name] += by; u.stand[node][a.Name] == 0 {
		delete(u.stand[node], a.Name)
	}
	h, r := u.held[node], a.Spec.Resources
	if h.CPU, h.Memory = h.CPU+spec.CPU(by)*r.CPU, h.Memory+spec.Bytes(by)*r.Memory; h == (spec.Resources{}) {
		delete(u.held, node)
	} else {
		u.held[node] = h
	}
}

// release takes back what hold counted.
func (u *usage) release(a *projections.App, node string) {
	if _, counted := u.addr[node]; !counted {
		return
	}
	u.remove(a, node)
	u.holds(a, node, -1)
}

// serving is how many instances of an app a node has that are no standbys.
func (u *usage) serving(node, app string) int { return u.apps[node][app] - u.stand[node][app] }

// add counts an instance of the app on a node, if that is one of those counted.
func (u *usage) add(a *projections.App, node string) {
	host, counted := u.addr[node]
	if !counted {
		return
	}
	u.goes(stride{a, node, 1, false})
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
	u.goes(stride{a, node, -1, false})
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
	if m.Standby() {
		if m.To != "" {
			u.hold(a, m.To)
		}
		return
	}
	if m.To != m.From {
		if h, asked := u.heads[a.Name]; asked {
			h.follow(m)
		} else {
			u.sent[a.Name] = append(u.sent[a.Name], m)
		}
		if m.To != "" {
			if u.stand[m.To][a.Name] > 0 { // one room for both
				u.release(a, m.To)
			}
			u.add(a, m.To)
		}
	}
}
