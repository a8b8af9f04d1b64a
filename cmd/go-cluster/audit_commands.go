package main

import (
	"fmt"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/spec"
)

// auditCommands is `go-cluster audit`.
type auditCommands struct {
	List   auditList   `cmd:"" help:"List audit records, the newest last."`
	Tail   auditTail   `cmd:"" help:"Print audit records as they come."`
	Verify auditVerify `cmd:"" help:"Check the hash chain and the laws over the whole log."`
}

// AuditFilter is what both have.
type AuditFilter struct {
	App  string `predictor:"app" placeholder:"APP" help:"Only records about this app."`
	Node string `predictor:"node" placeholder:"NODE" help:"Only records about this node."`
}

type auditList struct {
	AuditFilter
	SinceSeq uint64 `placeholder:"N" help:"First sequence wanted."`
	Limit    int    `short:"n" default:"100" placeholder:"N" help:"The newest so many, at most 1000. Default: 100."`
}

// Validate is called by kong.
func (cmd *auditList) Validate() error {
	if cmd.Limit < 1 || cmd.Limit > 1000 {
		return fmt.Errorf("--limit %d: want 1 to 1000", cmd.Limit)
	}
	return nil
}

// Run is called by kong.
func (cmd *auditList) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := cmd.page(c, cmd.SinceSeq, cmd.Limit, 0)
	if err != nil {
		return err
	}
	return s.print(rep.Records, func() { s.auditTable(time.Now(), rep.Records, noneOf("audit records", cmd.App, cmd.Node)) })
}

func (f AuditFilter) page(c *client, since uint64, limit int, wait time.Duration) (api.AuditListReply, error) {
	return call[api.AuditListRequest, api.AuditListReply](c, api.AuditList, api.AuditListRequest{
		Meta: c.question(0), SinceSeq: since, Limit: limit, App: f.App, Node: f.Node, Wait: spec.Duration(wait)})
}

func (s *session) auditTable(now time.Time, records []api.AuditRecord, none string) {
	header := []string{"seq", "when", "action", "app", "node", "actor"}
	if s.wide() {
		header = append(header, "cause", "data")
	}
	g := newGrid(s.out, header...)
	for _, r := range records {
		cells := []string{fmt.Sprint(r.Seq), ago(now, r.TS), r.Category + "." + r.Action, r.App, r.Node, r.Actor}
		if s.wide() {
			cells = append(cells, r.Cause, string(r.Data))
		}
		g.row(cells...)
	}
	g.flush(none)
}

type auditTail struct {
	AuditFilter
	Last int `short:"n" default:"10" placeholder:"N" help:"Begin with the newest so many. Default: 10."`
}

// Help is printed by kong.
func (*auditTail) Help() string {
	return `With -o json each record is one line.

Examples:
  go-cluster audit tail --app convex
  go-cluster audit tail -o json >> audit.jsonl`
}

// Validate is called by kong.
func (cmd *auditTail) Validate() error {
	if cmd.Last < 1 || cmd.Last > 1000 {
		return fmt.Errorf("--last %d: want 1 to 1000", cmd.Last)
	}
	return nil
}

// Run is called by kong.
func (cmd *auditTail) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	rep, err := cmd.page(c, 0, cmd.Last, 0)
	if err != nil {
		return s.streamEnded(err)
	}
	log := outages{client: c}
	for {
		for _, r := range rep.Records {
			if err := s.auditLine(r); err != nil {
				return err
			}
		}
		next, err := cmd.page(c, rep.NextSeq, 1000, followWait)
		if err == nil {
			log.up()
			rep = next
		} else if err := log.outage(err); err != nil {
			return s.streamEnded(err)
		} else {
			rep.Records = nil
		}
	}
}

func (s *session) auditLine(r api.AuditRecord) error {
	if !s.structured() {
		_, err := fmt.Fprintf(s.out, "%6d  %s  %s  %s  %s\n", r.Seq, s.style.faint(r.TS.Local().Format("15:04:05.000")),
			s.style.bold(r.Category+"."+r.Action), subjectOf(r.App, r.Node), s.style.faint("by "+r.Actor))
		return err
	}
	b, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write an audit record as JSON: %w", err)
	}
	if s.Output == formatYAML {
		fmt.Fprintln(s.out, "---")
		return s.raw(b)
	}
	_, err = s.out.Write(append(b, '\n'))
	return err
}
