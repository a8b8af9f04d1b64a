package placement

import (
	"cmp"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// Ledger counts what stands on the nodes of one fold, and from then on what changes. The zero value knows nothing yet.
type Ledger struct {
	v     *projections.Cluster
	at    uint64 // the fold that it last looked at
	u     *usage
	nodes []*projections.Node // ordered by id
	apps  map[string]*counted
}

// counted is an app as it is counted.
type counted struct {
	as     *projections.App // its name and spec as they were
	rev    uint64           // of that spec
	places []place
}

// place is a node at which an app counts, with an instance or with a standby.
type place struct {
	node    string
	standby bool
}

// Judge is Judge on a fold that the ledger follows.
func (l *Ledger) Judge(v *projections.Cluster, m *projections.Migration) []events.Rejection {
	l.follow(v)
	return judge(v, m, func(_ *projections.Node, f func(*usage)) {
		l.u.without(v.Apps[m.App], m, func() { f(l.u) })
	})
}

// On calls f with the name of each app that has something on a node of a fold, or on its way to or from it.
func (l *Ledger) On(v *projections.Cluster, node string, f func(app string)) {
	l.follow(v)
	for name := range l.u.apps[node] {
		f(name)
	}
}

// follow takes over what changed since the last time, and returns the names of the apps and the ids of the nodes of which that is; all, where
// it counted anew.
func (l *Ledger) follow(v *projections.Cluster) (apps, nodes []string, anew bool) {
	changes, ok := v.Changes(l.at)
	ok = ok && l.v == v
	l.at = v.Seq
	for _, c := range changes {
		switch {
		case !ok:
		case c.App != "":
			apps = append(apps, c.App)
		case c.Node != "":
			nodes = append(nodes, c.Node)
			ok = l.node(v.Nodes[c.Node])
		default:
			ok = false
		}
	}
	if !ok {
		l.v, l.u, l.nodes, l.apps = v, countUsage(&projections.Cluster{Nodes: v.Nodes}, "", func(*projections.Node) bool { return true }), v.SortedNodes(), map[string]*counted{}
		apps, nodes = slices.Collect(maps.Keys(v.Apps)), nil
	}
	slices.Sort(apps)
	apps = slices.Compact(apps)
	for _, name := range apps {
		l.count(v.Apps[name])
	}
	return apps, nodes, !ok
}

// node takes over a node that changed; it returns false where all has to be counted anew for it.
func (l *Ledger) node(n *projections.Node) bool {
	host, known := l.u.addr[n.ID]
	if known {
		return host == n.Facts.Address
	}
	for _, c := range l.apps {
		if slices.ContainsFunc(c.places, func(p place) bool { return p.node == n.ID }) {
			return false
		}
	}
	l.u.addr[n.ID] = n.Facts.Address
	at, _ := slices.BinarySearchFunc(l.nodes, n.ID, func(o *projections.Node, id string) int { return cmp.Compare(o.ID, id) })
	l.nodes = slices.Insert(l.nodes, at, n)
	return true
}

// count counts an app as it is now instead of as it was.
func (l *Ledger) count(a *projections.App) {
	c := l.apps[a.Name]
	if c == nil {
		c = &counted{}
		l.apps[a.Name] = c
	}
	was, as := c.places, c.as
	c.places = make([]place, 0, len(a.Instances)+len(a.Standbys)+2*len(a.Open))
	eachPlace(a, "", func(node string, standby bool) { c.places = append(c.places, place{node, standby}) })
	slices.SortFunc(c.places, place.compare)
	if as == nil || c.rev != a.Applied.Seq {
		c.as, c.rev = &projections.App{Name: a.Name, Spec: a.Spec}, a.Applied.Seq
		l.take(as, was)
		l.put(c.as, c.places)
	} else {
		l.take(as, lacking(was, c.places))
		l.put(as, lacking(c.places, was))
	}
	delete(l.u.heads, a.Name)
}

func (l *Ledger) put(a *projections.App, places []place) {
	for _, p := range places {
		if p.standby {
			l.u.hold(a, p.node)
		} else {
			l.u.add(a, p.node)
		}
	}
}

func (l *Ledger) take(a *projections.App, places []place) {
	for _, p := range places {
		if p.standby {
			l.u.release(a, p.node)
		} else {
			l.u.remove(a, p.node)
		}
	}
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.node, o.node), cmp.Compare(bit(p.standby), bit(o.standby)))
}

// lacking lists what of some places others lack; both are sorted.
func lacking(some, others []place) (out []place) {
	for _, p := range some {
		for len(others) > 0 && others[0].compare(p) < 0 {
			others = others[1:]
		}
		if len(others) > 0 && others[0] == p {
			others = others[1:]
			continue
		}
		out = append(out, p)
	}
	return out
}
