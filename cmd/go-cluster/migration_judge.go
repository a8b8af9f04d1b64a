package main

import "github.com/go-cluster/go-cluster/api"

type migrationApprove struct {
	ID  string `arg:"" predictor:"migration" help:"Proposed move, see: go-cluster migration list."`
	Why string `placeholder:"TEXT" help:"Why; it is in the log with who approved."`
	FollowFlags
}

// Help is printed by kong.
func (*migrationApprove) Help() string {
	return `An approval is for this very move: the instance, where it is, where it goes, and the definition it has now. When one of them changes,
another move is proposed. It ends with the proposal's time; other guardrails hold the move as before.

Examples:
  go-cluster migration list
  go-cluster migration approve m-5ad483a5e602 --why "seen by the storage team"`
}

// Run is called by kong.
func (cmd *migrationApprove) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ack, err := call[api.JudgeRequest, api.Ack](c, api.MigrationApprove, api.JudgeRequest{Meta: c.command(), Migration: cmd.ID, Why: cmd.Why})
	if err != nil {
		return err
	}
	w := &watched{id: cmd.ID, kind: "move", name: cmd.ID, seq: ack.Seq}
	if cmd.Detach {
		return c.accepted(ack, "approved "+cmd.ID, w.lookHint())
	}
	return c.follow(newProgress(w), ack.Seq)
}

type migrationDeny struct {
	ID  string `arg:"" predictor:"migration" help:"Proposed move, see: go-cluster migration list."`
	Why string `placeholder:"TEXT" help:"Why; it is in the log with who denied."`
}

// Help is printed by kong.
func (*migrationDeny) Help() string {
	return `The instance stays where it is. What proposed the move proposes it no more; a new cause does.

Examples:
  go-cluster migration deny m-5ad483a5e602 --why "not before the release"`
}

// Run is called by kong.
func (cmd *migrationDeny) Run(s *session) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	ack, err := call[api.JudgeRequest, api.Ack](c, api.MigrationDeny, api.JudgeRequest{Meta: c.command(), Migration: cmd.ID, Why: cmd.Why})
	if err != nil {
		return err
	}
	return s.print(ack, func() {
		s.sayf("%s", map[bool]string{true: "denied ", false: "was denied already: "}[ack.Changed]+cmd.ID)
	})
}
