//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	json "github.com/go-json-experiment/json"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

const demoName = "demo"

// demoLease is short, and long enough for a busy machine: no node may be taken for lost meanwhile.
const demoLease = 5 * time.Second

// demoCluster is the dev cluster without its migrator: that is a process of its own, so that it can be killed.
type demoCluster struct {
	home  *devHome
	at    *devLink
	plane *controlPlane
	nodes *devNodes
	began map[string]uint64 // leases before the agents
	log   *zap.Logger
}

// startDemoCluster makes everything and runs nothing yet. The caller closes it.
func startDemoCluster(s *session, verbose bool) (*demoCluster, error) {
	dev := &devCommand{Nodes: 3, LeaseTTL: demoLease}
	c := &demoCluster{log: zap.NewNop()} // what goes wrong here is meant to, and the checks see the rest
	if verbose {
		c.log = newLogger(s.err, zapcore.InfoLevel, true)
	}
	if err := c.open(s, dev); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *demoCluster) open(s *session, dev *devCommand) (err error) {
	if c.home, err = openDevHome(""); err != nil {
		return err
	}
	if c.at, err = dev.link(s, c.home, c.log); err != nil {
		return err
	}
	here := slices.DeleteFunc(slices.Clone(serviceNames), func(name string) bool { return name == events.Migrator })
	cfg := services.Config{Cluster: demoName, Replica: replicaName(), Version: thisBuild().Version, NC: c.at.nc, Dial: c.at.dial, Log: c.log,
		Boot: transport.Boottime, Now: time.Now}
	if c.plane, err = openControlPlane(s.ctx, cfg, here, &transport.BootstrapOptions{}, transport.NewRegistry()); err != nil {
		return err
	}
	if c.nodes, err = dev.openNodes(demoName, c.home, c.at, nil, c.log); err != nil {
		return err
	}
	c.began, err = leasesOf(s.ctx, c.plane.base, c.nodes.ids)
	return err
}

// run runs services and nodes until ctx ends and the apps are stopped. The services end first: to them, apps that stop are apps to
// start elsewhere.
func (c *demoCluster) run(ctx context.Context) error {
	nodesCtx, stopNodes := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNodes()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stopNodes()
		return ended(ctx, "control plane", c.plane.run(ctx))
	})
	g.Go(func() error { return ended(nodesCtx, "nodes", c.nodes.run(nodesCtx)) })
	return g.Wait()
}

// ready returns when all services here answer and all nodes are ready.
func (c *demoCluster) ready(ctx context.Context) error { return awaitDev(ctx, c.plane, c.began) }

// close removes what open made. Run has ended.
func (c *demoCluster) close() {
	if c.nodes != nil {
		c.nodes.close()
	}
	if c.at != nil {
		c.at.close()
	}
	if c.home != nil {
		c.home.close()
	}
}

// writeSpec takes the spec of a sample app, changes it and writes it to a file of the cluster's directory.
func (c *demoCluster) writeSpec(sample []byte, change func(*spec.App)) (name string, err error) {
	apps, err := spec.DecodeApps(sample)
	if err != nil {
		return "", err
	}
	if len(apps) != 1 {
		return "", errors.New("a sample has one app")
	}
	change(&apps[0])
	b, err := json.Marshal(apps[0], json.Deterministic(true))
	if err == nil {
		b, err = yaml.JSONToYAML(b)
	}
	if err != nil {
		return "", err
	}
	name = filepath.Join(c.home.dir, apps[0].Name+".yaml")
	return name, os.WriteFile(name, b, 0o644)
}
