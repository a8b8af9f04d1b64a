package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/embedded"
	"github.com/go-cluster/go-cluster/agent/machine"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// Run is the node until ctx ends: it declares the registered apps, runs those that the control plane places here, and stops them in
// order at the end. It waits for NATS and for the control plane as long as it takes. Ending because ctx ended is no error. Before
// that it ends only because this program cannot be the node: bad options, a directory in use, another machine of that name, an app
// whose name belongs to somebody else's.
//
// The end of ctx takes the node out of the cluster: its apps start elsewhere at once. To have them move first, one by one and under
// every guardrail, drain the node before.
func (p *Platform) Run(ctx context.Context) error {
	if err := p.fit(); err != nil {
		return err
	}
	if p.node == "" {
		return invalid("platform %s: Run: the program is not a node: NewPlatform got no node name", p.cluster)
	}
	return p.while(func() error { return typed(p.run(ctx), api.CodeInternal) })
}

// while refuses a second Run beside the first.
func (p *Platform) while(f func() error) error {
	p.mu.Lock()
	busy := p.running
	p.running = true
	p.mu.Unlock()
	if busy {
		return invalid("platform %s: Run: node %s runs already", p.cluster, p.node)
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running, p.driver = false, nil
	}()
	return f()
}

func (p *Platform) run(ctx context.Context) error {
	log := zap.New(handlerCore{p.log.Handler()})
	cfg := agent.Config{Cluster: p.cluster, Node: p.node, Dir: p.dataDir, Labels: p.labels, Address: p.address, Version: version(), NATSURL: p.servers,
		TTL: p.ttl, Log: log, Load: new(machine.Load).Now, StopAppsOnExit: true, LeaveOnExit: true}
	cfg.Dial = func() (*nats.Conn, error) { return p.dial("node " + p.node) }
	if cfg.Dir == "" {
		var err error
		if cfg.Dir, err = machine.StateDir(p.node); err != nil {
			return fmt.Errorf("data directory: %w: say DataDir", err)
		}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var err error
	if cfg.Facts, err = machine.Facts(cfg.Version, "embedded"); err != nil {
		return err
	}
	cfg.Facts.Policy = p.policy
	code := p.code(&cfg.Facts)
	if p.tune != nil {
		p.tune(&cfg)
	}
	if cfg.Clock.Boot == nil {
		cfg.Clock.Boot = transport.Boottime
	}
	driver := embedded.New(embedded.Options{Dir: filepath.Join(cfg.Dir, "embedded"), Apps: code, Boot: cfg.Clock.Boot, Limit: p.limit, Log: log})
	cfg.Driver = driver
	p.mu.Lock()
	p.driver = driver
	p.mu.Unlock()

	probes, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := p.serve(probes, &cfg); err != nil {
		return err
	}
	if cfg.NC, err = p.reach(ctx, log); err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	defer cfg.NC.Close()
	if cfg.Address == "" {
		if cfg.Address, _, err = net.SplitHostPort(cfg.NC.LocalAddr()); err != nil {
			return fmt.Errorf("address of node %s: %w: say Address", p.node, err)
		}
	}
	if err := p.replications(&cfg); err != nil {
		return err
	}
	defer closeAll(cfg.Replications)
	err = agent.Run(ctx, cfg)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.limit)
	defer cancel()
	return errors.Join(err, driver.Close(limit))
}

// code fills in what the node declares, and returns the apps' functions.
func (p *Platform) code(facts *events.Facts) []embedded.App {
	p.mu.Lock()
	apps := p.apps
	p.mu.Unlock()
	var code []embedded.App
	facts.Apps = make([]spec.App, 0, len(apps))
	for _, a := range apps {
		c, s := a.build()
		code, facts.Apps = append(code, c), append(facts.Apps, s)
	}
	return code
}

// reach connects, and waits for a server that is not there like for one that is lost later. The error is that of ctx.
func (p *Platform) reach(ctx context.Context, log *zap.Logger) (*nats.Conn, error) {
	for said := false; ; said = true {
		nc, err := p.connect(ctx, "node "+p.node)
		if err == nil || ctx.Err() != nil {
			return nc, ctx.Err()
		}
		if !said {
			log.Warn("waiting for NATS", zap.Error(err))
		}
		timer := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
		}
	}
}

// serve answers probes where it is asked for.
func (p *Platform) serve(ctx context.Context, cfg *agent.Config) error {
	joined, also := make(chan struct{}), cfg.OnJoin
	cfg.OnJoin = func() {
		select {
		case <-joined:
		default:
			close(joined)
		}
		if also != nil { // who is told finds it ready
			also()
		}
	}
	ready := func() error {
		select {
		case <-joined:
			return nil
		default:
			return fmt.Errorf("node %s has not joined cluster %s", p.node, p.cluster)
		}
	}
	registry := transport.NewRegistry()
	cfg.Metrics = registry
	for i, addr := range []string{p.healthAddr, p.metricsAddr} {
		if addr == "" || i == 1 && addr == p.healthAddr {
			continue
		}
		at, err := transport.ServeProbes(ctx, addr, ready, nil, registry)
		if err != nil {
			return err
		}
		p.log.Info("probes", "address", "http://"+at)
		if p.serving != nil {
			p.serving(at)
		}
	}
	return nil
}
