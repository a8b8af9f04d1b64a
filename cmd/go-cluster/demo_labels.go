//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
)

// playLabels changes labels that no app asks for, node by node, and then one that the counter needs.
func playLabels(ctx context.Context, d *demo) error {
	before, err := appProcesses(d.cluster.at.servers)
	if err != nil {
		return err
	}
	d.script("for node in node-1 node-2 node-3; do",
		"    go-cluster node label $node zone=us-east-1b",
		"    go-cluster node wait-stable $node --timeout 2m",
		"done")
	for _, node := range d.cluster.nodes.ids {
		for _, line := range []string{"node label " + node + " zone=us-east-1b", "node wait-stable " + node + " --timeout 2m"} {
			if _, err := d.answer(ctx, exitDone, line); err != nil {
				return err
			}
		}
	}
	nodes, err := lookUp[[]api.NodeView](ctx, d, "node list -l zone=us-east-1b")
	if err != nil {
		return err
	}
	after, err := appProcesses(d.cluster.at.servers)
	if err != nil {
		return err
	}
	if err := d.check(len(nodes) == 3 && slices.Equal(before, after), "all nodes have the new zone, and no app was disturbed", "3 nodes in us-east-1b, processes "+processesLine(before),
		fmt.Sprintf("%s in us-east-1b, processes %s", count(len(nodes), "node"), processesLine(after))); err != nil {
		return err
	}

	d.say("counter needs role=compute, and its node changes its role:")
	from, to := d.home, d.away
	head, err := d.lastSeq(ctx)
	if err != nil {
		return err
	}
	for _, line := range []string{"node label " + from + " role=storage", "node wait-stable " + from + " --timeout 2m"} {
		if _, err := d.cli(ctx, exitDone, line); err != nil {
			return err
		}
	}
	if err := d.counterAnswers(ctx, to); err != nil {
		return err
	}
	d.home, d.away = to, from
	return d.tellChain(ctx, head+1)
}

func (d *demo) lastSeq(ctx context.Context) (uint64, error) {
	log, err := d.logSince(ctx, 1)
	if err != nil || len(log) == 0 {
		return 0, err
	}
	return log[len(log)-1].Seq, nil
}

// tellChain follows the counter's move back from its end, from each event to the one that led to it, and checks that it began with
// the label.
func (d *demo) tellChain(ctx context.Context, since uint64) error {
	log, err := d.logSince(ctx, since)
	if err != nil {
		return err
	}
	byID := map[string]loggedEvent{}
	var last loggedEvent
	for _, e := range log {
		byID[e.ID] = e
		if e.App == "counter" && e.kind() == "placement.migration.completed" {
			last = e
		}
	}
	var chain []loggedEvent
	for e, found := last, last.ID != ""; found; e, found = byID[e.Cause] {
		chain = append(chain, e)
	}
	slices.Reverse(chain)
	var kinds []string
	for _, e := range chain {
		kinds = append(kinds, e.kind())
	}
	want := []string{"node.labels.updated", "placement.plan.admitted", "placement.migration.started", "placement.migration.completed"}
	ok := len(kinds) > 0 && kinds[0] == want[0] && inOrder(kinds, want)
	seen := strings.Join(kinds, " → ")
	if ok {
		seen = fmt.Sprintf("%s, %s from the label to the last", count(len(chain), "event"), millisecond(last.TS.Sub(chain[0].TS)))
		d.say("Each event names the one that led to it:")
		for _, e := range chain {
			d.said(fmt.Sprintf("%-7s %s  %-33s %s", "+"+millisecond(e.TS.Sub(chain[0].TS)), e.ID[:8], e.kind(), e.words()))
		}
	}
	return d.check(ok, "the move is the label's doing, event by event", strings.Join(want, " → "), seen)
}

// words are what an event of the chain says to a person.
func (e loggedEvent) words() string {
	if e.kind() == "node.labels.updated" {
		return e.Node + " by " + e.Actor
	}
	if moves := e.admitted(); len(moves) > 0 {
		return moves[0].Why
	}
	text, _ := phrase(e.kind(), e.step())
	return text
}

// admittedMove is a move in an admission.
type admittedMove struct {
	Migration string `json:"migration"`
	Instance  string `json:"instance"`
	From      string `json:"from"`
	To        string `json:"to"`
	Why       string `json:"why"`
}

// admitted returns the moves of an admission, of any other event none.
func (e loggedEvent) admitted() []admittedMove {
	var d struct {
		Moves []admittedMove `json:"moves"`
	}
	if e.kind() != "placement.plan.admitted" || json.Unmarshal(e.Data, &d) != nil {
		return nil
	}
	return d.Moves
}

// inOrder reports whether all of want are in have, in that order.
func inOrder(have, want []string) bool {
	for _, h := range have {
		if len(want) > 0 && h == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}
