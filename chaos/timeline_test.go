//go:build linux

package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/events"
)

// pausePart is a part of the pause of a move of data.
type pausePart string

// The pause in order. What a log has to flush and apply is stored already: it is looked at.
const (
	partStop        pausePart = "stop"
	partFlush       pausePart = "flush"
	partToApply     pausePart = "hops: flushed to apply"
	partApply       pausePart = "apply"
	partToPersist   pausePart = "hops: left to persist"
	partPersist     pausePart = "persist"
	partToActivate  pausePart = "hops: persisted to activate"
	partStart       pausePart = "start"
	partFirstAnswer pausePart = "answer"
)

var pauseParts = []pausePart{partStop, partFlush, partToApply, partApply, partToPersist, partPersist, partToActivate, partStart, partFirstAnswer}

// line is what a line of an agent's log has that a time line is made of.
type line struct {
	At        time.Time `json:"time"`
	Msg       string    `json:"msg"`
	Step      string    `json:"step"`
	Instance  string    `json:"instance"`
	Migration string    `json:"migration"`
}

// timeline returns how long each part of a move's pause took: from the last entry that the source acknowledged to the first of the
// target, by the logs of both agents and the clock of this machine.
func (c *cluster) timeline(id, instance, from, to string, g gap) map[pausePart]time.Duration {
	c.t.Helper()
	source, target := c.linesOf(from), c.linesOf(to)
	step := func(lines []line, s events.Step, msg string) time.Time {
		for _, l := range lines {
			if l.Migration == id && l.Step == string(s) && l.Msg == msg {
				return l.At
			}
		}
		return time.Time{}
	}
	asked := step(source, events.StepStepDown, "step begins")
	of := func(lines []line, msgs ...string) time.Time {
		for _, l := range lines {
			if l.Instance == instance && slices.Contains(msgs, l.Msg) && l.At.After(asked) {
				return l.At
			}
		}
		return time.Time{}
	}
	ends := map[pausePart]time.Time{
		partStop:        of(source, "instance stopped", "instance stepped down"),
		partFlush:       step(source, events.StepStepDown, "step ends"),
		partToApply:     step(target, events.StepApply, "step begins"),
		partApply:       step(target, events.StepApply, "step ends"),
		partToPersist:   step(target, events.StepPersist, "step begins"),
		partPersist:     step(target, events.StepPersist, "step ends"),
		partToActivate:  step(target, events.StepActivate, "step begins"),
		partStart:       of(target, "instance started"),
		partFirstAnswer: g.until,
	}
	parts, last := map[pausePart]time.Duration{}, g.until.Add(-g.took)
	if last.After(ends[partStop]) || g.until.Before(ends[partToActivate]) {
		return parts // clients waited longer for something else than for the move
	}
	for _, p := range pauseParts {
		if hasty := ends[partApply].IsZero(); hasty && (p == partToApply || p == partApply) { // of a log: what was left is applied with the epoch
			continue
		}
		if ends[p].IsZero() {
			c.t.Errorf("move %s: the agents' logs do not say when %q ended", id, p)
			continue
		}
		end := ends[p]
		if end.After(g.until) { // a client was faster than the agent's log
			end = g.until
		}
		parts[p], last = end.Sub(last), end
	}
	return parts
}

// linesOf returns what a node's agent has logged. A line that is being written is left out.
func (c *cluster) linesOf(node string) (lines []line) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "agent-"+node+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	for raw := range bytes.Lines(text) {
		var l line
		if json.Unmarshal(raw, &l) == nil {
			lines = append(lines, l)
		}
	}
	return lines
}
