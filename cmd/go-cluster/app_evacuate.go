package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type appEvacuate struct {
	Label  string `required:"" placeholder:"SELECTOR" help:"Nodes to empty: zone=us-east-1a, 'zone in (a,b),!gpu' …"`
	Cancel bool   `help:"Call the evacuation off. What is under way before its commit is rolled back; what has left stays where it is."`
	PlanFlags
	FollowFlags
}

// Help is printed by kong.
func (*appEvacuate) Help() string {
	return `The order stays open: until it has ended, nothing is placed on a node that matches. --timeout limits the work: moves before
their commit are then rolled back and what is left serves on where it is.

Examples:
  go-cluster app evacuate --label "zone=us-east-1a"
  go-cluster app evacuate --label "zone=us-east-1a" --dry-run
  go-cluster app evacuate --label "zone=us-east-1a" --cancel`
}

func (*appEvacuate) limitsWork() bool { return true }

// Validate is called by kong.
func (cmd *appEvacuate) Validate() error {
	if cmd.Label == "" {
		return errors.New("--label: say which nodes, such as zone=us-east-1a")
	}
	_, err := spec.ParseSelector(cmd.Label)
	return err
}

// AfterApply is called by kong.
func (cmd *appEvacuate) AfterApply(g *globals) error {
	if cmd.Cancel && (cmd.DryRun || g.Timeout > 0) {
		return errors.New("--cancel: goes with neither --dry-run nor --timeout")
	}
	return nil
}

// Run is called by kong.
func (cmd *appEvacuate) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	if cmd.Cancel {
		return cmd.cancel(c)
	}
	if !cmd.matches(c) {
		return fail(exitNotFound, "no node matches %s", cmd.Label).try("go-cluster node list -o wide")
	}
	req := api.EvacuateRequest{Meta: c.command(), Selector: cmd.Label, Timeout: spec.Duration(s.Timeout)}
	if cmd.DryRun {
		return c.dryRun(cmd.PlanFlags, api.PreviewRequest{Evacuate: &req}, false)
	}
	return c.evacuate(req, cmd.Detach)
}

func (c *client) evacuate(req api.EvacuateRequest, detach bool) error {
	ack, err := call[api.EvacuateRequest, api.Ack](c, api.AppEvacuate, req)
	if err != nil {
		return err
	}
	return c.followAck(ack, &watched{id: ack.Order, kind: "evacuation", name: req.Selector}, detach,
		fmt.Sprintf("nothing to do: nothing runs on nodes with %s", req.Selector))
}

func (cmd *appEvacuate) cancel(c *client) error {
	ack, err := call[api.EvacuateRequest, api.Ack](c, api.AppUnevacuate, api.EvacuateRequest{Meta: c.command(), Selector: cmd.Label})
	if err != nil {
		return err
	}
	return c.print(ack, func() {
		c.sayf("%s", map[bool]string{true: "the evacuation of " + cmd.Label + " is called off; what has left stays where it is",
			false: "no evacuation of " + cmd.Label + " is open"}[ack.Changed])
	})
}

// matches reports whether the selector means any node: a misspelt zone is not an empty one. In doubt it does: who has to leave a
// zone does not wait for a list of nodes.
func (cmd *appEvacuate) matches(c *client) bool {
	sel, err := spec.ParseSelector(cmd.Label)
	if err != nil {
		return true // the control plane says what is wrong
	}
	ctx, cancel := context.WithTimeout(c.ctx, logLimit)
	defer cancel()
	nodes, err := callCtx[api.ListRequest, []api.NodeView](ctx, c, api.NodeList, api.ListRequest{Meta: c.question(0)})
	return err != nil || slices.ContainsFunc(nodes, func(n api.NodeView) bool { return n.Status != api.NodeHasLeft && sel.Matches(n.Labels) })
}
