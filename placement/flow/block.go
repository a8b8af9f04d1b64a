package flow

import (
	"cmp"
	"slices"
)

// block pushes along the layers until no path of that length is left.
func (k *keeper) block() {
	s, nodes, apps := &k.s, int32(len(k.in.Nodes)), int32(len(k.in.Apps))
	for _, cells := range k.cells {
		for _, c := range cells {
			slices.SortFunc(c.nodes, func(x, y int32) int {
				return cmp.Or(cmp.Compare(k.pi[y], k.pi[x]), cmp.Compare(s.level[x], s.level[y]), cmp.Compare(x, y))
			})
			c.reset()
		}
	}
	place := k.places()
	kill := func(v int32) {
		s.dead[v] = true
		if v < nodes {
			k.cells[k.rank[v]][place.cell[v]].kill(place.index[v])
		}
	}
	for a := range apps {
		s.cellA[a], s.at[a] = 0, -1
	}
	var push func(v int32) bool
	push = func(v int32) bool {
		if s.level[v] > 0 && k.excess(v) < 0 {
			return true
		}
		l := s.level[v] + 1
		switch {
		case v < nodes:
			// The list changes as instances come and go: what is gone or new is of a lower layer and no matter.
			for list := slices.Clone(k.on[v]); int(s.arc[v]) < len(list); s.arc[v]++ {
				a := list[s.arc[v]]
				w := nodes + a
				if s.level[w] == l && !s.dead[w] && k.pi[w] == k.pi[v]-k.cost(a, v) && k.has(a, v) && push(w) {
					k.take(a, v)
					s.arc[v] = 0
					return true
				}
			}
			if w := nodes + apps; s.level[w] == l && !s.dead[w] && k.out[v] < k.hi[v] && k.pi[w] == k.pi[v] && push(w) {
				k.out[v]++
				k.spare++
				return true
			}
		case v < nodes+apps:
			a := v - nodes
			for _, n := range slices.Clone(k.lost[a]) {
				if s.level[n] == l && !s.dead[n] && k.pi[n] == k.pi[v]+k.cost(a, n) && push(n) {
					k.put(a, n)
					return true
				}
			}
			for ; int(s.cellA[a]) < len(k.cellF[a]); s.cellA[a], s.at[a] = s.cellA[a]+1, -1 {
				c := k.cellF[a][s.cellA[a]]
				want := k.pi[v] + k.away(a, c.group)
				if s.at[a] < 0 {
					i, _ := slices.BinarySearchFunc(c.nodes, want, func(n int32, w int64) int {
						return cmp.Or(cmp.Compare(w, k.pi[n]), cmp.Compare(s.level[n], l))
					})
					s.at[a] = int32(i)
				}
				for s.at[a] = c.alive(s.at[a]); int(s.at[a]) < len(c.nodes); s.at[a] = c.alive(s.at[a] + 1) {
					n := c.nodes[s.at[a]]
					if k.pi[n] != want || s.level[n] != l {
						break
					}
					if !k.holds(a, n) && push(n) {
						k.put(a, n)
						return true
					}
				}
			}
		default:
			for ; s.arc[v] < nodes; s.arc[v]++ {
				n := s.arc[v]
				if s.level[n] == l && !s.dead[n] && k.out[n] > k.lo[n] && k.pi[n] == k.pi[v] && push(n) {
					k.out[n]--
					k.spare--
					return true
				}
			}
		}
		kill(v)
		return false
	}
	for v := range int32(len(s.level)) {
		for s.level[v] == 0 && k.excess(v) > 0 && !s.dead[v] && push(v) {
		}
	}
}
