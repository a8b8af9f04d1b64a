//go:build linux

package main

import (
	"os"

	"github.com/go-cluster/go-cluster/examples/counter"
	"github.com/go-cluster/go-cluster/examples/ledger"
	"github.com/go-cluster/go-cluster/examples/web"
)

// sampleCommand makes this binary one of the sample apps, so that trying things out takes a single file.
type sampleCommand struct {
	App string `arg:"" enum:"counter,ledger,web" help:"Which one: counter, ledger or web."`
}

// Run is called by kong. The app reads its environment and stops at SIGTERM.
func (cmd *sampleCommand) Run(s *session) error {
	switch cmd.App {
	case "web":
		return web.Run(s.ctx, os.Getenv)
	case "ledger":
		return ledger.Run(s.ctx, os.Getenv)
	}
	return counter.Run(s.ctx, os.Getenv)
}
