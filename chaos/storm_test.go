//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

var stormFor = flag.Duration("chaos.for", 0, "how long TestStorm kills; 0: ten seconds, or five minutes with -chaos.all")

// Everything is killed and stopped all the time while apps are moved about and nodes relabelled. When it is over, everything is as declared.
func TestStorm(t *testing.T) {
	t.Parallel()
	lasts := *stormFor
	switch {
	case lasts > 0:
	case *all:
		lasts = 5 * time.Minute
	default:
		lasts = 10 * time.Second
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
	count := map[string]int{}
	type outage struct {
		until   time.Time
		recover func()
	}
	down := map[*process]outage{}
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		pass(t, time.Duration(random.IntN(200))*time.Millisecond)
		for p, o := range down {
			if time.Now().After(o.until) {
				o.recover()
				delete(down, p)
			}
		}
		switch random.IntN(4) {
		case 0: // a person
			args := []string{"app", "move", apps[random.IntN(len(apps))], "--from", nodes[random.IntN(3)], "--detach"}
			if random.IntN(3) == 0 {
				change := []string{"maintenance=true", "maintenance-"}[random.IntN(2)]
				args = []string{"node", "label", nodes[random.IntN(3)], change, "--allow-pending"}
			}
			count["commands"]++
			c.spawn(&process{name: fmt.Sprintf("command-%d", count["commands"]), env: c.mark(), argv: c.argv(args...)})
		case 1: // a program
			if living := c.living(apps[random.IntN(len(apps))]); len(living) > 0 {
				_ = syscall.Kill(living[random.IntN(len(living))].pid, syscall.SIGKILL)
				count["programs killed"]++
			}
		default:
			p := victims[random.IntN(len(victims))]
			if _, is := down[p]; is {
				continue
			}
			o := outage{until: time.Now().Add(time.Duration(random.IntN(400)) * time.Millisecond), recover: func() { c.restart(p) }}
			if random.IntN(8) == 0 {
				o.until = time.Now().Add(ttl + time.Duration(random.Int64N(int64(ttl))))
				count["long outages"]++
			}
			if random.IntN(3) == 0 {
				count["stopped"]++
				o.recover = func() { c.signalAll(syscall.SIGCONT, p.pid()) }
				c.signalAll(syscall.SIGSTOP, p.pid())
			} else {
				count["killed"]++
				p.kill()
			}
			down[p] = o
		}
	}
	for _, o := range down {
		o.recover()
	}
	t.Logf("%v", count)
	for _, n := range nodes {
		until(t, n+" is out of maintenance", limit, func() bool { return c.cli("node", "label", n, "maintenance-").code == 0 })
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
	happened := map[events.Type]int{}
	for _, e := range c.stored(0) {
		happened[e.Type]++
	}
	t.Logf("%v", happened)
}
