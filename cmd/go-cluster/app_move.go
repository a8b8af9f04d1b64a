package main

import (
	"errors"
	"fmt"

	"github.com/go-cluster/go-cluster/api"
)

type appMove struct {
	App   string `arg:"" predictor:"app" help:"App to move."`
	From  string `predictor:"node" placeholder:"NODE" help:"Node that the instance leaves. Needed when the app has several instances."`
	To    string `predictor:"node" placeholder:"NODE" help:"Node that it moves to. Default: the best eligible one."`
	Force bool   `help:"Override the guardrails (cooldown, rate, windows, freeze); never a hard placement rule."`
	PlanFlags
	FollowFlags
}

// Help is printed by kong.
func (*appMove) Help() string {
	return `Examples:
  go-cluster app move convex --from node-1 --to node-2
  go-cluster app move convex --from node-1              # the best eligible node
  go-cluster app move convex --from node-1 --dry-run    # where would it go, and why`
}

// Run is called by kong.
func (cmd *appMove) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	req := api.MoveRequest{Meta: c.command(), App: cmd.App, From: cmd.From, To: cmd.To, Force: cmd.Force}
	if cmd.DryRun {
		return c.dryRun(cmd.PlanFlags, api.PreviewRequest{Move: &req}, false)
	}
	ack, err := call[api.MoveRequest, api.Ack](c, api.AppMove, req)
	if err != nil {
		return err
	}
	return c.followAck(ack, &watched{id: ack.Order, kind: "move", name: cmd.App}, cmd.Detach, "nothing to do: "+cmd.App+" is there already")
}

// followAck carries a command with one order from its acknowledgement to its end.
func (c *client) followAck(ack api.Ack, w *watched, detach bool, nothing string) error {
	switch {
	case ack.Order == "":
		return c.print(ack, func() { c.sayf("%s", nothing) })
	case detach:
		return c.accepted(ack, w.kind+" "+w.name+" accepted ("+ack.Order+")", w.lookHint())
	}
	w.seq = ack.Seq
	return c.follow(newProgress(w), ack.Seq)
}

type appRebalance struct {
	App string `arg:"" optional:"" predictor:"app" help:"App to even out."`
	All bool   `help:"Every app."`
	PlanFlags
	FollowFlags
}

// Help is printed by kong.
func (*appRebalance) Help() string {
	return `Examples:
  go-cluster app rebalance cache
  go-cluster app rebalance --all --dry-run`
}

// Validate is called by kong.
func (cmd *appRebalance) Validate() error {
	if (cmd.App == "") != cmd.All {
		return errors.New("want either an app or --all")
	}
	return nil
}

// Run is called by kong.
func (cmd *appRebalance) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := call[api.RebalanceRequest, api.RebalanceReply](c, api.AppRebalance,
		api.RebalanceRequest{Meta: c.command(), App: cmd.App, All: cmd.All, DryRun: cmd.DryRun})
	if err != nil {
		return err
	}
	name := cmd.App
	if cmd.All {
		name = "all apps"
	}
	imbalance := fmt.Sprintf("imbalance %s → %s", percent(rep.Before), percent(rep.After))
	if cmd.DryRun {
		err := c.print(rep, func() {
			c.proposals(rep)
			c.sayf("%s", imbalance)
		})
		if err != nil {
			return err
		}
		return cmd.outcome(len(rep.Moves) > 0)
	}
	if len(rep.Moves) == 0 {
		return c.print(rep, func() { c.sayf("nothing to move for %s: imbalance %s", name, percent(rep.Before)) })
	}
	w := &watched{id: rep.Order, kind: "rebalance", name: name, seq: rep.Seq}
	if cmd.Detach || rep.Order == "" {
		return c.accepted(rep, fmt.Sprintf("rebalance of %s accepted: %s, %s", name, count(len(rep.Moves), "move"), imbalance), w.lookHint())
	}
	c.notef("rebalance of %s: %s, %s", name, count(len(rep.Moves), "move"), imbalance)
	return c.follow(newProgress(w), rep.Seq)
}

func (s *session) proposals(rep api.RebalanceReply) {
	g := newGrid(s.out, "instance", "move", "why")
	for _, m := range rep.Moves {
		g.row(m.Instance, route(m.From, m.To), m.Why)
	}
	g.flush("nothing would move")
}

func percent(f float64) string { return fmt.Sprintf("%.0f%%", f*100) }
