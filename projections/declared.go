package projections

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// What programs declare: apps, and the policy under the name "". Of several declarations of one thing that one is in force which
// was seen first latest, among those of ready nodes: a new release of a program wins over an old one that still runs, whichever of
// them joins last. With no ready node left the last one stays.

// Declaration is what a program on a node declares of one app, or of the policy. Which field is set tells.
type Declaration struct {
	Hash   string
	App    *spec.App
	Policy *spec.Policy
	First  Cause    // the event that carried it first
	Nodes  []string // ready ones whose programs declare it, in order
}

// policyName is the key of the policy among the declarations; no app has it.
const policyName = ""

// HashDeclaration names a declared spec or policy by its content.
func HashDeclaration(what any) string {
	b, err := json.Marshal(what, json.Deterministic(true))
	if err != nil {
		return "" // what was decoded encodes: cannot happen
	}
	return events.Derive("declaration", string(b))
}

// declarations lists what a node's program declares, by name.
func declarations(f events.Facts) map[string]Declaration {
	if len(f.Apps) == 0 && f.Policy == nil {
		return nil
	}
	out := map[string]Declaration{}
	for i := range f.Apps {
		a := f.Apps[i].WithDefaults()
		out[a.Name] = Declaration{Hash: HashDeclaration(a), App: &a}
	}
	if f.Policy != nil {
		p := f.Policy.WithDefaults()
		out[policyName] = Declaration{Hash: HashDeclaration(p), Policy: &p}
	}
	return out
}

// declare notes what an event declares that no event declared before.
func (c *Cluster) declare(e *events.Event, n *Node, f events.Facts) {
	for name := range n.declares {
		if delete(c.declarers[name], n.ID); len(c.declarers[name]) == 0 {
			delete(c.declarers, name)
		}
	}
	n.declares = declarations(f)
	for name, d := range n.declares {
		if c.declarers[name] == nil {
			c.declarers[name] = map[string]bool{}
		}
		c.declarers[name][n.ID] = true
		if c.declared[name] == nil {
			c.declared[name] = map[string]Cause{}
		}
		if _, seen := c.declared[name][d.Hash]; !seen {
			c.declared[name][d.Hash] = causeOf(e)
		}
	}
}

// forgetDeclarations is called when an app is removed: who declares it again declares it anew.
func (c *Cluster) forgetDeclarations(app string) { delete(c.declared, app) }

// DeclaredNames lists what ready nodes declare: apps in order, and "" for the policy.
func (c *Cluster) DeclaredNames() []string {
	var names []string
	for name, nodes := range c.declarers {
		for id := range nodes {
			if n := c.Nodes[id]; n != nil && n.Status == StatusReady {
				names = append(names, name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// Declarations lists what ready nodes declare of an app, or of the policy under the name "", the one in force first.
func (c *Cluster) Declarations(name string) []Declaration {
	byHash := map[string]*Declaration{}
	for _, id := range slices.Sorted(maps.Keys(c.declarers[name])) {
		n := c.Nodes[id]
		if n == nil || n.Status != StatusReady {
			continue
		}
		d := n.declares[name]
		if byHash[d.Hash] == nil {
			d.First = c.declared[name][d.Hash]
			byHash[d.Hash] = &d
		}
		byHash[d.Hash].Nodes = append(byHash[d.Hash].Nodes, n.ID)
	}
	out := make([]Declaration, 0, len(byHash))
	for _, d := range byHash {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(x, y Declaration) int {
		if x.First.Seq != y.First.Seq {
			return int(y.First.Seq) - int(x.First.Seq)
		}
		return strings.Compare(x.Hash, y.Hash)
	})
	return out
}

func sameNames(x, y []spec.App) bool {
	return slices.EqualFunc(x, y, func(a, b spec.App) bool { return a.Name == b.Name })
}

// DeclarationViews shows what programs declare of an app, or of the policy under the name "", and which hash of them is in force.
func DeclarationViews(c *Cluster, name, inForce string) []api.DeclarationView {
	var out []api.DeclarationView
	for _, d := range c.Declarations(name) {
		out = append(out, api.DeclarationView{Hash: d.Hash, Nodes: d.Nodes, Seq: d.First.Seq, InForce: d.Hash == inForce, App: d.App, Policy: d.Policy})
	}
	return out
}

// PolicyFrom says who the policy in force is by: an actor, or the agent whose program declared it.
func (c *Cluster) PolicyFrom() string {
	if first, known := c.declared[policyName][c.PolicyDecl]; known {
		return first.Actor
	}
	return c.PolicyBy.Actor
}
