package main

import "github.com/go-cluster/go-cluster/placement/search"

// problem states an instance in the terms of the search.
func problem(in *instance) *search.Problem {
	p := &search.Problem{Resources: len(in.resources), Unplaced: 1 << 40}
	for _, r := range in.resources {
		p.Transient = append(p.Transient, r.transient)
		p.Weight = append(p.Weight, r.weight)
	}
	for _, m := range in.machines {
		p.Nodes = append(p.Nodes, search.Node{Cap: m.capacity, Soft: m.safety, Domain: m.location})
	}
	for _, s := range in.services {
		p.Groups = append(p.Groups, search.Group{PerNode: 1, Domains: s.spread})
	}
	for i, pr := range in.processes {
		p.Items = append(p.Items, search.Item{Group: pr.service, Home: in.original[i], Start: in.original[i], Demand: pr.needs})
	}
	p.Place = func(item, node int) int64 {
		home := in.original[item]
		if home == node {
			return 0
		}
		return in.processFee*in.processes[item].fee + in.machineFee*in.machines[home].fee[node]
	}
	if len(in.balances) > 0 {
		p.NodeCost = func(node int, used []int64) int64 {
			var c int64
			capacity := in.machines[node].capacity
			for _, b := range in.balances {
				if v := b.target*(capacity[b.a]-used[b.a]) - (capacity[b.b] - used[b.b]); v > 0 {
					c += b.weight * v
				}
			}
			return c
		}
	}
	p.Rules = func() []search.Rule { return []search.Rule{newDependencies(in), newMoved(in)} }
	return p
}

// dependencies: where a service runs, each that it needs runs in the same neighborhood.
type dependencies struct {
	in      *instance
	needers [][]int   // by service
	count   [][]int32 // by service that needs or is needed: processes by neighborhood
}

func newDependencies(in *instance) *dependencies {
	d := &dependencies{in: in, needers: make([][]int, len(in.services)), count: make([][]int32, len(in.services))}
	neighborhoods := 0
	for _, m := range in.machines {
		neighborhoods = max(neighborhoods, m.neighborhood+1)
	}
	for s, se := range in.services {
		for _, t := range se.needs {
			d.needers[t] = append(d.needers[t], s)
			for _, x := range []int{s, t} {
				if d.count[x] == nil {
					d.count[x] = make([]int32, neighborhoods)
				}
			}
		}
	}
	return d
}

func (d *dependencies) Delta(item, from, to int) (int64, bool) {
	s := d.in.processes[item].service
	if d.count[s] == nil {
		return 0, true
	}
	a, b := -1, -1
	if from != search.None {
		a = d.in.machines[from].neighborhood
	}
	if to != search.None {
		b = d.in.machines[to].neighborhood
	}
	if a == b {
		return 0, true
	}
	if a >= 0 && d.count[s][a] == 1 {
		for _, u := range d.needers[s] {
			if u != s && d.count[u][a] > 0 {
				return 0, false
			}
		}
	}
	if b >= 0 && d.count[s][b] == 0 {
		for _, t := range d.in.services[s].needs {
			if t != s && d.count[t][b] == 0 {
				return 0, false
			}
		}
	}
	return 0, true
}

func (d *dependencies) Move(item, from, to int) {
	c := d.count[d.in.processes[item].service]
	if c == nil {
		return
	}
	if from != search.None {
		c[d.in.machines[from].neighborhood]--
	}
	if to != search.None {
		c[d.in.machines[to].neighborhood]++
	}
}

// moved: the service with the most moved processes costs by them.
type moved struct {
	in     *instance
	count  []int // by service
	having []int // services by count
	most   int
}

func newMoved(in *instance) *moved {
	return &moved{in: in, count: make([]int, len(in.services)), having: make([]int, len(in.processes)+2)}
}

func (m *moved) Delta(item, from, to int) (int64, bool) {
	home := m.in.original[item]
	c := m.count[m.in.processes[item].service]
	was, is := from != search.None && from != home, to != search.None && to != home
	switch {
	case !was && is && c == m.most:
		return m.in.serviceFee, true
	case was && !is && c == m.most && m.having[c] == 1:
		return -m.in.serviceFee, true
	}
	return 0, true
}

func (m *moved) Move(item, from, to int) {
	home := m.in.original[item]
	s := m.in.processes[item].service
	was, is := from != search.None && from != home, to != search.None && to != home
	if was == is {
		return
	}
	m.having[m.count[s]]--
	if is {
		m.count[s]++
	} else {
		m.count[s]--
	}
	m.having[m.count[s]]++
	m.most = max(m.most, m.count[s])
	for m.most > 0 && m.having[m.most] == 0 {
		m.most--
	}
}
