package check

import (
	"math/big"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// Useless lists the voluntary moves of a plan that can be left out, each alone, with nothing worse for it: no rule broken more, no preference
// lost, the counts no less even, and everything else still to be carried out in its wave. What moves on later could stay until it does, but for what
// was lost, which waits for nothing. Of moves within a band of evenness it says nothing: even is whether all of evenness was asked for.
func Useless(s *snapshot.State, p *snapshot.Plan, even bool) (out []Violation) {
	w, err := newWorld(s)
	if err != nil {
		return []Violation{{"", err.Error()}}
	}
	for i := range p.Moves {
		w.shift(p.Moves[i].Instance, p.Moves[i].App, p.Moves[i].To)
	}
	end := w.quality()
	for i := range p.Moves {
		m := &p.Moves[i]
		if m.From == "" || m.To == "" || m.Class == events.ClassRecovery {
			continue
		}
		rest := slices.Delete(slices.Clone(p.Moves), i, i+1)
		switch next := slices.IndexFunc(rest[i:], func(o snapshot.Move) bool { return o.Instance == m.Instance }); {
		case next >= 0:
			next += i
			if rest[next].From = m.From; rest[next].To == m.From {
				rest = slices.Delete(rest, next, next+1)
			}
			if w.breaksNothing(rest) {
				out = append(out, Violation{m.Instance, "its move from " + m.From + " to " + m.To + " can be left out: it moves on from there"})
			}
		case m.Class == events.ClassRepair || even && m.Class == events.ClassBalance:
			w.shift(m.Instance, m.App, m.From)
			if without := w.quality(); !without.worse(end) && w.breaksNothing(rest) {
				out = append(out, Violation{m.Instance, "its move from " + m.From + " to " + m.To + " can be left out with nothing worse"})
			}
			w.shift(m.Instance, m.App, m.To)
		}
	}
	return out
}

// breaksNothing says whether moves can be carried out in their waves on the state as it was.
func (w *world) breaksNothing(moves []snapshot.Move) bool {
	if !slices.ContainsFunc(moves, func(m snapshot.Move) bool { return len(m.After) > 0 }) {
		return true // in every order
	}
	begin, err := newWorld(w.s)
	if err != nil {
		return false
	}
	c := &checker{w: begin, p: &snapshot.Plan{Moves: moves}}
	c.carryOut()
	return len(c.out) == 0
}

// shift puts an instance on a node, "" for none.
func (w *world) shift(id, app, node string) {
	for _, there := range w.on {
		delete(there, id)
	}
	if node == "" {
		delete(w.ins, id)
		return
	}
	w.place(id, app, node)
}

// quality is how good a state is.
type quality struct {
	broken int              // rules that instances break; one of spread counts as often as members are too many
	over   snapshot.Amounts // by resource: what is overdrawn on all nodes
	points int              // of preference
	uneven *big.Rat         // Σ count²/weight
}

func (w *world) quality() quality {
	q := quality{over: snapshot.Amounts{}, uneven: new(big.Rat)}
	for id, in := range w.ins {
		n := w.nodes[w.heads(id)]
		if n == nil {
			continue
		}
		q.broken += len(w.wrong(id, n.ID, false))
		for _, p := range w.apps[in.App].Prefer {
			if p.Node == n.ID || p.Label != "" && labelled(n, p.Label) {
				q.points += p.Weight
			}
		}
	}
	for name := range w.apps {
		for _, s := range w.skews(name) {
			q.broken += s.beyond()
		}
	}
	count := map[string]int{}
	for id, there := range w.on {
		count[id] += len(there)
	}
	for _, m := range w.s.InFlight { // it counts where it goes
		if m.From != "" && m.To != "" && m.From != m.To {
			count[m.From]--
		}
	}
	for id, there := range w.on {
		n, used := w.nodes[id], snapshot.Amounts{}
		for in := range there {
			for k, v := range w.demand(in) {
				used[k] += v
			}
		}
		for k, v := range used {
			if c, limited := n.Capacity[k]; limited && v > c {
				q.over[k] += v - c
			}
		}
		q.uneven.Add(q.uneven, big.NewRat(int64(count[id]*count[id]), weight(n)))
	}
	return q
}

func labelled(n *snapshot.Node, label string) bool {
	for k, v := range n.Labels {
		if k+"="+v == label {
			return true
		}
	}
	return false
}

// worse says whether a state is worse in anything.
func (q quality) worse(than quality) bool {
	for k, v := range q.over {
		if v > than.over[k] {
			return true
		}
	}
	return q.broken > than.broken || q.points < than.points || q.uneven.Cmp(than.uneven) > 0
}
