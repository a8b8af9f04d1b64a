package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

const allServices = "all"

type serveCommand struct {
	Service   []string `arg:"" optional:"" help:"labeler, planner, migrator, rebalancer, auditor or all (default)."`
	HTTPAddr  string   `name:"http-addr" default:"127.0.0.1:7070" placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics answer (default ${default}; port 0 takes a free one). They have no access control."`
	Replica   string   `placeholder:"NAME" help:"Name of this process, unique among all that serve. Default: host, process id and a random part."`
	Replicas  int      `default:"1" placeholder:"N" help:"Copies of each stream that is made: 1 on one NATS server, 3 in a cluster of them (default ${default})."`
	Bootstrap bool     `default:"true" negatable:"" help:"Make the cluster's streams where they are missing."`
	Trust     bool     `name:"trust-identity" help:"Record as actor who NATS itself says asks. Right only with an account set-up as in deploy/nats, where people import the commands from an account of their own."`
	LogFlags
}

// Help is printed by kong.
func (*serveCommand) Help() string {
	return `Any number of processes may run the same services. SIGTERM answers what has arrived and ends; a second one ends at once. A lost
NATS is waited out; any other failure ends the process and names the service, so let a supervisor start it again. The cluster must be named, by --cluster or
GO_CLUSTER.

Examples:
  go-cluster serve all --cluster prod
  go-cluster serve planner migrator --cluster prod --replicas 3
  go-cluster serve auditor --cluster prod --http-addr :7070 --no-bootstrap`
}

// Validate is called by kong.
func (cmd *serveCommand) Validate() error {
	if _, err := chosenServices(cmd.Service); err != nil {
		return err
	}
	if cmd.Replicas != 1 && cmd.Replicas != 3 {
		return fmt.Errorf("--replicas %d: want 1 or 3", cmd.Replicas)
	}
	if cmd.Replica != "" {
		if err := spec.ValidateName("replica", cmd.Replica); err != nil {
			return fmt.Errorf("--replica: %w", err)
		}
	}
	return checkListen("http-addr", cmd.HTTPAddr)
}

// chosenServices returns the services meant, each once, in their usual order.
func chosenServices(args []string) ([]string, error) {
	var chosen []string
	for _, name := range serviceNames {
		if len(args) == 0 || slices.Contains(args, allServices) || slices.Contains(args, name) {
			chosen = append(chosen, name)
		}
	}
	for _, name := range args {
		if name != allServices && !slices.Contains(serviceNames, name) {
			return nil, fmt.Errorf("%q is no service: want %s or %s", name, strings.Join(serviceNames, ", "), allServices)
		}
	}
	return chosen, nil
}

// Run is called by kong.
func (cmd *serveCommand) Run(s *session) error {
	names, err := chosenServices(cmd.Service)
	if err != nil {
		return fail(exitUsage, "%w", err)
	}
	if err := s.endless("serve"); err != nil {
		return err
	}
	cluster, err := s.serverCluster("serve")
	if err != nil {
		return err
	}
	replica := cmd.Replica
	if replica == "" {
		replica = replicaName()
	}
	log := cmd.logger(s.err)
	defer func() { _ = log.Sync() }()

	// Probes answer from the first moment to the last: a process that waits for NATS is alive, and not ready.
	var plane atomic.Pointer[controlPlane]
	reg := transport.NewRegistry()
	probes, stopProbes := context.WithCancel(context.WithoutCancel(s.ctx))
	defer stopProbes()
	address, err := transport.ServeProbes(probes, cmd.HTTPAddr, func() error {
		if p := plane.Load(); p != nil {
			return p.ready()
		}
		return errors.New("NATS is not reached yet")
	}, func() []string {
		if p := plane.Load(); p != nil {
			return p.detail()
		}
		return nil
	}, reg)
	if err != nil {
		return fail(exitError, "%w", err).try("go-cluster serve --http-addr 127.0.0.1:0")
	}
	s.notef("go-cluster serve: %s of cluster %s, replica %s, http://%s", strings.Join(names, ", "), cluster, replica, address)

	at, err := s.serverLink("go-cluster serve "+replica, log)
	if err != nil {
		return stopped(s, err)
	}
	defer at.nc.Close()
	var bootstrap *transport.BootstrapOptions
	if cmd.Bootstrap {
		bootstrap = &transport.BootstrapOptions{Replicas: cmd.Replicas}
	}
	p, err := openControlPlane(s.ctx, services.Config{Cluster: cluster, Replica: replica, Version: thisBuild().Version, NC: at.nc, Dial: at.dial,
		Log: log, Boot: transport.Boottime, Now: time.Now, TrustIdentity: cmd.Trust}, names, bootstrap, reg)
	if err != nil {
		return stopped(s, err)
	}
	plane.Store(p)
	return p.run(s.ctx)
}

// stopped takes an error for success when the command was told to stop meanwhile.
func stopped(s *session, err error) error {
	if s.ctx.Err() != nil {
		return nil
	}
	return err
}

// replicaName makes a name that no other process has: a restarted one must not be taken for the one before it.
func replicaName() string {
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	host = strings.Trim(strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, host), "-")
	unique := fmt.Sprintf("%d-%s", os.Getpid(), strings.ToLower(rand.Text()[:6]))
	if host == "" {
		return unique
	}
	return strings.Trim(host[:min(len(host), 63-1-len(unique))], "-") + "-" + unique
}
