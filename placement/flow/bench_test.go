package flow

import (
	"math/rand/v2"
	"testing"
)

// large is a cluster of nodes × instances × apps with 24 groups; each app may go to about a third of them.
func large(nodes, instances, apps int, seed uint64) *Input {
	const groups = 24
	r := rand.New(rand.NewPCG(seed, 1))
	in := &Input{Groups: groups}
	byGroup := make([][]int32, groups)
	for n := range nodes {
		g := int32(r.IntN(groups))
		in.Nodes = append(in.Nodes, Node{Group: g, Weight: 1000, Max: NoLimit})
		byGroup[g] = append(byGroup[g], int32(n))
	}
	for range apps {
		a := App{Allowed: make([]uint64, 1), Price: 1}
		var may []int32
		for g := range groups {
			if r.IntN(3) == 0 || g == groups-1 && len(may) == 0 {
				a.Allowed[0] |= 1 << g
				may = append(may, byGroup[g]...)
			}
		}
		r.Shuffle(len(may), func(i, j int) { may[i], may[j] = may[j], may[i] })
		a.Home = append(a.Home, may[:min(instances/apps, len(may))]...)
		sortInt32(a.Home)
		a.Units = int32(len(a.Home))
		in.Apps = append(in.Apps, a)
	}
	return in
}

func sortInt32(s []int32) {
	for i := range s {
		for j := i; j > 0 && s[j-1] > s[j]; j-- {
			s[j-1], s[j] = s[j], s[j-1]
		}
	}
}

func BenchmarkCold(b *testing.B) {
	for _, c := range []struct {
		name                   string
		nodes, instances, apps int
	}{{"1k×10k×100", 1000, 10_000, 100}, {"10k×100k×1k", 10_000, 100_000, 1000}} {
		b.Run(c.name, func(b *testing.B) {
			in := large(c.nodes, c.instances, c.apps, 1)
			b.ReportAllocs()
			moves := 0
			for b.Loop() {
				moves = Even(in).Keep().Moves
			}
			b.ReportMetric(float64(moves), "moves")
		})
	}
}
