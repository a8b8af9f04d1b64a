package sim

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/projections"
)

var (
	cutAll  = flag.Bool("sim.cuts", false, "TestTruncatedLog: cut the log at every sequence, not at a sample")
	cutSeed = flag.Uint64("sim.cutseed", 3, "TestTruncatedLog: the history whose log is cut")
)

// record lives through the faults of a history and returns its log, which ends in the midst of things.
func record(t *testing.T, h scenario) (log []events.Message) {
	t.Helper()
	h.steps = slices.DeleteFunc(h.steps, func(h happening) bool { return h.verb == "steady" || h.verb == "conformance" })
	h.start(t, func(r *runner) {
		r.play()
		log = r.c.messages()
	})
	return log
}

// Whatever the log ends with, it can be gone on from: nothing that a cluster needs is anywhere else.
func TestTruncatedLog(t *testing.T) {
	random(t)
	h := schedule(*cutSeed)
	log := record(t, h)
	if t.Failed() {
		return
	}
	rebuilt(t, log)
	step := 1
	if !*cutAll {
		step = max(len(log)/10, 1)
	}
	for cut := len(log) % step; cut <= len(log); cut += step {
		if open := openAt(log[:cut]); len(open) > 0 || cut == len(log)%step || *cutAll {
			t.Run(fmt.Sprint(cut), func(t *testing.T) { resume(t, h, log[:cut], open, cut%2 == 0) })
		}
	}
}

// rebuilt: the fold of each prefix is the fold of all before it and one event more, and none of it is damage.
func rebuilt(t *testing.T, log []events.Message) {
	t.Helper()
	v, checker := projections.NewCluster("sim"), invariants.New()
	for i, m := range log {
		v.Apply(m)
		for _, b := range checker.Event(m) {
			t.Error(b)
		}
		for agg, why := range v.Quarantined {
			t.Fatalf("%d: %s is quarantined: %s", i+1, agg, why)
		}
		if i%50 != 0 {
			continue
		}
		again := projections.NewCluster("sim")
		for _, m := range log[:i+1] {
			again.Apply(m)
		}
		if d := cmp.Diff(v, again, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
			t.Fatalf("the fold of %d events differs:\n%s", i+1, d)
		}
	}
}

func openAt(log []events.Message) (open []string) {
	v := projections.NewCluster("sim")
	for _, m := range log {
		v.Apply(m)
	}
	for _, a := range v.SortedApps() {
		for _, m := range a.SortedOpen() {
			open = append(open, m.Migration)
		}
	}
	return open
}

// resume gives a new cluster a log and nothing else: no leases, no reports, no agent's journal. The machines are the same ones after
// a reboot, or others of the same names.
func resume(t *testing.T, h scenario, log []events.Message, open []string, same bool) {
	t.Helper()
	Run(t, nil, func(c *Cluster) {
		c.KillServices("s1")
		machines := map[string]string{}
		for _, m := range log {
			e := m.Event
			if d, ok := e.Data.(*events.NodeJoined); ok {
				machines[d.Node] = d.Machine
			}
			if _, err := c.JS.Publish(context.Background(), c.Subjects.Event(e.Aggregate, e.Type, e.Target), m.Raw); err != nil {
				c.T.Fatal(err)
			}
			c.For(10 * time.Millisecond)
		}
		for id, labels := range h.nodes {
			if key := machines[id]; key != "" && same {
				c.identify(id, key)
			}
			c.StartNode(id, labels, "after")
		}
		c.StartServices("s1")
		c.Until("every node has joined anew", 5*time.Minute, func(v *projections.Cluster) bool {
			for id := range h.nodes {
				if n := v.Nodes[id]; n == nil || n.Status != projections.StatusReady || n.Joined.Seq <= uint64(len(log)) {
					return false
				}
			}
			return true
		})
		c.Until("what was open has ended", 15*time.Minute, func(v *projections.Cluster) bool {
			for _, id := range open {
				if m := v.Migrations[id]; m != nil && !m.Ended() {
					return false
				}
			}
			return true
		})
		quiet(c)
		lawful(t, c, false)
	})
}

// identify makes a node's directory that of a machine which was there before, and of which nothing else is left.
func (c *Cluster) identify(node, machine string) {
	dir := filepath.Join(c.dir, node)
	b, err := json.Marshal(map[string]string{"cluster": "sim", "node": node, "machine": machine})
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "machine.json"), b, 0o600)
	}
	if err != nil {
		c.T.Fatal(err)
	}
}
