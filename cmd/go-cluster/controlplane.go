package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/services/migrator"
	"github.com/go-cluster/go-cluster/services/planner"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	"github.com/go-cluster/go-cluster/transport"
)

var serviceNames = []string{events.Labeler, events.Planner, events.Migrator, events.Rebalancer, events.Auditor}

// part is a service in this process.
type part interface {
	Run(ctx context.Context) error
	Ready() error // why it cannot answer yet
}

// controlPlane is one fold and the services of this process that work on it.
type controlPlane struct {
	base   *services.Base
	names  []string // of parts, in the same order
	parts  []part
	damage func() []string // what of the log is quarantined, in sentences; nil without the auditor
}

// openControlPlane binds the named services to the streams of their cluster. With bootstrap set it makes those that are missing.
// The metrics of the process are registered in reg, and with the auditor those of the cluster.
func openControlPlane(ctx context.Context, cfg services.Config, names []string, bootstrap *transport.BootstrapOptions, reg prometheus.Registerer) (*controlPlane, error) {
	subjects, err := events.NewSubjects(cfg.Cluster)
	if err != nil {
		return nil, err
	}
	if bootstrap != nil {
		js, err := jetstream.New(cfg.NC)
		if err != nil {
			return nil, err
		}
		if err := transport.Bootstrap(ctx, js, subjects, *bootstrap); err != nil {
			return nil, err
		}
	}
	base, err := services.Open(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fail(exitError, "cluster %s has no streams on this server: %w", cfg.Cluster, err).try("go-cluster serve --cluster %s, without --no-bootstrap", cfg.Cluster)
	}
	if err != nil {
		return nil, fmt.Errorf("open cluster %s: %w", cfg.Cluster, err)
	}
	if err := reg.Register(auditor.NewProcessCollector(base)); err != nil {
		return nil, err
	}
	p := &controlPlane{base: base, names: names}
	for _, name := range names {
		switch name {
		case events.Labeler:
			p.parts = append(p.parts, labeler.New(base))
		case events.Planner:
			p.parts = append(p.parts, planner.New(base))
		case events.Migrator:
			m := migrator.New(base)
			m.Reg = reg
			p.parts = append(p.parts, m)
		case events.Rebalancer:
			p.parts = append(p.parts, rebalancer.New(base))
		case events.Auditor:
			a := auditor.New(base)
			p.parts, p.damage = append(p.parts, a), a.Detail
			for _, c := range []prometheus.Collector{auditor.NewCollector(base), a.Violations()} {
				if err := reg.Register(c); err != nil {
					return nil, err
				}
			}
		default:
			return nil, fmt.Errorf("service %q: want one of %v", name, serviceNames)
		}
	}
	return p, nil
}

// run runs everything until ctx ends and requests in flight are answered, or until one part ends by itself: that is its error, and
// ends the others. A lost connection ends nothing.
func (p *controlPlane) run(ctx context.Context) error {
	// Answers in flight wait for the fold, so it goes on until the last is out.
	foldCtx, stopFold := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFold()
	g, ctx := errgroup.WithContext(ctx)
	var answering sync.WaitGroup
	for i, svc := range p.parts {
		answering.Add(1)
		g.Go(func() error {
			defer answering.Done()
			return ended(ctx, p.names[i], svc.Run(ctx))
		})
	}
	g.Go(func() error { return ended(ctx, "event log", p.base.Run(foldCtx)) })
	go func() {
		answering.Wait()
		stopFold()
	}()
	return g.Wait()
}

// ended judges the end of something that was to run until ctx ended.
func ended(ctx context.Context, name string, err error) error {
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		return nil
	case err == nil:
		err = errors.New("ended by itself")
	}
	return fmt.Errorf("%s: %w", name, err)
}

// ready says why a service cannot answer yet, or nil.
func (p *controlPlane) ready() error {
	var all []error
	for _, svc := range p.parts {
		all = append(all, svc.Ready())
	}
	return errors.Join(all...)
}

// detail is what /readyz says besides: a quarantined aggregate keeps nothing else from working.
func (p *controlPlane) detail() []string {
	if p.damage == nil {
		return nil
	}
	return p.damage()
}
