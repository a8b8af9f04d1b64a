package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// MoveRequest names an instance by its app and node, and where it is to go.
type MoveRequest struct {
	App      string
	FromNode string // may be left out for an app with one instance
	ToNode   string // without it the platform chooses the best node
	Force    bool   // override guardrails and the veto of a hook; never a hard rule
	// DeleteLocal deletes the data on FromNode once what is stored of them has been restored and checked.
	DeleteLocal bool
	// Sync has each commit acknowledged only once it is stored in the cluster, from when the target has a copy close behind until the source
	// has stepped down, and on the target until it has stored its first copy: then not even a node that is lost in the middle of the move
	// takes an acknowledged commit with it. It is for apps with sqlite.Open; with an Application.Log it is always so. Others are refused.
	Sync bool
}

// MoveApp moves one instance and returns when it has moved, or why not: ErrRefused and ErrMode with every rule that stands against
// it, ErrFailed when it was rolled back. When ctx ends before, the move goes on.
func (p *Platform) MoveApp(ctx context.Context, r MoveRequest) error {
	what := "move " + r.App
	ack, err := call[api.MoveRequest, api.Ack](ctx, p, api.AppMove, api.MoveRequest{Meta: p.command(), App: r.App, From: r.FromNode, To: r.ToNode, Force: r.Force, DeleteLocal: r.DeleteLocal, Sync: r.Sync})
	if err != nil || ack.Order == "" { // it is there already
		return err
	}
	_, err = p.wait(ctx, what, ack.Order, ack.Seq)
	return err
}

// DrainOptions say how a node is emptied.
type DrainOptions struct {
	Timeout     time.Duration // then what is left stays where it is, and serves on; 0: none
	Force       bool          // stop at the timeout what is left, and override vetoes
	DeleteLocal bool          // delete local data once the instance is elsewhere
}

// DrainNode moves everything off a node and returns when nothing is left on it. What has nowhere to go serves on, and the error is
// ErrPending; the drain then stays open. The node stays cordoned until UncordonNode.
func (p *Platform) DrainNode(ctx context.Context, node string, o DrainOptions) error {
	if o.Timeout < 0 {
		return invalid("drain %s: Timeout %s: want 0 or more", node, o.Timeout)
	}
	rep, err := call[api.DrainRequest, api.DrainReply](ctx, p, api.NodeDrain, api.DrainRequest{Meta: p.command(), Nodes: []string{node},
		Timeout: spec.Duration(o.Timeout), Force: o.Force, DeleteLocal: o.DeleteLocal})
	if err != nil || rep.Orders[node] == "" {
		return err
	}
	_, err = p.wait(ctx, "drain "+node, rep.Orders[node], rep.Seq)
	return err
}

// CordonNode keeps new instances off a node. What runs there stays.
func (p *Platform) CordonNode(ctx context.Context, node string) error {
	return p.onNode(ctx, api.NodeCordon, node)
}

// UncordonNode lets instances onto a node again, after CordonNode or DrainNode.
func (p *Platform) UncordonNode(ctx context.Context, node string) error {
	return p.onNode(ctx, api.NodeUncordon, node)
}

func (p *Platform) onNode(ctx context.Context, e api.Endpoint, node string) error {
	ack, err := call[api.NodeRequest, api.Ack](ctx, p, e, api.NodeRequest{Meta: p.command(), Node: node})
	p.saw(ack.Seq)
	return err
}

// RebalanceApp evens out the instances of an app, or of every app with "", and returns when each move has ended.
func (p *Platform) RebalanceApp(ctx context.Context, app string) error {
	rep, err := call[api.RebalanceRequest, api.RebalanceReply](ctx, p, api.AppRebalance, api.RebalanceRequest{Meta: p.command(), App: app, All: app == ""})
	if err != nil || rep.Order == "" || len(rep.Moves) == 0 {
		p.saw(rep.Seq)
		return err
	}
	_, err = p.wait(ctx, "rebalance "+app, rep.Order, rep.Seq)
	return err
}

// EvacuateLabel moves every app off the nodes whose labels match a selector ("zone=us-east-1a"), to nodes that do not match. It
// returns when nothing is left on them, or as DrainNode does. The nodes are not cordoned.
func (p *Platform) EvacuateLabel(ctx context.Context, selector string) error {
	ack, err := call[api.EvacuateRequest, api.Ack](ctx, p, api.AppEvacuate, api.EvacuateRequest{Meta: p.command(), Selector: selector})
	if err != nil || ack.Order == "" {
		return err
	}
	_, err = p.wait(ctx, fmt.Sprintf("evacuate %s", selector), ack.Order, ack.Seq)
	return err
}
