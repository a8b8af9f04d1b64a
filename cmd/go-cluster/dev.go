//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

const devCluster = "dev"

type devCommand struct {
	Nodes    int           `default:"3" placeholder:"N" help:"Number of nodes, node-1 to node-N (default ${default})."`
	DataDir  string        `placeholder:"DIR" predictor:"file" help:"Keep everything here, for the next start. Default: a temporary directory, removed at the end."`
	NATSPort int           `name:"nats-port" default:"4222" placeholder:"PORT" help:"Port of the NATS server; 0 takes a free one (default ${default})."`
	HTTPPort int           `name:"http-port" default:"8080" placeholder:"PORT" help:"Port of /healthz, /readyz and /metrics; 0 takes a free one (default ${default})."`
	NATS     string        `name:"nats" placeholder:"URL" help:"Use this NATS server, with JetStream, instead of one in this process."`
	LeaseTTL time.Duration `name:"lease-ttl" default:"30s" placeholder:"DURATION" help:"Lease of the nodes, at least 3s (default ${default})."`
	NoDemo   bool          `help:"Without the sample apps."`
	Verbose  bool          `short:"v" help:"Log everything, not only warnings."`
}

// Help is printed by kong.
func (*devCommand) Help() string {
	return `One line on stdout says that everything is ready and where. All other commands then find the cluster, dev unless --cluster says
otherwise, by themselves.
All nodes are this machine: each has its address, and its whole capacity. SIGTERM or Ctrl-C stops the apps and ends; a second one
ends at once. After a crash, the next start on the same --data-dir takes over the apps that still run.

Examples:
  go-cluster dev
  go-cluster dev --nodes 5 --data-dir ./cluster
  go-cluster dev --nats-port 0 --http-port 0 --no-demo`
}

// Validate is called by kong.
func (cmd *devCommand) Validate() error {
	if cmd.Nodes < 1 || cmd.Nodes > 64 {
		return fmt.Errorf("--nodes %d: want 1 to 64", cmd.Nodes)
	}
	if cmd.NATSPort < -1 || cmd.NATSPort > 65535 {
		return fmt.Errorf("--nats-port %d: want 1 to 65535, or 0 for a free one", cmd.NATSPort)
	}
	if cmd.HTTPPort < -1 || cmd.HTTPPort > 65535 {
		return fmt.Errorf("--http-port %d: want 1 to 65535, or 0 for a free one", cmd.HTTPPort)
	}
	if cmd.NATS != "" {
		if u, err := url.Parse(cmd.NATS); err != nil || u.Host == "" {
			return fmt.Errorf("--nats %q: want a URL such as nats://host:4222", cmd.NATS)
		}
	}
	return checkLeaseTTL(cmd.LeaseTTL)
}

// Run is called by kong.
func (cmd *devCommand) Run(s *session) error {
	if err := s.endless("dev"); err != nil {
		return err
	}
	if s.named("server") {
		return fail(exitUsage, "--server %s: dev has a NATS server of its own; for another one want --nats URL", transport.Redacted(s.Server))
	}
	cluster := s.Cluster
	if cluster == "" {
		cluster = devCluster
	}
	if err := spec.ValidateName("cluster", cluster); err != nil {
		return fail(exitUsage, "--cluster: %w", err)
	}
	level := zapcore.WarnLevel
	if cmd.Verbose {
		level = zapcore.InfoLevel
	}
	log := newLogger(s.err, level, true)
	home, err := openDevHome(cmd.DataDir)
	if err != nil {
		return err
	}
	defer home.close()
	at, err := cmd.link(s, home, log)
	if err != nil {
		return stopped(s, err)
	}
	defer at.close()
	reg := transport.NewRegistry()
	plane, err := openControlPlane(s.ctx, services.Config{Cluster: cluster, Replica: replicaName(), Version: thisBuild().Version, NC: at.nc,
		Dial: at.dial, Log: log, Boot: transport.Boottime, Now: time.Now}, serviceNames, &transport.BootstrapOptions{}, reg)
	if err != nil {
		return stopped(s, err)
	}
	probes, stopProbes := context.WithCancel(context.WithoutCancel(s.ctx))
	defer stopProbes()
	http, err := transport.ServeProbes(probes, net.JoinHostPort("127.0.0.1", strconv.Itoa(max(0, cmd.HTTPPort))), plane.ready, plane.detail, reg)
	if err != nil {
		return portTaken(err, "--http-port")
	}
	nodes, err := cmd.openNodes(cluster, home, at, reg, log)
	if err != nil {
		return err
	}
	defer nodes.close()
	began, err := leasesOf(s.ctx, plane.base, nodes.ids)
	if err != nil {
		return stopped(s, err)
	}

	// The services end first. To them, apps that stop are apps to start elsewhere, and the next start would find moves half done.
	nodesCtx, stopNodes := context.WithCancel(context.WithoutCancel(s.ctx))
	defer stopNodes()
	g, ctx := errgroup.WithContext(s.ctx)
	g.Go(func() error {
		defer stopNodes()
		return ended(ctx, "control plane", plane.run(ctx))
	})
	g.Go(func() error { return ended(nodesCtx, "nodes", nodes.run(nodesCtx)) })
	g.Go(func() error {
		err := awaitDev(ctx, plane, began)
		if err == nil && !cmd.NoDemo {
			err = applySamples(ctx, plane.base, home)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("start: %w", err)
		}
		fmt.Fprintf(s.out, "ready nats=%s http=http://%s cluster=%s\n", transport.Redacted(at.servers), http, cluster)
		cmd.hint(s, at.servers, cluster)
		return nil
	})
	return g.Wait()
}
