package sim

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// machines are those that a cut log is given to.
type machines string

const (
	others   machines = "others"   // of the same names, on which nothing is
	rebooted machines = "rebooted" // the same ones, on which nothing is any more but who they are
	kept     machines = "kept"     // the same ones: their leases are held, and what the log has there runs; agents and services begin anew, without journals
)

// resume gives a new cluster the beginning of a log, and nothing that anybody remembers.
func resume(t *testing.T, h scenario, log []events.Message, cut int, how machines) {
	t.Helper()
	left, whole := folded(log[:cut]), folded(log)
	Run(t, nil, func(c *Cluster) {
		c.KillServices("s1")
		for _, m := range log[:cut] {
			e := m.Event
			if _, err := c.JS.Publish(context.Background(), c.Subjects.Event(e.Aggregate, e.Type, e.Target), m.Raw); err != nil {
				c.T.Fatal(err)
			}
			c.For(10 * time.Millisecond)
		}
		newRunner(c, h).misbehave()
		for id, labels := range h.nodes {
			n, boot := left.Nodes[id], "after"
			if n != nil && how != others {
				c.identify(id, n.Machine)
			}
			if n != nil && how == kept {
				boot = "boot"
				c.carryOn(left, n)
			}
			c.StartNode(id, labels, boot)
		}
		c.StartServices("s1")
		c.Until("every node is there", 5*time.Minute, func(v *projections.Cluster) bool {
			for id := range h.nodes {
				if n := v.Nodes[id]; n == nil || n.Status != projections.StatusReady || how != kept && n.Joined.Seq <= uint64(cut) {
					return false
				}
			}
			return true
		})
		open := openIn(left)
		c.Until("what was open has ended", 15*time.Minute, func(v *projections.Cluster) bool {
			return !slices.ContainsFunc(open, func(m *projections.Migration) bool {
				return v.Migrations[m.Migration] == nil || !v.Migrations[m.Migration].Ended()
			})
		})
		quiet(c)
		lawful(t, c, false)
		if how == kept {
			c.View(func(v *projections.Cluster) { alike(t, c, left, v, whole) })
		}
	})
}

// alike: where no machine has lost anything, what was open ends as it did in the history, and leaves its instance where it did. What may differ is what
// rests on more than the log, and is passed over: what leaves its place with data, which the machine had that was to ship them, and has not here; and what was cancelled
// or timed out, which a person or a clock did at another moment.
func alike(t *testing.T, c *Cluster, left, got, want *projections.Cluster) {
	t.Helper()
	for _, m := range openIn(left) {
		a, b := got.Migrations[m.Migration], want.Migrations[m.Migration]
		data := left.Apps[m.App].Spec.Replicated() && !m.Standby() && m.From != ""
		if data || b.Cancel != nil || b.Code == "step_timeout" {
			continue
		}
		if a.Status != b.Status || a.Left != b.Left || a.Code != b.Code || a.From != b.From || a.To != b.To {
			t.Errorf("%s of %s ends as %s %s (%s) with %q, without the cut as %s %s (%s) with %q\n%s", what(left, m), m.Instance,
				a.Status, a.Left, a.Code, a.Detail, b.Status, b.Left, b.Code, b.Detail, c.Story())
		}
	}
}

// misbehave has programs behave as they do from the beginning of a history on.
func (r *runner) misbehave() {
	for _, h := range r.s.steps {
		if h.verb == "behave" && h.at == 0 {
			if err := r.behaviour(h.args); err != nil {
				r.c.T.Fatal(err)
			}
		}
	}
}

// carryOn makes a machine one on which what the log has there goes on: its lease is held, the epochs that it was granted are written down, and
// what was reported to run runs. What was ordered and not reported has not been done.
func (c *Cluster) carryOn(v *projections.Cluster, n *projections.Node) {
	count, err := strconv.ParseUint(n.Inc[strings.LastIndexByte(n.Inc, '.')+1:], 10, 64)
	if err == nil {
		_, err = transport.NewLeases(c.JS, c.Subjects).Put(context.Background(), api.Lease{State: api.LeaseHeld, Node: n.ID, Inc: n.Inc, Machine: n.Machine,
			Boot: "boot", N: count, TTL: spec.Duration(TTL)}, 0)
	}
	if err != nil {
		c.T.Fatal(err)
	}
	epochs := map[string]uint64{}
	for _, a := range v.SortedApps() {
		for _, t := range a.Terms {
			if t.Node == n.ID && t.Activated {
				epochs[a.Name] = max(epochs[a.Name], t.Epoch)
			}
		}
		for _, in := range a.SortedInstances() {
			if c.runsAt(a, in, n.ID) {
				c.begin(a, in, n.ID)
			}
		}
	}
	c.write(n.ID, "epochs.json", epochs)
}

// runsAt says whether reports had it that an instance runs on a node.
func (c *Cluster) runsAt(a *projections.App, in *projections.Instance, node string) bool {
	for _, m := range a.Main() {
		if m.Instance != in.ID {
			continue
		}
		switch {
		case m.Order == nil: // nothing was done yet
		case m.Kind == events.KindPlace:
			return false
		case a.Spec.Mode == spec.Singleton:
			return in.Node == node && a.Leader != nil && !a.Leader.Ended && a.Leader.Activated && a.Leader.Node == node && m.Order.Step != events.StepActivate
		case m.Kind == events.KindInPlace:
			return in.Node == node && !m.Committed
		case m.Committed && m.To == node:
			return true
		}
	}
	return in.Node == node && in.State == api.InstanceRunning
}

// begin has an instance run on a node as its agent would have started it.
func (c *Cluster) begin(a *projections.App, in *projections.Instance, node string) {
	run := agent.Instance{ID: in.ID, App: a.Spec, Node: node, Role: api.RoleMember, Generation: in.Generation}
	if a.Spec.Mode == spec.Singleton {
		run.Role, run.Epoch, run.Fenced = api.RoleActive, a.Leader.Epoch, a.Spec.OnIsolation == spec.OnIsolationStop
	}
	if _, err := c.Programs.node(node).Start(context.Background(), run); err != nil {
		c.T.Fatal(err)
	}
}

// identify makes a node's directory that of a machine which was there before, and of which nothing else is left.
func (c *Cluster) identify(node, machine string) {
	c.write(node, "machine.json", map[string]string{"cluster": "sim", "node": node, "machine": machine})
}

// write puts a file of an agent into its directory.
func (c *Cluster) write(node, name string, v any) {
	dir := filepath.Join(c.dir, node)
	b, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
	}
	if err != nil {
		c.T.Fatal(err)
	}
}
