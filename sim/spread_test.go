package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// spreads says whether an app runs on exactly these nodes, each instance named after its node, and nothing of it is under way.
func spreads(v *projections.Cluster, app string, nodes ...string) bool {
	a := v.Apps[app]
	if a == nil || len(a.Open) > 0 || len(a.Instances) != len(nodes) {
		return false
	}
	for _, n := range nodes {
		if in := a.Instances[spec.InstanceOn(app, n)]; in == nil || in.Node != n || in.State != "running" {
			return false
		}
	}
	return true
}

// One on every eligible node: it follows labels, joins and losses; a cordon adds none, a drain stops without replacement, and no
// instance ever moves.
func TestSpread(t *testing.T) {
	Run(t, compute("n-1", "n-2", "n-3"), func(c *Cluster) {
		proxy := spec.App{Name: "edge-proxy", Mode: spec.Spread, Require: []string{"role=compute"}, Process: &spec.Process{Command: []string{"/bin/app"}}}
		on := func(what string, nodes ...string) {
			t.Helper()
			c.Until(what, 5*time.Minute, func(v *projections.Cluster) bool { return spreads(v, proxy.Name, nodes...) })
		}
		if _, err := Ask[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: proxy}); err != nil {
			t.Fatal(err)
		}
		on("it runs everywhere", "n-1", "n-2", "n-3")
		if _, err := Ask[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: proxy.Name, From: "n-1", To: "n-2"}); api.CodeOf(err) != api.CodeMode {
			t.Errorf("a move: %v, want code %s", err, api.CodeMode)
		}
		if _, err := Ask[api.Ack](c, api.NodeCordon, api.NodeRequest{Meta: c.Meta(), Node: "n-1"}); err != nil {
			t.Fatal(err)
		}
		c.StartNode("n-4", map[string]string{"role": "compute"}, "boot")
		on("it follows a join, and a cordon stops nothing", "n-1", "n-2", "n-3", "n-4")
		c.Label("n-2", map[string]string{"role": "web"})
		on("it leaves a node that is not eligible any more", "n-1", "n-3", "n-4")
		c.Crash("n-3")
		on("it does without a lost node", "n-1", "n-4")
		c.StartNode("n-3", map[string]string{"role": "compute"}, "boot-2")
		on("it is back with the node", "n-1", "n-3", "n-4")
		c.KillAgent("n-4")
		c.For(10 * time.Second)
		c.RestartAgent("n-4")
		if _, err := Ask[api.DrainReply](c, api.NodeDrain, api.DrainRequest{Meta: c.Meta(), Nodes: []string{"n-4"}}); err != nil {
			t.Fatal(err)
		}
		c.Until("the drain has ended", 5*time.Minute, func(v *projections.Cluster) bool { return !v.Nodes["n-4"].Draining() })
		on("a drain stops it without a replacement", "n-1", "n-3")
		if _, err := Ask[api.Ack](c, api.NodeUncordon, api.NodeRequest{Meta: c.Meta(), Node: "n-4"}); err != nil {
			t.Fatal(err)
		}
		on("an uncordon brings it back", "n-1", "n-3", "n-4")
		for _, e := range c.Log() {
			if d, ok := e.Data.(*events.MigrationStarted); ok && d.Kind == events.KindMove {
				t.Errorf("%s moved %s → %s", d.Instance, d.FromNode, d.ToNode)
			}
		}
		view, err := Ask[api.AppDetail](c, api.AppShow, api.AppRequest{App: proxy.Name})
		if err != nil || view.State != api.AppRunning || view.Desired != 3 || view.Running != 3 || !slices.Equal(view.Nodes, []string{"n-1", "n-3", "n-4"}) {
			t.Errorf("app show: %+v %v", view.AppView, err)
		}
	})
}
