//go:build linux

package main

// serverCommands are the commands that run a part of the cluster rather than talk to it.
type serverCommands struct {
	Serve    serveCommand    `cmd:"" help:"Run services of the control plane: labeler, planner, migrator, rebalancer, auditor."`
	Agent    agentCommand    `cmd:"" help:"Run the agent of a node."`
	Dev      devCommand      `cmd:"" help:"Run a whole cluster in this process: NATS, services, nodes and sample apps."`
	Demo     demoCommand     `cmd:"" help:"Run a cluster for a few seconds and check in front of you what it promises."`
	Watchdog watchdogCommand `cmd:"" hidden:"" help:"Started by the agent for each app process."`
	Sample   sampleCommand   `cmd:"" hidden:"" help:"Be one of the sample apps."`
}
