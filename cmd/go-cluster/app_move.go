package main

import (
	"github.com/go-cluster/go-cluster/api"
)

type appMove struct {
	App         string `arg:"" predictor:"app" help:"App to move."`
	From        string `predictor:"node" placeholder:"NODE" help:"Node that the instance leaves. Needed when the app has several instances."`
	To          string `predictor:"node" placeholder:"NODE" help:"Node that it moves to. Default: the best eligible one."`
	Force       bool   `help:"Override the guardrails (cooldown, rate, windows, freeze); never a hard placement rule."`
	DeleteLocal bool   `help:"Delete the local data on the node that it leaves, once what is stored of them has been restored and checked."`
	Sync        bool   `help:"In the final phase of the move, acknowledge a commit only once it is stored in the cluster: a node that is lost then loses none. For data of Go programs."`
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
	req := api.MoveRequest{Meta: c.command(), App: cmd.App, From: cmd.From, To: cmd.To, Force: cmd.Force, DeleteLocal: cmd.DeleteLocal, Sync: cmd.Sync}
	if cmd.DryRun {
		return c.dryRun(cmd.PlanFlags, api.PreviewRequest{Move: &req}, false)
	}
	return c.move(req, cmd.Detach)
}

func (c *client) move(req api.MoveRequest, detach bool) error {
	ack, err := call[api.MoveRequest, api.Ack](c, api.AppMove, req)
	if err != nil {
		return err
	}
	return c.followAck(ack, &watched{id: ack.Order, kind: "move", name: req.App}, detach, "nothing to do: "+req.App+" is there already")
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
