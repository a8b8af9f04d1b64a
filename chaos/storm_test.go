//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/projections"
)

// Everything is killed all the time while apps are moved about and nodes relabelled. When it is over, everything is as declared.
func TestStorm(t *testing.T) {
	t.Parallel()
	lasts := 10 * time.Second
	if *all {
		lasts = 5 * time.Minute
	}
	nodes := []string{"n1", "n2", "n3"}
	c := start(t, ttl, nodes...)
	singletons := []string{"one", "two", "three"}
	for _, app := range singletons {
		c.applyCounter(app)
	}
	c.applyWeb("web", 2)
	apps := append([]string{"web"}, singletons...)
	victims := slices.Clone(c.procs) // services, agents and NATS

	random := dice("storm")
	over := time.After(lasts)
	commands := 0
storm:
	for {
		select {
		case <-over:
			break storm
		default:
		}
		gap := time.Duration(random.IntN(400)) * time.Millisecond
		switch random.IntN(4) {
		case 0: // a person
			commands++
			args := []string{"app", "move", apps[random.IntN(len(apps))], "--from", nodes[random.IntN(3)], "--detach"}
			if random.IntN(3) == 0 {
				args = []string{"node", "label", nodes[random.IntN(3)], fmt.Sprintf("storm=%d", random.IntN(3)), "--detach"}
			}
			c.spawn(&process{name: fmt.Sprintf("command-%d", commands), env: c.mark(), argv: c.argv(args...)})
			pass(t, gap)
		case 1: // a program
			if living := c.living(apps[random.IntN(len(apps))]); len(living) > 0 {
				_ = syscall.Kill(living[random.IntN(len(living))].pid, syscall.SIGKILL)
			}
			pass(t, gap)
		default:
			p := victims[random.IntN(len(victims))]
			p.kill()
			pass(t, gap)
			c.restart(p)
		}
	}
	c.until("everything is as declared", 2*limit, func(v *projections.Cluster) bool {
		return ready(v, nodes...) && !slices.ContainsFunc(apps, func(app string) bool { return !runs(v, app) })
	})
	for _, app := range apps {
		c.serves(app)
	}
	for _, app := range singletons {
		c.writes(app)
		c.alone(app)
	}
}
