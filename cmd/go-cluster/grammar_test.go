package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func parse(t *testing.T, args ...string) (*grammar, string, error) {
	t.Helper()
	var g grammar
	parser, err := newParser(&g, &session{ctx: t.Context(), out: io.Discard, err: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(args)
	if err != nil {
		return nil, "", err
	}
	return &g, k.Command(), nil
}

// The command lines of the product's promise, word for word, with the names that a person puts in.
func TestPromisedCommandLines(t *testing.T) {
	for _, tc := range []struct {
		line    []string
		command string
		check   func(*grammar) (got, want any)
	}{
		{[]string{"app", "move", "convex", "--from", "node-1", "--to", "node-2"}, "app move <app>",
			func(g *grammar) (any, any) { return g.App.Move, appMove{App: "convex", From: "node-1", To: "node-2"} }},
		{[]string{"app", "move", "convex", "--from", "node-1"}, "app move <app>",
			func(g *grammar) (any, any) { return g.App.Move, appMove{App: "convex", From: "node-1"} }},
		{[]string{"app", "rebalance", "cache"}, "app rebalance <app>",
			func(g *grammar) (any, any) { return g.App.Rebalance, appRebalance{App: "cache"} }},
		{[]string{"app", "rebalance", "--all"}, "app rebalance",
			func(g *grammar) (any, any) { return g.App.Rebalance, appRebalance{All: true} }},
		{[]string{"node", "drain", "node-1"}, "node drain <node>",
			func(g *grammar) (any, any) {
				return g.Node.Drain, nodeDrain{NodeChoice: NodeChoice{Nodes: []string{"node-1"}}}
			}},
		{[]string{"node", "drain", "node-1", "--timeout", "5m"}, "node drain <node>",
			func(g *grammar) (any, any) { return g.Timeout, 5 * time.Minute }},
		{[]string{"app", "evacuate", "--label", "zone=us-east-1a"}, "app evacuate",
			func(g *grammar) (any, any) { return g.App.Evacuate, appEvacuate{Label: "zone=us-east-1a"} }},
		{[]string{"node", "label", "node-2", "role=compute", "zone=us-east-1a"}, "node label <node> <change>",
			func(g *grammar) (any, any) {
				return g.Node.Label, nodeLabel{Node: "node-2", Changes: []string{"role=compute", "zone=us-east-1a"}}
			}},
		{[]string{"node", "label", "node-2", "role-"}, "node label <node> <change>",
			func(g *grammar) (any, any) {
				return g.Node.Label, nodeLabel{Node: "node-2", Changes: []string{"role-"}}
			}},
		{[]string{"node", "show", "node-2"}, "node show <node>",
			func(g *grammar) (any, any) { return g.Node.Show, nodeShow{Node: "node-2"} }},
		{[]string{"node", "cordon", "node-1"}, "node cordon <node>",
			func(g *grammar) (any, any) { return g.Node.Cordon.Nodes, []string{"node-1"} }},
		{[]string{"node", "uncordon", "node-1"}, "node uncordon <node>",
			func(g *grammar) (any, any) { return g.Node.Uncordon.Nodes, []string{"node-1"} }},
		{[]string{"node", "label", "node-3", "zone=us-east-1b"}, "node label <node> <change>",
			func(g *grammar) (any, any) { return g.Node.Label.Changes, []string{"zone=us-east-1b"} }},
		{[]string{"node", "wait-stable", "node-3", "--timeout", "2m"}, "node wait-stable <node>",
			func(g *grammar) (any, any) { return g.Timeout, 2 * time.Minute }},
	} {
		t.Run(strings.Join(tc.line, " "), func(t *testing.T) {
			g, command, err := parse(t, tc.line...)
			if err != nil {
				t.Fatal(err)
			}
			if command != tc.command {
				t.Errorf("command %q, want %q", command, tc.command)
			}
			got, want := tc.check(g)
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOtherCommandLines(t *testing.T) {
	for _, line := range []string{
		"node drain node-1 node-2 -l zone=a --timeout 5m --force --delete-local --detach",
		"node drain -l zone=a --dry-run --detailed-exitcode",
		"node drain node-1 --cancel",
		"node cordon -l zone=a",
		"node label node-1 role=compute old- --allow-pending --if-revision 7",
		"node wait-stable node-1 --since-seq 12",
		"node lost node-1 --confirm",
		"node remove node-1",
		"node list -o wide",
		"app move convex --from node-1 --to node-2 --force --delete-local --sync --dry-run",
		"app evacuate --label zone=a --timeout 10m",
		"app apply -f a.yaml -f b.yaml",
		"app apply -f -",
		"app logs convex -f --tail 20 --instance convex-0",
		"app restart convex --detach",
		"app remove convex --delete-local",
		"migration list --app convex --node node-1",
		"migration show m1",
		"migration cancel m1",
		"policy show",
		"policy set -f policy.yaml",
		"freeze",
		"unfreeze --source safety",
		"events -f --since-seq 10 --app convex --node node-1",
		"audit list -n 5",
		"audit tail -o json",
		"audit verify -o json",
		"audit verify --laws",
		"completion bash -c",
		"version -o json",
		"-o yaml --cluster prod -s nats://h:4222 app list",
	} {
		if _, _, err := parse(t, strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct{ line, wants string }{
		{"app mvoe convex", `did you mean "move"`},
		{"app rebalance", "either an app or --all"},
		{"app rebalance cache --all", "either an app or --all"},
		{"app evacuate", "--label"},
		{"app evacuate --label a==b==c", "position"},
		{"app move convex --detailed-exitcode", "needs --dry-run"},
		{"node drain", "at least one node"},
		{"node drain node-1 --force", "needs --timeout"},
		{"node drain node-1 --cancel --timeout 5m", "goes with none of"},
		{"node cordon -l ,", "selector"},
		{"node label node-1", "no label given"},
		{"node label node-1 role", "want key=value"},
		{"node label node-1 a=1 a-", "already given"},
		{"node lost node-1", "--confirm"},
		{"app list -o xml", "want one of table, wide, json, yaml"},
		{"app list --timeout=-1s", "must not be negative"},
		{"audit list -n 0", "want 1 to 1000"},
		{"unfreeze --source nobody", `must be one of "operator","safety","policy" but got "nobody"`},
		{"app logs web -o json", "--output json: what an app writes is printed as it is"},
	} {
		o := cli(t.Context(), "", strings.Fields(tc.line)...)
		if o.code != exitUsage || !strings.Contains(o.errors, tc.wants) || !strings.HasPrefix(o.errors, "error: ") || o.out != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want %d and %q", tc.line, o.code, o.out, o.errors, exitUsage, tc.wants)
		}
	}
}

func TestHelpExitsWell(t *testing.T) {
	for _, line := range []string{"", "--help", "app --help", "node drain --help"} {
		if o := cli(t.Context(), "", strings.Fields(line)...); o.code != exitDone || !strings.HasPrefix(o.out, "Usage: go-cluster") || o.errors != "" {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", line, o.code, o.out, o.errors)
		}
	}
}
