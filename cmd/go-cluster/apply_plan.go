package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json"
	"sigs.k8s.io/yaml"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// maxPlanBytes is the longest plan file that is read.
const maxPlanBytes = 64 << 20

// applyPlan is `go-cluster apply --plan`: what a dry run said, done.
type applyPlan struct {
	Plan         string `required:"" placeholder:"FILE" predictor:"file" help:"What a command with --dry-run -o json (or yaml) printed; - reads standard input."`
	AllowPending bool   `help:"Go on even when a label change leaves apps with nowhere to go, as the plan says."`
	FollowFlags
}

// Help is printed by kong.
func (*applyPlan) Help() string {
	return `Plans anew what the file was planned for. If that gives the same moves, the same holds and the same Pending, and what the change
replaces is what it was, the command of the dry run is carried out and followed to its end; else nothing is done, it is said what differs, and the
exit code is 9. What is due whether the change is made or not is not compared.

Examples:
  go-cluster node drain node-1 --dry-run -o json > plan.json
  go-cluster apply --plan plan.json
  go-cluster app rebalance --all --dry-run -o json | go-cluster apply --plan -`
}

// Run is called by kong.
func (cmd *applyPlan) Run(s *session) error {
	b, err := s.readUpTo(cmd.Plan, maxPlanBytes)
	if err != nil {
		return err
	}
	plan, err := decodePlan(b)
	if err != nil {
		return fail(exitUsage, "%s: %w", cmd.Plan, err).try("the output of a command with --dry-run -o json, such as: go-cluster node drain NODE --dry-run -o json")
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	var raced error
	const tries = 5 // of a plan that stands, while the log goes on between looking and doing
	for range tries {
		req := *plan.Do
		req.Forecast = true
		now, err := c.plan(req, 0)
		if code := codeOf(err); code == exitRefused || code == exitNotFound { // the dry run was not
			return fail(exitConflict, "nothing is done: the state has changed since the plan was made: %w", err).try("plan anew with --dry-run")
		}
		if err != nil {
			return err
		}
		if plan.Cluster != now.Cluster {
			return fail(exitUsage, "%s: it was made for cluster %s, this is %s", cmd.Plan, quoted(plan.Cluster), now.Cluster)
		}
		if differs := planDifferences(plan, now); len(differs) > 0 {
			return fail(exitConflict, "nothing is done: the state has changed since the plan was made\n  %s", strings.Join(differs, "\n  ")).
				try("plan anew with --dry-run")
		}
		if len(now.NewlyPending) > 0 && req.Label != nil && !cmd.AllowPending {
			c.pending(c.err, newlyPending(now))
			return fail(exitRefused, "node %s keeps its labels: %s would have nowhere to go", req.Label.Node, strings.Join(now.NewlyPending, ", ")).
				try("label another node first, or repeat with --allow-pending")
		}
		if raced = cmd.carryOut(c, req, now); codeOf(raced) != exitConflict {
			return raced
		}
	}
	return fail(exitConflict, "nothing is done: %w", raced).try("the plan itself still stands: repeat the command")
}

// carryOut sends the command of a plan; its first step is refused with exitConflict if anything has happened since the plan.
func (cmd *applyPlan) carryOut(c *client, do api.PreviewRequest, now api.PreviewReply) error {
	meta := c.command()
	meta.IfPlanned = now.Seq
	switch {
	case do.Label != nil:
		req := *do.Label
		req.Meta = meta
		return (&nodeLabel{Node: req.Node, AllowPending: cmd.AllowPending, Wait: !cmd.Detach}).carryOut(c, req, now)
	case do.Drain != nil:
		return (&nodeDrain{FollowFlags: cmd.FollowFlags}).carryOut(c, *do.Drain, now.Seq)
	case do.Evacuate != nil:
		req := *do.Evacuate
		req.Meta = meta
		return c.evacuate(req, cmd.Detach)
	case do.Move != nil:
		req := *do.Move
		req.Meta = meta
		return c.move(req, cmd.Detach)
	case do.Rebalance != nil:
		req := *do.Rebalance
		req.Meta = meta
		return c.evenOut(req, cmd.Detach)
	case do.Policy != nil:
		req := *do.Policy
		req.Meta = meta
		return c.setPolicy(req)
	}
	apps := []spec.App{do.Apply.Spec}
	for _, a := range do.Also {
		apps = append(apps, a.Spec)
	}
	return (&appApply{FollowFlags: cmd.FollowFlags}).carryOut(c, apps, now.Seq)
}

// decodePlan reads a plan file, strictly: what is not understood is not carried out.
func decodePlan(b []byte) (plan api.PreviewReply, err error) {
	if len(b) > maxPlanBytes {
		return plan, fmt.Errorf("longer than %d MiB", maxPlanBytes>>20)
	}
	if b, err = yaml.YAMLToJSONStrict(b); err != nil {
		return plan, fmt.Errorf("neither JSON nor YAML: %w", err)
	}
	if err := json.Unmarshal(b, &plan, json.RejectUnknownMembers(true)); err != nil {
		return plan, fmt.Errorf("not a plan: %w", err)
	}
	if plan.Do == nil {
		return plan, errors.New("not a plan: it does not say what to do")
	}
	do, kinds := plan.Do, 0
	for _, given := range []bool{do.Label != nil, do.Drain != nil, do.Evacuate != nil, do.Move != nil, do.Apply != nil, do.Policy != nil, do.Rebalance != nil} {
		if given {
			kinds++
		}
	}
	if kinds != 1 || do.Uncordon != nil || len(do.Also) > 0 && do.Apply == nil {
		return plan, errors.New("not a plan: want one thing to do: label, drain, evacuate, move, apply, policy or rebalance")
	}
	if do.Drain != nil && len(do.Drain.Nodes) == 0 {
		return plan, errors.New("not a plan: a drain of no node")
	}
	return plan, nil
}

// planDifferences says in what a plan made anew is another one. Scores, times and what is due anyway are no difference.
func planDifferences(was, now api.PreviewReply) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(was.Rests)) {
		if w, n := was.Rests[k], now.Rests[k]; w != n {
			out = append(out, fmt.Sprintf("%s was %s, is %s", k, quoted(w), quoted(n)))
		}
	}
	w, n := planLines(was), planLines(now)
	for _, k := range slices.Sorted(maps.Keys(w)) {
		if other, is := n[k]; !is {
			out = append(out, fmt.Sprintf("%s: was to %s, and is not any more", k, w[k]))
		} else if other != w[k] {
			out = append(out, fmt.Sprintf("%s: was to %s, is to %s", k, w[k], other))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(n)) {
		if _, is := w[k]; !is {
			out = append(out, fmt.Sprintf("%s: is to %s, and was not", k, n[k]))
		}
	}
	return out
}

// planLines says in words what becomes of each instance, and of each app that is left without a place.
func planLines(p api.PreviewReply) map[string]string {
	out := map[string]string{}
	line := func(m api.PlannedMove, held string) {
		if m.Due {
			return
		}
		does := "move " + route(m.From, m.To) + held
		switch {
		case m.To == "":
			does = "stop on " + m.From + held
		case m.From == "":
			does = "start on " + m.To + held
		case m.From == m.To:
			does = "restart on " + m.To + held
		}
		if before := out[m.Instance]; before != "" { // in an earlier wave
			does = before + ", then " + does
		}
		out[m.Instance] = does
	}
	for _, m := range p.Moves {
		line(m, "")
	}
	for _, h := range p.Held {
		held := ""
		if h.Wave == 0 { // it does not only wait for its turn
			var rules []string
			for _, why := range h.Holds {
				rules = append(rules, why.Rule)
			}
			held = " (held by " + strings.Join(rules, ", ") + ")"
		}
		line(h.PlannedMove, held)
	}
	for _, app := range p.NewlyPending {
		out["app "+app] = "be left with nowhere to go"
	}
	return out
}
