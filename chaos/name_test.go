//go:build linux

package chaos

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/projections"
)

// Two agents are never the same node: the second is refused and told who the first is. When the first is gone for good, the second
// may take its name, and then the first is refused, and ends what it had left running.
func TestTwoAgentsOfOneName(t *testing.T) {
	t.Parallel()
	c := start(t, ttl, "n1", "n2")
	c.applyWeb("web", 2)
	first := c.proc("agent-n1")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	second := c.agent("n1", "other-n1", ttl)
	c.refused(c.spawn(second), "n1", host)
	copied := c.agent("n1", "n1", ttl)
	copied.name = "agent-n1-again"
	c.refused(c.spawn(copied), "used by another agent", fmt.Sprintf("process %d", first.pid()))
	c.serves("web")

	first.kill() // its member of the pool serves on
	machine := ""
	c.view(func(v *projections.Cluster) { machine = v.Nodes["n1"].Machine })
	c.restart(second)
	c.refused(second, "n1", machine)
	c.until("n1 is lost", limit, func(v *projections.Cluster) bool { return v.Nodes["n1"].Status == projections.StatusLost })
	c.restart(second)
	c.until("the other agent is n1", limit, func(v *projections.Cluster) bool {
		return ready(v, "n1") && v.Nodes["n1"].Machine != machine && runs(v, "web")
	})
	c.restart(first)
	c.refused(first, "n1")
	c.serves("web") // and the first has stopped what it had
}

// refused waits until an agent has ended, with an error that contains the parts.
func (c *cluster) refused(agent *process, parts ...string) {
	c.t.Helper()
	until(c.t, agent.name+" ends", limit, func() bool {
		select {
		case <-agent.ended():
			return true
		default:
			return false
		}
	})
	if code := agent.exitCode(); code != 1 {
		c.t.Errorf("%s ends with exit code %d", agent.name, code)
	}
	b, err := os.ReadFile(agent.log)
	if err != nil {
		c.t.Fatal(err)
	}
	said := string(b)
	said = said[max(0, strings.LastIndex(said, "error:")):]
	for _, part := range parts {
		if !strings.Contains(said, part) {
			c.t.Errorf("%s does not name %q: %s", agent.name, part, said)
		}
	}
}
