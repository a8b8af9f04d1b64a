package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// focus is what a chain is about: the one of many that an event may be of.
type focus struct{ app, instance, migration string }

// link is an event as a part of a chain.
func link(e events.Event, of focus) api.WhyLink {
	l := api.WhyLink{Seq: e.Seq, At: e.Stored, Event: string(e.Type), Actor: e.Actor, App: e.App, Node: e.Node, ID: e.ID, Cause: causeFor(e, of.migration)}
	data := e.Data
	l.What, l.Facts = said(e, of)
	l.Facts = slices.DeleteFunc(l.Facts, func(f string) bool { return f == "" })
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		if m := moveIn(d, of.migration); m != nil {
			l.App, l.Reason = m.App, m.Reason
			one := *d
			one.Moves, one.Refused, one.Scores = []events.Move{*m}, refusedFor(d, m.App), nil
			if points, ok := d.Scores[m.Migration]; ok {
				one.Scores = map[string]int64{m.Migration: points}
			}
			data = &one
		}
	case *events.MigrationHeld:
		l.Reason = d.Reason
	case *events.MigrationPlanned:
		l.Reason = d.Reason
	case *events.RebalanceTriggered:
		one := *d
		one.Moves = slices.DeleteFunc(slices.Clone(d.Moves), func(p events.Proposal) bool { return p.Instance != of.instance })
		data = &one
	case *events.NodeJoined: // what its programs declare is not why it joined
		one := *d
		one.Facts.Apps = nil
		data = &one
	}
	if b, err := json.Marshal(data, json.Deterministic(true)); err == nil && len(b) <= 16<<10 {
		l.Data = b
	}
	return l
}

// causeFor is what led to an event: an admission of many moves has a cause for each.
func causeFor(e events.Event, migration string) string {
	if d, ok := e.Data.(*events.PlanAdmitted); ok {
		if m := moveIn(d, migration); m != nil {
			return m.Cause
		}
	}
	return e.Cause
}

// approvalFor is the event by which somebody approved of a move, "" for none.
func approvalFor(e events.Event, migration string) string {
	if d, ok := e.Data.(*events.PlanAdmitted); ok {
		if m := moveIn(d, migration); m != nil {
			return m.Approved
		}
	}
	return ""
}

func moveIn(d *events.PlanAdmitted, migration string) *events.Move {
	if i := slices.IndexFunc(d.Moves, func(m events.Move) bool { return m.Migration == migration }); i >= 0 {
		return &d.Moves[i]
	}
	return nil
}

func refusedFor(d *events.PlanAdmitted, app string) (out []events.RefusedNodes) {
	for _, r := range d.Refused {
		if r.App == app {
			out = append(out, r)
		}
	}
	return out
}

// said is an event in one sentence, and what it rested on.
func said(e events.Event, of focus) (what string, facts []string) {
	fact := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		return admitted(d, of.migration)
	case *events.MigrationCompleted:
		return fmt.Sprintf("%s ended well: %s on %s", d.Migration, d.Instance, or(d.ToNode, "no node")), []string{fmt.Sprintf("it took %s", took(d.DurationMS))}
	case *events.MigrationStarted:
		return d.Migration + " started", nil
	case *events.MigrationFailed:
		return fmt.Sprintf("%s failed (%s) and left %s at its %s", d.Migration, d.Code, d.Instance, d.Left), []string{d.Detail}
	case *events.LeadershipGranted:
		return fmt.Sprintf("epoch %d was granted to %s", d.Epoch, d.Node), nil
	case *events.MigrationHeld:
		holds(fact, d.Holds)
		return fmt.Sprintf("the %s of %s is held (%s)", ends(d.Move), d.Instance, d.Reason), facts
	case *events.MigrationPlanned:
		holds(fact, d.Holds)
		fact("the proposal ends at %s", stamp(d.Expires))
		return fmt.Sprintf("the %s of %s waits for approval (%s)", ends(d.Move), d.Instance, d.Reason), facts
	case *events.MigrationApproved:
		return fmt.Sprintf("%s approved of %s%s", e.Actor, d.Migration, because(d.Why)), nil
	case *events.PlacementInvalid:
		fact("%d nodes looked at", d.Nodes)
		for _, r := range d.Rejections {
			fact("%s: %s: %s", r.Node, r.Code, r.Detail)
		}
		return fmt.Sprintf("%s had nowhere to go: %s", d.Instance, d.Reason), facts
	case *events.NodeLabelsUpdated:
		return fmt.Sprintf("labels of %s changed: %s", d.Node, labelsDiff(d.Before, d.After)), nil
	case *events.NodeJoined:
		return d.Node + " joined", []string{fmt.Sprintf("capacity cpu %s, memory %s", d.Facts.CPU, d.Facts.Memory), "incarnation " + d.Inc}
	case *events.NodeFactsUpdated:
		return "the agent on " + d.Node + " told of itself anew", nil
	case *events.NodeSuspected:
		return fmt.Sprintf("%s was silent, its lease was closed", d.Node), []string{fmt.Sprintf("silent for %s", d.Silent)}
	case *events.NodeLost:
		if d.Waited > 0 {
			fact("its lease was waited out for %s", d.Waited)
		}
		if d.Confirmed {
			fact("an operator vouched that it is off")
		}
		return fmt.Sprintf("%s was lost (%s)", d.Node, d.Reason), facts
	case *events.NodeCordoned:
		return d.Node + " was cordoned", nil
	case *events.NodeUncordoned:
		return d.Node + " was uncordoned", nil
	case *events.DrainStarted:
		if d.Timeout > 0 {
			fact("timeout %s", d.Timeout)
		}
		return fmt.Sprintf("the drain of %s began (%s)", d.Node, d.Order), facts
	case *events.DrainCompleted:
		return fmt.Sprintf("the drain of %s ended (%s)", d.Node, d.Order), nil
	case *events.DrainCancelled:
		return fmt.Sprintf("the drain of %s was cancelled (%s)", d.Node, d.Order), nil
	case *events.DrainFailed:
		return fmt.Sprintf("the drain of %s ran out of time (%s)", d.Node, d.Order), nil
	case *events.EvacuationStarted:
		return fmt.Sprintf("the evacuation of %s began (%s)", d.Selector, d.Order), nil
	case *events.RebalanceTriggered:
		fact("imbalance %.2f, %.2f after %d moves", d.Before, d.After, len(d.Moves))
		for _, p := range d.Moves {
			if p.Instance == of.instance {
				fact("%s %s → %s: %s", p.Instance, p.From, p.To, p.Why)
			}
		}
		return fmt.Sprintf("a rebalance was triggered (%s, %s)", d.Reason, d.Order), facts
	case *events.AppApplied:
		if d.Declared != "" {
			return fmt.Sprintf("%s was declared by its programs (revision %d)", d.Spec.Name, d.SpecRev), rulesFacts(d.Spec) // its cause says on which node
		}
		return fmt.Sprintf("%s was applied (revision %d, generation %d)", d.Spec.Name, d.SpecRev, d.Generation), rulesFacts(d.Spec)
	case *events.PlacementUpdated:
		return fmt.Sprintf("the rules of %s were replaced (revision %d)", e.Aggregate.ID, d.SpecRev), rulesFacts(spec.App{}.WithRules(d.Rules))
	case *events.AppRemoved:
		return e.Aggregate.ID + " was removed", nil
	case *events.AppRestartRequested:
		return fmt.Sprintf("a restart of %s was asked for (generation %d)", e.Aggregate.ID, d.Generation), nil
	case *events.InstanceFailed:
		return fmt.Sprintf("%s failed on %s", d.Instance, d.Node), []string{d.Detail}
	case *events.InstanceUnhealthy:
		return fmt.Sprintf("%s was unhealthy on %s", d.Instance, d.Node), []string{d.Detail}
	case *events.DataLost:
		return fmt.Sprintf("data of %s were lost: %s came back with them", d.Instance, d.Node),
			[]string{fmt.Sprintf("epoch %d went on from %q to %s there; the copy is %s", d.Epoch, d.From, d.Found, d.Aside)}
	case *events.InstanceHealthy:
		return fmt.Sprintf("%s was healthy on %s", d.Instance, d.Node), nil
	case *events.InstanceStopped:
		return fmt.Sprintf("%s ended on %s though nobody ordered it", d.Instance, d.Node), []string{d.Detail}
	case *events.LeadershipReleased:
		return fmt.Sprintf("epoch %d ended on %s", d.Epoch, d.Node), []string{d.Why}
	case *events.PolicyUpdated:
		return "the policy changed", []string{"policy " + d.Hash}
	}
	return strings.ReplaceAll(e.Type.Action(), ".", " "), nil
}

func admitted(d *events.PlanAdmitted, migration string) (what string, facts []string) {
	m := moveIn(d, migration)
	if m == nil {
		return "a plan was admitted", nil
	}
	fact := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	if m.Why != "" {
		fact("%s", m.Why)
	}
	fact("class %s, %s%s", m.Class, m.Trigger, map[bool]string{true: ", forced past the guardrails"}[m.Forced])
	if points, ok := d.Scores[m.Migration]; ok {
		fact("%s had the highest score: %d", m.To, points)
	}
	for _, r := range refusedFor(d, m.App) {
		nodes := strings.Join(r.Examples, ", ")
		if r.Count > len(r.Examples) {
			nodes += fmt.Sprintf(" and %d more", r.Count-len(r.Examples))
		}
		fact("ruled out by %s: %s (%s)", r.Code, nodes, r.Detail)
	}
	fact("decided on the state at %d under policy %s", d.StateSeq, d.PolicyHash)
	return fmt.Sprintf("the %s of %s was admitted as %s: %s", ends(*m), m.Instance, m.Migration, m.Reason), facts
}

func holds(fact func(string, ...any), hs []events.Hold) {
	for _, h := range hs {
		until := ""
		if !h.Until.IsZero() {
			until = " until " + stamp(h.Until)
		}
		fact("%s%s: %s", h.Rule, until, h.Detail)
	}
}

func rulesFacts(a spec.App) (out []string) {
	add := func(word string, values []string) {
		if len(values) > 0 {
			out = append(out, word+" "+strings.Join(values, ", "))
		}
	}
	add("require", a.Require)
	add("on_nodes", a.OnNodes)
	add("with_app", a.WithApp)
	add("away_from_app", a.AwayFromApp)
	for _, p := range a.Prefer {
		out = append(out, fmt.Sprintf("prefer %s (weight %d)", cmp.Or(p.Label, p.Node), p.Weight))
	}
	if a.Resources != (spec.Resources{}) {
		out = append(out, fmt.Sprintf("needs cpu %s, memory %s", a.Resources.CPU, a.Resources.Memory))
	}
	return out
}

// labelsDiff writes what changed: "role: controller → storage, gpu: (new) a100, zone: a → removed".
func labelsDiff(before, after map[string]string) string {
	keys := map[string]bool{}
	for k := range before {
		keys[k] = true
	}
	for k := range after {
		keys[k] = true
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		old, had := before[k]
		now, has := after[k]
		switch {
		case !had:
			parts = append(parts, fmt.Sprintf("%s: %s (new)", k, now))
		case !has:
			parts = append(parts, fmt.Sprintf("%s: %s → removed", k, old))
		case old != now:
			parts = append(parts, fmt.Sprintf("%s: %s → %s", k, old, now))
		}
	}
	return or(strings.Join(parts, ", "), "nothing")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func took(ms int64) string {
	return fmt.Sprintf("%.2fs", (time.Duration(ms) * time.Millisecond).Seconds())
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func or(s, other string) string { return cmp.Or(s, other) }
