package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// world is a state that moves are carried out on.
type world struct {
	s     *snapshot.State
	nodes map[string]*snapshot.Node
	apps  map[string]*snapshot.App
	rules map[string][]spec.Selector
	ins   map[string]*snapshot.Instance
	on    map[string]map[string]bool // node → instances that take room there, moves under way at both ends
	away  map[string]map[string]bool // app → apps it keeps away from, in both directions
}

func newWorld(s *snapshot.State) (*world, error) {
	w := &world{s: s, nodes: map[string]*snapshot.Node{}, apps: map[string]*snapshot.App{}, rules: map[string][]spec.Selector{}, ins: map[string]*snapshot.Instance{},
		on: map[string]map[string]bool{}, away: map[string]map[string]bool{}}
	for i := range s.Nodes {
		w.nodes[s.Nodes[i].ID] = &s.Nodes[i]
		w.on[s.Nodes[i].ID] = map[string]bool{}
	}
	for i := range s.Apps {
		a := &s.Apps[i]
		w.apps[a.Name] = a
		for _, text := range a.Require {
			sel, err := spec.ParseSelector(text)
			if err != nil {
				return nil, fmt.Errorf("app %s: %w", a.Name, err)
			}
			w.rules[a.Name] = append(w.rules[a.Name], sel)
		}
		for _, o := range a.AwayFromApp {
			w.keepAway(a.Name, o)
			w.keepAway(o, a.Name)
		}
	}
	for i := range s.Instances {
		in := s.Instances[i]
		w.ins[in.ID] = &in
		if in.Node != "" {
			w.on[in.Node][in.ID] = true
		}
	}
	for _, m := range s.InFlight {
		for _, n := range []string{m.From, m.To} {
			if n != "" {
				w.on[n][m.Instance] = true
			}
		}
	}
	return w, nil
}

func (w *world) keepAway(a, b string) {
	if w.away[a] == nil {
		w.away[a] = map[string]bool{}
	}
	w.away[a][b] = true
}

func (w *world) demand(id string) snapshot.Amounts {
	in := w.ins[id]
	if in == nil {
		return nil
	}
	if in.Demand != nil {
		return in.Demand
	}
	return w.apps[in.App].Resources
}

// allowed says whether the rules that concern an app and a node alone hold.
func (w *world) allowed(app string, n *snapshot.Node) bool {
	a := w.apps[app]
	for _, sel := range w.rules[app] {
		if !sel.Matches(n.Labels) {
			return false
		}
	}
	return len(a.OnNodes) == 0 || slices.Contains(a.OnNodes, n.ID)
}

// open says whether a node takes instances.
func open(n *snapshot.Node) bool {
	return (n.Status == "" || n.Status == "ready") && (n.Scheduling == "" || n.Scheduling == "schedulable")
}

// weight is a node's share of the load, in thousandths.
func weight(n *snapshot.Node) int64 {
	if n.Weight > 0 {
		return int64(n.Weight)
	}
	return 1000
}

// leaves says whether everything has to leave a node.
func leaves(n *snapshot.Node) bool {
	return n.Status == "lost" || n.Status == "left" || n.Scheduling == "draining" && (n.Status == "" || n.Status == "ready")
}

// wrong lists what is wrong with an instance on a node beside what is there now. follows allows that the apps it has to be with come later.
func (w *world) wrong(id, node string, follows bool) (out []string) {
	in, n := w.ins[id], w.nodes[node]
	if n == nil {
		return []string{"no node " + node}
	}
	if !open(n) {
		out = append(out, node+" takes nothing")
	}
	if !w.allowed(in.App, n) {
		out = append(out, "the labels or on_nodes do not allow it")
	}
	used := snapshot.Amounts{}
	with := map[string]bool{}
	for o := range w.on[node] {
		other := w.ins[o]
		for k, v := range w.demand(o) {
			if o != id {
				used[k] += v
			}
		}
		if o == id {
			continue
		}
		with[other.App] = with[other.App] || !w.departs(o, node)
		if other.App == in.App {
			out = append(out, o+" of the same app is there")
		}
		if w.away[in.App][other.App] {
			out = append(out, o+" is there, which it keeps away from")
		}
	}
	for k, v := range w.demand(id) {
		if c, limited := n.Capacity[k]; limited && v > 0 && used[k]+v > c {
			out = append(out, fmt.Sprintf("%s: %s + %s of %s", k, used[k], v, c))
		}
	}
	for _, o := range w.apps[in.App].WithApp {
		if !with[o] && !follows {
			out = append(out, o+" is not there")
		}
	}
	return out
}

// heads is the node where an instance is, or where it goes; "" for nowhere.
func (w *world) heads(id string) string {
	for _, m := range w.s.InFlight {
		if m.Instance == id {
			return m.To
		}
	}
	return w.ins[id].Node
}

// departs says whether an instance is on its way from a node: nobody is with it there.
func (w *world) departs(id, node string) bool {
	return slices.ContainsFunc(w.s.InFlight, func(m snapshot.InFlight) bool { return m.Instance == id && m.From == node && m.To != node })
}

// skew is a spread rule that an app breaks.
type skew struct {
	label          string
	low, high, max int // members on the values that have the fewest and the most, and by how many they may differ
}

func (s skew) String() string {
	return fmt.Sprintf("%s: from %d to %d, skew %d", s.label, s.low, s.high, s.max)
}

// beyond is by how many members more than it may the rule is broken.
func (s skew) beyond() int { return s.high - s.low - s.max }

// skews lists the spread rules that the app breaks in the present state.
func (w *world) skews(app string) (out []skew) {
	for _, so := range w.apps[app].SpreadOver {
		count := map[string]int{}
		for i := range w.s.Nodes {
			if v, has := w.s.Nodes[i].Labels[so.Label]; has && open(&w.s.Nodes[i]) && w.allowed(app, &w.s.Nodes[i]) {
				count[v] += 0
			}
		}
		for id, in := range w.ins {
			if in.App != app {
				continue
			}
			if n := w.nodes[w.heads(id)]; n != nil && !leaves(n) {
				if v, has := n.Labels[so.Label]; has {
					count[v]++
				}
			}
		}
		low, high := 1<<30, 0
		for _, c := range count {
			low, high = min(low, c), max(high, c)
		}
		if len(count) > 0 && high-low > so.MaxSkew {
			out = append(out, skew{so.Label, low, high, so.MaxSkew})
		}
	}
	return out
}

func (w *world) place(id, app, node string) {
	if w.ins[id] == nil {
		w.ins[id] = &snapshot.Instance{ID: id, App: app}
	}
	w.ins[id].Node = node
	w.on[node][id] = true
}

func join(list []string) string { return strings.Join(list, "; ") }
