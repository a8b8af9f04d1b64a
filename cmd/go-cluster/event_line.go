package main

import (
	"fmt"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/events"
)

// eventLine is one event as the control plane hands it out. Its data is read leniently: a newer control plane may write more.
type eventLine struct {
	Seq      uint64         `json:"seq"`
	TS       time.Time      `json:"ts"`
	Category string         `json:"category"`
	Action   string         `json:"action"`
	App      string         `json:"app"`
	Node     string         `json:"node"`
	Actor    string         `json:"actor"`
	Data     jsontext.Value `json:"data"`
}

func parseEventLine(raw jsontext.Value) (eventLine, error) {
	var e eventLine
	if err := json.Unmarshal(raw, &e); err != nil {
		return eventLine{}, fmt.Errorf("event: %w", err)
	}
	return e, nil
}

func (e eventLine) kind() string { return e.Category + "." + e.Action }

// stepData is what the events of a migration may say; each sets some of it.
type stepData struct {
	Migration  string          `json:"migration"`
	Instance   string          `json:"instance"`
	FromNode   string          `json:"from_node"`
	ToNode     string          `json:"to_node"`
	Order      string          `json:"order"`
	Reason     string          `json:"reason"`
	Step       string          `json:"step"`
	Node       string          `json:"node"`
	Code       string          `json:"code"`
	Detail     string          `json:"detail"`
	Why        string          `json:"why"`
	Left       any             `json:"left"` // a place in migration.failed, instances in drain.failed
	Epoch      uint64          `json:"epoch"`
	TookMS     int64           `json:"took_ms"`
	DurationMS int64           `json:"duration_ms"`
	Undo       bool            `json:"undo"`
	Next       *events.Next    `json:"next"`
	Moves      []plannedInPlan `json:"moves"`
}

// plannedInPlan is the part of an admitted move that says whose it is.
type plannedInPlan struct {
	Migration string `json:"migration"`
	App       string `json:"app"`
	Order     string `json:"order"`
}

func (e eventLine) step() stepData {
	var d stepData
	_ = json.Unmarshal(e.Data, &d) // data of another shape is not a migration's
	return d
}

// phrase says what an event of a migration means to the person who watches, "" when it means nothing to them.
func phrase(kind string, d stepData) (string, tone) {
	switch kind {
	case "placement.migration.started":
		return strings.TrimSuffix("started, "+ordered(d.Next), ", "), plainTone
	case "placement.migration.held":
		return join("held", d.Detail, d.Why), warnTone
	case "placement.migration.completed":
		return "completed in " + took(millis(d.DurationMS)), goodTone
	case "placement.migration.failed":
		return join("failed", d.Detail) + leftAt(d), badTone
	case "placement.migration.cancel_requested":
		return join("cancel requested", strings.ReplaceAll(d.Why, "_", " ")), warnTone
	case "placement.step.completed":
		return stepDone(events.Step(d.Step), d.Node), plainTone
	case "placement.step.failed":
		return join(fmt.Sprintf("%s failed on %s", stepName(d.Step), d.Node), d.Detail), badTone
	case "placement.step.timed_out":
		return fmt.Sprintf("%s timed out on %s", stepName(d.Step), d.Node), badTone
	case "placement.step.requested":
		return join(ordered(d.Next), d.Why), warnTone
	case "placement.leadership.granted":
		if d.Undo {
			return fmt.Sprintf("rolling back: epoch %d granted to %s", d.Epoch, d.Node), warnTone
		}
		return fmt.Sprintf("epoch %d granted to %s", d.Epoch, d.Node), plainTone
	case "placement.leadership.activated":
		return fmt.Sprintf("epoch %d active on %s", d.Epoch, d.Node), plainTone
	case "placement.leadership.released":
		return fmt.Sprintf("epoch %d ended on %s", d.Epoch, d.Node), plainTone
	}
	return "", plainTone
}

func join(head string, parts ...string) string {
	for _, p := range parts {
		if p != "" {
			return head + ": " + p
		}
	}
	return head
}

func leftAt(d stepData) string {
	switch d.Left {
	case events.LeftAtSource:
		return " (stays on " + d.FromNode + ")"
	case events.LeftAtTarget:
		return " (runs on " + d.ToNode + ")"
	case events.LeftNowhere:
		return " (runs nowhere, will be placed again)"
	}
	return ""
}

// stepName is a step in a sentence.
func stepName(step string) string { return strings.ReplaceAll(step, "_", "-") }

// ordered says what was just asked of a node.
func ordered(n *events.Next) string {
	if n == nil {
		return ""
	}
	switch n.Step {
	case events.StepPrepare:
		return "preparing on " + n.Node
	case events.StepStart:
		return "starting on " + n.Node
	case events.StepStepDown:
		return n.Node + " is asked to step down"
	case events.StepStop:
		return "stopping on " + n.Node
	}
	return stepName(string(n.Step)) + " on " + n.Node
}

func stepDone(step events.Step, node string) string {
	switch step {
	case events.StepPrepare:
		return "prepared on " + node
	case events.StepStart:
		return "healthy on " + node
	case events.StepStepDown:
		return "stepped down on " + node
	case events.StepPersist:
		return "epoch persisted on " + node
	case events.StepActivate:
		return "serving on " + node
	case events.StepStop:
		return "stopped on " + node
	}
	return stepName(string(step)) + " done on " + node
}
