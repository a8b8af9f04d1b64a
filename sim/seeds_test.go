package sim

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	seeds   = flag.Uint64("sim.seeds", 0, "how many random histories to live through; make sim sets it")
	seed    = flag.Uint64("sim.seed", 0, "TestSeeds: only the history of this seed, with its story")
	seedsAt = flag.Uint64("sim.from", 1, "TestSeeds: the first seed")
)

// TestSeeds lives through random histories: faults, commands and ill-behaved programs for some minutes, then all is made well and
// the cluster has to settle. A seed fixes what is done and when; what the goroutines make of it may differ from run to run.
func TestSeeds(t *testing.T) {
	random(t)
	first, last := *seedsAt, *seedsAt+*seeds-1
	if *seed > 0 {
		first, last = *seed, *seed
	}
	if testing.Short() && *seed == 0 {
		last = min(last, first+4)
	}
	for k := first; k <= last; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) { live(t, schedule(k)) })
	}
}

// random skips a test of random histories unless some are asked for.
func random(t *testing.T) {
	if *seeds == 0 && *seed == 0 {
		t.Skip("random histories are lived by make sim")
	}
}

// live runs one history and judges it.
func live(t *testing.T, h history) {
	t.Helper()
	Run(t, h.nodes, func(c *Cluster) {
		t := c.T
		r := newRunner(c, h)
		defer func() {
			if t.Failed() || *seed > 0 {
				t.Logf("story of %s:\n%s", h.name, c.Story())
			}
		}()
		began := time.Now()
		for _, s := range h.steps {
			if wait := s.at - time.Since(began); wait > 0 {
				c.For(wait)
			}
			r.tell("%s", s.text)
			s.do(r)
		}
		r.well()
		r.settle(t)
		judge(t, c, r)
		for _, v := range c.violations(!t.Failed()) {
			t.Errorf("violation %s: %s", v.Name, v)
		}
	})
}
