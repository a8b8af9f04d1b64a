package main

import (
	"fmt"
	"time"

	"github.com/go-cluster/go-cluster/api"
)

// migrationCommands is `go-cluster migration`.
type migrationCommands struct {
	List    migrationList    `cmd:"" help:"List migrations, proposed, under way and past."`
	Show    migrationShow    `cmd:"" help:"Show one migration step by step."`
	Cancel  migrationCancel  `cmd:"" help:"Give a migration up; the instance stays where it was."`
	Approve migrationApprove `cmd:"" help:"Approve of a proposed move that the policy wants approved."`
	Deny    migrationDeny    `cmd:"" help:"Refuse a proposed move; the same cause proposes it no more."`
}

type migrationList struct {
	App  string `predictor:"app" placeholder:"APP" help:"Only this app's."`
	Node string `predictor:"node" placeholder:"NODE" help:"Only to or from this node."`
}

// Run is called by kong.
func (cmd *migrationList) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	views, err := call[api.ListRequest, []api.MigrationView](c, api.MigrationList,
		api.ListRequest{Meta: c.question(0), App: cmd.App, Node: cmd.Node})
	if err != nil {
		return err
	}
	return s.print(views, func() { s.migrationTable(time.Now(), views, noneOf("migrations", cmd.App, cmd.Node)) })
}

func (s *session) migrationTable(now time.Time, views []api.MigrationView, none string) {
	header := []string{"id", "instance", "move", "status", "step", "reason", "started", "took"}
	if s.wide() {
		header = append(header, "trigger", "detail")
	}
	g := newGrid(s.out, header...)
	for _, v := range views {
		started, duration := "", ""
		if v.Started != nil {
			started = ago(now, *v.Started)
			if !openMigration(v) {
				duration = took(millis(v.DurationMS))
			}
		}
		cells := []string{v.ID, v.Instance, route(v.FromNode, v.ToNode), s.state(v.Status), stepName(v.Step), v.Reason, started, duration}
		if s.wide() {
			cells = append(cells, v.Trigger, v.Detail)
		}
		g.row(cells...)
	}
	g.flush(none)
}

type migrationShow struct {
	ID string `arg:"" predictor:"migration" help:"Migration to show."`
}

// Run is called by kong.
func (cmd *migrationShow) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	m, err := call[api.MigrationRequest, api.MigrationDetail](c, api.MigrationShow,
		api.MigrationRequest{Meta: c.question(0), Migration: cmd.ID})
	if err != nil {
		return err
	}
	return s.print(m, func() { s.migrationDetail(time.Now(), m) })
}

func (s *session) migrationDetail(now time.Time, m api.MigrationDetail) {
	fmt.Fprintf(s.out, "%s  %s  %s  %s  %s, %s", s.style.bold(m.ID), m.Instance, route(m.FromNode, m.ToNode), s.state(m.Status), m.Reason, m.Trigger)
	if m.Sync {
		fmt.Fprint(s.out, ", sync")
	}
	if m.Started != nil {
		fmt.Fprintf(s.out, "  started %s", ago(now, *m.Started))
	}
	if !openMigration(m.MigrationView) && m.Started != nil {
		fmt.Fprintf(s.out, "  took %s", took(millis(m.DurationMS)))
	}
	fmt.Fprintln(s.out)
	if m.Detail != "" {
		fmt.Fprintf(s.out, "  %s\n", s.style.bad(m.Detail))
	}
	fmt.Fprintln(s.out)
	g := newGrid(s.out, "offset", "seq", "event", "step", "node", "detail")
	for _, st := range m.Steps {
		g.row(offset(st.OffsetMS), fmt.Sprint(st.Seq), st.Event, stepName(st.Step), st.Node, st.Detail)
	}
	g.flush("not started")
	if m.Forgotten > 0 {
		fmt.Fprintf(s.out, "%s behind the first are not remembered: go-cluster events --app %s\n", count(m.Forgotten, "event"), m.App)
	}
}

// offset writes a moment of a timeline to the millisecond.
func offset(ms int64) string { return fmt.Sprintf("%+.3fs", float64(ms)/1000) }

type migrationCancel struct {
	ID string `arg:"" predictor:"migration" help:"Migration to give up."`
	FollowFlags
}

// Help is printed by kong.
func (*migrationCancel) Help() string {
	return `Only before the commit: once the target has been granted leadership, the way forward is the safe one.

Examples:
  go-cluster migration cancel m-5ad483a5e602`
}

// Run is called by kong.
func (cmd *migrationCancel) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ack, err := call[api.MigrationRequest, api.Ack](c, api.MigrationCancel, api.MigrationRequest{Meta: c.command(), Migration: cmd.ID})
	if err != nil {
		return err
	}
	w := &watched{id: cmd.ID, kind: "cancel", name: cmd.ID, seq: ack.Seq}
	if cmd.Detach {
		return c.accepted(ack, "cancel of "+cmd.ID+" accepted", w.lookHint())
	}
	return c.follow(newProgress(w), ack.Seq)
}
