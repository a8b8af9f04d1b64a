package main

import (
	"errors"
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// NodeChoice names nodes, by id or by their labels.
type NodeChoice struct {
	Nodes    []string `arg:"" optional:"" name:"node" predictor:"node" help:"Nodes."`
	Selector string   `short:"l" placeholder:"SELECTOR" help:"Also every node whose labels match, such as zone=us-east-1a."`
}

// Validate is called by kong.
func (n NodeChoice) Validate() error {
	if len(n.Nodes) == 0 && n.Selector == "" {
		return errors.New("want at least one node, or -l SELECTOR")
	}
	if n.Selector == "" {
		return nil
	}
	_, err := spec.ParseSelector(n.Selector)
	return err
}

// resolve returns the nodes, each once, in the order given and then by name.
func (n NodeChoice) resolve(c *client) ([]string, error) {
	var ids []string
	for _, id := range n.Nodes {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if n.Selector == "" {
		return ids, nil
	}
	sel, err := spec.ParseSelector(n.Selector)
	if err != nil {
		return nil, fail(exitUsage, "%w", err)
	}
	nodes, err := c.nodes(api.ListRequest{})
	if err != nil {
		return nil, err
	}
	var matching []string
	for _, v := range nodes {
		if v.Status != api.NodeHasLeft && sel.Matches(v.Labels) && !slices.Contains(ids, v.ID) {
			matching = append(matching, v.ID)
		}
	}
	slices.Sort(matching)
	if ids = append(ids, matching...); len(ids) == 0 {
		return nil, fail(exitNotFound, "no node matches %s", n.Selector).try("go-cluster node list -o wide")
	}
	return ids, nil
}

func (c *client) nodes(req api.ListRequest) ([]api.NodeView, error) {
	req.Meta = c.question(0)
	return call[api.ListRequest, []api.NodeView](c, api.NodeList, req)
}

// eachNode sends one command for each node, goes on after an error, and reports every one.
func (c *client) eachNode(ids []string, ep api.Endpoint, did, already string) ([]api.Ack, error) {
	var (
		acks  = []api.Ack{}
		codes []int
	)
	for _, id := range ids {
		ack, err := call[api.NodeRequest, api.Ack](c, ep, api.NodeRequest{Meta: c.command(), Node: id})
		switch {
		case err != nil:
			c.explain(err)
			codes = append(codes, codeOf(err))
			continue
		case ack.Changed:
			c.sayf("%s %s", id, did)
		default:
			c.sayf("%s %s", id, already)
		}
		acks = append(acks, ack)
	}
	return acks, done(gravest(codes...))
}
