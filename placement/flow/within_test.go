package flow

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// bruteWithin returns the least (moves, ties) with loads within bounds, or false.
func bruteWithin(in *Input, lo, hi []int32) (best [2]int64, ok bool) {
	load := make([]int32, len(in.Nodes))
	for n := range in.Nodes {
		load[n] = in.Nodes[n].Fixed
	}
	best = [2]int64{1 << 60}
	var rec func(a int, moves, ties int64)
	rec = func(a int, moves, ties int64) {
		if a == len(in.Apps) {
			for n := range load {
				if load[n] < lo[n] || load[n] > hi[n] {
					return
				}
			}
			if got := [2]int64{moves, ties}; !ok || slices.Compare(got[:], best[:]) < 0 {
				best, ok = got, true
			}
			return
		}
		app := &in.Apps[a]
		var pick func(n int, left int32, moves, ties int64)
		pick = func(n int, left int32, moves, ties int64) {
			if n == len(in.Nodes) {
				if left == 0 {
					rec(a+1, moves, ties)
				}
				return
			}
			pick(n+1, left, moves, ties)
			if left > 0 && app.allows(in.Nodes[n].Group) && !contains(app.Blocked, int32(n)) && load[n] < min(hi[n], in.Nodes[n].Max) {
				load[n]++
				m, ti := moves, ties
				if !contains(app.Home, int32(n)) {
					m++
					ti += app.Price * 25
				}
				if app.Points != nil {
					ti -= int64(app.Points[in.Nodes[n].Group])
				}
				pick(n+1, left-1, m, ti)
				load[n]--
			}
		}
		pick(0, app.Units, moves, ties)
	}
	rec(0, 0, 0)
	return best, ok
}

// dual is the value of the potentials as a bound on moves × unit + ties, where ties count from the greatest preference.
func dual(in *Input, s *Solution, lo, hi []int32) (value int64) {
	k := &keeper{in: in, unit: s.Proof.Unit, home: make([][]int32, len(in.Apps)), best: make([]int64, len(in.Apps))}
	for a := range in.Apps {
		k.home[a] = in.Apps[a].Home
		if in.Apps[a].Points != nil {
			k.best[a] = int64(slices.Max(in.Apps[a].Points))
		}
		alpha := -s.Proof.App[a]
		value += int64(in.Apps[a].Units) * alpha
		for n := range in.Nodes {
			if in.Apps[a].allows(in.Nodes[n].Group) && !contains(in.Apps[a].Blocked, int32(n)) {
				value += min(0, k.cost(int32(a), int32(n))-alpha-s.Proof.Node[n])
			}
		}
	}
	for n := range in.Nodes {
		nu := -s.Proof.Node[n]
		value += min(-nu*int64(lo[n]-in.Nodes[n].Fixed), -nu*int64(min(hi[n], in.Nodes[n].Max)-in.Nodes[n].Fixed))
	}
	return value
}

func TestWithinIsOptimalAndProvesIt(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	feasible := 0
	for i := range *cases {
		in := drawInput(r, 2+r.IntN(3), 1+r.IntN(4), 1+r.IntN(4), []float64{0.35, 0.6, 1}[r.IntN(3)], false, false, i%2 == 0)
		lo, hi := make([]int32, len(in.Nodes)), make([]int32, len(in.Nodes))
		for n := range lo {
			lo[n] = int32(r.IntN(2))
			hi[n] = lo[n] + int32(r.IntN(3))
			lo[n], hi[n] = max(lo[n], in.Nodes[n].Fixed), max(hi[n], in.Nodes[n].Fixed)
		}
		s := Within(in, lo, hi)
		want, ok := bruteWithin(in, lo, hi)
		if s.Feasible != ok {
			t.Fatalf("case %d: feasible %v, want %v\n%v %v\n%s", i, s.Feasible, ok, lo, hi, dump(in, s))
		}
		if !ok {
			continue
		}
		feasible++
		moves, ties := verify(t, in, s)
		if int64(moves) != want[0] || ties != want[1] {
			t.Fatalf("case %d: %d moves (ties %d), want %v", i, moves, ties, want)
		}
		shift := int64(0)
		for a := range in.Apps {
			if in.Apps[a].Points != nil {
				shift += int64(in.Apps[a].Units) * int64(slices.Max(in.Apps[a].Points))
			}
		}
		got := dual(in, s, lo, hi)
		if want := int64(moves); s.Proof.Unit > 1 && got != want*s.Proof.Unit+ties+shift || s.Proof.Unit == 1 && got != want {
			t.Fatalf("case %d: the potentials prove %d, want %d moves × %d + %d\n%v %v\n%v\n%s", i, got, moves, s.Proof.Unit, ties+shift, lo, hi, s.Proof, dump(in, s))
		}
	}
	if feasible < *cases/10 {
		t.Fatalf("only %d cases have a solution", feasible)
	}
}
