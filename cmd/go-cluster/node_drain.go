package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type nodeDrain struct {
	NodeChoice
	Force       bool `help:"At the time limit, stop what is left. Needs --timeout."`
	DeleteLocal bool `help:"Delete an instance's local data on the node after it has moved."`
	Cancel      bool `help:"Call the drain off. The node stays cordoned: see go-cluster node uncordon."`
	PlanFlags
	FollowFlags
}

// Help is printed by kong.
func (*nodeDrain) Help() string {
	return `All named nodes are cordoned before anything moves, so that nothing lands on the next one. Every instance starts elsewhere and is
healthy there before it counts as moved; one with nowhere to go serves on where it is, and the drain stays open.

--timeout limits the work, not the watching: when it is up, moves before their commit are rolled back, what is left serves on
where it is, and the node stays cordoned. With --force what is left is stopped.

Examples:
  go-cluster node drain node-1 --timeout 5m
  go-cluster node drain node-1 node-2 --dry-run
  go-cluster node drain -l zone=us-east-1a --detach
  go-cluster node drain node-1 --cancel`
}

func (*nodeDrain) limitsWork() bool { return true }

// AfterApply is called by kong.
func (cmd *nodeDrain) AfterApply(g *globals) error {
	switch {
	case cmd.Cancel && (cmd.Force || cmd.DeleteLocal || cmd.DryRun || g.Timeout > 0):
		return errors.New("--cancel: goes with none of --force, --delete-local, --dry-run and --timeout")
	case cmd.Force && g.Timeout == 0:
		return errors.New("--force: needs --timeout, which says when what is left is stopped")
	}
	return nil
}

// Run is called by kong.
func (cmd *nodeDrain) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ids, err := cmd.resolve(c)
	if err != nil {
		return err
	}
	req := api.DrainRequest{Meta: c.command(), Nodes: ids, Timeout: spec.Duration(s.Timeout), Force: cmd.Force, DeleteLocal: cmd.DeleteLocal}
	switch {
	case cmd.Cancel:
		return cmd.cancel(c, ids)
	case cmd.DryRun:
		takes, err := c.takesPlacements(ids)
		if err != nil {
			return err
		}
		return c.dryRun(cmd.PlanFlags, api.PreviewRequest{Drain: &req}, takes)
	}
	return cmd.carryOut(c, req, 0)
}

// carryOut cordons and drains, and follows. planned is what its first step may rest on, 0 for anything: see api.Meta.IfPlanned.
func (cmd *nodeDrain) carryOut(c *client, req api.DrainRequest, planned uint64) error {
	ids := req.Nodes
	if err := c.allKnown(ids); err != nil {
		return err
	}
	since, err := c.cordonAll(ids, planned)
	if err != nil {
		return err
	}
	req.Meta = c.command() // its time runs from here, not from before the cordons
	req.MinSeq = since
	rep, err := call[api.DrainRequest, api.DrainReply](c, api.NodeDrain, req)
	if err != nil {
		return &exit{code: codeOf(err), err: err, hint: fmt.Sprintf("the nodes are cordoned now; lift that with: go-cluster node uncordon %s", strings.Join(ids, " "))}
	}
	var orders []*watched
	for _, id := range ids {
		if order := rep.Orders[id]; order != "" {
			orders = append(orders, &watched{id: order, kind: "drain", name: id, seq: rep.Seq})
		}
	}
	switch {
	case len(orders) == 0:
		return c.print(rep, func() { c.sayf("nothing to do: nothing is left on %s", strings.Join(ids, ", ")) })
	case cmd.Detach:
		return c.accepted(rep, "drain of "+strings.Join(ids, ", ")+" accepted", orders[0].lookHint())
	}
	return c.follow(newProgress(orders...), rep.Seq)
}

// allKnown makes sure that of several nodes none is touched where one is mistyped.
func (c *client) allKnown(ids []string) error {
	if len(ids) == 1 {
		return nil // its command says so itself
	}
	nodes, err := c.nodes(api.ListRequest{})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(nodes, func(n api.NodeView) bool { return n.ID == id }) {
			return fail(exitNotFound, "nothing is done: no node %s", id).try("go-cluster node list")
		}
	}
	return nil
}

// cordonAll cordons every node before the first is drained and returns the sequence of the last cordon. At the first error
// nothing is drained; the nodes before it stay cordoned.
func (c *client) cordonAll(ids []string, planned uint64) (uint64, error) {
	var seq uint64
	for i, id := range ids {
		meta := c.command()
		if i == 0 {
			meta.IfPlanned = planned
		}
		ack, err := call[api.NodeRequest, api.Ack](c, api.NodeCordon, api.NodeRequest{Meta: meta, Node: id})
		if err != nil {
			e := &exit{code: codeOf(err), err: fmt.Errorf("nothing is drained: %w", err)}
			if i > 0 {
				e.hint = "lift the cordons already made with: go-cluster node uncordon " + strings.Join(ids[:i], " ")
			}
			return 0, e
		}
		if ack.Changed {
			c.notef("%s cordoned", id)
		}
		seq = max(seq, ack.Seq)
	}
	return seq, nil
}

// takesPlacements reports whether any of the nodes still takes placements, which a drain would end.
func (c *client) takesPlacements(ids []string) (bool, error) {
	for _, id := range ids {
		n, err := c.node(id)
		if err != nil {
			return false, err
		}
		if n.Scheduling == api.Schedulable {
			return true, nil
		}
	}
	return false, nil
}

func (cmd *nodeDrain) cancel(c *client, ids []string) error {
	if err := c.allKnown(ids); err != nil {
		return err
	}
	acks, err := c.eachNode(ids, api.NodeDrainCancel, "is not drained any more; it stays cordoned", "was not being drained")
	if e := c.data(acks); e != nil {
		return e
	}
	return err
}
