package placement

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// change is one thing that somebody could do so that a rule no longer stands in the way.
type change struct {
	code    string // of the rule that it lifts
	text    string // what to do
	command string // that does it, "" where a file or a machine has to be changed
	price   int    // how much it asks of people: less goes first among equally many
	apply   func(x *alteration)
}

// What changes ask of people. A cordon is lifted by a word; a rule is there for a reason; a machine has to be carried in.
const (
	priceWord  = 1
	priceLabel = 2
	priceSpec  = 4
	priceGone  = 8
)

// alteration is a cluster as a change would make it; what it is made of stays as it is. Guardrails say when something moves and not
// where it may: without them, what has no place is told from what has to wait.
type alteration struct {
	v   *projections.Cluster
	now time.Time
}

func alter(v *projections.Cluster, now time.Time) *alteration {
	w := *v
	w.Nodes, w.Apps, w.Policy, w.Frozen = maps.Clone(v.Nodes), maps.Clone(v.Apps), spec.Policy{}, nil
	return &alteration{v: &w, now: now}
}

func (x *alteration) with(cs []change) *alteration {
	for _, c := range cs {
		c.apply(x)
	}
	return x
}

func (x *alteration) node(id string, f func(n *projections.Node)) {
	n := *x.v.Nodes[id]
	f(&n)
	x.v.Nodes[id] = &n
}

func (x *alteration) app(name string, f func(a *projections.App)) {
	a := *x.v.Apps[name]
	f(&a)
	x.v.Apps[name] = &a
}

// carry puts instances where moves take them, at once and well.
func (x *alteration) carry(moves []Decision) {
	for _, d := range moves {
		x.app(d.App, func(a *projections.App) {
			a.Instances, a.Ended = maps.Clone(a.Instances), maps.Clone(a.Ended)
			if a.Standbys = maps.Clone(a.Standbys); a.Standbys == nil {
				a.Standbys = map[string]*projections.Instance{}
			}
			if d.Standby() {
				x.stand(a, d)
				return
			}
			if s := a.StandbyAt(d.To); s != nil {
				delete(a.Standbys, s.ID)
				if d.Keep {
					x.stand(a, Decision{Move: events.Move{Instance: s.ID, To: d.From, ToInc: d.FromInc}})
				}
			}
			if a.Instances == nil { // of an app that is only supposed
				a.Instances = map[string]*projections.Instance{}
			}
			delete(a.Ended, d.Instance)
			if d.To == "" {
				delete(a.Instances, d.Instance)
				if a.Leader != nil && a.Leader.Node == d.From {
					l := *a.Leader
					l.Ended = true
					a.Leader = &l
				}
				return
			}
			in := projections.Instance{ID: d.Instance, App: a.Name}
			if was := a.Instances[d.Instance]; was != nil {
				in = *was
			}
			in.Node, in.Inc, in.State, in.Healthy, in.Generation, in.SpecRev = d.To, d.ToInc, "running", true, a.Generation, a.SpecRev
			a.Instances[d.Instance] = &in
			a.Leader = &projections.Leader{Epoch: a.Epoch, Node: d.To, Inc: d.ToInc, Activated: true}
			a.Placed++
		})
	}
}

// stand puts a standby where a move takes it.
func (x *alteration) stand(a *projections.App, d Decision) {
	if d.To == "" {
		delete(a.Standbys, d.Instance)
		return
	}
	a.Standbys[d.Instance] = &projections.Instance{ID: d.Instance, App: a.Name, Node: d.To, Inc: d.ToInc, Role: events.RoleStandby, State: "ready", Healthy: true, SpecRev: a.SpecRev}
}

func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

// lifts lists what would have to be done for the node to take an instance of the app: of the labels it lacks, either the node is given
// them or, with dropRules, the app's rules give way. ok is false where nothing that is known here would do.
func (p *planner) lifts(d demands, n *projections.Node, dropRules bool) (out []change, ok bool) {
	name, node := d.app.Name, n.ID
	add := func(c change) { out = append(out, c) }
	needs := map[string]bool{}
	for _, r := range d.reject(p.v, p.u, n) {
		needs[r.Code] = true
	}
	if needs[events.RuleOccupied] || needs[events.RuleName] || needs[events.RuleEvacuated] {
		return nil, false // it is there; or nothing but the end of what stands helps
	}
	if needs[events.RuleNotReady] {
		add(change{events.RuleNotReady, "bring " + node + " back", "", priceGone, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Status = projections.StatusReady })
		}})
	}
	switch {
	case needs[events.RuleDraining]:
		add(change{events.RuleDraining, "end the drain of " + node + " and uncordon it", "go-cluster node drain " + node + " --cancel && go-cluster node uncordon " + node, priceWord, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Cordoned, n.Drain = false, nil })
		}})
	case needs[events.RuleCordoned]:
		add(change{events.RuleCordoned, "uncordon " + node, "go-cluster node uncordon " + node, priceWord, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Cordoned = false })
		}})
	}
	if needs[events.RuleDriver] {
		add(change{events.RuleDriver, "run an agent on " + node + " that runs programs", "", priceGone, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Facts.Drivers = append(slices.Clone(n.Facts.Drivers), "process") })
		}})
	}
	if needs[events.RuleLabel] {
		out = append(out, labelLifts(d, n, dropRules)...)
	}
	if needs[events.RuleCode] {
		add(change{events.RuleCode, "start a program on " + node + " that registers " + name, "", priceGone, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Facts.Apps = append(slices.Clone(n.Facts.Apps), spec.App{Name: name}) })
		}})
	}
	if needs[events.RuleOnNodes] {
		c := change{events.RuleOnNodes, "add " + node + " to on_nodes of " + name, "", priceSpec, func(x *alteration) {
			x.app(name, func(a *projections.App) { a.Spec.OnNodes = append(slices.Clone(a.Spec.OnNodes), node) })
		}}
		if dropRules {
			c.text, c.apply = "drop on_nodes of "+name, func(x *alteration) { x.app(name, func(a *projections.App) { a.Spec.OnNodes = nil }) }
		}
		add(c)
	}
	if needs[events.RuleVIP] {
		add(change{events.RuleVIP, fmt.Sprintf("let %s carry %s on %s", node, d.app.Spec.VIP.Address, d.app.Spec.VIP.Interface), "", priceGone, func(x *alteration) {
			iface := x.v.Apps[name].Spec.VIP.Interface
			x.node(node, func(n *projections.Node) { n.Facts.VIP = &events.VIPFacts{Interfaces: []string{iface}} })
		}})
	}
	if needs[events.RuleAwayFrom] {
		out = append(out, p.awayLifts(d.app, n)...)
	}
	if needs[events.RuleWith] {
		add(change{events.RuleWith, "drop with_app of " + name, "", priceSpec, func(x *alteration) {
			x.app(name, func(a *projections.App) { a.Spec.WithApp = nil })
		}})
	}
	if needs[events.RuleSpread] {
		add(change{events.RuleSpread, "drop spread_over of " + name, "", priceSpec, func(x *alteration) {
			x.app(name, func(a *projections.App) { a.Spec.SpreadOver = nil })
		}})
	}
	if need, free := d.app.Spec.Resources.CPU, n.Facts.CPU-p.u.at(node).cpu; needs[events.RuleCPU] {
		add(change{events.RuleCPU, fmt.Sprintf("give %s cpu %s more", node, need-free), "", priceGone, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Facts.CPU += need - free })
		}})
	}
	if need, free := d.app.Spec.Resources.Memory, n.Facts.Memory-p.u.at(node).mem; needs[events.RuleMemory] {
		more := enough(need - free)
		add(change{events.RuleMemory, fmt.Sprintf("give %s memory %s more", node, more), "", priceGone, func(x *alteration) {
			x.node(node, func(n *projections.Node) { n.Facts.Memory += more })
		}})
	}
	if needs[events.RulePort] {
		add(change{events.RulePort, "let the agent pick the ports of " + name + " (port 0)", "", priceSpec, func(x *alteration) {
			x.app(name, func(a *projections.App) {
				ports := map[string]int{}
				for k := range a.Spec.Ports {
					ports[k] = 0
				}
				a.Spec.Ports = ports
			})
		}})
	}
	if until, _, rests := resting(d.app, node, p.now); rests {
		add(waitLift(node, until))
	}
	return out, true
}

// enough is at least an amount of memory, and at most a sixtieth more, in as few digits as that takes.
func enough(n spec.Bytes) spec.Bytes {
	for _, unit := range []spec.Bytes{1 << 40, 1 << 30, 1 << 20, 1 << 10} {
		if n >= 60*unit {
			return max(n, (n+unit-1)/unit*unit) // n, where that is more than can be counted
		}
	}
	return n
}

func waitLift(node string, until time.Time) change {
	return change{events.RuleFailed, "wait until " + until.UTC().Format(time.RFC3339) + ", when " + node + " is tried again", "", priceWord, func(x *alteration) {
		if until.After(x.now) {
			x.now = until
		}
	}}
}

// labelLifts gives the node what the app's selectors want, or takes those selectors away that it does not meet.
func labelLifts(d demands, n *projections.Node, dropRules bool) (out []change) {
	name, node := d.app.Name, n.ID
	after := maps.Clone(n.Labels)
	if after == nil {
		after = map[string]string{}
	}
	for _, s := range d.selectors {
		if s.err == nil && s.sel.Matches(n.Labels) {
			continue
		}
		if dropRules || s.err != nil {
			out = append(out, change{events.RuleLabel, fmt.Sprintf("drop %q from require of %s", s.text, name), "", priceSpec, func(x *alteration) {
				x.app(name, func(a *projections.App) { a.Spec.Require = without(a.Spec.Require, s.text) })
			}})
			continue
		}
		for _, t := range s.sel.Terms() {
			if t.Matches(after) {
				continue
			}
			key, arg := t.Key, t.Key+"-"
			value, set := t.Satisfy()
			if set {
				arg = key + "=" + value
				after[key] = value
			} else {
				delete(after, key)
			}
			out = append(out, change{events.RuleLabel, fmt.Sprintf("label %s %s", node, arg), fmt.Sprintf("go-cluster node label %s %s", node, arg), priceLabel, func(x *alteration) {
				x.node(node, func(n *projections.Node) {
					n.Labels = spec.LabelChange{Set: given(set, key, value), Remove: gone(set, key)}.Apply(n.Labels)
				})
			}})
		}
	}
	return out
}

func given(set bool, key, value string) map[string]string {
	if set {
		return map[string]string{key: value}
	}
	return nil
}

func gone(set bool, key string) []string {
	if set {
		return nil
	}
	return []string{key}
}

// awayLifts lets the app share the node with those it keeps away from, or that keep away from it.
func (p *planner) awayLifts(a *projections.App, n *projections.Node) (out []change) {
	name := a.Name
	on := p.u.at(n.ID)
	for _, other := range sortedKeys(on.apps) {
		o := p.v.Apps[other]
		if o == nil || other == name || on.serving(other) == 0 || !slices.Contains(a.Spec.AwayFromApp, other) && !slices.Contains(o.Spec.AwayFromApp, name) {
			continue
		}
		out = append(out, change{events.RuleAwayFrom, fmt.Sprintf("let %s and %s share a node", name, other), "", priceSpec, func(x *alteration) {
			x.app(name, func(a *projections.App) { a.Spec.AwayFromApp = without(a.Spec.AwayFromApp, other) })
			x.app(other, func(a *projections.App) { a.Spec.AwayFromApp = without(a.Spec.AwayFromApp, name) })
		}})
	}
	return out
}
