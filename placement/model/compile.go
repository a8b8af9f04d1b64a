package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// Compile numbers everything. The state must be valid.
func Compile(s *snapshot.State) (*Problem, error) {
	p := &Problem{State: s, Now: s.Now, nodeOf: make(map[string]int32, len(s.Nodes)), appOf: make(map[string]int32, len(s.Apps)), domains: map[string]map[string]int32{}}
	if s.Policy != nil {
		p.Policy = *s.Policy
	}
	p.Policy = p.Policy.WithDefaults()
	p.findDims(s)
	p.addNodes(s)
	if err := p.addApps(s); err != nil {
		return nil, err
	}
	if err := p.addUnits(s); err != nil {
		return nil, err
	}
	p.addStandbys(s)
	p.complete()
	return p, nil
}

// findDims collects the resources that can be short: demanded by something and limited somewhere.
func (p *Problem) findDims(s *snapshot.State) {
	wanted, limited := map[string]bool{}, map[string]bool{}
	for i := range s.Apps {
		for k, v := range s.Apps[i].Resources {
			wanted[k] = wanted[k] || v > 0
		}
	}
	for i := range s.Instances {
		for k, v := range s.Instances[i].Demand {
			wanted[k] = wanted[k] || v > 0
		}
	}
	for i := range s.Nodes {
		for k := range s.Nodes[i].Capacity {
			limited[k] = true
		}
	}
	for k := range wanted {
		if wanted[k] && limited[k] {
			p.Dims = append(p.Dims, k)
		}
	}
	slices.Sort(p.Dims)
}

func (p *Problem) addNodes(s *snapshot.State) {
	order := make([]int32, len(s.Nodes))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int { return strings.Compare(s.Nodes[x].ID, s.Nodes[y].ID) })
	p.Nodes = make([]Node, 0, len(s.Nodes))
	for _, i := range order {
		sn := &s.Nodes[i]
		n := Node{ID: sn.ID, Labels: sn.Labels, Status: sn.Status, Weight: int64(sn.Weight), Load: sn.Load}
		if n.Status == "" {
			n.Status = api.NodeReady
		}
		if n.Weight == 0 {
			n.Weight = 1000
		}
		n.Drain = sn.Scheduling == api.Draining
		n.Open = n.Status == api.NodeReady && (sn.Scheduling == "" || sn.Scheduling == api.Schedulable)
		n.Leave = n.Status == api.NodeIsLost || n.Status == api.NodeHasLeft || n.Drain && n.Status == api.NodeReady
		for _, d := range p.Dims {
			if c, ok := sn.Capacity[d]; ok {
				n.Cap = append(n.Cap, int64(c))
			} else {
				n.Cap = append(n.Cap, Unlimited)
			}
		}
		p.nodeOf[n.ID] = int32(len(p.Nodes))
		p.Nodes = append(p.Nodes, n)
	}
}

func (p *Problem) vector(a snapshot.Amounts) []int64 {
	v := make([]int64, len(p.Dims))
	for i, d := range p.Dims {
		v[i] = int64(a[d])
	}
	return v
}

func (p *Problem) addApps(s *snapshot.State) error {
	order := make([]int32, len(s.Apps))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int { return strings.Compare(s.Apps[x].Name, s.Apps[y].Name) })
	for at, i := range order {
		p.appOf[s.Apps[i].Name] = int32(at)
	}
	require := make([][]spec.Selector, len(order))
	named := map[string]bool{} // nodes that some app names
	keys := map[string]bool{}
	for at, i := range order {
		sa := &s.Apps[i]
		a := App{Name: sa.Name, Mode: sa.Mode, Spec: sa, MoveCost: 1, Demand: p.vector(sa.Resources), Fixed: sa.Mode == spec.Spread}
		switch {
		case sa.MoveCost != nil:
			a.MoveCost = int32(*sa.MoveCost)
		case sa.Migration.MoveCost > 0:
			a.MoveCost = int32(sa.Migration.MoveCost)
		}
		a.Excluded = slices.Contains(p.Policy.AutoRebalance.ExcludeApps, a.Name)
		for _, text := range sa.Require {
			sel, err := spec.ParseSelector(text)
			if err != nil {
				return fmt.Errorf("app %s: require %q: %w", a.Name, text, err)
			}
			require[at] = append(require[at], sel)
			for _, t := range sel.Terms() {
				keys[t.Key] = true
			}
		}
		for _, pr := range sa.Prefer {
			if k, _, ok := strings.Cut(pr.Label, "="); ok {
				keys[k] = true
			}
			named[pr.Node] = true
		}
		for _, n := range sa.OnNodes {
			named[n] = true
		}
		p.Apps = append(p.Apps, a)
	}
	for k := range keys {
		p.keys = append(p.keys, k)
	}
	slices.Sort(p.keys)
	reps := p.groupNodes(named)
	words := (p.Groups + 63) / 64
	type rules struct {
		require, onNodes, prefer string
	}
	seen := map[rules]*App{} // apps with the same rules share their sets
	for at := range p.Apps {
		a := &p.Apps[at]
		key := rules{strings.Join(a.Spec.Require, "\x00"), strings.Join(a.Spec.OnNodes, "\x00"), fmt.Sprint(a.Spec.Prefer)}
		if first := seen[key]; first != nil {
			a.Allowed, a.Pref = first.Allowed, first.Pref
		} else {
			a.Allowed = make([]uint64, words)
			for g := range p.Groups {
				if p.allows(a, require[at], &p.Nodes[reps[g]]) {
					a.Allowed[g>>6] |= 1 << (g & 63)
				}
			}
			if len(a.Spec.Prefer) > 0 {
				a.Pref = make([]int32, p.Groups)
				for g := range a.Pref {
					a.Pref[g] = points(a.Spec.Prefer, &p.Nodes[reps[g]])
				}
			}
			seen[key] = a
		}
		for _, so := range a.Spec.SpreadOver {
			sp := p.spread(so)
			for n := range p.Nodes {
				if d := sp.Domain[n]; d != None && p.Nodes[n].Open && a.Allows(p.Nodes[n].Group) {
					sp.Takes[d] = true
				}
			}
			a.Spread = append(a.Spread, sp)
		}
		for _, name := range a.Spec.WithApp {
			if o, ok := p.appOf[name]; ok {
				a.With = append(a.With, o)
			} else {
				a.With = append(a.With, None)
			}
		}
		for _, name := range a.Spec.AwayFromApp {
			if o, ok := p.appOf[name]; ok && o != int32(at) {
				a.Away = append(a.Away, o)
				p.Apps[o].Away = append(p.Apps[o].Away, int32(at))
			}
		}
	}
	for at := range p.Apps {
		a := &p.Apps[at]
		slices.Sort(a.Away)
		a.Away = slices.Compact(a.Away)
	}
	return nil
}

// groupNodes gives one number to all nodes that no rule tells apart, and returns a node of each group. named are those that some app names.
func (p *Problem) groupNodes(named map[string]bool) (reps []int32) {
	groups := map[string]int32{} // by what rules can tell of a node
	var b []byte
	for i := range p.Nodes {
		n := &p.Nodes[i]
		b = b[:0]
		for _, k := range p.keys {
			if v, ok := n.Labels[k]; ok {
				b = strconv.AppendInt(b, int64(len(v)), 10)
				b = append(b, ':')
				b = append(b, v...)
			} else {
				b = append(b, '-')
			}
		}
		if named[n.ID] {
			b = append(append(b, '@'), n.ID...)
		}
		g, ok := groups[string(b)]
		if !ok {
			g = int32(len(reps))
			groups[string(b)] = g
			reps = append(reps, int32(i))
		}
		n.Group = g
	}
	p.Groups = len(reps)
	return reps
}

func (p *Problem) allows(a *App, require []spec.Selector, n *Node) bool {
	for _, sel := range require {
		if !sel.Matches(n.Labels) {
			return false
		}
	}
	return len(a.Spec.OnNodes) == 0 || slices.Contains(a.Spec.OnNodes, n.ID)
}

const defaultWeight = 50

func points(prefer []spec.Preference, n *Node) (sum int32) {
	for _, pr := range prefer {
		w := int32(pr.Weight)
		if w == 0 {
			w = defaultWeight
		}
		if pr.Node != "" {
			if pr.Node == n.ID {
				sum += w
			}
		} else if k, v, _ := strings.Cut(pr.Label, "="); n.Labels[k] == v {
			if _, has := n.Labels[k]; has {
				sum += w
			}
		}
	}
	return sum
}

func (p *Problem) spread(so spec.SpreadOver) Spread {
	s := Spread{Label: so.Label, Skew: so.MaxSkew, Domain: make([]int32, len(p.Nodes))}
	values := p.domains[so.Label]
	if values == nil {
		values = map[string]int32{}
		for i := range p.Nodes {
			if v, ok := p.Nodes[i].Labels[so.Label]; ok {
				if _, seen := values[v]; !seen {
					values[v] = int32(len(values))
				}
			}
		}
		p.domains[so.Label] = values
	}
	for i := range p.Nodes {
		s.Domain[i] = None
		if v, ok := p.Nodes[i].Labels[so.Label]; ok {
			s.Domain[i] = values[v]
		}
	}
	s.Count, s.Takes = len(values), make([]bool, len(values))
	return s
}

func (p *Problem) addUnits(s *snapshot.State) error {
	p.Units = make([]Unit, 0, len(s.Instances))
	for i := range s.Instances {
		in := &s.Instances[i]
		app, ok := p.appOf[in.App]
		if !ok {
			return fmt.Errorf("instance %s: no app %s", in.ID, in.App)
		}
		u := Unit{ID: in.ID, App: app, Node: p.node(in.Node), To: None, Source: None, MovedAt: in.MovedAt, From: p.node(in.From), Demand: p.Apps[app].Demand}
		if in.Demand != nil {
			u.Demand = p.vector(in.Demand)
		}
		p.Units = append(p.Units, u)
	}
	if len(s.InFlight) > 0 {
		byID := make(map[string]int, len(p.Units))
		for i := range p.Units {
			byID[p.Units[i].ID] = i
		}
		for _, m := range s.InFlight {
			u := &p.Units[byID[m.Instance]]
			u.Moving, u.Source, u.To = true, p.node(m.From), p.node(m.To)
		}
	}
	p.sortUnits()
	for i := range p.Units {
		a := &p.Apps[p.Units[i].App]
		a.Units = append(a.Units, int32(i))
	}
	return nil
}

// addStandbys takes the room that standbys hold from what nodes have, but for those of an app whose instance has to leave: that one is who
// the room is held for.
func (p *Problem) addStandbys(s *snapshot.State) {
	for i := range s.Standbys {
		n, known := p.nodeOf[s.Standbys[i].Node]
		app, declared := p.appOf[s.Standbys[i].App]
		if !known || !declared {
			continue
		}
		a := &p.Apps[app]
		a.Standbys = append(a.Standbys, n)
		if len(a.Units) == 0 || p.Units[a.Units[0]].Node == None || !p.MayStay(app, p.Units[a.Units[0]].Node) {
			continue
		}
		demand := a.Demand
		if own := s.Standbys[i].Demand; own != nil {
			demand = p.vector(own)
		}
		for d, v := range demand {
			if p.Nodes[n].Cap[d] != Unlimited {
				p.Nodes[n].Cap[d] = max(p.Nodes[n].Cap[d]-v, 0)
			}
		}
	}
	for at := range p.Apps {
		slices.Sort(p.Apps[at].Standbys)
	}
}

func (p *Problem) node(id string) int32 {
	if n, ok := p.nodeOf[id]; ok && id != "" {
		return n
	}
	return None
}

// complete works out how many instances each app should have, and adds those that are missing.
func (p *Problem) complete() {
	for at := range p.Apps {
		a := &p.Apps[at]
		have := len(a.Units)
		switch a.Mode {
		case spec.Singleton:
			a.Desired = 1
		case spec.Replicas:
			a.Desired = have
			if a.Spec.Replicas != nil {
				a.Desired = *a.Spec.Replicas
			}
		case spec.Spread:
			p.completeSpread(int32(at))
			continue
		default:
			a.Desired = have
		}
		if have >= a.Desired {
			continue
		}
		taken := make(map[string]bool, have)
		for _, u := range a.Units {
			taken[p.Units[u].ID] = true
		}
		for slot := 0; have < a.Desired; slot++ {
			if id := spec.InstanceID(a.Name, slot); !taken[id] {
				p.add(int32(at), id, None)
				have++
			}
		}
	}
}

// completeSpread wants one instance on every node that takes the app, and keeps those on cordoned ones.
func (p *Problem) completeSpread(app int32) {
	a := &p.Apps[app]
	on := map[int32]bool{}
	for _, u := range a.Units {
		on[p.Units[u].At()] = true
	}
	for n := range p.Nodes {
		if on[int32(n)] {
			if p.MayStay(app, int32(n)) {
				a.Desired++
			}
		} else if p.Eligible(app, int32(n)) {
			a.Desired++
			p.add(app, a.Name+"-"+p.Nodes[n].ID, int32(n))
		}
	}
}

// add adds a missing unit; of a spread app To names the node that it is for.
func (p *Problem) add(app int32, id string, to int32) {
	a := &p.Apps[app]
	a.Units = append(a.Units, int32(len(p.Units)))
	p.Units = append(p.Units, Unit{ID: id, App: app, Node: None, To: to, Source: None, New: true, Demand: a.Demand, From: None})
}

// sortUnits orders the units by app and then by the number that their id ends with: a-2 before a-10.
func (p *Problem) sortUnits() {
	type key struct {
		app, index int32
		slot       int // −1: none
		stem       string
	}
	keys := make([]key, len(p.Units))
	for i := range p.Units {
		k := key{app: p.Units[i].App, index: int32(i), slot: -1, stem: p.Units[i].ID}
		if at := strings.LastIndexByte(k.stem, '-'); at > 0 {
			if n, err := strconv.Atoi(k.stem[at+1:]); err == nil {
				k.slot, k.stem = n, k.stem[:at]
			}
		}
		keys[i] = k
	}
	order := func(x, y key) int {
		return cmp.Or(strings.Compare(x.stem, y.stem), cmp.Compare(x.slot, y.slot), strings.Compare(p.Units[x.index].ID, p.Units[y.index].ID))
	}
	if byApp := func(x, y key) int { return cmp.Compare(x.app, y.app) }; !slices.IsSortedFunc(keys, byApp) {
		slices.SortStableFunc(keys, byApp)
	}
	for i := 0; i < len(keys); {
		j := i
		for ; j < len(keys) && keys[j].app == keys[i].app; j++ {
		}
		if !slices.IsSortedFunc(keys[i:j], order) {
			slices.SortFunc(keys[i:j], order)
		}
		i = j
	}
	sorted := make([]Unit, len(p.Units))
	for i, k := range keys {
		sorted[i] = p.Units[k.index]
	}
	p.Units = sorted
}
