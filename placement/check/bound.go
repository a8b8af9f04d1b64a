package check

import (
	"fmt"
	"math/big"

	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// Bound recomputes from a certificate how many moves a plan that is as good as this one needs at least, and returns an error when the
// plan claims more. It is weak duality: whatever the potentials are, the number is a bound; good ones make it large.
//
// Each app has units of which each goes to one allowed node, at most one to a node, for 1 off the present nodes. With prices α of an
// app and ν of a node every assignment costs at least Σ units·α + Σ min(0, cost − α + ν) + Σ min over loads L of (f(L) − ν·L). Prices are
// pairs, Σ count²/weight first and moves second, compared in that order.
func Bound(s *snapshot.State, p *snapshot.Plan, c *snapshot.Certificate) error {
	w, err := newWorld(s)
	if err != nil {
		return err
	}
	least := w.forced(p, func(*snapshot.Move) bool { return true }) + w.excess() // what has to be needs no certificate
	if len(c.Node) > 0 {
		counted, err := dual(s, p, c)
		if err != nil {
			return err
		}
		least = max(least, counted+w.forced(p, func(m *snapshot.Move) bool { return c.Pinned[m.Instance] || m.To == "" }))
	}
	if p.Bound.MinMoves > least {
		return fmt.Errorf("the bound is said to be %d, its certificate proves %d", p.Bound.MinMoves, least)
	}
	return nil
}

// pair is a lexicographic price: balance first, then moves × unit.
type pair struct {
	even *big.Rat
	move int64
}

func (x pair) sign() int {
	if s := x.even.Sign(); s != 0 {
		return s
	}
	switch {
	case x.move < 0:
		return -1
	case x.move > 0:
		return 1
	}
	return 0
}

func dual(s *snapshot.State, p *snapshot.Plan, c *snapshot.Certificate) (int, error) {
	w, err := newWorld(s)
	if err != nil {
		return 0, err
	}
	unit := max(c.Unit, 1)
	takes := func(id string) bool { return !c.Pinned[id] }
	flying := map[string]snapshot.InFlight{}
	for _, m := range s.InFlight {
		flying[m.Instance] = m
	}
	fixed, units := map[string]int{}, map[string]int{} // by node; by app
	home, blocked := map[[2]string]bool{}, map[[2]string]bool{}
	fixedUse := map[string]snapshot.Amounts{}
	block := func(app, node, id string) {
		blocked[[2]string{app, node}] = true
		if fixedUse[node] == nil {
			fixedUse[node] = snapshot.Amounts{}
		}
		for k, v := range w.demand(id) {
			fixedUse[node][k] += v
		}
	}
	stopped, moved := map[string]bool{}, map[string]bool{}
	for _, m := range p.Moves {
		stopped[m.Instance], moved[m.Instance] = m.To == "", true
	}
	for _, pd := range p.Pending {
		moved[pd.Instance] = true // it is nowhere
	}
	var same snapshot.Amounts
	equal := true
	for i := range s.Instances {
		in := &s.Instances[i]
		if m, ok := flying[in.ID]; ok {
			if m.To != "" {
				fixed[m.To]++
			}
			for _, n := range []string{m.From, m.To} {
				if n != "" {
					block(in.App, n, in.ID)
				}
			}
			continue
		}
		n := w.nodes[in.Node]
		if !takes(in.ID) {
			if n != nil && !stopped[in.ID] && !moved[in.ID] {
				fixed[in.Node]++
				block(in.App, in.Node, in.ID)
			}
			continue
		}
		units[in.App]++
		if same == nil {
			same = w.demand(in.ID)
			if same == nil {
				same = snapshot.Amounts{}
			}
		}
		for k := range union(same, w.demand(in.ID)) {
			equal = equal && same[k] == w.demand(in.ID)[k]
		}
		if n != nil && open(n) && w.allowed(in.App, n) && !blocked[[2]string{in.App, in.Node}] {
			home[[2]string{in.App, in.Node}] = true
		}
	}
	for _, m := range p.Moves { // what is missing and starts
		if w.ins[m.Instance] == nil {
			if c.Pinned[m.Instance] {
				continue
			}
			units[m.App]++
			r := w.apps[m.App].Resources
			if same == nil {
				same = snapshot.Amounts{}
			}
			for k := range union(same, r) {
				equal = equal && same[k] == r[k]
			}
		}
	}
	for _, pd := range p.Pending {
		if w.ins[pd.Instance] != nil && takes(pd.Instance) && units[pd.App] > 0 {
			units[pd.App]-- // the bound is for plans that leave the same without a place
		}
	}
	differ := false
	for i := range s.Apps {
		differ = differ || len(s.Apps[i].Prefer) > 0 || price(&s.Apps[i]) != price(&s.Apps[0])
	}
	even, move := new(big.Rat), int64(0)
	add := func(x pair, times int64) {
		even.Add(even, new(big.Rat).Mul(x.even, new(big.Rat).SetInt64(times)))
		move += x.move * times
	}
	level := func(l snapshot.Level) *big.Rat {
		if l.Den == 0 {
			return new(big.Rat).SetInt64(1 << 40)
		}
		return big.NewRat(l.Num, l.Den)
	}
	zero := new(big.Rat)
	appPrice, nodePrice := map[string]pair{}, map[string]pair{}
	for i := range s.Apps {
		name := s.Apps[i].Name
		x := pair{zero, -c.App[name]}
		if !c.Band {
			x.even = level(c.AppOf[name])
		}
		appPrice[name] = x
		add(x, int64(units[name]))
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if !open(n) {
			continue
		}
		nu := pair{zero, -c.Node[n.ID]}
		if !c.Band {
			nu.even = level(c.Level[n.ID])
		}
		nodePrice[n.ID] = nu
		most := len(s.Instances) + len(p.Moves)
		if equal {
			for k, v := range same {
				if limit, limited := n.Capacity[k]; limited && v > 0 {
					most = min(most, fixed[n.ID]+int(max(limit-fixedUse[n.ID][k], 0)/v))
				}
			}
		}
		lo, hi := fixed[n.ID], max(most, fixed[n.ID])
		if c.Band {
			lo, hi = max(lo, int(c.Lo[n.ID])), min(hi, int(c.Hi[n.ID]))
			hi = max(hi, lo)
		}
		add(least(nu, lo, hi, fixed[n.ID], weight(n), c.Band), 1)
	}
	// An app and a node: it pays to put one there only where the price of the app exceeds cost and price of the node.
	for i := range s.Apps {
		a := &s.Apps[i]
		if units[a.Name] == 0 {
			continue
		}
		best := int64(0)
		if differ && len(a.Prefer) > 0 {
			best = -1 << 40
			for j := range s.Nodes {
				best = max(best, points(a, &s.Nodes[j]))
			}
		}
		for j := range s.Nodes {
			n := &s.Nodes[j]
			nu, isOpen := nodePrice[n.ID]
			if !isOpen || blocked[[2]string{a.Name, n.ID}] || !w.allowed(a.Name, n) {
				continue
			}
			cost := int64(0)
			if differ && len(a.Prefer) > 0 {
				cost += best - points(a, n)
			}
			if !home[[2]string{a.Name, n.ID}] {
				cost += unit
				if differ {
					cost += 25 * price(a)
				}
			}
			al := appPrice[a.Name]
			x := pair{nu.even, cost - al.move + nu.move}
			if !c.Band {
				x.even = new(big.Rat).Sub(nu.even, al.even)
			}
			if x.sign() < 0 {
				add(x, 1)
			}
		}
	}
	if !c.Band { // the plan's own Σ count²/weight has to be the least, else the number says nothing about it
		if got := sum(w, p, weight); even.Cmp(got) > 0 {
			return 0, fmt.Errorf("the certificate proves Σ count²/weight ≥ %s, the plan has %s", even.FloatString(6), got.FloatString(6))
		} else if even.Cmp(got) < 0 {
			return 0, nil
		}
	}
	return int(floorDiv(move, unit)), nil
}

// least is the least of f(L) − ν·(L − fixed) over the loads that a node may have, where f is Σ L²/weight, or 0 with a band.
func least(nu pair, lo, hi, fixed int, weight int64, band bool) pair {
	at := func(load int) pair {
		x := pair{new(big.Rat), -nu.move * int64(load-fixed)}
		if !band {
			x.even.Mul(nu.even, new(big.Rat).SetInt64(int64(load-fixed)))
			x.even.Neg(x.even)
			x.even.Add(x.even, big.NewRat(int64(load)*int64(load), weight))
		}
		return x
	}
	if band {
		x, y := at(lo), at(hi)
		if y.move < x.move {
			return y
		}
		return x
	}
	for lo < hi { // convex: the first load after which one more does not pay
		mid := (lo + hi) / 2
		a, b := at(mid), at(mid+1)
		d := pair{new(big.Rat).Sub(b.even, a.even), b.move - a.move}
		if d.sign() < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return at(lo)
}

// sum is Σ count²/weight over the open nodes once the plan is carried out.
func sum(w *world, p *snapshot.Plan, weight func(*snapshot.Node) int64) *big.Rat {
	at := map[string]string{}
	for id, in := range w.ins {
		at[id] = in.Node
	}
	for _, m := range w.s.InFlight {
		at[m.Instance] = m.To
	}
	for _, m := range p.Moves {
		at[m.Instance] = m.To
	}
	count := map[string]int64{}
	for _, n := range at {
		count[n]++
	}
	byWeight := map[int64]int64{}
	for i := range w.s.Nodes {
		if n := &w.s.Nodes[i]; open(n) {
			byWeight[weight(n)] += count[n.ID] * count[n.ID]
		}
	}
	total := new(big.Rat)
	for wt, squares := range byWeight {
		total.Add(total, big.NewRat(squares, wt))
	}
	return total
}

func price(a *snapshot.App) int64 {
	switch {
	case a.MoveCost != nil:
		return int64(*a.MoveCost)
	case a.Migration.MoveCost > 0:
		return int64(a.Migration.MoveCost)
	}
	return 1
}

func points(a *snapshot.App, n *snapshot.Node) (sum int64) {
	for _, p := range a.Prefer {
		weight := int64(p.Weight)
		if weight == 0 {
			weight = 50
		}
		if p.Node != "" && p.Node == n.ID {
			sum += weight
		} else if p.Node == "" {
			if sel, err := spec.ParseSelector(p.Label); err == nil && sel.Matches(n.Labels) {
				sum += weight
			}
		}
	}
	return sum
}

func union(a, b snapshot.Amounts) map[string]bool {
	out := map[string]bool{}
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

func floorDiv(x, y int64) int64 {
	q := x / y
	if x%y != 0 && (x < 0) != (y < 0) {
		q--
	}
	return q
}
