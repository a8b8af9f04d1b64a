package main

import (
	"github.com/go-cluster/go-cluster/api"
)

type nodeLost struct {
	Node    string `arg:"" predictor:"node" help:"Node whose machine is off."`
	Confirm bool   `help:"You vouch that the machine is off and stays off until it has rebooted."`
}

// Help is printed by kong.
func (*nodeLost) Help() string {
	return `Apps that serve on in isolation are not taken over from a silent node by themselves: two of them might run. With this command you
say that the old ones are gone. If they are not, both will run.

Examples:
  go-cluster node lost node-3 --confirm`
}

// Run is called by kong.
func (cmd *nodeLost) Run(s *session) error {
	if !cmd.Confirm {
		if err := s.noSuchNode(cmd.Node); err != nil {
			return err
		}
		return fail(exitUsage, "node %s: make sure that its machine is off, then repeat with --confirm", cmd.Node).
			try("go-cluster node lost %s --confirm", cmd.Node)
	}
	return s.membership(api.NodeLost, api.NodeRequest{Node: cmd.Node, Confirm: true}, "is lost: what ran there is placed again", "was lost already")
}

// noSuchNode returns the error of a name that no node has; a cluster that cannot be asked says nothing against it.
func (s *session) noSuchNode(id string) error {
	c, err := s.connect()
	if err != nil {
		return nil
	}
	defer c.close()
	if _, err := c.node(id); api.CodeOf(err) == api.CodeNotFound {
		return err
	}
	return nil
}

type nodeRemove struct {
	Node string `arg:"" predictor:"node" help:"Node to take out. It must be empty and lost: drain it and stop its agent first."`
}

// Help is printed by kong.
func (*nodeRemove) Help() string {
	return `A node that answers is not removed: drain it, stop its agent, and wait until it is lost, which is when its lease has run out.

Examples:
  go-cluster node drain node-3
  go-cluster node list           (the agent of node-3 is stopped: until it is lost)
  go-cluster node remove node-3`
}

// Run is called by kong.
func (cmd *nodeRemove) Run(s *session) error {
	return s.membership(api.NodeRemove, api.NodeRequest{Node: cmd.Node}, "removed", "had left already")
}

func (s *session) membership(ep api.Endpoint, req api.NodeRequest, did, already string) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	req.Meta = c.command()
	ack, err := call[api.NodeRequest, api.Ack](c, ep, req)
	if err != nil {
		return err
	}
	return s.print(ack, func() {
		if !ack.Changed {
			did = already
		}
		s.sayf("%s %s", req.Node, did)
	})
}
