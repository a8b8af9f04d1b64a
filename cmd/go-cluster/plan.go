package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// PlanFlags are for commands whose consequences can be asked for beforehand. Its name is exported, as that of every embedded set
// of flags, because kong finds no hooks in unexported ones.
type PlanFlags struct {
	DryRun           bool `help:"Print what would happen, by the code that would do it, and do nothing."`
	DetailedExitcode bool `name:"detailed-exitcode" help:"With --dry-run: exit 10 when there are changes."`
}

// Validate is called by kong.
func (f PlanFlags) Validate() error {
	if f.DetailedExitcode && !f.DryRun {
		return errors.New("--detailed-exitcode: needs --dry-run")
	}
	return nil
}

// outcome ends a dry run.
func (f PlanFlags) outcome(changes bool) error {
	if f.DetailedExitcode && changes {
		return done(exitChanges)
	}
	return nil
}

// FollowFlags are for commands that move something.
type FollowFlags struct {
	Detach bool `help:"Return as soon as the order is accepted; do not watch."`
}

// plan asks what a change would do.
func (c *client) plan(req api.PreviewRequest, minSeq uint64) (api.PreviewReply, error) {
	req.Meta = c.question(minSeq)
	return call[api.PreviewRequest, api.PreviewReply](c, api.PlanPreview, req)
}

// dryRun prints a plan that nobody carries out, and how good it is; changes says whether the command changes something besides what
// moves.
func (c *client) dryRun(f PlanFlags, req api.PreviewRequest, changes bool) error {
	req.Forecast = true
	rep, err := c.plan(req, 0)
	if err != nil {
		return err
	}
	if err := c.print(rep, func() { c.planTable(rep) }); err != nil {
		return err
	}
	return f.outcome(changes || changesAnything(rep))
}

func changesAnything(rep api.PreviewReply) bool {
	return len(rep.Moves) > 0 || len(rep.Held) > 0 || len(rep.NewlyPending) > 0
}

func (s *session) planTable(rep api.PreviewReply) {
	g := newGrid(s.out, "instance", "move", "reason", "wave", "why")
	row := func(m api.PlannedMove) {
		why := m.Why
		if m.Due {
			why = strings.TrimSpace(why + " (due anyway)")
		}
		g.row(m.Instance, route(m.From, m.To), m.Reason, strconv.Itoa(m.Wave), why)
	}
	all := len(rep.Moves) + len(rep.Held)
	moves := slices.Clone(rep.Moves)
	for _, h := range rep.Held {
		if h.Wave > 0 {
			moves = append(moves, h.PlannedMove)
		}
	}
	slices.SortStableFunc(moves, func(x, y api.PlannedMove) int { return cmp.Compare(x.Wave, y.Wave) })
	for _, m := range moves {
		row(m)
	}
	g.flush("nothing would move")
	for _, h := range rep.Held {
		if h.Wave > 0 {
			continue
		}
		fmt.Fprintf(s.out, "%s %s is held (%s)\n", h.Instance, route(h.From, h.To), h.Reason)
		for _, why := range h.Holds {
			fmt.Fprintf(s.out, "  %s\n", holdLine(why))
		}
	}
	s.pending(s.out, rep.Pending)
	if all > 0 {
		least := fmt.Sprintf("at least %d needed, gap %s", rep.Bound.MinMoves, percent(rep.Gap))
		if rep.Bound.Exact {
			least = "no plan needs fewer"
		}
		waves := ", all held"
		if rep.Waves > 0 {
			waves = " in " + count(rep.Waves, "wave")
		}
		more := ""
		if rep.More {
			more = "the first "
		}
		fmt.Fprintf(s.out, "%s%s%s: %s\n", more, count(all, "move"), waves, least)
	}
	fmt.Fprintf(s.out, "imbalance %s → %s\n", percent(rep.Before.Imbalance), percent(rep.After.Imbalance))
}

// holdLine writes one guardrail that holds a move.
func holdLine(h events.Hold) string {
	if h.Until.IsZero() {
		return h.Rule + ": " + h.Detail
	}
	return fmt.Sprintf("%s until %s: %s", h.Rule, h.Until.UTC().Format(time.RFC3339), h.Detail)
}

// accepted prints the acknowledgement of a detached command.
func (s *session) accepted(reply any, what, look string) error {
	return s.print(reply, func() { s.sayf("%s; look with: %s", what, look) })
}
