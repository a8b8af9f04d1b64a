package agent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// keepSpecs is how many revisions of a spec are remembered besides those in use.
const keepSpecs = 8

// assignment is what the log says of one app on one node. It is folded from the app's events and those of the node's membership, in
// log order. It is pure and not safe for concurrent use.
type assignment struct {
	node  string
	app   string
	state *projections.Cluster
	specs map[uint64]spec.App // by revision: a migration is pinned to one
	drop  map[string]bool     // instances that have left for good, with their data
}

func newAssignment(cluster, node, app string) *assignment {
	return &assignment{node: node, app: app, state: projections.NewCluster(cluster), specs: map[uint64]spec.App{}, drop: map[string]bool{}}
}

// apply folds one message.
func (a *assignment) apply(m events.Message) {
	if m.Err == nil {
		switch d := m.Event.Data.(type) {
		case *events.AppApplied:
			a.specs[d.SpecRev] = d.Spec.WithDefaults()
		case *events.PlacementUpdated:
			if app := a.state.Apps[a.app]; app != nil {
				a.specs[d.SpecRev] = app.Spec.WithRules(d.Rules)
			}
		case *events.MigrationStarted:
			a.admit(&m.Event, d)
		case *events.MigrationCompleted:
			a.left(d.Migration, true)
		case *events.MigrationFailed:
			a.left(d.Migration, d.Left == events.LeftAtTarget)
		}
	}
	if e := &m.Event; m.Err == nil && e.Aggregate.Kind == events.KindNode { // a selection, which makes no chain
		a.state.Heads[e.Aggregate] = events.Head{Rev: e.Rev - 1, Hash: e.Prev}
	}
	a.state.Apply(m)
	a.prune()
}

// admit stands in for the admission, which is on the cluster's aggregate and not read here: the start repeats what counts.
func (a *assignment) admit(e *events.Event, d *events.MigrationStarted) {
	app := a.state.Apps[a.app]
	if app == nil || app.Open[d.Migration] != nil {
		return
	}
	at := projections.Cause{ID: e.ID, Seq: e.Seq, Correlation: e.Correlation, Actor: e.Actor, At: e.Stored}
	app.Open[d.Migration] = &projections.Migration{
		Move: events.Move{Migration: d.Migration, App: a.app, Instance: d.Instance, SpecRev: d.SpecRev, From: d.FromNode, FromInc: d.FromInc,
			To: d.ToNode, ToInc: d.ToInc, Reason: d.Reason, Trigger: d.Trigger, Class: d.Class, Order: d.Order, DeleteLocal: d.DeleteLocal,
			Role: d.Role, Keep: d.Keep, Sync: d.Sync, Cause: e.Cause, Correlation: e.Correlation},
		Plan: d.Plan, Admitted: at, Status: projections.MigrationPlanned, Kind: d.Kind, Orderer: d.Order,
	}
	if d.ToNode == a.node {
		delete(a.drop, a.local(&app.Open[d.Migration].Move))
	}
}

// left notes whether the data of an instance goes, now that its migration away from here ends; moved says that it took place.
func (a *assignment) left(migration string, moved bool) {
	app := a.state.Apps[a.app]
	if app == nil {
		return
	}
	if m := app.Open[migration]; m != nil && moved && m.From == a.node && m.To != a.node && m.DeleteLocal {
		a.drop[a.local(&m.Move)] = true
	}
}

func (a *assignment) prune() {
	if len(a.specs) <= keepSpecs {
		return
	}
	app := a.state.Apps[a.app]
	if app == nil {
		return
	}
	used := map[uint64]bool{app.SpecRev: true}
	for _, in := range app.Instances {
		used[in.SpecRev] = true
	}
	for _, m := range app.Open {
		used[m.SpecRev], used[m.Was.SpecRev] = true, true
	}
	revs := slices.Sorted(maps.Keys(a.specs))
	for _, rev := range revs[:len(revs)-keepSpecs] {
		if !used[rev] {
			delete(a.specs, rev)
		}
	}
}

// ready says whether the fold has passed the event by which inc joined, and that incarnation still stands.
func (a *assignment) ready(inc string, joined uint64) bool {
	n := a.state.Nodes[a.node]
	return n != nil && n.Inc == inc && n.Status == projections.StatusReady && a.state.Seq >= joined
}

// judged says whether the message is the cluster's view of how an instance here is: a lease that is older than that view says
// nothing against it.
func (a *assignment) judged(m events.Message) bool {
	if m.Err != nil {
		return false
	}
	switch d := m.Event.Data.(type) {
	case *events.InstanceHealthy:
		return d.Node == a.node
	case *events.InstanceUnhealthy:
		return d.Node == a.node
	case *events.InstanceFailed:
		return d.Node == a.node
	case *events.InstanceStopped:
		return d.Node == a.node
	case *events.MigrationCompleted:
		return d.ToNode == a.node || d.FromNode == a.node
	case *events.MigrationFailed:
		return d.ToNode == a.node || d.FromNode == a.node
	}
	return false
}

// quarantined says why nothing in the app's or the node's events may be acted upon.
func (a *assignment) quarantined() string {
	return cmp.Or(a.state.Quarantined[events.App(a.app)], a.state.Quarantined[events.Node(a.node)])
}

// order is an open step for this node.
type order struct {
	seq         uint64
	step        events.Step
	migration   string
	instance    string   // its name here
	named       string   // its name in the log
	sync        bool     // in the move's final phase nothing is acknowledged that is not stored
	standby     bool     // it is a standby that is placed or ends
	run         Instance // what to run; without the node's own particulars
	specMissing bool     // run.App is not known
	from, to    string   // nodes of the move
	reason      string
	epoch       uint64 // of persist and activate
	timeout     time.Duration
	leader      projections.Leader
	vip         *spec.VIP // that the instance has at the node it leaves; nil for none
	position    string    // that a copy has to reach
	checksum    string
	removed     bool               // nobody wants the app any more
	ran         spec.App           // what the instance runs where it is left
	terms       []projections.Term // of the app, newest first
}

// patience is how long to wait for an instance to get well: a little less than the order gives, so that the report says why it did
// not, instead of the time just running out. 0 is no limit.
func (o order) patience() time.Duration { return o.timeout * 9 / 10 }

// orders returns the open steps that name this node and the incarnation, oldest first.
func (a *assignment) orders(inc string) []order {
	app := a.state.Apps[a.app]
	if app == nil {
		return nil
	}
	var out []order
	for _, m := range app.Open {
		if m.Order == nil || m.Order.Node != a.node || m.Order.Inc != inc {
			continue
		}
		o := order{seq: m.Order.Seq, step: m.Order.Step, migration: m.Migration, instance: a.local(&m.Move), named: m.Instance, standby: m.Standby(), sync: m.Sync && !m.Undoing, removed: app.Removed, timeout: m.Order.Timeout.D(), from: m.From, to: m.To, reason: m.Reason}
		if in := app.Instances[m.Instance]; in != nil && m.From != "" && in.Node == m.From {
			o.vip = a.specs[in.SpecRev].VIP
		}
		o.position, o.checksum, o.terms = m.Order.Position, m.Order.Checksum, app.Terms
		if in := app.Instances[m.Instance]; in != nil && in.Node == a.node {
			o.ran = a.specs[in.SpecRev]
		}
		rev, generation := m.SpecRev, m.Generation
		if in := app.Instances[m.Instance]; in != nil && in.Node == a.node && in.Inc == inc && m.Granted > 0 {
			rev, generation = in.SpecRev, in.Generation // back at the source it runs what it ran before
		}
		if app.Leader != nil {
			o.leader, o.epoch = *app.Leader, app.Leader.Epoch
		}
		o.run, o.specMissing = a.instance(o.instance, rev, generation)
		out = append(out, o)
	}
	slices.SortFunc(out, func(x, y order) int { return cmp.Compare(x.seq, y.seq) })
	return out
}

// open says whether the order is still open.
func (a *assignment) open(inc string, seq uint64) bool {
	return slices.ContainsFunc(a.orders(inc), func(o order) bool { return o.seq == seq })
}

// persists says whether what is to be done is to write down that epoch: it is not waited for twice.
func (a *assignment) persists(inc string, epoch uint64) bool {
	return slices.ContainsFunc(a.orders(inc), func(o order) bool { return o.step == events.StepPersist && o.epoch == epoch })
}

// instance returns what to run; missing says that its spec is not known.
func (a *assignment) instance(id string, rev, generation uint64) (in Instance, missing bool) {
	s, ok := a.specs[rev]
	in = Instance{ID: id, App: s, Node: a.node, Role: api.RoleMember, Generation: generation}
	in.Fenced = (s.Mode == spec.Singleton || s.Mode == spec.Ring) && s.OnIsolation == spec.OnIsolationStop
	return in, !ok
}

// isolation returns what becomes of the app's instances without a lease, "" while no spec is known.
func (a *assignment) isolation() string {
	app := a.state.Apps[a.app]
	if app == nil || app.SpecRev == 0 {
		return ""
	}
	return a.specs[app.SpecRev].OnIsolation
}

// isolationImplied says whether the roles of the app's instances say the same as isolation does; see fence.binds.
func (a *assignment) isolationImplied() bool {
	switch s := a.specs[a.state.Apps[a.app].SpecRev]; s.Mode {
	case spec.Singleton:
		return s.OnIsolation == spec.OnIsolationStop
	case spec.Replicas:
		return s.OnIsolation == spec.OnIsolationContinue
	}
	return false
}

// deedKind is what a worker does next.
type deedKind string

const (
	deedNone    deedKind = ""
	deedPerform deedKind = "perform" // an order, and write its result into the journal
	deedReport  deedKind = "report"  // what the journal has on an order
	deedRemove  deedKind = "remove"  // an instance that has no place here: stop and forget it
	deedResume  deedKind = "resume"  // a pool member that has its place here and does not run
	deedStand   deedKind = "stand"   // a standby that has its place here and is not ready, or does not follow whom it should
	deedEnd     deedKind = "end"     // the epoch of an active that does not run any more: say so
)

// deed is one thing to do.
type deed struct {
	kind       deedKind
	order      order
	report     api.StepReport
	instance   string
	run        Instance // of resume and stand; of remove where its spec is known
	deleteData bool     // of remove
	epoch      uint64   // of end; of stand: whose data are followed, 0 for none; of remove: whose data count
}

// known is what the node knows besides the log.
type known struct {
	statuses []Status // of the app's instances in the driver
	result   func(order uint64) (api.StepReport, bool)
	told     func(order uint64) bool // the result was reported
	ended    func(instance string, epoch uint64) bool
	follows  func(instance string) uint64 // epoch whose data its copy follows, 0 for none
	defers   func(instance string) bool   // it is not time yet to try again
	remains  func(instance string) bool   // its data are here, whatever the driver knows of it
}

// next returns what to do next for the incarnation. Orders come first, oldest first; an order whose result was reported is the
// migrator's turn and holds up nothing else.
func (a *assignment) next(inc string, k known) deed {
	for _, o := range a.orders(inc) {
		if r, done := k.result(o.seq); !done {
			return deed{kind: deedPerform, order: o, instance: o.instance}
		} else if !k.told(o.seq) {
			return deed{kind: deedReport, order: o, report: r, instance: o.instance}
		}
	}
	app := a.state.Apps[a.app]
	have := map[string]Status{}
	for _, st := range k.statuses {
		have[st.ID] = st
		if !a.placed(app, inc, st.ID) && !a.moving(app, st.ID) && !k.defers(st.ID) {
			return a.removal(app, st.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.drop)) { // a program that is started anew knows nothing of what it ran before
		if _, known := have[id]; !known && !a.placed(app, inc, id) && !a.moving(app, id) && !k.defers(id) && k.remains(id) {
			return a.removal(app, id)
		}
	}
	if app == nil {
		return deed{}
	}
	if d := a.stand(app, inc, have, k); d.kind != deedNone {
		return d
	}
	for _, id := range slices.Sorted(maps.Keys(app.Instances)) {
		if !a.runs(app, inc, id) || a.moving(app, id) {
			continue
		}
		in, st, exists := app.Instances[id], have[id], false
		_, exists = have[id]
		if exists && st.State == StateFailed {
			continue // the lease says so
		}
		if in.Role == api.RoleActive {
			l := app.Leader
			if l == nil || l.Ended || l.Node != a.node || l.Inc != inc || k.ended(id, l.Epoch) {
				continue
			}
			if !exists || !lives(st.State) || st.Epoch != l.Epoch {
				return deed{kind: deedEnd, instance: id, epoch: l.Epoch}
			}
			continue
		}
		if (!exists || !lives(st.State)) && !k.defers(id) {
			if run, missing := a.instance(id, in.SpecRev, in.Generation); !missing {
				return deed{kind: deedResume, instance: id, run: run}
			}
		}
	}
	return deed{}
}

// placed says whether the log has what is named id here on this node, under the incarnation.
func (a *assignment) placed(app *projections.App, inc, id string) bool {
	return a.runs(app, inc, id) || a.stands(app, inc) != nil && id == a.standbyName()
}

// runs says whether the log has the instance itself here, under the incarnation, and not a standby of it.
func (a *assignment) runs(app *projections.App, inc, id string) bool {
	if app == nil {
		return false
	}
	in := app.Instances[id]
	return in != nil && in.Node == a.node && in.Inc == inc
}

// moving says whether an open migration of the instance has an end here: then only orders count.
func (a *assignment) moving(app *projections.App, id string) bool {
	if app == nil {
		return false
	}
	for _, m := range app.Open {
		if a.local(&m.Move) == id && (m.From == a.node || m.To == a.node) {
			return true
		}
	}
	return false
}

// over says whether the log knows that an epoch which this node has ended is over.
func (a *assignment) over(inc string, f api.FencedEpoch) bool {
	app := a.state.Apps[a.app]
	if app == nil || app.Leader == nil {
		return true
	}
	l := app.Leader
	return l.Epoch > f.Epoch || l.Epoch == f.Epoch && (l.Ended || l.Inc != inc)
}

// concerns says whether the log has anything for this node to do or to keep for the app.
func (a *assignment) concerns(inc string) bool {
	app := a.state.Apps[a.app]
	if app == nil {
		return false
	}
	if a.stands(app, inc) != nil {
		return true
	}
	for id := range app.Instances {
		if a.placed(app, inc, id) || a.moving(app, id) {
			return true
		}
	}
	for _, m := range app.Open {
		if m.From == a.node || m.To == a.node {
			return true
		}
	}
	return false
}
