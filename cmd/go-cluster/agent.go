//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/machine"
	"github.com/go-cluster/go-cluster/agent/process"
	"github.com/go-cluster/go-cluster/agent/vip"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

type agentCommand struct {
	Node     string        `required:"" placeholder:"ID" help:"Name of this node in the cluster."`
	DataDir  string        `placeholder:"DIR" predictor:"file" help:"Directory of this agent and of its apps' data. Default: /var/lib/go-cluster/NODE for root, else go-cluster/NODE below the user's state directory."`
	Label    []string      `sep:"none" placeholder:"K=V" help:"Label that the node declares; may be repeated. What go-cluster node label changes stays so until other labels are declared."`
	Address  string        `placeholder:"HOST" help:"Address under which this node's apps are reached. Default: the one that this machine reaches NATS from."`
	LeaseTTL time.Duration `name:"lease-ttl" default:"30s" placeholder:"DURATION" help:"How long the node may be silent before its apps start elsewhere, at least 3s (default ${default})."`
	HTTPAddr string        `name:"http-addr" default:"127.0.0.1:7071" placeholder:"HOST:PORT" help:"Where /healthz, /readyz and /metrics answer (default ${default}; port 0 takes a free one). They have no access control."`
	LogFlags
}

// Help is printed by kong.
func (*agentCommand) Help() string {
	return `SIGTERM ends the agent and leaves its apps running: the next agent on the same directory takes them over. A singleton that
nobody has taken over by then is killed when the node's lease ends, so that it can start elsewhere. The cluster must be named, by --cluster or GO_CLUSTER.

Examples:
  go-cluster agent --cluster prod --node node-1 --label zone=a --label role=storage
  go-cluster agent --cluster prod --node node-1 --data-dir /srv/go-cluster --lease-ttl 10s`
}

// Validate is called by kong.
func (cmd *agentCommand) Validate() error {
	if err := spec.ValidateName("node", cmd.Node); err != nil && cmd.Node != "" { // that it is missing is said better elsewhere
		return fmt.Errorf("--node: %w", err)
	}
	if _, err := cmd.labels(); err != nil {
		return fmt.Errorf("--label: %w", err)
	}
	if strings.ContainsAny(cmd.Address, " /") {
		return fmt.Errorf("--address %q: want a host name or an IP address", cmd.Address)
	}
	if err := checkLeaseTTL(cmd.LeaseTTL); err != nil {
		return err
	}
	return checkListen("http-addr", cmd.HTTPAddr)
}

func checkLeaseTTL(ttl time.Duration) error {
	if ttl < agent.MinTTL {
		return fmt.Errorf("--lease-ttl %s: want at least %s", ttl, agent.MinTTL)
	}
	return nil
}

func (cmd *agentCommand) labels() (map[string]string, error) {
	if len(cmd.Label) == 0 {
		return nil, nil
	}
	change, err := spec.ParseLabelChange(cmd.Label)
	if err == nil && len(change.Remove) > 0 {
		err = fmt.Errorf("%s-: want key=value", change.Remove[0])
	}
	return change.Set, err
}

// Run is called by kong.
func (cmd *agentCommand) Run(s *session) error {
	if err := s.endless("agent"); err != nil {
		return err
	}
	cluster, err := s.serverCluster("agent")
	if err != nil {
		return err
	}
	labels, err := cmd.labels()
	if err != nil {
		return fail(exitUsage, "--label: %w", err)
	}
	dir := cmd.DataDir
	if dir == "" {
		if dir, err = machine.StateDir(cmd.Node); err != nil {
			return fail(exitUsage, "%w", err).try("go-cluster agent --data-dir DIR")
		}
	}
	facts, err := machine.Facts(thisBuild().Version, "process")
	if err != nil {
		return err
	}
	addresses := vip.Facts()
	facts.VIP = &addresses
	log := cmd.logger(s.err)
	defer func() { _ = log.Sync() }()

	var nc atomic.Pointer[nats.Conn]
	probes, stopProbes := context.WithCancel(context.WithoutCancel(s.ctx))
	defer stopProbes()
	metrics := transport.NewRegistry()
	http, err := transport.ServeProbes(probes, cmd.HTTPAddr, func() error {
		if c := nc.Load(); c == nil || !c.IsConnected() {
			return errors.New("not connected to NATS")
		}
		return nil
	}, nil, metrics)
	if err != nil {
		return fail(exitError, "%w", err).try("go-cluster agent --http-addr 127.0.0.1:0")
	}
	s.notef("go-cluster agent: node %s of cluster %s, data in %s, http://%s", cmd.Node, cluster, dir, http)

	if err := makeNodeDir(dir); err != nil {
		return fail(exitUsage, "data directory: %w", err)
	}
	driver, err := process.New(process.Options{Dir: filepath.Join(dir, "process"), WatchdogCommand: watchdogArgv(), Logger: log})
	if err != nil {
		return fmt.Errorf("node %s: %w", cmd.Node, err)
	}
	defer func() { _ = driver.Close() }()
	at, err := s.serverLink("go-cluster agent "+cmd.Node, log)
	if err != nil {
		return stopped(s, err)
	}
	defer at.nc.Close()
	nc.Store(at.nc)
	address := cmd.Address
	if address == "" {
		if address, err = localAddress(at.nc); err != nil {
			return fail(exitUsage, "address of node %s: %w", cmd.Node, err).try("go-cluster agent --address HOST")
		}
	}
	data, done, err := replications(at.dial, cluster, log)
	if err != nil {
		return fmt.Errorf("node %s: %w", cmd.Node, err)
	}
	defer done()
	err = agent.Run(s.ctx, agent.Config{
		Cluster: cluster, Node: cmd.Node, Dir: dir, Labels: labels, Address: address, Facts: facts, Version: thisBuild().Version,
		NATSURL: at.servers, TTL: cmd.LeaseTTL, NC: at.nc, Dial: at.dial, Driver: driver, Addresses: vip.Carrier{}, Replications: data, Metrics: metrics, Log: log, Load: new(machine.Load).Now,
	})
	return ended(s.ctx, "node "+cmd.Node, err)
}

// watchdogArgv is how the process driver starts this binary as a watchdog. The path stays the same when the file is replaced.
func watchdogArgv() []string {
	self, err := os.Executable()
	if err != nil {
		self = "/proc/self/exe"
	}
	return []string{self, "watchdog"}
}

// makeNodeDir makes the directory and what is missing above it so that apps of other users can pass through to their data, whatever
// the umask. What exists is left as it is.
func makeNodeDir(dir string) error {
	err := os.Mkdir(dir, 0o711)
	switch {
	case errors.Is(err, os.ErrExist):
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	case errors.Is(err, os.ErrNotExist) && filepath.Dir(dir) != dir:
		if err := makeNodeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o711); err != nil { // some file systems, as /proc, say of a new name that it does not exist
			return err
		}
	case err != nil:
		return err
	}
	return os.Chmod(dir, 0o711)
}

// localAddress is the address that this machine reaches NATS from. Who reaches NATS most likely reaches it there too.
func localAddress(nc *nats.Conn) (string, error) {
	host, _, err := net.SplitHostPort(nc.LocalAddr())
	if err != nil {
		return "", err
	}
	return host, nil
}
