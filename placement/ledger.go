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
	fresh []place // of count
}

// counted is an app as it is counted.
type counted struct {
	as     *projections.App // its name and spec as they were
	rev    uint64           // of that spec
	kind   string           // of it; "" before it is asked for
	places []place
	row    row
}

// place is a node at which an app counts, with an instance or with a standby.
type place struct {
	on      *spot
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
	for name := range l.u.at(node).apps {
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
	if s, named := l.u.on[n.ID]; named {
		return s.counted && s.host == n.Facts.Address
	}
	l.u.counts(n)
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
	c.row.take(a)
	c.row.find(l.u)
	fresh := l.fresh[:0]
	for _, on := range c.row.on {
		fresh = append(fresh, place{on, false})
	}
	eachOtherPlace(a, "", "", func(node string, standby bool) { fresh = append(fresh, place{l.u.named(node), standby}) })
	if c.as == nil || c.rev != a.Applied.Seq {
		for _, p := range c.places {
			l.take(c.as, p)
		}
		c.as, c.rev, c.kind = &projections.App{Name: a.Name, Spec: a.Spec}, a.Applied.Seq, ""
		for _, p := range fresh {
			l.put(c.as, p)
		}
	} else {
		l.change(c.as, c.places, fresh)
	}
	c.places, l.fresh = append(c.places[:0], fresh...), fresh
	delete(l.u.heads, a.Name)
}

// change counts an app at some places instead of at others. At most of them it stays.
func (l *Ledger) change(a *projections.App, from, to []place) {
	for _, p := range to {
		p.on.due[bit(p.standby)]++
	}
	for _, p := range from {
		p.on.due[bit(p.standby)]--
	}
	for _, p := range from {
		if due := &p.on.due[bit(p.standby)]; *due < 0 {
			l.take(a, p)
			*due++
		}
	}
	for _, p := range to {
		if due := &p.on.due[bit(p.standby)]; *due > 0 {
			l.put(a, p)
			*due--
		}
	}
}

func (l *Ledger) put(a *projections.App, p place) {
	if p.standby {
		l.u.hold(a, p.on)
	} else {
		l.u.add(a, p.on)
	}
}

func (l *Ledger) take(a *projections.App, p place) {
	if p.standby {
		l.u.release(a, p.on)
	} else {
		l.u.remove(a, p.on)
	}
}
