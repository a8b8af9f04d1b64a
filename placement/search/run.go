package search

import (
	"cmp"
	"math"
)

// Found by trial on the instances of cmd/roadef.
const (
	descent = 0.02 // share of the budget that only goes down
	frozen  = 0.97 // share from which on it does so again
	hottest = 10   // the first temperature, in usual costs of a move
	coldest = 1e-3 // the last, as a share of the first
	ejects  = 50   // of 1024 turns
)

// run descends, then anneals from the warmth at which the price of a usual move is forgiven to where none is.
func (w *worker) run() {
	w.settle()
	w.keep()
	if len(w.free) == 0 {
		return
	}
	w.phase(0, descent, 0, 0)
	hot := w.usual() * cmp.Or(w.o.Heat, hottest)
	w.phase(descent, frozen, hot, hot*coldest)
	w.phase(frozen, 1, 0, 0)
}

// usual is the mean of what moves cost that go uphill.
func (w *worker) usual() float64 {
	var sum float64
	k := 0
	draws := int64(20_000)
	if w.o.Steps > 0 {
		draws = min(draws, max(200, w.o.Steps/16))
	}
	for range draws {
		it, to := w.free[w.rng.n(len(w.free))], int32(w.rng.n(w.N))
		if to == w.at[it] || w.at[it] == None || !w.fits(w.holds(it, to), to, nil) {
			continue
		}
		if d := w.shiftCost(it, to); d > 0 {
			sum += math.Log(float64(d))
			k++
		}
	}
	if k == 0 {
		return 1
	}
	return math.Exp(sum / float64(k))
}

// phase cools from one temperature to another between two shares of the budget.
func (w *worker) phase(from, until, hot, cold float64) {
	stride := int64(1 << 14)
	if w.o.Steps > 0 {
		stride = min(stride, max(1, w.o.Steps/256))
	}
	var again int64
	for {
		f := w.spent()
		if f >= until || f >= 1 {
			break
		}
		w.temp = 0
		if hot > 0 {
			w.temp = hot * math.Pow(cold/hot, max(0, f-from)/(until-from))
		}
		if w.unplaced > 0 && w.steps >= again {
			w.settle()
			again = w.steps + min(1<<18, 16*stride)
		}
		for k := int64(0); k < stride; {
			n := w.turn()
			k += int64(n)
			w.steps += int64(n)
		}
		w.keep()
	}
}
