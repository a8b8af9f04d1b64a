//go:build linux

package main

import "github.com/go-cluster/go-cluster/agent/watchdog"

// watchdogCommand is what agents start; see package watchdog.
type watchdogCommand struct {
	Dir string `arg:"" help:"Directory of the instance."`
}

// Run is called by kong.
func (cmd *watchdogCommand) Run() error { return done(watchdog.Main(cmd.Dir)) }
