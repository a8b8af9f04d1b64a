package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

type nodeWaitStable struct {
	Node     string `arg:"" predictor:"node" help:"Node to wait for."`
	SinceSeq uint64 `placeholder:"N" help:"Judge a state that has this event at least; every command prints its sequence with -o json."`
}

// defaultStableWait ends a wait without --timeout: a script must not hang for ever.
const defaultStableWait = 5 * time.Minute

// Help is printed by kong.
func (*nodeWaitStable) Help() string {
	return `Stable means: everything that happened before the question has been decided upon, no migration touches the node, and every
instance on it is healthy. When nothing but an approval is awaited it exits 11. Without --timeout it waits for ` + span(defaultStableWait) + `; when time is up it says what is still awaited and exits 4.

Examples:
  go-cluster node wait-stable node-1 --timeout 2m`
}

// Run is called by kong.
func (cmd *nodeWaitStable) Run(s *session) error {
	if s.Timeout == 0 {
		var cancel context.CancelFunc
		s.ctx, cancel = context.WithTimeout(s.ctx, defaultStableWait)
		defer cancel()
	}
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	w := &watcher{outages: outages{client: c}, p: newProgress(), next: max(cmd.SinceSeq, 1), spoke: c.began, started: c.began}
	return w.untilStable(cmd.Node, cmd.SinceSeq)
}

// untilStable asks until the node is stable on a state that has minSeq at least, and prints what it waits for as that changes.
// Health reaches the control plane outside the event log, so it asks at an interval as well as after each event.
func (w *watcher) untilStable(node string, minSeq uint64) error {
	var (
		last   *api.StableReply // nil: there was none yet
		detail = len(w.p.apps) > 0
	)
	for {
		rep, err := call[api.StableRequest, api.StableReply](w.client, api.NodeStable, api.StableRequest{Meta: w.question(minSeq), Node: node})
		switch {
		case err == nil && rep.Stable:
			w.up()
			if detail {
				if err := w.events(0, rep.Seq); err != nil {
					return w.notStable(node, last, err)
				}
			}
			w.sayf("%s is stable after %s", node, took(time.Since(w.started)))
			if !detail {
				return w.data(rep)
			}
			return nil
		case err == nil:
			w.up()
			if last == nil && len(rep.Waiting) > 0 || last != nil && !slices.Equal(rep.Waiting, last.Waiting) {
				w.notef("%s waits for: %s", node, strings.Join(rep.Waiting, "; "))
			}
			last = &rep
			if rep.Approval {
				w.notef("approve with: go-cluster migration approve ID, see: go-cluster migration list --node %s", node)
				return done(exitApproval)
			}
			err = w.untilSomething(detail)
		default:
			err = w.outage(err)
		}
		if err != nil {
			return w.notStable(node, last, err)
		}
	}
}

// untilSomething returns when there is reason to ask again.
func (w *watcher) untilSomething(detail bool) error {
	if detail {
		return w.events(retryPause, 0)
	}
	return pause(w.ctx, retryPause)
}

func (w *watcher) notStable(node string, last *api.StableReply, err error) error {
	what := "no answer yet"
	if last != nil && len(last.Waiting) > 0 {
		what = strings.Join(last.Waiting, "\n  ")
	}
	switch cause := w.ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded) && last == nil && w.why != nil: // whether the node is stable is not known
		return fmt.Errorf("wait for node %s, for %s: %w", node, took(time.Since(w.started)), w.why)
	case errors.Is(cause, context.DeadlineExceeded):
		return fail(exitTimeUp, "node %s is not stable after %s; it waits for:\n  %s", node, took(time.Since(w.started)), what)
	case cause != nil:
		return fail(exitInterrupted, "interrupted; node %s waits for:\n  %s", node, what)
	}
	var refusal *api.Error
	if errors.As(err, &refusal) { // it names the node itself
		return err
	}
	return fmt.Errorf("wait for node %s: %w", node, err)
}
