//go:build linux

package chaos

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/transport"
)

// tree returns what a node consists of: apps, watchdogs, and the agent itself.
func (c *cluster) tree(node string) (apps, dogs []int, agent int) {
	for _, p := range processesOf(filepath.Join(c.dir, "nodes", node)) {
		switch {
		case p.getenv("GC_DATA_DIR") != "":
			apps = append(apps, p.pid)
		case len(p.argv) > 1 && p.argv[1] == "watchdog":
			dogs = append(dogs, p.pid)
		}
	}
	return apps, dogs, c.proc("agent-" + node).pid()
}

func (c *cluster) signalAll(s syscall.Signal, pids ...int) {
	c.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil {
			c.t.Fatalf("%s to %d: %v", s, pid, err)
		}
	}
}

// incarnation returns that of a node which is ready, else "".
func incarnation(v *projections.Cluster, node string) string {
	if n := v.Nodes[node]; n != nil && n.Status == projections.StatusReady {
		return n.Inc
	}
	return ""
}

// An agent that stands still for longer than its lease lasts comes back as nobody: its singleton runs elsewhere by then.
func TestStoppedAgent(t *testing.T) {
	t.Parallel()
	c := start(t, ttl, "n1", "n2", "n3")
	from := c.applyCounter("one")
	c.applyWeb("web", 3)
	c.writes("one")
	was := ""
	c.view(func(v *projections.Cluster) { was = incarnation(v, from) })
	agent := c.proc("agent-" + from)
	if err := agent.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.until("the singleton runs elsewhere", limit, func(v *projections.Cluster) bool { return runs(v, "one") && c.elsewhere(v, "one", from) })
	c.serves("one")
	c.alone("one")
	lost := c.seq()
	if err := agent.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.until("the node has joined anew", limit, func(v *projections.Cluster) bool {
		inc := incarnation(v, from)
		return inc != "" && inc != was && runs(v, "one") && runs(v, "web")
	})
	c.serves("one")
	c.serves("web")
	c.writes("one")
	c.alone("one")
	for _, e := range c.stored(lost) {
		if d, ok := e.Data.(*events.LeadershipGranted); ok {
			t.Errorf("%d: the return of %s led to a grant of epoch %d to %s", e.Seq, from, d.Epoch, d.Node)
		}
	}
}

func (c *cluster) elsewhere(v *projections.Cluster, app, from string) bool {
	return !slices.ContainsFunc(v.Apps[app].SortedInstances(), func(in *projections.Instance) bool { return in.Node == from })
}

// A node of which everything stands still, as a paused machine does, and goes on after its singleton was taken over. Where the
// watchdog is woken up no later than the program, nothing of the program is ever seen again. Where the program is first it runs for
// the moment that its watchdog takes to kill it, which nobody can prevent: what it still writes then carries the epoch that is over.
func TestStoppedTree(t *testing.T) {
	for name, first := range map[string]bool{"program last": false, "program first": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, ttl, "n1", "n2", "n3")
			from := c.applyCounter("one")
			c.writes("one")
			was := ""
			c.view(func(v *projections.Cluster) { was = incarnation(v, from) })
			apps, dogs, agent := c.tree(from)
			if len(apps) != 1 || len(dogs) != 1 {
				t.Fatalf("apps %v, watchdogs %v of %s", apps, dogs, from)
			}
			c.signalAll(syscall.SIGSTOP, slices.Concat([]int{agent}, dogs, apps)...)
			c.until("the singleton runs elsewhere", limit, func(v *projections.Cluster) bool { return runs(v, "one") && c.elsewhere(v, "one", from) })
			c.writes("one")
			woken := transport.Boottime()
			if first {
				c.signalAll(syscall.SIGCONT, slices.Concat(apps, dogs, []int{agent})...)
			} else {
				c.signalAll(syscall.SIGCONT, dogs...)
				until(t, "the watchdog has killed its program", limit, func() bool { return len(c.living("one")) == 1 })
				c.signalAll(syscall.SIGCONT, agent)
			}
			c.until("the node has joined anew", limit, func(v *projections.Cluster) bool {
				inc := incarnation(v, from)
				return inc != "" && inc != was && runs(v, "one")
			})
			c.serves("one")
			c.writes("one")
			if !first {
				c.alone("one")
				return
			}
			const moment = time.Second // on a busy machine; it is a millisecond on an idle one
			all, _ := lives(t, c.journal("one"))
			for _, l := range all {
				if l.pid == apps[0] && l.last > woken+moment {
					t.Errorf("woken up at %s it wrote on: %s", woken, l)
				}
			}
		})
	}
}

// A program that stands still while everything around it is well is found out by its health check, which says so in the log and in
// what people are shown. It is not ended for that: whether a program that does not answer is better dead is not known here. Who
// knows it restarts the app, and a stopped program cannot prevent that.
func TestStoppedApp(t *testing.T) {
	t.Parallel()
	c := start(t, 10*ttl, "n1", "n2", "n3")
	c.applyCounter("one")
	c.writes("one")
	old := c.living("one")[0].pid
	c.signalAll(syscall.SIGSTOP, old)
	c.until("the log has it unhealthy", limit, func(v *projections.Cluster) bool {
		return !v.Apps["one"].SortedInstances()[0].Healthy
	})
	app := ask[struct {
		State     string `json:"state"`
		Instances []struct {
			Detail string `json:"detail"`
		} `json:"instances"`
	}](c, "app", "show", "one")
	if app.State != api.AppDegraded || len(app.Instances) != 1 || !strings.Contains(app.Instances[0].Detail, "no answer within 1s") {
		t.Errorf("app show says %+v", app)
	}
	c.must("app", "restart", "one")
	c.serves("one")
	if now := c.living("one")[0].pid; now == old {
		t.Errorf("it is process %d still", now)
	}
	c.writes("one")
	c.alone("one")
}

// When the server stands still nobody is heard of, and nobody is declared lost for it.
func TestStoppedNATS(t *testing.T) {
	for _, d := range []time.Duration{ttl + ttl/5 + 100*time.Millisecond, 4 * ttl} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			c := start(t, ttl, "n1", "n2", "n3")
			c.applyCounter("one")
			c.applyCounter("two")
			c.applyWeb("web", 3)
			members := c.living("web")
			began := c.seq()
			nats := c.proc("nats")
			if err := nats.signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			pass(t, d)
			if left := c.living("web"); len(left) != len(members) {
				t.Errorf("of %d members of the pool %d live on without the server", len(members), len(left))
			}
			if d > 2*ttl {
				if left := slices.Concat(c.living("one"), c.living("two")); len(left) > 0 {
					t.Errorf("singletons that outlive their lease:\n%s", describe(left))
				}
			}
			if err := nats.signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			for _, app := range []string{"one", "two"} {
				c.serves(app)
				c.writes(app)
				c.alone(app)
			}
			c.serves("web")
			for _, p := range members {
				if !slices.ContainsFunc(c.living("web"), func(s seen) bool { return s.pid == p.pid }) {
					t.Errorf("member %s of the pool (process %d) was replaced", p.getenv("GC_INSTANCE"), p.pid)
				}
			}
			for _, e := range c.stored(began) {
				if strings.HasPrefix(string(e.Type), "node.membership.") {
					t.Errorf("%d: %s of %s", e.Seq, e.Type, e.Node)
				}
			}
		})
	}
}
