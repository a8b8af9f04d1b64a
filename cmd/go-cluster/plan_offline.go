package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// planCommand is `go-cluster plan`: planning on a file, without a cluster.
type planCommand struct {
	State     string   `required:"" placeholder:"FILE" predictor:"file" help:"File with the state, as go-cluster state -o json prints it; - reads standard input."`
	Policy    string   `placeholder:"FILE" predictor:"file" help:"File with the guardrails; replaces those of the state."`
	Rebalance bool     `help:"Even out as far as the rules allow, whatever the threshold."`
	Drain     []string `placeholder:"NODE" help:"Take everything off a node."`
	Label     string   `placeholder:"NODE" help:"Change labels of a node, as node label does: k=v, or k- to remove one."`
	Changes   []string `arg:"" optional:"" help:"Label changes, with --label."`
}

// Help is printed by kong.
func (*planCommand) Help() string {
	return `Prints what would move, in which order, and the least number of moves that could do. Nothing is asked of a cluster, and nothing happens.

Examples:
  go-cluster state -o json > state.json
  go-cluster plan --state state.json --rebalance
  go-cluster plan --state state.json --drain node-3 -o json
  go-cluster plan --state state.json --label node-3 role=storage`
}

// Run is called by kong.
func (cmd *planCommand) Run(s *session) error {
	if (cmd.Label == "") != (len(cmd.Changes) == 0) {
		return fail(exitUsage, "plan: --label NODE and label changes (k=v, k-) belong together")
	}
	b, err := s.readUpTo(cmd.State, snapshot.MaxStateBytes)
	if err != nil {
		return err
	}
	state, err := snapshot.Decode(b)
	if err != nil {
		return fail(exitUsage, "%s", listed(faultLines(cmd.State, err)))
	}
	if cmd.Policy != "" {
		policy, err := s.readPolicy(cmd.Policy)
		if err != nil {
			return err
		}
		state.Policy = &policy
	}
	req := engine.Request{Rebalance: cmd.Rebalance}
	if err := cmd.change(state, &req); err != nil {
		return fail(exitUsage, "plan: %v", err)
	}
	p, err := model.Compile(state)
	if err != nil {
		return fail(exitUsage, "%v", err)
	}
	plan := engine.Compute(p, req)
	return s.print(plan.Plan, func() { s.offlineTable(plan.Plan) })
}

// change carries out on the state what the flags ask for.
func (cmd *planCommand) change(state *snapshot.State, req *engine.Request) error {
	find := func(id string) (*snapshot.Node, error) {
		i := slices.IndexFunc(state.Nodes, func(n snapshot.Node) bool { return n.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("no node %s in the state", id)
		}
		return &state.Nodes[i], nil
	}
	for _, id := range cmd.Drain {
		n, err := find(id)
		if err != nil {
			return err
		}
		n.Scheduling = api.Draining
	}
	if cmd.Label == "" {
		return nil
	}
	n, err := find(cmd.Label)
	if err != nil {
		return err
	}
	change, err := spec.ParseLabelChange(cmd.Changes)
	if err != nil {
		return err
	}
	n.Labels = change.Apply(n.Labels)
	req.Labelled = []string{n.ID}
	return nil
}

func (s *session) offlineTable(p *snapshot.Plan) {
	g := newGrid(s.out, "instance", "move", "class", "reason", "wave", "why")
	for _, m := range p.Moves {
		g.row(m.Instance, route(m.From, m.To), string(m.Class), m.Reason, fmt.Sprint(m.Wave), m.Why)
	}
	g.flush("nothing would move")
	for _, d := range p.Deferred {
		until := "until somebody acts"
		if !d.Until.IsZero() {
			until = "until " + d.Until.UTC().Format(time.RFC3339)
		}
		s.sayf("%s is held by %s %s: %s", d.Instance, d.Rule, until, d.Detail)
	}
	for _, pd := range p.Pending {
		s.sayf("%s has nowhere to go", pd.Instance)
		s.rejections(s.out, "  ", pd.Rejections)
		s.relax(s.out, "  ", pd.Relax)
	}
	for _, b := range p.Blocked {
		s.sayf("%s cannot go to %s: it waits in a circle with %s", b.Instance, b.To, strings.Join(b.Cycle, ", "))
	}
	stay := 0
	for _, st := range p.Standbys {
		if st.Fate == snapshot.FateStays {
			stay++
			continue
		}
		s.sayf("standby %s on %s %s: %s", st.Instance, st.Node, st.Fate, st.Why)
	}
	if stay > 0 {
		s.sayf("%d of %d standbys stay where they are", stay, len(p.Standbys))
	}
	s.sayf("%s", p.Why)
}
