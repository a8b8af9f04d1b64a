package sim

import (
	"flag"
	"fmt"
	"testing"
)

var (
	seeds   = flag.Uint64("sim.seeds", 0, "how many random scenarios to live through; make sim sets it")
	seed    = flag.Uint64("sim.seed", 0, "TestSeeds: only the scenario of this seed, with its story")
	seedsAt = flag.Uint64("sim.from", 1, "TestSeeds: the first seed")
)

// TestSeeds lives through random scenarios: faults, commands and ill-behaved programs, then all is made well and the cluster has to
// settle. A seed fixes what is done and when; what the goroutines make of it may differ from run to run.
//
// Bubbles cannot run side by side in one process, so the seeds are given to as many processes as there are processors.
func TestSeeds(t *testing.T) {
	random(t)
	switch {
	case *seed > 0:
		t.Run(fmt.Sprint(*seed), func(t *testing.T) { live(t, schedule(*seed)) })
	case *child:
		for k := *seedsAt; k < *seedsAt+*seeds; k++ {
			begin(k)
			t.Run(fmt.Sprint(k), func(t *testing.T) { live(t, schedule(k)) })
		}
		begin(0)
	default:
		inProcesses(t, *seedsAt, *seeds)
	}
}

// random skips a test of random scenarios unless some are asked for.
func random(t *testing.T) {
	t.Helper()
	if *seeds == 0 && *seed == 0 {
		t.Skip("random scenarios are lived by make sim")
	}
}

// live runs one scenario and judges it.
func live(t *testing.T, s scenario) {
	t.Helper()
	s.start(t, func(r *runner) {
		c, t := r.c, r.c.T
		defer func() {
			if t.Failed() || *seed > 0 {
				t.Logf("story of %s:\n%s\n%s", s.name, s, c.Story())
			}
		}()
		r.play()
		settled := !t.Failed() && len(c.broken()) == 0 && s.rests()
		if settled {
			judge(t, c, r)
		}
		for _, v := range c.violations(settled) {
			t.Errorf("violation %s: %s", v.Name, v)
		}
	})
}

// rests says whether the last thing that happens is that the cluster comes to rest.
func (s scenario) rests() bool {
	rests := false
	for _, h := range s.steps {
		switch h.verb {
		case "steady":
			rests = true
		case "conformance", "balance", "expect", "migrations", "written":
		default:
			rests = false
		}
	}
	return rests
}
