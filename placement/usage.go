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
	on      map[string]*spot              // by node
	ports   map[string]map[string]holders // host address → port
	heads   map[string]heading            // app → node → instances where all that is under way and decided takes them; see heading
	sent    map[string][]events.Move      // app → moves that were decided and that heads, which nobody has asked for yet, is to have
	holding int                           // nodes of which standbys hold something
	skip    string                        // migration that is not counted
	trail   *[]stride                     // where set, what add, remove, hold and release did
	stirs   func(*spot)                   // where set, told of each node of which something is counted otherwise
}

// spot is what stands on one node. Of one that is only named somewhere nothing is counted.
type spot struct {
	node    string
	host    string // its address
	counted bool
	count   int            // instances
	apps    map[string]int // app → instances
	wary    map[string]int // the same, of the apps alone that keep away from others
	stand   map[string]int // app → standbys
	cpu     spec.CPU       // taken
	mem     spec.Bytes     // taken
	held    spec.Resources // what standbys hold of what is taken
	seat    int32          // its number in an index, or nowhere
	due     [2]int32       // of Ledger.count, which leaves zeros
}

// bare is where nothing stands; it is not written to.
var bare = &spot{seat: nowhere}

// at returns what stands on a node.
func (u *usage) at(node string) *spot {
	if s := u.on[node]; s != nil {
		return s
	}
	return bare
}

// named returns the spot of a node, be it counted or not.
func (u *usage) named(node string) *spot {
	s := u.on[node]
	if s == nil {
		s = &spot{node: node, seat: nowhere}
		u.on[node] = s
	}
	return s
}

// counts has a node counted from now on.
func (u *usage) counts(n *projections.Node) {
	s := u.named(n.ID)
	s.host, s.counted = n.Facts.Address, true
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
	u := &usage{on: make(map[string]*spot), ports: map[string]map[string]holders{}, heads: map[string]heading{}, sent: map[string][]events.Move{}, skip: skip}
	for _, n := range v.Nodes {
		if counted(n) {
			u.counts(n)
		}
	}
	for _, a := range v.Apps {
		eachPlace(a, skip, func(node string, standby bool) {
			if standby {
				u.hold(a, u.at(node))
			} else {
				u.add(a, u.at(node))
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
	eachOtherPlace(a, skip, skipped, f)
}

// eachOtherPlace is eachPlace but for the instances.
func eachOtherPlace(a *projections.App, skip, skipped string, f func(node string, standby bool)) {
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
	on   *spot
	by   int  // instances
	hold bool // what a standby holds of the node, rather than what it counts for
}

func (u *usage) goes(s stride) {
	if u.stirs != nil {
		u.stirs(s.on)
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
			u.holds(s.app, s.on, -s.by)
		case s.by > 0:
			u.remove(s.app, s.on)
		default:
			u.add(s.app, s.on)
		}
	}
}

// onTheWay lists the ends of an open move at which its instance counts though it is not placed there. What is restarted where it is, and was
// ended there meanwhile, may be back any moment.
func onTheWay(a *projections.App, m *projections.Migration) (nodes []string) {
	if planted.ForgetInFlight {
		return nil
	}
	in := a.Moved(m)
	for i, end := range []string{m.From, m.To} {
		once := i == 0 && m.From == m.To
		if end != "" && !once && (in == nil || in.Node != end) {
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
			on := u.at(node)
			take(a, on)
			defer u.put(a, open.Move, on)
			if !open.Standby() && a.StandbyAt(node) != nil && !placedAt(a, node) {
				u.hold(a, on)
				defer u.release(a, on)
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
func (u *usage) put(a *projections.App, m events.Move, on *spot) {
	if m.Standby() {
		u.hold(a, on)
	} else {
		u.add(a, on)
	}
}

// hold counts a standby of the app on a node: it has its room there, gives way to what serves, and is none of the instances that are evened
// out.
func (u *usage) hold(a *projections.App, on *spot) {
	if on.counted {
		u.add(a, on)
		u.holds(a, on, 1)
	}
}

// holds counts what makes a standby of an instance, or takes that back.
func (u *usage) holds(a *projections.App, on *spot, by int) {
	u.goes(stride{a, on, by, true})
	on.count -= by
	if on.stand == nil {
		on.stand = map[string]int{}
	}
	if on.stand[a.Name] += by; on.stand[a.Name] == 0 {
		delete(on.stand, a.Name)
	}
	h, r, none := &on.held, a.Spec.Resources, spec.Resources{}
	u.holding -= bit(*h != none)
	h.CPU, h.Memory = h.CPU+spec.CPU(by)*r.CPU, h.Memory+spec.Bytes(by)*r.Memory
	u.holding += bit(*h != none)
}

// release takes back what hold counted.
func (u *usage) release(a *projections.App, on *spot) {
	if on.counted {
		u.remove(a, on)
		u.holds(a, on, -1)
	}
}

// serving is how many instances of an app a node has that are no standbys.
func (s *spot) serving(app string) int { return s.apps[app] - s.stand[app] }

// add counts an instance of the app on a node, if that is one of those counted.
func (u *usage) add(a *projections.App, on *spot) {
	if !on.counted {
		return
	}
	u.goes(stride{a, on, 1, false})
	if on.apps == nil {
		on.apps = map[string]int{}
	}
	on.apps[a.Name]++
	if len(a.Spec.AwayFromApp) > 0 {
		if on.wary == nil {
			on.wary = map[string]int{}
		}
		on.wary[a.Name]++
	}
	on.count++
	on.cpu += a.Spec.Resources.CPU
	on.mem += a.Spec.Resources.Memory
	for _, p := range a.Spec.Ports {
		if p != 0 {
			if u.ports[on.host] == nil {
				u.ports[on.host] = map[string]holders{}
			}
			port := strconv.Itoa(p)
			if u.ports[on.host][port] == nil {
				u.ports[on.host][port] = holders{}
			}
			u.ports[on.host][port][a.Name]++
		}
	}
}

// remove takes back what add counted.
func (u *usage) remove(a *projections.App, on *spot) {
	if !on.counted {
		return
	}
	u.goes(stride{a, on, -1, false})
	if on.apps[a.Name]--; on.apps[a.Name] == 0 {
		delete(on.apps, a.Name)
	}
	if w := on.wary; w[a.Name] == 1 {
		delete(w, a.Name)
	} else if w[a.Name] > 1 {
		w[a.Name]--
	}
	on.count--
	on.cpu -= a.Spec.Resources.CPU
	on.mem -= a.Spec.Resources.Memory
	for _, p := range a.Spec.Ports {
		if by := u.ports[on.host][strconv.Itoa(p)]; p != 0 && by != nil {
			if by[a.Name]--; by[a.Name] == 0 {
				delete(by, a.Name)
			}
		}
	}
}

// taken returns the first of some ports that is held on a host, and the first app that holds it, or "".
func (u *usage) taken(ports []string, host string) (port, by string) {
	if len(ports) == 0 {
		return "", ""
	}
	held := u.ports[host]
	for _, p := range ports {
		if len(held[p]) > 0 {
			return p, sortedKeys(held[p])[0]
		}
	}
	return "", ""
}

// admit counts a decided move, so that the next decision sees it.
func (u *usage) admit(a *projections.App, m events.Move) {
	to := u.at(m.To)
	if m.Standby() {
		u.hold(a, to)
		return
	}
	if m.To != m.From {
		if h, asked := u.heads[a.Name]; asked {
			h.follow(m)
		} else {
			u.sent[a.Name] = append(u.sent[a.Name], m)
		}
		if to.stand[a.Name] > 0 { // one room for both
			u.release(a, to)
		}
		u.add(a, to)
	}
}
