package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

type eventsCommand struct {
	Follow   bool   `short:"f" help:"Go on with events as they are stored."`
	SinceSeq uint64 `placeholder:"N" help:"First sequence wanted. Default: the log's beginning, or its end with --follow."`
	App      string `predictor:"app" placeholder:"APP" help:"Only events about this app."`
	Node     string `predictor:"node" placeholder:"NODE" help:"Only events about this node."`
}

// Help is printed by kong.
func (*eventsCommand) Help() string {
	return `Each line is one event as it is stored, with its sequence as seq. -o table prints one short line per event instead.

Examples:
  go-cluster events -f
  go-cluster events --app convex | jq -c '[.seq, .category, .action]'
  go-cluster events --since-seq 120 -o table`
}

// followWait is how long one long poll waits; it leaves room for the answer within the limit of a request.
const followWait = 3 * time.Second

// Run is called by kong.
func (cmd *eventsCommand) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	next := max(cmd.SinceSeq, 1)
	if cmd.Follow && cmd.SinceSeq == 0 {
		rep, err := cmd.page(c, 1, 1, 0)
		if err != nil {
			return err
		}
		next = rep.LastSeq + 1
	}
	log := outages{client: c}
	for {
		wait := time.Duration(0)
		if cmd.Follow {
			wait = followWait
		}
		rep, err := cmd.page(c, next, 500, wait)
		if err != nil && cmd.Follow {
			if err = log.outage(err); err == nil {
				continue
			}
		}
		if err != nil {
			return c.streamEnded(err)
		}
		log.up()
		for _, line := range rep.Lines {
			if err := c.eventLine(line); err != nil {
				return err
			}
		}
		if next = max(next, rep.NextSeq); !cmd.Follow && (len(rep.Lines) == 0 || next > rep.LastSeq) {
			return nil
		}
	}
}

func (cmd *eventsCommand) page(c *client, since uint64, limit int, wait time.Duration) (api.EventListReply, error) {
	return call[api.EventListRequest, api.EventListReply](c, api.EventList, api.EventListRequest{
		Meta: c.question(0), SinceSeq: since, Limit: limit, App: cmd.App, Node: cmd.Node, Wait: spec.Duration(wait)})
}

// streamEnded is the error of an endless listing: Ctrl-C and a time limit are its usual end and need no words.
func (s *session) streamEnded(err error) error {
	switch {
	case s.ctx.Err() == nil:
		return err
	case errors.Is(s.ctx.Err(), context.Canceled):
		return done(exitInterrupted)
	}
	return done(exitTimeUp)
}

// eventLine prints one event: as stored by default, as a short line for people when that was asked for.
func (s *session) eventLine(line jsontext.Value) error {
	switch s.Output {
	case formatTable, formatWide:
		e, err := parseEventLine(line)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.out, "%6d  %s  %s  %s\n", e.Seq, s.style.faint(e.TS.Local().Format("15:04:05.000")), subjectOf(e.App, e.Node), s.eventWords(e))
		return err
	case formatYAML:
		if _, err := io.WriteString(s.out, "---\n"); err != nil {
			return err
		}
		return s.raw(line)
	}
	b := line.Clone()
	if err := b.Compact(); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	_, err := s.out.Write(append(b, '\n'))
	return err
}

func subjectOf(app, node string) string {
	switch {
	case app != "":
		return app
	case node != "":
		return node
	}
	return "-"
}

func (s *session) eventWords(e eventLine) string {
	d := e.step()
	text, t := phrase(e.kind(), d)
	if text == "" {
		return s.style.bold(e.kind()) + "  " + s.style.faint("by "+e.Actor)
	}
	return s.style.bold(e.kind()) + "  " + route(d.FromNode, d.ToNode) + "  " + s.style.tone(t, text)
}
