//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/machine"
	"github.com/go-cluster/go-cluster/agent/process"
	"github.com/go-cluster/go-cluster/events"
)

// devNodes are the agents of a dev cluster. Each has its own directory and connection, as if it were another machine.
type devNodes struct {
	ids     []string
	configs []agent.Config
	closers []func()
}

// openNodes makes everything that the agents need. Close it after run.
func (cmd *devCommand) openNodes(cluster string, home *devHome, at *devLink, metrics prometheus.Registerer, log *zap.Logger) (*devNodes, error) {
	nodes := &devNodes{}
	facts, err := machine.Facts(thisBuild().Version, "process")
	if err != nil {
		return nil, err
	}
	const noVIP = "go-cluster dev carries no addresses: all of its nodes are one machine"
	facts.VIP = &events.VIPFacts{Why: noVIP}
	load := new(machine.Load)
	for i := range cmd.Nodes {
		id := fmt.Sprintf("node-%d", i+1)
		cfg := agent.Config{
			Cluster: cluster, Node: id, Dir: home.node(id), Address: "127.0.0.1", Facts: facts, Version: facts.Version,
			NATSURL: at.servers, TTL: cmd.LeaseTTL, Dial: at.dial, Log: log, Load: load.Now, Metrics: metrics, StopAppsOnExit: true, Addresses: agent.NoAddresses(noVIP),
		}
		if err := nodes.open(&cfg, home, at, log); err != nil {
			nodes.close()
			return nil, fmt.Errorf("node %s: %w", id, err)
		}
		nodes.ids, nodes.configs = append(nodes.ids, id), append(nodes.configs, cfg)
	}
	return nodes, nil
}

func (n *devNodes) open(cfg *agent.Config, home *devHome, at *devLink, log *zap.Logger) error {
	if err := makeNodeDir(cfg.Dir); err != nil {
		return err
	}
	driver, err := process.New(process.Options{
		Dir: filepath.Join(cfg.Dir, "process"), WatchdogCommand: watchdogArgv(), AllowRoot: true, Logger: log.With(zap.String("node", cfg.Node)),
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, func() { _ = driver.Close() })
	cfg.Driver = driver
	if home.temporary {
		cfg.Driver = mortalDriver{driver}
	}
	var nc *nats.Conn
	if nc, err = at.dial(); err != nil {
		return err
	}
	n.closers = append(n.closers, nc.Close)
	cfg.NC = nc
	data, done, err := replications(at.dial, cfg.Cluster, log.With(zap.String("node", cfg.Node)))
	if err != nil {
		return err
	}
	n.closers = append(n.closers, done)
	cfg.Replications = data
	return nil
}

// run runs the agents until ctx ends and all apps are stopped, or until one fails: that stops the others.
func (n *devNodes) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, cfg := range n.configs {
		g.Go(func() error { return ended(ctx, "node "+cfg.Node, agent.Run(ctx, cfg)) })
	}
	return g.Wait()
}

func (n *devNodes) close() {
	for i := len(n.closers) - 1; i >= 0; i-- {
		n.closers[i]()
	}
}

// mortalDriver gives every app the deadline that only singletons have elsewhere. Nobody ever comes back to a temporary directory:
// what runs there when this process is killed ends when the lease does.
type mortalDriver struct{ *process.Driver }

// Prepare implements agent.Driver.
func (d mortalDriver) Prepare(ctx context.Context, in agent.Instance) (agent.Status, error) {
	in.Fenced = true
	return d.Driver.Prepare(ctx, in)
}

// Start implements agent.Driver.
func (d mortalDriver) Start(ctx context.Context, in agent.Instance) (agent.Status, error) {
	in.Fenced = true
	return d.Driver.Start(ctx, in)
}

var _ agent.Driver = mortalDriver{}
