package invariants

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// world is what a reader of the log believes, as far as the laws need it.
type world struct {
	seq         uint64
	nodes       map[string]*node
	apps        map[string]*app
	moves       map[string]*move // admitted and not ended
	evacuations map[string]spec.Selector
	rebalances  map[string]bool // open ones
	frozen      map[string]bool // by source
	policy      spec.Policy
}

type node struct {
	status, inc, machine string // status: "", ready, suspected, lost, left
	ttl                  time.Duration
	facts                events.Facts
	labels               map[string]string
	labelled             time.Time
	cordoned             bool
	drain                string // order
}

type app struct {
	spec            spec.App
	rev, generation uint64
	removed         bool
	pending         bool
	instances       map[string]*instance
	standbys        map[string]*instance
	leader          *leader
	bereft          time.Time // when instances last ended with their node
}

type instance struct {
	node, inc string
	healthy   bool
	since     time.Time // when it came to the node
}

// leader is the holder of the newest epoch.
type leader struct {
	epoch     uint64
	node, inc string
	activated bool
	ended     bool
	left      events.Result // where its data ended, where it said so
}

// move is an admitted migration and its open step.
type move struct {
	events.Move
	plan             string
	admitted         uint64
	started          bool
	undoing, granted bool
	target           bool // of a pool: the target has been healthy
	order            *order
}

type order struct {
	events.Next
	seq uint64
}

func newWorld() *world {
	return &world{nodes: map[string]*node{}, apps: map[string]*app{}, moves: map[string]*move{}, evacuations: map[string]spec.Selector{},
		rebalances: map[string]bool{}, frozen: map[string]bool{}, policy: spec.Policy{}.WithDefaults()}
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (w *world) node(id string) *node {
	n := w.nodes[id]
	if n == nil {
		n = &node{}
		w.nodes[id] = n
	}
	return n
}

func (w *world) app(name string) *app {
	a := w.apps[name]
	if a == nil {
		a = &app{instances: map[string]*instance{}, standbys: map[string]*instance{}}
		w.apps[name] = a
	}
	return a
}

func (a *app) singleton() bool { return a.spec.Mode == spec.Singleton }

// stays says whether a silent node may go on serving the app.
func (a *app) stays() bool { return a.singleton() && a.spec.OnIsolation == spec.OnIsolationContinue }

func (a *app) desired() int {
	switch {
	case a.removed || a.rev == 0:
		return 0
	case a.singleton():
		return 1
	case a.spec.Replicas != nil:
		return *a.spec.Replicas
	}
	return 0
}

// open returns the open migrations of an app, oldest first.
func (w *world) open(name string) []*move {
	var out []*move
	for _, m := range w.moves {
		if m.App == name {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(x, y *move) int {
		return cmp.Or(cmp.Compare(x.admitted, y.admitted), cmp.Compare(x.Migration, y.Migration))
	})
	return out
}

// instancesOn counts the instances on a node; standbys are none.
func (w *world) instancesOn(id string) (n int) {
	for _, a := range w.apps {
		for _, in := range a.instances {
			if in.node == id {
				n++
			}
		}
	}
	return n
}

// on returns the instances on a node and the standbys, as app/instance.
func (w *world) on(id string, which func(*instance) bool) []string {
	var out []string
	for _, a := range w.apps {
		for name, in := range a.instances {
			if in.node == id && (which == nil || which(in)) {
				out = append(out, name)
			}
		}
		for name, s := range a.standbys {
			if s.node == id && (which == nil || which(s)) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) apply(e *events.Event) {
	w.seq = e.Seq
	switch e.Aggregate.Kind {
	case events.KindNode:
		w.applyNode(e)
	case events.KindApp:
		w.applyApp(e)
	case events.KindCluster:
		w.applyCluster(e)
	}
}

func (w *world) applyNode(e *events.Event) {
	n := w.node(e.Aggregate.ID)
	switch d := e.Data.(type) {
	case *events.NodeJoined:
		if n.machine == d.Machine && n.inc != d.Inc { // a machine stops everything before it begins anew
			w.over(e.Stored, func(a *app, at, inc string) bool { return at == e.Aggregate.ID && inc != d.Inc })
			w.standbysOver(func(at, inc string) bool { return at == e.Aggregate.ID && inc != d.Inc })
		}
		n.status, n.inc, n.machine, n.ttl, n.facts = "ready", d.Inc, d.Machine, d.TTL.D(), d.Facts
	case *events.NodeSuspected:
		if n.inc == d.Inc && n.status == "ready" {
			n.status = "suspected"
		}
	case *events.NodeLost:
		if n.inc == d.Inc {
			n.status = "lost"
		}
		w.standbysOver(func(_, inc string) bool { return inc == d.Inc })
		w.over(e.Stored, func(a *app, _, inc string) bool {
			return inc == d.Inc && (d.Reason != events.LostSilent || d.Confirmed || !a.stays())
		})
	case *events.NodeLeft:
		n.status, n.drain = "left", ""
	case *events.NodeFactsUpdated:
		n.facts = d.Facts
	case *events.NodeLabelsUpdated:
		n.labels, n.labelled = d.After, e.Stored
	case *events.NodeCordoned:
		n.cordoned = true
	case *events.NodeUncordoned:
		n.cordoned = false
	case *events.DrainStarted:
		n.cordoned, n.drain = true, d.Order
	case *events.DrainCompleted, *events.DrainFailed, *events.DrainCancelled:
		n.drain = ""
	}
}

// over ends holders and instances.
func (w *world) over(at time.Time, is func(a *app, node, inc string) bool) {
	for _, a := range w.apps {
		if l := a.leader; l != nil && is(a, l.node, l.inc) {
			l.ended = true
		}
		had := len(a.instances)
		maps.DeleteFunc(a.instances, func(_ string, in *instance) bool { return is(a, in.node, in.inc) })
		if len(a.instances) < had {
			a.bereft = at
		}
	}
}

func (w *world) applyCluster(e *events.Event) {
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		for _, m := range d.Moves {
			w.moves[m.Migration] = &move{Move: m, plan: d.Plan, admitted: e.Seq}
		}
	case *events.PolicyUpdated:
		w.policy = d.Policy.WithDefaults()
	case *events.MovesFrozen:
		w.frozen[d.Source] = true
	case *events.MovesUnfrozen:
		delete(w.frozen, d.Source)
	case *events.EvacuationStarted:
		if sel, err := spec.ParseSelector(d.Selector); err == nil {
			w.evacuations[d.Order] = sel
		}
	case *events.EvacuationCompleted:
		delete(w.evacuations, d.Order)
	case *events.EvacuationCancelled:
		delete(w.evacuations, d.Order)
	case *events.RebalanceTriggered:
		if len(d.Moves) > 0 {
			w.rebalances[d.Order] = true
		}
	case *events.RebalanceCompleted:
		delete(w.rebalances, d.Order)
	}
}
