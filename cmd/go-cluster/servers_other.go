//go:build !linux

package main

// serverCommands are the commands that run a part of the cluster rather than talk to it. Nodes run on Linux.
type serverCommands struct {
	Serve serveCommand `cmd:"" help:"Run services of the control plane: labeler, planner, migrator, rebalancer, auditor."`
}
