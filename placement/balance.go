package placement

import (
	"fmt"
	"math"
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Proposal is a rebalance: its moves in the order of their gain, and the imbalance before and after all of them.
type Proposal struct {
	Moves         []events.Proposal
	Before, After float64
}

// Balance proposes the moves that even out how many instances the nodes have, of the named apps only (none: of all). A chain of
// moves is looked for wherever a single one does not help, so the result is as even as the rules allow, and each chain lowers
// the fullest of its ends: nothing moves twice.
func Balance(v *projections.Cluster, apps []string) Proposal {
	b := newBalance(v, apps)
	p := Proposal{Before: b.imbalance()}
	for range 10_000 {
		if !b.improve() {
			break
		}
	}
	p.After = b.imbalance()
	for _, id := range sortedKeys(b.at) {
		in, to := b.instances[id], b.at[id]
		if in.Node != to {
			p.Moves = append(p.Moves, events.Proposal{App: in.App, Instance: id, From: in.Node, To: to,
				Why: fmt.Sprintf("%s has %d instances, %s has %d", in.Node, b.first[in.Node], to, b.first[to])})
		}
	}
	slices.SortStableFunc(p.Moves, func(x, y events.Proposal) int {
		return (b.first[y.From] - b.first[y.To]) - (b.first[x.From] - b.first[x.To])
	})
	return p
}

// Imbalance is how far the fullest or the emptiest node is from the mean, relative to it; 0 is even.
func Imbalance(v *projections.Cluster) float64 { return newBalance(v, nil).imbalance() }

type balance struct {
	nodes     []string
	load      map[string]int // instances per node, as planned
	first     map[string]int // instances per node, as they are
	at        map[string]string
	instances map[string]*projections.Instance
	allowed   map[string]map[string]bool // app → nodes that its rules allow
	has       map[string]map[string]int  // app → node → instances
	byNode    map[string][]string        // node → movable instances, as planned
	v         *projections.Cluster
	wants     map[string]demands // by app
	usage     *usage             // of everything that is there now and is planned; nil after a move: count anew
}

func newBalance(v *projections.Cluster, apps []string) *balance {
	b := &balance{v: v, load: map[string]int{}, first: map[string]int{}, at: map[string]string{}, instances: map[string]*projections.Instance{},
		allowed: map[string]map[string]bool{}, has: map[string]map[string]int{}, byNode: map[string][]string{}, wants: map[string]demands{}}
	usable := map[string]*projections.Node{}
	for _, n := range v.SortedNodes() {
		if n.Status == projections.StatusReady && !n.Cordoned && len(orders(v, n)) == 0 {
			usable[n.ID] = n
			b.nodes = append(b.nodes, n.ID)
		}
	}
	for _, a := range v.SortedApps() {
		b.has[a.Name] = map[string]int{}
		for _, in := range a.Instances {
			b.has[a.Name][in.Node]++
		}
		for _, m := range a.Open {
			if in := a.Instances[m.Instance]; m.To != "" && (in == nil || in.Node != m.To) {
				b.has[a.Name][m.To]++
				b.load[m.To]++
			}
		}
		free := !a.Removed && a.Spec.Mode != spec.Spread && (len(apps) == 0 || slices.Contains(apps, a.Name))
		if free {
			b.allowed[a.Name], b.wants[a.Name] = map[string]bool{}, demandsOf(a)
			for id, n := range usable {
				b.allowed[a.Name][id] = len(b.wants[a.Name].rules(n)) == 0
			}
		}
		for _, in := range a.SortedInstances() {
			b.load[in.Node]++
			if free && len(a.Open) == 0 && usable[in.Node] != nil {
				b.instances[in.ID], b.at[in.ID] = in, in.Node
				b.byNode[in.Node] = append(b.byNode[in.Node], in.ID)
			}
		}
	}
	for n, count := range b.load {
		b.first[n] = count
	}
	return b
}

// improve finds one chain of moves from a node to another with at least two instances less, and plans it.
func (b *balance) improve() bool {
	from := slices.Clone(b.nodes)
	slices.SortStableFunc(from, func(x, y string) int { return b.load[y] - b.load[x] })
	for _, src := range from {
		if b.augment(src) {
			return true
		}
	}
	return false
}

type hop struct{ instance, from string }

// augment searches breadth first from src, along instances that may move, for the emptiest reachable node.
func (b *balance) augment(src string) bool {
	via := map[string]hop{src: {}}
	queue, best := []string{src}, ""
	for len(queue) > 0 && best == "" {
		var next []string
		for _, at := range queue {
			for _, id := range b.byNode[at] {
				in := b.instances[id]
				for _, to := range b.nodes {
					if _, seen := via[to]; seen || !b.allowed[in.App][to] || b.has[in.App][to] > 0 || !b.fits(in.App, to) {
						continue
					}
					via[to] = hop{id, at}
					next = append(next, to)
				}
			}
		}
		for _, n := range next {
			if b.load[src]-b.load[n] >= 2 && (best == "" || b.load[n] < b.load[best]) {
				best = n
			}
		}
		queue = next
	}
	if best == "" {
		return false
	}
	for to := best; to != src; to = via[to].from {
		b.move(via[to].instance, via[to].from, to)
	}
	return true
}

// fits checks what counts alone do not: neighbours and capacity, against everything that is there now.
func (b *balance) fits(app, node string) bool {
	if b.usage == nil {
		b.usage = newUsage(b.v, "")
		for id, to := range b.at {
			if b.instances[id].Node != to {
				b.usage.add(b.v.Apps[b.instances[id].App], to)
			}
		}
	}
	for _, r := range b.wants[app].reject(b.v, b.usage, b.v.Nodes[node]) {
		if r.Code != events.RuleOccupied {
			return false
		}
	}
	return true
}

func (b *balance) move(id, from, to string) {
	app := b.instances[id].App
	b.at[id], b.usage = to, nil
	b.load[from]--
	b.load[to]++
	b.has[app][from]--
	b.has[app][to]++
	b.byNode[from] = slices.DeleteFunc(b.byNode[from], func(s string) bool { return s == id })
	b.byNode[to] = append(b.byNode[to], id)
}

func (b *balance) imbalance() float64 {
	if len(b.nodes) < 2 {
		return 0
	}
	sum := 0
	for _, n := range b.nodes {
		sum += b.load[n]
	}
	if sum == 0 {
		return 0
	}
	mean, worst := float64(sum)/float64(len(b.nodes)), 0.0
	for _, n := range b.nodes {
		// Within one instance of the mean is as even as it gets.
		over, under := float64(b.load[n])-math.Ceil(mean), math.Floor(mean)-float64(b.load[n])
		worst = max(worst, over, under)
	}
	return worst / mean
}
