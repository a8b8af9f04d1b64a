//go:build linux

package chaos

import (
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/projections"
)

// A program never outlives its watchdog: nobody would end it at its deadline. Killed alone the watchdog is made up for on the spot;
// killed together with the agent it takes the program with it, and the lease runs out.
func TestKilledWatchdog(t *testing.T) {
	for name, agentToo := range map[string]bool{"alone": false, "with the agent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, ttl, "n1", "n2", "n3")
			from := c.applyCounter("one")
			c.writes("one")
			apps, dogs, _ := c.tree(from)
			if len(apps) != 1 || len(dogs) != 1 {
				t.Fatalf("apps %v, watchdogs %v of %s", apps, dogs, from)
			}
			if agentToo {
				c.proc("agent-" + from).kill()
			}
			c.signalAll(syscall.SIGKILL, dogs...)
			until(t, "the program is gone", limit, func() bool {
				living := c.living("one")
				return len(living) == 0 || living[0].pid != apps[0]
			})
			if agentToo {
				c.until("it runs elsewhere", limit, func(v *projections.Cluster) bool { return runs(v, "one") && c.elsewhere(v, "one", from) })
				c.serves("one")
				c.restart(c.proc("agent-" + from))
				c.until("the node is back", limit, func(v *projections.Cluster) bool { return ready(v, from) })
			}
			c.serves("one")
			c.writes("one")
			c.alone("one")
		})
	}
}
