package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

const (
	mostRejections = 200_000 // in one plan; then each pending instance names some nodes only
	someRejections = 20
	mostRelax      = 3       // for one instance
	mostTries      = 24      // plans made to try relaxations
	largeProblem   = 400_000 // nodes × tries and instances × tries that trying may cost
)

// explain lists the instances without a place, with every failing rule of every node and what would give them one.
func (pl *planner) explain() []snapshot.Pending {
	out := []snapshot.Pending{}
	total := 0
	tries := min(mostTries, max(mostRelax, largeProblem/max(1, len(pl.p.Nodes)+len(pl.p.Units))))
	relaxed := map[int32][]snapshot.Relaxation{} // by app: its instances differ little
	for _, u := range pl.pending {
		unit := &pl.p.Units[u]
		pd := snapshot.Pending{App: pl.p.Apps[unit.App].Name, Instance: unit.ID, Rejections: []events.Rejection{}, Relax: []snapshot.Relaxation{}}
		var all [][]events.Rejection
		for n := range pl.p.Nodes {
			if pl.p.Apps[unit.App].Fixed && int32(n) != unit.To {
				continue
			}
			all = append(all, pl.Reject(u, int32(n)))
		}
		for _, rs := range all {
			if total < mostRejections || len(pd.Rejections) < someRejections {
				pd.Rejections = append(pd.Rejections, rs...)
				total += len(rs)
			}
		}
		if had, ok := relaxed[unit.App]; ok {
			pd.Relax = had
		} else if !pl.trying {
			pd.Relax = pl.relax(u, all, &tries)
			relaxed[unit.App] = pd.Relax
		}
		out = append(out, pd)
	}
	return out
}

// Reject lists every rule by which the node does not take the unit.
func (pl *planner) Reject(u, n int32) (out []events.Rejection) {
	p, b := pl.p, pl.b
	unit, node := &p.Units[u], &p.Nodes[n]
	a := &p.Apps[unit.App]
	no := func(code, format string, args ...any) {
		out = append(out, events.Rejection{Node: node.ID, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	switch {
	case node.Status != "ready":
		no(events.RuleNotReady, "node is %s", node.Status)
	case node.Drain:
		no(events.RuleDraining, "draining")
	case !node.Open:
		no(events.RuleCordoned, "cordoned")
	}
	out = append(out, brokenRules(a, node)...)
	others := slices.Concat(b.units[n], b.ghosts[n])
	seen := map[int32]bool{}
	for _, o := range others {
		other := p.Units[o].App
		if o == u || seen[other] {
			continue
		}
		seen[other] = true
		switch {
		case other == unit.App:
			no(events.RuleOccupied, "an instance of %s is there or on its way", a.Name)
		case !b.together(unit.App, other):
			if slices.Contains(a.Spec.AwayFromApp, p.Apps[other].Name) {
				no(events.RuleAwayFrom, "%s keeps away from %s, which is there", a.Name, p.Apps[other].Name)
			} else {
				no(events.RuleAwayFrom, "%s, which is there, keeps away from %s", p.Apps[other].Name, a.Name)
			}
		}
	}
	for i, o := range a.With {
		if o == none || !b.hasApp(o, n) {
			no(events.RuleWith, "%s is not there", a.Spec.WithApp[i])
		}
	}
	for d, v := range unit.Demand {
		used := b.used[int(n)*b.dims+d]
		for _, g := range b.ghosts[n] {
			if p.Units[g].Moving {
				used += p.Units[g].Demand[d]
			}
		}
		if free := node.Cap[d] - used; v > 0 && v > free {
			no(p.Dims[d], "needs %s %s, %s of %s free", p.Dims[d], amount(v), amount(max(free, 0)), amount(node.Cap[d]))
		}
	}
	for i := range a.Spread {
		s := &a.Spread[i]
		switch v := s.Domain[n]; {
		case v == none:
			no(events.RuleSpread, "no label %s to spread over", s.Label)
		case !b.spreads(unit.App, i, n, none):
			no(events.RuleSpread, "%s=%s would have more than %d instances above the least", s.Label, node.Labels[s.Label], s.Skew)
		}
	}
	return out
}

// relax finds the smallest changes that would give a unit a place, by planning again with each: one node, the fewest rules.
func (pl *planner) relax(u int32, all [][]events.Rejection, tries *int) []snapshot.Relaxation {
	out := []snapshot.Relaxation{}
	type option struct {
		node  string
		codes []string
		rs    []events.Rejection
	}
	var options []option
	for _, rs := range all {
		if len(rs) == 0 {
			continue
		}
		o := option{node: rs[0].Node, rs: rs}
		for _, r := range rs {
			if !slices.Contains(o.codes, r.Code) {
				o.codes = append(o.codes, r.Code)
			}
		}
		if !slices.Contains(o.codes, events.RuleOccupied) {
			options = append(options, o)
		}
	}
	slices.SortStableFunc(options, func(x, y option) int {
		return cmp.Or(cmp.Compare(len(x.codes), len(y.codes)), cmp.Compare(len(x.rs), len(y.rs)))
	})
	for _, o := range options {
		if len(out) >= mostRelax || *tries <= 0 || len(out) > 0 && len(o.codes) > len(out[0].Codes) {
			break
		}
		*tries--
		if s, text := pl.altered(u, o.node, o.codes); s != nil && pl.placed(s, pl.p.Units[u].ID) {
			out = append(out, snapshot.Relaxation{Node: o.node, Codes: o.codes, Detail: text})
		}
	}
	return out
}

// placed plans again on an altered state and says whether the instance has a place then.
func (pl *planner) placed(s *snapshot.State, id string) bool {
	p, err := model.Compile(s)
	if err != nil {
		return false
	}
	again := compute(p, pl.r, true)
	return !slices.ContainsFunc(again.Pending, func(pd snapshot.Pending) bool { return pd.Instance == id })
}

// altered returns the state with some rules of the node and the unit's app no longer in the way, and the change in words.
func (pl *planner) altered(u int32, node string, codes []string) (*snapshot.State, string) {
	s := *pl.p.State
	s.Nodes, s.Apps = slices.Clone(s.Nodes), slices.Clone(s.Apps)
	n := &s.Nodes[slices.IndexFunc(s.Nodes, func(n snapshot.Node) bool { return n.ID == node })]
	at, _ := pl.p.NodeIndex(node)
	unit := &pl.p.Units[u]
	name := pl.p.Apps[unit.App].Name
	a := &s.Apps[slices.IndexFunc(s.Apps, func(a snapshot.App) bool { return a.Name == name })]
	var text string
	say := func(format string, args ...any) {
		if text != "" {
			text += ", and "
		}
		text += fmt.Sprintf(format, args...)
	}
	for _, code := range codes {
		switch code {
		case events.RuleNotReady:
			n.Status = ""
			say("bring %s back", node)
		case events.RuleCordoned:
			n.Scheduling = ""
			say("uncordon %s", node)
		case events.RuleDraining:
			n.Scheduling = ""
			say("end the drain of %s and uncordon it", node)
		case events.RuleOnNodes:
			a.OnNodes = append(slices.Clone(a.OnNodes), node)
			say("allow %s in on_nodes of %s", node, name)
		case events.RuleLabel:
			labels := maps.Clone(n.Labels)
			if labels == nil {
				labels = map[string]string{}
			}
			for _, req := range a.Require {
				sel, err := spec.ParseSelector(req)
				if err != nil {
					return nil, ""
				}
				for _, t := range sel.Terms() {
					if t.Matches(labels) {
						continue
					}
					if v, set := t.Satisfy(); set {
						labels[t.Key] = v
						say("label %s %s=%s", node, t.Key, v)
					} else {
						delete(labels, t.Key)
						say("label %s %s-", node, t.Key)
					}
				}
			}
			n.Labels = labels
		case events.RuleAwayFrom:
			for _, o := range slices.Concat(pl.b.units[at], pl.b.ghosts[at]) {
				other := &pl.p.Apps[pl.p.Units[o].App]
				if pl.p.Units[o].App == unit.App || pl.b.together(unit.App, pl.p.Units[o].App) {
					continue
				}
				a.AwayFromApp = slices.DeleteFunc(slices.Clone(a.AwayFromApp), func(x string) bool { return x == other.Name })
				i := slices.IndexFunc(s.Apps, func(x snapshot.App) bool { return x.Name == other.Name })
				s.Apps[i].AwayFromApp = slices.DeleteFunc(slices.Clone(s.Apps[i].AwayFromApp), func(x string) bool { return x == name })
				say("let %s and %s share a node", name, other.Name)
			}
		case events.RuleWith:
			a.WithApp = nil
			say("drop with_app of %s", name)
		case events.RuleSpread:
			a.SpreadOver = nil
			say("drop spread_over of %s", name)
		default: // a resource
			d := slices.Index(pl.p.Dims, code)
			if d < 0 {
				return nil, ""
			}
			need := pl.b.used[int(at)*pl.b.dims+d] + pl.b.ghost[int(at)*pl.b.dims+d] + unit.Demand[d]
			n.Capacity = maps.Clone(n.Capacity)
			n.Capacity[code] = snapshot.Amount(need)
			say("give %s %s %s more", node, amount(need-pl.p.Nodes[at].Cap[d]), code)
		}
	}
	return &s, text
}
