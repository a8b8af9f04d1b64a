package search

import (
	"sync"
)

// Options bound a run. Either Steps or Spent must end it.
type Options struct {
	Seed    uint64
	Workers int   // at least one; each searches by itself, and the best wins
	Steps   int64 // moves tried by each worker; 0: until Spent says so
	// Heat is the first temperature, in usual costs of a move; 0: the default. A start that is good already wants little of it.
	Heat float64
	// Spent says how much of the budget is used; from 1 on the search ends. Called from all workers. A result is reproducible by
	// Steps alone.
	Spent func() float64
}

// A Result is the best assignment found.
type Result struct {
	At       []int // node by item, or None
	Cost     int64
	Unplaced int
	Steps    int64 // moves tried by all workers
}

// Run searches. The result breaks no rule that the start kept, is not worse than the start, and places whatever it can.
func Run(p *Problem, o Options) (Result, error) {
	if err := p.validate(); err != nil {
		return Result{}, err
	}
	workers := make([]*worker, max(1, o.Workers))
	var wg sync.WaitGroup
	work := func(i int) {
		workers[i] = newWorker(p, o, o.Seed*uint64(len(workers))+uint64(i))
		workers[i].run()
	}
	for i := range workers[1:] {
		wg.Go(func() { work(i + 1) })
	}
	work(0)
	wg.Wait()
	best, steps := workers[0], int64(0)
	for _, w := range workers {
		steps += w.steps
		if w.best < best.best {
			best = w
		}
	}
	r := Result{Cost: best.best, At: make([]int, len(p.Items)), Steps: steps}
	for i, n := range best.bestAt {
		r.At[i] = int(n)
		if n == None {
			r.Unplaced++
		}
	}
	return r, nil
}

// worker is one search with its own state.
type worker struct {
	*annealer
	o      Options
	steps  int64
	best   int64
	bestAt []int32
}

func newWorker(p *Problem, o Options, seed uint64) *worker {
	s := newState(p, seed)
	s.tries, s.sample = 60, 24
	w := &worker{annealer: newAnnealer(s), o: o}
	for i, it := range p.Items {
		if it.Start != None {
			s.move(int32(i), int32(it.Start), w.start(int32(i), int32(it.Start)))
		}
	}
	return w
}

// start is what the rules charge for an item's start, which they may not refuse.
func (w *worker) start(item, node int32) int64 {
	extra, _ := w.ruled(item, None, node)
	return extra
}

func (w *worker) spent() float64 {
	var f float64
	if w.o.Steps > 0 {
		f = float64(w.steps) / float64(w.o.Steps)
	}
	if w.o.Spent != nil {
		f = max(f, w.o.Spent())
	}
	if w.o.Steps <= 0 && w.o.Spent == nil {
		return 1
	}
	return f
}

func (w *worker) keep() {
	if w.bestAt == nil || w.cost < w.best {
		w.best, w.bestAt = w.cost, append(w.bestAt[:0], w.at...)
	}
}

// settle places what is nowhere, large first, where it costs least; then others make way.
func (w *worker) settle() {
	for _, it := range w.free {
		if w.at[it] != None || w.seat(it) || w.eject(it, int32(w.rng.n(w.N)), 0) {
			continue
		}
		w.displace(it, int32(w.rng.n(w.N)), int64(w.temp*logs[w.rng.n(len(logs))]))
	}
}

func (w *worker) seat(item int32) bool {
	best, least, fee := int32(None), int64(0), int64(0)
	for n := range int32(w.N) {
		if !w.fits(w.holds(item, n), n, nil) || !w.allowed(item, n) {
			continue
		}
		if d := w.shiftCost(item, n); d < least {
			if extra, ok := w.ruled(item, None, n); ok && d+extra < least {
				best, least, fee = n, d+extra, extra
			}
		}
	}
	if best == None {
		return false
	}
	w.move(item, best, fee)
	return true
}

// displace puts an item that is nowhere in the place of another, which then is: the next may find a place where the first did not.
func (w *worker) displace(item, node int32, bound int64) {
	on := w.on[node]
	if len(on) == 0 {
		return
	}
	out := on[w.rng.n(len(on))]
	g := w.group[out]
	if r := w.reach[g]; w.pinned[out] || r != nil && r[w.domain[node]] == 1 && w.spread[g] <= w.least[g] {
		return
	}
	extra, ok := w.ruled(out, node, None)
	if !ok {
		return
	}
	start := w.begin()
	w.move(out, None, extra)
	if w.fits(w.holds(item, node), node, nil) && w.allowed(item, node) {
		if extra, ok := w.ruled(item, None, node); ok {
			w.move(item, node, extra)
			if w.cost-start <= bound {
				w.logging = false
				return
			}
		}
	}
	w.back(start)
}
