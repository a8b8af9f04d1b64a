package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
)

// globals are the flags that every command takes.
type globals struct {
	Server  string        `short:"s" group:"global" env:"NATS_URL" placeholder:"URL" help:"NATS servers, comma-separated. Default: those of the context, else nats://127.0.0.1:4222."`
	Context string        `group:"global" env:"NATS_CONTEXT" placeholder:"NAME" help:"Context of the nats CLI to connect with. Default: the selected one, unless --server is given."`
	Creds   string        `group:"global" env:"NATS_CREDS" placeholder:"FILE" predictor:"file" help:"NATS credentials file."`
	Cluster string        `group:"global" env:"GO_CLUSTER" placeholder:"NAME" help:"Cluster to talk to. Default: the only one on the server."`
	Output  string        `short:"o" group:"global" placeholder:"FORMAT" predictor:"format" help:"Output as table, wide, json or yaml."`
	Timeout time.Duration `group:"global" placeholder:"DURATION" help:"Time limit. Of the work itself for drain and evacuate; of waiting, following or asking for every other command."`
}

// Validate is called by kong.
func (g *globals) Validate() error {
	switch {
	case g.Timeout < 0:
		return fmt.Errorf("--timeout %s: must not be negative", g.Timeout)
	case g.Output != "" && !slices.Contains(formats, g.Output):
		return fmt.Errorf("--output %s: want one of %s", g.Output, strings.Join(formats, ", "))
	}
	return nil
}

// grammar is the command line.
type grammar struct {
	globals

	App       appCommands       `cmd:"" help:"Declare, move and look at apps."`
	Node      nodeCommands      `cmd:"" help:"Label, empty and look at nodes."`
	Migration migrationCommands `cmd:"" help:"Look at migrations and cancel them."`
	Policy    policyCommands    `cmd:"" help:"Show or replace the guardrails."`
	Why       appWhy            `cmd:"" help:"Say why an app runs where it runs: app why."`
	WhyNot    appWhyNot         `cmd:"" help:"Say why an app does not run on a node: app why-not."`
	Freeze    freezeCommand     `cmd:"" help:"Stop all moves except recovery."`
	Unfreeze  unfreezeCommand   `cmd:"" help:"Lift a freeze."`
	State     stateCommand      `cmd:"" help:"Print the cluster as data, for planning on a file."`
	Plan      planCommand       `cmd:"" help:"Plan on a file, without a cluster."`
	Apply     applyPlan         `cmd:"" help:"Carry out the plan of a --dry-run, if it still is that plan."`
	Events    eventsCommand     `cmd:"" help:"Print the event log, one JSON object per line."`
	Audit     auditCommands     `cmd:"" help:"Read the audit trail."`

	serverCommands

	Completion kongcompletion.Completion `cmd:"" help:"Print what switches tab completion on (bash, zsh, fish)."`
	Version    versionCommand            `cmd:"" help:"Print the version."`
}

// exited carries the code of kong's own exits (help, completion) out of the parser.
type exited int

func newParser(g *grammar, s *session) (*kong.Kong, error) {
	return kong.New(g,
		kong.Name("go-cluster"),
		kong.Description("Moves running apps between nodes and loses nothing.\n\n"+exitCodesHelp),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 110}),
		kong.ExplicitGroups([]kong.Group{{Key: "global", Title: "Global flags:"}}),
		kong.Bind(s, &g.globals),
	)
}
