package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

const (
	mostRelax    = 3       // of one app
	mostTries    = 16      // plans made to try them
	largeCluster = 200_000 // (nodes + instances) × tries that trying may cost, but for the first few
)

// Relax finds the smallest changes after which planning again has a place for all of an app that is Pending, and takes none from
// another app: each has been tried, by the code that plans for real.
func Relax(v *projections.Cluster, loads map[string]api.Sight, now time.Time, pd Pending) []events.Relaxation {
	r := relaxer{v: v, loads: loads, now: now, app: v.Apps[pd.App], pd: pd, before: map[string]bool{}}
	if r.app == nil {
		return nil
	}
	for _, p := range Make(alter(v, now).v, loads, now).Pending {
		r.before[p.App] = true
	}
	size := len(v.Nodes)
	for _, a := range v.Apps {
		size += len(a.Instances)
	}
	tries := min(mostTries, max(mostRelax, largeCluster/max(1, size)))
	var out []events.Relaxation
	most := 0 // changes of the smallest that works
	for _, o := range r.options() {
		if len(out) == mostRelax || tries == 0 || most > 0 && len(o.changes) > most {
			break
		}
		tries--
		if r.works(o) {
			out, most = append(out, o.relaxation()), len(o.changes)
		}
	}
	if o, ok := r.newcomers(); len(out) == 0 && ok && r.works(o) {
		out = append(out, o.relaxation())
	}
	return out
}

type relaxer struct {
	v      *projections.Cluster
	loads  map[string]api.Sight
	now    time.Time
	app    *projections.App
	pd     Pending
	before map[string]bool // apps that are Pending as it is
}

// option is a set of changes that belong together.
type option struct {
	node    string // where it would run, "" where that is left to the planner
	changes []change
}

func (o option) price() (sum int) {
	for _, c := range o.changes {
		sum += c.price
	}
	return sum
}

func (o option) text() string {
	var parts []string
	for _, c := range o.changes {
		parts = append(parts, c.text)
	}
	return strings.Join(parts, ", and ")
}

func (o option) relaxation() events.Relaxation {
	r := events.Relaxation{Node: o.node, Codes: []string{}, Detail: o.text()}
	for _, c := range o.changes {
		if !slices.Contains(r.Codes, c.code) {
			r.Codes = append(r.Codes, c.code)
		}
		if c.command != "" {
			r.Commands = append(r.Commands, c.command)
		}
	}
	if len(r.Commands) < len(o.changes) { // commands alone would not do
		r.Commands = nil
	}
	return r
}

// options lists what might help, the smallest first.
func (r *relaxer) options() []option {
	if r.pd.Code == PendingConfirmation {
		return r.confirmation()
	}
	p := newPlanner(alter(r.v, r.now).v, r.loads, r.now)
	at := ""
	if in := r.app.Instances[r.pd.Instance]; in != nil {
		at = in.Node
	}
	d := p.demands(r.app).leaving(at)
	var all, nodes []option
	for _, n := range p.nodes {
		if n.Status == projections.StatusLeft {
			continue
		}
		if n.ID == at { // what broke where it is may be mended there, unless somebody wants it off the node
			if len(orders(r.v, n)) == 0 && n.Status == projections.StatusReady {
				for _, drop := range []bool{false, true} {
					if cs := labelLifts(d, n, drop); len(cs) > 0 {
						all = append(all, option{n.ID, cs})
					}
				}
				if until, _, rests := resting(r.app, at, r.now); rests {
					all = append(all, option{n.ID, []change{waitLift(at, until)}})
				}
			}
			continue
		}
		for _, drop := range []bool{false, true} {
			cs, ok := p.lifts(d, n, drop)
			if ok && len(cs) > 0 {
				all = append(all, option{n.ID, cs})
				if !drop {
					nodes = append(nodes, option{n.ID, cs})
				}
			}
		}
	}
	if r.app.Spec.Mode == spec.Replicas && r.app.Desired() > r.pd.Missing {
		all = append(all, r.fewer())
	}
	smallest(nodes)
	if r.pd.Missing > 1 && len(nodes) >= r.pd.Missing { // one node for each
		both := option{}
		for _, o := range nodes[:r.pd.Missing] {
			for _, c := range o.changes {
				if !slices.ContainsFunc(both.changes, func(had change) bool { return had.text == c.text }) {
					both.changes = append(both.changes, c)
				}
			}
		}
		all = append(all, both)
	}
	smallest(all)
	return slices.CompactFunc(all, func(x, y option) bool { return x.text() == y.text() })
}

func smallest(os []option) {
	slices.SortStableFunc(os, func(x, y option) int {
		return cmp.Or(cmp.Compare(len(x.changes), len(y.changes)), cmp.Compare(x.price(), y.price()), cmp.Compare(x.text(), y.text()))
	})
}

// fewer wants no more than there are places for.
func (r *relaxer) fewer() option {
	count, name := r.app.Desired()-r.pd.Missing, r.app.Name
	return option{changes: []change{{events.RuleOccupied, fmt.Sprintf("lower replicas of %s from %d to %d", name, r.app.Desired(), count), "", priceSpec, func(x *alteration) {
		x.app(name, func(a *projections.App) { a.Spec.Replicas = &count })
	}}}}
}

// newcomers are machines that would take what has no place: what to carry in where nothing that is there will do.
func (r *relaxer) newcomers() (option, bool) {
	a := r.app.Spec
	if len(a.OnNodes) > 0 || r.pd.Code == PendingConfirmation {
		return option{}, false
	}
	labels := map[string]string{}
	var say []string
	for _, s := range demandsOf(r.app).selectors {
		for _, t := range s.sel.Terms() {
			if value, set := t.Satisfy(); set && !t.Matches(labels) {
				labels[t.Key] = value
				say = append(say, t.Key+"="+value)
			}
		}
	}
	size := a.Resources // as large as the largest that there is
	for _, n := range r.v.Nodes {
		size.CPU, size.Memory = max(size.CPU, n.Facts.CPU), max(size.Memory, n.Facts.Memory)
	}
	text := "add a node"
	if r.pd.Missing > 1 {
		text = fmt.Sprintf("add %d nodes", r.pd.Missing)
	}
	if len(say) > 0 {
		text += " with " + strings.Join(say, ",")
	}
	return option{changes: []change{{RuleNodes, text, "", priceGone, func(x *alteration) {
		for i := range max(r.pd.Missing, 1) {
			id := fmt.Sprintf("new-%d", i+1)
			f := events.Facts{Address: id, CPU: size.CPU, Memory: size.Memory, Drivers: []string{"process"}, Apps: []spec.App{{Name: a.Name}}}
			if a.VIP != nil {
				f.VIP = &events.VIPFacts{Interfaces: []string{a.VIP.Interface}}
			}
			x.v.Nodes[id] = &projections.Node{ID: id, Status: projections.StatusReady, Inc: id, Labels: labels, Facts: f}
		}
	}}}}, true
}

// RuleNodes is the code of a relaxation that wants more nodes: none of those that are there would do.
const RuleNodes = "nodes"

// confirmation is the word of somebody who knows that the machine is off.
func (r *relaxer) confirmation() []option {
	in, name := r.app.Instances[r.pd.Instance], r.app.Name
	if in == nil {
		return nil
	}
	return []option{{changes: []change{{events.RuleNotReady, "make sure that " + in.Node + " is off, and say so", "go-cluster node lost " + in.Node + " --confirm", priceWord, func(x *alteration) {
		x.app(name, func(a *projections.App) {
			a.Instances, a.Ended = map[string]*projections.Instance{}, map[string]projections.Ending{in.ID: {Reason: events.ReasonNodeLost, Node: in.Node}}
			if a.Leader != nil {
				l := *a.Leader
				l.Ended = true
				a.Leader = &l
			}
		})
	}}}}}
}

// mostRounds is how often a change is followed: what it moves may move others.
const mostRounds = 6

// works plans again with an option, and again after what that moves: all of the app has a place then, and no other app has lost its own.
func (r *relaxer) works(o option) bool {
	x := alter(r.v, r.now).with(o.changes)
	for range mostRounds {
		plan := Make(x.v, r.loads, x.now)
		for _, p := range plan.Pending {
			if p.App == r.app.Name || !r.before[p.App] {
				return false
			}
		}
		if len(plan.Moves) == 0 {
			return len(missingSlots(x.v.Apps[r.app.Name])) == 0
		}
		x.carry(plan.Moves)
	}
	return false
}
