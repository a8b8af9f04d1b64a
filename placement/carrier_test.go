package placement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// An app is refused where none of the nodes that it may run on can carry its address, however many others can, and where its address is a node's.
func TestNoCarrier(t *testing.T) {
	v := projections.NewCluster("test")
	for i, n := range []struct {
		node, zone, iface string
		processes         bool
	}{{"n1", "a", "eth0", true}, {"n2", "b", "eth1", true}, {"n3", "b", "", true}, {"n4", "b", "eth0", false}} {
		facts := events.Facts{Address: fmt.Sprintf("10.0.0.%d", i+1)}
		if n.processes {
			facts.Drivers = []string{"process"}
		}
		if n.iface != "" {
			facts.VIP = &events.VIPFacts{Interfaces: []string{n.iface}}
		}
		v.Nodes[n.node] = &projections.Node{ID: n.node, Inc: n.node + "/1", Status: projections.StatusReady, Labels: map[string]string{"zone": n.zone}, Facts: facts}
	}
	for _, c := range []struct {
		what  string
		app   func(*spec.App)
		nodes string // that say why not
	}{
		{"n1 can", func(*spec.App) {}, ""},
		{"those in its zone cannot, and one there runs no processes", func(a *spec.App) { a.Require = []string{"zone=b"} }, "n2 n3"},
		{"the one that it may run on cannot", func(a *spec.App) { a.OnNodes = []string{"n2"} }, "n2"},
		{"it may run nowhere: it waits", func(a *spec.App) { a.Require = []string{"zone=c"} }, ""},
		{"it may run nowhere, and nobody could", func(a *spec.App) { a.Require, a.VIP.Interface = []string{"zone=c"}, "eth7" }, "n1 n2 n3 n4"},
		{"its address is that of a node", func(a *spec.App) { a.VIP.Address = "10.0.0.3/24" }, "n3"},
	} {
		a := spec.App{Name: "db", Mode: spec.Singleton, Process: &spec.Process{Command: []string{"db"}}, VIP: &spec.VIP{Address: "10.0.0.9/24", Interface: "eth0"}}
		c.app(&a)
		var nodes []string
		for _, r := range NoCarrier(v, a) {
			if nodes = append(nodes, r.Node); r.Code != events.RuleVIP || !strings.Contains(r.Detail, a.VIP.Address) {
				t.Errorf("%s: %+v", c.what, r)
			}
		}
		if got := strings.Join(nodes, " "); got != c.nodes {
			t.Errorf("%s: refused for %q, want %q", c.what, got, c.nodes)
		}
	}
}
