package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

type appRebalance struct {
	App    string `arg:"" optional:"" predictor:"app" help:"App to even out."`
	All    bool   `help:"Every app."`
	Status bool   `help:"Say how even the cluster is, what is under way, and what automatic rebalancing does next."`
	Stop   bool   `help:"Call off what is under way, also what began by itself: nothing more is moved, and what is before its commit is rolled back."`
	PlanFlags
	FollowFlags
}

// Help is printed by kong.
func (*appRebalance) Help() string {
	return `Examples:
  go-cluster app rebalance cache
  go-cluster app rebalance --all --dry-run
  go-cluster app rebalance --status
  go-cluster app rebalance --stop`
}

// Validate is called by kong.
func (cmd *appRebalance) Validate() error {
	switch {
	case cmd.Status || cmd.Stop:
		if cmd.App != "" || cmd.All || cmd.DryRun || cmd.Status && cmd.Stop {
			return errors.New("--status, --stop: each stands alone")
		}
	case (cmd.App == "") != cmd.All:
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
	switch {
	case cmd.Status:
		return c.rebalanceStatus()
	case cmd.Stop:
		return c.stopRebalances()
	}
	req := api.RebalanceRequest{Meta: c.command(), App: cmd.App, All: cmd.All}
	if cmd.DryRun {
		return c.dryRun(cmd.PlanFlags, api.PreviewRequest{Rebalance: &req}, false)
	}
	return c.evenOut(req, cmd.Detach)
}

func (c *client) evenOut(req api.RebalanceRequest, detach bool) error {
	rep, err := call[api.RebalanceRequest, api.RebalanceReply](c, api.AppRebalance, req)
	if err != nil {
		return err
	}
	name := req.App
	if req.All {
		name = "all apps"
	}
	imbalance := fmt.Sprintf("imbalance %s → %s", percent(rep.Before), percent(rep.After))
	if len(rep.Moves) == 0 {
		return c.print(rep, func() { c.sayf("nothing to move for %s: imbalance %s", name, percent(rep.Before)) })
	}
	w := &watched{id: rep.Order, kind: "rebalance", name: name, seq: rep.Seq}
	if detach || rep.Order == "" {
		return c.accepted(rep, fmt.Sprintf("rebalance of %s accepted: %s, %s", name, count(len(rep.Moves), "move"), imbalance), w.lookHint())
	}
	c.notef("rebalance of %s: %s, %s", name, count(len(rep.Moves), "move"), imbalance)
	return c.follow(newProgress(w), rep.Seq)
}

func percent(f float64) string { return fmt.Sprintf("%.0f%%", f*100) }

// points writes a part of a percentage, which is not a share of it.
func points(f float64) string { return count(int(math.Round(f*100)), "point") }

func (c *client) stopRebalances() error {
	ack, err := call[api.StopRequest, api.Ack](c, api.RebalanceStop, api.StopRequest{Meta: c.command()})
	if err != nil {
		return err
	}
	return c.print(ack, func() {
		c.sayf("%s", map[bool]string{true: "rebalancing is stopped; what has moved stays where it is", false: "no rebalance is open"}[ack.Changed])
	})
}

func (c *client) rebalanceStatus() error {
	rep, err := call[api.ListRequest, api.RebalanceStatus](c, api.RebalanceShow, api.ListRequest{Meta: c.question(0)})
	if err != nil {
		return err
	}
	return c.print(rep, func() {
		c.sayf("imbalance %s; the fullest node is %s above the mean, of which %s no move mends", percent(rep.Imbalance), percent(rep.Raw), points(rep.Structural))
		for _, r := range rep.Open {
			c.rebalance("open", r)
			for _, w := range r.Waiting {
				c.sayf("  %s %s waits: go-cluster migration list --app %s", w.Instance, route(w.From, w.To), w.App)
			}
		}
		if rep.Last != nil {
			c.rebalance("last", *rep.Last)
		}
		c.sayf("automatic: %s", rep.Why)
		if !rep.Next.IsZero() {
			c.sayf("next look: %s", rep.Next.UTC().Format(time.RFC3339))
		}
	})
}

func (s *session) rebalance(word string, r api.RebalanceView) {
	line := fmt.Sprintf("%s: %s, %s, by %s at %s: %d of %s moved", word, r.Order, s.state(r.State), r.By, r.At.UTC().Format(time.RFC3339), r.Moved, count(r.Proposed, "proposal"))
	if r.Failed > 0 {
		line += fmt.Sprintf(", %d failed", r.Failed)
	}
	s.sayf("%s (%s)", line, join(r.Reason, r.Why))
}
