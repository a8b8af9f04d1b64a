package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// fates says what becomes of each standby once a plan has been carried out, by id.
func fates(p *model.Problem, plan *snapshot.Plan) []snapshot.Standby {
	w := wake(p, plan)
	var out []snapshot.Standby
	for _, st := range slices.SortedFunc(slices.Values(p.State.Standbys), func(x, y snapshot.Instance) int { return cmp.Compare(x.ID, y.ID) }) {
		f := snapshot.Standby{Instance: st.ID, App: st.App, Node: st.Node}
		f.Fate, f.Why = w.fate(st)
		out = append(out, f)
	}
	return out
}

// afterwards is where everything is once a plan has been carried out.
type afterwards struct {
	p     *model.Problem
	moved map[string]snapshot.Move // app → the last move of its instance
	on    map[int32][]int32        // node → apps
	used  map[int32][]int64        // node → what they and the standbys so far take
}

func wake(p *model.Problem, plan *snapshot.Plan) *afterwards {
	w := &afterwards{p: p, moved: map[string]snapshot.Move{}, on: map[int32][]int32{}, used: map[int32][]int64{}}
	goes := map[string]string{}
	for _, m := range plan.Moves {
		w.moved[m.App], goes[m.Instance] = m, m.To
	}
	for i := range p.Units {
		u := &p.Units[i]
		at := u.At()
		if to, moves := goes[u.ID]; moves {
			at, _ = p.NodeIndex(to)
			if to == "" {
				at = none
			}
		}
		if at != none && (!u.New || goes[u.ID] != "") {
			w.on[at] = append(w.on[at], u.App)
			w.take(at, u.Demand)
		}
	}
	return w
}

func (w *afterwards) take(n int32, demand []int64) {
	if w.used[n] == nil {
		w.used[n] = make([]int64, len(w.p.Dims))
	}
	for d, v := range demand {
		w.used[n][d] += v
	}
}

// fate says what becomes of one standby, and why it does not stay.
func (w *afterwards) fate(st snapshot.Instance) (fate, why string) {
	app, _ := w.p.AppIndex(st.App)
	at, _ := w.p.NodeIndex(st.Node)
	a, n := &w.p.Apps[app], &w.p.Nodes[at]
	m, moves := w.moved[st.App]
	switch broken := brokenRules(a, n); {
	case moves && m.To == st.Node && m.From == "":
		return snapshot.FateServes, m.Instance + " goes on there"
	case moves && m.To == st.Node:
		from, _ := w.p.NodeIndex(m.From)
		if !w.p.Eligible(app, from) {
			return snapshot.FateServes, m.Instance + " goes on there, and none stays on " + m.From
		}
		return snapshot.FateServes, m.Instance + " goes on there, and a standby stays on " + m.From
	case a.Mode != spec.Singleton:
		return snapshot.FateEnds, a.Name + " is removed"
	case n.Drain:
		return snapshot.FateEnds, n.ID + " is draining"
	case n.Leave:
		return snapshot.FateEnds, "node " + n.ID + " is " + n.Status
	case len(broken) > 0:
		return snapshot.FateEnds, details(broken)
	}
	for _, o := range w.on[at] {
		if slices.Contains(a.Away, o) {
			return snapshot.FateEnds, w.p.Apps[o].Name + " is there, which it keeps away from"
		}
	}
	demand := st.Demand
	if demand == nil {
		demand = a.Spec.Resources
	}
	need := make([]int64, len(w.p.Dims))
	state := &w.p.State.Nodes[slices.IndexFunc(w.p.State.Nodes, func(o snapshot.Node) bool { return o.ID == n.ID })]
	for d, dim := range w.p.Dims {
		need[d] = int64(demand[dim])
		used := int64(0)
		if w.used[at] != nil {
			used = w.used[at][d]
		}
		if c, limited := state.Capacity[dim]; limited && need[d] > 0 && used+need[d] > int64(c) {
			return snapshot.FateEnds, fmt.Sprintf("it gives way: %s %s of %s are taken without it, and it holds %s", amount(used), dim, amount(int64(c)), amount(need[d]))
		}
	}
	w.take(at, need)
	return snapshot.FateStays, ""
}
