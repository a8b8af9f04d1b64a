package main

import (
	"fmt"

	"github.com/go-cluster/go-cluster/api"
)

type appWhyNot struct {
	App      string `arg:"" predictor:"app" help:"App to explain."`
	Node     string `required:"" predictor:"node" placeholder:"NODE" help:"Node that it does not run on."`
	Instance string `placeholder:"ID" help:"Instance that is to go there. Default: the one that is worst off where it is."`
}

// Help is printed by kong.
func (*appWhyNot) Help() string {
	return `Every rule that the node fails, with its values, every guardrail that would hold a move there, and the smallest change that would
allow it: each has been tried by planning again. Where nothing stands against it, the scores say why it is not wanted there.

Examples:
  go-cluster app why-not convex --node node-3
  go-cluster why-not web --node node-2 -o json`
}

// Run is called by kong.
func (cmd *appWhyNot) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := call[api.WhyNotRequest, api.WhyNotReply](c, api.AppWhyNot,
		api.WhyNotRequest{Meta: c.question(0), App: cmd.App, Node: cmd.Node, Instance: cmd.Instance})
	if err != nil {
		return err
	}
	return s.print(rep, func() { s.whyNotText(rep) })
}

func (s *session) whyNotText(rep api.WhyNotReply) {
	if !rep.Allowed {
		if rep.Standby != "" {
			s.sayf("%s is there as a standby", rep.Standby)
		}
		fmt.Fprintf(s.out, "%s refuses %s: %s\n", s.style.bold(rep.Node), s.style.bold(rep.App), count(len(rep.Rejections), "rule"))
		s.rejections(s.out, "  ", rep.Rejections)
		for _, r := range rep.Relax {
			fmt.Fprintf(s.out, "  %s %s\n", s.style.good("it would be allowed:"), r.Detail)
			for _, c := range r.Commands {
				fmt.Fprintf(s.out, "    %s\n", c)
			}
		}
		if len(rep.Relax) == 0 {
			fmt.Fprintf(s.out, "  %s\n", s.style.faint("no change of that node or of the app's rules alone would allow it without taking another app's place"))
		}
	} else {
		s.sayf("%s", rep.Why)
		s.scoreTable(rep)
	}
	for _, h := range rep.Holds {
		fmt.Fprintf(s.out, "%s by itself it would be held: %s\n", s.style.warn("guardrail:"), holdLine(h))
	}
	for _, h := range rep.HoldsAsked {
		fmt.Fprintf(s.out, "%s app move would be refused without --force: %s\n", s.style.warn("guardrail:"), holdLine(h))
	}
	if rep.Allowed && rep.At != "" && rep.At != rep.Node && len(rep.Scores) > 0 {
		s.sayf("to move it all the same: go-cluster app move %s --from %s --to %s", rep.App, rep.At, rep.Node)
	}
}

func (s *session) scoreTable(rep api.WhyNotReply) {
	if len(rep.Scores) == 0 {
		return
	}
	g := newGrid(s.out, "node", "score", "instances", "preference", "load", "failed lately", "there now")
	g.indent = "  "
	for _, n := range rep.Scores {
		there := ""
		if n.Here {
			there = "yes"
		}
		g.row(n.Node, fmt.Sprint(n.Total), fmt.Sprint(n.Instances), fmt.Sprint(n.Preference), percent(n.Load), fmt.Sprint(n.Failed), there)
	}
	g.flush("")
}
