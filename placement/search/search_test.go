package search_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-cluster/go-cluster/placement/search"
)

const unplaced = 1_000_000

// random is a small problem whose start breaks nothing. Some items have lost their home and some never had one.
func random(r *rand.Rand, nodes, items int) *search.Problem {
	p := &search.Problem{Resources: 2, Transient: []bool{false, r.IntN(2) == 0}, Weight: []int64{3, 1}, Unplaced: unplaced}
	for i := range nodes {
		p.Nodes = append(p.Nodes, search.Node{Cap: []int64{12, 12}, Soft: []int64{int64(r.IntN(8)), int64(r.IntN(8))}, Domain: i / 2})
	}
	for range 3 {
		g := search.Group{PerNode: r.IntN(3)}
		if r.IntN(3) == 0 {
			g.Allowed = make([]bool, nodes)
			for n := range g.Allowed {
				g.Allowed[n] = r.IntN(4) > 0
			}
		}
		p.Groups = append(p.Groups, g)
	}
	if r.IntN(2) == 0 {
		p.Groups[0].Away, p.Groups[1].Away = []int{1}, []int{0}
	}
	for range items {
		p.Items = append(p.Items, search.Item{Group: r.IntN(3), Home: search.None, Start: search.None, Demand: []int64{int64(1 + r.IntN(6)), int64(1 + r.IntN(6))}})
	}
	at := slices.Repeat([]int{search.None}, items)
	for i := range p.Items {
		at[i] = r.IntN(nodes)
		p.Items[i].Home, p.Items[i].Start = at[i], at[i]
		if _, err := judge(p, at); err != nil {
			at[i] = search.None
			p.Items[i].Start = search.None
			if r.IntN(2) == 0 {
				p.Items[i].Home = search.None
			}
		}
		if _, err := judge(p, at); err != nil { // its lost home holds what does not fit there
			p.Items[i].Home = search.None
		}
	}
	fee := int64(r.IntN(5))
	p.Place = func(item, node int) int64 {
		if node == p.Items[item].Home {
			return 0
		}
		return fee + int64(item+node)%3
	}
	if r.IntN(2) == 0 {
		p.NodeCost = func(node int, used []int64) int64 { return max(0, used[0]-used[1]) }
	}
	return p
}

// judge is the cost of an assignment, or the rule that it breaks; it is written from the meaning and shares nothing with the search.
func judge(p *search.Problem, at []int) (int64, error) {
	var cost int64
	for n, node := range p.Nodes {
		used, held := make([]int64, p.Resources), make([]int64, p.Resources)
		by := map[int]int{}
		for i, it := range p.Items {
			for r, d := range it.Demand {
				switch {
				case at[i] == n:
					used[r] += d
					held[r] += d
				case it.Home == n && p.Transient != nil && p.Transient[r]:
					held[r] += d
				}
			}
			if at[i] == n {
				by[it.Group]++
				if a := p.Groups[it.Group].Allowed; a != nil && !a[n] {
					return 0, fmt.Errorf("item %d may not be on node %d", i, n)
				}
				if p.Place != nil {
					cost += p.Place(i, n)
				}
			}
		}
		for r := range used {
			if held[r] > node.Cap[r] {
				return 0, fmt.Errorf("node %d holds %d of %d", n, held[r], node.Cap[r])
			}
			if p.Weight != nil {
				cost += p.Weight[r] * max(0, used[r]-node.Soft[r])
			}
		}
		if p.NodeCost != nil {
			cost += p.NodeCost(n, used)
		}
		for g, k := range by {
			if most := p.Groups[g].PerNode; most > 0 && k > most {
				return 0, fmt.Errorf("node %d has %d of group %d", n, k, g)
			}
			for _, a := range p.Groups[g].Away {
				if by[a] > 0 {
					return 0, fmt.Errorf("node %d has groups %d and %d", n, g, a)
				}
			}
		}
	}
	for _, n := range at {
		if n == search.None {
			cost += p.Unplaced
		}
	}
	return cost, nil
}

// least is the cost of the best assignment of all.
func least(p *search.Problem) int64 {
	at, best := slices.Repeat([]int{search.None}, len(p.Items)), int64(-1)
	var try func(i int)
	try = func(i int) {
		if i == len(at) {
			if c, err := judge(p, at); err == nil && (best < 0 || c < best) {
				best = c
			}
			return
		}
		for n := search.None; n < len(p.Nodes); n++ {
			at[i] = n
			try(i + 1)
		}
	}
	try(0)
	return best
}

func TestFindsTheBestOfAll(t *testing.T) {
	missed := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := random(r, 2+r.IntN(3), 3+r.IntN(3))
		got, err := search.Run(p, search.Options{Seed: seed, Steps: 60_000})
		if err != nil {
			t.Fatal(err)
		}
		cost, err := judge(p, got.At)
		if err != nil || cost != got.Cost {
			t.Fatalf("problem %d: %v; cost %d, the search says %d", seed, err, cost, got.Cost)
		}
		if want := least(p); cost != want {
			missed++
			t.Logf("problem %d: cost %d, best %d", seed, cost, want)
		}
	}
	if missed > 1 {
		t.Errorf("%d of 60 not solved", missed)
	}
}

// Whatever it does on the way, the result keeps every rule, its cost is exact, and it is not worse than the start.
func TestKeepsEveryRule(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := random(r, 3+r.IntN(12), 5+r.IntN(40))
		start := make([]int, len(p.Items))
		for i, it := range p.Items {
			start[i] = it.Start
		}
		before, err := judge(p, start)
		if err != nil {
			t.Fatal(err)
		}
		got, err := search.Run(p, search.Options{Seed: seed, Steps: 50_000, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		cost, err := judge(p, got.At)
		if err != nil || cost != got.Cost || cost > before {
			t.Fatalf("problem %d: %v; cost %d after %d, the search says %d", seed, err, cost, before, got.Cost)
		}
		again, err := search.Run(p, search.Options{Seed: seed, Steps: 50_000, Workers: 2})
		if err != nil || !slices.Equal(again.At, got.At) {
			t.Fatalf("problem %d: the same search ends elsewhere: %v", seed, err)
		}
	}
}

// Neither node has room for the big item: the small ones of one of them must leave for the other.
func TestOthersMakeWay(t *testing.T) {
	p := &search.Problem{Resources: 1, Unplaced: unplaced, Groups: make([]search.Group, 1),
		Nodes: []search.Node{{Cap: []int64{10}, Soft: []int64{10}}, {Cap: []int64{10}, Soft: []int64{10}}}}
	for i := range 8 {
		p.Items = append(p.Items, search.Item{Home: i % 2, Start: i % 2, Demand: []int64{1}})
	}
	p.Items = append(p.Items, search.Item{Home: search.None, Start: search.None, Demand: []int64{9}})
	p.Items = append(p.Items, search.Item{Home: search.None, Start: search.None, Demand: []int64{2}})
	got, err := search.Run(p, search.Options{Seed: 1, Steps: 50_000})
	if err != nil || got.Unplaced != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if cost, err := judge(p, got.At); err != nil || cost != 0 {
		t.Fatal(got.At, cost, err)
	}
}

func TestPinnedItemsStay(t *testing.T) {
	p := &search.Problem{Resources: 1, Weight: []int64{1}, Groups: make([]search.Group, 1),
		Nodes: []search.Node{{Cap: []int64{10}, Soft: []int64{0}}, {Cap: []int64{10}, Soft: []int64{10}}},
		Items: []search.Item{{Demand: []int64{3}, Pinned: true}, {Demand: []int64{3}}}}
	got, err := search.Run(p, search.Options{Seed: 1, Steps: 10_000})
	if err != nil || !slices.Equal(got.At, []int{0, 1}) || got.Cost != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
}

// Items of one group stand where only one of them may: it may stay, but no other comes in its place.
func TestNoOtherComesWhereOnlyOneMayStay(t *testing.T) {
	p := &search.Problem{Resources: 1, Weight: []int64{1}, Groups: []search.Group{{PerNode: 1, Allowed: []bool{false, true}}},
		Nodes: []search.Node{{Cap: []int64{10}, Soft: []int64{1}}, {Cap: []int64{10}, Soft: []int64{10}}},
		Items: []search.Item{{Home: 0, Start: 0, Demand: []int64{3}}, {Home: 1, Start: 1, Demand: []int64{1}}}}
	got, err := search.Run(p, search.Options{Seed: 1, Steps: 10_000})
	if err != nil || !slices.Equal(got.At, []int{0, 1}) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestMalformedProblemsAreRefused(t *testing.T) {
	node := search.Node{Cap: []int64{1}, Soft: []int64{1}}
	for want, p := range map[string]search.Problem{
		"search: a problem needs nodes":                                       {},
		"search: node 0: needs 1 capacities, as many soft ones, and a domain": {Resources: 1, Nodes: make([]search.Node, 1)},
		"search: item 0: no group 0":                                          {Resources: 1, Nodes: []search.Node{node}, Items: []search.Item{{Demand: []int64{1}}}},
		"search: item 0: home 1, start -1": {Resources: 1, Nodes: []search.Node{node}, Groups: make([]search.Group, 1),
			Items: []search.Item{{Home: 1, Start: search.None, Demand: []int64{1}}}},
		"search: item 0: demands -1": {Resources: 1, Nodes: []search.Node{node}, Groups: make([]search.Group, 1), Items: []search.Item{{Demand: []int64{-1}}}},
	} {
		if _, err := search.Run(&p, search.Options{Steps: 1}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
