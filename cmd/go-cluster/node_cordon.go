package main

import (
	"github.com/go-cluster/go-cluster/api"
)

type nodeCordon struct{ NodeChoice }

// Help is printed by kong.
func (*nodeCordon) Help() string {
	return `Examples:
  go-cluster node cordon node-1
  go-cluster node cordon -l zone=us-east-1a`
}

// Run is called by kong.
func (cmd *nodeCordon) Run(s *session) error {
	return s.scheduling(cmd.NodeChoice, api.NodeCordon, "cordoned", "already cordoned")
}

type nodeUncordon struct{ NodeChoice }

// Help is printed by kong.
func (*nodeUncordon) Help() string {
	return `Nothing moves back by itself, except what is Pending: see go-cluster app rebalance --all.

Examples:
  go-cluster node uncordon node-1`
}

// Run is called by kong.
func (cmd *nodeUncordon) Run(s *session) error {
	return s.scheduling(cmd.NodeChoice, api.NodeUncordon, "uncordoned", "already uncordoned")
}

func (s *session) scheduling(choice NodeChoice, ep api.Endpoint, did, already string) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ids, err := choice.resolve(c)
	if err != nil {
		return err
	}
	if err := c.allKnown(ids); err != nil {
		return err
	}
	acks, err := c.eachNode(ids, ep, did, already)
	if e := c.data(acks); e != nil {
		return e
	}
	return err
}
