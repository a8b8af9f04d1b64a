package flow

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// textbook solves (unplaced, Σ L²/w, moves) as a minimum-cost flow by successive shortest paths with Bellman-Ford on the whole graph:
// slow, and of another kind than the solver.
func textbook(in *Input) (unplaced int64, even int64, moves int64) {
	type arc struct {
		to, rev  int
		cap      int
		phi, mov int64
	}
	nodes, apps := len(in.Nodes), len(in.Apps)
	src, sink := nodes+apps, nodes+apps+1
	g := make([][]arc, nodes+apps+2)
	add := func(u, v, cap int, phi, mov int64) {
		g[u] = append(g[u], arc{v, len(g[v]), cap, phi, mov})
		g[v] = append(g[v], arc{u, len(g[u]) - 1, 0, -phi, -mov})
	}
	want := 0
	for a := range in.Apps {
		app := &in.Apps[a]
		add(src, nodes+a, int(app.Units), 0, 0)
		want += int(app.Units)
		for n := range in.Nodes {
			if !app.allows(in.Nodes[n].Group) || contains(app.Blocked, int32(n)) {
				continue
			}
			if contains(app.Home, int32(n)) {
				add(nodes+a, n, 1, 0, 0)
			} else {
				add(nodes+a, n, 1, 0, 1)
			}
		}
	}
	for n := range in.Nodes {
		nd := &in.Nodes[n]
		for j := nd.Fixed + 1; j <= min(nd.Max, nd.Fixed+int32(apps)); j++ {
			add(n, sink, 1, int64(2*j-1)*3000/(nd.Weight/500), 0)
		}
		even += int64(nd.Fixed) * int64(nd.Fixed) * 3000 / (nd.Weight / 500)
	}
	for want > 0 {
		const inf = int64(1) << 60
		phi, mov := make([]int64, len(g)), make([]int64, len(g))
		via := make([][2]int, len(g))
		for i := range phi {
			phi[i] = inf
		}
		phi[src] = 0
		for changed := true; changed; {
			changed = false
			for u := range g {
				if phi[u] == inf {
					continue
				}
				for i, e := range g[u] {
					if p, m := phi[u]+e.phi, mov[u]+e.mov; e.cap > 0 && (p < phi[e.to] || p == phi[e.to] && m < mov[e.to]) {
						phi[e.to], mov[e.to], via[e.to], changed = p, m, [2]int{u, i}, true
					}
				}
			}
		}
		if phi[sink] == inf {
			break
		}
		for v := sink; v != src; v = via[v][0] {
			e := &g[via[v][0]][via[v][1]]
			e.cap--
			g[v][e.rev].cap++
		}
		even, moves = even+phi[sink], moves+mov[sink]
		want--
	}
	return int64(want), even, moves
}

var textbookCases = flag.Int("placement.textbook", 30, "random problems of up to 60 nodes for the textbook flow")

func TestAgainstTheTextbook(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for i := range *textbookCases {
		in := drawInput(r, 5+r.IntN(56), 5+r.IntN(40), 1+r.IntN(12), []float64{0.2, 0.35, 0.6, 1}[i%4], i%2 == 1, i%3 == 1, false)
		s := Even(in).Keep()
		moves, _ := verify(t, in, s)
		unplaced, even, least := textbook(in)
		got := int64(0)
		for _, u := range s.Unplaced {
			got += int64(u)
		}
		if got != unplaced || phi(in, s.Load) != even || unplaced == 0 && int64(moves) != least || int64(moves) < least {
			t.Fatalf("case %d (%d nodes, %d apps): %d without a place, Σ %d, %d moves; the textbook has %d, %d, %d", i, len(in.Nodes), len(in.Apps), got, phi(in, s.Load), moves,
				unplaced, even, least)
		}
	}
}
