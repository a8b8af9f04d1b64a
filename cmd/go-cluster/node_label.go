package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type nodeLabel struct {
	Node         string   `arg:"" predictor:"node" help:"Node to label."`
	Changes      []string `arg:"" name:"change" help:"key=value sets a label, key- removes one."`
	AllowPending bool     `help:"Go on even when apps are left with nowhere to go."`
	IfRevision   uint64   `placeholder:"N" help:"Only if the node is at this revision (see node show -o json)."`
	Wait         bool     `help:"Wait until the moves that follow have ended and the node is stable."`
	PlanFlags
}

// Help is printed by kong.
func (*nodeLabel) Help() string {
	return `All changes are made or none. A label that exists is overwritten; what it was is printed. Apps whose rules no longer hold then
move by themselves: the command says which, and does not wait for them unless told to.

Examples:
  go-cluster node label node-2 role=compute zone=us-east-1a
  go-cluster node label node-2 role-
  go-cluster node label node-2 role=compute --dry-run
  go-cluster node label node-2 zone=us-east-1b --wait --timeout 2m`
}

// Validate is called by kong.
func (cmd *nodeLabel) Validate() error {
	_, err := spec.ParseLabelChange(cmd.Changes)
	return err
}

// labelResult is the output for programs.
type labelResult struct {
	api.LabelReply `json:",inline"`
	Moves          []api.PlannedMove `json:"moves"`   // expected to follow
	Pending        []api.PendingView `json:"pending"` // expected to have nowhere to go
}

// Run is called by kong.
func (cmd *nodeLabel) Run(s *session) error {
	change, err := spec.ParseLabelChange(cmd.Changes)
	if err != nil {
		return fail(exitUsage, "%w", err)
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	req := api.LabelRequest{Meta: c.command(), Node: cmd.Node, Set: change.Set, Remove: change.Remove, IfRevision: cmd.IfRevision}
	if cmd.DryRun {
		return cmd.dryRun(c, req, change)
	}
	return cmd.judged(c, req)
}

// judgeTries is how often a change is judged and sent while the log goes on between the two.
const judgeTries = 5

// judged asks what the change would do, and makes it if it leaves no app without a place. What was judged is what is changed: where anything has
// happened in between, such as another's change of labels, both are done again. Who wants the change whatever becomes of apps gets
// it in the end, on a log that never stands still as well.
func (cmd *nodeLabel) judged(c *client, req api.LabelRequest) error {
	var raced error
	for try := range judgeTries {
		plan, err := c.plan(api.PreviewRequest{Label: &req}, 0)
		switch {
		case err != nil && cmd.AllowPending && codeOf(err) == exitUnreachable:
			c.notef("%s which apps will move is not known: %v", styleOf(c.err).warn("warning:"), err)
		case err != nil:
			return err
		case len(plan.NewlyPending) > 0 && !cmd.AllowPending:
			c.pending(c.err, newlyPending(plan))
			return fail(exitRefused, "node %s keeps its labels: %s would have nowhere to go", cmd.Node, strings.Join(plan.NewlyPending, ", ")).
				try("label another node first, or repeat with --allow-pending")
		}
		req.Meta = c.command()
		if !cmd.AllowPending || try < judgeTries-1 {
			req.Meta.IfPlanned = plan.Seq
		}
		if raced = cmd.carryOut(c, req, plan); codeOf(raced) != exitConflict {
			return raced
		}
		if n, err := c.node(cmd.Node); cmd.IfRevision > 0 && (err != nil || n.Revision != cmd.IfRevision) {
			return raced // the node itself is another
		}
	}
	return fail(exitConflict, "node %s keeps its labels: %w", cmd.Node, raced).try("the change itself may be made: repeat the command")
}

// carryOut sends the change and says what follows from it, which is what the plan says.
func (cmd *nodeLabel) carryOut(c *client, req api.LabelRequest, plan api.PreviewReply) error {
	change := spec.LabelChange{Set: req.Set, Remove: req.Remove}
	rep, err := call[api.LabelRequest, api.LabelReply](c, api.NodeLabel, req)
	if err != nil {
		return err
	}
	for _, line := range labelLines(change, rep.Before, rep.After) {
		c.sayf("%s", line)
	}
	if cmd.Wait {
		return cmd.follow(c, rep, plan)
	}
	for _, m := range plan.Moves {
		c.sayf("%s: %s", foretold(m), m.Why)
	}
	for _, h := range plan.Held {
		for _, why := range h.Holds {
			c.sayf("%s %s is held: %s", h.Instance, route(h.From, h.To), holdLine(why))
		}
	}
	if err := c.data(labelResult{LabelReply: rep, Moves: plan.Moves, Pending: plan.Pending}); err != nil {
		return err
	}
	return cmd.outcome(c, plan)
}

// foretold says what will become of an instance.
func foretold(m api.PlannedMove) string {
	switch {
	case m.To == "":
		return m.Instance + " will stop on " + m.From
	case m.From == "":
		return m.Instance + " will start on " + m.To
	}
	return m.Instance + " will move " + route(m.From, m.To)
}

// outcome says what an allowed change left without a place.
func (cmd *nodeLabel) outcome(c *client, plan api.PreviewReply) error {
	if len(plan.NewlyPending) == 0 {
		return nil
	}
	c.pending(c.err, newlyPending(plan))
	return done(exitPending)
}

func (cmd *nodeLabel) dryRun(c *client, req api.LabelRequest, change spec.LabelChange) error {
	n, err := c.node(cmd.Node)
	if err != nil {
		return err
	}
	after := change.Apply(n.Labels)
	if !c.structured() {
		for _, line := range labelLines(change, n.Labels, after) {
			c.sayf("%s", line)
		}
	}
	rep, err := c.plan(api.PreviewRequest{Label: &req, Forecast: true}, 0)
	if err != nil {
		return err
	}
	if err := c.print(rep, func() { c.planTable(rep) }); err != nil {
		return err
	}
	if len(rep.NewlyPending) > 0 && !cmd.AllowPending { // said, and no more: a dry run ends well whatever the plan says
		c.notef("%s it would be refused: %s would have nowhere to go; repeat with --allow-pending", styleOf(c.err).warn("warning:"), strings.Join(rep.NewlyPending, ", "))
	}
	return cmd.PlanFlags.outcome(!maps.Equal(n.Labels, after) || changesAnything(rep))
}

// follow watches the moves of the apps that the plan names, until the node is stable.
func (cmd *nodeLabel) follow(c *client, rep api.LabelReply, plan api.PreviewReply) error {
	p := newProgress()
	for _, m := range plan.Moves {
		p.apps[m.App] = true
	}
	w := &watcher{outages: outages{client: c}, p: p, next: max(rep.Seq, 1), spoke: c.began, started: c.began}
	if err := w.untilStable(cmd.Node, rep.Seq); err != nil {
		return err
	}
	if err := c.data(labelResult{LabelReply: rep, Moves: plan.Moves, Pending: plan.Pending}); err != nil {
		return err
	}
	failed := p.failed()
	if len(failed) > 0 {
		c.notef("%s some moves failed: %s", styleOf(c.err).bad("error:"), strings.Join(failed, ", "))
		return done(exitFailedMoves)
	}
	return cmd.outcome(c, plan)
}

func newlyPending(plan api.PreviewReply) []api.PendingView {
	var out []api.PendingView
	for _, p := range plan.Pending {
		if slices.Contains(plan.NewlyPending, p.App) || slices.Contains(plan.NewlyPending, p.Instance) {
			out = append(out, p)
		}
	}
	return out
}

// labelLines says what became of each key of a change.
func labelLines(change spec.LabelChange, before, after map[string]string) []string {
	keys := slices.Concat(slices.Collect(maps.Keys(change.Set)), change.Remove)
	slices.Sort(keys)
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		old, had := before[k]
		now, has := after[k]
		switch {
		case !had && !has:
			out = append(out, k+" not set")
		case !had:
			out = append(out, fmt.Sprintf("label %s: %s (new)", k, quoted(now)))
		case !has:
			out = append(out, fmt.Sprintf("label %s: %s → removed", k, quoted(old)))
		case old == now:
			out = append(out, fmt.Sprintf("label %s: %s unchanged", k, quoted(now)))
		default:
			out = append(out, fmt.Sprintf("label %s: %s → %s", k, quoted(old), quoted(now)))
		}
	}
	return out
}

// quoted shows an empty value.
func quoted(v string) string {
	if v == "" {
		return `""`
	}
	return v
}
