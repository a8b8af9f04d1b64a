package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

type appWhy struct {
	App      string `arg:"" predictor:"app" help:"App to explain."`
	Instance string `placeholder:"ID" help:"Only this instance."`
}

// Help is printed by kong.
func (*appWhy) Help() string {
	return `For every instance: the event that put it where it is, the event that led to that one, and so on back to who asked or what broke.
Every link has its time, its sequence in the log, who stored it, and what it rested on. What waits, is held or has nowhere to go comes first.

Examples:
  go-cluster app why convex
  go-cluster why web --instance web-2 -o json`
}

// Run is called by kong.
func (cmd *appWhy) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := call[api.WhyRequest, api.WhyReply](c, api.AppWhy, api.WhyRequest{Meta: c.question(0), App: cmd.App, Instance: cmd.Instance})
	if err != nil {
		return c.instanceOf(cmd.App, err)
	}
	return s.print(rep, func() { s.whyText(rep) })
}

// instanceOf says of which app an instance is that was named instead of it; err is what the name alone was answered.
func (c *client) instanceOf(name string, err error) error {
	if api.CodeOf(err) != api.CodeNotFound {
		return err
	}
	end := strings.LastIndexByte(name, '-')
	if end < 0 {
		return err
	}
	app, asked := c.app(name[:end], 0)
	if asked != nil || !slices.ContainsFunc(app.Instances, func(v api.InstanceView) bool { return v.ID == name }) {
		return err
	}
	return fail(exitNotFound, "%w: it is an instance of the app %s", err, app.Name).try("go-cluster why %s --instance %s", app.Name, name)
}

func (s *session) whyText(rep api.WhyReply) {
	if len(rep.Chains) == 0 {
		s.sayf("%s has no instance, and none is missing (%s)", rep.App, s.state(rep.State))
	}
	for i, chain := range rep.Chains {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		fmt.Fprintf(s.out, "%s %s\n", s.style.bold(chain.Instance), chain.Now)
		for n, l := range chain.Links {
			lead := "because "
			if n == 0 {
				lead = ""
			}
			fmt.Fprintf(s.out, "  %s  #%d  %s%s  %s\n", l.At.UTC().Format(time.RFC3339), l.Seq, lead, l.What, s.style.faint("by "+l.Actor))
			for _, f := range l.Facts {
				fmt.Fprintf(s.out, "      %s\n", s.style.faint(readable(f)))
			}
		}
		switch id, command := strings.CutPrefix(chain.Root, "cmd:"); {
		case chain.Broken != "":
			fmt.Fprintf(s.out, "  %s %s\n", s.style.warn("the chain ends here:"), chain.Broken)
		case command:
			fmt.Fprintf(s.out, "  asked by %s (command %s)\n", s.style.bold(chain.By), id)
		default:
			fmt.Fprintf(s.out, "  seen by %s\n", s.style.bold(chain.By))
		}
		for _, m := range chain.Tried {
			fmt.Fprintf(s.out, "  since then %s %s has %s: %s\n", m.ID, route(m.FromNode, m.ToNode), m.Status, readable(m.Detail))
		}
	}
	if rep.More > 0 {
		s.sayf("\n%s more: go-cluster app why %s --instance ID", count(rep.More, "chain"), rep.App)
	}
}
